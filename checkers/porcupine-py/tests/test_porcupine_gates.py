"""The gates of collections, strings and counters agree with search and oracle, and whatever they show holds.

A history is made by running the model on values that are each put in once; then, more often than not, something in
it is spoilt. The quick runs are seeded; `-m fuzz` runs the long ones.
"""

from __future__ import annotations

import dataclasses
import os
import random
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

import porcupine
from porcupine import (
    EMPTY,
    UNKNOWN,
    CollectionColumns,
    HistoryError,
    Model,
    Operation,
    check,
    check_columns,
    columns,
    models,
)
from porcupine.engine import compiled

needs_core = pytest.mark.skipif(
    porcupine.core == "python", reason="the compiled core is not in use"
)
FUZZ_COUNT = int(os.environ.get("PORCUPINE_FUZZ", "1000000"))

Draw = Callable[[random.Random, int, Any, list[Any]], tuple[tuple[Any, ...], Any]]
"""(dice, instant, state, values so far) -> an input, and the output it has in this state."""


def collection(
    names: tuple[str, str],
    at: Callable[[Any], int],
    dice: random.Random,
    now: int,
    state: Any,
    _: Any,
) -> tuple[tuple[Any, ...], Any]:
    into, out = names
    kind = dice.choice([into, into, out, out, "peek"])
    if kind == into:
        return (into, dice.randrange(1_000) * 100 + now), None
    if kind == "peek" and dice.random() < 0.1:
        return ("peek",), UNKNOWN
    return (kind,), state[at(state)] if state else EMPTY


def elements(dice: random.Random, now: int, state: Any, past: list[Any]) -> Any:
    kind = dice.choice(["add", "remove", "contains", "contains", "contains"])
    if kind == "add" and dice.random() < 0.8:
        return ("add", now), dice.choice([True, None])
    value = dice.choice([*past, now][:3])
    inside = value in state
    if kind == "contains":
        return ("contains", value), inside
    told = inside if kind == "remove" else not inside
    return (kind, value), dice.choice([told, told, None]) if kind == "remove" else told


def whole(dice: random.Random, now: int, state: Any, past: list[Any]) -> Any:
    if dice.random() < 0.5:
        return ("add", now), dice.choice([True, None])
    return ("read",), UNKNOWN if dice.random() < 0.1 else list(state)


def string(dice: random.Random, now: int, state: Any, past: list[Any]) -> Any:
    kind = dice.choice(["get", "get", "append", "append", "put"])
    if kind == "get":
        return ("get", "k"), UNKNOWN if dice.random() < 0.1 else state
    return (kind, "k", "abcdefghijkl"[now] + "." * dice.randrange(2)), None


def row(dice: random.Random, now: int, state: Any, past: list[Any]) -> Any:
    if dice.random() < 0.5:
        return ("read", "k"), list(state)
    return ("append", "k", now), None


def sums(dice: random.Random, now: int, state: Any, past: list[Any]) -> Any:
    by = dice.choice([1, 1, 2, 5, -3, 0])
    kind = dice.choice(["read", "add_and_get", "add_and_get", "add_and_get"])
    if kind == "read":
        return ("read",), state
    return (kind, by), state + by


KITS: dict[str, tuple[Callable[[], Model], Draw]] = {
    "queue": (models.queue, partial(collection, ("enqueue", "dequeue"), lambda state: 0)),
    "stack": (models.stack, partial(collection, ("push", "pop"), lambda state: -1)),
    "priority": (models.priority_queue, partial(collection, ("push", "pop"), lambda state: 0)),
    "set": (models.set_of_values, elements),
    "whole set": (models.set_of_values, whole),
    "append": (models.append_kv, string),
    "append to some": (partial(models.append_kv, "z"), string),
    "list": (models.list_append, row),
    "counter": (models.counter, sums),
}


