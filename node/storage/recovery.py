"""What a data folder's journal says, segment by segment, and what a crash left to be repaired.

A crash may leave: a torn tail in the newest segment; segments whose deletion did not become durable, in any choice of them; and
a snapshot that was installed while the log was not yet reset to it. All else that does not fit together is damage, and said to
be. Reads only; the journal repairs (Raft dissertation, 5.1 and 5.3: entries, snapshot and their boundary).
"""

from __future__ import annotations

import msgspec

from node.raft.effects import HardState
from node.raft.messages import Entry, SnapshotMeta
from node.storage import codec, names
from node.storage.codec import Corrupt, Foreign, Replayed, Start
from node.storage.disk import Disk


class Found(msgspec.Struct, frozen=True):
    """`segments` are (number, index of the log's end as it began), oldest first, none at the first boot; `leftovers` are the
    numbers of older ones that do not count. Of the newest, `end` is the offset behind the last record, `size` the file's.
    `torn`: something other than zeros follows. `reset`: the base is a snapshot's, which the journal does not know yet.
    """

    hard_state: HardState
    base: tuple[int, int]
    entries: list[Entry]
    segments: list[tuple[int, int]] = []
    leftovers: list[int] = []
    end: int = 0
    size: int = 0
    torn: bool = False
    reset: bool = False


def recover(disk: Disk, group: str, node: str, snapshot: SnapshotMeta | None) -> Found:
    """What the journal on `disk` says, beside the newest durable `snapshot`. Raises Foreign, Corrupt, OSError."""
    files = disk.names()
    if names.SINGLE_FILE_JOURNAL in files:
        raise Foreign(
            f"{names.SINGLE_FILE_JOURNAL}: written by format version 1, this node reads version {codec.JOURNAL_VERSION};"
            " start the release that wrote it, or a new member with an empty folder"
        )
    there = names.segments(files)
    marked, synced = disk.mark()
    if not there:
        if snapshot is not None:
            raise Corrupt(
                f"no journal beside the snapshot of entries up to {snapshot.index}: the vote is gone"
            )
        return Found(HardState(), (0, 0), [])
    if marked > there[-1]:
        raise Corrupt(f"{names.segment(marked)}: gone, yet {synced} bytes of it were durable")
    starts = _starts(disk, _consecutive(there), group, node)
    log = Replayed()
    end = size = 0
    tail = False
    for position, (start, at) in enumerate(starts):
        name = names.segment(start.segment)
        try:
            if position == 0:
                log.base, log.hard_state = (start.index, start.term), start.hard_state
            else:
                _check_follows(start, log)
            data = disk.read(name)
            if position + 1 < len(starts):
                durable = starts[position + 1][0].previous_end
            else:
                durable = synced if start.segment == marked else 0
            end = codec.replay(data, at, durable, log)
        except Corrupt as error:
            raise Corrupt(f"{name}: {error}") from None
        if position + 1 < len(starts) and end > durable:
            raise Corrupt(f"{name}: byte {durable}: more records than were ever in it")
        size = len(data)
        tail = codec.torn(data, end)
    reset = _meets(snapshot, log)
    if reset and snapshot is not None:
        log.base, log.entries = (snapshot.index, snapshot.term), []
    oldest = starts[0][0].segment
    return Found(
        log.hard_state,
        log.base,
        log.entries,
        [(start.segment, start.index) for start, _ in starts],
        [number for number in there if number < oldest],
        end,
        size,
        tail,
        reset,
    )


def _consecutive(numbers: list[int]) -> list[int]:
    """The newest ones, without a hole: what is older was being deleted."""
    first = len(numbers) - 1
    while first and numbers[first - 1] == numbers[first] - 1:
        first -= 1
    return numbers[first:]


def _starts(disk: Disk, run: list[int], group: str, node: str) -> list[tuple[Start, int]]:
    """What the segments in `run` start with, and where their records begin; from the newest reset on."""
    starts: list[tuple[Start, int]] = []
    for number in run:
        name = names.segment(number)
        try:
            data = disk.read(name, 0, codec.HEADER_BYTES_MAX)
            start, at = codec.read_segment_header(data, group, node)
        except Corrupt as error:
            raise Corrupt(f"{name}: {error}") from None
        except Foreign as error:
            raise Foreign(f"{name}: {error}") from None
        if start.segment != number:
            raise Corrupt(f"{name}: byte 0: is segment {start.segment} under another's name")
        if start.reset:
            starts.clear()
        starts.append((start, at))
    return starts


def _check_follows(start: Start, log: Replayed) -> None:
    """Does a segment go on where the one before ended?"""
    if (start.index, start.term) != log.last or start.hard_state != log.hard_state:
        raise Corrupt(
            f"byte 0: begins after entry {start.index} of term {start.term} with {start.hard_state}, the segment before ends"
            f" with entry {log.last[0]} of term {log.last[1]} and {log.hard_state}"
        )


def _meets(snapshot: SnapshotMeta | None, log: Replayed) -> bool:
    """Is the log to be reset to the snapshot (Raft paper 7, rule of an install)? Raises Corrupt when there is a gap."""
    base = log.base[0]
    index, term = (0, 0) if snapshot is None else (snapshot.index, snapshot.term)
    if index < base:
        raise Corrupt(
            f"journal: begins after entry {base}, and "
            + (f"the snapshot ends at entry {index}" if snapshot else "there is no snapshot")
        )
    if index > log.last[0]:
        return True
    own = log.entries[index - base - 1].term if index > base else log.base[1]
    if own != term and index == base:
        raise Corrupt(
            f"entry {index} has term {own} in the journal and term {term} in the snapshot"
        )
    return own != term
