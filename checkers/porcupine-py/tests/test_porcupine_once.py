"""Operations of the compiled core, and histories that are decided at once."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import pickle
import random
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import porcupine
from porcupine import UNKNOWN, HistoryError, Model, Operation, check, core, models
from porcupine.once import judged_at_once
from porcupine.partitioning import undivided

needs_core = pytest.mark.skipif(core != "rust", reason="is about the compiled core")


def one() -> Operation:
    return Operation(1, ("read",), 5, "x", 9, metadata=("k",))


# --- operations -----------------------------------------------------------------------------------


def test_an_operation_is_a_dataclass_with_either_core() -> None:
    names = ["client_id", "input", "call", "output", "return_time", "outcome", "metadata"]
    assert [field.name for field in dataclasses.fields(Operation)] == names
    assert list(inspect.signature(Operation).parameters) == names
    assert dataclasses.astuple(one()) == (1, ("read",), 5, "x", 9, "ok", ("k",))
    assert dataclasses.replace(one(), outcome="info") == Operation(
        1, ("read",), 5, "x", 9, "info", ("k",)
    )
    assert Operation.__match_args__ == tuple(names)
    assert Operation.__module__ == "porcupine.history"
    assert repr(one()) == (
        "Operation(client_id=1, input=('read',), call=5, output='x', return_time=9, outcome='ok', metadata=('k',))"
    )


def test_operations_are_equal_field_by_field_and_have_no_hash() -> None:
    assert one() == one()
    for field in dataclasses.fields(Operation):
        other = one()
        setattr(other, field.name, "something else")
        assert getattr(other, field.name) == "something else"
        assert other != one()
    assert one() != (1, ("read",), 5, "x", 9, "ok", ("k",))
    with pytest.raises(TypeError, match="unhashable"):
        hash(one())


@pytest.mark.parametrize("time", [-1, 2**63 - 1, 2**63, -(2**63) - 1, True, 1.5, None])
def test_a_time_comes_back_as_it_was_given(time: Any) -> None:
    operation = dataclasses.replace(one(), call=time)
    operation.return_time = time
    assert (operation.call, operation.return_time) == (time, time)
    assert {type(operation.call), type(operation.return_time)} == {type(time)}


@pytest.mark.parametrize("outcome", ["ok", "fail", "info", "unheard of", None, ["ok"]])
def test_an_outcome_comes_back_as_it_was_given(outcome: Any) -> None:
    operation = dataclasses.replace(one(), outcome=outcome)
    assert operation.outcome == outcome
    operation.outcome = "ok"
    assert operation.outcome == "ok"


def test_operations_can_be_copied_and_pickled() -> None:
    assert copy.copy(one()) == one()
    assert copy.deepcopy(one()) == one()
    assert pickle.loads(pickle.dumps(one())) == one()


def test_an_operation_wants_its_five_first_fields() -> None:
    with pytest.raises(TypeError, match="return_time"):
        Operation(1, ("read",), 5, "x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Operation(1, ("read",), 5, "x", 6, colour="red")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        one().colour = "red"  # type: ignore[attr-defined]


def test_an_operation_that_holds_itself_is_collected() -> None:
    class Held:
        pass

    held, operation = Held(), one()
    operation.metadata, operation.output = operation, held
    gone = weakref.ref(held)
    del held, operation
    gc.collect()
    assert gone() is None


# --- decided at once ------------------------------------------------------------------------------


def registers(rng: random.Random, keys: int) -> list[Operation]:
    found: list[Operation] = []
    for number in range(rng.randint(0, 30)):
        call = rng.randint(0, 40)
        key = (f"k{rng.randrange(keys)}",) if keys else ()
        a, b = rng.randrange(3), rng.randrange(3)
        given, output = rng.choice(
            [
                (("read", *key), a),
                (("write", *key, a), None),
                (("cas", *key, a, b), True),
                (("cas", *key, a, b), False),
            ]
        )
        outcome = rng.choices(["ok", "info", "fail"], [6, 1, 1])[0]
        back = None if outcome == "info" else call + rng.randint(0, 30)
        found.append(Operation(number, given, call, output, back, outcome))  # type: ignore[arg-type]
    return found


def strings(rng: random.Random, keys: int) -> list[Operation]:
    found: list[Operation] = []
    states = dict.fromkeys(range(keys), "")
    for number in range(rng.randint(0, 40)):
        key = rng.randrange(keys)
        call = 10 * number - rng.randint(0, 30)
        kind = rng.choice(["get", "get", "put", "append"])
        letter = rng.choice("ab")
        if kind != "get":
            states[key] = letter if kind == "put" else states[key] + letter
        output = states[key] if kind == "get" and rng.random() < 0.95 else None
        given = (kind, key) if kind == "get" else (kind, key, letter)
        output = "b" if kind == "get" and output is None else output
        found.append(Operation(number, given, call, output, 10 * number + rng.randint(0, 30)))
    return found


CASES: list[tuple[Callable[[], Model], Callable[[random.Random], list[Operation]]]] = [
    (models.cas_register, lambda rng: registers(rng, 0)),
    (models.kv, lambda rng: registers(rng, 3)),
    (models.append_kv, lambda rng: strings(rng, 3)),
]


@pytest.mark.parametrize(("make", "draw"), CASES)
def test_what_is_decided_at_once_is_what_the_ordinary_way_finds(
    make: Callable[[], Model], draw: Callable[[random.Random], list[Operation]]
) -> None:
    rng = random.Random(4)
    model = make()
    # With a gate or a partition of its own the model is not the one that the core knows.
    slow = dataclasses.replace(model, partition=None if model.partition is None else copied(model))
    if model.partition is None:
        slow = dataclasses.replace(model, gate=lambda operations, deadline: None)
    verdicts = set()
    for _ in range(300):
        history = draw(rng)
        quick, full = check(history, model), check(history, slow)
        assert (quick.verdict, quick.progress.parts) == (full.verdict, full.progress.parts)
        assert [part.key for part in quick.parts] == [part.key for part in full.parts]
        assert [p.verdict for p in quick.parts].count("illegal") == (quick.verdict == "illegal")
        assert (quick.witness is None) == (quick.verdict == "ok")
        if quick.verdict == "ok":
            assert quick.progress == full.progress
            assert [sorted(o) for o in quick.linearization] == [
                sorted(o) for o in full.linearization
            ]
        verdicts.add(quick.verdict)
    assert verdicts == {"ok", "illegal"}


@needs_core
def test_operations_that_follow_one_another_are_judged_in_their_one_order(
    lab: Any, ready_name: str
) -> None:
    """Each is over before the next is called; equal instants are not enough, for then they may change places."""
    model, draw = lab.ready[ready_name]
    rng = random.Random(f"in turn {ready_name}")
    verdicts = Counter[str]()
    for number in range(300):
        apart = 1 if number % 3 else 0
        shuffled = sorted(lab.drawn(rng, model, draw), key=lambda o: o.client_id)
        history = [
            Operation(0, o.input, 3 * at, o.output, 3 * at + 3 - apart)
            for at, o in enumerate(o for o in shuffled if o.outcome == "ok")
        ]
        verdict = check(history, model).verdict
        assert verdict == ("ok" if lab.oracle(model, history) else "illegal"), history
        verdicts[verdict] += 1
    assert min(verdicts["ok"], verdicts["illegal"]) > 20, verdicts


@needs_core
def test_operations_that_follow_one_another_keep_to_the_memory_limit_too() -> None:
    """The states of a queue that only grows: 20,000 numbers at the end, 800 MB together."""
    history = [Operation(0, ("enqueue", at), 2 * at, None, 2 * at + 1) for at in range(20_000)]
    result = check(history, models.queue(), memory_bytes=32 << 20, prefer="search")
    assert (result.verdict, result.cause) == ("unknown", "memory")


def overlapping(rng: random.Random, clients: int) -> list[Operation]:
    """Appends, some puts and reads of one key at some instant each, clients that call one after the other."""
    free, drafts = [0] * clients, []
    for _ in range(12 * clients):
        client = min(range(clients), key=free.__getitem__)
        call = free[client] + rng.randrange(1, 30)
        back = call + rng.randrange(1, 40)
        free[client] = back
        drafts.append((rng.uniform(call, back), call, back, client))
    text, found = "", []
    for number, (_, call, back, client) in enumerate(sorted(drafts)):
        name = rng.choices(("get", "append", "put"), (9, 9, 1))[0]
        if name == "get":
            found.append(Operation(client, ("get", "k"), call, text, back))
        else:
            piece = f"<{number}>"
            text = piece if name == "put" else text + piece
            found.append(Operation(client, (name, "k", piece), call, None, back))
    return sorted(found, key=lambda o: o.call)


@needs_core
def test_strings_that_grow_are_mostly_followed_without_a_search() -> None:
    """Then a check has few steps; one read changed is found out whether it is searched for or not."""
    rng, short = random.Random(12), 0
    for number in range(300):
        history = overlapping(rng, 2 + number % 3)
        result = check(history, models.append_kv())
        assert result.verdict == "ok"
        short += result.steps < 4 * len(history)
        late = rng.choice([o for o in history if o.input[0] == "get"])
        late.output = f"{late.output}?"
        result = check(history, models.append_kv())
        assert (result.verdict, bool(result.witness)) == ("illegal", True)
    assert short > 250


@needs_core
def test_an_operation_that_ends_before_it_began_is_an_error_among_those_in_turn() -> None:
    history = [
        Operation(0, ("put", "k", "a"), 10, None, 20),
        Operation(0, ("get", "k"), 30, "a", 25),
        Operation(0, ("get", "k"), 40, "a", 50),
    ]
    with pytest.raises(HistoryError):
        check(history, models.append_kv())


def copied(model: Model) -> Any:
    partition = model.partition
    assert partition is not None
    return lambda operations: partition(operations)


def at_once(history: Any, model: Model) -> bool:
    return (
        judged_at_once(history, model, None, None, True, lambda operations, model, limits, gate: ())
        is not None
    )


@needs_core
def test_only_plain_histories_of_ready_models_are_decided_at_once() -> None:
    history = [one()]
    model = models.register("x")
    assert at_once(history, model)
    assert not at_once(tuple(history), model)
    assert not at_once([], dataclasses.replace(model, step=lambda s, i, o: (True, s)))
    assert not at_once(history, dataclasses.replace(model, sees_failures=True))
    assert not at_once(history, dataclasses.replace(model, gate=lambda operations, deadline: None))
    for field, strange in (
        ("call", 5.0),
        ("call", 10),
        ("return_time", None),
        ("outcome", "unheard of"),
        ("outcome", None),
        ("input", ["read"]),
        ("input", ()),
    ):
        history = [one(), dataclasses.replace(one(), **{field: strange})]
        assert not at_once(history, model), (field, strange)


@needs_core
def test_an_outcome_need_not_be_the_very_string() -> None:
    info = "".join(["in", "fo"])
    history = [dataclasses.replace(one(), output=UNKNOWN, return_time=None, outcome=info), one()]
    assert at_once(history, models.register("x"))
    assert check(history, models.register("x")).verdict == "ok"


def test_a_result_is_pickled_with_its_parts() -> None:
    result = check([one()], models.register("x"))
    again = pickle.loads(pickle.dumps(result))
    assert (again.verdict, again.linearization) == ("ok", [[0]])


def test_what_a_result_shows_is_of_the_history_as_it_was() -> None:
    history = [one()]
    result = check(history, models.register("x"))
    history.append(Operation(2, ("read",), 20, "never written", 21))
    assert result.linearization == [[0]]
    assert porcupine.check(history, models.register("x")).verdict == "illegal"


def test_the_first_illegal_part_ends_a_check_before_the_next_is_read() -> None:
    history = [
        Operation(1, ("get", "a"), 1, "never written", 2),
        Operation(2, ("no such operation", "b"), 3, None, 4),
    ]
    assert check(history, models.append_kv()).verdict == "illegal"
    late = [*history, Operation(3, ("put", "b", "x"), 9, None, 8)]
    with pytest.raises(porcupine.HistoryError, match="returns at 8, before its call at 9"):
        check(late, models.append_kv())


@needs_core
def test_room_kept_from_one_check_says_nothing_in_the_next() -> None:
    rng = random.Random(8)
    cases = [(make(), draw) for make, draw in CASES]
    histories = [(model, draw(rng)) for _ in range(60) for model, draw in cases]
    alone = [check(history, model, prefer="search").verdict for model, history in histories]
    for _ in range(2):
        again = list(zip(histories, alone, strict=True))
        rng.shuffle(again)
        for (model, history), verdict in again:
            assert check(history, model).verdict == verdict, history


# --- all keys as one object -----------------------------------------------------------------------


@pytest.mark.parametrize(("make", "draw"), CASES[1:])
def test_keys_judged_together_are_decided_key_by_key_and_give_one_order(
    lab: Any, make: Callable[[], Model], draw: Callable[[random.Random], list[Operation]]
) -> None:
    rng = random.Random(6)
    model = undivided(make())
    verdicts = set()
    for _ in range(150):
        history = draw(rng)
        by_gate, by_search = check(history, model), check(history, model, prefer="search")
        assert by_gate.verdict == by_search.verdict, history
        assert [part.engine for part in by_gate.parts] == ["locality"]
        if by_gate.verdict == "ok":
            assert lab.objection(model, history, by_gate.linearization[0]) is None, history
        else:
            assert by_gate.witness is not None
            assert "in part " in by_gate.witness.text
        verdicts.add(by_gate.verdict)
    assert verdicts == {"ok", "illegal"}


@needs_core
def test_keys_judged_together_are_decided_at_once_and_told_as_one_part() -> None:
    rng = random.Random(7)
    model = undivided(models.append_kv())
    for _ in range(50):
        history = strings(rng, 3)
        assert at_once(history, model)
        quick, full = check(history, model), check(history, model, prefer="gate")
        assert (quick.verdict, quick.progress, quick.steps) == (
            full.verdict,
            full.progress,
            full.steps,
        )
    assert not at_once([one()], dataclasses.replace(model, partition=models.kv().partition))
    assert not at_once([one()], dataclasses.replace(model, gate=None))


def test_keys_judged_together_heed_a_timeout() -> None:
    history = [Operation(i, ("append", "k", "ab"[i % 2]), 0, None, 10) for i in range(40)]
    history.append(Operation(98, ("get", "k"), 11, "ab" * 21, 12))
    history += [Operation(50 + i, ("put", "k", "ab"), 0, None, 10) for i in range(3)]
    result = check(history, undivided(models.append_kv()), timeout_s=0.05)
    assert (result.verdict, result.cause) == ("unknown", "timeout")
