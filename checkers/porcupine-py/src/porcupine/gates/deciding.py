"""From a check's findings to a gate's decision: by the compiled core where it applies, else by the reference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

from porcupine.engine import compiled
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import TimeIsUp, is_over
from porcupine.result import GateResult, Witness

SHOWN_MOST: Final = 6
"""How many operations a witness' text has; more than that nobody holds in the mind at once."""

Order = Callable[[], list[int]]
Reference = Callable[[Sequence[Operation], float | None], Order | None]
"""Gives how to find an order of a legal history, None where the check does not apply, or raises Contradiction."""


class Contradiction(Exception):
    """Operations that cannot be put in order. `support` are those without which they could be."""

    def __init__(self, reason: str, operations: Iterable[int], support: Iterable[int] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operations = tuple(dict.fromkeys(operations))
        self.support = tuple(
            index for index in dict.fromkeys(support) if index not in self.operations
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One model's check: the name it has in the compiled core, and the reference."""

    kind: str
    reference: Reference
    initial: Hashable = None
    skip: int = 0

    @property
    def engine(self) -> str:
        return f"{self.kind} gate"


def decide(
    check: Check, operations: Sequence[Operation], deadline: float | None
) -> GateResult | None:
    """The decision on one part, or None where the check does not apply."""
    if compiled is not None and type(operations) is list:
        left = None if deadline is None else deadline - monotonic()
        told, places = compiled.gate(check.kind, operations, check.initial, check.skip, left)
        if is_over(deadline):
            return GateResult("unknown", check.engine, cause="timeout")
        if told is True:
            return GateResult("ok", check.engine, order=partial(_order_of_legal, check, operations))
        if told is False:
            return None
        if places:
            # It names operations that are a contradiction by themselves.
            found = _refer(check, [operations[index] for index in places], deadline)
            if found is not None and found.witness is not None:
                return GateResult("illegal", check.engine, witness=found.witness.moved(places))
    return _refer(check, operations, deadline)


def _refer(
    check: Check, operations: Sequence[Operation], deadline: float | None
) -> GateResult | None:
    try:
        order = check.reference(operations, deadline)
    except Contradiction as found:
        return GateResult("illegal", check.engine, witness=_witness(found, operations))
    except TimeIsUp:
        return GateResult("unknown", check.engine, cause="timeout")
    return None if order is None else GateResult("ok", check.engine, order=order)


def _order_of_legal(check: Check, operations: Sequence[Operation]) -> list[int]:
    order = check.reference(operations, None)
    assert order is not None
    return order()


def _witness(found: Contradiction, operations: Sequence[Operation]) -> Witness:
    """In the order of calls, and no longer than can be read."""
    shown = sorted(found.operations, key=lambda index: operations[index].call)
    support = sorted(found.support, key=lambda index: operations[index].call)
    lines = [found.reason, *(line(operations[index]) for index in shown[:SHOWN_MOST])]
    if len(shown) > SHOWN_MOST:
        lines.append(f"  and {len(shown) - SHOWN_MOST} more operations that hold each other so")
    if 0 < len(support) <= SHOWN_MOST - 2:
        lines.append("where these come from:")
        lines.extend(line(operations[index]) for index in support)
    elif support:
        lines.append(f"where these come from: {len(support)} operations, the first and the last")
        lines.extend(line(operations[index]) for index in (support[0], support[-1]))
    return Witness("\n".join(lines), tuple(shown), tuple(support), closed=True)


def line(operation: Operation) -> str:
    """One operation as a witness shows it."""
    name, *arguments = operation.input
    text = f"{name}({', '.join(repr(argument) for argument in arguments)})"
    back = "..."
    if operation.outcome == "info":
        text += " -> unknown"
    else:
        back = str(operation.return_time)
        if operation.output is not None and operation.output is not UNKNOWN:
            text += f" -> {operation.output!r}"
    return f"  client {operation.client_id}: {text} in [{operation.call}, {back}]"


def with_loose(found: list[int], loose: Sequence[int], calls: Sequence[float]) -> list[int]:
    """Put in the reads that saw who knows what: each at its own call, which suits any order of the rest."""
    if not loose:
        return found
    placed: list[tuple[float, int, int]] = []
    now = float("-inf")
    for position, index in enumerate(found):
        now = max(now, calls[index])
        placed.append((now, position, index))
    placed.extend((calls[index], len(found), index) for index in loose)
    placed.sort()
    return [index for _, _, index in placed]
