"""Limits are kept: whatever stops a check, it stops soon, says why, and shows how far it came.

Clocks are injected, and work is counted; nothing here measures time. benchmarks/limits.py does.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from sys import getsizeof
from typing import Any

import pytest

import porcupine
from porcupine import (
    DEFAULT_MEMORY,
    UNKNOWN,
    CheckResult,
    Event,
    EventKind,
    GateResult,
    HistoryError,
    Model,
    Operation,
    Undecided,
    check,
    check_events,
    check_operations,
    check_operations_verbose,
    check_verbose,
    default_memory_bytes,
    limits,
)
from porcupine.models import append_kv, cas_register, kv, queue, register
from porcupine.native import NativeSearch, open_search
from porcupine.parts import Part
from porcupine.showing import search_witness
from porcupine.states import growth_bytes, weight_bytes
from porcupine.wgl import Search

needs_core = pytest.mark.skipif(
    porcupine.core == "python", reason="the compiled core is not in use"
)
ON_LINUX = Path("/proc/self/status").exists()


def crowded() -> list[Operation]:
    """Forty values in a queue at once, one of them twice, and one taken out that nobody is known to have put in.

    Distinct values would be decided by the gate; of these no search ends.
    """
    found = [Operation(i, ("enqueue", i % 39), 0, None, 10) for i in range(40)]
    found.append(Operation(98, ("dequeue",), 11, 99, 12))
    found.append(Operation(99, ("enqueue", 99), 0, UNKNOWN, None, "info"))
    return found


def asked_queue() -> Model:
    """A queue that the compiled core has no twin of."""
    return dataclasses.replace(queue(), compiled=None)


# --- memory ---------------------------------------------------------------------------------------


def test_the_default_is_two_gib_or_a_quarter_of_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for machine, container, wanted in (
        (64 << 30, None, 2 << 30),
        (4 << 30, None, 1 << 30),
        (64 << 30, 1 << 30, 256 << 20),
        (None, None, 2 << 30),
    ):
        monkeypatch.setattr(limits, "_of_the_machine", lambda known=machine: known)
        monkeypatch.setattr(limits, "_of_the_container", lambda known=container: known)
        default_memory_bytes.cache_clear()
        assert default_memory_bytes() == wanted
        assert limits.memory_limit_bytes(DEFAULT_MEMORY) == wanted
    default_memory_bytes.cache_clear()
    assert limits.memory_limit_bytes(None) is None
    assert limits.memory_limit_bytes(7) == 7


def test_without_a_word_the_default_holds_and_none_means_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "default_memory_bytes", lambda: 2_000_000)
    result = check(crowded(), queue())
    assert (result.verdict, result.cause) == ("unknown", "memory")
    assert result.progress.operations_linearized > 0
    assert len(result.linearization[0]) == result.progress.operations_linearized
    verdict, info = check_operations_verbose(queue(), crowded(), None)
    assert verdict is CheckResult.UNKNOWN
    assert info.partial_linearizations()[0][0]
    assert check(crowded(), queue(), memory_bytes=None, step_limit=60_000).cause == "step limit"


def test_yes_or_no_is_not_answered_when_neither_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "default_memory_bytes", lambda: 1_000_000)
    with pytest.raises(Undecided, match="ran out of memory: 0 of 1 parts decided"):
        check_operations(queue(), crowded())
    events = [Event(o.client_id, EventKind.CALL, o.input, i) for i, o in enumerate(crowded())]
    events += [Event(0, EventKind.RETURN, o.output, i) for i, o in enumerate(crowded()[:41])]
    with pytest.raises(Undecided):
        check_events(queue(), events)


PROGRAM = """
import dataclasses, sys
sys.path.insert(0, {here!r})
from test_porcupine_limits import asked_queue, crowded
from porcupine import check
from porcupine.models import queue

def of(name):
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(name)).split()[1])

