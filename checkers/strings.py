"""The judge of a store of strings with get, put and append: Porcupine's kv data, and stores like it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import porcupine
import porcupine.models
from checkers.judging import Objection, Point
from checkers.records.fitness import Operation


class StringsJudge:
    """Each key is a string, "" at first: get gives it, put replaces it, append lengthens it (checkers/judging.py)."""

    def __init__(self) -> None:
        # Parts are cut by `point` already.
        self._model = replace(porcupine.models.append_kv(), partition=None)

    def model(self, part: Hashable) -> porcupine.Model:
        return self._model

    def point(self, operation: Operation) -> Point | None:
        invoke, completion = operation.invoke, operation.completion
        saw: Any = porcupine.UNKNOWN
        if invoke.f == "get":
            if operation.outcome == "ok" and completion is not None:
                # A key that was never put is an empty string in this model.
                saw = "" if completion.value is None else completion.value
            return Point(invoke.key, ("get", invoke.key), saw, operation.outcome)
        if invoke.f in ("put", "append"):
            if not isinstance(invoke.value, str):
                raise ValueError(f"{invoke.f} takes a string, found {invoke.value!r}")
            if operation.outcome == "ok":
                saw = None
            return Point(invoke.key, (invoke.f, invoke.key, invoke.value), saw, operation.outcome)
        raise ValueError(f"a store of strings has get, put and append, found {invoke.f!r}")

    def objections(
        self, operations: Sequence[Operation], aside: Sequence[Operation]
    ) -> list[Objection]:
        return []

    def explain(
        self, part: Hashable, witness: Sequence[Operation], whole: Sequence[Operation]
    ) -> Objection | None:
        return None
