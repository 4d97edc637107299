"""P-SM: at each index all nodes apply the same entry, each life once and in order (Raft paper, figure 3).

A snapshot stands for all that was applied up to its index. So equal indices have equal digests of the state, a snapshot's
last term is that of the entry at its index, loading one never takes a life behind what it had applied, and the next entry to
be applied is the one after it. The snapshot of a witness is of nothing, and says so.
"""

from __future__ import annotations

import msgspec

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
from checkers.records.events import Apply, Boot, SnapshotLoaded, SnapshotSaved
from checkers.records.schema import Finding

Applied = tuple[int, int, str, Apply]
"""The entry at an index: (term, crc, who applied it first, with which event)."""

Snapshot = SnapshotSaved | SnapshotLoaded


class Life(msgspec.Struct):
    """`due` is the index to be applied next, -1 if it is not known."""

    boot: int
    due: int = -1


class StateMachineSafety:
    property = "P-SM"
    title = "state machine safety"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            Apply: self._apply,
            Boot: self._boot,
            SnapshotSaved: self._saved,
            SnapshotLoaded: self._loaded,
        }
        self.findings: list[Finding] = []
        self.applied: dict[int, Applied] = {}
        """What stands at each index."""
        self._lives: dict[str, Life] = {}
        self._snapshots: dict[int, tuple[str, Snapshot]] = {}
        self._count = 0
        self._compared = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _boot(self, node: str, event: Boot) -> None:
        # The state machine begins with the snapshot; without a word of it, anywhere.
        self._lives[node] = Life(
            event.boot, event.snapshot_index + 1 if event.snapshot_index >= 0 else -1
        )

    def _life(self, node: str, boot: int) -> Life:
        life = self._lives.get(node)
        if life is None or life.boot != boot:
            life = self._lives[node] = Life(boot)
        return life

    def _apply(self, node: str, event: Apply) -> None:
        life = self._lives.get(node)
        if life is None or life.boot != event.boot:
            life = self._life(node, event.boot)
        index = event.first
        if index != life.due and life.due >= 0:
            self._out_of_order(node, event, life.due)
        applied = self.applied
        get = applied.get
        for term, crc in event.entries:
            known = get(index)
            if known is None:
                applied[index] = (term, crc, node, event)
                if index in self._snapshots:
                    self._check_term(index)
            elif known[0] != term or known[1] != crc:
                self._differ(node, event, index, known, (term, crc))
            index += 1
        self._count += index - event.first
        life.due = index

    def _out_of_order(self, node: str, event: Apply, due: int) -> None:
        what = "again" if event.first < due else f"without {due}"
        self._find(
            f"{node} (boot {event.boot}) applied index {event.first} {what}: "
            "each life applies once and in order",
            [(node, event, f"{node} applies from index {event.first}")],
            {"node": node, "index": event.first},
            [],
        )

    def _differ(
        self, node: str, event: Apply, index: int, known: Applied, entry: tuple[int, int]
    ) -> None:
        other, first = known[2], known[3]
        what = f"of term {known[0]}" if known[0] != entry[0] else f"with crc {known[1]:#x}"
        that = f"of term {entry[0]}" if known[0] != entry[0] else f"with crc {entry[1]:#x}"
        self._find(
            f"at index {index} {other} applied the entry {what} and {node} the one {that}",
            [
                (other, first, f"{other} applies {known[0]}/{known[1]:#x} at {index}"),
                (node, event, f"{node} applies {entry[0]}/{entry[1]:#x} at {index}"),
            ],
            {"index": index, "nodes": [other, node]},
            [ONE_GROUP],
        )

    # ---- snapshots -----------------------------------------------------------------------------

    def _saved(self, node: str, event: SnapshotSaved) -> None:
        if event.digest is not None:
            self._same_state(node, event)

    def _loaded(self, node: str, event: SnapshotLoaded) -> None:
        life = self._life(node, event.boot)
        if life.due - 1 > event.index:
            self._find(
                f"{node} (boot {event.boot}) loaded a snapshot at {event.index} ({event.source}) over a state "
                f"that was at {life.due - 1}",
                [(node, event, f"{node} loads the snapshot at {event.index}")],
                {"node": node, "index": event.index},
                [],
            )
        life.due = event.index + 1
        if event.digest is not None:
            self._same_state(node, event)

    def _same_state(self, node: str, event: Snapshot) -> None:
        index = event.index
        known = self._snapshots.get(index)
        if known is None:
            self._snapshots[index] = (node, event)
            if index in self.applied:
                self._check_term(index)
            return
        self._compared += 1
        other, first = known
        if first.digest != event.digest or first.last_term != event.last_term:
            if first.last_term != event.last_term:
                what, that = f"last term {first.last_term}", f"last term {event.last_term}"
            else:
                what, that = f"digest {first.digest:#x}", f"digest {event.digest:#x}"
            self._find(
                f"the state at index {index} has {what} at {other} and {that} at {node}",
                [
                    (other, first, f"{other}: snapshot at {index}, {what}"),
                    (node, event, f"{node}: snapshot at {index}, {that}"),
                ],
                {"index": index, "nodes": [other, node]},
                [ONE_GROUP],
            )

    def _check_term(self, index: int) -> None:
        term, _, other, apply = self.applied[index]
        node, event = self._snapshots[index]
        if term != event.last_term:
            self._find(
                f"{node} has a snapshot at index {index} whose last term is {event.last_term}, and {other} "
                f"applied the entry of term {term} there",
                [
                    (other, apply, f"{other} applies term {term} at index {index}"),
                    (node, event, f"{node}: snapshot at {index}, last term {event.last_term}"),
                ],
                {"index": index, "nodes": [other, node]},
                [ONE_GROUP],
            )

    def _find(
        self,
        text: str,
        proofs: list[tuple[str, Apply | Snapshot, str]],
        details: dict[str, object],
        rests_on: list[str],
    ) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[pointer(*proof) for proof in proofs],
                time=max(event.t0 for _, event, _ in proofs),
                rests_on=rests_on,
                details=details,
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        statistics = {
            "indices": len(self.applied),
            "applied": self._count,
            "snapshots": len(self._snapshots),
            "snapshots_compared": self._compared,
        }
        seen = bool(self.applied)
        because = "" if seen else ("nothing was applied" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)
