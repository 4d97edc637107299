"""A run folder made by hand, with everything a page has to show: a stale read, faults of each outcome, leader changes, a
restart, a drifting clock, an expectation of coverage that was missed. Drawn from one seed, so that it is the same each time.

    python -m tests.harness.report.sample FOLDER [SECONDS]
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from checkers.records.schema import (
    AssumptionResult,
    ClockSample,
    Evidence,
    FaultRecord,
    FaultsHeader,
    Finding,
    HistoryEvent,
    HistoryHeader,
    NodeEventsHeader,
    Phase,
    PlanFacts,
    ProcessExited,
    ProcessStarted,
    PropertyResult,
    QuotaResult,
    Quotas,
    RunFactsHeader,
    Verdict,
    WorkloadHeader,
)

SECOND = 1_000_000_000
MS = 1_000_000
NODES = ["n1", "n2", "n3", "n4", "n5"]
RUN = "20250101T120000-register-7"


def write_lines(path: Path, items: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))


def make(
    folder: Path, *, seconds: int = 30, rate: float = 25.0, evil: str = "", valid: bool = False
) -> Path:
    """Write the run; `evil` is put wherever a record holds free text or a value."""
    draw = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    end = (seconds + 4) * SECOND
    third = seconds * SECOND // 3
    # Who leads: (from, to, node, term). The second leader is cut off with a minority and goes on for half a second.
    leads = [
        (700 * MS, third + 600 * MS, "n1", 2),
        (third + 300 * MS, 2 * third, "n3", 4),
        (2 * third + 900 * MS, end, "n4", 5),
    ]
    stale_at = third + 450 * MS
    history, stale = _history(draw, seconds, rate, leads, stale_at, evil, valid)
    header = HistoryHeader(
        run=RUN,
        boot_id="b0070000-0000-4000-8000-000000000000",
        origin_ns=1_000_000_000_000,
        workload=WorkloadHeader(name="register", model="workloads.register:model"),
        nodes=NODES,
        clients=10,
        election_timeout_ms=500,
        max_clock_drift_ms=125,
        lease=True,
    )
    write_lines(folder / "history.jsonl", [header, *history])
    write_lines(
        folder / "faults.jsonl",
        [
            FaultsHeader(run=RUN, boot_id=header.boot_id, origin_ns=header.origin_ns),
            *_faults(third, end, evil),
        ],
    )
    _facts_and_nodes(folder, header, draw, leads, third, end)
    facts = PlanFacts(
        run=RUN,
        seed=7,
        nodes=NODES,
        clients=10,
        election_timeout_ms=500,
        max_clock_drift_ms=125,
        heartbeat_ms=50,
        election_tick_ms=50,
        prevote=True,
        leader_lease=True,
        bugs=[] if valid else ["read_no_check"],
        links="toxiproxy",
        operations=["read", "write", "cas"],
        read_modes=["lease", "readindex"],
        quotas=Quotas(),
        rerun="driftline run --plan plans/bug/read_no_check.toml --seed 7",
    )
    (folder / "plan-facts.json").write_bytes(msgspec.json.encode(facts))
    (folder / "verdict.json").write_bytes(
        msgspec.json.encode(_verdict(history, stale, stale_at, evil, valid))
    )
    return folder


def _history(
    draw: random.Random,
    seconds: int,
    rate: float,
    leads: list[tuple[int, int, str, int]],
    stale_at: int,
    evil: str,
    valid: bool,
) -> tuple[list[HistoryEvent], dict[str, int]]:
    """Clients against registers k0..k7; the values are right except for the one stale read."""
    pending: list[tuple[int, int, dict[str, Any]]] = []
    op = 0
    keys = [f"k{number}" for number in range(8)]
    latest: dict[str, Any] = {}
    calls: list[tuple[int, int]] = []
    for client in range(10):
        at = SECOND + draw.randrange(40 * MS)
        while at < (seconds + 1) * SECOND:
            calls.append((at, client))
            at += int(SECOND / rate * draw.uniform(0.6, 1.4)) + (
                400 * MS if draw.random() < 0.01 else 0
            )
    calls.sort()
    process = {client: client for client in range(10)}
    free_at = dict.fromkeys(range(10), 0)
    for at, client in calls:
        if at < free_at[client]:
            continue
        leader = next((lead for lead in leads if lead[0] <= at < lead[1]), None)
        key = draw.choice(keys)
        f = draw.choices(["read", "write", "cas"], [6, 3, 1])[0]
        mode = draw.choice(["lease", "readindex"]) if f == "read" else None
        value: Any = None
        if f == "write":
            value = op
        elif f == "cas":
            value = {"from": latest.get(key), "to": op}
        who = process[client]
        node = leader[2] if leader and client % 2 else NODES[client % 5]
        base = {"process": who, "op": op, "f": f, "key": key, "node": node, "mode": mode}
        pending.append((at, 0, base | {"type": "invoke", "value": value}))
        took = int(draw.lognormvariate(1.1, 0.5) * MS)
        done: dict[str, Any]
        if leader is None or draw.random() < 0.004:
            if draw.random() < 0.5:
                took = 400 * MS
                done = base | {"type": "info", "value": value, "error": evil or "timeout"}
                process[client] += 10
            else:
                done = base | {"type": "fail", "value": value, "error": "not leader"}
        else:
            result: Any = latest.get(key)
            if f == "write":
                latest[key] = result = value
            elif f == "cas":
                same = latest.get(key) == value["from"]
                result = value | {"swapped": same}
                if same:
                    latest[key] = op
            done = base | {"type": "ok", "value": result, "term": leader[3], "log_index": op + 2}
        pending.append((at + took, 1, done))
        free_at[client] = at + took
        op += 1
    if evil:
        pending += [
            (2 * SECOND, 0, _extra(op, "invoke", "write", evil, evil)),
            (2 * SECOND + MS, 1, _extra(op, "ok", "write", evil, evil)),
        ]
        op += 1
    marks: dict[str, int] = {}
    if not valid:
        # A write acknowledged by the new leader, then a read at the old one that does not know of it.
        for name, begin, kind, f, value in (
            ("old_write", stale_at - 300 * MS, "k2", "write", 900_001),
            ("new_write", stale_at - 40 * MS, "k2", "write", 900_002),
            ("stale_read", stale_at, "k2", "read", 900_001),
        ):
            who = {"old_write": 90, "new_write": 91, "stale_read": 92}[name]
            lead = {"old_write": ("n1", 2), "new_write": ("n3", 4), "stale_read": ("n1", 2)}[name]
            base = {"process": who, "op": op, "f": f, "key": kind, "node": lead[0]}
            if f == "read":
                base["mode"] = "lease"
            pending.append(
                (begin, 0, base | {"type": "invoke", "value": value if f == "write" else None})
            )
            pending.append(
                (begin + 9 * MS, 1, base | {"type": "ok", "value": value, "term": lead[1]})
            )
            marks[name] = op
            op += 1
    pending.sort(key=lambda item: (item[0], item[1]))
    events = [
        HistoryEvent(index=index, time=at, **fields)
        for index, (at, _order, fields) in enumerate(pending)
    ]
    return events, marks


def _extra(op: int, kind: str, f: str, key: str, value: str) -> dict[str, Any]:
    return {"process": 95, "op": op, "type": kind, "f": f, "key": key, "value": value}


def _faults(third: int, end: int, evil: str) -> list[FaultRecord]:
    minority, majority = ["n1", "n2"], ["n3", "n4", "n5"]
    cut = [[a, b] for a in minority for b in majority] + [
        [b, a] for a in minority for b in majority
    ]
    plan: list[tuple[str, str, dict[str, Any], dict[str, Any], int, int, str, dict[str, Any]]] = [
        ("s1", "clock_rate", {"rates": {"leader": 0.93, "n5": 1.15}}, {"nodes": ["n1", "n5"],
         "rates": {"n1": 0.93, "n5": 1.15}}, 3 * SECOND, third + 4 * SECOND, "installed",
         {"n1": 0.9301, "n5": 1.1498}),
        ("s2", "partition", {"shape": "minority_with_leader"}, {"links": cut, "leader": "n1"},
         third, third + 2_600 * MS, "installed", {"refused": 12, "control": 4, "grace_ms": 100}),
        ("s3", "pause", {"targets": ["one"]}, {"nodes": ["n4"]}, third + 4 * SECOND,
         third + 6 * SECOND, "installed", {"state": "T"}),
        ("s4", "power_loss", {"targets": ["leader"]}, {"nodes": ["n3"], "leader": "n3"},
         2 * third, 2 * third + 1_500 * MS, "installed", {"signal": 9, "cut_bytes": 311, "boot": 2}),
        ("s5", "latency", {"ms": 25.0}, {"links": [["n4", "n5"]]}, 2 * third + 2 * SECOND,
         2 * third + 4 * SECOND, "indeterminate", {"round_trip_ms": 3.1}),
        ("s6", "pause", {"targets": ["leader"]}, {}, 2 * third + 5 * SECOND, 2 * third + 5 * SECOND,
         "skipped", {}),
    ]  # fmt: skip
    records: list[tuple[int, dict[str, Any]]] = []
    for step, kind, asked, targets, begin, heal, outcome, proof in plan:
        because = {"skipped": "there was no leader", "indeterminate": evil or "delay not seen"}
        common: dict[str, Any] = {"step": step, "kind": kind}
        records.append(
            (
                begin,
                common
                | {"action": "asked", "asked": asked, "time_begin": begin, "time_end": begin},
            )
        )
        records.append(
            (
                begin + 60 * MS,
                common
                | {
                    "action": "installed",
                    "targets": targets,
                    "time_begin": begin,
                    "time_end": begin + 60 * MS,
                    "outcome": outcome,
                    "because": because.get(outcome),
                    "evidence": proof,
                },
            )
        )
        if outcome != "skipped":
            records.append(
                (
                    heal,
                    common
                    | {
                        "action": "healed",
                        "targets": targets,
                        "time_begin": heal - 40 * MS,
                        "time_end": heal,
                        "outcome": "installed",
                    },
                )
            )
    records.sort(key=lambda record: record[0])
    return [FaultRecord(index=index, **fields) for index, (_, fields) in enumerate(records)]


def _facts_and_nodes(
    folder: Path,
    header: HistoryHeader,
    draw: random.Random,
    leads: list[tuple[int, int, str, int]],
    third: int,
    end: int,
) -> None:
    power_loss = 2 * third
    facts: list[tuple[int, type, dict[str, Any]]] = [
        (0, Phase, {"name": "up"}),
        (800 * MS, Phase, {"name": "ready"}),
        (SECOND, Phase, {"name": "quiet"}),
        (2 * SECOND, Phase, {"name": "safety"}),
        (end - 3 * SECOND, Phase, {"name": "heal_quorum"}),
        (end - 2 * SECOND, Phase, {"name": "heal_all"}),
        (end - SECOND, Phase, {"name": "final_reads"}),
        (end, Phase, {"name": "end"}),
    ]
    for number, node in enumerate(NODES):
        facts.append(
            (100 * MS + number, ProcessStarted, {"node": node, "boot": 1, "pid": 100 + number})
        )
        clock = 0.0
        for at in range(200 * MS, end, 500 * MS):
            rate = 1.0
            if node in ("n1", "n5") and 3 * SECOND <= at < third + 4 * SECOND:
                rate = 0.93 if node == "n1" else 1.15
            clock += 500 * MS * (rate + draw.uniform(-2e-4, 2e-4))
            down = node == "n3" and power_loss <= at < power_loss + 1_400 * MS
            if not down:
                boot = 2 if node == "n3" and at > power_loss else 1
                facts.append(
                    (
                        at,
                        ClockSample,
                        {
                            "node": node,
                            "boot": boot,
                            "before": at - 60_000,
                            "clock": int(clock),
                            "after": at + 60_000,
                        },
                    )
                )
    facts.append(
        (
            power_loss + 5 * MS,
            ProcessExited,
            {"node": "n3", "boot": 1, "code": None, "signal": 9, "asked": True},
        )
    )
    facts.append((power_loss + 1_400 * MS, ProcessStarted, {"node": "n3", "boot": 2, "pid": 140}))
    facts.sort(key=lambda fact: fact[0])
    write_lines(
        folder / "run.jsonl",
        [
            RunFactsHeader(
                run=RUN,
                boot_id=header.boot_id,
                origin_ns=header.origin_ns,
                versions={"driftline": "0.1.0", "toxiproxy": "2.12.0", "python": "3.11.7"},
                filesystem="ext4",
            ),
            *(
                kind(index=index, time=at, **fields)
                for index, (at, kind, fields) in enumerate(facts)
            ),
        ],
    )
    lives: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def tell(node: str, at: int, term: int, event: str, **fields: Any) -> None:
        boot = 2 if node == "n3" and at > power_loss else 1
        lives.setdefault((node, boot), []).append(
            {"t0": at, "t1": at + 50_000, "clock": at, "term": term, "event": event} | fields
        )

    for begin, until, leader, term in leads:
        tell(leader, begin - 30 * MS, term, "become_candidate")
        tell(leader, begin, term, "become_leader")
        for at in range(begin + 60 * MS, until - 50 * MS, 250 * MS):
            tell(leader, at, term, "lease", state="valid")
        if leader == "n1":
            tell(leader, until, term, "step_down", reason="lease expired")
        for node in NODES:
            if node != leader and not (leader == "n3" and node in ("n1", "n2")):
                tell(node, begin - 20 * MS, term, "vote_granted", candidate=leader)
    for (node, boot), events in lives.items():
        events.sort(key=lambda event: int(event["t0"]))
        write_lines(
            folder / "nodes" / node / f"events.{boot}.jsonl",
            [
                NodeEventsHeader(
                    node=node,
                    boot=boot,
                    origin_ns=header.origin_ns,
                    group=RUN,
                    election_timeout_ms=500,
                    max_clock_drift_ms=125,
                    leader_lease=True,
                ),
                *({"seq": seq, "boot": boot} | event for seq, event in enumerate(events)),
            ],
        )


def _verdict(
    history: list[HistoryEvent], marks: dict[str, int], stale_at: int, evil: str, valid: bool
) -> Verdict:
    proofs = []
    for name, text in (
        ("old_write", "write k2 900001 acknowledged by n1 in term 2"),
        ("new_write", "write k2 900002 acknowledged by n3 in term 4"),
        (
            "stale_read",
            "read k2 at n1 returned 900001 although 900002 was acknowledged before it began",
        ),
    ):
        for event in history:
            if name in marks and event.op == marks[name] and event.type != "invoke":
                proofs.append(
                    Evidence(file="history.jsonl", index=event.index, time=event.time, text=text)
                )
    findings = [
        Finding(
            property="P-LIN",
            text=f"key k2 is not linearizable: a read of 900001 at n1 began after 900002 was acknowledged {evil}",
            evidence=proofs,
            time=stale_at,
            rests_on=["clock_rates"],
            details={"key": "k2"},
        )
    ]
    return Verdict(
        run=RUN,
        verdict="valid" if valid else "invalid",
        exit_code=0 if valid else 1,
        headline=(
            "7 properties hold, 1 not checked (liveness); links toxiproxy 2.12.0"
            if valid
            else f"P-LIN violated on key k2: a stale read at n1; 6 properties hold, 1 not checked {evil}"
        ),
        findings=[] if valid else findings,
        properties=[
            PropertyResult(
                property="P-LIN",
                title="linearizability of every key",
                status="holds" if valid else "violated",
                because="" if valid else "key k2",
                statistics={"partitions": 8, "operations": len(history) // 2},
            ),
            PropertyResult(property="P-EL", title="election safety", status="holds"),
            PropertyResult(
                property="P-LX",
                title="lease exclusivity",
                status="holds",
                statistics={"observations": 112},
            ),
            PropertyResult(property="P-LM", title="log matching", status="holds"),
            PropertyResult(property="P-LC", title="leader completeness", status="holds"),
            PropertyResult(property="P-SM", title="state machine safety", status="holds"),
            PropertyResult(property="P-DU", title="durability", status="holds"),
            PropertyResult(
                property="P-LV",
                title="liveness",
                status="not checked",
                because="the heal of all links could not be proved complete",
            ),
        ],
        assumptions=[
            AssumptionResult(
                name="clock_rates",
                status="holds",
                because="largest ratio of a window 1.236, bound 1.25",
                statistics={"ratio_max": 1.236},
            ),
            AssumptionResult(name="disk", status="holds", because="ext4"),
            AssumptionResult(
                name="no_host_stall", status="failed", because="a stall of 140 ms at 12.4 s"
            ),
        ],
        quotas=[
            QuotaResult(name="ok read lease", wanted=200, got=1934, reached=True),
            QuotaResult(name="ok read readindex", wanted=200, got=1911, reached=True),
            QuotaResult(name="ok write", wanted=200, got=1880, reached=True),
            QuotaResult(name="forced leader changes", wanted=1, got=2, reached=True),
            QuotaResult(name="latency installed", wanted=1, got=0, reached=False),
        ],
        coverage={
            "ops": {
                "read": {"ok": 3845, "fail": 60, "info": 31},
                "write": {"ok": 1880, "info": 22},
            },
            "forced_leader_changes": 2,
            "max_clock_ratio": 1.236,
        },
        versions={"driftline": "0.1.0", "toxiproxy": "2.12.0", "python": "3.11.7"},
        links="toxiproxy",
        rerun="driftline run --plan plans/bug/read_no_check.toml --seed 7",
        recovered=["nodes/n3/events.1.jsonl"],
        seconds={"run": 34.0, "check": 1.9},
    )


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), seconds=int(sys.argv[2]) if len(sys.argv) > 2 else 30))
