"""Well-formed lines that cannot be a history, a node's life, the faults or facts of a run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from checkers.records.events import Commit
from checkers.records.fitness import (
    REASONS_MAX,
    operations,
    unfit_facts,
    unfit_faults,
    unfit_life,
    unfit_reasons,
)
from checkers.records.reading import NodeLife
from checkers.records.schema import HistoryEvent, NodeEventsHeader
from tests.checkers.made import event, fault, history, phase


def events(*rows: tuple[str, int, int], **changes: Any) -> list[HistoryEvent]:
    """(type, process, op) each, 10 ns apart; `changes` {position: fields}."""
    found = [
        HistoryEvent(index=i, time=10 * i, type=kind, process=process, op=op, f="write", key="k")  # type: ignore[arg-type]
        for i, (kind, process, op) in enumerate(rows)
    ]
    for position, fields in changes.items():
        at = int(position[1:])
        found[at] = msgspec.structs.replace(found[at], **fields)
    return found


FIT: dict[str, list[HistoryEvent]] = {
    "nothing": [],
    "one after the other": events(("invoke", 1, 0), ("ok", 1, 0), ("invoke", 1, 1), ("fail", 1, 1)),
    "two processes at once": events(("invoke", 1, 0), ("invoke", 2, 1), ("ok", 2, 1), ("ok", 1, 0)),
    "an invoke without completion": events(("invoke", 1, 0), ("invoke", 2, 1)),
    "an unknown outcome ends a process": events(
        ("invoke", 1, 0), ("info", 1, 0), ("invoke", 11, 1), ("ok", 11, 1)
    ),
    "two lines at the same time": events(("invoke", 1, 0), ("ok", 1, 0), _1={"time": 0}),
    "a whole history": history(),
}

UNFIT: dict[str, tuple[list[HistoryEvent], str]] = {
    "a completion without an invoke": (events(("ok", 1, 0)), "without an invoke"),
    "an invoke after its completion": (
        events(("ok", 1, 0), ("invoke", 1, 0)),
        "without an invoke",
    ),
    "a completion twice": (
        events(("invoke", 1, 0), ("ok", 1, 0), ("fail", 1, 0)),
        "completed twice, at index 1 and 2",
    ),
    "an invoke twice": (
        events(("invoke", 1, 0), ("ok", 1, 0), ("invoke", 1, 0)),
        "invoked twice",
    ),
    "operations of one process at once": (
        events(("invoke", 1, 0), ("invoke", 1, 1), ("ok", 1, 0), ("ok", 1, 1)),
        "operations overlap",
    ),
    "a process that goes on after an unknown outcome": (
        events(("invoke", 1, 0), ("info", 1, 0), ("invoke", 1, 1)),
        "goes on at index 2",
    ),
    "time that goes back": (
        events(("invoke", 1, 0), ("ok", 1, 0), _0={"time": 20}),
        "time goes back at index 1: from 20 to 10",
    ),
    "a time that no run comes to": (
        events(("invoke", 1, 0), _0={"time": 10**400}),
        "no run comes to",
    ),
    "time before the origin": (events(("invoke", 1, 0), _0={"time": -1}), "time goes back"),
    "a gap in index": (
        events(("invoke", 1, 0), ("ok", 1, 0), _1={"index": 2}),
        "2 stands where 1 is due",
    ),
    "an index twice": (
        events(("invoke", 1, 0), ("ok", 1, 0), _1={"index": 0}),
        "0 stands where 1 is due",
    ),
    "a beginning that is missing": (events(("invoke", 1, 0), _0={"index": 5}), "5 stands where 0"),
    "a completion by another process": (
        events(("invoke", 1, 0), ("ok", 2, 0)),
        "invoked write k of process 1",
    ),
    "a completion of another key": (
        events(("invoke", 1, 0), ("ok", 1, 0), _1={"key": "j"}),
        "completes operation 0 as write j",
    ),
}


@pytest.mark.parametrize("name", FIT)
def test_a_history_is_fit(name: str) -> None:
    assert unfit_reasons(FIT[name]) == []


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_a_history_is_told_in_one_line(name: str) -> None:
    records, text = UNFIT[name]
    (reason, *_) = unfit_reasons(records)
    assert text in reason
    assert "\n" not in reason
    operations(records)


def test_one_missing_line_is_told_once() -> None:
    records = history()
    del records[10]
    reasons = unfit_reasons(records)
    assert sum("a gap in index" in reason for reason in reasons) == 1


def test_many_reasons_are_counted() -> None:
    reasons = unfit_reasons(events(*[("ok", 1, op) for op in range(100)]))
    assert len(reasons) == REASONS_MAX + 1
    assert reasons[-1] == "and 90 more like these"


def test_operations_come_in_the_order_of_their_invokes() -> None:
    found = operations(
        events(("invoke", 1, 7), ("invoke", 2, 3), ("ok", 2, 3), ("invoke", 3, 9), ("fail", 1, 7))
    )
    assert [(one.invoke.op, one.outcome) for one in found] == [(7, "fail"), (3, "ok"), (9, "info")]
    assert found[2].completion is None


def life(*told: Any, **fields: Any) -> NodeLife:
    header = NodeEventsHeader(
        node="n1",
        boot=2,
        origin_ns=0,
        group="g",
        election_timeout_ms=1,
        max_clock_drift_ms=1,
        leader_lease=True,
    )
    return NodeLife("n1", 2, msgspec.structs.replace(header, **fields), list(told))


def commit(at: float, seq: int, boot: int = 2, **fields: Any) -> Any:
    return event(Commit, at, 1, boot, seq=seq, index=1, **fields)


@pytest.mark.parametrize(
    ("records", "text"),
    [
        (life(), ""),
        (life(commit(1, 0), commit(1, 1), commit(2, 2)), ""),
        # A step that began earlier may be told later: t1 is what goes on.
        (life(commit(3, 0), commit(1, 1, took=5)), ""),
        (life(commit(1, 1)), "1 stands where 0 is due"),
        (life(commit(1, 0), commit(2, 2)), "2 stands where 1 is due"),
        (life(commit(1, 0, boot=3)), "seq 0 is an event of boot 3"),
        (life(commit(2, 0), commit(1, 1)), "time goes back at seq 1"),
        (life(commit(2, 0, took=-1)), "before it begins"),
        (life(commit(1, 0, clock=10**20)), "no clock comes to"),
        (life(node="n2"), "its header says n2"),
        (life(boot=1), "boot 1"),
    ],
)
def test_a_life_of_a_node(records: NodeLife, text: str) -> None:
    reasons = unfit_life(records)
    assert [text in reason for reason in reasons] == ([True] if text else [])


def test_the_faults_and_facts_of_a_run() -> None:
    good = fault("s", "kill", 1, 9)
    assert unfit_faults(good) == []
    assert "a gap in index" in unfit_faults(good[1:])[0]
    assert "ends before it begins" in unfit_faults(fault("s", "kill", 1, took=-2))[0]
    first, second = phase("up", 1), msgspec.structs.replace(phase("ready", 2), index=1)
    assert unfit_facts([first, second]) == []
    assert "a gap in index" in unfit_facts([second])[0]
    late = msgspec.structs.replace(second, time=0)
    assert "time goes back" in unfit_facts([first, late])[0]
