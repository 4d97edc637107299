"""What the page's script draws, as compact JSON: columns instead of rows, times in whole microseconds. Pure."""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final

from checkers.records.schema import HostStall, LinkIncident, Phase
from harness.report import words
from harness.report.lanes import NodeLane, evidence_indices
from harness.report.load import LoadedRun, Operation

OPERATIONS_MAX: Final = 60_000
"""A browser draws so many without a wait. Beyond it the page keeps those near findings and an even sample of the rest."""

NEAR_FINDING_NS: Final = 2_000_000_000
OUTCOMES: Final = ("ok", "fail", "info")
COLUMNS: Final = "iplfknmbeovrxtg"
"""Of the operations: number, process, lane; places of kind, key, node, mode; begin, end, outcome; value, result; place of
the error; term and index of the log."""


def payload(run: LoadedRun, lanes: list[NodeLane]) -> dict[str, Any]:
    operations, left_out = _chosen(run)
    return {
        "end": _us(run.end_ns),
        "leftOut": left_out,
        "nodes": [_node(lane) for lane in lanes],
        "phases": [
            [_us(fact.time), fact.name, fact.proved]
            for fact in run.facts
            if isinstance(fact, Phase)
        ],
        "stalls": [
            [_us(fact.time), _us(fact.lag_ns)] for fact in run.facts if isinstance(fact, HostStall)
        ],
        "incidents": [
            [_us(fact.begin), _us(fact.time), f"{fact.server}: {fact.because}"]
            for fact in run.facts
            if isinstance(fact, LinkIncident)
        ],
        "faults": _faults(run),
        "ops": _operations(operations, run.header.clients if run.header else 1),
        "findings": _findings(run, operations),
    }


def _us(time_ns: int) -> int:
    return time_ns // 1000


def _node(lane: NodeLane) -> dict[str, Any]:
    return {
        "name": lane.node,
        "roles": [[_us(s.begin), _us(s.end), s.role, s.term] for s in lane.roles],
        "paused": [[_us(begin), _us(end)] for begin, end in lane.paused],
        "lease": [[_us(begin), _us(end)] for begin, end in lane.lease],
        "rates": [
            [_us(p.begin), _us(p.end), round(p.rate, 5), round(p.error, 5)] for p in lane.rates
        ],
    }


def _faults(run: LoadedRun) -> list[dict[str, Any]]:
    end = run.end_ns
    rows = []
    for step in run.steps:
        asked, targets = step.merged()
        force = step.in_force(end) or (step.begin, step.begin)
        rows.append(
            {
                "step": step.step,
                "kind": step.kind,
                "text": words.fault(step.kind, asked, targets),
                "outcome": step.outcome,
                "because": (step.installed.because if step.installed else None) or "",
                "evidence": words.evidence(step.installed.evidence if step.installed else {}),
                "b": _us(force[0]),
                "e": _us(force[1]),
            }
        )
    return rows


def _chosen(run: LoadedRun) -> tuple[list[Operation], int]:
    """All operations, or the even sample that a browser can draw; those that prove or surround findings always."""
    operations = run.operations
    if len(operations) <= OPERATIONS_MAX:
        return operations, 0
    marked = evidence_indices(run)
    times = [finding.time for finding in run.verdict.findings[:20]] if run.verdict else []
    step = len(operations) // (OPERATIONS_MAX // 2) + 1
    kept: list[Operation] = []
    near_left = OPERATIONS_MAX // 2
    for position, operation in enumerate(operations):
        proves = operation.invoke_index in marked or operation.complete_index in marked
        near = False
        if times and near_left > 0:
            near = any(abs(operation.begin - t) < NEAR_FINDING_NS for t in times)
            near_left -= near
        if proves or near or position % step == 0:
            kept.append(operation)
    return kept, len(operations) - len(kept)


class _Table:
    """Each distinct text once; columns hold its position."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._positions: dict[str, int] = {}

    def put(self, text: str | None) -> int:
        if text is None:
            return -1
        if text not in self._positions:
            self._positions[text] = len(self.texts)
            self.texts.append(text)
        return self._positions[text]


def _operations(operations: list[Operation], clients: int) -> dict[str, Any]:
    keys, kinds, nodes, modes, errors = (_Table() for _ in range(5))
    lane_of, lanes = process_lanes(operations, clients)
    rows: list[tuple[Any, ...]] = []
    for operation in operations:
        shown = operation.value
        differs = operation.outcome == "ok" and operation.result != shown
        rows.append(
            (
                operation.op,
                operation.process,
                lane_of[operation.process],
                kinds.put(operation.f),
                keys.put(operation.key),
                nodes.put(operation.node),
                modes.put(operation.mode),
                _us(operation.begin),
                -1 if operation.end is None else _us(operation.end),
                OUTCOMES.index(operation.outcome),
                "" if shown is None else words.value(shown),
                words.value(operation.result) if differs or operation.f == "read" else "",
                errors.put(operation.error),
                operation.term,
                operation.log_index,
            )
        )
    columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else repeat(()), strict=False))
    return {
        "columns": columns,
        "keys": keys.texts,
        "kinds": kinds.texts,
        "nodes": nodes.texts,
        "modes": modes.texts,
        "errors": errors.texts,
        "lanes": lanes,
    }


def process_lanes(operations: list[Operation], clients: int) -> tuple[dict[int, int], list[str]]:
    """A lane for each client: after an unknown outcome it goes on as process + clients, in the same lane.

    A process that overlaps its lane (probes, final reads) gets a lane of its own.
    """
    spans: dict[int, tuple[int, int]] = {}
    for operation in operations:
        end = operation.begin if operation.end is None else operation.end
        begin, last = spans.get(operation.process, (operation.begin, end))
        spans[operation.process] = (min(begin, operation.begin), max(last, end))
    free_at: dict[int, int] = {}
    lane_of: dict[int, int] = {}
    owners: dict[int, int] = {}
    family_lane: dict[int, int] = {}
    for process in sorted(p for p in spans if 0 <= p < clients):
        family_lane[process] = len(owners)
        owners[len(owners)] = process
    for process, (begin, end) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
        lane = family_lane.get(process % clients if clients > 0 else process)
        if lane is None or (free_at.get(lane, -1) > begin and process >= clients):
            extra = [one for one in owners if one not in family_lane.values()]
            lane = next((one for one in extra if free_at.get(one, -1) <= begin), len(owners))
            owners.setdefault(lane, process)
        lane_of[process] = lane
        free_at[lane] = max(end, free_at.get(lane, 0))
    clients_lanes = set(family_lane.values())
    names = [
        f"client {owners[lane]}" if lane in clients_lanes else f"process {owners[lane]}"
        for lane in range(len(owners))
    ]
    return lane_of, names


def _findings(run: LoadedRun, operations: list[Operation]) -> list[dict[str, Any]]:
    if run.verdict is None:
        return []
    by_index: dict[int, int] = {}
    for position, operation in enumerate(operations):
        by_index[operation.invoke_index] = position
        if operation.complete_index is not None:
            by_index[operation.complete_index] = position
    found = []
    for finding in run.verdict.findings:
        positions = [
            by_index[proof.index]
            for proof in finding.evidence
            if proof.file.rsplit("/", 1)[-1] == "history.jsonl" and proof.index in by_index
        ]
        key = finding.details.get("key")
        if not isinstance(key, str):
            key = next((operations[p].key for p in positions if operations[p].key), None)
        found.append(
            {
                "property": finding.property,
                "time": _us(finding.time),
                "times": [_us(proof.time) for proof in finding.evidence if proof.time],
                "ops": sorted(set(positions)),
                "key": key,
            }
        )
    return found
