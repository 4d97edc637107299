"""Records made by hand, in milliseconds: what the galleries of good and bad runs are written with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from checkers.judge import run_over
from checkers.monitor import Completeness, Monitor, Params, Result
from checkers.records import events as node_events
from checkers.records.fitness import Operation
from checkers.records.schema import (
    ClockSample,
    FaultRecord,
    FaultsHeader,
    HistoryEvent,
    HistoryHeader,
    NodeEventsHeader,
    Phase,
    PlanFacts,
    ProcessExited,
    ProcessStarted,
    Quotas,
    RunFactsHeader,
    WorkloadHeader,
)

MS = 1_000_000
E_MS = 500
D_MS = 125
NODES = ("n1", "n2", "n3")
PARAMS = Params(nodes=NODES, election_timeout_ns=E_MS * MS, drift_ns=D_MS * MS)
WHOLE = Completeness(whole=True, healed=True)
PARTIAL = Completeness(whole=False, because="it ended in phase safety")
RUN = "r1"
BOUND_MS = 3 * (E_MS + D_MS) + 2 * E_MS


def event(kind: type[Any], at: float, term: int = 1, boot: int = 1, **fields: Any) -> Any:
    """An event of a node's life at `at` ms; `took` is how long its step took, `seq` its place."""
    took = fields.pop("took", 0)
    seq = fields.pop("seq", 0)
    t0 = round(at * MS)
    clock = round(fields.pop("clock", at) * MS)
    return kind(
        seq=seq, t0=t0, t1=t0 + round(took * MS), clock=clock, boot=boot, term=term, **fields
    )


def leader(at: float, term: int = 1, boot: int = 1, **fields: Any) -> node_events.BecomeLeader:
    found: node_events.BecomeLeader = event(node_events.BecomeLeader, at, term, boot, **fields)
    return found


def operation(
    f: str,
    begin: float,
    end: float | None,
    outcome: str = "ok",
    *,
    op: int = 0,
    invoked: int | None = None,
    completed: int | None = None,
    value: Any = None,
    node: str = "n1",
    mode: str | None = None,
    term: int | None = None,
    log_index: int | None = None,
    final: bool = False,
) -> Operation:
    """From `begin` to `end` ms; end None: no completion. Indices follow time unless given."""
    common: dict[str, Any] = {
        "process": op, "op": op, "f": f, "key": "k", "node": node, "mode": mode, "final": final,
    }  # fmt: skip
    invoke = HistoryEvent(
        index=round(begin * 10) if invoked is None else invoked,
        time=round(begin * MS),
        type="invoke",
        value=value,
        **common,
    )
    if end is None:
        return Operation(invoke, None)
    completion = HistoryEvent(
        index=round(end * 10) if completed is None else completed,
        time=round(end * MS),
        type=outcome,  # type: ignore[arg-type]
        value=value,
        term=term,
        log_index=log_index,
        **common,
    )
    return Operation(invoke, completion)


def fault(
    step: str,
    kind: str,
    begin: float,
    heal: float | None = None,
    *,
    took: float = 10,
    outcome: str = "installed",
    healed: str = "installed",
    targets: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
    heal_evidence: dict[str, Any] | None = None,
) -> list[FaultRecord]:
    """The records of one step: asked and installed at `begin`, complete `took` later, healed at `heal` ms."""
    common: dict[str, Any] = {"step": step, "kind": kind, "targets": targets or {}}
    because = None if outcome == "installed" else "not seen"
    records = [
        FaultRecord(
            index=0,
            action="asked",
            step=step,
            kind=kind,
            time_begin=round(begin * MS),
            time_end=round(begin * MS),
        ),
        FaultRecord(
            index=1,
            action="installed",
            time_begin=round(begin * MS),
            time_end=round((begin + took) * MS),
            outcome=outcome,  # type: ignore[arg-type]
            because=because,
            evidence=evidence or {},
            **common,
        ),
    ]
    if heal is not None:
        records.append(
            FaultRecord(
                index=2,
                action="healed",
                time_begin=round(heal * MS),
                time_end=round(heal * MS),
                outcome=healed,  # type: ignore[arg-type]
                because=None if healed == "installed" else "requests came through the cut",
                evidence=heal_evidence or {},
                **common,
            )
        )
    return records


def cut(node: str, nodes: Sequence[str] = NODES, leader: str | None = None) -> dict[str, Any]:
    """Targets of a partition that leaves `node` alone."""
    pairs = [[node, other] for other in nodes if other != node]
    links = [*pairs, *([b, a] for a, b in pairs)]
    return {"links": links, "leader": node if leader is None else leader}


def phase(name: str, at: float, **fields: Any) -> Phase:
    return Phase(index=0, time=round(at * MS), name=name, **fields)


