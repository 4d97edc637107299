"""The journal as an object: recovers, collects records in user space, writes and syncs them in batches, drops what is covered.

Its rule: a record reaches the kernel only in `write_and_sync`, immediately before the sync that makes it durable. A SIGKILL
therefore loses what a power loss would. The newest segment is filled with zeros ahead, since a sync that need not record a new
length is a third cheaper.

A new segment is made beside its place, synced and renamed, and the folder synced, before anything is written to it. One is
begun when the newest is full, when a cut makes it worthwhile, and at a reset of the log: from its rename on, older segments do
not count. Deletions are not synced, since whatever choice of them a power loss undoes, the newest consecutive segments tell the
same (recovery.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from node.raft.bugs import Seeded
from node.raft.effects import HardState, Persist
from node.raft.messages import Entry, SnapshotMeta
from node.storage import codec, names
from node.storage.codec import Start
from node.storage.disk import Disk
from node.storage.recovery import recover


class Sizes(msgspec.Struct, frozen=True):
    """Of a segment, in bytes."""

    full: int = 8 * 1024 * 1024
    """As braft's segments."""
    zeros: int = 1024 * 1024
    """Written ahead at once: 5 ms on a virtual disk, every 5,000 entries of 200 bytes."""
    worthwhile: int = 256 * 1024
    """A cut begins a new segment when the newest has so many: less, and its syncs would cost more than they spare."""


SIZES: Final = Sizes()


class Recovered(msgspec.Struct, frozen=True):
    """What a member knew when its last life ended: its vote, and the log's entries after `base` = (index, term).

    `fresh`: there was no last life. `torn`: a tail was cut.
    """

    hard_state: HardState
    base: tuple[int, int]
    entries: list[Entry]
    fresh: bool
    torn: bool


class Batch(msgspec.Struct, frozen=True):
    """Records to be made durable by one sync; `token` is the newest Persist's among them.

    `start` is the state before them, or, if `start.reset`, what a reset in the batch made of it. Entries up to `cut_to` are not
    needed once the batch is durable.
    """

    data: bytes
    token: int
    records: int
    start: Start
    cut_to: int = 0


