"""Reads: local, by read index, by leader lease (raft-node.md Q7, Q8, 3.6; Raft thesis 6.4).

A read-index round notes the commit index and then needs a quorum of answers to requests *sent
after* the round began, told apart by the round's number. One round serves every read that waited at
its start; later ones wait for the next. The one rule: no mode but "local" answers before this
leadership has committed an entry of its own term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft import events, quorums, replication
from node.raft.effects import Read, ReadReady
from node.raft.election import LEADER
from node.raft.lease import DISABLED, EXPIRED, NOT_READY, VALID

if TYPE_CHECKING:
    from node.raft.raft import Raft


class Rounds:
    """The read-index rounds of one life; numbers only grow."""

    __slots__ = ("index", "number", "open", "waiting")

    def __init__(self) -> None:
        self.number = 0
        self.index = 0
        """The commit index when the round in progress began."""
        self.open: list[int] = []
        """Tokens that the round in progress will serve; empty: there is none."""
        self.waiting: list[int] = []
        """Tokens for the next round."""

    def drain(self) -> list[int]:
        """Every token, forgotten here."""
        tokens = self.open + self.waiting
        self.open = []
        self.waiting = []
        return tokens


def on_read(raft: Raft, read: Read) -> None:
    """Answer, refuse, or wait for a round."""
    mode, token = read.mode, read.token
    if raft.witness:
        raft.fail(token, "witness", True)
    elif mode == "local":
        ready(raft, token)
    elif mode not in ("readindex", "lease"):
        raft.fail(token, "bad_read_mode", True)
    elif raft.state != LEADER:
        if raft.bugs.breaks("follower_local_read"):
            ready(raft, token)
        else:
            raft.fail(token, "not_leader", True)
    elif mode == "lease":
        on_lease_read(raft, token)
    else:
        on_index_read(raft, token)


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
    if raft.state != LEADER:
        return EXPIRED, 0
    if raft.commit < raft.term_start:
        return NOT_READY, 0
    until = lease_until(raft)
    return (VALID, until) if raft.now < until else (EXPIRED, 0)


def observe_lease(raft: Raft) -> str:
    """Report the lease's state. Only an observation: who merely watches must not change what happens."""
    state, until = lease_state(raft)
    raft.out.events.append(events.lease(raft.term, state, raft.epoch, until))
    return state


def on_lease_read(raft: Raft, token: int) -> None:
    """Answer under a valid lease; a leader that finds it expired steps down (3.7.4)."""
    if lease_state(raft)[0] != VALID and raft.bugs.breaks("read_no_check"):
        ready(raft, token)
        return
    state = observe_lease(raft)
    if state == VALID:
        ready(raft, token)
        return
    if state == EXPIRED:
        raft.step_down(raft.term, "lease_expired")
        raft.fail(token, "not_leader", True)
    else:
        raft.fail(token, f"lease_{state}", True)


# ---- read index ----------------------------------------------------------------------------------


def on_index_read(raft: Raft, token: int) -> None:
    skip = raft.commit >= raft.term_start and raft.bugs.breaks("readindex_no_round")
    if skip or raft.bugs.breaks("read_no_check"):
        ready(raft, token)
        return
    raft.rounds.waiting.append(token)
    start_round(raft)


def start_round(raft: Raft) -> None:
    """Begin a round for everything that waits, unless one is in progress or the own-term entry is
    not committed.
    """
    rounds = raft.rounds
    if rounds.open or not rounds.waiting or raft.commit < raft.term_start:
        return
    rounds.number += 1
    rounds.index = raft.commit
    rounds.open, rounds.waiting = rounds.waiting, []
    for peer in raft.peers.values():
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
    for token in tokens:
        ready(raft, token)
    start_round(raft)
