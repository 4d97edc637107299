"""The RPCs between members, as frozen values (braft's names; fields of the Raft paper).

A request is answered by the message of the same name with `Reply`. `call` matches the two: it is
drawn by the sender, never used twice in one life of a node, and echoed. Terms and indices are plain
integers, 0 meaning "none".
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from node.raft.configuration import Configuration

DATA: Final = 1
CONFIGURATION: Final = 2
"""A new leader's first entry is one too: it repeats the configuration in force."""
METADATA: Final = 3
"""What a witness holds of a DATA entry: everything but the data, `crc` is that of the data."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Whatever arrives from outside is checked where it is decoded: the core indexes its log by these."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One log entry. `crc` is crc32(data), made once where the entry is born and carried on, without the data too."""

    index: Number
    term: Number
    kind: Number
    data: bytes
    crc: Number


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a snapshot covers: everything up to (index, term), with the configuration in force there.

    `size` in bytes and `crc` (crc32) are those of the state machine's state, its client sessions included; a `bare` one,
    a witness's, has no state, not one byte.
    """

    index: Number
    term: Number
    configuration: Configuration
    size: Number
    crc: Number
    bare: bool = False


class AppendEntries(msgspec.Struct, frozen=True, tag="append_entries", array_like=True, gc=False):
    """Entries after (prev_index, prev_term); an empty one is a heartbeat or a probe.

    `round` is the newest read round.
    """

    term: Number
    call: Number
    prev_index: Number
    prev_term: Number
    commit: Number
    round: Number
    entries: list[Entry]


class AppendEntriesReply(
    msgspec.Struct, frozen=True, tag="append_entries_reply", array_like=True, gc=False
):
    """`prev_index` and `round` are echoed.

    On success both logs agree up to prev_index + count, and `match` says how much of that is on the
    follower's disk (all of it, unless the request was empty). On a refusal because of the log,
    `last_index` is the newest index at which the logs may still agree: the follower's last one, or
    the one below its run of the conflicting term.
    """

    term: Number
    call: Number
    success: bool
    match: Number
    last_index: Number
    prev_index: Number
    round: Number
    readonly: bool = False
    """The follower's operator forbids user entries."""


class PreVote(msgspec.Struct, frozen=True, tag="pre_vote", array_like=True, gc=False):
    """Would you vote for me in `term`? Changes nothing at the voter."""

    term: Number
    call: Number
    last_index: Number
    last_term: Number


class PreVoteReply(msgspec.Struct, frozen=True, tag="pre_vote_reply", array_like=True, gc=False):
    term: Number
    call: Number
    granted: bool
    rejected_by_lease: bool
    disrupted: bool


class RequestVote(msgspec.Struct, frozen=True, tag="request_vote", array_like=True, gc=False):
    """`disrupted_leader` led `disrupted_term` and stepped down for this very candidacy: proof for
    those who promised that leader not to vote. "" is no proof.
    """

    term: Number
    call: Number
    last_index: Number
    last_term: Number
    disrupted_leader: str = ""
    disrupted_term: Number = 0


class RequestVoteReply(
    msgspec.Struct, frozen=True, tag="request_vote_reply", array_like=True, gc=False
):
    term: Number
    call: Number
    granted: bool
    rejected_by_lease: bool
    disrupted: bool
    previous_term: Number


class InstallSnapshot(
    msgspec.Struct, frozen=True, tag="install_snapshot", array_like=True, gc=False
):
    """What you lack was cut from my log: pull this snapshot from me, in pieces, and load it."""

    term: Number
    call: Number
    meta: SnapshotMeta


class InstallSnapshotReply(
    msgspec.Struct, frozen=True, tag="install_snapshot_reply", array_like=True, gc=False
):
    """Sent when the snapshot is loaded, or was not needed, or could not be taken (`error`, one word)."""

    term: Number
    call: Number
    success: bool
    error: str = ""


class FetchSnapshot(msgspec.Struct, frozen=True, tag="fetch_snapshot", array_like=True, gc=False):
    """One piece of the state of snapshot (index, snapshot_term), please. Answered outside the core."""

    call: Number
    index: Number
    snapshot_term: Number
    offset: Number
    length: Number


class FetchSnapshotReply(
    msgspec.Struct, frozen=True, tag="fetch_snapshot_reply", array_like=True, gc=False
):
    """`error` is one word, "" when `data` is what was asked for; "busy" asks to come again later."""

    call: Number
    index: Number
    offset: Number
    data: bytes
    error: str = ""


class TimeoutNow(msgspec.Struct, frozen=True, tag="timeout_now", array_like=True, gc=False):
    """Stand for election at once. `stepped_down`: the sender leads no more, and says so to all by this."""

    term: Number
    call: Number
    stepped_down: bool


class TimeoutNowReply(
    msgspec.Struct, frozen=True, tag="timeout_now_reply", array_like=True, gc=False
):
    term: Number
    call: Number
    success: bool


class ReadIndex(msgspec.Struct, frozen=True, tag="read_index", array_like=True, gc=False):
    """A follower asks its leader up to where reads that wait at it must have applied."""

    term: Number
    call: Number


class ReadIndexReply(
    msgspec.Struct, frozen=True, tag="read_index_reply", array_like=True, gc=False
):
    term: Number
    call: Number
    success: bool
    index: Number


Request = (
    AppendEntries | PreVote | RequestVote | InstallSnapshot | FetchSnapshot | TimeoutNow | ReadIndex
)
Reply = (
    AppendEntriesReply
    | PreVoteReply
    | RequestVoteReply
    | InstallSnapshotReply
    | FetchSnapshotReply
    | TimeoutNowReply
    | ReadIndexReply
)
Message = Request | Reply

REPLIES: Final = (
    AppendEntriesReply,
    PreVoteReply,
    RequestVoteReply,
    InstallSnapshotReply,
    FetchSnapshotReply,
    TimeoutNowReply,
    ReadIndexReply,
)
