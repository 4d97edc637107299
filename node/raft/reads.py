"""Reads: local, by read index, by leader lease (Raft thesis 6.4; braft src/braft/lease.cpp).

A read-index round notes the commit index and then needs a quorum of answers to requests *sent
after* the round began, told apart by the round's number. One round serves every read that waited at
its start; later ones wait for the next. A follower asks its leader for such an index, for all reads that wait with it at once,
and reads when it has applied that much (Q8). The one rule: no mode but "local" answers before this
leadership has committed an entry of its own term.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from node.raft import events, quorums, replication
from node.raft.effects import Read, ReadReady
from node.raft.election import LEADER, LEADING, TRANSFERRING
from node.raft.lease import DISABLED, EXPIRED, NOT_READY, VALID
from node.raft.messages import ReadIndex, ReadIndexReply

if TYPE_CHECKING:
    from node.raft.raft import Raft
    from node.raft.replication import Replicator

Reader = int | tuple[str, int]
"""Who waits for a round: a client of this node (token), or a follower that asked (name, call)."""


class Rounds:
    """The read-index rounds of one life; numbers only grow."""

    __slots__ = ("held", "index", "number", "open", "waiting")

    def __init__(self) -> None:
        self.held = False
        """What waits is not to begin of itself when the round in progress ends: Requests will say when."""
        self.number = 0
        self.index = 0
        """The commit index when the round in progress began."""
        self.open: list[Reader] = []
        """Who the round in progress will serve; empty: there is none."""
        self.waiting: list[Reader] = []
        """Who the next round will serve."""


class Asks:
    """The reads of a follower: what waits for its leader's word, and what waits to be applied. False while nothing does."""

    __slots__ = ("applying", "call", "due", "open", "waiting")

    def __init__(self) -> None:
        self.call = 0
        self.open: list[int] = []
        """Tokens that the request in flight, `call`, will serve; empty: there is none."""
        self.due: int | None = None
        """When that request is given up."""
        self.waiting: list[int] = []
        """Tokens for the next request: the leader may have taken the index for the one in flight before they came."""
        self.applying: deque[tuple[int, int]] = deque()
        """(index, token) of reads that wait until that much is applied; indices never go down."""

    def __len__(self) -> int:
        return len(self.open) + len(self.waiting) + len(self.applying)


def on_read(raft: Raft, read: Read) -> None:
    """Answer, refuse, or wait for a round or for the leader."""
    mode, token, more = read.mode, read.token, read.more
    if raft.witness:
        raft.fail(token, "witness", True)
    elif mode == "local":
        ready(raft, token)
    elif mode not in ("readindex", "lease"):
        raft.fail(token, "bad_read_mode", True)
    elif raft.state in LEADING:
        if mode == "lease":
            on_lease_read(raft, token)
        else:
            on_index_read(raft, token, more)
    elif raft.bugs.breaks("follower_local_read"):
        ready(raft, token)
    elif mode == "readindex" and raft.leader_id:
        raft.asks.waiting.append(token)
        if not more:
            ask(raft)
    else:
        raft.fail(token, "not_leader", True)


def ready(raft: Raft, token: int) -> None:
    raft.out.reads.append(ReadReady(token, raft.commit, raft.term))


# ---- leader lease --------------------------------------------------------------------------------


def lease_until(raft: Raft) -> int:
    """The end of the leader's claim on its own clock; only meaningful at a leader."""
    return quorums.stamp(raft) + raft.election_timeout_ns


def lease_state(raft: Raft) -> tuple[str, int]:
    """(state, until) at this instant, without consequences."""
    if not raft.options.leader_lease:
        return DISABLED, 0
    if raft.state != LEADER and not (
        raft.state == TRANSFERRING and raft.bugs.breaks("transfer_keeps_lease")
    ):
        return EXPIRED, 0
    if raft.commit < raft.term_start and not raft.bugs.breaks("lease_ready_early"):
        return NOT_READY, 0
    until = lease_until(raft)
    if raft.now < until or (raft.ticked < until and raft.bugs.breaks("lease_flag_by_timer")):
        return VALID, until
    return EXPIRED, 0


def observe_lease(raft: Raft) -> str:
    """Report the lease's state. Only an observation: who merely watches must not change what happens."""
    state, until = lease_state(raft)
    raft.out.events.append(events.lease(raft.term, state, raft.epoch, until))
    return state


def on_lease_read(raft: Raft, token: int) -> None:
    """Answer under a valid lease; a leader that finds it expired steps down (3.7.4), one that gave it up does not."""
    if lease_state(raft)[0] != VALID and raft.bugs.breaks("read_no_check"):
        ready(raft, token)
        return
    state = observe_lease(raft)
    if state == VALID:
        ready(raft, token)
        return
    if state == EXPIRED and raft.state == LEADER:
        raft.step_down(raft.term, "lease_expired")
        raft.fail(token, "not_leader", True)
    else:
        raft.fail(token, f"lease_{state}", True)


# ---- read index ----------------------------------------------------------------------------------


