"""P-DU: what was acknowledged stays.

Three promises, each with its evidence. To clients: an acknowledged write stands at the index and term
that its answer named, is applied there (or held by a snapshot) by the lives that are there at the end, and no
later write is given an index at or below it. To the leader, and to the node itself (promises.py): its log and its
snapshot are still there when it starts again.
"""

from __future__ import annotations

from operator import itemgetter

from checkers.monitor import (
    FILE_SYSTEM,
    NO_EVENTS,
    Completeness,
    Handler,
    Params,
    Result,
    conclude,
    describe,
    history_pointer,
    pointer,
)
from checkers.promises import Promises
from checkers.records.events import Apply, Boot, SnapshotLoaded
from checkers.records.fitness import Operation
from checkers.records.schema import Evidence, Finding


class Durability:
    property = "P-DU"
    title = "durability"

    def __init__(self) -> None:
        self._promises = Promises()
        self.handlers: dict[type, Handler] = {
            **self._promises.handlers,
            Boot: self._boot,
            SnapshotLoaded: self._loaded,
            Apply: self._apply,
            Operation: self._operation,
        }
        self.findings = self._promises.findings
        self._writes: list[Operation] = []
        self._applied: dict[int, tuple[int, str, Apply]] = {}
        self._others: list[tuple[int, int, str, Apply]] = []
        self._end: dict[str, tuple[int, int]] = {}
        self._boots = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _boot(self, node: str, event: Boot) -> None:
        self._promises.boot(node, event)
        self._boots += 1
        self._end[node] = (event.boot, max(event.snapshot_index, 0))

    def _loaded(self, node: str, event: SnapshotLoaded) -> None:
        self._promises.loaded(node, event)
        self._end[node] = (event.boot, event.index)

    # ---- what clients were promised ------------------------------------------------------------

    def _apply(self, node: str, event: Apply) -> None:
        index = event.first
        applied = self._applied
        for term, _ in event.entries:
            known = applied.get(index)
            if known is None:
                applied[index] = (term, node, event)
            elif known[0] != term:
                self._others.append((index, term, node, event))
            index += 1
        end = self._end.get(node)
        if end is None or end[0] == event.boot:
            self._end[node] = (event.boot, max(index - 1, end[1] if end else 0))
        elif end[0] < event.boot:
            self._end[node] = (event.boot, index - 1)

    def _operation(self, _: str, operation: Operation) -> None:
        completion = operation.completion
        if (
            completion is None
            or completion.type != "ok"
            or completion.log_index is None
            or operation.invoke.f == "read"
            or (isinstance(completion.value, dict) and completion.value.get("swapped") is False)
        ):
            return
        self._writes.append(operation)

    def finish(self, completeness: Completeness) -> Result:
        self._in_place()
        self._in_order()
        judged_end = completeness.whole and completeness.healed and not completeness.events_lack
        if judged_end and self._applied:
            self._at_the_end()
        statistics = {"acknowledged_writes": len(self._writes), "boots": self._boots}
        if not self._node_events and not self._writes:
            return conclude(self.findings, statistics, False, NO_EVENTS)
        because = ""
        if not completeness.whole:
            because = f"not at the end of the run ({completeness.because})"
        elif not completeness.healed:
            because = "not at the end of the run (the heal was not proved)"
        elif completeness.events_lack:
            because = f"not at the end of the run ({completeness.events_lack})"
        seen = bool(self._writes) or self._promises.made()
        return conclude(
            self.findings, statistics, seen, because if seen else "nothing was acknowledged"
        )

    def _in_place(self) -> None:
        if not self._applied:
            return
        others: dict[int, list[tuple[int, str, Apply]]] = {}
        for index, term, node, event in self._others:
            others.setdefault(index, []).append((term, node, event))
        for operation in self._writes:
            completion = operation.completion
            assert completion is not None and completion.log_index is not None
            index = completion.log_index
            known = self._applied.get(index)
            if known is None or completion.term is None:
                continue
            for term, node, event in (known, *others.get(index, ())):
                if term != completion.term:
                    self._find(
                        f"{describe(operation)} was acknowledged at index {index} of term "
                        f"{completion.term}, but {node} applied an entry of term {term} there",
                        [
                            history_pointer(completion, describe(operation)),
                            pointer(node, event, f"{node} applies term {term} at index {index}"),
                        ],
                        max(completion.time, event.t0),
                        {"index": index, "node": node},
                    )
                    break

    def _in_order(self) -> None:
        """A write invoked after another was acknowledged gets a higher index."""
        completed = sorted(
            ((_completion_index(one), _log_index(one), one) for one in self._writes),
            key=itemgetter(0),
            reverse=True,
        )
        highest: Operation | None = None
        highest_index = -1
        for operation in self._writes:
            begun, index = operation.invoke.index, _log_index(operation)
            while completed and completed[-1][0] < begun:
                _, acknowledged, before = completed.pop()
                if highest is None or acknowledged > highest_index:
                    highest, highest_index = before, acknowledged
            if highest is not None and index <= highest_index:
                assert highest.completion is not None and operation.completion is not None
                self._find(
                    f"{describe(operation)} got index {index} although index "
                    f"{highest_index} had been acknowledged before it was sent: the log lost "
                    "an acknowledged end",
                    [
                        history_pointer(highest.completion, describe(highest)),
                        history_pointer(operation.completion, describe(operation)),
                    ],
                    operation.completion.time,
                    {"index": index},
                )

    def _at_the_end(self) -> None:
        reach = max((last for _, last in self._end.values()), default=0)
        lost = [operation for operation in self._writes if _log_index(operation) > reach]
        if lost:
            first = min(lost, key=_log_index)
            assert first.completion is not None
            self._find(
                f"{len(lost)} acknowledged writes from index {_log_index(first)} on were applied by "
                f"no node that lived to the end (they came to index {reach}): {describe(first)}",
                [history_pointer(first.completion, describe(first))],
                first.completion.time,
                {"index": _log_index(first), "lost": len(lost)},
            )

    def _find(
        self, text: str, evidence: list[Evidence], time: int, details: dict[str, object]
    ) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=evidence,
                time=time,
                rests_on=[FILE_SYSTEM],
                details=details,
            )
        )


def _log_index(operation: Operation) -> int:
    completion = operation.completion
    assert completion is not None and completion.log_index is not None
    return completion.log_index


def _completion_index(operation: Operation) -> int:
    completion = operation.completion
    assert completion is not None
    return completion.index
