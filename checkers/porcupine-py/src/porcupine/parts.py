"""The parts of a history that may be judged alone, on their way to a verdict.

A model's partition cuts a history of operations, or of events, into lists; each knows where in the history its
operations stand, so that all that is shown can speak of these places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from porcupine.errors import ModelError
from porcupine.history import Event, EventKind, Operation, operations_of, validate
from porcupine.limits import must_not_be_over
from porcupine.model import Model
from porcupine.native import NativeSearch
from porcupine.result import Cause, Verdict, Witness
from porcupine.wgl import ENGINE, Search


@dataclass(slots=True)
class Part:
    """One part on its way to a verdict. `indices` are the places of its operations in the history."""

    key: Hashable
    operations: list[Operation]
    indices: list[int]
    verdict: Verdict | None = None
    engine: str = ENGINE
    cause: Cause | None = None
    witness: Witness | Callable[[], Witness] | None = None
    search: Search | NativeSearch | None = None
    orders: Callable[[], list[list[int]]] | None = None
    seconds: float = 0.0


def parts_of(
    history: Sequence[Operation] | Sequence[Event], model: Model, deadline: float | None
) -> list[Part]:
    if history and isinstance(history[0], Event):
        events = cast("Sequence[Event]", history)
        operations = operations_of(events)
        if model.partition_event is not None:
            return _of_events(events, model)
    else:
        operations = list(cast("Sequence[Operation]", history))
    validate(operations, model.sees_failures, deadline)
    if model.partition is None:
        return [Part(None, operations, list(range(len(operations))))]
    parts: list[Part] = []
    taken = _places(operations)
    for key, members in _keyed(model.partition(operations), model):
        must_not_be_over(deadline)
        try:
            indices = [taken(id(operation)) for operation in members]
        except (KeyError, IndexError):
            raise ModelError(
                f"model {model.name!r}: part {key!r} holds an operation that is not one of the history, or "
                "holds it twice; partition must hand on the objects it was given, each at most once"
            ) from None
        parts.append(Part(key, members, indices))
    return parts


def _places(operations: list[Operation]) -> Callable[[int], int]:
    """By the id of an operation its place in the history, each to be had once; KeyError or IndexError after that."""
    place = dict(zip(map(id, operations), range(len(operations)), strict=True))
    if len(place) == len(operations):
        return place.pop
    # One object stands for several operations.
    places: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        places.setdefault(id(operation), []).append(index)
    return lambda identity: places[identity].pop(0)


def _of_events(events: Sequence[Event], model: Model) -> list[Part]:
    assert model.partition_event is not None
    calls = (event.id for event in events if event.kind is EventKind.CALL)
    index_of = {identity: index for index, identity in enumerate(calls)}
    parts: list[Part] = []
    for key, members in _keyed(model.partition_event(events), model):
        try:
            indices = [index_of[event.id] for event in members if event.kind is EventKind.CALL]
        except KeyError as missing:
            raise ModelError(
                f"model {model.name!r}: part {key!r} holds an event with the id {missing}, which the "
                "history does not call; partition_event must keep the ids"
            ) from None
        parts.append(Part(key, operations_of(members), indices))
    return parts


def _keyed(parts: Any, model: Model) -> list[tuple[Hashable, list[Any]]]:
    try:
        pairs = parts.items() if isinstance(parts, Mapping) else enumerate(parts)
        return [(key, list(members)) for key, members in pairs]
    except TypeError as error:
        raise ModelError(
            f"model {model.name!r}: its partition gave {parts!r:.80}; it must give a mapping of keys to lists, or "
            f"a list of lists ({error})"
        ) from None