def watch(
    monitor: Monitor,
    records: Iterable[tuple[str, Any]],
    params: Params = PARAMS,
    completeness: Completeness = WHOLE,
) -> Result:
    """One monitor over (source, record) in this order."""
    monitor.start(params)
    run_over([monitor.handlers], [(source, [record]) for source, record in records])
    return monitor.finish(completeness)


# ---- a whole run folder --------------------------------------------------------------------------


def write_lines(path: Path, items: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))


def header(**fields: Any) -> HistoryHeader:
    base: dict[str, Any] = {
        "run": RUN,
        "boot_id": "b",
        "origin_ns": 5,
        "workload": WorkloadHeader("register", "workloads.register:model", {}),
        "nodes": list(NODES),
        "clients": 3,
        "election_timeout_ms": E_MS,
        "max_clock_drift_ms": D_MS,
        "lease": True,
    }
    return HistoryHeader(**(base | fields))


def plan_facts(**fields: Any) -> PlanFacts:
    base: dict[str, Any] = {
        "run": RUN,
        "seed": 7,
        "nodes": list(NODES),
        "clients": 3,
        "election_timeout_ms": E_MS,
        "max_clock_drift_ms": D_MS,
        "heartbeat_ms": 50,
        "election_tick_ms": 50,
        "prevote": True,
        "leader_lease": True,
        "bugs": [],
        "links": "embedded",
        "operations": ["read", "write"],
        "read_modes": ["lease"],
        "quotas": Quotas(
            ok_per_operation=20,
            ok_total=40,
            kinds_installed=["partition", "power_loss"],
            forced_leader_changes=1,
            lease_read_at_cut_leader=1,
            restarts_after_power_loss=1,
        ),
        "rerun": "driftline run --seed 7",
    }
    return PlanFacts(**(base | fields))


def history(count: int = 40) -> list[HistoryEvent]:
    """`count` operations on one key: a write, then a lease read at n1 that sees it, and so on, 20 ms apart."""
    calls = [(1000 + 20 * op, "write" if op % 2 == 0 else "read", "n1", 1) for op in range(count)]
    # One write after each heal.
    calls += [(5150, "write", "n2", 2), (5350, "write", "n2", 2)]
    events: list[HistoryEvent] = []
    value = None
    index = 1
    for op, (begin, f, node, term) in enumerate(calls):
        value = op if f == "write" else value
        index += f == "write"
        common: dict[str, Any] = {
            "process": op % 3, "op": op, "f": f, "key": "k", "node": node,
            "mode": "lease" if f == "read" else None,
        }  # fmt: skip
        events.append(
            HistoryEvent(
                index=2 * op,
                time=begin * MS,
                type="invoke",
                value=value if f == "write" else None,
                **common,
            )
        )
        events.append(
            HistoryEvent(
                index=2 * op + 1,
                time=(begin + 5) * MS,
                type="ok",
                value=value,
                term=term,
                log_index=index if f == "write" else None,
                **common,
            )
        )
    return events


def run_folder(folder: Path, **facts: Any) -> Path:
    """A whole valid run: n1 leads, is cut off at 1.790 s with a read under its lease, n2 takes over, n3 loses power."""
    write_lines(folder / "history.jsonl", [header(), *history()])
    steps = [
        *fault("s1", "partition", 1700, 3500, targets=cut("n1")),
        *fault(
            "s2",
            "power_loss",
            4000,
            4500,
            targets={"nodes": ["n3"], "leader": "n2"},
            evidence={"boots": {"n3": 1}, "losses": {"n3": {"log": {"cut": 3, "unwritten": 0}}}},
            heal_evidence={"boots": {"n3": 2}},
        ),
    ]
    common: dict[str, Any] = {"run": RUN, "boot_id": "b", "origin_ns": 5}
    write_lines(
        folder / "faults.jsonl",
        [
            FaultsHeader(**common),
            *(msgspec.structs.replace(step, index=index) for index, step in enumerate(steps)),
        ],
    )
    (folder / "plan-facts.json").write_bytes(msgspec.json.encode(plan_facts(**facts)))
    facts_of: list[Any] = [
        phase("up", 0),
        *(
            ProcessStarted(index=0, time=MS, node=node, boot=1, pid=pid)
            for pid, node in enumerate(NODES)
        ),
        phase("ready", 500),
        phase("quiet", 501),
        phase("safety", 1500),
        ProcessExited(index=0, time=4010 * MS, node="n3", boot=1, code=None, signal=9, asked=True),
        ProcessStarted(index=0, time=4400 * MS, node="n3", boot=2, pid=9),
        phase("heal_quorum", 5000),
        phase("liveness_quorum", 5100, nodes=["n1", "n2"]),
        phase("heal_all", 5200),
        phase("liveness_all", 5300, nodes=list(NODES)),
        phase("final_reads", 5400),
        phase("collect", 5600),
        phase("end", 5700),
    ]
    facts_of += [
        ClockSample(
            index=0,
            time=at * MS,
            node=node,
            boot=2 if node == "n3" and at > 4000 else 1,
            before=at * MS - 20_000,
            clock=at * MS,
            after=at * MS + 20_000,
        )
        for at in range(600, 5600, 250)
        for node in NODES
    ]
    facts_of.sort(key=lambda fact: fact.time)
    write_lines(
        folder / "run.jsonl",
        [
            RunFactsHeader(
                **common, versions={"driftline": "0.1.0"}, links="embedded", filesystem="ext4"
            ),
            *(msgspec.structs.replace(fact, index=index) for index, fact in enumerate(facts_of)),
        ],
    )
    _write_lives(folder)
    return folder


