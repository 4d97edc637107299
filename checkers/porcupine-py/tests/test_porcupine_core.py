"""The compiled core says what the Python code says, for every ready model, and cannot be made to fall over.

Three judges: the plain oracle on the model's own step, the search in Python, and the compiled search on the
model's twin; and the compiled oracle, by which the compiled search is tried on far more histories than Python
could. Everything is seeded; `-m fuzz` runs a million histories a model.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import porcupine
from porcupine import (
    EMPTY,
    UNKNOWN,
    Model,
    Operation,
    PorcupineError,
    RegisterColumns,
    Saw,
    check,
    check_columns,
    engine,
    models,
)
from porcupine.columns import CAS, NEVER, READ, WRITE
from porcupine.engine import compiled, load
from porcupine.native import NativeSearch
from porcupine.wgl import Search

needs_core = pytest.mark.skipif(compiled is None, reason="the compiled core is not in use")

FUZZED = (
    "register",
    "append",
    "list",
    "counter",
    "set",
    "queue",
    "stack",
    "priority",
    "mutex",
    "semaphore",
    "registers",
)
FUZZ_COUNT = int(os.environ.get("PORCUPINE_FUZZ", "1000000"))
ORACLE_COUNT = 50_000


def hold(lab: Any, model: Model, operations: list[Operation], result: porcupine.Result) -> None:
    """What a search shows must be true."""
    if result.verdict == "ok":
        assert lab.objection(model, operations, result.linearization[0]) is None, operations
        return
    witness = result.witness
    assert witness is not None
    assert witness.stuck_at is not None
    assert lab.oracle(model, *lab.prefix(operations, witness.stuck_at, inclusive=False)), operations
    assert not lab.oracle(model, *lab.prefix(operations, witness.stuck_at, inclusive=True)), (
        operations
    )
    assert witness.partials, operations
    for order in witness.partials:
        assert lab.objection(model, operations, order, full=False) is None, operations


def test_every_ready_model_is_judged_alike_by_all(lab: Any, ready_name: str) -> None:
    model, draw = lab.ready[ready_name]
    rng = random.Random(f"alike {ready_name}")
    verdicts: Counter[str] = Counter()
    for _ in range(300):
        operations = lab.drawn(rng, model, draw)
        truth = lab.oracle(model, operations)
        verdicts["ok" if truth else "illegal"] += 1
        assert Search(model, operations).run() == ("ok" if truth else "illegal"), operations
        result = check(operations, model, prefer="search")
        assert result.verdict == ("ok" if truth else "illegal"), operations
        hold(lab, model, operations, result)
        if compiled is not None:
            assert compiled._oracle(operations, False, model.twin()) is truth, operations
            assert NativeSearch(model, operations)._search.native
    assert min(verdicts.values()) > 20, verdicts


def test_any_model_can_be_asked_step_by_step(lab: Any, ready_name: str) -> None:
    """Without its twin a model is asked for each transition, and once at most."""
    ready, draw = lab.ready[ready_name]
    assert ready.step is not None
    step = ready.step
    asked: Counter[Any] = Counter()

    def counted(state: Any, given: Any, output: Any) -> tuple[bool, Any]:
        asked[repr((state, given, output))] += 1
        return step(state, given, output)

    rng = random.Random(f"asked {ready_name}")
    for number in range(150):
        model = Model(ready.init, counted, readonly=ready.readonly if number % 2 else None)
        operations = lab.drawn(rng, ready, draw)
        asked.clear()
        search = NativeSearch(model, operations) if compiled else Search(model, operations)
        verdict = search.run()
        if compiled is not None and ready_name not in ("set", "list_append", "multi_register"):
            assert not asked or max(asked.values()) == 1, (asked, operations)
        assert verdict == ("ok" if lab.oracle(ready, operations) else "illegal"), operations


@needs_core
@pytest.mark.parametrize("name", FUZZED)
def test_the_compiled_search_and_the_compiled_oracle_agree(name: str) -> None:
    legal, illegal, wrong = compiled._fuzz(name, 1, 3_000)
    assert wrong == []
    assert min(legal, illegal) > 300, (legal, illegal)


@needs_core
@pytest.mark.fuzz
@pytest.mark.parametrize("name", FUZZED)
def test_fuzz_the_compiled_search(name: str) -> None:
    """PORCUPINE_FUZZ says how many histories."""
    for seed in range(10):
        legal, illegal, wrong = compiled._fuzz(name, 1_000 + seed, FUZZ_COUNT // 10)
        assert wrong == []
    print(name, FUZZ_COUNT, legal, illegal)


@pytest.mark.fuzz
def test_fuzz_every_ready_model(lab: Any, ready_name: str) -> None:
    model, draw = lab.ready[ready_name]
    rng = random.Random(f"fuzz {ready_name}")
    for _ in range(10_000):
        operations = lab.drawn(rng, model, draw)
        truth = lab.oracle(model, operations)
        result = check(operations, model, prefer="search")
        assert result.verdict == ("ok" if truth else "illegal"), operations
        hold(lab, model, operations, result)


@needs_core
@pytest.mark.fuzz
def test_fuzz_the_compiled_oracle_by_the_search_in_python(lab: Any, ready_name: str) -> None:
    """By them the compiled search is tried: the one must not err, nor the model's twin differ from its step.

    In every run the two are compared on 300 histories a model, above.
    """
    model, draw = lab.ready[ready_name]
    rng = random.Random(f"oracle {ready_name}")
    verdicts: Counter[str] = Counter()
    for _ in range(ORACLE_COUNT):
        operations = lab.drawn(rng, model, draw)
        verdict = Search(model, operations).run()
        assert compiled._oracle(operations, False, model.twin()) is (verdict == "ok"), operations
        verdicts[str(verdict)] += 1
    print(ready_name, verdicts)
    assert min(verdicts["ok"], verdicts["illegal"]) > ORACLE_COUNT // 20, verdicts


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [63, 64, 65, 128, 129, 300, 1100])
def test_any_number_may_be_open_together(lab: Any, width: int) -> None:
    """Masks have 64 to 1,024 bits; what is wider yet goes to the search in Python."""
    operations = [Operation(i, ("write", i), 0, None, 10) for i in range(width)]
    operations.append(Operation(width, ("read",), 11, width - 1, 12))
    result = check(operations, models.cas_register(), prefer="search")
    assert result.verdict == "ok"
    assert lab.objection(models.cas_register(), operations, result.linearization[0]) is None


@needs_core
def test_many_may_be_of_unknown_outcome(lab: Any) -> None:
    """Each read needs one of two hundred, and no other: to use two for one must be seen to be useless."""
    operations = [Operation(i, ("write", i), i, UNKNOWN, None, "info") for i in range(200)]
    operations += [Operation(i, ("read",), 300 + i, 199 - i, 300 + i) for i in range(200)]
    result = check(operations, models.cas_register(), prefer="search")
    assert result.verdict == "ok"
    assert lab.objection(models.cas_register(), operations, result.linearization[0]) is None
    operations.append(Operation(0, ("read",), 900, 7, 901))
    assert check(operations, models.cas_register(), prefer="search").verdict == "illegal"


@needs_core
def test_r6_an_unknown_write_waits_while_an_unknown_cas_leads_to_its_state() -> None:
    """The write can be used from any state, so that it is kept; from another state than the cas' it is used."""
    model = models.cas_register()
    write = Operation(1, ("write", 2), 2, UNKNOWN, None, "info")
    swap = Operation(2, ("cas", 1, 2), 3, UNKNOWN, None, "info")
    seen = Operation(3, ("read",), 10, 2, 11)
    impossible = Operation(3, ("read",), 12, 99, 13)
    back = Operation(0, ("write", 3), 12, None, 13)

    def orders(first: int, *after: Operation) -> list[list[int]]:
        history = [Operation(0, ("write", first), 0, None, 1), write, swap, seen, *after]
        return check(history, model, prefer="search").linearization

    assert orders(1) == [[0, 2, 3]]
    assert orders(1, impossible) == [
        [0, 2, 3]
    ]  # illegal: the longest it came, which the write would have done too
    assert orders(5) == [[0, 1, 3]]
    again = Operation(3, ("read",), 14, 2, 15)
    assert orders(1, back, again) == [[0, 2, 3, 4, 1, 5]]


