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
    Model,
    OnlineChecker,
    Operation,
    Saw,
    check,
    models,
)
from porcupine.formats import read_etcd_log
from porcupine.history import Outcome
from porcupine.result import Verdict

HERE = Path(__file__).parent / "data"
READY = (
    "register",
    "cas_register",
    "append_kv",
    "list_append",
    "counter",
    "set",
    "queue",
    "stack",
    "priority_queue",
    "mutex",
    "semaphore",
    "multi_register",
)

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


@pytest.mark.parametrize("name", READY)
def test_every_prefix_has_the_verdict_of_check(lab: Any, name: str) -> None:
    differ(lab, name, 0, 250)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("name", READY)
def test_fuzz_every_prefix(lab: Any, name: str, seed: int) -> None:
    differ(lab, name, seed, 2_500)


def test_every_prefix_agrees_while_the_tables_are_renewed_all_the_time(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porcupine.online.window.RENEW_SIZE", 0)
    monkeypatch.setattr("porcupine.online.window.RENEW_FACTOR", 0)
    for name in READY:
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
