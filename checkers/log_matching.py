"""P-LM: two logs that hold an entry of the same index and term hold the same entry, and the same before it (Raft paper, 5.3).

It is enough to compare neighbours: if (index, term) always has the same content and always follows the same term, equal
prefixes follow by induction. What logs held is known from what was applied, where snapshots end, and from dumps of whole
logs.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.monitor import (
    NO_EVENTS,
    ONE_GROUP,
    Completeness,
    Handler,
    Params,
    Result,
    conclude,
    pointer,
)
from checkers.records.events import Apply, LogDump, SnapshotLoaded
from checkers.records.schema import Finding

UNKNOWN = -1
"""The term before an entry that is the first one seen of its log."""

Held = tuple[int, int, int, str, Apply | LogDump]
"""One entry at an index: (term, crc, the term before it, who held it, by which event)."""


class LogMatching:
    property = "P-LM"
    title = "log matching"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            Apply: self._apply,
            SnapshotLoaded: self._loaded,
            LogDump: self._dump,
        }
        self.findings: list[Finding] = []
        self._first: dict[int, Held] = {}
        """The entry first seen at each index; nearly always the only one."""
        self._others: dict[tuple[int, int], Held] = {}
        """By (index, term): entries of other terms than that."""
        self._ends: dict[str, tuple[int, int, int]] = {}
        """Of each node: (boot, index, term) of what it applied last."""
        self._dumps = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _apply(self, node: str, event: Apply) -> None:
        first, entries = event.first, event.entries
        end = self._ends.get(node)
        before = 0 if first == 1 else UNKNOWN
        if end is not None and end[1] + 1 == first and end[0] == event.boot:
            before = end[2]
        if entries:
            last = self._follow(node, event, first, before, entries)
            self._ends[node] = (event.boot, first + len(entries) - 1, last)

    def _loaded(self, node: str, event: SnapshotLoaded) -> None:
        self._ends[node] = (event.boot, event.index, event.last_term)

    def _dump(self, node: str, event: LogDump) -> None:
        self._dumps += 1
        self._follow(node, event, event.first, 0 if event.first == 1 else UNKNOWN, event.entries)

    def _follow(
        self,
        node: str,
        event: Apply | LogDump,
        index: int,
        before: int,
        entries: Sequence[tuple[int, int]],
    ) -> int:
        """Compare each of `entries`, from `index` on after an entry of term `before`; the last term."""
        seen = self._first
        get = seen.get
        for term, crc in entries:
            known = get(index)
            if known is None:
                seen[index] = (term, crc, before, node, event)
            elif known[2] != before or known[1] != crc or known[0] != term:
                self._compare(index, known, (term, crc, before, node, event))
            before = term
            index += 1
        return before

    def _compare(self, index: int, known: Held, held: Held) -> None:
        term, crc, before, node, event = held
        if known[0] != term:
            known = self._others.setdefault((index, term), held)
        other, said = known[3], known[4]
        if known[1] != crc:
            text = (
                f"{other} and {node} hold different entries of term {term} at index {index}: crc "
                f"{known[1]:#x} and {crc:#x}"
            )
        elif UNKNOWN in (before, known[2]):
            if before != UNKNOWN:
                self._replace(index, term, held)
            return
        elif known[2] != before:
            text = (
                f"{other} and {node} hold the same entry of term {term} at index {index}, but before it "
                f"one of term {known[2]} and one of term {before}"
            )
        else:
            return
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[
                    pointer(
                        other, said, f"{other} holds {term}/{known[1]:#x} after term {known[2]}"
                    ),
                    pointer(node, event, f"{node} holds {term}/{crc:#x} after term {before}"),
                ],
                time=max(said.t0, event.t0),
                rests_on=[ONE_GROUP],
                details={"index": index, "nodes": [other, node]},
            )
        )

    def _replace(self, index: int, term: int, held: Held) -> None:
        """The same entry, of which it is now known what is before it."""
        if self._first[index][0] == term:
            self._first[index] = held
        else:
            self._others[(index, term)] = held

    def finish(self, completeness: Completeness) -> Result:
        statistics = {
            "entries": len(self._first) + len(self._others),
            "dumps": self._dumps,
        }
        seen = bool(self._first)
        because = "" if seen else ("no log was seen" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)
