"""What the tests share: a checker too plain to be wrong, random histories, and a referee for orders.

The tests' folder is no package, so these come as one fixture, `lab`.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from porcupine import EMPTY, UNKNOWN, Model, Operation, Saw, core, models

HERE = Path(__file__).parent


Draw = Callable[[random.Random], tuple[tuple[Any, ...], Any]]

# --- what may be asked of each model, and what it may answer --------------------------------------


def told(rng: random.Random) -> bool | None:
    return rng.choice([True, False, None])


def draw_register(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    a, b = rng.randrange(3), rng.randrange(3)
    return rng.choice(
        [
            (("read",), a),
            (("read",), UNKNOWN),
            (("write", a), None),
            (("cas", a, b), True),
            (("cas", a, b), False),
            (("cas", a, b), Saw(rng.randrange(3))),
            (("cas", a, b), UNKNOWN),
        ]
    )


def draw_plain(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    # 1, 1.0 and True are equal, and so are one value.
    return rng.choice([(("read",), rng.choice([0, 1, 1.0])), (("write", rng.choice([0, True])), 5)])


def draw_append(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    text = "".join(rng.choice("aé") for _ in range(rng.randrange(4)))
    one = rng.choice("aé")
    asked = rng.choice([("get", "k"), ("get", "k"), ("append", "k", one), ("append", "k", one)])
    if rng.random() < 0.15:
        asked = ("put", "k", text)
    return asked, text if asked[0] == "get" else None


def draw_list(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    if rng.random() < 0.5:
        return ("append", "k", rng.randrange(3)), None
    seen = [rng.randrange(3) for _ in range(rng.randrange(4))]
    return ("read", "k"), rng.choice([seen, tuple(seen)])


def draw_counter(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    asked = rng.choice([("read",), ("add", rng.randint(-1, 2)), ("add_and_get", rng.randint(0, 2))])
    return asked, None if asked[0] == "add" else rng.randint(-1, 5)


def draw_set(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    kind, one = rng.choice(["add", "add", "remove", "contains", "read"]), rng.choice("xyz")
    if kind == "read":
        seen = [v for v in "xyz" if rng.random() < 0.5]
        return ("read",), rng.choice([set, frozenset, list, tuple])(seen)
    return (kind, one), rng.random() < 0.5 if kind == "contains" else told(rng)


def collection(into: str, out: str) -> Draw:
    def draw(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
        kind = rng.choice([into, into, out, out, "peek"])
        value = rng.choice([3, 10, 7.5])
        if kind == into:
            return (kind, value), None
        return (kind,), EMPTY if rng.random() < 0.2 else value

    return draw


def permits(most: int) -> Draw:
    def draw(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
        count = rng.randint(1, most)
        kind = rng.choice(["acquire", "release"])
        return (kind,) if count == 1 else (kind, count), told(rng)

    return draw


def draw_txn(rng: random.Random) -> tuple[tuple[Any, ...], Any]:
    parts: list[tuple[Any, ...]] = []
    seen: list[Any] = []
    for _ in range(rng.randint(1, 3)):
        key, value = rng.choice("xy"), rng.choice([None, 1, 2])
        if rng.random() < 0.4:
            parts.append(("w", key, value))
        else:
            parts.append(("r", key))
            seen.append(rng.choice([value, value, UNKNOWN]))
    return ("txn", tuple(parts)), rng.choice([list, tuple])(seen)


READY: dict[str, tuple[Model, Draw]] = {
    "register": (models.register(0), draw_plain),
    "cas_register": (models.cas_register(0), draw_register),
    "append_kv": (models.append_kv(), draw_append),
    "list_append": (models.list_append(), draw_list),
    "counter": (models.counter(), draw_counter),
    "set": (models.set_of_values(), draw_set),
    "queue": (models.queue(), collection("enqueue", "dequeue")),
    "stack": (models.stack(), collection("push", "pop")),
    "priority_queue": (models.priority_queue(), collection("push", "pop")),
    "mutex": (models.mutex(), permits(1)),
    "semaphore": (models.semaphore(3), permits(3)),
    "multi_register": (models.multi_register(), draw_txn),
}


def drawn(rng: random.Random, model: Model, draw: Draw) -> list[Operation]:
    """Up to eight operations around the instants at which the model took them; then some are spoilt."""
    assert model.step is not None
    state = model.init()
    found: list[Operation] = []
    spread, grain, lost = rng.randint(0, 5), rng.randint(1, 3), rng.choice([0, 0.25, 0.5])
    for instant in range(rng.randint(1, 8)):
        unknown = rng.random() < lost
        happens = not unknown or rng.random() < 0.5
        for _ in range(40):
            given, output = draw(rng)
            fits, after = model.step(state, given, output)
            if fits or not happens:
                break
        if happens and fits:
            state = after
        call = (instant - rng.randint(0, spread)) // grain
        back = (instant + rng.randint(0, spread)) // grain
        if unknown:
            found.append(Operation(instant, given, call, UNKNOWN, None, "info"))
        else:
            found.append(Operation(instant, given, call, output, back))
    for _ in range(rng.choice([0, 1, 3])):
        place = rng.randrange(len(found))
        target = found[place]
        if target.outcome == "ok":
            given, output = draw(rng)
            found[place] = Operation(
                place,
                given,
                target.call,
                output,
                target.return_time,
                rng.choice(["ok", "ok", "fail"]),
            )
    rng.shuffle(found)
    return found


class Lab:
    """Pure functions under one roof."""

    data = HERE / "data"
    ready = READY
    drawn = staticmethod(drawn)

    @staticmethod
    def shared_porcupine() -> Path | None:
        """The whole of Porcupine's data: where PORCUPINE_DATA says, or in a folder shared/data above this one."""
        if named := os.environ.get("PORCUPINE_DATA"):
            return Path(named)
        for parent in HERE.parents:
            found = parent / "shared" / "data" / "porcupine"
            if found.is_dir():
                return found
        return None

    @staticmethod
    def oracle(
        model: Model, operations: Sequence[Operation], still_open: Collection[int] = ()
    ) -> bool:
        """Wing and Gong's definition, word for word: some operation may come next, and the rest follow.

        An operation may come next unless one that must happen returned before it was called. Nothing is
        done to be fast, except that no configuration is tried twice. Operations `still_open` need not have
        happened, but have their outputs if they did.
        """
        assert model.step is not None
        required, every = 0, 0
        ends: list[float] = []
        for index, operation in enumerate(operations):
            ends.append(float("inf"))
            if operation.outcome == "fail" and not model.sees_failures:
                continue
            every |= 1 << index
            if operation.outcome != "info" and index not in still_open:
                required |= 1 << index
                assert operation.return_time is not None
                ends[index] = operation.return_time
        tried: set[tuple[int, Any]] = set()
        todo: list[tuple[int, Any]] = [(0, model.init())]
        while todo:
            done, state = todo.pop()
            if required & ~done == 0:
                return True
            if (done, state) in tried:
                continue
            tried.add((done, state))
            left = [i for i in range(len(operations)) if every >> i & 1 and not done >> i & 1]
            for index in left:
                operation = operations[index]
                if any(ends[other] < operation.call for other in left):
                    continue
                output = UNKNOWN if operation.outcome == "info" else operation.output
                fits, after = model.step(state, operation.input, output)
                if fits:
                    todo.append((done | 1 << index, after))
        return False

    @staticmethod
    def objection(
        model: Model,
        operations: Sequence[Operation],
        order: Sequence[int],
        *,
        full: bool = True,
    ) -> str | None:
        """What is wrong with an order of `operations`; None when it stands."""
        assert model.step is not None
        if len(set(order)) != len(order):
            return "an operation stands twice"
        state = model.init()
        latest_call = float("-inf")
        for index in order:
            operation = operations[index]
            if operation.outcome == "fail" and not model.sees_failures:
                return f"{index} failed"
            info = operation.outcome == "info"
            if not info and operation.return_time < latest_call:  # type: ignore[operator]
                return f"{index} returned before one that stands earlier was called"
            latest_call = max(latest_call, operation.call)
            fits, state = model.step(state, operation.input, UNKNOWN if info else operation.output)
            if not fits:
                return f"the model refuses {index}"
        for index in set(range(len(operations))) - set(order):
            operation = operations[index]
            if operation.outcome == "ok" and (full or operation.return_time < latest_call):  # type: ignore[operator]
                return f"{index} is missing"
        return None

    @staticmethod
    def history(
        rng: random.Random,
        count: int,
        *,
        spread: int = 3,
        grain: int = 2,
        info: float = 0.2,
        failing: float = 0.15,
        saw: bool = True,
        values: int | None = None,
        cas: bool = True,
        initial: Any = None,
        doubtful: float = 0.0,
    ) -> list[Operation]:
        """A linearizable register history, shuffled: one value each, or `values` in all.

        Each operation is given its instant and an interval around it, up to `spread` instants to each side;
        times are then divided by `grain`, so that many are equal. With `info` as probability an operation's
        outcome is unknown, and half of those never happen; `doubtful` is that of a completed compare-and-set
        not to say whether it swapped.
        """
        state = initial
        found: list[Operation] = []
        past = [initial]
        for instant in range(count):
            value = instant + 1 if values is None else rng.randrange(values)
            kind = rng.choice(["read", "read", "write", "cas", "cas"] if cas else ["read", "write"])
            unknown = rng.random() < info
            happens = not unknown or rng.random() < 0.5
            given: tuple[Any, ...]
            output: Any
            if kind == "read":
                given = ("read",)
                output = UNKNOWN if rng.random() < 0.1 else state
            elif kind == "write":
                given, output = ("write", value), None
                if happens:
                    state = value
            else:
                expected = state
                if rng.random() < failing:
                    expected = rng.choice(past)
                given = ("cas", expected, value)
                if expected == state:
                    output = True
                    if happens:
                        state = value
                else:
                    output = Saw(state) if saw else False
            if kind == "cas" and rng.random() < doubtful:
                output = UNKNOWN
            past.append(state)
            call = (instant - rng.randint(0, spread)) // grain
            back = (instant + rng.randint(0, spread)) // grain
            if unknown:
                found.append(Operation(instant, given, call, UNKNOWN, None, "info"))
            else:
                found.append(Operation(instant, given, call, output, back))
        rng.shuffle(found)
        return found

    @staticmethod
    def spoilt(rng: random.Random, history: Sequence[Operation]) -> list[Operation]:
        """The history with one thing changed; often, though not always, it is illegal then."""
        found = list(history)
        values: list[Any] = [None, 99_999]
        for operation in found:
            values.extend(operation.input[1:])
        place = rng.randrange(len(found))
        target = found[place]
        what = rng.randrange(5)
        if what == 0:
            readers = [i for i, o in enumerate(found) if o.input[0] == "read" and o.outcome == "ok"]
            if readers:
                place = rng.choice(readers)
                found[place] = dataclasses.replace(found[place], output=rng.choice(values))
        elif what == 1 and target.return_time is not None:
            by = rng.choice([-4, -2, -1, 1, 2, 4])
            found[place] = dataclasses.replace(
                target, call=target.call + by, return_time=target.return_time + by
            )
        elif what == 2 and target.outcome == "ok" and target.input[0] != "read":
            lost = rng.choice(["fail", "info"])
            found[place] = dataclasses.replace(target, outcome=lost)  # type: ignore[arg-type]
        elif what == 3 and target.input[0] == "cas" and target.output is True:
            given = ("cas", rng.choice(values), target.input[2])
            found[place] = dataclasses.replace(target, input=given)
        elif target.return_time is not None:
            middle = rng.randint(target.call, target.return_time)
            found[place] = dataclasses.replace(target, call=middle, return_time=middle)
        return found

    @staticmethod
    def prefix(
        operations: Sequence[Operation], stuck_at: int, *, inclusive: bool
    ) -> tuple[list[Operation], set[int]]:
        """The history up to the return of `stuck_at`, and the places of those still open then."""
        ok = sorted(
            (i for i, o in enumerate(operations) if o.outcome == "ok"),
            key=lambda i: operations[i].call,
        )
        ok.sort(key=lambda i: operations[i].return_time)  # type: ignore[arg-type, return-value]
        end = ok.index(stuck_at)
        returned = set(ok[: end + 1] if inclusive else ok[:end])
        now = operations[stuck_at].return_time
        assert now is not None
        kept = [i for i, o in enumerate(operations) if o.call <= now and o.outcome != "fail"]
        still_open = {place for place, i in enumerate(kept) if i not in returned}
        return [operations[i] for i in kept], still_open


@pytest.fixture
def same_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that a test starts run with the core of this process by order, so they need not say which and why."""
    monkeypatch.setenv("PORCUPINE_CORE", core)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `ready_name` runs for each ready model."""
    if "ready_name" in metafunc.fixturenames:
        metafunc.parametrize("ready_name", READY)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
