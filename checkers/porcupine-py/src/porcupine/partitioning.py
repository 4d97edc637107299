"""How a history falls apart: key by key, where each key is an object of its own, or not at all.

Linearizability is local (Herlihy and Wing, 1990): a history of several objects is linearizable exactly if the history
of each is. So the two ways always give the same verdict, and key by key is never slower; the other is for those who
want to see it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from porcupine.errors import ModelError
from porcupine.history import Operation
from porcupine.model import Model


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

    A state is the set of (key, state) of the keys that are not in their first state.
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

    return replace(
        model,
        init=frozenset,
        step=step,
        partition=None,
        partition_event=None,
        gate=None,
        compiled=None,
        describe_state=lambda state: repr(dict(sorted(state, key=repr))),
        name=f"{model.name}, all keys together",
    )
