"""The online check says after every event what `check` says of all events so far, and holds little while it does.

Histories are drawn around the instants at which a model took their operations, then spoilt; they are told event by
event: calls before returns at one instant, unknown outcomes some time after the call or never.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from porcupine import (
    UNKNOWN,
    Event,
    EventKind,
    HistoryError,
    Model,
    ModelError,
    NondeterministicModel,
    OnlineChecker,
    Operation,
    PorcupineError,
    Saw,
    check,
    models,
)
from porcupine.formats import read_etcd_log
from porcupine.history import Outcome
from porcupine.online.lanes import COUNT_MASK, LANE_BITS, Lanes
from porcupine.result import Verdict

HERE = Path(__file__).parent / "data"


Told = tuple[str, int]
"""An event: what is told ("invoke", "ok", "fail" or "info"), and of which operation."""


def as_events(rng: random.Random, history: Sequence[Operation]) -> list[Told]:
    """The order in which a history's ends are told: by time, calls first, else as they stand."""
    ends: list[tuple[float, int, int, str]] = []
    for index, operation in enumerate(history):
        ends.append((operation.call, 0, index, "invoke"))
        if operation.outcome != "info":
            assert operation.return_time is not None
            ends.append((operation.return_time, 1, index, operation.outcome))
        elif rng.random() < 0.7:
            ends.append((operation.call + rng.randint(0, 6), 1, index, "info"))
    rng.shuffle(ends)
    ends.sort(key=lambda end: end[:2])
    return [(what, index) for _, _, index, what in ends]


def so_far(history: Sequence[Operation], events: Sequence[Told]) -> list[Operation]:
    """The operations of some first events, in the order of their calls; their times are places in the list."""
    found: dict[int, Operation] = {}
    for time, (what, index) in enumerate(events):
        if what == "invoke":
            found[index] = replace(
                history[index], call=time, return_time=None, output=UNKNOWN, outcome="info"
            )
        elif what != "info":
            told: Outcome = "ok" if what == "ok" else "fail"
            output = history[index].output
            found[index] = replace(found[index], return_time=time, output=output, outcome=told)
    return list(found.values())


class Watch:
    """Feeds one history to an online checker, by its own numbers."""

    def __init__(self, model: Model, history: Sequence[Operation], **options: Any) -> None:
        self.checker = OnlineChecker(model, **options)
        self.history = history
        self.ids: dict[int, int] = {}

    def tell(self, event: Told) -> Verdict:
        what, index = event
        operation = self.history[index]
        if what == "invoke":
            self.ids[index] = self.checker.invoke(
                index, operation.input, metadata=operation.metadata
            )
        elif what == "info":
            self.checker.info(self.ids[index])
        else:
            tell = self.checker.ok if what == "ok" else self.checker.fail
            tell(self.ids[index], operation.output)
        return self.checker.verdict


def agree(
    model: Model, history: Sequence[Operation], events: Sequence[Told], count: Counter[str]
) -> None:
    """At every event the verdict is that of `check`, and where the first violation is the same is named."""
    watch = Watch(model, history)
    for end, event in enumerate(events, 1):
        verdict = watch.tell(event)
        prefix = so_far(history, events[:end])
        truth = check(prefix, model, prefer="search")
        told = (events[:end], prefix, verdict)
        assert verdict == truth.verdict, told
        if verdict == "illegal":
            count["illegal"] += 1
            violation, result = watch.checker.violation, watch.checker.result()
            assert violation is not None
            assert (violation.event, violation.operation) == (end - 1, watch.ids[event[1]]), told
            assert result.witness is not None
            assert truth.witness is not None
            assert result.witness.stuck_at == truth.witness.stuck_at, told
            return
    count["ok"] += 1
    assert watch.checker.violation is None
    assert str(watch.checker.result()) == "ok"


# --- every model ----------------------------------------------------------------------------------