def history(name: str, dice: random.Random, count: int) -> list[Operation]:
    """A linearizable history, shuffled; intervals as in Lab.history."""
    make, draw = KITS[name]
    model = make()
    assert model.step is not None
    spread, grain = dice.randint(0, 6), dice.randint(1, 3)
    info = dice.choice([0, 0, 0.1, 0.3])
    state, past, found = model.init(), [], []
    for now in range(count):
        given, output = draw(dice, now, state, past)
        unknown = dice.random() < info
        if not unknown or dice.random() < 0.5:
            fits, state = model.step(state, given, output)
            assert fits
        past.extend(given[1:2])
        call = (now - dice.randint(0, spread)) // grain
        back = (now + dice.randint(0, spread)) // grain
        if unknown:
            found.append(Operation(now, given, call, UNKNOWN, None, "info"))
        else:
            found.append(Operation(now, given, call, output, back))
    for _ in range(dice.choice([0, 1, 2, 4, 7])):
        spoil(dice, found)
    dice.shuffle(found)
    return found


def spoil(dice: random.Random, found: list[Operation]) -> None:
    """Change one thing."""
    at = dice.randrange(len(found))
    target = found[at]
    if target.outcome != "ok":
        return
    what = dice.randrange(6)
    if what < 2:
        by = dice.choice([-7, -5, -3, -2, -1, 1, 2, 3, 5, 7])
        target = dataclasses.replace(
            target, call=target.call + by, return_time=target.return_time + by
        )
    elif what < 4:
        middle = dice.randint(target.call, target.return_time)
        target = dataclasses.replace(target, call=middle, return_time=middle)
    elif what == 4:
        alike = [o for o in found if o.input[0] == target.input[0] and o.outcome == "ok"]
        told = type(target.output) is bool
        output = not target.output if told else dice.choice(alike).output
        target = dataclasses.replace(target, output=output)
    elif dice.random() < 0.5:
        target = dataclasses.replace(target, outcome="fail")
    else:
        target = dataclasses.replace(target, outcome="info", output=UNKNOWN, return_time=None)
    found[at] = target


def agree(lab: Any, name: str, operations: Sequence[Operation], count: Counter[str]) -> None:
    """Judge one history by gate, and hold the answer to its word."""
    model = KITS[name][0]()
    result = check(operations, model, prefer="gate")
    if result.cause == "not applicable":
        count["not applicable"] += 1
        return
    told = (name, operations, str(result))
    truth = lab.oracle(model, operations)
    assert result.verdict == ("ok" if truth else "illegal"), told
    count[result.verdict] += 1
    if truth:
        assert lab.objection(model, operations, result.linearization[0]) is None, told
        return
    witness = result.witness
    assert witness is not None
    assert witness.closed, told
    assert witness.operations, told
    alone = [operations[index] for index in (*witness.operations, *witness.support)]
    assert not lab.oracle(model, alone), told