def crowded(rng: random.Random, count: int, clients: int) -> list[Operation]:
    """A linearizable register of five values with so many clients."""
    found: list[Operation] = []
    state: int | None = None
    for number in range(count):
        call = 10 * number - rng.randint(0, 10 * clients)
        back = 10 * number + rng.randint(0, 10 * clients)
        if rng.random() < 0.5:
            found.append(Operation(number % clients, ("read",), call, state, back))
        else:
            state = rng.randrange(5)
            found.append(Operation(number % clients, ("write", state), call, None, back))
    return found


@needs_core
def test_long_histories_are_judged_as_in_python_in_whatever_order_they_stand() -> None:
    """Of operations that are open for long, of unknown outcome, and of several that return together."""
    rng = random.Random(11)
    verdicts: Counter[str] = Counter()
    for _ in range(80):
        operations = crowded(rng, rng.randint(30, 90), rng.choice([2, 4, 6]))
        for operation in rng.sample(operations, 3):
            operation.return_time += rng.choice([50, 300, 5_000])
        for operation in rng.sample([o for o in operations if o.input != ("read",)], 4):
            operation.return_time, operation.output, operation.outcome = None, UNKNOWN, "info"
        reads = [o for o in operations if o.input == ("read",)]
        for read in rng.sample(reads, rng.choice([0, 2])):
            read.output = rng.randrange(5)
        model = models.cas_register()
        verdict = Search(model, operations).run()
        for _ in range(3):
            search = NativeSearch(model, operations)
            assert search._search.native
            assert search.run() == verdict, operations
            assert check(operations, model).verdict == verdict, operations
            rng.shuffle(operations)
        verdicts[str(verdict)] += 1
    assert min(verdicts["ok"], verdicts["illegal"]) > 10, verdicts