def differ(lab: Any, name: str, seed: int, count: int) -> None:
    found: Counter[str] = Counter()
    rng = random.Random(f"online {name} {seed}")
    model, draw = lab.ready[name]
    bare = Model(model.init, model.step)
    for number in range(count):
        history = lab.drawn(rng, model, draw)
        if rng.random() < 0.3:  # alike, so that one may stand for another
            history += [replace(rng.choice(history)) for _ in range(rng.randint(1, 2))]
        asked = replace(model if number % 4 else bare, sees_failures=number % 3 == 0)
        agree(asked, history, as_events(rng, history), found)
    assert min(found["ok"], found["illegal"]) > count // 25, found


def test_every_prefix_has_the_verdict_of_check(lab: Any, ready_name: str) -> None:
    differ(lab, ready_name, 0, 250)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(1, 11))
def test_fuzz_every_prefix(lab: Any, ready_name: str, seed: int) -> None:
    differ(lab, ready_name, seed, 2_500)


def test_every_prefix_agrees_while_the_tables_are_renewed_all_the_time(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porcupine.online.window.RENEW_SIZE", 0)
    monkeypatch.setattr("porcupine.online.window.RENEW_FACTOR", 0)
    for name in lab.ready:
        differ(lab, name, 99, 60)


def longer(
    rng: random.Random, count: int, clients: int, values: int | None, lost: float
) -> tuple[list[Operation], list[Told]]:
    """A legal run of one register with few or with unique values: operations, and their events as they come."""
    history: list[Operation] = []
    events: list[Told] = []
    state: Any = 0
    at_work: list[int | None] = [None] * clients
    done: dict[int, Any] = {}

    def take(index: int) -> None:
        nonlocal state
        given = history[index].input
        if given[0] == "cas":
            done[index] = True if state == given[1] else Saw(state)
        else:
            done[index] = state if given[0] == "read" else None
        if given[0] == "write" or done[index] is True:
            state = given[-1]

    while len(events) < count:
        client = rng.randrange(clients)
        index = at_work[client]
        if index is None:
            value = len(history) + 1 if values is None else rng.randrange(values)
            given: tuple[Any, ...] = ("read",)
            if (kind := rng.randrange(4)) == 2:
                given = ("write", value)
            elif kind == 3:
                given = ("cas", state if values is None else rng.randrange(values), value)
            at_work[client] = len(history)
            events.append(("invoke", len(history)))
            history.append(Operation(client, given, 0, UNKNOWN, None, "ok"))
            for other in at_work:
                if other is not None and other not in done and rng.random() < 0.3:
                    take(other)
            continue
        at_work[client] = None
        if rng.random() < lost:
            events.append(("info", index))
            continue
        if index not in done:
            take(index)
        history[index].output = done[index]
        events.append(("ok", index))
    return history, events


def spoil(rng: random.Random, history: list[Operation], events: Sequence[Told], last: int) -> None:
    """Let a read see what was there before; often that is illegal."""
    reads = [i for what, i in events[-last:] if what == "ok" and history[i].input == ("read",)]
    if reads:
        index = rng.choice(reads)
        history[index].output = rng.choice(
            [o.output for o in history if o.input == ("read",) and o.output is not UNKNOWN]
        )


@pytest.mark.parametrize("seed", range(12))
def test_a_longer_run_is_stopped_where_check_finds_its_shortest_illegal_prefix(seed: int) -> None:
    rng = random.Random(f"longer {seed}")
    values = (None, 4)[seed % 2]
    history, events = longer(rng, 300, rng.randint(2, 6), values, (0, 0.05)[seed // 2 % 2])
    if seed % 3:
        spoil(rng, history, events, 100)
    model = models.cas_register(0)
    watch = Watch(model, history)
    stopped = next((n for n, event in enumerate(events) if watch.tell(event) != "ok"), None)

    def legal(count: int) -> bool:
        return check(so_far(history, events[:count]), model).verdict == "ok"

    if stopped is None:
        assert legal(len(events))
    else:
        assert legal(stopped)
        assert not legal(stopped + 1)


# --- known verdicts -------------------------------------------------------------------------------


def told_of_etcd(history: Sequence[Operation]) -> list[Told]:
    """In a file's order. An operation of unknown outcome is given up with the last event."""
    ends = [(operation.call, 0, index, "invoke") for index, operation in enumerate(history)]
    for index, operation in enumerate(history):
        if operation.outcome != "info":
            assert operation.return_time is not None
            ends.append((operation.return_time, 1, index, operation.outcome))
    return [(what, index) for _, _, index, what in sorted(ends)]


def judge_etcd(path: Path) -> Verdict:
    """The verdict at the end; where it is "illegal", `check` agrees on the event and on the return."""
    history = read_etcd_log(path.read_text())
    events = told_of_etcd(history)
    model = models.cas_register()
    watch = Watch(model, history)
    stopped = next((n for n, event in enumerate(events) if watch.tell(event) != "ok"), None)
    if stopped is None:
        assert check(so_far(history, events), model).verdict == "ok"
        return watch.checker.verdict
    assert check(so_far(history, events[:stopped]), model).verdict == "ok"
    truth = check(so_far(history, events[: stopped + 1]), model, prefer="search")
    assert truth.verdict == "illegal"
    assert truth.witness is not None
    found = watch.checker.result().witness
    assert found is not None
    assert found.stuck_at == truth.witness.stuck_at
    return watch.checker.verdict


LINEARIZABLE = frozenset((HERE / "etcd/linearizable.txt").read_text(encoding="ascii").split())


@pytest.mark.parametrize("path", sorted(HERE.glob("etcd/*.log")), ids=lambda path: path.stem)
def test_an_etcd_history_fed_event_by_event_gets_its_known_verdict(path: Path) -> None:
    assert judge_etcd(path) == ("ok" if path.stem[-3:] in LINEARIZABLE else "illegal")


def test_all_etcd_histories_fed_event_by_event_get_their_known_verdicts(lab: Any) -> None:
    shared = lab.shared_porcupine()
    if shared is None:
        pytest.skip("PORCUPINE_DATA names no folder of Porcupine's test data")
    logs = [path for path in sorted((shared / "jepsen").glob("*.log")) if path.stat().st_size]
    assert len(logs) == 102
    assert {path.stem[-3:] for path in logs if judge_etcd(path) == "ok"} == LINEARIZABLE


# --- keys and events ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_events_of_several_keys_have_the_verdict_of_check_at_every_prefix(seed: int) -> None:
    rng = random.Random(f"keys {seed}")
    model = models.kv(0)
    events: list[Event] = []
    at_work: dict[int, Event] = {}
    state = dict.fromkeys("xyz", 0)
    checker = OnlineChecker(model)
    for number in range(120):
        client = rng.randrange(4)
        call = at_work.pop(client, None)
        if call is None:
            key = rng.choice("xyz")
            given = rng.choice([("read", key), ("write", key, rng.randrange(3))])
            event = at_work[client] = Event(client, EventKind.CALL, given, number)
        else:
            what, key, *value = call.value
            if what == "write":
                state[key] = value[0]
            seen = rng.randrange(3) if rng.random() < 0.05 else state[key]
            event = Event(client, EventKind.RETURN, seen if what == "read" else None, call.id)
        events.append(event)
        checker.feed(event)
        assert checker.verdict == check(events, model).verdict
        if checker.verdict == "illegal":
            violation = checker.violation
            assert violation is not None
            assert violation.event == number
            assert violation.part == key
            return


def test_an_event_of_one_key_leaves_the_others_alone() -> None:
    checker = OnlineChecker(models.kv())
    slow = checker.invoke(0, ("write", "x", 1))
    for value in range(1_000):
        checker.ok(checker.invoke(1, ("write", "y", value)))
    kept = checker.statistics()
    assert (kept.parts, kept.open_operations, kept.kept_operations) == (2, 1, 1)
    assert checker.ok(slow) == "ok"
    assert {part.key: part.operations for part in checker.result().parts} == {"x": 1, "y": 1_000}


def test_what_is_shown_of_a_violation() -> None:
    checker = OnlineChecker(models.kv())
    checker.ok(checker.invoke("a", ("write", "x", 1)))
    lost = checker.invoke("b", ("write", "x", 7))
    checker.info(lost)
    read = checker.invoke("a", ("read", "x"))
    assert checker.ok(read, 2) == "illegal"
    violation = checker.violation
    assert violation is not None
    assert (violation.event, violation.operation, violation.part) == (5, read, "x")
    assert violation.states == (1,)
    assert violation.operations[read].output == 2
    result = checker.result()
    assert result.witness is not None
    assert result.witness.stuck_at == read
    assert "read('x') -> 2 in [4, 5]: not possible here" in result.witness.text
    assert "1 times write('x', 7) -> unknown: possible, leads to 7" in result.witness.text
    # It is final.
    assert checker.ok(checker.invoke("a", ("read", "x")), 1) == "illegal"


def test_a_model_of_many_states_at_once_is_judged_too() -> None:
    def step(state: int, given: str, output: Any) -> list[int]:
        return [1, 2] if given == "put any" else [state] if output in (state, UNKNOWN) else []

    checker = OnlineChecker(NondeterministicModel(lambda: [0], step).to_model())
    checker.ok(checker.invoke(0, "put any"))
    assert checker.ok(checker.invoke(0, "get"), 2) == "ok"
    assert checker.ok(checker.invoke(0, "get"), 1) == "illegal"


def test_one_lane_counts_without_touching_another() -> None:
    lanes = Lanes()
    first, second = lanes.shift(10), lanes.shift(11)
    assert second - first == LANE_BITS
    many = COUNT_MASK << first | 1 << second
    assert lanes.counted(many) == [(10, COUNT_MASK), (11, 1)]
    lanes.keep(1 << second)
    assert lanes.order == [(11, second)]
    assert lanes.shift(12) == first


# --- limits ---------------------------------------------------------------------------------------


def test_what_is_kept_stays_flat_over_100_000_events_of_a_legal_run() -> None:
    rng = random.Random("flat")
    history, events = longer(rng, 100_000, 3, None, 0.0)
    checker = OnlineChecker(models.cas_register(0))
    most = [0, 0]
    ids: dict[int, int] = {}
    for begin in range(0, len(events), 10_000):
        for what, index in events[begin : begin + 10_000]:
            operation = history[index]
            if what == "invoke":
                ids[index] = checker.invoke(operation.client_id, operation.input)
            else:
                checker.ok(ids.pop(index), operation.output)
        kept = checker.statistics()
        most = [max(most[0], kept.kept_operations), max(most[1], kept.configurations)]
        assert kept.memory_bytes < 3_000_000
    assert checker.verdict == "ok"
    assert checker.events == 100_000
    assert most[0] < 100
    assert most[1] < 300


def crowd(checker: OnlineChecker) -> None:
    """Twelve writes of unknown outcome, and reads that need some of them in an order of their own."""
    for number in range(12):
        checker.info(checker.invoke(number, ("add", 1 << number)))
    for _ in range(3):
        checker.ok(checker.invoke("reader", ("read",)), 4095)


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"memory_bytes": 60_000}, "memory"), ({"step_limit": 200}, "step limit")],
)
def test_a_limit_that_is_met_makes_the_verdict_unknown_for_good(
    options: dict[str, int], cause: str
) -> None:
    checker = OnlineChecker(models.counter(), **options)  # type: ignore[arg-type]
    crowd(checker)
    assert (checker.verdict, checker.cause) == ("unknown", cause)
    assert str(checker.result()).startswith(f"unknown ({cause})")
    assert checker.ok(checker.invoke(0, ("read",)), -1) == "unknown"
    without = OnlineChecker(models.counter())
    crowd(without)
    assert without.verdict == "ok"


