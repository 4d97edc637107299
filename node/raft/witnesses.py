"""Witnesses: members that vote and acknowledge, but hold no data (braft src/braft/node.cpp).

A witness gets entries whose commands were taken out: of kind METADATA, with the crc of the command that was there, so that
logs can still be compared. It makes quorums, not copies: it applies nothing, answers no reads, and leads only where option
witness_may_lead says so (it then gets the data too), and only until its next step-down tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft.messages import DATA, METADATA, Entry

if TYPE_CHECKING:
    from node.raft.raft import Raft


def bare(entry: Entry) -> Entry:
    """What a witness is sent of `entry`: configurations whole, of a command only that it is there."""
    if entry.kind != DATA:
        return entry
    return Entry(entry.index, entry.term, METADATA, b"", entry.crc)


def gets_bare(raft: Raft, name: str) -> bool:
    """Does `name` get entries without their commands from this leader?"""
    if raft.options.witness_may_lead:
        return False
    change = raft.change
    if change is not None and name in change.add:
        return name in change.target.witnesses
    # Who is being removed is what the last configuration with it said.
    for _, conf in reversed(raft.log.configurations):
        if name in conf.members or name in conf.old:
            return name in conf.witnesses
    return False


def lengthened(raft: Raft, length_ns: int) -> int:
    """A witness's timers are twice as long: whoever holds the data is to be first."""
    return 2 * length_ns if raft.witness else length_ns


def promise(raft: Raft) -> None:
    """A follower's promise lasts E + D, a witness's 2E + D."""
    raft.promise.set_length(lengthened(raft, raft.election_timeout_ns), raft.drift_ns)
