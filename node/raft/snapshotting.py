"""Snapshots: when to save one, what of the log they make needless, and how one is installed (Raft paper 7).

A save is asked of the shell at what is applied, and cuts the log only once it is durable, and only up to the snapshot before
it, so that slow followers may still use the log. An install is a request of the leader that names a snapshot; the follower
pulls its bytes outside the core and is told when they are all there. The one rule: `raft.snapshot` is durable, and between it
and the log there is never a gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.raft import events, following, reads, replication, witnesses
from node.raft.configuration import Configuration
from node.raft.effects import (
    AdminDone,
    Download,
    Downloaded,
    LoadSnapshot,
    SaveSnapshot,
    SnapshotSaved,
    TakeSnapshot,
)
from node.raft.election import FOLLOWER
from node.raft.messages import InstallSnapshot, InstallSnapshotReply, SnapshotMeta

if TYPE_CHECKING:
    from node.raft.raft import Raft

NEVER: Final = 2**63
"""An index that no log reaches."""
_SECOND_NS: Final = 1_000_000_000


class Snapshots:
    """What is being saved or installed; at most one of the two."""

    __slots__ = ("downloading", "due", "initial", "installer", "interval_ns", "saving", "token")

    def __init__(self, initial: Configuration, interval_ns: int, first_due_ns: int | None) -> None:
        self.initial = initial
        self.interval_ns = interval_ns
        self.due = first_due_ns
        """When the interval timer fires next; None without one."""
        self.saving = False
        self.token: int | None = None
        """Of the operator who waits for the save in progress."""
        self.downloading: SnapshotMeta | None = None
        self.installer = ("", 0)
        """(leader, call) of the request that the download in progress will answer."""

    def __repr__(self) -> str:
        return f"Snapshots({self.status}, due={self.due})"

    @property
    def status(self) -> str:
        if self.saving:
            return "saving"
        return "idle" if self.downloading is None else "downloading"


def boot(raft: Raft, initial: Configuration) -> Snapshots:
    """Fit log and snapshot together as the last life left them; raises ValueError when entries between them are missing.

    A member may have died between an install and the reset of its log: the snapshot is the newer truth.
    """
    log, meta = raft.log, raft.snapshot
    covered = 0 if meta is None else meta.index
    if log.base > covered:
        raise ValueError(
            f"the log begins at {log.first_index}, but the newest snapshot ends at {covered}: "
            "the entries between them are missing"
        )
    if meta is not None and not (
        meta.index <= log.last_index and log.term_at(meta.index) == meta.term
    ):
        reset(raft, meta)
    options = raft.options
    raft.snapshot_at = next_at(raft, covered)
    interval_ns = options.snapshot_interval_s * _SECOND_NS
    # Spread over the first interval, or the members of a group would all save at once.
    first = raft.now + raft.rng.randint(1, interval_ns) if interval_ns > 0 else None
    return Snapshots(initial, interval_ns, first)


def next_at(raft: Raft, index: int) -> int:
    """The commit index at which the next automatic snapshot is due, when the last one was at `index`."""
    interval = raft.options.snapshot_interval_entries
    return index + interval if interval > 0 else NEVER


def status(raft: Raft) -> dict[str, object]:
    """What the newest snapshot covers, and what is going on."""
    meta = raft.snapshot
    return {
        "state": raft.snapshots.status,
        "index": 0 if meta is None else meta.index,
        "term": 0 if meta is None else meta.term,
        "size": 0 if meta is None else meta.size,
    }


# ---- saving --------------------------------------------------------------------------------------


def on_take(raft: Raft, take: TakeSnapshot) -> None:
    """An operator asks for a snapshot now; with nothing new since the last one that is done at once."""
    state, error = raft.snapshots, ""
    if state.saving or state.downloading is not None:
        error = f"busy: {state.status} a snapshot"
    elif has_news(raft):
        state.token = take.token
        save(raft)
        return
    raft.out.admin.append(AdminDone(take.token, error))


def on_interval(raft: Raft) -> None:
    """The interval timer has fired."""
    state = raft.snapshots
    state.due = raft.now + state.interval_ns
    if not state.saving and state.downloading is None and has_news(raft):
        save(raft)


def on_reached(raft: Raft) -> None:
    """So much was applied since the last snapshot that the next one is due, or was in this very step."""
    state = raft.snapshots
    asked = raft.out.snapshots
    if not state.saving:
        if state.downloading is None and has_news(raft):
            save(raft)
    elif asked and isinstance(asked[-1], SaveSnapshot):
        # A save is of the state after *all* that its step applies.
        asked.pop()
        save(raft)


def has_news(raft: Raft) -> bool:
    """Is there enough to save? A witness saves nothing but how far it is, for its log to be cut.

    One that may lead keeps its log, since it has to feed others and has no state to feed them; one that was removed is done.
    """
    if raft.options.witness_may_lead if raft.witness else raft.bare:
        return False
    covered = 0 if raft.snapshot is None else raft.snapshot.index
    return raft.commit - covered >= max(1, raft.options.snapshot_min_gap_entries)


def save(raft: Raft) -> None:
    """Ask for a snapshot of what is applied by the end of this step."""
    state, log, index = raft.snapshots, raft.log, raft.commit
    if log.last_index > index and raft.bugs.breaks("snap_off_by_one"):
        index += 1
    in_force = log.configuration_at(index)
    if in_force != state.initial and raft.bugs.breaks("snap_no_conf"):
        in_force = state.initial
    state.saving = True
    raft.out.snapshots.append(SaveSnapshot(index, log.term_at(index), in_force, raft.witness))
    if index > log.base and raft.bugs.breaks("snap_cut_before_durable"):
        cut(raft, index)


def on_saved(raft: Raft, saved: SnapshotSaved) -> None:
    """The snapshot is durable: the log may go up to the one before it."""
    state, meta = raft.snapshots, saved.meta
    state.saving = False
    token, state.token = state.token, None
    if token is not None:
        raft.out.admin.append(AdminDone(token, "" if meta else "the snapshot could not be saved"))
    if meta is None:
        raft.snapshot_at = next_at(raft, raft.commit)
        return
    previous, raft.snapshot = raft.snapshot, meta
    raft.snapshot_at = next_at(raft, meta.index)
    raft.out.events.append(events.snapshot_saved(raft.term, meta))
    if previous is not None:
        cut(raft, previous.index)


def cut(raft: Raft, index: int) -> None:
    """Forget the log up to `index`; followers that are not that far yet need a snapshot from now on."""
    log = raft.log
    if index <= log.base:
        return
    log.cut_to(index)
    raft.purge = index
    raft.out.events.append(events.log_cut(raft.term, log.first_index))
    for peer in raft.peers.values():
        if peer.next_index <= log.base and peer.installing is None:
            replication.install(raft, peer)


# ---- installing: the follower --------------------------------------------------------------------


def on_install(raft: Raft, sender: str, m: InstallSnapshot) -> None:
    """A leader of m.term says that what this member lacks was cut, and offers a snapshot instead.

    Unlike an append this renews no promise, and entries that were under way meanwhile are still taken.
    """
    if m.term < raft.term:
        answer(raft, sender, m.call, "stale_term")
        return
    known = raft.leader_id == sender and m.term == raft.term and raft.state == FOLLOWER
    if not known and not following.follow(raft, sender, m.term):
        answer(raft, sender, m.call, "stale_term")
        return
    state, meta = raft.snapshots, m.meta
    current = state.downloading
    if meta.index <= raft.commit and not raft.bugs.breaks("snap_regress"):
        raft.when_durable(answer, (raft, sender, m.call, ""))
    elif state.saving:
        answer(raft, sender, m.call, "busy")
    elif current is None:
        state.downloading = meta
        state.installer = (sender, m.call)
        raft.out.snapshots.append(Download(sender, meta))
    elif (meta.index, meta.term) == (current.index, current.term):
        before, state.installer = state.installer, (sender, m.call)
        if before != state.installer:
            answer(raft, *before, "replaced")
    elif meta.index < current.index:
        answer(raft, sender, m.call, "invalid")
    else:
        raft.interrupt_download()
        answer(raft, sender, m.call, "busy")


def answer(raft: Raft, to: str, call: int, error: str) -> None:
    raft.reply(to, InstallSnapshotReply(raft.term, call, not error, error))


def on_downloaded(raft: Raft, downloaded: Downloaded) -> None:
    """The bytes are here and durable: load them, unless this member has applied more than they hold."""
    state, meta = raft.snapshots, downloaded.meta
    asked = state.downloading
    if asked is None or meta.index < asked.index or not (downloaded.ok or meta == asked):
        return
    state.downloading = None
    leader, call = state.installer
    if not downloaded.ok:
        answer(raft, leader, call, "download_failed")
    elif meta.index <= raft.commit and not raft.bugs.breaks("snap_regress"):
        answer(raft, leader, call, "stale")
    else:
        load(raft, meta)
        raft.when_durable(answer, (raft, leader, call, ""))


def load(raft: Raft, meta: SnapshotMeta) -> None:
    """`meta` takes the place of state and log; what the log holds beyond it stays if it fits."""
    log = raft.log
    raft.out.snapshots.append(LoadSnapshot(meta))
    raft.out.events.append(events.snapshot_loaded(raft.term, meta, "install"))
    raft.snapshot = meta
    raft.commit = meta.index
    if raft.asks.applying:
        reads.on_applied(raft)
    raft.snapshot_at = next_at(raft, meta.index)
    if not log.base <= meta.index <= log.last_index:
        reset(raft, meta)
    elif log.term_at(meta.index) == meta.term or raft.bugs.breaks("snap_keeps_conflict"):
        log.cut_to(meta.index)
        log.base_term = meta.term
        raft.purge = log.base
        raft.out.events.append(events.log_cut(raft.term, log.first_index))
    else:
        reset(raft, meta)
    raft.bare = witnesses.is_bare(raft)
    raft.configured()


def reset(raft: Raft, meta: SnapshotMeta) -> None:
    """Forget the whole log: it begins after `meta` now."""
    raft.log.reset(meta.index, meta.term, meta.configuration)
    raft.fresh = []
    raft.cut = raft.purge = 0
    raft.reset = (meta.index, meta.term)
    raft.report(events.log_reset(raft.term, raft.log.first_index))
