"""What a queue, a stack and a priority queue have in common: each value's stay, from its put to its take.

All operations on a value return no earlier than the first of them returns, and are called no later than the last
of them is called; so between these two instants the value is surely inside, if the first comes before the last.
A value that is never taken stays for ever: its last is infinite.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from math import inf
from typing import Any, Final

from porcupine.gates.deciding import Contradiction
from porcupine.history import EMPTY, UNKNOWN, Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over

NOBODY: Final = -1


class Stays:
    """The stays of one history, by number; only of values whose put took effect."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.calls: list[float] = [operation.call for operation in operations]
        self.rets: list[float] = [
            inf
            if operation.outcome == "info" or operation.return_time is None
            else operation.return_time
            for operation in operations
        ]
        self.values: list[Any] = []
        self.put: list[int] = []
        self.take: list[int] = []
        self.looks: dict[int, list[int]] = {}
        # The first of all returns and the last of all calls of a stay, and whose they are.
        self.first: list[float] = []
        self.first_op: list[int] = []
        self.last: list[float] = []
        self.last_op: list[int] = []
        # The first return of those that found the value in its place: looks and take.
        self.found: list[float] = []
        self.found_op: list[int] = []
        self.empties: list[int] = []  # found nothing inside
        self.loose: list[int] = []  # looks of which nobody knows what they saw
        self.unsure = False  # a take of unknown outcome may have taken any value
        self.all_put: list[Any] = []  # values that were put in, whether it took effect or not

    def __len__(self) -> int:
        return len(self.put)

    def own(self, stay: int, *more: int) -> list[int]:
        """Operations that alone make a stay what it is at its ends: its put and take, and whose those ends are."""
        found = (
            self.put[stay],
            self.first_op[stay],
            self.found_op[stay],
            self.last_op[stay],
            self.take[stay],
            *more,
        )
        return [index for index in found if index != NOBODY]

    def inside(self) -> list[tuple[float, float, int]]:
        """From when to when each value is surely inside, where it is at all, with the number of its stay."""
        return [
            (first, last, stay)
            for stay, (first, last) in enumerate(zip(self.first, self.last, strict=True))
            if first < last
        ]


def stays_of(
    operations: Sequence[Operation], into: str, out: str, deadline: float | None
) -> Stays | None:
    """The stays, or None where values are not distinct, or operations have no meaning for a gate.

    Raises Contradiction for what is wrong with one value alone.
    """
    stays = Stays(operations)
    slots: dict[Hashable, int] = {}
    put: list[int] = []
    heads: list[tuple[int, Any, bool]] = []
    try:
        for index, operation in enumerate(operations):
            if not index % OPERATIONS_PER_LOOK:
                must_not_be_over(deadline)
            outcome = operation.outcome
            if outcome == "fail":
                continue
            given = operation.input
            kind = given[0]
            if kind == into:
                if slots.setdefault(given[1], len(put)) != len(put):
                    return None
                put.append(index)
            elif kind == out or kind == "peek":
                takes, output = kind == out, operation.output
                if outcome == "info":
                    stays.unsure = stays.unsure or takes
                elif output is EMPTY:
                    stays.empties.append(index)
                elif output is not UNKNOWN:
                    heads.append((index, output, takes))
                elif takes:
                    return None
                else:
                    stays.loose.append(index)
            else:
                return None
        seen = [slots.get(value) for _, value, _ in heads]
    except (TypeError, IndexError, KeyError):
        return None  # Unhashable, or not the inputs of this model: the model's step has its say.
    if any(value != value for value in slots):
        return None  # It is found by a dictionary, and refused by a model.
    must_not_be_over(deadline)
    stays.all_put = list(slots)
    take = [NOBODY] * len(put)
    looks = stays.looks
    for (index, value, takes), slot in zip(heads, seen, strict=True):
        if slot is None:
            raise Contradiction(f"{value!r} came out, and nobody had put it in.", [index])
        if stays.rets[index] < stays.calls[put[slot]]:
            raise Contradiction(f"{value!r} was there before it was put in.", [index, put[slot]])
        if not takes:
            looks.setdefault(slot, []).append(index)
        elif take[slot] == NOBODY:
            take[slot] = index
        else:
            raise Contradiction(
                f"{value!r} was taken out twice, and put in once.",
                [take[slot], index],
                [put[slot]],
            )
    must_not_be_over(deadline)
    _settle(stays, put, take)
    return stays


