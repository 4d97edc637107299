"""The leader's side of replication (Raft thesis 3.5, 3.6; braft src/braft/replicator.cpp): one replicator
per peer, pipelined, and the commit rule.

A replicator is *probing* (it looks for the last index both logs share, one empty append at a time),
*appending* (up to max_inflight_appends unanswered), *installing* (what comes next was cut from our
log, so the peer is to load a snapshot) or *idle* (nothing to send). Heartbeats keep their own pace
beside all that and carry the known match as prev (nothing at all if that was cut), so a follower
behind in its log still accepts them at once. The one rule: an answer counts once, for the request that it names, in
the leadership that sent it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from node.raft import membership, quorums, readonly, reads, transfer, witnesses
from node.raft.election import LEADING
from node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    InstallSnapshot,
    InstallSnapshotReply,
    SnapshotMeta,
)

if TYPE_CHECKING:
    from node.raft.raft import Raft

IDLE: Final = "idle"
PROBING: Final = "probing"
APPENDING: Final = "appending"
INSTALLING: Final = "installing"

SENT_MAX: Final = 128
"""Unanswered requests remembered per peer: an answer older than so many requests is worth nothing
any more.
"""


class Replicator:
    """What the leader knows of one peer. Times are on the leader's own clock."""

    __slots__ = (
        "acked_round",
        "appends",
        "due",
        "errors",
        "heartbeat_due",
        "heartbeats",
        "inflight",
        "installing",
        "installs",
        "last_rpc_send",
        "match",
        "name",
        "next_index",
        "probe_call",
        "probing",
        "readonly",
        "readonly_index",
        "round",
        "sent",
        "witness",
    )

    def __init__(self, name: str, next_index: int, now_ns: int, witness: bool = False) -> None:
        self.name = name
        self.next_index = next_index
        self.match = 0
        self.probing = True
        self.probe_call = 0
        self.inflight: deque[tuple[int, int, int]] = deque()
        """(call, last index, send time) of each unanswered append, oldest first."""
        self.installing: SnapshotMeta | None = None
        """What the peer was asked to load, by the request `probe_call`."""
        self.sent: dict[int, int] = {}
        """call -> send time of everything unanswered."""
        self.due: int | None = None
        """When the probe, the oldest append or the install is given up."""
        self.heartbeat_due = now_ns
        self.last_rpc_send = now_ns
        """Send time of the newest answered request; a new leader's grace before that."""
        self.round = 0
        """The read round that the newest request carries."""
        self.acked_round = 0
        self.readonly = False
        self.readonly_index = 0
        """Our last index when the peer became read-only: it gets no user entry above that."""
        self.errors = 0
        self.heartbeats = 0
        self.appends = 0
        self.installs = 0
        self.witness = witness
        """The peer gets entries without their commands."""

    @property
    def state(self) -> str:
        if self.installing is not None:
            return INSTALLING
        if self.probing:
            return PROBING
        return APPENDING if self.inflight else IDLE

    def __repr__(self) -> str:
        return f"Replicator({self.name}, {self.state}, next={self.next_index}, match={self.match})"


def start(raft: Raft) -> None:
    """A new leadership: probe every peer at the end of our log."""
    raft.peers = {}
    for name in membership.concerned(raft):
        add(raft, name)


def add(raft: Raft, name: str) -> None:
    """One more peer, member or learner."""
    peer = raft.peers[name] = Replicator(
        name, raft.log.last_index + 1, raft.now, witnesses.gets_bare(raft, name)
    )
    peer.heartbeat_due = raft.now + raft.heartbeat_ns
    raft.wake_at(peer.heartbeat_due)
    probe(raft, peer)


# ---- sending -------------------------------------------------------------------------------------


def send(raft: Raft, peer: Replicator, prev: int, entries: list[Entry]) -> int:
    """One request out, remembered by its call."""
    call = raft.next_call()
    sent = peer.sent
    if len(sent) >= SENT_MAX:
        del sent[next(iter(sent))]
    sent[call] = raft.now
    peer.round = raft.rounds.number
    prev_term = raft.log.term_at(prev)
    message = AppendEntries(
        raft.term, call, prev, prev_term, raft.commit, raft.rounds.number, entries
    )
    raft.out.messages.append((peer.name, message))
    return call


def heartbeat(raft: Raft, peer: Replicator) -> None:
    peer.heartbeats += 1
    peer.heartbeat_due = raft.now + raft.heartbeat_ns
    send(raft, peer, peer.match if peer.match >= raft.log.base else 0, [])


def probe(raft: Raft, peer: Replicator) -> None:
    """Ask whether the logs agree just before next_index, if that place is still in ours."""
    if peer.next_index <= raft.log.base:
        install(raft, peer)
        return
    peer.installing = None
    peer.probing = True
    peer.inflight.clear()
    peer.appends += 1
    peer.probe_call = send(raft, peer, peer.next_index - 1, [])
    peer.due = raft.now + raft.append_timeout_ns
    raft.wake_at(peer.due)


