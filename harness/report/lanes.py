"""What the nodes were and how the operations went, as spans and counts over a loaded run. Pure.

A node's role comes from its own events between the starts and exits that the harness saw; its clock's rate from two bracketed
readings of one boot: (clock2 - clock1) / (true2 - true1), with the brackets' width as the uncertainty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from checkers.records.schema import (
    ClockSample,
    NodeEvent,
    ProcessExited,
    ProcessStarted,
)
from harness.report.load import LoadedRun, Operation

Role = Literal["down", "follower", "candidate", "leader"]

RATE_SPAN_NS: Final = 200_000_000
"""Two readings closer than this say more of their brackets than of the clock."""

LEASE_GAP_NS: Final = 600_000_000
"""Two observations of a valid lease further apart are drawn as two spans: nobody looked in between."""

ROLE_OF: Final[dict[str, Role]] = {
    "become_leader": "leader",
    "step_down": "follower",
    "following": "follower",
    "become_candidate": "candidate",
}
"""Events of a node that say what it now is."""


class RoleSpan(msgspec.Struct, frozen=True):
    begin: int
    end: int
    role: Role
    term: int


class RatePoint(msgspec.Struct, frozen=True):
    """Mean rate of a node's clock against true time over [begin, end]; `error` bounds it on both sides."""

    begin: int
    end: int
    rate: float
    error: float


class Leadership(msgspec.Struct, frozen=True):
    term: int
    node: str
    begin: int
    end: int


class NodeLane(msgspec.Struct, frozen=True):
    node: str
    roles: list[RoleSpan]
    paused: list[tuple[int, int]]
    lease: list[tuple[int, int]]
    rates: list[RatePoint]


def node_lanes(run: LoadedRun) -> list[NodeLane]:
    end = run.end_ns
    return [
        NodeLane(
            node=node,
            roles=_roles(run, node, end),
            paused=_paused(run, node, end),
            lease=_lease(run.node_events.get(node, [])),
            rates=_rates(run, node),
        )
        for node in run.nodes
    ]


def leaderships(lanes: Iterable[NodeLane]) -> list[Leadership]:
    """Who led which term and from when to when, by time."""
    found = [
        Leadership(span.term, lane.node, span.begin, span.end)
        for lane in lanes
        for span in lane.roles
        if span.role == "leader"
    ]
    return sorted(found, key=lambda one: (one.begin, one.term))


def _roles(run: LoadedRun, node: str, end: int) -> list[RoleSpan]:
    """Changes of role by time: process facts and node events merged, then made into spans."""
    changes: list[tuple[int, int, Role | None, int | None]] = []
    for fact in run.facts:
        if isinstance(fact, ProcessStarted) and fact.node == node:
            changes.append((fact.time, fact.boot, "follower", None))
        elif isinstance(fact, ProcessExited) and fact.node == node:
            changes.append((fact.time, fact.boot, "down", None))
    for event in run.node_events.get(node, []):
        changes.append((event.t1, event.boot, ROLE_OF.get(event.event), event.term))
    changes.sort(key=lambda change: change[0])
    spans: list[RoleSpan] = []
    started = any(isinstance(fact, ProcessStarted) and fact.node == node for fact in run.facts)
    role: Role = "down" if started or not changes else "follower"
    term, begin, dead = 0, 0, -1
    for time, boot, new_role, new_term in changes:
        if boot <= dead:
            continue
        if new_role == "down":
            dead = boot
        next_role = role if new_role is None else new_role
        next_term = term if new_term is None else new_term
        if new_role is None and next_term > term and role == "leader":
            next_role = "follower"
        if (next_role, next_term) != (role, term):
            if time > begin:
                spans.append(RoleSpan(begin, time, role, term))
            role, term, begin = next_role, next_term, max(time, begin)
    if end > begin:
        spans.append(RoleSpan(begin, end, role, term))
    return spans