history, model = crowded(), {model}
check(history[:2], model)
before = of("VmRSS")
result = check(history, model, memory_bytes={limit})
print(result.cause, of("VmHWM") - before, of("VmRSS") - before)
"""


@pytest.mark.skipif(not ON_LINUX, reason="only Linux tells how large a process is")
@pytest.mark.parametrize("model", ["queue()", "asked_queue()"])
def test_a_process_grows_by_a_tenth_more_than_its_limit_at_most(model: str) -> None:
    """Seen from outside, in a process of its own."""
    limit = 64 << 20
    program = PROGRAM.format(here=str(Path(__file__).parent), model=model, limit=limit)
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    cause, grown_kib, _ = ran.stdout.split()
    assert cause == "memory"
    assert 0.5 * limit < 1024 * int(grown_kib) < 1.1 * limit


def test_what_a_table_will_take_is_known_before_it_grows() -> None:
    table: dict[int, int] = {}
    size = getsizeof(table)
    for key in range(200_000):
        expected = growth_bytes(table)
        table[key] = key
        grown = getsizeof(table)
        if grown != size and size >= 1 << 16:
            assert 0.9 * grown <= expected <= 1.1 * grown
        size = grown


def test_a_state_weighs_what_is_in_it() -> None:
    flat, deep = tuple(range(100)), tuple((i, i) for i in range(100))
    assert weight_bytes(flat) == getsizeof(flat)
    assert weight_bytes(deep) == getsizeof(deep) + 100 * getsizeof((1, 1))
    many = frozenset((i, (i,)) for i in range(10_000))
    exact = getsizeof(many) + 10_000 * (getsizeof((1, 1)) + getsizeof((1,)))
    assert 0.5 * exact < weight_bytes(many) < 2 * exact
    looped: list[Any] = []
    looped.append(looped)
    assert weight_bytes(looped) > 0


def spoilt(count: int, clients: int) -> list[Operation]:
    """Few values, many at a time; and at the very end a write and a read of something else."""
    rng = random.Random(f"{count} {clients}")
    free = [0.0] * clients
    drafts: list[tuple[float, float, float, int]] = []
    for _ in range(count):
        client = min(range(clients), key=free.__getitem__)
        instant = free[client] + rng.expovariate(1)
        drafts.append((instant, free[client], instant + rng.expovariate(1), client))
        free[client] = drafts[-1][2] + 0.01
    found: list[Operation] = []
    state = 0
    for _, call, back, client in sorted(drafts):
        kind, value, expected = rng.choice("rwc"), rng.randrange(5), rng.randrange(5)
        given: tuple[Any, ...] = ("read",)
        output: Any = state
        if kind == "w":
            given, output, state = ("write", value), None, value
        elif kind == "c":
            given, output = ("cas", expected, value), state == expected
            state = value if output else state
        found.append(Operation(client, given, round(1e6 * call), output, round(1e6 * back)))
    end = max(o.return_time or 0 for o in found)
    found.append(Operation(0, ("write", 0), end + 1, None, end + 2))
    found.append(Operation(0, ("read",), end + 3, 1, end + 4))
    return found


@needs_core
def test_a_search_short_of_memory_lets_go_of_orders_that_lead_nowhere(lab: Any) -> None:
    """Every configuration leaves eight bytes of an order behind: of these 6 MiB hold but a part."""
    history, ready = spoilt(200, 24), cas_register(0)
    # Of a model of one's own the states are not known: nothing but going through all places will do.
    model = replace(ready, step=lambda state, given, output: ready.step(state, given, output))
    search = NativeSearch(model, history)
    assert not search._search.native
    assert search.run(None, 6 << 20) == "illegal"
    assert search.steps > 2_000_000  # with all their orders kept, 6 MiB are full after a million
    search.forget()
    assert search.held_bytes() < 1 << 20
    assert search.stuck_at() == len(history) - 1
    for final in search.finals:
        assert lab.objection(model, history, search.unwound(final), full=False) is None


def test_what_a_search_remembered_goes_with_the_verdict() -> None:
    """A result may be kept for long; it holds orders, and not what it took to find them."""
    for history, model in ((crowded(), queue()), (spoilt(60, 8), cas_register(0))):
        search = open_search(model, history)
        search.run(50_000)
        before = search.held_bytes()
        best = search.order()
        search.forget()
        assert search.held_bytes() < before / 4
        assert search.order() == best


# --- time -----------------------------------------------------------------------------------------


class Clock:
    """Moves on by a step whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 1.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for name in ("limits", "wgl", "checker", "showing", "model", "zones", "native"):
        monkeypatch.setattr(f"porcupine.{name}.monotonic", made)
    return made