def _settle(stays: Stays, put: Sequence[int], take: Sequence[int]) -> None:
    """Enter the stays whose puts took effect, with their ends."""
    calls, rets = stays.calls, stays.rets
    looks, stays.looks = stays.looks, {}
    for slot, (putter, taker) in enumerate(zip(put, take, strict=True)):
        lookers = looks.get(slot, ())
        if rets[putter] == inf and taker == NOBODY and not lookers:
            continue
        found_op = last_op = NOBODY
        found, last = inf, calls[putter]
        last_op = putter
        for index in lookers:
            if rets[index] < found:
                found, found_op = rets[index], index
            if calls[index] > last:
                last, last_op = calls[index], index
        if taker == NOBODY:
            last = inf
        else:
            if rets[taker] < last:
                raise Contradiction(
                    f"{stays.all_put[slot]!r} was still there after it had been taken out.",
                    [taker, last_op],
                    [putter],
                )
            if rets[taker] < found:
                found, found_op = rets[taker], taker
            if calls[taker] > last:
                last, last_op = calls[taker], taker
        if lookers:
            stays.looks[len(stays.put)] = list(lookers)
        first, first_op = found, found_op
        if rets[putter] <= found:
            first, first_op = rets[putter], putter
        stays.values.append(stays.all_put[slot])
        stays.put.append(putter)
        stays.take.append(taker)
        stays.first.append(first)
        stays.first_op.append(first_op)
        stays.last.append(last)
        stays.last_op.append(last_op)
        stays.found.append(found)
        stays.found_op.append(found_op)


class Cover:
    """Instants at which some value is surely inside: a union of open intervals."""

    def __init__(self, inside: Iterable[tuple[float, float, int]]) -> None:
        self._from: list[float] = []
        self._reach: list[float] = []
        self._by: list[int] = []
        self._whole_from: list[float] = []
        self._whole_to: list[float] = []
        for start, end, stay in sorted(inside):
            if self._whole_to and start < self._whole_to[-1]:
                self._whole_to[-1] = max(self._whole_to[-1], end)
            else:
                self._whole_from.append(start)
                self._whole_to.append(end)
            self._from.append(start)
            if self._reach and self._reach[-1] >= end:
                self._reach.append(self._reach[-1])
                self._by.append(self._by[-1])
            else:
                self._reach.append(end)
                self._by.append(stay)

    def left_at(self, instant: float) -> float:
        """The first instant from here on at which perhaps no value is inside."""
        at = bisect_left(self._whole_from, instant) - 1
        return max(instant, self._whole_to[at]) if at >= 0 else instant

    def chain(self, call: float, ret: float) -> list[int]:
        """A shortest row of stays of which one is inside at each instant of [call, ret]."""
        found: list[int] = []
        instant = call
        while instant <= ret:
            at = bisect_left(self._from, instant) - 1
            assert at >= 0 and self._reach[at] > instant
            found.append(self._by[at])
            instant = self._reach[at]
        return found


def never_empty(stays: Stays, index: int, chain: Sequence[int]) -> Contradiction:
    """Operation `index` found nothing inside, while the values of a chain of stays were."""
    names = ", then ".join(repr(stays.values[stay]) for stay in chain[:3])
    more = " and others" if len(chain) > 3 else ""
    return Contradiction(
        f"It was found empty, though all that time {names}{more} was inside.",
        [index, *(o for stay in chain for o in stays.own(stay))],
    )


def cuts_of(stays: Stays) -> list[float]:
    """For each operation that found nothing, an instant at which no value need be inside.

    Raises Contradiction when there is none.
    """
    if not stays.empties:
        return []
    cover = Cover(stays.inside())
    cuts: list[float] = []
    for index in stays.empties:
        call, ret = stays.calls[index], stays.rets[index]
        cut = cover.left_at(call)
        if cut > ret:
            raise never_empty(stays, index, cover.chain(call, ret))
        cuts.append(cut)
    return cuts
