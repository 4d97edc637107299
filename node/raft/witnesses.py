"""Witnesses: members that vote and acknowledge, but hold no data (braft src/braft/node.cpp).

A witness gets entries whose commands were taken out: of kind METADATA, with the crc of the command that was there, so that
logs can still be compared. It makes quorums, not copies: it applies nothing, answers no reads, and leads only where option
witness_may_lead says so (it then gets the data too), and only until its next step-down tick.

Its snapshots are of nothing: they only let it cut its log. Whoever holds a log without commands, or such a snapshot, is `bare`,
and must never serve as a member with data: the commands would be missing for good, and nobody would notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft.messages import DATA, METADATA, Entry, SnapshotMeta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.raft.raft import Raft


def bare(entry: Entry) -> Entry:
    """What a witness is sent of `entry`: configurations whole, of a command only that it is there."""
    if entry.kind != DATA:
        return entry
    return Entry(entry.index, entry.term, METADATA, b"", entry.crc)


def offered(meta: SnapshotMeta, name: str) -> SnapshotMeta:
    """What the witness `name` is offered of a snapshot: how far it goes, and no state.

    In a configuration that has it as a member with data it could not stand without the state.
    """
    conf = meta.configuration
    if name in (*conf.members, *conf.old) and name not in conf.witnesses:
        return meta
    return SnapshotMeta(meta.index, meta.term, meta.configuration, 0, 0, bare=True)


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


def boot(raft: Raft) -> None:
    """Find out what kind of log the last life left; ValueError where a member with data lacks it."""
    raft.bare = is_bare(raft)
    if raft.bare and in_office(raft):
        raise ValueError(unusable(raft))


def is_bare(raft: Raft) -> bool:
    """Are commands missing from the log, or from what the snapshot covers?"""
    meta = raft.snapshot
    return (meta is not None and meta.bare) or any(
        entry.kind == METADATA for entry in raft.log.entries
    )


def in_office(raft: Raft) -> bool:
    """Is this a member with data, by the configuration in force?"""
    conf = raft.conf
    return not raft.witness and (raft.name in conf.members or raft.name in conf.old)


def takes(raft: Raft, entries: Sequence[Entry]) -> bool:
    """May these be appended? A leader that sends commands to a bare log takes this for a member with data."""
    kinds = {entry.kind for entry in entries}
    if METADATA in kinds:
        raft.bare = True
    if not raft.bare or raft.witness or DATA not in kinds:
        return True
    raft.out.unusable = unusable(raft)
    return False


def unusable(raft: Raft) -> str:
    """Why this member cannot go on, and what its operator is to do."""
    return (
        f"{raft.name} was a witness, its log holds no commands, so it cannot become a member with data: "
        "start it with an empty data folder, then add it"
    )


def lengthened(raft: Raft, length_ns: int) -> int:
    """A witness's timers are twice as long: whoever holds the data is to be first."""
    return 2 * length_ns if raft.witness else length_ns


def promise(raft: Raft) -> None:
    """A follower's promise lasts E + D, a witness's 2E + D."""
    raft.promise.set_length(lengthened(raft, raft.election_timeout_ns), raft.drift_ns)
