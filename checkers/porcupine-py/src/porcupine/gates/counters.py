"""Counters: what no order could give is refuted at once, and counters whose adds tell the sum are decided by zones.

A value that was read is at least what had certainly been added by then, and at most what may have been. An add
that gives the sum after it is a compare-and-set from the sum before; so, while no sum comes twice, the zones say
whether all sums have their place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from porcupine.gates.deciding import Check, Contradiction, Order, decide, line
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over
from porcupine.result import GateResult, Witness
from porcupine.zones import Refused, Register


def check_counter(
    operations: Sequence[Operation], deadline: float | None, *, initial: int
) -> GateResult | None:
    """Decide a counter's history, or return None where sums are not told or not distinct.

    One that shows a sum that cannot have been reached is refused all the same.
    """

    def reference(given: Sequence[Operation], until: float | None) -> Order | None:
        return _judge(given, until, initial)

    return decide(Check("counter", reference, initial), operations, deadline)


class _Sums:
    """Amounts by time, to be summed up to any instant."""

    def __init__(self, amounts: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(amounts)
        self.times = [time for time, _ in ordered]
        self.sums = [0, *accumulate(amount for _, amount in ordered)]

    def before(self, instant: float) -> int:
        return self.sums[bisect_left(self.times, instant)]

    def until(self, instant: float) -> int:
        return self.sums[bisect_right(self.times, instant)]


def _judge(operations: Sequence[Operation], deadline: float | None, initial: int) -> Order | None:
    if type(initial) is not int:
        return None
    adds: list[tuple[float, float, int, int]] = []  # call, return, amount, index
    seen: list[tuple[int, int, int]] = []  # index, the sum before it, the amount it adds itself
    plain: list[Operation] = []
    told = sure = True
    for index, operation in enumerate(operations):
        if not index % OPERATIONS_PER_LOOK:
            must_not_be_over(deadline)
        outcome, given = operation.outcome, operation.input
        output: Any = UNKNOWN if outcome == "info" else operation.output
        meant = ("read",)
        if outcome != "fail":
            if type(given) is not tuple or given[:1] not in (("read",), ("add",), ("add_and_get",)):
                return None
            amount = 0
            if given[0] != "read":
                if len(given) < 2 or type(given[1]) is not int:
                    return None
                amount = given[1]
                back: Any = inf if outcome == "info" else operation.return_time
                adds.append((operation.call, back, amount, index))
                if outcome == "info":
                    sure = False
                elif given[0] == "add" or output is UNKNOWN:
                    told = False
            if given[0] != "add" and output is not UNKNOWN:
                if type(output) is not int:
                    return None
                seen.append((index, output - amount, amount))
                if amount:
                    meant, output = ("cas", output - amount, output), True  # type: ignore[assignment]
        if outcome == "info":
            outcome = "fail"
        plain.append(
            Operation(
                operation.client_id, meant, operation.call, output, operation.return_time, outcome
            )
        )
    must_not_be_over(deadline)
    _must_be_within(operations, adds, seen, initial)
    if not told:
        return None
    register = _Counted(plain, initial, 0, deadline)
    register.given = operations
    try:
        if not (register.collect() and register.attribute() and register.settle()):
            return None
        register.arrange()
        register.compare()
    except Refused as refused:
        if not sure:
            return None
        witness = refused.witness
        raise Contradiction(
            witness.text.partition("\n")[0], witness.operations, witness.support
        ) from None
    return register.order


class _Counted(Register):
    """The register that is left, with witnesses that show the counter's operations."""

    given: Sequence[Operation]

    def _line(self, index: int) -> str:
        return line(self.given[index])

    def _from_nowhere(self, index: int, value: Hashable) -> Witness:
        act = "was read" if self.operations[index].input[0] == "read" else "was added to"
        return self._witness(f"The sum {value!r} {act}, and nothing came to it.", [index])

    def _forked(self, one: int, other: int) -> Witness:
        source = self.operations[one].input[1]
        return self._witness(
            f"Two adds found the sum {source}, which came about once.", [one, other]
        )

    def _out_of_order(self, later: int, earlier: int) -> Witness:
        return self._witness(
            f"By its sum, the operation that returned at {self.rets[later]} comes after the one that was called at "
            f"{self.calls[earlier]}, when it was already over.",
            [later, earlier],
        )


def _must_be_within(
    operations: Sequence[Operation],
    adds: Sequence[tuple[float, float, int, int]],
    seen: Sequence[tuple[int, int, int]],
    initial: int,
) -> None:
    """Refuse a sum that is less than what was surely added, or more than what may have been.

    A positive amount counts for the first once its add returned, for the second once it was called; a negative
    one the other way round.
    """
    more = [add for add in adds if add[2] > 0]
    less = [add for add in adds if add[2] < 0]
    more_done, more_called = _Sums((a[1], a[2]) for a in more), _Sums((a[0], a[2]) for a in more)
    less_done, less_called = _Sums((a[1], a[2]) for a in less), _Sums((a[0], a[2]) for a in less)
    for index, value, own in seen:
        call: float = operations[index].call
        back: Any = operations[index].return_time
        least = initial + more_done.before(call) + less_called.until(back) - min(own, 0)
        most = initial + less_done.before(call) + more_called.until(back) - max(own, 0)
        if least <= value <= most:
            continue
        done, called = (more, less) if value < least else (less, more)
        bound = f"at least {least}" if value < least else f"at most {most}"
        before = " before it" if own else ""
        raise Contradiction(
            f"The sum was {value}{before}, though by then it was {bound}.",
            [index],
            [
                *(add[3] for add in done if add[1] < call),
                *(add[3] for add in called if add[0] <= back),
            ],
        )
