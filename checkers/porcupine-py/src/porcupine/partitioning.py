"""How a history falls apart: key by key, where each key is an object of its own, or not at all.

Linearizability is local (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990):
a history of several objects is linearizable exactly if the history of each is. So the two ways always give the same
verdict, and a store whose keys are one object is decided key by key too, by its gate; without the gate the search
goes through states of all keys together, for those who want to see it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Final

from porcupine.checker import check
from porcupine.errors import ModelError
from porcupine.history import Operation
from porcupine.model import LocalGate, Model
from porcupine.result import GateResult, Result

ENGINE: Final = "locality"
LEAST_SECONDS: Final = 1e-6  # of a timeout: none at all would mean no limit


def by_metadata(model: Model) -> Model:
    """One object for each key that stands in the operations' metadata, as a tuple of one; none stands for None."""

    def parts(operations: Sequence[Operation]) -> dict[Hashable, list[Operation]]:
        found: dict[Hashable, list[Operation]] = {}
        for operation in operations:
            key = operation.metadata[0] if operation.metadata else None
            found.setdefault(key, []).append(operation)
        return found

    return replace(model, partition=parts)


def undivided(model: Model) -> Model:
    """All keys of a model that is judged key by key as one object; its inputs have their key in second place.

    A state is the set of (key, state) of the keys that are not in their first state. The gate asks for each key
    alone, and puts the orders of the keys together to one.
    """
    inner = model.step
    if model.partition is None or inner is None:
        raise ModelError(f"model {model.name!r} is not judged key by key; there is nothing to undo")
    first = model.init()

    def step(state: frozenset[Any], given: Any, output: Any) -> tuple[bool, frozenset[Any]]:
        known = dict(state)
        before = known.get(given[1], first)
        fits, after = inner(before, given, output)
        if not fits or after == before:
            return fits, state
        known[given[1]] = after
        return True, frozenset(item for item in known.items() if item[1] != first)

    def gate(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
        left = None if deadline is None else max(deadline - monotonic(), LEAST_SECONDS)
        result = check(operations, model, timeout_s=left)
        if result.verdict == "unknown":
            timed_out = result.cause == "timeout"
            return GateResult("unknown", ENGINE, cause="timeout") if timed_out else None
        order = partial(_together, operations, result)
        return GateResult(result.verdict, ENGINE, order=order, witness=result.witness)

    return replace(
        model,
        init=frozenset,
        step=step,
        partition=None,
        partition_event=None,
        gate=LocalGate(model, gate),
        compiled=None,
        describe_state=lambda state: repr(dict(sorted(state, key=repr))),
        name=f"{model.name}, all keys together",
    )


def _together(operations: Sequence[Operation], result: Result) -> list[int]:
    """One order from those of the keys: each operation at the earliest instant that its key's order leaves it.

    That instant lies between its call and its return, so that sorting by it breaks no order in time either.
    """
    placed: list[tuple[int, int, int]] = []
    for part, order in enumerate(result.linearization):
        instant: int | None = None
        for index in order:
            call = operations[index].call
            instant = call if instant is None else max(instant, call)
            placed.append((instant, part, index))
    placed.sort(key=lambda item: item[:2])  # stable: a key's own order stays
    return [index for _, _, index in placed]