def _paused(run: LoadedRun, node: str, end: int) -> list[tuple[int, int]]:
    spans = []
    for step in run.steps:
        force = step.in_force(end)
        if step.kind == "pause" and force and node in (step.merged()[1].get("nodes") or []):
            spans.append(force)
    return spans


def lease_is_valid(event: NodeEvent) -> bool | None:
    """None: the event says nothing of the leader's lease."""
    if event.event != "lease":
        return None
    return event.fields.get("state") == "valid"


def _lease(events: Sequence[NodeEvent]) -> list[tuple[int, int]]:
    """Spans between observations that said "valid"; a single one is a span of no length."""
    spans: list[tuple[int, int]] = []
    open_span = False
    for event in events:
        valid = lease_is_valid(event)
        if valid is None:
            if event.event == "step_down":
                open_span = False
        elif not valid:
            open_span = False
        elif open_span and event.t0 - spans[-1][1] <= LEASE_GAP_NS:
            spans[-1] = (spans[-1][0], event.t0)
        else:
            spans.append((event.t0, event.t0))
            open_span = True
    return spans


def _rates(run: LoadedRun, node: str) -> list[RatePoint]:
    points: list[RatePoint] = []
    previous: ClockSample | None = None
    for fact in run.facts:
        if not isinstance(fact, ClockSample) or fact.node != node:
            continue
        if previous is None or previous.boot != fact.boot:
            previous = fact
            continue
        before, after = (previous.before + previous.after) / 2, (fact.before + fact.after) / 2
        span = after - before
        if span < RATE_SPAN_NS:
            continue
        width = (previous.after - previous.before + fact.after - fact.before) / 2
        rate = (fact.clock - previous.clock) / span
        points.append(RatePoint(int(before), int(after), rate, rate * width / span))
        previous = fact
    return points


class OperationCount(msgspec.Struct):
    """How the operations of one kind went; latencies in ns, of the completed ones by outcome."""

    name: str
    ok: int = 0
    fail: int = 0
    info: int = 0
    ok_latencies: list[int] = []

    @property
    def total(self) -> int:
        return self.ok + self.fail + self.info

    def percentile(self, part: float) -> int | None:
        """`ok_latencies` must be sorted."""
        if not self.ok_latencies:
            return None
        return self.ok_latencies[
            min(len(self.ok_latencies) - 1, int(part * len(self.ok_latencies)))
        ]


def counts(operations: Iterable[Operation]) -> list[OperationCount]:
    """One row for each operation and read mode, in the order of their names."""
    rows: dict[str, OperationCount] = {}
    for operation in operations:
        name = f"{operation.f} {operation.mode}" if operation.mode else operation.f
        row = rows.setdefault(name, OperationCount(name))
        if operation.outcome == "ok":
            row.ok += 1
            if operation.end is not None:
                row.ok_latencies.append(operation.end - operation.begin)
        elif operation.outcome == "fail":
            row.fail += 1
        else:
            row.info += 1
    for row in rows.values():
        row.ok_latencies.sort()
    return [rows[name] for name in sorted(rows)]


def errors(operations: Iterable[Operation]) -> list[tuple[str, str, int]]:
    """(outcome, error, count), the most frequent first."""
    found = Counter(
        (operation.outcome, operation.error)
        for operation in operations
        if operation.outcome != "ok" and operation.error
    )
    return [(outcome, error or "", count) for (outcome, error), count in found.most_common()]


def fault_counts(run: LoadedRun) -> list[tuple[str, dict[str, int]]]:
    """Steps by kind and by what they came to."""
    rows: dict[str, Counter[str]] = {}
    for step in run.steps:
        rows.setdefault(step.kind, Counter())[step.outcome] += 1
    return [(kind, dict(rows[kind])) for kind in sorted(rows)]


def evidence_indices(run: LoadedRun, file: str = "history.jsonl") -> set[int]:
    """Indices of the events of `file` that prove any finding."""
    if run.verdict is None:
        return set()
    return {
        proof.index
        for finding in run.verdict.findings
        for proof in finding.evidence
        if proof.file.rsplit("/", 1)[-1] == file
    }
