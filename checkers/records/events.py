"""What nodes say of themselves, as typed values: one struct for each event, decoded by its name.

The fields common to all lines: `seq` (counted per boot), `t0` and `t1` (true time before the node's
clock was read for the step that made the event, and when the line was written, ns since the run's
origin), `clock` (the node's own clock, ns), `boot` and `term`. An event that is not listed here
comes as `Other`: a system may say more than the monitors know.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec


class Line(msgspec.Struct, frozen=True, gc=False, tag_field="event"):
    """The fields of every event; `event` is the tag."""

    seq: int
    t0: int
    t1: int
    clock: int
    boot: int
    term: int


class Boot(Line, frozen=True, gc=False, tag="boot"):
    """A life begins with this on disk; `term` is the recovered one, voted_for "" nobody.

    `rate`, `offset_ns`: what its clock was started with.
    """

    last_index: int
    last_term: int
    voted_for: str = ""
    first_boot: bool = False
    rate: float = 1.0
    offset_ns: int = 0


class ClockSet(Line, frozen=True, gc=False, tag="clock_set"):
    """The clock runs like this from here on; `offset_ns` is the sum of all jumps of this life."""

    rate: float
    offset_ns: int


class VoteGranted(Line, frozen=True, gc=False, tag="vote_granted"):
    """The vote is on disk; a candidate's own vote is one too."""

    candidate: str


class BecomeCandidate(Line, frozen=True, gc=False, tag="become_candidate"):
    pass


class BecomeLeader(Line, frozen=True, gc=False, tag="become_leader"):
    """`last_index`, `last_term`: its log before the first entry of its own term."""

    last_index: int = -1
    last_term: int = -1


class StepDown(Line, frozen=True, gc=False, tag="step_down"):
    reason: str = ""


class Lease(Line, frozen=True, gc=False, tag="lease"):
    """The leader lease was looked at, for a read or by itself."""

    state: str
    epoch: int = 0
    until_ns: int = 0


class AppendAck(Line, frozen=True, gc=False, tag="append_ack"):
    """The node told `leader` that its log is on disk up to `last_index`."""

    leader: str
    last_index: int


class Commit(Line, frozen=True, gc=False, tag="commit"):
    index: int


class Apply(Line, frozen=True, gc=False, tag="apply"):
    """Entries from `first` on were applied: (term, crc) each."""

    first: int
    entries: list[tuple[int, int]]


class Truncate(Line, frozen=True, gc=False, tag="truncate"):
    """The log is cut from this index on."""

    first: int = msgspec.field(name="from")


class TermChange(Line, frozen=True, gc=False, tag="term_change"):
    previous: int = msgspec.field(name="from")
    reason: str = ""


class PrevoteGranted(Line, frozen=True, gc=False, tag="prevote_granted"):
    pass


class VoteRefused(Line, frozen=True, gc=False, tag="vote_refused"):
    pass


class LeaseReady(Line, frozen=True, gc=False, tag="lease_ready"):
    pass


class Following(Line, frozen=True, gc=False, tag="following"):
    pass


class ReadIndex(Line, frozen=True, gc=False, tag="readindex"):
    pass


class Other(msgspec.Struct, frozen=True):
    """An event of a name that is not listed here; its own fields are left out."""

    seq: int
    t0: int
    t1: int
    clock: int
    boot: int
    term: int
    event: str


Known: TypeAlias = (
    Boot
    | ClockSet
    | VoteGranted
    | BecomeCandidate
    | BecomeLeader
    | StepDown
    | Lease
    | AppendAck
    | Commit
    | Apply
    | Truncate
    | TermChange
    | PrevoteGranted
    | VoteRefused
    | LeaseReady
    | Following
    | ReadIndex
)
Event: TypeAlias = Known | Other

NAMES: Final[frozenset[str]] = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        Boot,
        ClockSet,
        VoteGranted,
        BecomeCandidate,
        BecomeLeader,
        StepDown,
        Lease,
        AppendAck,
        Commit,
        Apply,
        Truncate,
        TermChange,
        PrevoteGranted,
        VoteRefused,
        LeaseReady,
        Following,
        ReadIndex,
    )
)

_known: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Known)
_other: Final[msgspec.json.Decoder[Other]] = msgspec.json.Decoder(Other)


def decode(line: bytes) -> Event:
    """One line; msgspec.ValidationError or DecodeError if it is none."""
    try:
        found: Event = _known.decode(line)
    except msgspec.ValidationError:
        other = _other.decode(line)
        if other.event in NAMES:
            raise
        return other
    return found


def decode_lines(data: bytes) -> list[Event]:
    """Whole lines at once, which is quick when all names are known."""
    found: list[Event] = _known.decode_lines(data)
    return found
