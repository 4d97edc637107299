"""Histories: what clients called, what they were told, and when.

An operation takes effect at one instant of the closed interval from its call to its return: [10, 20] and
[20, 30] overlap. Its outcome says how sure that is. "ok": it did. "fail": it did not happen.
"info": nobody knows; it may take effect at any instant from its call on, or never, so it has no return.
Times are integers of one clock (nanoseconds, or positions in a list of events); only their order counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from porcupine.engine import compiled
from porcupine.errors import HistoryError
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over

Outcome = Literal["ok", "fail", "info"]
OUTCOMES: Final = frozenset({"ok", "fail", "info"})


class Unknown(Enum):
    """The type of `UNKNOWN`; an enum of one, so that it stays itself when pickled or copied."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN
"""The output nobody saw. A model's step is given it for an operation whose outcome is "info"."""


class Empty(Enum):
    """The type of `EMPTY`, made like that of `UNKNOWN`."""

    EMPTY = "empty"

    def __repr__(self) -> str:
        return "EMPTY"


EMPTY: Final = Empty.EMPTY
"""What a queue, a stack or a priority queue gives when there is nothing in it."""


@dataclass(slots=True)
class Operation:
    """One call and its return. Treat it as frozen: it is not only because 100,000 must be cheap.

    `return_time` is not looked at when the outcome is "info".
    """

    client_id: Hashable
    input: Any
    call: int
    output: Any
    return_time: int | None
    outcome: Outcome = "ok"
    metadata: Any = None


# What the compiled core's own Operation takes over from the dataclass, so that nobody can tell the two apart.
_TAKEN_OVER: Final = (
    "__annotations__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__doc__",
    "__eq__",
    "__hash__",
    "__match_args__",
    "__replace__",
    "__repr__",
)

if not TYPE_CHECKING and compiled is not None:
    for _name in _TAKEN_OVER:
        if _name in vars(Operation):
            setattr(compiled.Operation, _name, vars(Operation)[_name])
    Operation = compiled.Operation


class EventKind(Enum):
    CALL = "call"
    RETURN = "return"


@dataclass(slots=True)
class Event:
    """One end of an operation; `id` ties the two ends together. A call that has no return is "info"."""

    client_id: Hashable
    kind: EventKind
    value: Any
    id: Hashable
    metadata: Any = None


def operations_of(events: Sequence[Event]) -> list[Operation]:
    """The operations of a list of events, in the order of their calls; time is the place in the list.

    The return's metadata wins over the call's. Raises HistoryError for a return without a call and for an
    id that is called or returns twice.
    """
    operations: list[Operation] = []
    by_id: dict[Hashable, Operation] = {}
    for time, event in enumerate(events):
        try:
            operation = by_id.get(event.id)
        except TypeError as error:
            raise HistoryError(f"event {time} has an id without a hash: {error}") from None
        if event.kind is EventKind.CALL:
            if operation is not None:
                raise HistoryError(
                    f"event {time} calls id {event.id!r} again; give each operation an id of its own"
                )
            operation = Operation(
                event.client_id, event.value, time, UNKNOWN, None, "info", event.metadata
            )
            by_id[event.id] = operation
            operations.append(operation)
        elif operation is None:
            raise HistoryError(
                f"event {time} returns id {event.id!r}, which was never called; put its call before it"
            )
        elif operation.return_time is not None:
            raise HistoryError(
                f"event {time} returns id {event.id!r} a second time; give each operation an id of its own"
            )
        else:
            operation.output = event.value
            operation.return_time = time
            operation.outcome = "ok"
            if event.metadata is not None:
                operation.metadata = event.metadata
    return operations


def validate(
    operations: Sequence[Operation], sees_failures: bool, deadline: float | None = None
) -> None:
    """Raise HistoryError unless every operation that counts has a call no later than its return.

    And TimeIsUp when the deadline passes before that is known.
    """
    if compiled is not None and type(operations) is list:
        left = None if deadline is None else deadline - monotonic()
        if compiled.plain(operations, sees_failures, left):
            return
    for index, operation in enumerate(operations):
        if index % OPERATIONS_PER_LOOK == 0:
            must_not_be_over(deadline)
        call, outcome = operation.call, operation.outcome
        if type(call) is not int:
            _must_be_a_time(call, "call", index)
        if outcome == "ok" or (outcome == "fail" and sees_failures):
            back = operation.return_time
            if back is None:
                raise HistoryError(
                    f"operation {index} has outcome {outcome!r} but no return time: {operation!r}; "
                    'give it one, or the outcome "info" if nobody knows whether it took effect'
                )
            if type(back) is not int:
                _must_be_a_time(back, "return", index)
            if back < call:
                raise HistoryError(
                    f"operation {index} returns at {back}, before its call at {call}: "
                    f"{operation!r}; take both times from one monotonic clock"
                )
        elif outcome != "info" and not _is_outcome(outcome):
            raise HistoryError(
                f'operation {index} has the outcome {outcome!r}; it must be "ok", "fail" or "info"'
            )


def _is_outcome(outcome: Any) -> bool:
    return isinstance(outcome, str) and outcome in OUTCOMES


def _must_be_a_time(time: Any, what: str, index: int) -> None:
    if not isinstance(time, Real) or time != time:
        raise HistoryError(
            f"operation {index} has {time!r} as the time of its {what}; times are whole numbers of one clock"
        )
