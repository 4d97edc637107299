"""What a node reports of itself: one constructor per event, so that names and fields stand in one
place.

Monitors judge runs by these, hence one rule: an event about bytes leaves only when the bytes are on
disk, in the same Effects as the message that speaks of them, or earlier.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.configuration import Configuration
from node.raft.effects import Event, HardState
from node.raft.log import Log
from node.raft.messages import Entry, SnapshotMeta


def boot(hard: HardState, log: Log, snapshot: SnapshotMeta | None, first_boot: bool) -> Event:
    """A life begins with this on disk. The shell emits it, before the first step."""
    in_force = log.configuration
    return Event(
        "boot",
        hard.term,
        {
            "first_index": log.first_index,
            "last_index": log.last_index,
            "last_term": log.last_term,
            "snapshot_index": 0 if snapshot is None else snapshot.index,
            "snapshot_term": 0 if snapshot is None else snapshot.term,
            "members": in_force.members,
            "old": in_force.old,
            "witnesses": in_force.witnesses,
            "voted_for": hard.voted_for,
            "first_boot": first_boot,
        },
    )


def prevote_granted(term: int, candidate: str, for_term: int) -> Event:
    return Event("prevote_granted", term, {"candidate": candidate, "for_term": for_term})


def vote_granted(term: int, candidate: str) -> Event:
    """`term` is the one voted in, and the vote is on disk; a candidate's own vote is one too."""
    return Event("vote_granted", term, {"candidate": candidate})


def vote_refused(term: int, candidate: str, for_term: int, by_lease: bool) -> Event:
    fields: dict[str, object] = {"candidate": candidate, "for_term": for_term, "by_lease": by_lease}
    return Event("vote_refused", term, fields)


def term_change(term: int, previous: int, reason: str) -> Event:
    return Event("term_change", term, {"from": previous, "reason": reason})


def become_candidate(term: int) -> Event:
    return Event("become_candidate", term, {})


def become_leader(term: int, last_index: int, last_term: int) -> Event:
    """The log as it was when the votes sufficed, before the first entry of the new term."""
    return Event("become_leader", term, {"last_index": last_index, "last_term": last_term})


def lease_ready(term: int, epoch: int) -> Event:
    return Event("lease_ready", term, {"epoch": epoch})


def step_down(term: int, reason: str) -> Event:
    """A leader of `term` stops being one. The reasons are the constants of raft.py."""
    return Event("step_down", term, {"reason": reason})


def following(term: int, leader: str) -> Event:
    return Event("following", term, {"leader": leader})


def lease(term: int, state: str, epoch: int, until_ns: int) -> Event:
    """The leader lease was looked at. `until_ns` is on the node's own clock, 0 unless valid."""
    return Event("lease", term, {"state": state, "epoch": epoch, "until_ns": until_ns})


def append_ack(term: int, leader: str, last_index: int) -> Event:
    return Event("append_ack", term, {"leader": leader, "last_index": last_index})


def commit(term: int, index: int) -> Event:
    return Event("commit", term, {"index": index})


def apply(term: int, first: int, entries: Sequence[Entry]) -> Event:
    pairs = [[entry.term, entry.crc] for entry in entries]
    return Event("apply", term, {"first": first, "entries": pairs})


def truncate(term: int, first: int) -> Event:
    """The log is cut from index `first` on."""
    return Event("truncate", term, {"from": first})


def conf_change(term: int, index: int, conf: Configuration, stage: str) -> Event:
    """`conf`, of the entry at `index`, is in force by its append, a rollback or a reset; or it is committed.

    What is in force counts at once, on disk or not, so this waits for no sync.
    """
    fields: dict[str, object] = {
        "index": index,
        "members": conf.members,
        "old": conf.old,
        "witnesses": conf.witnesses,
        "stage": stage,
    }
    return Event("conf_change", term, fields)


def change_stage(term: int, stage: str, add: Sequence[str], remove: Sequence[str]) -> Event:
    """A leader's change of members has come to `stage`; a change that another leader began has no names here."""
    return Event("change_stage", term, {"stage": stage, "add": add, "remove": remove})


def transfer(term: int, to: str, stage: str) -> Event:
    """Handing over to `to`: "start", "timeout_now" (it was told), then "expired" or "done"."""
    return Event("transfer", term, {"to": to, "stage": stage})


def readonly(term: int, readonly: bool, index: int) -> Event:
    """The operator's mode of this member changed while `index` was its last."""
    return Event("readonly", term, {"readonly": readonly, "index": index})


def election_timeout(term: int, election_timeout_ms: int, max_clock_drift_ms: int) -> Event:
    """E and D are these from now on."""
    fields: dict[str, object] = {
        "election_timeout_ms": election_timeout_ms,
        "max_clock_drift_ms": max_clock_drift_ms,
    }
    return Event("election_timeout", term, fields)


def readindex(term: int, index: int, count: int) -> Event:
    return Event("readindex", term, {"index": index, "count": count})


def snapshot_saved(term: int, meta: SnapshotMeta) -> Event:
    """`digest` is crc32 of the state's bytes: equal at equal indices. None where there is no state, at a witness."""
    fields: dict[str, object] = {
        "index": meta.index,
        "last_term": meta.term,
        "digest": None if meta.bare else meta.crc,
        "size": meta.size,
    }
    return Event("snapshot_saved", term, fields)


def snapshot_loaded(term: int, meta: SnapshotMeta, source: str) -> Event:
    """`source` is "boot" (told by the shell, before the first step) or "install"."""
    fields: dict[str, object] = {
        "index": meta.index,
        "last_term": meta.term,
        "digest": None if meta.bare else meta.crc,
        "source": source,
    }
    return Event("snapshot_loaded", term, fields)


def log_cut(term: int, first: int) -> Event:
    """What a snapshot covers went: the log begins at `first`."""
    return Event("log_cut", term, {"first": first})


def log_reset(term: int, first: int) -> Event:
    """The whole log went, for an installed snapshot: it begins at `first`, and is empty."""
    return Event("log_reset", term, {"first": first})


def progress(
    term: int, first_index: int, snapshot: int, applied: int, committed: int, last: int
) -> Event:
    """Where the member stands; the shell tells it about once a heartbeat."""
    fields: dict[str, object] = {
        "first_index": first_index,
        "snapshot": snapshot,
        "applied": applied,
        "committed": committed,
        "last": last,
    }
    return Event("progress", term, fields)
