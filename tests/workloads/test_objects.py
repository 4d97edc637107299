"""The workloads of counters and lists: pure, drawn by position, over keys that retire; and what their judges say."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

import porcupine
from checkers.judging import Judge, resolve
from checkers.records.fitness import Operation
from checkers.records.schema import HistoryEvent
from workloads import registry
from workloads.append import Append
from workloads.counter import SUMMANDS, Counter
from workloads.generator import Completion, Context, Op


def stream(client: int) -> Random:
    return Random(f"client/{client}")


def asked(
    workload: Counter | Append, clients: int, rounds: int, outcome: Any = "ok"
) -> list[tuple[int, Op]]:
    everyone = [workload.generator(c, clients, stream(c)) for c in range(clients)]
    found = []
    for _ in range(rounds):
        for number, client in enumerate(everyone):
            op = client.next(Context(client=number, process=number))
            assert isinstance(op, Op)
            found.append((number, op))
            client.update(Completion(number, number, op, outcome))
    return found


@pytest.mark.parametrize("make", [Counter, Append])
def test_one_more_client_changes_nobody_elses_operations(make: Any) -> None:
    few = asked(make({"ops_per_key": 9999}), 4, 50)
    more = [(n, op) for n, op in asked(make({"ops_per_key": 9999}), 5, 50, "fail") if n < 4]
    assert few == more


def test_summands_are_positive_and_elements_unique() -> None:
    adds = [op.value for _, op in asked(Counter({"readers": 0}), 7, 60) if op.f == "add"]
    assert set(adds) == set(range(1, SUMMANDS + 1))
    elements = [op.value for _, op in asked(Append({"readers": 0}), 1500, 2) if op.f == "append"]
    assert len(elements) == len(set(elements)) > 1000


@pytest.mark.parametrize("make", [Counter, Append])
def test_keys_retire_and_final_reads_visit_them_all(make: Any) -> None:
    workload = make({"keys": 2, "ops_per_key": 20})
    used = {op.key for _, op in asked(workload, 3, 100)}
    final = workload.final_ops()
    assert {op.key for op in final} == used
    assert {op.mode for op in final} == {"lease", "readindex", "local"}


@pytest.mark.parametrize("make", [Counter, Append])
def test_a_key_retires_after_its_unknown_outcomes(make: Any) -> None:
    workload = make({"keys": 1, "infos_per_key": 3, "readers": 0, "changes": 100})
    keys = [op.key for _, op in asked(workload, 1, 9, "info")]
    assert keys == ["k0.0"] * 3 + ["k0.1"] * 3 + ["k0.2"] * 3


@pytest.mark.parametrize("name", ["counter", "append"])
def test_the_header_names_the_judge(name: str) -> None:
    header = registry.load(name, {"keys": 7}).header()
    assert isinstance(resolve(header.model, header.params), Judge)


@pytest.mark.parametrize(
    "params", [{"changes": 101}, {"keys": 0}, {"read_modes": ["x"]}, {"weights": {}}]
)
def test_what_no_workload_takes_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(registry.WorkloadError, match="counter"):
        registry.load("counter", params)


# ---- the judges ----------------------------------------------------------------------------------


def operation(
    number: int, f: str, asked: Any, got: Any, outcome: str = "ok", mode: str | None = None
) -> Operation:
    """One that runs alone, the `number`-th of its history."""
    common: dict[str, Any] = {"process": 0, "op": number, "f": f, "key": "k", "mode": mode}
    invoke = HistoryEvent(
        index=2 * number, time=20 * number, type="invoke", value=asked, node="n1", **common
    )
    completion = HistoryEvent(
        index=2 * number + 1,
        time=20 * number + 10,
        type=outcome,  # type: ignore[arg-type]
        value=got,
        node="n1",
        **common,
    )
    return Operation(invoke, completion)


def verdict(judge: Judge, history: list[Operation]) -> str:
    points = [(op, judge.point(op)) for op in history]
    found = [
        porcupine.Operation(
            client_id=0,
            input=point.input,
            call=op.invoke.time,
            output=point.output,
            return_time=op.completion.time,
            outcome=point.outcome,
        )
        for op, point in points
        if point is not None and op.completion is not None
    ]
    return porcupine.check(found, judge.model("k")).verdict


COUNTER = resolve("workloads.counter:model", {})
LIST = resolve("workloads.append:model", {})


def add(number: int, summand: int, now: int) -> Operation:
    return operation(number, "add", summand, {"add": summand, "now": now})


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([add(1, 2, 2), operation(2, "read", None, 2), add(3, 3, 5)], "ok"),
        ([operation(1, "read", None, None), add(2, 1, 1)], "ok"),
        ([add(1, 2, 2), operation(2, "read", None, None)], "illegal"),
        ([add(1, 2, 2), add(2, 3, 8)], "illegal"),
        ([operation(1, "add", 2, None, "info"), operation(2, "read", None, 2)], "ok"),
        ([operation(1, "add", 2, None, "fail"), operation(2, "read", None, 2)], "illegal"),
        ([operation(1, "add", 2, None, "info"), add(2, 1, 1), add(3, 1, 6)], "illegal"),
    ],
)
def test_a_counter_is_the_sum_of_its_adds(history: list[Operation], expected: str) -> None:
    assert verdict(COUNTER, history) == expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([operation(1, "append", 7, 7), operation(2, "read", None, [7])], "ok"),
        ([operation(1, "append", 7, 7), operation(2, "read", None, None)], "illegal"),
        (
            [
                operation(1, "append", 7, 7),
                operation(2, "append", 8, 8),
                operation(3, "read", None, [8, 7]),
            ],
            "illegal",
        ),
        ([operation(1, "append", 7, 7, "info"), operation(2, "read", None, [7, 7])], "illegal"),
        ([operation(1, "append", 7, 7, "info"), operation(2, "read", None, [])], "ok"),
    ],
)
def test_a_list_is_its_appends_in_order(history: list[Operation], expected: str) -> None:
    assert verdict(LIST, history) == expected


def test_a_local_read_of_a_counter_may_be_stale_but_never_ahead() -> None:
    history = [add(1, 2, 2), add(3, 2, 4)]
    stale = operation(4, "read", None, 0, mode="local")
    ahead = operation(2, "read", None, 4, mode="local")
    assert COUNTER.point(stale) is None
    assert not COUNTER.objections([*history, stale], [stale])
    (objection,) = COUNTER.objections([*history, ahead], [ahead])
    assert objection.text == "a local read of k at n1 saw 4, and all adds begun by then make 0 to 2"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([7], ""),
        ([9], "which nobody ever appended there"),
        ([8], "whose append definitely failed"),
        ([6], "before its append was begun"),
        ([7, 7], "twice"),
    ],
)
def test_a_local_read_of_a_list_may_be_stale_but_not_invented(seen: list[int], words: str) -> None:
    look = operation(3, "read", None, seen, mode="local")
    history = [
        operation(1, "append", 7, 7),
        operation(2, "append", 8, 8, "fail"),
        look,
        operation(4, "append", 6, 6),
    ]
    found = LIST.objections(history, [look])
    assert [words in objection.text for objection in found] == ([True] if words else [])


@pytest.mark.parametrize(
    ("judge", "wrong"),
    [
        (COUNTER, operation(1, "append", 1, 1)),
        (COUNTER, operation(1, "add", "1", None)),
        (COUNTER, operation(1, "read", None, "x")),
        (LIST, operation(1, "add", 1, 1)),
        (LIST, operation(1, "read", None, 7)),
    ],
)
def test_what_a_judge_does_not_know_is_told_in_one_line(judge: Judge, wrong: Operation) -> None:
    with pytest.raises(ValueError, match="found") as refused:
        judge.point(wrong)
    assert "\n" not in str(refused.value)
