"""The judge of counters: add, which answers with the counter after it, and read, key by key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import porcupine
import porcupine.models
from checkers.judging import Objection, Point
from checkers.local_reads import answered, is_local, words
from checkers.records.fitness import Operation

READ: Final = ("read",)


class CounterJudge:
    """Each key is a counter that begins at 0 (checkers/judging.py). Reads by mode "local" may be stale, and stand aside."""

    def __init__(self) -> None:
        self._model = porcupine.models.counter()

    def model(self, part: Hashable) -> porcupine.Model:
        return self._model

    def point(self, operation: Operation) -> Point | None:
        invoke, completion = operation.invoke, operation.completion
        f, outcome = invoke.f, operation.outcome
        saw: Any = porcupine.UNKNOWN
        if f == "read":
            if is_local(operation):
                return None
            if outcome == "ok" and completion is not None:
                saw = _value(completion.value)
            return Point(invoke.key, READ, saw, outcome)
        if f == "add":
            if not isinstance(invoke.value, int):
                raise ValueError(f"the value of an add is an integer, found {invoke.value!r}")
            if outcome == "ok" and completion is not None:
                saw = _after(completion.value)
            return Point(invoke.key, ("add_and_get", invoke.value), saw, outcome)
        raise ValueError(f"a counter has read and add, found {f!r}")

    def objections(
        self, operations: Sequence[Operation], aside: Sequence[Operation]
    ) -> list[Objection]:
        """A local read may be stale, but nobody ever saw more than all adds that had begun by then."""
        found: list[Objection] = []
        for look, completion in answered(aside):
            begun = [
                op
                for op in operations
                if op.invoke.f == "add"
                and op.invoke.key == look.invoke.key
                and op.outcome != "fail"
                and op.invoke.index < completion.index
            ]
            most = sum(max(0, op.invoke.value) for op in begun)
            least = sum(min(0, op.invoke.value) for op in begun)
            value = _value(completion.value)
            if not least <= value <= most:
                text = (
                    f"{words(look)} saw {value}, and all adds begun by then make {least} to {most}"
                )
                found.append(Objection(look.invoke.key, text, [look]))
        return found

    def explain(
        self, part: Hashable, witness: Sequence[Operation], whole: Sequence[Operation]
    ) -> Objection | None:
        """The checker's own words say it."""
        return None


def _value(value: Any) -> int:
    """What a read saw; a key never added to is 0."""
    if value is None:
        return 0
    if not isinstance(value, int):
        raise ValueError(f"a counter's value is an integer, found {value!r}")
    return value


def _after(value: Any) -> int:
    if not isinstance(value, dict) or not isinstance(value.get("now"), int):
        raise ValueError(f"an ok add has the value {{add, now}}, found {value!r}")
    now: int = value["now"]
    return now
