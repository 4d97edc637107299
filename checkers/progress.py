"""P-ORD: at each node and moment, purged <= snapshot <= applied <= committed <= last (Raft paper 5.3 and 7).

What a node tells is held against that order: a commit or an apply never goes back in one life, nothing is applied that was
not committed, what is committed is never cut off the log's end, and nothing is cut off its beginning that no durable snapshot
holds. The term in which a node says these things never decreases in one life. A snapshot takes the state, the commit index and
the log with it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from checkers.monitor import NO_EVENTS, Completeness, Handler, Params, Result, conclude, pointer
from checkers.records.events import (
    Apply,
    Boot,
    Commit,
    LogCut,
    LogReset,
    Progress,
    SnapshotLoaded,
    SnapshotSaved,
    Truncate,
    name_of,
)
from checkers.records.schema import Finding

UNKNOWN = -1

Told: TypeAlias = (
    Apply | Boot | Commit | LogCut | LogReset | Progress | SnapshotLoaded | SnapshotSaved | Truncate
)


class Place(msgspec.Struct):
    """How far one life of a node has come, by its events; -1: it has not said. `by` said what `committed` is."""

    boot: int
    term: int
    snapshot: int = UNKNOWN
    applied: int = UNKNOWN
    committed: int = UNKNOWN
    by: Told | None = None


class NodeOrder:
    property = "P-ORD"
    title = "order of a node's indices"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            Boot: self._boot,
            Commit: self._commit,
            Apply: self._apply,
            SnapshotSaved: self._saved,
            SnapshotLoaded: self._loaded,
            LogCut: self._cut,
            LogReset: self._cut,
            Truncate: self._truncate,
            Progress: self._progress,
        }
        self.findings: list[Finding] = []
        self._places: dict[str, Place] = {}
        self._progresses = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _place(self, node: str, event: Told) -> Place:
        """That of this life; every handler of a frequent event looks by itself first."""
        place = self._places.get(node)
        if place is None or place.boot != event.boot:
            place = self._places[node] = Place(event.boot, event.term)
        return place

    def _boot(self, node: str, event: Boot) -> None:
        at = event.snapshot_index
        place = self._places[node] = Place(event.boot, event.term, at, at, at)
        if at < 0:
            return
        place.by = event
        if event.first_index - 1 > at:
            self._find(
                f"{node} started with a log that begins at {event.first_index} and a snapshot at {at}: "
                "what is between them is gone",
                node,
                event,
            )
        if at > event.last_index:
            self._find(
                f"{node} started with a log that ends at {event.last_index}, before its snapshot at {at}",
                node,
                event,
            )

    def _commit(self, node: str, event: Commit) -> None:
        place = self._places.get(node)
        if place is None or place.boot != event.boot:
            place = self._place(node, event)
        if event.term != place.term:
            self._in_term(node, event, place)
        if event.index < place.committed:
            self._find(
                f"{node} committed up to {event.index} after {place.committed} in the same life",
                node,
                event,
                place.by,
            )
        place.committed = event.index
        place.by = event

    def _apply(self, node: str, event: Apply) -> None:
        place = self._places.get(node)
        if place is None or place.boot != event.boot:
            place = self._place(node, event)
        if event.term != place.term:
            self._in_term(node, event, place)
        through = event.first + len(event.entries) - 1
        if through > place.committed >= 0:
            self._find(
                f"{node} applied up to {through}, and had committed up to {place.committed}",
                node,
                event,
                place.by,
            )
        if through > place.applied:
            place.applied = through

    def _in_term(self, node: str, event: Apply | Commit | Progress, place: Place) -> None:
        if event.term < place.term:
            self._find(
                f"{node} spoke in term {event.term} after term {place.term} in the same life: "
                "terms never decrease",
                node,
                event,
                place.by,
            )
        place.term = event.term

    def _saved(self, node: str, event: SnapshotSaved) -> None:
        place = self._place(node, event)
        if event.index > place.applied >= 0:
            self._find(
                f"{node} saved a snapshot at {event.index} of a state that was at {place.applied}",
                node,
                event,
            )
        self._snapshot(node, event, place)

    def _loaded(self, node: str, event: SnapshotLoaded) -> None:
        place = self._place(node, event)
        self._snapshot(node, event, place)
        place.applied = event.index
        if event.index > place.committed:
            place.committed = event.index
            place.by = event

    def _snapshot(self, node: str, event: SnapshotSaved | SnapshotLoaded, place: Place) -> None:
        if event.index < place.snapshot:
            self._find(
                f"{node} put a snapshot at {event.index} in the place of one at {place.snapshot}",
                node,
                event,
            )
        place.snapshot = event.index

    def _cut(self, node: str, event: LogCut | LogReset) -> None:
        place = self._place(node, event)
        # A life that did not say at its boot which snapshot it has may have any.
        if event.first - 1 > place.snapshot and place.snapshot != UNKNOWN:
            self._find(
                f"{node} cut its log up to {event.first - 1}, and its newest durable snapshot is at "
                f"{place.snapshot}",
                node,
                event,
            )

    def _truncate(self, node: str, event: Truncate) -> None:
        # What a snapshot brought may have come while this cut was on its way to the disk.
        place = self._place(node, event)
        if type(place.by) is Commit and event.first <= place.committed:
            self._find(
                f"{node} cut its log from {event.first} on, and had committed up to {place.committed}",
                node,
                event,
                place.by,
            )

    def _progress(self, node: str, event: Progress) -> None:
        self._progresses += 1
        place = self._places.get(node)
        if place is None or place.boot != event.boot:
            place = self._place(node, event)
        if event.term != place.term:
            self._in_term(node, event, place)
        if not (
            event.first_index - 1
            <= event.snapshot
            <= event.applied
            <= event.committed
            <= event.last
        ):
            self._find(
                f"{node} stands at purged {event.first_index - 1}, snapshot {event.snapshot}, applied "
                f"{event.applied}, committed {event.committed}, last {event.last}: these must not decrease",
                node,
                event,
            )
        if event.applied < place.applied or event.committed < place.committed:
            self._find(
                f"{node} stands at applied {event.applied}, committed {event.committed} after it had come "
                f"to {place.applied} and {place.committed}",
                node,
                event,
                place.by,
            )

    def _find(self, text: str, node: str, event: Told, before: Told | None = None) -> None:
        evidence = [pointer(node, event, _said(event))]
        if before is not None and before is not event:
            evidence.insert(0, pointer(node, before, _said(before)))
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=evidence,
                time=event.t0,
                details={"node": node, "boot": event.boot},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        statistics = {"nodes": len(self._places), "progress_told": self._progresses}
        seen = any(place.applied >= 0 or place.committed >= 0 for place in self._places.values())
        because = "" if seen else ("nothing was committed" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)


def _said(event: Told) -> str:
    """The event with its index, in a few words."""
    fields = {name: getattr(event, name, None) for name in ("index", "first", "committed")}
    told = [f"{name} {value}" for name, value in fields.items() if value is not None]
    return " ".join([name_of(event), *told])