@needs_core
def test_a_crowded_illegal_history_is_decided() -> None:
    """Twenty clients and a read too many: the search in Python takes seconds to minutes for these."""
    rng = random.Random(3)
    for _ in range(3):
        operations = crowded(rng, 600, 20)
        assert check(operations, models.cas_register(), prefer="search").verdict == "ok"
        operations[300].input, operations[300].output = ("read",), 77
        assert check(operations, models.cas_register(), prefer="search", timeout_s=60).verdict == (
            "illegal"
        )


def busy(rng: random.Random, count: int, clients: int, lost: float) -> list[Operation]:
    """A linearizable register of five values; some operations, which did happen, are of unknown outcome."""
    free = [0] * clients
    drafts: list[tuple[int, int, int]] = []
    for _ in range(count):
        client = min(range(clients), key=free.__getitem__)
        call = free[client]
        instant = call + rng.randint(1, 200)
        free[client] = instant + rng.randint(1, 200)
        drafts.append((instant, call, free[client]))
    found: list[Operation] = []
    state: int | None = None
    for number, (_, call, back) in enumerate(sorted(drafts)):
        kind, value = rng.choice(["read", "write", "cas"]), rng.randrange(5)
        given: tuple[Any, ...] = ("read",)
        output: Any = state
        if kind == "write":
            given, output, state = ("write", value), None, value
        elif kind == "cas":
            expected = rng.randrange(5)
            given, output = ("cas", expected, value), state == expected
            state = value if output else state
        if rng.random() < lost:
            found.append(Operation(number, given, call, UNKNOWN, None, "info"))
        else:
            found.append(Operation(number, given, call, output, back))
    return found