def test_a_model_that_takes_too_long_makes_the_verdict_unknown() -> None:
    def step(context: Any, state: int, given: Any, output: Any) -> tuple[bool, int]:
        while not context.cancelled():
            pass
        return True, state

    checker = OnlineChecker(Model(lambda: 0, step_context=step), timeout_s=0.01)
    checker.ok(checker.invoke(0, "x"))
    assert (checker.verdict, checker.cause) == ("unknown", "timeout")


def test_another_key_may_still_prove_illegal() -> None:
    def step(state: Any, given: Any, output: Any) -> tuple[bool, Any]:
        if given == ("x", "raise"):
            raise ZeroDivisionError
        return output == given, state

    checker = OnlineChecker(Model(lambda: 0, step), key=lambda given: given[0])
    id = checker.invoke(0, ("x", "raise"))
    with pytest.raises(ZeroDivisionError) as raised:
        checker.ok(id)
    assert "event 1 (ok of process 0, ('x', 'raise'))" in raised.value.__notes__[0]
    assert (checker.verdict, checker.cause) == ("unknown", "error")
    assert checker.ok(checker.invoke(0, ("y", 1)), ("y", 2)) == "illegal"


# --- bad input ------------------------------------------------------------------------------------


def test_events_that_cannot_be_a_history_are_refused_by_name() -> None:
    checker = OnlineChecker(models.register())
    first = checker.invoke(0, ("read",))
    for wrong, said in (
        (lambda: checker.invoke(0, ("read",)), r"event 1 \(invoke\): process 0 calls .* is open"),
        (lambda: checker.ok(7, 1), r"event 1 \(ok\) completes operation 7, which was never called"),
        (lambda: checker.info([]), r"event 1 \(info\) has an id without a hash"),  # type: ignore[arg-type]
        (
            lambda: checker.invoke([], ("read",)),
            r"event 1 \(invoke\) is of a process without a hash",
        ),  # type: ignore[arg-type]
        (
            lambda: checker.feed(Event(1, EventKind.RETURN, None, "z")),
            r"event 1 returns id 'z', which is not open",
        ),
        (
            lambda: checker.feed(Event(1, EventKind.CALL, 0, [])),
            r"event 1 has an id without a hash",
        ),  # type: ignore[arg-type]
    ):
        with pytest.raises(HistoryError, match=said):
            wrong()
    assert (checker.events, checker.verdict) == (1, "ok")
    checker.ok(first)
    for again in (checker.ok, checker.fail, checker.info):
        with pytest.raises(HistoryError, match=r"event 2 .* operation 0, which is completed"):
            again(first)
    checker.feed(Event(1, EventKind.CALL, ("read",), "a"))
    with pytest.raises(HistoryError, match="event 3 calls id 'a', which is open already"):
        checker.feed(Event(2, EventKind.CALL, ("read",), "a"))
    assert checker.verdict == "ok"