def test_the_search_in_python_looks_at_the_clock_every_few_hundred_steps(clock: Clock) -> None:
    search = Search(queue(), crowded(), deadline=10_000.0)
    begun = clock.now
    assert search.run() == "unknown"
    assert search.cause == "timeout"
    # Each transition asked of the model is followed by a look; the rest by one in some hundred.
    assert search.steps < 600 * (10_000 - begun)
    assert clock.now <= 10_001


@pytest.mark.parametrize("prefer", ["auto", "search"])
@pytest.mark.parametrize("model", [cas_register(), dataclasses.replace(register(), gate=None)])
def test_a_deadline_reaches_what_comes_before_the_search(model: Model, prefer: Any) -> None:
    """Twenty thousand operations are looked at several times before anything is searched."""
    history = [Operation(0, ("write", i % 5), i, None, i) for i in range(20_000)]
    for timeout_s in (1e-9, 1e-4):
        result = check(history, model, timeout_s=timeout_s, prefer=prefer)
        assert (result.verdict, result.cause) == ("unknown", "timeout")
        assert result.progress.parts_decided == 0
        assert result.linearization == [[]]


def test_the_preparation_of_a_search_stops_at_the_deadline(clock: Clock) -> None:
    history = [Operation(0, ("write", i % 5), i, None, i) for i in range(30_000)]
    for deadline in [2**power for power in range(20)]:
        clock.now = 0.0
        search = Search(cas_register(), history, deadline=float(deadline))
        if search.verdict == "unknown":
            assert search.cause == "timeout"
            assert clock.now <= deadline + 1
            assert search.run() == "unknown"
            assert search.partial_orders() == []
            search.forget()
        else:
            return
    raise AssertionError("the preparation looks at the clock for ever")


def test_no_gate_is_asked_after_the_deadline(clock: Clock) -> None:
    asked: list[int] = []

    def gate(operations: Any, deadline: float | None) -> GateResult:
        asked.append(len(operations))
        clock.now += 100
        return GateResult("ok", "mine", order=list)

    history = [Operation(0, ("write", key, 1), 0, None, 1) for key in range(50)]
    result = check(history, dataclasses.replace(kv(), gate=gate), timeout_s=1_000.0)
    assert (result.verdict, result.cause) == ("unknown", "timeout")
    assert len(asked) < 12
    assert result.progress.parts_decided == len(asked)
    assert all(part.cause == "timeout" for part in result.parts if part.verdict == "unknown")


def test_a_verbose_check_leaves_its_orders_to_whoever_asks() -> None:
    worked_out: list[str] = []

    def order() -> list[int]:
        worked_out.append("order")
        return [0]

    model = Model(
        lambda: 0, lambda s, i, o: (True, s), gate=lambda o, d: GateResult("ok", "g", order)
    )
    verdict, info = check_operations_verbose(model, [Operation(0, "x", 0, None, 1)], 10)
    assert (verdict, worked_out) == (CheckResult.OK, [])
    assert info.orders == [[[0]]]
    assert info.partial_linearizations() == [[[0]]]
    assert worked_out == ["order"]


def test_what_a_picture_shows_of_illegal_parts_shares_one_allowance(clock: Clock) -> None:
    history = [Operation(0, ("read", key), 0, 1, 1) for key in range(50)]
    result, info = check_verbose(history, kv(), timeout_s=1_000.0)
    assert result.progress.parts_decided == 50
    stuck = [witness.stuck_at for witness in info.witnesses if witness is not None]
    assert stuck == [0] * 50  # there was time
    _, info = check_verbose(history, kv(), timeout_s=1_000.0)
    clock.step = 100.0
    stuck = [witness.stuck_at for witness in info.witnesses if witness is not None]
    assert len(stuck) == len(info.orders) == 50
    assert stuck[-1] is None  # there was none left for this one
    assert all(witness is None or witness.operations for witness in info.witnesses)


