"""The log in memory: every entry from index 1 on, and how much of it is on disk.

The one rule: `flushed` never covers an entry whose bytes might not be on disk. Indices start at 1;
0 is "nothing".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

from node.raft.messages import Entry


def _term(entry: Entry) -> int:
    return entry.term


class Log:
    """Entries in order. `entries[i - 1]` is the entry at index i."""

    __slots__ = ("_unsynced", "entries", "flushed")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)
        self.flushed = len(self.entries)
        """Everything up to this index is on disk."""
        self._unsynced: deque[tuple[int, int]] = deque()
        """(token, last index) of each Persist that is not yet answered, oldest first."""

    def __repr__(self) -> str:
        return f"Log(last={self.last_index}@{self.last_term}, flushed={self.flushed})"

    @property
    def last_index(self) -> int:
        return len(self.entries)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else 0

    @property
    def flushed_term(self) -> int:
        return self.entries[self.flushed - 1].term if self.flushed else 0

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, 0 for index 0. The index must not lie past the end."""
        return self.entries[index - 1].term if index else 0

    def matches(self, index: int, term: int) -> bool:
        """Is there an entry at `index`, and of `term`? (0, 0) matches every log."""
        return index <= len(self.entries) and self.term_at(index) == term

    def last_possible_match(self, index: int) -> int:
        """Where a leader whose entry at `index` differs from ours may look next: below our run of
        that term.

        Terms never decrease along a log, so the run is found by bisection, and a long conflicting
        tail costs one refusal per term instead of one per entry.
        """
        if index > len(self.entries):
            return len(self.entries)
        return bisect_left(self.entries, self.entries[index - 1].term, hi=index, key=_term)

    def first_difference(self, entries: Sequence[Entry]) -> int:
        """How many of `entries` (consecutive, starting at or below our end + 1) are here with the
        same term.
        """
        have, last = self.entries, len(self.entries)
        for position, entry in enumerate(entries):
            if entry.index > last or have[entry.index - 1].term != entry.term:
                return position
        return len(entries)

    def slice(self, first: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries from `first` on, at most so many and so many bytes of data, but at least one."""
        chosen = self.entries[first - 1 : first - 1 + max_entries]
        size = 0
        for position, entry in enumerate(chosen):
            size += len(entry.data)
            if size > max_bytes and position:
                return chosen[:position]
        return chosen

    def truncate(self, first: int) -> None:
        """Forget the entries from `first` on; a sync still to come no longer speaks of them."""
        del self.entries[first - 1 :]
        self.flushed = min(self.flushed, first - 1)
        self._unsynced = deque((token, min(last, first - 1)) for token, last in self._unsynced)

    def handed_over(self, token: int) -> None:
        """All entries up to the end are in Persist `token` or an earlier one."""
        self._unsynced.append((token, len(self.entries)))

    def persisted(self, token: int) -> None:
        """Every Persist up to `token` is on disk."""
        unsynced = self._unsynced
        while unsynced and unsynced[0][0] <= token:
            _, last = unsynced.popleft()
            if last > self.flushed:
                self.flushed = last