def on_index_read(raft: Raft, token: int, more: bool) -> None:
    skip = raft.commit >= raft.term_start and raft.bugs.breaks("readindex_no_round")
    if skip or raft.bugs.breaks("read_no_check"):
        ready(raft, token)
        return
    raft.rounds.waiting.append(token)
    if more:
        raft.rounds.held = True
    else:
        start_round(raft)


def start_round(raft: Raft) -> None:
    """Begin a round for everything that waits, unless one is in progress or the own-term entry is
    not committed.

    New entries carry it; who gets none gets a heartbeat. A disk so slow that the entries' answers are late holds up no read
    for longer than a heartbeat's period: heartbeats carry the round too.
    """
    rounds = raft.rounds
    if rounds.open or not rounds.waiting:
        return
    if raft.commit < raft.term_start and not raft.bugs.breaks("readindex_no_noop"):
        return
    rounds.number += 1
    rounds.index = raft.commit
    rounds.open, rounds.waiting = rounds.waiting, []
    rounds.held = False
    replication.fill_all(raft)
    for peer in raft.peers.values():
        if peer.round < rounds.number:
            replication.heartbeat(raft, peer)
    if quorums.agrees(raft, (raft.name,)):
        on_round_acknowledged(raft)


def on_round_acknowledged(raft: Raft) -> None:
    """A peer answered a request of some round: is the one in progress complete?"""
    rounds = raft.rounds
    number = rounds.number
    answered = [peer.name for peer in raft.peers.values() if peer.acked_round >= number]
    answered.append(raft.name)
    if not quorums.agrees(raft, answered):
        return
    tokens, rounds.open = rounds.open, []
    raft.out.events.append(events.readindex(raft.term, rounds.index, len(tokens)))
    for reader in tokens:
        if isinstance(reader, tuple):
            sender, call = reader
            raft.reply(sender, ReadIndexReply(raft.term, call, True, rounds.index))
        else:
            ready(raft, reader)
    if not rounds.held:
        start_round(raft)


def on_old_answer(raft: Raft, peer: Replicator) -> None:
    """An answer to a request that was sent before the round in progress began: it says nothing of now."""
    if raft.bugs.breaks("readindex_old_acks"):
        peer.acked_round = raft.rounds.number
        on_round_acknowledged(raft)


def drop_rounds(raft: Raft) -> None:
    """This node leads no more: whoever waited for a round gets a definite failure, for a read has no effect."""
    rounds = raft.rounds
    readers = rounds.open + rounds.waiting
    rounds.open, rounds.waiting = [], []
    rounds.held = False
    for reader in readers:
        if isinstance(reader, tuple):
            sender, call = reader
            raft.reply(sender, ReadIndexReply(raft.term, call, False, 0))
        else:
            raft.fail(reader, "not_leader", True)


def on_read_index(raft: Raft, sender: str, m: ReadIndex) -> None:
    """A follower asks up to where its reads must have applied: it takes part in the next round."""
    if m.term > raft.term:
        raft.step_down(m.term, "higher_term_request")
    if raft.state not in LEADING or m.term < raft.term:
        raft.reply(sender, ReadIndexReply(raft.term, m.call, False, 0))
        return
    raft.rounds.waiting.append((sender, m.call))
    start_round(raft)


# ---- read index at a follower --------------------------------------------------------------------


def ask(raft: Raft) -> None:
    """Ask the leader for everything that waits, unless a request is in flight."""
    asks = raft.asks
    if asks.open or not asks.waiting:
        return
    asks.open, asks.waiting = asks.waiting, []
    asks.call = raft.next_call()
    asks.due = raft.now + raft.append_timeout_ns
    raft.out.messages.append((raft.leader_id, ReadIndex(raft.term, asks.call)))


def on_read_index_reply(raft: Raft, sender: str, m: ReadIndexReply) -> None:
    """The leader's word on the reads of the request in flight; they wait until that much is applied here."""
    if m.term > raft.term:
        raft.step_down(m.term, "higher_term_response")
        return
    asks = raft.asks
    if not asks.open or m.call != asks.call:
        return
    tokens, asks.open = asks.open, []
    asks.due = None
    for token in tokens:
        if not m.success:
            raft.fail(token, "not_leader", True)
        elif m.index <= raft.commit or raft.bugs.breaks("readindex_no_wait"):
            ready(raft, token)
        else:
            asks.applying.append((m.index, token))
    ask(raft)


def on_applied(raft: Raft) -> None:
    """More is applied: answer the reads that waited for it."""
    applying = raft.asks.applying
    while applying and applying[0][0] <= raft.commit:
        ready(raft, applying.popleft()[1])


def unanswered(raft: Raft) -> None:
    """The leader does not answer, or the connection to it broke."""
    asks = raft.asks
    tokens = asks.open + asks.waiting
    asks.open, asks.waiting = [], []
    asks.due = None
    for token in tokens:
        raft.fail(token, "leader_lost", True)


def lose_leader(raft: Raft) -> None:
    """There is another leader now, or none: nobody tells how long the rest would take to be applied."""
    unanswered(raft)
    applying = raft.asks.applying
    while applying:
        raft.fail(applying.popleft()[1], "leader_lost", True)