def one_read_changed(rng: random.Random, operations: list[Operation]) -> list[Operation]:
    """One of the later reads saw another value."""
    reads = [o for o in operations if o.input == ("read",) and o.outcome == "ok"]
    read = rng.choice(reads[len(reads) // 2 :])
    read.output = 4 if read.output != 4 else 0
    return operations


@needs_core
def test_operations_of_unknown_outcome_are_not_squandered() -> None:
    """A search that takes the first of them that fits has none left later, and goes back without end."""
    operations = one_read_changed(random.Random(46), busy(random.Random(46), 3_000, 5, 0.05))
    assert check(operations, models.cas_register(), step_limit=6_000_000).verdict == "ok"


@needs_core
def test_a_contradiction_is_found_where_it_is() -> None:
    """Not after all the places before it, whose configurations are millions."""
    operations = one_read_changed(random.Random(6), busy(random.Random(6), 3_000, 20, 0))
    result = check(operations, models.cas_register(), step_limit=1_000_000)
    assert result.verdict == "illegal"
    assert result.witness is not None
    assert operations[result.witness.stuck_at].input == ("read",)


# --- limits ---------------------------------------------------------------------------------------


def endless() -> tuple[list[Operation], Model]:
    """Forty values enqueued together, and one dequeued that is not among them."""
    operations = [Operation(i, ("enqueue", i % 39), 0, None, 10) for i in range(40)]
    operations.append(Operation(98, ("dequeue",), 11, 99, 12))
    operations.append(Operation(99, ("enqueue", 99), 0, UNKNOWN, None, "info"))
    return operations, models.queue()


@needs_core
@pytest.mark.parametrize("limit_s", [0.05, 0.3])
def test_a_deadline_is_kept_to_within_50_ms(limit_s: float) -> None:
    operations, model = endless()
    late: list[float] = []
    for _ in range(5):  # A busy machine may be late once; it is not every time.
        started = time.perf_counter()
        result = check(operations, model, timeout_s=limit_s)
        late.append(time.perf_counter() - started - limit_s)
        assert (result.verdict, result.cause) == ("unknown", "timeout")
        if late[-1] < 0.05:
            return
    raise AssertionError(late)


@needs_core
def test_other_threads_run_while_a_twin_is_searched() -> None:
    operations, model = endless()
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        check(operations, model, timeout_s=0.5)
    finally:
        done.set()
        thread.join()
    assert len(ticks) > 10


@needs_core
@pytest.mark.parametrize("twin", [True, False])
def test_an_interrupt_ends_a_search(twin: bool) -> None:
    program = f"""
import dataclasses, signal
from porcupine import UNKNOWN, Operation, check
from porcupine.models import queue
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
operations = [Operation(i, ("enqueue", i % 39), 0, None, 10) for i in range(40)]
operations.append(Operation(98, ("dequeue",), 11, 99, 12))
operations.append(Operation(99, ("enqueue", 99), 0, UNKNOWN, None, "info"))
model = queue() if {twin} else dataclasses.replace(queue(), compiled=None)
print("go", flush=True)
try:
    check(operations, model, memory_bytes=2_000_000_000)
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "go\n"
        time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=20)
    assert rest == "interrupted\n"


def test_a_search_in_python_that_nobody_chose_is_remarked_on_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("porcupine.engine.compiled", None)
    monkeypatch.setattr("porcupine.native.compiled", None)
    monkeypatch.setattr("porcupine.once.compiled", None)
    history = [Operation(0, ("enqueue", 1), 0, None, 1)]
    for chosen, remarks in (("python", 0), (None, 1)):
        engine.remark_on_core.cache_clear()
        caplog.clear()
        if chosen is None:
            monkeypatch.delenv(engine.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(engine.VARIABLE, chosen)
        for _ in range(3):
            check(history, models.queue(), prefer="search")
        assert len(caplog.records) == remarks
    assert "PORCUPINE_CORE=python" in caplog.text


@needs_core
def test_a_core_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("porcupine.engine.API", 0)
    assert load("") is None
    with pytest.raises(PorcupineError, match="built from other sources"):
        load("rust")


def test_limits_may_be_of_any_size() -> None:
    operations = [Operation(0, ("write", 1), 0, None, 1), Operation(0, ("read",), 2, 1, 3)]
    for limit in (10**30, 2**64):
        result = check(
            operations,
            models.cas_register(),
            prefer="search",
            step_limit=limit,
            memory_bytes=limit,
            timeout_s=float(limit),
        )
        assert result.verdict == "ok"


def test_an_error_in_a_step_comes_through() -> None:
    def step(state: int, given: str, output: Any) -> tuple[bool, int]:
        raise ZeroDivisionError(given)

    with pytest.raises(ZeroDivisionError, match="seven"):
        check([Operation(0, "seven", 0, None, 1)], Model(lambda: 0, step))


# --- the zones ------------------------------------------------------------------------------------


@needs_core
def test_the_compiled_zones_accept_what_the_zones_accept(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one history more, and none of the usual ones less."""
    rng = random.Random(11)
    found: Counter[str] = Counter()
    cases: list[list[Operation]] = []
    for number in range(3_000):
        values = rng.choice([None, None, 6])
        operations = lab.history(
            rng,
            rng.randint(1, 14),
            spread=rng.randint(0, 6),
            values=values,
            saw=rng.random() < 0.8,
            doubtful=rng.choice([0, 0, 0.2]),
        )
        for _ in range((0, 1, 3)[number % 3]):
            operations = lab.spoilt(rng, operations)
        cases.append(operations)
    accepted = [compiled.zones(operations, None, 0, True) for operations in cases]
    monkeypatch.setattr("porcupine.zones.compiled", None)
    for operations, says in zip(cases, accepted, strict=True):
        plain = check(operations, models.cas_register(), prefer="gate")
        assert (says is True) == (plain.verdict == "ok"), operations
        if says is False:
            assert plain.cause == "not applicable", operations
        found[f"{says} {plain.verdict}"] += 1
    assert set(found) == {"True ok", "False unknown", "None illegal"}, found
    assert min(found.values()) > 300, found


def columns_of(operations: list[Operation]) -> RegisterColumns:
    rows: list[tuple[int, int, int, int, int]] = []
    for o in operations:
        kind = {"read": READ, "write": WRITE, "cas": CAS}[o.input[0]]
        back = NEVER if o.outcome == "info" or o.return_time is None else o.return_time
        value = o.output if kind == READ else o.input[1]
        if value is UNKNOWN or value is None:
            value = 0
        rows.append((kind, o.call, back, value, o.input[2] if kind == CAS else 0))
    return RegisterColumns.of(rows)


def test_columns_are_judged_like_the_operations_they_are(lab: Any) -> None:
    rng = random.Random(12)
    found: Counter[str] = Counter()
    for number in range(600):
        operations = lab.history(rng, rng.randint(1, 12), failing=0, initial=0)
        for _ in range((0, 2)[number % 2]):
            operations = lab.spoilt(rng, operations)
        columns = columns_of([o for o in operations if o.outcome != "fail"])
        by_columns = check_columns(columns)
        by_list = check(columns.operations(), models.cas_register(0))
        assert by_columns.verdict == by_list.verdict
        assert by_columns.witness == by_list.witness
        if by_columns.verdict == "ok":
            order = by_columns.linearization[0]
            assert lab.objection(models.cas_register(0), columns.operations(), order) is None
        found[by_columns.verdict] += 1
    assert min(found.values()) > 50, found


@needs_core
def test_a_million_columns_are_decided() -> None:
    """How long it takes is measured by benchmarks/gates.py."""
    rows = [
        (READ, 10 * i, 10 * i + 25, i - 1, 0) if i % 2 else (WRITE, 10 * i, 10 * i + 25, i, 0)
        for i in range(1_000_000)
    ]
    columns = RegisterColumns.of(rows)
    assert check_columns(columns, initial=-1).verdict == "ok"


def test_columns_without_a_meaning_are_refused() -> None:
    for rows in ([(7, 0, 1, 0, 0)], [(READ, 5, 4, 0, 0)]):
        with pytest.raises(PorcupineError):
            check_columns(RegisterColumns.of(rows))
    short = RegisterColumns(b"\x00\x00", [1], [2], [0], [0])
    with pytest.raises(PorcupineError, match="not of one length"):
        check_columns(short)
    assert check_columns(RegisterColumns.of([])).verdict == "ok"


# --- choosing a core, and nonsense ----------------------------------------------------------------


def test_the_variable_chooses_the_core() -> None:
    assert load("python") is None
    with pytest.raises(PorcupineError, match="PORCUPINE_CORE is 'go'"):
        load("go")
    program = "import porcupine; print(porcupine.core)"
    for wanted in ("python", "rust")[: 2 if compiled else 1]:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PORCUPINE_CORE": wanted},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == f"{wanted}\n"


class Odd:
    """A value that is awkward in one way."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __eq__(self, other: object) -> bool:
        if self.how == "eq":
            raise RuntimeError("no comparing")
        return self.how != "unlike itself" and self is other

    def __hash__(self) -> int:
        if self.how == "hash":
            raise RuntimeError("no hashing")
        return 1


NONSENSE: list[Any] = [
    None,
    (),
    ("read",),
    ("read", "k"),
    ("txn",),
    ("txn", 5),
    ("txn", (("w",),)),
    ("txn", (("x", 1),)),
    ("write",),
    ("write", [1]),
    ("write", float("nan")),
    ("cas", 1),
    ("cas", {}, 2),
    ("append", "k", 7),
    ("append", "k", "\ud800"),
    ("add", "three"),
    ("add", 2**70),
    ("add", True),
    ("acquire", -1),
    ("acquire", 10**30),
    ("release", "all"),
    ("push", Odd("eq")),
    ("push", Odd("hash")),
    ("push", Odd("unlike itself")),
    ("push", "text"),
    ("push", 3),
    ("push", {1}),
    ("pop",),
    ("contains", 1),
    (5, 6),
    "read",
    7,
    [],
    Odd("eq"),
]
OUTPUTS: list[Any] = [
    *(None, True, False, 0, 1.5, 2**80, "x", "\ud800", [], [1], (1, [2]), {1}),
    *(EMPTY, UNKNOWN, Saw(1), Saw([]), float("nan"), Odd("eq"), Odd("hash"), object()),
]
TIMES: list[Any] = [-(2**63), -1, 0, 1, 2**63 - 1, 2**63, 2**200, True]


def test_nonsense_is_judged_or_refused_but_never_a_crash(lab: Any, ready_name: str) -> None:
    """Any answer or ordinary exception will do; and it is the one the Python core gives."""
    model = models.kv() if ready_name == "kv" else lab.ready[ready_name][0]
    rng = random.Random(f"nonsense {ready_name}")

    def outcome(ask: Callable[[], Any]) -> str:
        try:
            return str(ask())
        except Exception as error:
            return type(error).__name__

    for _ in range(400):
        operations = []
        for client in range(rng.randint(1, 4)):
            call, back = sorted(rng.choices(TIMES, k=2))
            lost = rng.choice(["ok", "ok", "info"])
            given, output = rng.choice(NONSENSE), rng.choice(OUTPUTS)
            operations.append(Operation(client, given, call, output, back, lost))
        outcome(lambda o=operations: check(o, model).verdict)  # type: ignore[misc]
        plain = outcome(lambda o=operations: Search(model, o).run(5_000))  # type: ignore[misc]
        found = outcome(
            lambda o=operations: check(o, model, prefer="search", step_limit=5_000).verdict
        )  # type: ignore[misc]
        if ready_name != "kv" and "Error" not in plain and "Error" not in found and plain != "None":
            assert found == plain, operations


def test_nonsense_is_no_crash_for_keys_either(lab: Any) -> None:
    test_nonsense_is_judged_or_refused_but_never_a_crash(lab, "kv")


@needs_core
def test_the_compiled_functions_refuse_what_is_not_theirs() -> None:
    for wrong in (None, 5, "text", [1, 2], [None], [Operation(0, None, 0, None, 0), 5]):
        for call in (
            lambda w: compiled.zones(w, None, 0, True),
            lambda w: compiled.zones([], None, w, True),
            lambda w: compiled._oracle(w, False, None),
            lambda w: compiled._fuzz(w, 1, 1),
            lambda w: compiled.zones_columns(w, w, w, w, w, 0),
            lambda w: compiled.Search.open(w, False, w, w, w, w, False),
        ):
            with suppress(AttributeError, TypeError, ValueError, BufferError, PorcupineError):
                call(wrong)