def _write_lives(folder: Path) -> None:
    writes = [[1, 100 + index] for index in range(21)]
    group = {"members": NODES, "old": [], "witnesses": []}
    log = {"first_index": 1, "last_index": 0, "last_term": 0}
    boot = {**log, "snapshot_index": 0, "snapshot_term": 0, **group}
    first = {"index": 1, **group}
    second = {"index": 22, **group}
    applied = ("apply", 2000, 1, {"first": 1, "entries": writes})
    saved = {"index": 21, "last_term": 1, "digest": 5}
    end = {"first_index": 1, "snapshot": 21, "applied": 23, "committed": 23, "last": 23}
    n1 = [
        ("boot", 100, 0, boot),
        ("vote_granted", 290, 1, {"candidate": "n1"}),
        ("become_leader", 300, 1, {"last_index": 0, "last_term": 0}),
        ("conf_change", 300, 1, {**first, "stage": "append"}),
        *(("lease", at, 1, {"state": "valid"}) for at in range(400, 2000, 100)),
        ("commit", 2000, 1, {"index": 21}),
        applied,
        ("conf_change", 2000, 1, {**first, "stage": "commit"}),
        ("step_down", 2300, 1, {"reason": "no quorum"}),
    ]
    n2 = [
        ("boot", 100, 0, boot),
        ("vote_granted", 291, 1, {"candidate": "n1"}),
        ("conf_change", 310, 1, {**first, "stage": "append"}),
        ("append_ack", 1900, 1, {"leader": "n1", "last_index": 21}),
        ("term_change", 2400, 2, {"from": 1, "reason": "election"}),
        ("vote_granted", 2401, 2, {"candidate": "n2"}),
        ("become_leader", 2410, 2, {"last_index": 21, "last_term": 1}),
        ("conf_change", 2410, 2, {**second, "stage": "append"}),
        ("commit", 2420, 2, {"index": 21}),
        ("apply", 2420, 2, {"first": 1, "entries": writes}),
        ("conf_change", 2420, 2, {**first, "stage": "commit"}),
        ("snapshot_saved", 3000, 2, {**saved, "size": 9}),
        ("commit", 5360, 2, {"index": 23}),
        ("apply", 5360, 2, {"first": 22, "entries": [[2, 7], [2, 8]]}),
        ("conf_change", 5360, 2, {**second, "stage": "commit"}),
        ("progress", 5370, 2, end),
        *(("lease", at, 2, {"state": "valid"}) for at in range(5400, 5600, 100)),
    ]
    n3 = [
        ("boot", 100, 0, boot),
        ("vote_granted", 291, 1, {"candidate": "n1"}),
        ("vote_granted", 2402, 2, {"candidate": "n2"}),
    ]
    again = [
        ("boot", 4450, 2, {**boot, "last_index": 21, "last_term": 1, "voted_for": "n2"}),
        ("snapshot_loaded", 4490, 2, {**saved, "source": "install"}),
        ("log_cut", 4490, 2, {"first": 22}),
        ("commit", 5380, 2, {"index": 23}),
        ("apply", 5380, 2, {"first": 22, "entries": [[2, 7], [2, 8]]}),
    ]
    for node, number, told in (("n1", 1, n1), ("n2", 1, n2), ("n3", 1, n3), ("n3", 2, again)):
        lines: list[Any] = [
            {
                "seq": seq, "t0": at * MS, "t1": at * MS + 1000, "clock": at * MS, "boot": number,
                "term": term, "event": name, **fields,
            }
            for seq, (name, at, term, fields) in enumerate(told)
        ]  # fmt: skip
        write_lines(
            folder / "nodes" / node / f"events.{number}.jsonl",
            [
                NodeEventsHeader(
                    node=node,
                    boot=number,
                    origin_ns=5,
                    group=RUN,
                    election_timeout_ms=E_MS,
                    max_clock_drift_ms=D_MS,
                    leader_lease=True,
                ),
                *lines,
            ],
        )
