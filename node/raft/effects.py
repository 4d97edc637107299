"""What goes into `Raft.step` and what comes out: the contract between the core and its shell.

Everything in one `Effects` may be done at once: whatever rests on bytes is kept by the core and
only comes out of the step that is given `Persisted(token)`. The shell carries out one Effects in
the order: first the events (in the kernel's hands before anything else leaves), then messages and
replies, a LoadSnapshot, apply, reads, the other snapshot requests, then persist (handed to storage;
one sync for all that one turn of the loop collected, then `Persisted(token)` with the newest token
synced).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from node.raft.configuration import Configuration
from node.raft.messages import Entry, Message, SnapshotMeta


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The group's timing and switches; lengths are in ms of the node's own monotonic clock."""

    election_timeout_ms: int = 500
    max_clock_drift_ms: int = 125
    election_tick_ms: int = 50
    heartbeat_ms: int = 50
    election_jitter: bool = True
    """False: every tick and vote timeout has its base length (for scripted rivalries)."""
    prevote: bool = True
    leader_lease: bool = True
    leader_sticky: bool = False
    check_quorum: bool = True
    elections: bool = True
    """False: only an admin `vote` starts an election."""
    max_entries_per_append: int = 256
    max_bytes_per_append: int = 262_144
    max_inflight_appends: int = 8
    append_timeout_ms: int = 250
    snapshot_interval_entries: int = 50_000
    """A snapshot is saved when so many entries were applied since the last; 0: never of itself."""
    snapshot_interval_s: int = 0
    """And at this pace, if anything was applied; 0: not by time."""
    snapshot_min_gap_entries: int = 1
    """A snapshot that would hold fewer new entries than this is skipped."""
    snapshot_bytes_per_s: int = 0
    """How fast one member serves snapshots to others; 0: as fast as they ask."""
    catchup_margin: int = 1000
    """A new member gets its vote when it lacks at most so many entries."""
    witness_may_lead: bool = False
    """Witnesses get all data, and may lead until a member with data can."""
    bugs: tuple[str, ...] = ()


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """The durable (term, voted_for) record; voted_for "" is nobody."""

    term: int = 1
    voted_for: str = ""


# ---- inputs --------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message from `sender`, after its last byte arrived."""

    sender: str
    message: Message


class Disconnected(msgspec.Struct, frozen=True):
    """The outgoing connection to `peer` broke: requests in flight there will not be answered."""

    peer: str


class Propose(msgspec.Struct, frozen=True, gc=False):
    """A client command; `token` comes back in Applied or Failed. `crc` is crc32(data).

    `more`: another one follows at once, so that one append to each member can carry both.
    """

    token: int
    data: bytes
    crc: int
    more: bool = False


class Read(msgspec.Struct, frozen=True, gc=False):
    """A client read; mode is "local", "readindex" or "lease". Answered by ReadReady or Failed.

    `more`: what waits for a round goes on waiting until Requests, which follows at once.
    """

    token: int
    mode: str
    more: bool = False


class Requests(msgspec.Struct, frozen=True, gc=False):
    """Commands that are taken together, and with `reads` the end of a row of reads: one append to each member carries the
    commands and the round of the reads. Without it they go on waiting.
    """

    proposals: Sequence[Propose]
    reads: bool = True


class Persisted(msgspec.Struct, frozen=True, gc=False):
    """Every Persist up to and including `token` is synced."""

    token: int


class Tick(msgspec.Struct, frozen=True):
    """`Raft.next_deadline` has come (early or late ticks are harmless)."""


class ManualVote(msgspec.Struct, frozen=True):
    """Admin vote(E'): braft src/braft/node.cpp."""

    election_timeout_ms: int


class ObserveLease(msgspec.Struct, frozen=True):
    """Ask for the leader lease's state now; emits a `lease` event."""


class WallClock(msgspec.Struct, frozen=True):
    """The host's wall clock stands `skew_ns` ahead of where this life began (behind: below 0). Nothing may depend on it."""

    skew_ns: int


# What an operator asks for. Each is answered by one AdminDone with its token.


class ChangeMembers(msgspec.Struct, frozen=True):
    """Make `members` (witnesses included) the group; one change at a time, at the leader."""

    token: int
    members: tuple[str, ...]
    witnesses: tuple[str, ...] = ()


class ResetMembers(msgspec.Struct, frozen=True):
    """Override this member's configuration, in a new term. Unsafe: two groups may come of it."""

    token: int
    members: tuple[str, ...]