class Journal:
    """`synced` is the newest segment's durable length in bytes; `batches` counts what was given out to be synced, `syncs`,
    `records` and `bytes_written` what has been, headers and zeros not counted.
    """

    def __init__(
        self,
        disk: Disk,
        group: str,
        node: str,
        snapshot: SnapshotMeta | None = None,
        sizes: Sizes = SIZES,
        bugs: Seeded | None = None,
    ) -> None:
        """Reads, checks and repairs the journal; everything it recovered is durable when this returns.

        `snapshot` is the newest durable one. Raises Foreign, Corrupt, OSError.
        """
        self._bugs = Seeded(()) if bugs is None else bugs
        self._disk = disk
        self._group = group
        self._node = node
        self._sizes = sizes
        self._zeros = bytes(sizes.zeros)
        found = recover(disk, group, node, snapshot)
        self._segments = list(found.segments)
        self._end = found.end
        self._size = found.size
        self._wants_segment = False
        self.synced = found.end
        self.batches = 0
        self.syncs = 0
        self.records = 0
        self.bytes_written = 0
        self._log = _LogEnd(found.base, found.entries)
        self._vote = found.hard_state
        """The newest that was given out."""
        if not found.segments:
            # A length left behind by an earlier journal must not speak of this one.
            disk.mark_synced(0, 0)
            self._begin(Start(0, *found.base, found.hard_state, 0))
        else:
            for number in found.leftovers:
                disk.unlink(names.segment(number))
            self._repair(found.torn)
            if found.reset:
                self._begin(Start(0, *found.base, found.hard_state, 0, True))
        self.recovered = Recovered(
            found.hard_state, found.base, found.entries, not found.segments, found.torn
        )
        self._waiting: list[bytes] = []
        self._persists: list[Persist] = []
        self._before = found.base
        """(index, term) of the log's end before what waits."""

    def __repr__(self) -> str:
        return f"<Journal {self.name} synced={self.synced} waiting={len(self._waiting)} syncs={self.syncs}>"

    def _repair(self, torn: bool) -> None:
        name = self.name
        if torn and not self._bugs.breaks("torn_tail_kept"):
            # Leftovers behind the end could become whole records again once others are written before them.
            self._disk.truncate(name, self._end)
            self._size = self._end
        if self._size < self._end + self._sizes.zeros // 2:
            self._disk.write(name, self._end, self._zeros)
            self._size = self._end + self._sizes.zeros
        self._disk.sync(name)
        self._disk.mark_synced(self._segments[-1][0], self._end)

    @property
    def name(self) -> str:
        """The newest segment's file."""
        return names.segment(self._segments[-1][0])

    @property
    def segments(self) -> int:
        """How many files the journal is in."""
        return len(self._segments)

    @property
    def waiting(self) -> int:
        """Records that are in user space only."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self._waiting))

    def add(self, persist: Persist) -> None:
        """Collect one Persist in user space."""
        if not self._persists:
            self._before = self._log.id
        if persist.reset is not None:
            # What waits is of the log that is forgotten, or a vote that the new segment begins with.
            self._waiting.clear()
        self._waiting.extend(codec.persist_records(persist, self._log.apply(persist)))
        self._persists.append(persist)

    def add_vote_first(self, persist: Persist) -> Batch | None:
        """Collect one Persist, but give its vote out as a batch of its own that overtakes what waits.

        Only for seeded bugs, which hold entries back while votes stay honest.
        """
        alone = None
        if persist.hard_state is not None:
            record = codec.hard_state_record(persist.hard_state)
            before = self._before if self._persists else self._log.id
            alone = Batch(record, persist.token, 1, Start(0, *before, self._vote, 0))
            self._vote = persist.hard_state
            self.batches += 1
            persist = msgspec.structs.replace(persist, hard_state=None)
        self.add(persist)
        return alone

    def take(self) -> Batch | None:
        """All collected records as one batch, which the caller must write before any later one."""
        if not self._persists:
            return None
        start = Start(0, *self._before, self._vote, 0)
        for persist in self._persists:
            self._vote = persist.hard_state or self._vote
            if persist.reset is not None:
                start = Start(0, *persist.reset, self._vote, 0, True)
        cut_to = max(persist.cut_to for persist in self._persists)
        token = self._persists[-1].token
        data = b"".join(self._waiting)
        batch = Batch(data, token, len(self._waiting), start, cut_to)
        self._waiting.clear()
        self._persists.clear()
        self.batches += bool(batch.data)
        return batch

    def write_and_sync(self, batch: Batch) -> None:
        """Make one batch durable and say so in `synced`. Blocks; may run in another thread, one batch at a time.

        Raises OSError, after which the journal must not be used again.
        """
        full = self._wants_segment or self._end >= self._sizes.full
        if batch.start.reset or (full and batch.data):
            self._begin(batch.start)
        if batch.data:
            self._append(batch)
        if batch.cut_to:
            self._cut_to(batch.cut_to)

    def _append(self, batch: Batch) -> None:
        name = self.name
        end = self._end + len(batch.data)
        if end > self._size:
            self._disk.write(name, end, self._zeros)
            self._size = end + self._sizes.zeros
        self._disk.write(name, self._end, batch.data)
        try:
            self._disk.sync(name)
        except OSError:
            if not self._bugs.breaks("fsync_error_ignored"):
                raise
        else:
            self._disk.mark_synced(self._segments[-1][0], end)
        self._end = end
        self.synced = end
        self.syncs += 1
        self.records += batch.records
        self.bytes_written += len(batch.data)

    def _begin(self, start: Start) -> None:
        """A new segment, in its place and durable when this returns; everything before it is."""
        disk = self._disk
        number = self._segments[-1][0] + 1 if self._segments else 1
        start = msgspec.structs.replace(start, segment=number, previous_end=self._end)
        header = codec.segment_header(self._group, self._node, start)
        disk.unlink(names.NEW_SEGMENT)
        disk.write(names.NEW_SEGMENT, 0, header + self._zeros)
        disk.sync(names.NEW_SEGMENT)
        disk.rename(names.NEW_SEGMENT, names.segment(number))
        disk.sync_folder()
        disk.mark_synced(number, len(header))
        if start.reset:
            for old, _ in self._segments:
                disk.unlink(names.segment(old))
            self._segments.clear()
        elif self._segments:
            # The zeros ahead will not be needed.
            disk.truncate(self.name, self._end)
        self._segments.append((number, start.index))
        self._end = self.synced = len(header)
        self._size = len(header) + self._sizes.zeros
        self._wants_segment = False

    def _cut_to(self, index: int) -> None:
        """Delete the segments that hold nothing after `index`: those before one that began at or below it."""
        while len(self._segments) > 1 and self._segments[1][1] <= index:
            self._disk.unlink(names.segment(self._segments.pop(0)[0]))
        if index > self._segments[-1][1] and self._end >= self._sizes.worthwhile:
            self._wants_segment = True


class _LogEnd:
    """The log's last index, and enough of its terms to know that of any entry at which it may be cut.

    `runs` are (first index, term); the first is the base, or the last run before what was cut off.
    """

    def __init__(self, base: tuple[int, int], entries: Sequence[Entry]) -> None:
        self.runs = [base]
        self.last = base[0]
        self._extend(entries)

    @property
    def id(self) -> tuple[int, int]:
        """(index, term) of the last entry."""
        return self.last, self.runs[-1][1]

    def apply(self, persist: Persist) -> int:
        """The term of the entry before those that `persist` appends."""
        if persist.reset is not None:
            self.runs = [persist.reset]
            self.last = persist.reset[0]
        if persist.truncate_from:
            self.last = persist.truncate_from - 1
            while len(self.runs) > 1 and self.runs[-1][0] > self.last:
                self.runs.pop()
        term = self.runs[-1][1]
        self._extend(persist.entries)
        # Nothing up to there will be cut from the end any more.
        while len(self.runs) > 1 and self.runs[1][0] <= persist.cut_to:
            self.runs.pop(0)
        return term

    def _extend(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        self.last = entries[-1].index
        # Terms never fall along a log.
        if entries[-1].term != self.runs[-1][1]:
            for entry in entries:
                if entry.term != self.runs[-1][1]:
                    self.runs.append((entry.index, entry.term))