def run(lab: Any, name: str, seed: int, count: int, most: int = 10) -> Counter[str]:
    found: Counter[str] = Counter()
    dice = random.Random(f"{name} {seed}")
    for _ in range(count):
        agree(lab, name, history(name, dice, dice.randint(most // 2, most)), found)
    return found


@pytest.mark.parametrize("name", KITS)
def test_gates_agree_with_the_oracle(lab: Any, name: str) -> None:
    found = run(lab, name, 1, 600)
    # The run is of use only if it met each case often.
    assert min(found["ok"], found["illegal"]) > 100, found
    assert found["not applicable"] < 300, found


@pytest.mark.fuzz
@pytest.mark.parametrize("name", KITS)
def test_fuzz_gates(lab: Any, name: str) -> None:
    found = run(lab, name, 2, 20_000)
    assert min(found["ok"], found["illegal"]) > 3_000, found


COMPILED = (
    "queue",
    "stack",
    "priority",
    "set",
    "whole-set",
    "append",
    "append-to-some",
    "list",
    "counter",
    "register",
)


@needs_core
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_gates_agree_with_the_compiled_oracle(name: str) -> None:
    legal, illegal, beside, wrong = compiled._fuzz_gate(name, 1, 3_000)
    assert not wrong
    assert min(legal, illegal) > 200, (legal, illegal, beside)
    assert beside < 1_500


@needs_core
@pytest.mark.fuzz
@pytest.mark.parametrize("name", COMPILED)
def test_fuzz_the_compiled_gates(name: str) -> None:
    for seed in range(10):
        *_, wrong = compiled._fuzz_gate(name, 1_000 + seed, FUZZ_COUNT // 10)
        assert not wrong


@needs_core
@pytest.mark.parametrize("name", KITS)
def test_both_gates_apply_to_the_same_histories(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And say the same of them."""
    dice = random.Random(f"both {name}")
    histories = [history(name, dice, dice.randint(3, 12)) for _ in range(400)]
    model = KITS[name][0]()
    assert model.gate is not None
    fast = [model.gate(each, None) for each in histories]
    monkeypatch.setattr("porcupine.gates.deciding.compiled", None)
    plain = [model.gate(each, None) for each in histories]
    assert [one and one.verdict for one in fast] == [one and one.verdict for one in plain]


def test_a_gate_is_not_asked_about_failures_that_count() -> None:
    """A compare-and-set that failed on the value there was is illegal, if the model looks at it."""
    history = [
        Operation(0, ("write", 1), 0, None, 1),
        Operation(0, ("cas", 1, 2), 2, False, 3, "fail"),
    ]
    model = models.cas_register()
    assert check(history, model).verdict == "ok"
    assert check(history, dataclasses.replace(model, sees_failures=True)).verdict == "illegal"


NAMES = {"queue": "queue", "stack": "stack", "priority": "priority_queue", "set": "set"}


def columns_of(name: str, operations: Sequence[Operation]) -> CollectionColumns:
    """The columns of what has a row in them."""
    words = columns.COLLECTIONS[NAMES[name]][1]
    rows: list[tuple[int, int, int, int]] = []
    for operation in operations:
        given, output = operation.input, operation.output
        value = given[1] if len(given) > 1 else output
        kind = words.index(given[0])
        if name == "set" and output is False:
            kind = columns.PRESENT if given[0] == "add" else columns.ABSENT
        if operation.outcome == "fail" or (output is UNKNOWN and operation.outcome == "ok"):
            continue
        if value is EMPTY or value is UNKNOWN:
            value = columns.NOTHING
        back = columns.NEVER if operation.return_time is None else operation.return_time
        rows.append((kind, operation.call, back, value))
    kinds, calls, backs, values = zip(*rows, strict=True) if rows else ((),) * 4
    numbers = (array("q", column) for column in (calls, backs, values))
    return CollectionColumns(NAMES[name], array("B", kinds), *numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_judged_like_operations(lab: Any, name: str) -> None:
    dice = random.Random(f"columns {name}")
    found: Counter[str] = Counter()
    for _ in range(300):
        rows = columns_of(name, history(name, dice, dice.randint(4, 10)))
        operations = rows.operations()
        result = check_columns(rows)
        found[result.verdict] += 1
        assert result.verdict == ("ok" if lab.oracle(rows.model(), operations) else "illegal")
        if result.verdict == "ok":
            assert lab.objection(rows.model(), operations, result.linearization[0]) is None
        elif result.parts[0].engine.endswith("gate"):
            assert result.witness is not None
            shown = (*result.witness.operations, *result.witness.support)
            assert not lab.oracle(rows.model(), [operations[row] for row in shown])
    assert min(found["ok"], found["illegal"]) > 50, found


def test_columns_that_are_none_are_refused_in_a_line() -> None:
    for made, text in (
        (CollectionColumns("queue", b"\x07", [1], [2], [3]), "row 0 is of kind 7"),
        (CollectionColumns("queue", b"\x00", [1], [2], [3, 4]), "not of one length"),
        (CollectionColumns("set", b"\x00", [1], [2], [columns.NOTHING]), "NOTHING"),
        (CollectionColumns("heap", b"", [], [], []), "no collection 'heap'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(HistoryError, match=text):
            check_columns(made)


def test_rows_named_by_the_core_are_those_of_the_whole_history() -> None:
    """Two values that pass each other, behind a thousand that do not."""
    kinds, calls, backs, values = array("B"), array("q"), array("q"), array("q")
    for value in range(1_000):
        for kind in (columns.PUT, columns.TAKE):
            kinds.append(kind)
            calls.append(4 * value + 2 * kind)
            backs.append(4 * value + 2 * kind + 1)
            values.append(value)
    for at, (kind, value) in enumerate(((0, -1), (0, -2), (1, -2), (1, -1))):
        kinds.append(kind)
        calls.append(5_000 + 2 * at)
        backs.append(5_001 + 2 * at)
        values.append(value)
    result = check_columns(CollectionColumns("queue", kinds, calls, backs, values))
    assert result.verdict == "illegal"
    assert result.witness is not None
    assert result.witness.operations == (2_000, 2_001, 2_002, 2_003)
    assert "-1 went in before -2, -2 was at the head before -1" in result.witness.text
