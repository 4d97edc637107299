"""The judge of lists: append of elements that are unique, and read of the whole list, key by key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import porcupine
import porcupine.models
from checkers.judging import Objection, Point
from checkers.local_reads import answered, is_local, words
from checkers.records.fitness import Operation

READ: Final = ("read",)


class ListJudge:
    """Each key is a list, empty at first (checkers/judging.py). Reads by mode "local" may be stale, and stand aside."""

    def __init__(self) -> None:
        self._model = porcupine.models.list_append()

    def model(self, part: Hashable) -> porcupine.Model:
        return self._model

    def point(self, operation: Operation) -> Point | None:
        invoke, completion = operation.invoke, operation.completion
        f, outcome = invoke.f, operation.outcome
        saw: Any = porcupine.UNKNOWN
        key = invoke.key
        if f == "read":
            if is_local(operation):
                return None
            if outcome == "ok" and completion is not None:
                saw = _elements(completion.value)
            return Point(key, ("read", key), saw, outcome)
        if f == "append":
            if outcome == "ok":
                saw = None
            return Point(key, ("append", key, invoke.value), saw, outcome)
        raise ValueError(f"a list has read and append, found {f!r}")

    def objections(
        self, operations: Sequence[Operation], aside: Sequence[Operation]
    ) -> list[Objection]:
        """A local read may be stale, but it holds nothing that nobody appended, and nothing twice."""
        appended: dict[tuple[str | None, str], Operation] = {
            (op.invoke.key, repr(op.invoke.value)): op
            for op in operations
            if op.invoke.f == "append"
        }
        found: list[Objection] = []
        for look, completion in answered(aside):
            elements = [repr(element) for element in _elements(completion.value)]
            for element in elements:
                append = appended.get((look.invoke.key, element))
                said = f"{words(look)} saw {element}, "
                if append is None:
                    said += "which nobody ever appended there"
                elif append.outcome == "fail":
                    said += "whose append definitely failed"
                elif append.invoke.index > completion.index:
                    said += "before its append was begun"
                elif elements.count(element) > 1:
                    said += "twice"
                else:
                    continue
                proof = [look] if append is None else [append, look]
                found.append(Objection(look.invoke.key, said, proof))
                break
        return found

    def explain(
        self, part: Hashable, witness: Sequence[Operation], whole: Sequence[Operation]
    ) -> Objection | None:
        """The checker's own words say it."""
        return None


def _elements(value: Any) -> tuple[Any, ...]:
    """What a read saw; a key never appended to is the empty list."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list's value is a list, found {value!r}")
    return tuple(value)