def test_a_witness_is_asked_of_a_model_that_has_time_again() -> None:
    """A step that gives up when cancelled would refuse everything once the deadline of the check is over."""

    def step(context: Any, state: int, given: Any, output: Any) -> tuple[bool, Any]:
        if context.cancelled():
            return False, None
        return (output == state, state) if given == "read" else (True, given)

    model = Model(lambda: 0, step_context=step)
    history = [
        Operation(0, 1, 0, None, 1),
        Operation(0, 2, 2, None, 3),
        Operation(0, "read", 4, 1, 5),
    ]
    result = check(history, model, timeout_s=0.2)
    assert result.verdict == "illegal"
    limit = limits.deadline_of(0.2)
    assert limit is not None
    while not limits.is_over(limit):
        pass
    assert result.witness is not None
    assert "leads to the state 2" in result.witness.text
    assert "not possible here" in result.witness.text


def test_a_witness_without_time_still_names_the_return() -> None:
    history = [Operation(i, ("append", "k", "ab"[i % 2]), 0, None, 10) for i in range(10)]
    history.append(Operation(20, ("get", "k"), 11, "b" * 10, 12))
    model = append_kv()
    search = open_search(model, history)
    assert search.run() == "illegal"
    part = Part(None, history, list(range(11)), "illegal", search=search)
    witness = search_witness(part, model, 0.0, None)
    assert witness.stuck_at == 10
    assert "would take longer than there is time" in witness.text
    part.search = open_search(model, history)
    part.search.run()
    assert "what was still open then" in search_witness(part, model, 10.0, 1 << 30).text


def test_a_timeout_that_is_no_number_is_refused() -> None:
    with pytest.raises(HistoryError, match="timeout_s is not a number"):
        check([], register(), timeout_s=float("nan"))


# --- interrupts -----------------------------------------------------------------------------------


# A shell's background job has interrupts ignored, and so have tests that run in one.
COMMAND = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from porcupine.cli import program; raise SystemExit(program())",
]


@pytest.mark.usefixtures("same_core")
def test_an_interrupted_command_says_so_in_a_line(tmp_path: Path) -> None:
    rows = [f'{{"input": ["enqueue", {i % 39}], "call": 0, "return": 10}}' for i in range(40)]
    rows.append('{"input": ["dequeue"], "call": 11, "return": 12, "output": 99}')
    rows.append('{"input": ["enqueue", 99], "call": 0, "outcome": "info"}')
    pipe = tmp_path / "history.jsonl"
    os.mkfifo(pipe)
    program = [*COMMAND, "check", str(pipe), "--model", "queue"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        pipe.write_text("\n".join(rows))  # it has begun when this returns
        for _ in range(200):
            try:
                run.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGINT)
        run.kill()  # in case it did not heed them
        out, err = run.communicate()
    assert (run.returncode, out, err) == (130, b"", b"porcupine: interrupted\n")


def test_an_impatient_user_gets_the_same_answer(tmp_path: Path) -> None:
    """Interrupts as fast as they can be sent, until the command is gone."""
    pipe = tmp_path / "history.jsonl"
    os.mkfifo(pipe)
    program = [*COMMAND, "check", str(pipe), "--model", "queue"]
    with subprocess.Popen(program, stderr=subprocess.PIPE) as run:
        with pipe.open("w"):  # it waits for lines that do not come
            for _ in range(1_000_000):
                if run.poll() is not None:
                    break
                run.send_signal(signal.SIGINT)
        run.kill()  # in case it did not heed them
        assert run.stderr is not None
        assert (run.returncode, run.stderr.read()) == (130, b"porcupine: interrupted\n")


# --- callbacks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("partials", [False, True])
def test_a_model_is_asked_for_each_transition_once(partials: bool) -> None:
    """However many configurations there are: never more often than pairs of a state and a kind of operation."""
    asked: list[tuple[Any, ...]] = []
    inner = cas_register(0).step
    assert inner is not None

    def step(state: Any, given: Any, output: Any) -> tuple[bool, Any]:
        asked.append((state, given, output, type(output)))
        return inner(state, given, output)

    model = Model(lambda: 0, step, readonly=cas_register().readonly)
    for history in (spoilt(120, 12), spoilt(120, 12)[:-1]):
        kinds = {(o.input, o.output, type(o.output)) for o in history}
        asked.clear()
        if partials:
            check_operations_verbose(model, history, None)
        else:
            result = check(history, model)
            assert result.steps > 2 * len(asked)
        assert len(asked) == len(set(asked))
        assert len(asked) <= 5 * len(kinds)