class Transfer(msgspec.Struct, frozen=True):
    """Hand the leadership to `to`, or to the member that is furthest when it is ""."""

    token: int
    to: str = ""


class SetReadonly(msgspec.Struct, frozen=True):
    """Enter or leave the read-only mode of this member."""

    token: int
    readonly: bool


class ResetElectionTimeout(msgspec.Struct, frozen=True):
    """Set E, and D (None: E + D stays as it is)."""

    token: int
    election_timeout_ms: int
    max_clock_drift_ms: int | None = None


class TakeSnapshot(msgspec.Struct, frozen=True):
    """Save a snapshot at what is applied now."""

    token: int


class Shutdown(msgspec.Struct, frozen=True):
    """The member is about to stop: a leader steps down and wakes a successor. No answer.

    `reason` is "shutdown" or "storage_error".
    """

    reason: str = "shutdown"


# What became of a snapshot's bytes.


class SnapshotSaved(msgspec.Struct, frozen=True):
    """The state that SaveSnapshot asked for is durable as `meta`; None: it could not be saved."""

    meta: SnapshotMeta | None


class Downloaded(msgspec.Struct, frozen=True):
    """All pieces of `meta` are here, verified and durable; or not (`ok` False): given up.

    `meta` is what was asked for, or a later one that turned out to be here already.
    """

    meta: SnapshotMeta
    ok: bool


Input = (
    Received
    | Disconnected
    | Propose
    | Read
    | Requests
    | Persisted
    | Tick
    | ManualVote
    | ObserveLease
    | WallClock
    | ChangeMembers
    | ResetMembers
    | Transfer
    | SetReadonly
    | ResetElectionTimeout
    | TakeSnapshot
    | Shutdown
    | SnapshotSaved
    | Downloaded
)

# ---- effects -------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something the node reports of itself (docs/architecture.md lists names and fields)."""

    name: str
    term: int
    fields: dict[str, object]


class Persist(msgspec.Struct, frozen=True):
    """To be made durable, in this order.

    Forget the whole log, which begins after `reset` = (index, term) now (None: no); cut it from `truncate_from` on (0: no);
    append `entries`; write `hard_state` (None: no). Entries up to `cut_to` are not needed any more and may go at any later
    time.
    """

    token: int
    hard_state: HardState | None
    truncate_from: int
    entries: Sequence[Entry]
    reset: tuple[int, int] | None = None
    cut_to: int = 0


class Committed(msgspec.Struct, frozen=True, gc=False):
    """An entry to apply; `token` is the pending client command that *this* entry is, or None."""

    entry: Entry
    token: int | None


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """The read may be answered from the state machine as it is after this same Effects' apply.

    `index` is the last entry that the state then holds.
    """

    token: int
    index: int
    term: int


class Failed(msgspec.Struct, frozen=True, gc=False):
    """A client command or read that gets an error. `definite`: it did not and will never take
    effect.
    """

    token: int
    code: str
    definite: bool
    leader: str


class AdminDone(msgspec.Struct, frozen=True):
    """What became of an operator's request: `error` is one line, "" when it was carried out."""

    token: int
    error: str = ""
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


class SaveSnapshot(msgspec.Struct, frozen=True):
    """Save the state machine as it is after this same Effects' apply, or (`bare`) nothing but how far that is; answered by
    SnapshotSaved.
    """

    index: int
    term: int
    configuration: Configuration
    bare: bool = False


class Download(msgspec.Struct, frozen=True):
    """Pull the snapshot from `leader`, in place of any other download; answered by Downloaded."""

    leader: str
    meta: SnapshotMeta


class CancelDownload(msgspec.Struct, frozen=True):
    """The download in progress is not wanted any more; it is not answered, what came is kept to be resumed."""


class LoadSnapshot(msgspec.Struct, frozen=True):
    """Put the downloaded `meta` in the place of the state machine's state, before this Effects' apply."""

    meta: SnapshotMeta


class Effects(msgspec.Struct, gc=False):
    events: list[Event] = []
    messages: list[tuple[str, Message]] = []
    failed: list[Failed] = []
    apply: list[Committed] = []
    reads: list[ReadReady] = []
    persist: list[Persist] = []
    admin: list[AdminDone] = []
    snapshots: list[SaveSnapshot | Download | CancelDownload | LoadSnapshot] = []
    fatal: str = ""
    """An invariant of the core is broken: the shell writes the events, prints this to stderr and
    exits with status 70.
    """
    unusable: str = ""
    """What is on the disk cannot serve what this member is to be: likewise, with status 65."""