def install(raft: Raft, peer: Replicator) -> None:
    """Have the peer load a snapshot, and ask again when it has not answered within E.

    The same one as before while our log still goes on from it: a newer one would start the peer's download anew.
    """
    meta = peer.installing
    if meta is None or meta.index < raft.log.base:
        meta = raft.snapshot
        if meta is not None and peer.witness:
            meta = witnesses.offered(meta, peer.name)
    peer.probing = True
    peer.inflight.clear()
    peer.installing = meta
    peer.due = raft.now + raft.election_timeout_ns
    raft.wake_at(peer.due)
    if meta is not None:
        peer.installs += 1
        peer.probe_call = raft.next_call()
        raft.out.messages.append((peer.name, InstallSnapshot(raft.term, peer.probe_call, meta)))


def fill(raft: Raft, peer: Replicator) -> None:
    """Send entries while there are any and the window has room.

    A witness gets what is on our disk: no member with data could lead again if only witnesses were left with an entry.
    """
    last = raft.log.flushed if peer.witness else raft.log.last_index
    inflight = peer.inflight
    while peer.next_index <= last and len(inflight) < raft.options.max_inflight_appends:
        first = peer.next_index
        entries = raft.bare_batch(first) if peer.witness else raft.batch(first)
        if peer.readonly:
            entries = readonly.allowed(entries, peer.readonly_index)
            if not entries:
                return
        peer.appends += 1
        call = send(raft, peer, peer.next_index - 1, entries)
        if not inflight:
            peer.due = raft.now + raft.append_timeout_ns
            raft.wake_at(peer.due)
        peer.next_index = entries[-1].index + 1
        inflight.append((call, peer.next_index - 1, raft.now))


def fill_all(raft: Raft) -> None:
    """New entries are in the log."""
    for peer in raft.peers.values():
        if not peer.probing:
            fill(raft, peer)


# ---- timers and lost connections -----------------------------------------------------------------


def on_tick(raft: Raft) -> None:
    """Heartbeats, given-up requests, and the dead-node check."""
    now = raft.now
    if now < raft.leader_due:
        return
    if now >= raft.check_due:
        raft.check_due = now + raft.election_timeout_ns
        if raft.witness:
            raft.retire("witness")
            return
        dead = raft.options.check_quorum and not quorum_alive(raft)
        if dead and not raft.bugs.breaks("no_checkquorum"):
            raft.step_down(raft.term, "dead_nodes")
            return
    raft.ticked = now
    change, handover = raft.change, raft.handover
    if change is not None and change.due is not None and now >= change.due:
        membership.on_timer(raft)
    if handover is not None and now >= handover.due:
        transfer.expire(raft)
    due = raft.check_due if raft.handover is None else min(raft.check_due, raft.handover.due)
    for peer in raft.peers.values():
        if now >= peer.heartbeat_due:
            if peer.inflight and raft.bugs.breaks("heartbeat_behind_data"):
                peer.heartbeat_due = now + raft.heartbeat_ns
            else:
                heartbeat(raft, peer)
        if peer.due is not None and now >= peer.due:
            # The answer is overdue: whatever was in flight is taken back and looked for anew.
            peer.errors += 1
            peer.next_index = (
                min(peer.next_index, peer.match + 1) if peer.inflight else peer.next_index
            )
            probe(raft, peer)
        if peer.heartbeat_due < due:
            due = peer.heartbeat_due
        if peer.due is not None and peer.due < due:
            due = peer.due
    if change is not None and change.due is not None:
        due = min(due, change.due)
    raft.leader_due = due


def quorum_alive(raft: Raft) -> bool:
    """Did a quorum, the leader included, answer a request sent within the last E?"""
    oldest = raft.now - raft.election_timeout_ns
    alive = [peer.name for peer in raft.peers.values() if peer.last_rpc_send >= oldest]
    alive.append(raft.name)
    return quorums.agrees(raft, alive)


def on_disconnected(raft: Raft, name: str) -> None:
    """Nothing in flight to `name` will be answered: look for its log's end again, a heartbeat
    period from now.
    """
    peer = raft.peers.get(name)
    if peer is None:
        return
    peer.errors += 1
    peer.sent.clear()
    if peer.inflight:
        peer.inflight.clear()
        peer.next_index = peer.match + 1
    waiting = peer.probing and peer.probe_call == 0
    peer.probing = True
    peer.probe_call = 0
    if not waiting:
        peer.due = raft.now + raft.heartbeat_ns
        raft.wake_at(peer.due)


# ---- answers -------------------------------------------------------------------------------------


def on_append_reply(raft: Raft, sender: str, m: AppendEntriesReply) -> None:
    """The answer of a follower; duplicates and those of earlier leaderships have no call here."""
    if m.term != raft.term:
        if m.term > raft.term:
            raft.yield_to(sender, m.term, "higher_term_response")
        elif m.success:
            stale(raft, sender, m)
        return
    peer = raft.peers.get(sender)
    if peer is None:
        return
    sent = peer.sent.pop(m.call, None)
    if sent is None:
        if m.success:
            stale(raft, sender, m)
        return
    stamp = sent
    if raft.bugs.active and raft.now > sent and raft.bugs.breaks("lease_from_response"):
        stamp = raft.now
    if stamp > peer.last_rpc_send:
        peer.last_rpc_send = stamp
    peer.errors = 0
    if m.readonly != peer.readonly:
        readonly.on_report(raft, peer, m.readonly)
    if m.success:
        accepted(raft, peer, m)
    else:
        refused(raft, peer, m)
    if m.round > peer.acked_round:
        peer.acked_round = m.round
        if raft.rounds.open:
            reads.on_round_acknowledged(raft)
    elif raft.bugs.active and raft.rounds.open and peer.acked_round < raft.rounds.number:
        reads.on_old_answer(raft, peer)


