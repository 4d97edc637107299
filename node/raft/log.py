"""The log in memory: the entries after the base, how much of them is on disk, and the configurations among them.

The one rule: `flushed` never covers an entry whose bytes might not be on disk. Indices start at 1; 0 is "nothing". Entries up
to `base` were cut off, since a snapshot covers them; all of them are committed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

from node.raft import configuration
from node.raft.configuration import Configuration
from node.raft.messages import CONFIGURATION, Entry


def _term(entry: Entry) -> int:
    return entry.term


class Log:
    """Entries in order: `entries[i - base - 1]` is the entry at index i."""

    __slots__ = (
        "_unsynced",
        "base",
        "base_term",
        "configurations",
        "entries",
        "flushed",
        "last_index",
        "overridden",
    )

    def __init__(
        self,
        entries: Sequence[Entry],
        initial: Configuration,
        base: tuple[int, int] = (0, 0),
        initial_index: int = 0,
    ) -> None:
        """`initial` is in force at `initial_index` (that of a snapshot, or 0)."""
        self.base, self.base_term = base
        self.entries = list(entries)
        self.last_index = self.base + len(self.entries)
        self.flushed = self.last_index
        """Everything up to this index is on disk."""
        self.configurations: list[tuple[int, Configuration]] = [(initial_index, initial)]
        """(index of its entry, configuration), oldest first: the last one is in force, committed or not."""
        self.overridden = 0
        """Index of the configuration that an operator's took the place of; who was in those up to it is no concern any more."""
        self._configure(entry for entry in self.entries if entry.index > initial_index)
        self._unsynced: deque[tuple[int, int]] = deque()
        """(token, last index) of each Persist that is not yet answered, oldest first."""

    def __repr__(self) -> str:
        return f"Log(base={self.base}, last={self.last_index}@{self.last_term}, flushed={self.flushed})"

    @property
    def first_index(self) -> int:
        """The oldest entry that is here, or would be."""
        return self.base + 1

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.base_term

    @property
    def flushed_term(self) -> int:
        return self.term_at(self.flushed)

    @property
    def configuration(self) -> Configuration:
        """The newest one, in force from its append on."""
        return self.configurations[-1][1]

    def configuration_at(self, index: int) -> Configuration:
        """The one in force at `index`, or the oldest known."""
        for first, found in reversed(self.configurations):
            if first <= index:
                return found
        return self.configurations[0][1]

    def entry(self, index: int) -> Entry:
        """The entry at `index`, which must lie after the base and not past the end."""
        position = index - self.base - 1
        if position < 0:
            raise IndexError(f"entry {index} was cut off, the log begins at {self.first_index}")
        return self.entries[position]

    def between(self, first: int, last: int) -> list[Entry]:
        """The entries from `first` (after the base) to `last`, both included."""
        return self.entries[first - self.base - 1 : last - self.base]

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, from the base to the end; 0 for index 0."""
        position = index - self.base
        return self.entries[position - 1].term if position > 0 else self._base_term_at(index)

    def _base_term_at(self, index: int) -> int:
        if index == self.base:
            return self.base_term
        if index == 0:
            return 0
        raise IndexError(f"entry {index} was cut off, the log begins at {self.first_index}")

    def matches(self, index: int, term: int) -> bool:
        """Is there an entry at `index`, and of `term`? (0, 0) matches every log.

        What was cut off is committed, so every leader of a later term has it too.
        """
        position = index - self.base
        if position <= 0:
            return position < 0 or self.base_term == term
        return index <= self.last_index and self.entries[position - 1].term == term

    def last_possible_match(self, index: int) -> int:
        """Where a leader whose entry at `index` differs from ours may look next: below our run of that term.

        Terms never decrease along a log, so the run is found by bisection, and a long conflicting tail costs one refusal per
        term instead of one per entry.
        """
        if index > self.last_index:
            return self.last_index
        if index <= self.base:
            return self.base
        position = index - self.base
        return self.base + bisect_left(
            self.entries, self.entries[position - 1].term, hi=position, key=_term
        )

    def first_difference(self, entries: Sequence[Entry]) -> int:
        """How many of `entries` (consecutive, starting at or below our end + 1) are here with the same term, or cut off."""
        have, base, last = self.entries, self.base, self.last_index
        for position, entry in enumerate(entries):
            index = entry.index
            if index > last or (index > base and have[index - base - 1].term != entry.term):
                return position
        return len(entries)

    def slice(self, first: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries from `first` on, at most so many and so many bytes of data, but at least one."""
        start = first - self.base - 1
        chosen = self.entries[start : start + max_entries]
        size = 0
        for position, entry in enumerate(chosen):
            size += len(entry.data)
            if size > max_bytes and position:
                return chosen[:position]
        return chosen

    # ---- changes ---------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.last_index += 1
        if entry.kind == CONFIGURATION:
            self._configure((entry,))

    def extend(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)
        self.last_index += len(entries)
        self._configure(entries)

    def _configure(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == CONFIGURATION:
                self.configurations.append((entry.index, configuration.decode(entry.data)))

    def override(self, in_force: Configuration) -> None:
        """`in_force` takes the place of the newest configuration, in memory only."""
        self.overridden = self.configurations[-1][0]
        self.configurations[-1] = (self.overridden, in_force)

    def truncate(self, first: int) -> None:
        """Forget the entries from `first` on; a sync still to come no longer speaks of them.

        A configuration that goes with them gives way to the one before it.
        """
        assert first > self.base, "only what is not committed may be cut"
        del self.entries[first - self.base - 1 :]
        self.last_index = self.base + len(self.entries)
        while self.configurations[-1][0] >= first and len(self.configurations) > 1:
            self.configurations.pop()
        if self.overridden >= first:
            self.overridden = 0
        self.flushed = min(self.flushed, first - 1)
        self._unsynced = deque((token, min(last, first - 1)) for token, last in self._unsynced)

    def cut_to(self, index: int) -> None:
        """Forget the entries up to `index`, which a durable snapshot covers, hence this disk too."""
        if index <= self.base:
            return
        self.base_term = self.term_at(index)
        del self.entries[: index - self.base]
        self.base = index
        self.flushed = max(self.flushed, index)
        known = self.configurations
        while len(known) > 1 and known[1][0] <= index:
            known.pop(0)

    def reset(self, index: int, term: int, in_force: Configuration) -> None:
        """Forget everything: the log begins after an installed snapshot's (index, term)."""
        self.base, self.base_term = index, term
        self.last_index = index
        self.entries.clear()
        self.configurations = [(index, in_force)]
        self.overridden = 0
        self.flushed = index
        self._unsynced.clear()

    # ---- durability ------------------------------------------------------------------------------

    def handed_over(self, token: int) -> None:
        """All entries up to the end are in Persist `token` or an earlier one."""
        self._unsynced.append((token, self.last_index))

    def persisted(self, token: int) -> None:
        """Every Persist up to `token` is on disk."""
        unsynced = self._unsynced
        while unsynced and unsynced[0][0] <= token:
            _, last = unsynced.popleft()
            if last > self.flushed:
                self.flushed = last