def test_a_model_that_breaks_its_contract_is_told_with_the_event() -> None:
    cases: list[tuple[Model, Any, str]] = [
        (models.register(), ("dance",), r"event 1 \(ok of process 0, .*no meaning for the input"),
        (Model(lambda: 0, lambda s, i, o: None), 1, r"event 1 .*a step gave None"),  # type: ignore[arg-type, return-value]
        (
            Model(lambda: 0, lambda s, i, o: (True, s + 1), readonly=lambda i, o: True),
            1,
            r"event 1 .*read-only",
        ),
    ]
    for model, given, said in cases:
        checker = OnlineChecker(model)
        id = checker.invoke(0, given)
        with pytest.raises(ModelError, match=said):
            checker.ok(id)
        assert (checker.verdict, checker.cause) == ("unknown", "error")
    lists = Model(lambda: 0, lambda s, i, o: (True, s), partition=lambda operations: [operations])
    with pytest.raises(ModelError, match=r"event 0 .*a mapping with its key"):
        OnlineChecker(lists).invoke(0, 1)
    with pytest.raises(PorcupineError, match=r"event 0 .*key \[\] has no hash"):
        OnlineChecker(models.register(), key=lambda given: []).invoke(0, 1)  # type: ignore[arg-type, return-value]


def test_values_and_states_without_a_hash_are_judged() -> None:
    def step(state: list[int], given: list[int], output: Any) -> tuple[bool, list[int]]:
        return output is UNKNOWN or output == state + given, state + given

    checker = OnlineChecker(Model(list, step))
    one, two = checker.invoke(1, [1]), checker.invoke(2, [2])
    checker.ok(two, [1, 2])
    assert checker.ok(one, [1]) == "ok"
    assert checker.ok(checker.invoke(1, [3]), [2, 1, 3]) == "illegal"