def stale(raft: Raft, sender: str, m: AppendEntriesReply) -> None:
    """An acknowledgement of another leadership or call: it says nothing of the follower's log now."""
    peer = raft.peers.get(sender)
    news = peer is not None and peer.match < m.match <= raft.log.last_index
    if news and raft.bugs.breaks("stale_append_reply"):
        assert peer is not None
        accepted(raft, peer, m)


def accepted(raft: Raft, peer: Replicator, m: AppendEntriesReply) -> None:
    """Both logs agree up to prev + count, and up to `match` the peer has it on disk."""
    match = m.match
    advanced = match > peer.match
    if advanced:
        peer.match = match
    if peer.next_index <= match:
        peer.next_index = match + 1
    if peer.probing:
        found = m.call == peer.probe_call or peer.next_index == match + 1
        if found and peer.installing is None and peer.next_index > raft.log.base:
            peer.probing = False
            peer.probe_call = 0
            peer.due = None
    else:
        inflight = peer.inflight
        if inflight and inflight[0][1] <= match:
            inflight.popleft()
            while inflight and inflight[0][1] <= match:
                inflight.popleft()
            peer.due = inflight[0][2] + raft.append_timeout_ns if inflight else None
    if advanced and match > raft.commit:
        advance_commit(raft)
    if raft.change is not None:
        membership.on_progress(raft)
    if raft.handover is not None:
        transfer.on_progress(raft)
    # What was just committed may have ended this leadership.
    if not peer.probing and peer.next_index <= raft.log.last_index and raft.state in LEADING:
        fill(raft, peer)


def refused(raft: Raft, peer: Replicator, m: AppendEntriesReply) -> None:
    """The logs differ at the echoed prev: step back, once per request that was in flight, and this
    peer only.
    """
    if peer.probing:
        if m.call != peer.probe_call:
            return
    elif m.prev_index != peer.match and all(call != m.call for call, _, _ in peer.inflight):
        return
    peer.next_index = max(1, min(m.last_index + 1, m.prev_index))
    # A peer that lost what it had acknowledged (its disk lied) must still be repaired.
    peer.match = min(peer.match, peer.next_index - 1)
    probe(raft, peer)


def on_install_reply(raft: Raft, sender: str, m: InstallSnapshotReply) -> None:
    """The peer holds the snapshot now, or something is in the way: try again a heartbeat period later.

    Such an answer raises no term (2.3) and says nothing for the lease.
    """
    peer = raft.peers.get(sender)
    if m.term != raft.term or peer is None or peer.installing is None or m.call != peer.probe_call:
        return
    covered = peer.installing.index
    peer.installing = None
    peer.probe_call = 0
    if not m.success:
        peer.errors += 1
        peer.due = raft.now + raft.heartbeat_ns
        raft.wake_at(peer.due)
        return
    peer.errors = 0
    peer.match = max(peer.match, covered)
    peer.next_index = max(peer.next_index, covered + 1)
    if peer.next_index <= raft.log.base:
        install(raft, peer)
        return
    peer.probing = False
    peer.due = None
    fill(raft, peer)


# ---- commit --------------------------------------------------------------------------------------


def advance_commit(raft: Raft) -> None:
    """Commit what a quorum has on disk, by counting only up to an entry of this leader's own term
    (Raft figure 8).
    """
    log = raft.log
    own = log.flushed
    index = quorum_match(raft, own)
    if own < log.last_index and raft.bugs.active:
        early = quorum_match(raft, log.last_index)
        if early > max(index, raft.commit) and raft.bugs.breaks("leader_counts_self_early"):
            index = early
    if own > max(index, raft.commit) and raft.bugs.breaks("apply_before_commit"):
        index = own
    if index <= raft.commit:
        return
    if index >= raft.term_start or raft.bugs.breaks("commit_old_term"):
        raft.advance_commit(index)


def quorum_match(raft: Raft, own: int) -> int:
    """The newest index that a quorum holds, when this node holds `own`.

    An entry is counted by the configuration in force at it; one that has its quorum commits all before it.
    """
    matches = {name: peer.match for name, peer in raft.peers.items()}
    matches[raft.name] = own
    seeded = raft.bugs.active
    limit = raft.log.last_index
    for first, conf in reversed(raft.log.configurations):
        index = quorums.shared(raft, conf, matches) if seeded else conf.quorum_value(matches)
        index = min(index, limit)
        if index >= first or first <= raft.commit:
            return index
        limit = first - 1
    return 0
