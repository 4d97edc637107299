"""What nodes say of themselves, as typed values: one struct for each event, decoded by its name.

The fields common to all lines: `seq` (counted per boot), `t0` and `t1` (true time before the node's
clock was read for the step that made the event, and when the line was written, ns since the run's
origin), `clock` (the node's own clock, ns), `boot` and `term`. An event that is not listed here
comes as `Other`: a system may say more than the monitors know.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, get_args

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

    `rate`, `offset_ns`: what its clock was started with. The log begins at `first_index`; the newest snapshot is at
    `snapshot_index` (0: none). A node that says nothing of these has -1 there. `members`, `old` and `witnesses` are the
    configuration in force, () if it is not told.
    """

    last_index: int
    last_term: int
    voted_for: str = ""
    first_boot: bool = False
    rate: float = 1.0
    offset_ns: int = 0
    first_index: int = -1
    snapshot_index: int = -1
    snapshot_term: int = -1
    members: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()


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


class SnapshotSaved(Line, frozen=True, gc=False, tag="snapshot_saved"):
    """A snapshot at `index` is durable; `digest` is the crc32 of the state there, client sessions included. None: a witness's,
    which has none.
    """

    index: int
    last_term: int
    digest: int | None
    size: int = 0


class SnapshotLoaded(Line, frozen=True, gc=False, tag="snapshot_loaded"):
    """The state machine is now at `index`; `source` is boot, or install for one that the leader sent."""

    index: int
    last_term: int
    digest: int | None
    source: str


class LogCut(Line, frozen=True, gc=False, tag="log_cut"):
    """Entries that a snapshot covers went: the log begins at `first`."""

    first: int


class LogReset(Line, frozen=True, gc=False, tag="log_reset"):
    """The whole log went for an installed snapshot at `first` - 1."""

    first: int


class LogDump(Line, frozen=True, gc=False, tag="log_dump"):
    """The whole log as somebody found it, from `first` on: (term, crc) each."""

    first: int
    entries: list[tuple[int, int]]


class ConfChange(Line, frozen=True, gc=False, tag="conf_change"):
    """The configuration of the entry at `index`.

    `stage`: append (in force from here on), rollback (in force again, since a later one was cut off), commit, or reset (an
    operator has put it in the place of the one at `index`, on this node alone). With `old` it is a joint one.
    """

    index: int
    members: tuple[str, ...]
    stage: str
    old: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()


class ChangeStage(Line, frozen=True, gc=False, tag="change_stage"):
    """A leader's change of members came to `stage`: catching_up, joint, stable, none."""

    stage: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class Transfer(Line, frozen=True, gc=False, tag="transfer"):
    """A leader hands over to `to`; `stage`: start, timeout_now, expired, done."""

    to: str
    stage: str


class Readonly(Line, frozen=True, gc=False, tag="readonly"):
    """The node takes no new writes from here on, or takes them again."""

    readonly: bool
    index: int = 0


class ElectionTimeout(Line, frozen=True, gc=False, tag="election_timeout"):
    """E and D of this node are these from here on, in ms."""

    election_timeout_ms: int
    max_clock_drift_ms: int


class Progress(Line, frozen=True, gc=False, tag="progress"):
    """Where the node stands: its log is [first_index, last], its newest snapshot at `snapshot`."""

    first_index: int
    snapshot: int
    applied: int
    committed: int
    last: int


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
    | SnapshotSaved
    | SnapshotLoaded
    | LogCut
    | LogReset
    | LogDump
    | ConfChange
    | ChangeStage
    | Transfer
    | Readonly
    | ElectionTimeout
    | Progress
    | TermChange
    | PrevoteGranted
    | VoteRefused
    | LeaseReady
    | Following
    | ReadIndex
)
Event: TypeAlias = Known | Other

KINDS: Final[dict[str, type[Known]]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(Known)
}
"""Name of an event -> its type."""


def name_of(event: Line) -> str:
    return str(event.__struct_config__.tag)


_known: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Known)
_other: Final[msgspec.json.Decoder[Other]] = msgspec.json.Decoder(Other)


def decode(line: bytes) -> Event:
    """One line; msgspec.ValidationError or DecodeError if it is none."""
    try:
        found: Event = _known.decode(line)
    except msgspec.ValidationError:
        other = _other.decode(line)
        if other.event in KINDS:
            raise
        return other
    return found


def decode_lines(data: bytes) -> list[Event]:
    """Whole lines at once, which is quick when all names are known."""
    found: list[Event] = _known.decode_lines(data)
    return found
