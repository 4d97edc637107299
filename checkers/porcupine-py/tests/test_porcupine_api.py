"""The face of the package: models, events, limits, results, and what is refused."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

import porcupine
from porcupine import (
    UNKNOWN,
    Annotation,
    CheckResult,
    Event,
    EventKind,
    HistoryError,
    Model,
    ModelError,
    NondeterministicModel,
    Operation,
    Saw,
    check,
    check_events,
    check_events_timeout,
    check_events_verbose,
    check_operations,
    check_operations_timeout,
    check_operations_verbose,
)
from porcupine.models import append_kv, cas_register, kv, register
from porcupine.wgl import Search

CALL, RETURN = EventKind.CALL, EventKind.RETURN


def test_a_module_is_imported_when_something_in_it_is_asked_for() -> None:
    code = "import sys, porcupine; print(len([m for m in sys.modules if m.startswith('porcupine.')])); "
    code += "print(porcupine.models.register().name, porcupine.check.__module__, 'porcupine.online' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "register", "porcupine.checker", "False"]
    assert set(porcupine.__all__) <= set(dir(porcupine))
    assert all(getattr(porcupine, name) is not None for name in porcupine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        porcupine.nothing_of_the_kind  # noqa: B018


def hard(count: int) -> list[Operation]:
    """So many overlapping appends to one key, and a read that no order of them explains."""
    appends = [Operation(i, ("append", "k", f"{i};"), 0, None, 10) for i in range(count)]
    return [*appends, Operation(99, ("get", "k"), 11, "nothing like it", 12)]


def slow_store() -> Model:
    """append_kv without what the engines know of it: each step is asked for, and nothing is foreseen."""
    return dataclasses.replace(append_kv(), compiled=None, gate=None)


def test_the_distribution_and_the_engine_say_who_they_are() -> None:
    assert porcupine.DISTRIBUTION == "porcupine-py (driftline)"
    wanted = os.environ.get("PORCUPINE_CORE")
    assert porcupine.core in ((wanted,) if wanted else ("rust", "python"))
    assert all(hasattr(porcupine, name) for name in porcupine.__all__)


# --- operations and events ------------------------------------------------------------------------


@pytest.mark.parametrize("history", [[], [Operation(0, ("read",), 0, None, 0)]])
def test_all_three_ways_to_ask_agree_on_ok(history: list[Operation]) -> None:
    assert check_operations(register(), history)
    assert check_operations_timeout(register(), history, 0) is CheckResult.OK
    verdict, info = check_operations_verbose(register(), history, None)
    assert verdict == "Ok"
    assert info.partial_linearizations() == [[list(range(len(history)))]]


def test_no_parts_at_all_are_ok() -> None:
    result = check([], kv())
    assert result.verdict == "ok"
    assert result.parts == ()
    assert result.linearization == []


def test_events_are_ordered_by_their_list() -> None:
    events = [
        Event(0, CALL, ("write", 1), "a"),
        Event(1, CALL, ("read",), "b"),
        Event(1, RETURN, None, "b"),
        Event(0, RETURN, None, "a"),
        Event(1, CALL, ("read",), "c", metadata="early"),
        Event(1, RETURN, 1, "c", metadata="late"),
    ]
    assert check_events(register(), events)
    assert porcupine.operations_of(events)[2].metadata == "late"
    stale = [*events, Event(1, CALL, ("read",), "d"), Event(1, RETURN, None, "d")]
    assert not check_events(register(), stale)
    assert check_events_timeout(register(), stale, 10) is CheckResult.ILLEGAL
    verdict, info = check_events_verbose(register(), stale, 10)
    assert verdict is CheckResult.ILLEGAL
    assert [0, 2] in [sorted(order) for order in info.partial_linearizations()[0]] or (
        [0, 1, 2] in [sorted(order) for order in info.partial_linearizations()[0]]
    )


def test_a_call_without_a_return_may_have_happened_or_not() -> None:
    begun = [Event(0, CALL, ("write", 1), 0)]
    for seen in (None, 1):
        read = [Event(1, CALL, ("read",), 1), Event(1, RETURN, seen, 1)]
        assert check_events(register(), begun + read)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([Event(0, RETURN, None, 1)], "never called"),
        ([Event(0, CALL, ("read",), 1), Event(0, CALL, ("read",), 1)], "calls id 1 again"),
        (
            [Event(0, CALL, ("read",), 1), Event(0, RETURN, None, 1), Event(0, RETURN, None, 1)],
            "a second time",
        ),
    ],
)
def test_events_that_are_no_history_are_refused(events: list[Event], says: str) -> None:
    with pytest.raises(HistoryError, match=says):
        check_events(register(), events)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (Operation(0, ("read",), 5, None, 4), "returns at 4, before its call at 5"),
        (Operation(0, ("read",), 5, None, None), "no return time"),
        (Operation(0, ("read",), 5, None, 6, "lost"), "must be"),  # type: ignore[arg-type]
    ],
)
def test_operations_that_are_no_history_are_refused(operation: Operation, says: str) -> None:
    with pytest.raises(HistoryError, match=says):
        check([operation], register())


def test_one_client_may_overlap_itself() -> None:
    assert check_operations(
        register(), [Operation(0, ("write", 1), 0, None, 9), Operation(0, ("read",), 1, 1, 8)]
    )


def test_the_return_time_of_an_unknown_operation_is_not_looked_at() -> None:
    late = Operation(0, ("write", 1), 5, None, 0, "info")
    read = Operation(1, ("read",), 8, 1, 9)
    for prefer in ("gate", "search"):
        assert check([late, read], register(), prefer=prefer).verdict == "ok"


# --- models ---------------------------------------------------------------------------------------


def test_failed_operations_are_dropped_unless_the_model_asks() -> None:
    def step(state: int, given: str, output: Any) -> tuple[bool, int]:
        if given == "take":
            return (state > 0, state - 1) if output != "none left" else (state == 0, state)
        return True, state + 1

    history = [
        Operation(0, "put", 0, None, 1),
        Operation(0, "take", 2, "none left", 3, "fail"),
    ]
    assert check_operations(Model(lambda: 0, step), history)
    assert not check_operations(Model(lambda: 0, step, sees_failures=True), history)


def test_states_without_a_hash_are_compared() -> None:
    def step(state: list[int], given: tuple[str, int], output: Any) -> tuple[bool, list[int]]:
        if given[0] == "add":
            return True, sorted({*state, given[1]})
        return output is UNKNOWN or output == state, state

    history = [
        Operation(0, ("add", 1), 0, None, 5),
        Operation(1, ("add", 2), 0, None, 5),
        Operation(2, ("all", 0), 1, [2], 4),
        Operation(2, ("all", 0), 6, [1, 2], 7),
    ]
    bad = [*history, Operation(2, ("all", 0), 8, [1], 9)]
    same = lambda left, right: left == right  # noqa: E731
    for model in (
        Model(lambda: [], step),
        Model(lambda: [], step, equal=same),
        Model(lambda: [], step, equal=same, hash=len),
    ):
        assert check_operations(model, history)
        assert not check_operations(model, bad)


def test_equal_of_the_model_wins_over_that_of_the_states() -> None:
    """Two states the model calls equal are searched once."""

    def step(state: int, given: str, output: Any) -> tuple[bool, int]:
        return given == "add", state + 1

    history = [Operation(i, "add", 0, None, 9) for i in range(8)]
    history.append(Operation(8, "no", 10, None, 11))
    merged = check(history, Model(lambda: 0, step, equal=lambda a, b: a % 2 == b % 2))
    assert merged.verdict == "illegal"


def test_a_model_without_a_step_is_refused() -> None:
    with pytest.raises(ModelError, match="neither step nor step_context"):
        Model(lambda: 0)
    with pytest.raises(ModelError, match="neither step nor step_context"):
        NondeterministicModel(lambda: [0])


def test_a_wrong_read_only_claim_is_found_out() -> None:
    model = Model(lambda: 0, lambda s, i, o: (True, s + 1), readonly=lambda i, o: True, name="liar")
    with pytest.raises(ModelError, match="model 'liar' calls 'x' -> None read-only"):
        check([Operation(0, "x", 0, None, 1)], model)


def test_inputs_without_meaning_are_refused() -> None:
    with pytest.raises(ModelError, match="no meaning for the input"):
        check([Operation(0, ("cas", 1, 2), 0, True, 1)], register())
    with pytest.raises(ModelError, match="no meaning for the input"):
        check([Operation(0, ("delete",), 0, True, 1)], cas_register())
    with pytest.raises(ModelError, match="it must be True, False, Saw"):
        check([Operation(0, ("cas", 1, 2), 0, "yes", 1)], cas_register())


def test_a_nondeterministic_register_holds_one_of_what_was_put() -> None:
    def step(state: int, given: tuple[str, Any], output: Any) -> list[int]:
        if given[0] == "put-any":
            return list(given[1])
        return [state] if output in (UNKNOWN, state) else []

    model = NondeterministicModel(lambda: [0], step, name="any").to_model()
    put = Operation(0, ("put-any", (1, 2)), 0, None, 1)
    ones = [Operation(1, ("get", None), t, 1, t + 1) for t in (2, 4)]
    assert check_operations(model, [put, *ones])
    assert not check_operations(model, [put, *ones, Operation(1, ("get", None), 6, 2, 7)])
    assert model.state_text((1, 2)) == "{1, 2}"
    assert model.equal is not None
    assert model.equal((1, 2), (2, 1))
    assert model.hash is not None
    assert model.hash((1, 2)) == model.hash((2, 1))


def test_a_nondeterministic_model_may_have_states_without_a_hash() -> None:
    def step(context: Any, state: list[int], given: int, output: Any) -> list[list[int]]:
        return [[*state, given], state] if output in (UNKNOWN, len(state)) else []

    model = NondeterministicModel(
        lambda: [[]], step_context=step, equal=lambda a, b: a == b
    ).to_model()
    assert check_operations(model, [Operation(0, 7, t, t > 0, t) for t in range(2)])
    assert not check_operations(model, [Operation(0, 7, t, 2 * t, t) for t in range(2)])


def test_a_partition_may_name_its_parts_or_not() -> None:
    def by_parity(operations: Sequence[Operation]) -> list[list[Operation]]:
        return [[o for o in operations if o.client_id % 2 == p] for p in (0, 1)]  # type: ignore[operator]

    base = register()
    model = Model(base.init, base.step, partition=by_parity)
    history = [
        Operation(0, ("write", 1), 0, None, 1),
        Operation(1, ("read",), 2, None, 3),
        Operation(2, ("read",), 2, 1, 3),
    ]
    result = check(history, model)
    assert result.verdict == "ok"
    assert [part.key for part in result.parts] == [0, 1]
    assert result.linearization == [[0, 2], [1]]


def test_a_partition_that_makes_its_own_operations_is_refused() -> None:
    base = register()
    made = [Operation(0, ("read",), 0, None, 1)]
    model = Model(base.init, base.step, partition=lambda operations: [made])
    with pytest.raises(ModelError, match="must hand on the objects it was given"):
        check([Operation(0, ("read",), 0, None, 1)], model)


def test_events_are_partitioned_by_either_rule() -> None:
    def by_key(events: Sequence[Event]) -> dict[Any, list[Event]]:
        keys = {e.id: e.value[1] for e in events if e.kind is CALL}
        parts: dict[Any, list[Event]] = {}
        for event in events:
            parts.setdefault(keys[event.id], []).append(event)
        return parts

    events = [
        Event(0, CALL, ("write", "x", 1), 10),
        Event(1, CALL, ("read", "y"), 11),
        Event(1, RETURN, None, 11),
        Event(0, RETURN, None, 10),
        Event(1, CALL, ("read", "x"), 12),
        Event(1, RETURN, None, 12),
    ]
    base = kv()
    by_events = Model(base.init, base.step, partition_event=by_key)
    for model in (base, by_events):
        result = check(events, model)
        assert [part.key for part in result.parts] == ["x", "y"]
        assert result.verdict == "illegal"
        assert result.witness is not None
        assert result.witness.part == "x"
        assert 2 in result.witness.operations


def test_a_gate_of_ones_own_is_asked_first() -> None:
    verdict = porcupine.GateResult("ok", "by decree", order=lambda: [0])
    model = Model(lambda: 0, lambda s, i, o: (False, s), gate=lambda ops, deadline: verdict)
    history = [Operation(0, "x", 0, None, 1)]
    result = check(history, model)
    assert (result.verdict, result.parts[0].engine, result.linearization) == (
        "ok",
        "by decree",
        [[0]],
    )
    assert check(history, model, prefer="search").verdict == "illegal"


# --- kv, Saw --------------------------------------------------------------------------------------


def test_kv_judges_each_key_alone() -> None:
    history = [
        Operation(0, ("write", "x", 1), 0, None, 1),
        Operation(0, ("write", "y", 1), 2, None, 3),
        Operation(1, ("cas", "x", 1, 2), 4, True, 5),
        Operation(1, ("read", "y"), 6, 1, 7),
        Operation(2, ("cas", "y", 5, 6), 8, Saw(1), 9),
    ]
    result = check(history, kv())
    assert result.verdict == "ok"
    assert {part.engine for part in result.parts} == {"zones"}
    history.append(Operation(1, ("read", "x"), 10, 1, 11))
    result = check(history, kv())
    assert result.verdict == "illegal"
    assert result.witness is not None
    assert result.witness.text.startswith("in part 'x': ")


def test_zones_stand_back_where_they_cannot_know() -> None:
    w1, again = Operation(0, ("write", 1), 0, None, 1), Operation(0, ("write", 1), 2, None, 3)
    read = Operation(0, ("read",), 4, 1, 5)
    cases: list[list[Operation]] = [
        [w1, again, read],
        [Operation(0, ("cas", 5, 6), 0, False, 1)],
        [Operation(0, ("cas", 5, 6), 0, UNKNOWN, 1)],
        [Operation(0, ("write", None), 0, None, 1), Operation(0, ("read",), 2, None, 3)],
        [Operation(0, ("write", [1]), 0, None, 1)],
        [Operation(0, ("write", float("nan")), 0, None, 1)],
    ]
    for history in cases:
        result = check(history, cas_register(), prefer="gate")
        assert (result.verdict, result.cause) == ("unknown", "not applicable"), history
        assert result.parts[0].engine == "none"
        assert check(history, cas_register()).verdict == "ok"
    # Repeated values nobody saw do no harm.
    assert check([w1, again], cas_register(), prefer="gate").verdict == "ok"


# --- limits ---------------------------------------------------------------------------------------


def test_a_timeout_is_kept_and_says_how_far_it_came() -> None:
    started = time.perf_counter()
    result = check(hard(40), slow_store(), timeout_s=0.2)
    assert time.perf_counter() - started < 2
    assert (result.verdict, result.cause) == ("unknown", "timeout")
    assert result.progress.parts_decided == 0
    assert result.progress.operations_linearized == 40
    assert (
        str(result) == "unknown (timeout): 0 of 1 parts decided, at most 40 operations linearized"
    )
    assert len(result.linearization[0]) == 40
    assert check_operations_timeout(slow_store(), hard(40), 0.1) is CheckResult.UNKNOWN
    verdict, info = check_operations_verbose(slow_store(), hard(40), 0.1)
    assert verdict is CheckResult.UNKNOWN
    assert len(info.partial_linearizations()[0][0]) == 40


def test_a_timeout_reaches_the_gate() -> None:
    history = [Operation(0, ("write", i), i, None, i) for i in range(20_000)]
    result = check(history, cas_register(), timeout_s=1e-9)
    assert (result.verdict, result.cause) == ("unknown", "timeout")


def test_a_step_limit_is_kept() -> None:
    result = check(hard(40), slow_store(), step_limit=5_000)
    assert (result.verdict, result.cause) == ("unknown", "step limit")
    assert 5_000 <= result.steps < 6_000


def test_a_memory_limit_is_kept() -> None:
    tracemalloc.start()
    result = check(hard(40), slow_store(), memory_bytes=5_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.verdict, result.cause) == ("unknown", "memory")
    assert peak < 10_000_000
    # What the compiled core holds is not seen here, only what the model's states weigh.
    assert peak > (2_500_000 if porcupine.core == "python" else 1_000_000)


def test_the_estimate_of_memory_is_near_the_truth() -> None:
    rng = random.Random(5)
    few: list[Operation] = []
    for i in range(1_000):
        few.append(Operation(i, ("write", rng.randrange(3)), 10 * i, None, 10 * i + 80))
    for model, history in ((append_kv(), hard(12)), (register(), few)):
        # Tuples that were let go are kept for the next ones, and what is made of them is not traced: give them back.
        gc.collect()
        tracemalloc.start()
        search = Search(model, history)
        begun, _ = tracemalloc.get_traced_memory()
        search.run(20_000)
        real = tracemalloc.get_traced_memory()[0] - begun
        tracemalloc.stop()
        assert 0.5 < search.held_bytes() / real < 2


def test_an_illegal_part_outweighs_one_that_is_too_hard() -> None:
    """Parts take turns: the hard one stands first and does not hold up the easy one."""
    easy = [Operation(0, ("get", "other"), 0, "never put", 1)]
    result = check([*hard(40), *easy], slow_store(), timeout_s=30)
    assert result.verdict == "illegal"
    assert [part.verdict for part in result.parts] == ["unknown", "illegal"]
    assert result.seconds < 10


def test_a_step_can_see_that_time_is_up() -> None:
    seen: list[bool] = []

    def step(
        context: porcupine.StepContext, state: int, given: Any, output: Any
    ) -> tuple[bool, int]:
        assert context.deadline is not None
        while not context.cancelled():
            time.sleep(0.01)
        seen.append(True)
        return False, state

    history = [Operation(0, "x", 0, None, 1)]
    result = check(history, Model(lambda: 0, step_context=step), timeout_s=0.05)
    assert (result.verdict, result.cause, seen) == ("unknown", "timeout", [True])


def test_a_preference_that_is_none_is_refused() -> None:
    with pytest.raises(porcupine.PorcupineError, match="prefer is"):
        check([], register(), prefer="both")  # type: ignore[arg-type]


# --- what verbose checks leave --------------------------------------------------------------------


def test_partial_orders_hold_each_operation_that_can_be_reached(lab: Any) -> None:
    history = [
        Operation(0, ("write", 1), 0, None, 1),
        Operation(1, ("write", 2), 0, None, 9),
        Operation(2, ("read",), 2, 1, 3),
        Operation(2, ("read",), 4, 3, 5),
    ]
    verdict, info = check_operations_verbose(cas_register(), history, 10)
    assert verdict is CheckResult.ILLEGAL
    orders = info.partial_linearizations()[0]
    assert {index for order in orders for index in order} == {0, 1, 2}
    assert orders == sorted(orders, key=len, reverse=True)
    for order in orders:
        assert lab.objection(cas_register(), history, order, full=False) is None
    assert info.partial_linearizations_operations()[0][0] == [history[i] for i in orders[0]]
    note = Annotation(3, "partition begins", tag="nemesis")
    info.add_annotations([note])
    assert info.annotations == [note]


def test_a_result_can_be_sent_to_another_process() -> None:
    history = [Operation(0, ("write", 1), 0, None, 1), Operation(1, ("read",), 2, 1, 3)]
    for prefer in ("gate", "search"):
        result = check(history, cas_register(), prefer=prefer)
        sent = pickle.loads(pickle.dumps(result))
        assert (sent.verdict, sent.linearization) == (result.verdict, [[0, 1]])


def test_an_unhappy_result_has_its_longest_order(lab: Any) -> None:
    history = [
        Operation(0, ("write", 1), 0, None, 1),
        Operation(1, ("read",), 2, 1, 3),
        Operation(1, ("read",), 4, None, 5),
    ]
    for prefer in ("gate", "search"):
        result = check(history, cas_register(), prefer=prefer)
        assert result.verdict == "illegal"
        assert result.linearization == [[0, 1]]
        assert str(result).startswith("illegal: ")
