"""Priority queues of distinct values, the smallest first: decided in O(n log n), peeks included.

A pop or peek of v needs an instant at which nothing smaller is surely inside; whoever found nothing, one at which
nothing is. From the smallest value up this is all: a value that must wait to leave until others have left, or must
be there before they came, does so while those are inside anyway, and so takes no instant away from a greater one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import inf
from typing import Any

from porcupine.gates.deciding import Check, Contradiction, Order, decide, with_loose
from porcupine.gates.stays import NOBODY, Cover, Stays, cuts_of, stays_of
from porcupine.history import Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over
from porcupine.result import GateResult


def check_priority_queue(
    operations: Sequence[Operation], deadline: float | None
) -> GateResult | None:
    """Decide a priority queue's history, or return None where values are not distinct or have no order."""
    return decide(Check("priority", _judge), operations, deadline)


def _judge(operations: Sequence[Operation], deadline: float | None) -> Order | None:
    stays = stays_of(operations, "push", "pop", deadline)
    if stays is None:
        return None
    ranks = _ranks(stays.all_put)
    if ranks is None:
        return None
    ranked = sorted(range(len(stays)), key=lambda stay: ranks[stays.values[stay]])
    try:
        cuts = cuts_of(stays)
        placed = _placed(stays, ranked, deadline)
    except Contradiction:
        if stays.unsure:
            return None
        raise
    return partial(_order, stays, ranked, cuts, placed)


def _ranks(values: Sequence[Any]) -> dict[Any, int] | None:
    """Each value's place in their order; None where they have none. Sets sort too, though not each with each."""
    try:
        ordered = sorted(values)
        if not all(one < other for one, other in pairwise(ordered)):
            return None
    except TypeError:
        return None
    return {value: rank for rank, value in enumerate(ordered)}


class _Open:
    """Instants at which nothing so far is surely inside; ever fewer of them."""

    def __init__(self, instants: Sequence[float]) -> None:
        self.instants = instants
        count = len(instants)
        self._next = list(range(count + 1))  # to itself where open; past the end always
        self._previous = list(range(count + 1))  # one place further: 0 is before the beginning

    def cover(self, start: float, end: float) -> None:
        """Nothing between the two is open any more."""
        place = self._from(self._next, bisect_right(self.instants, start))
        while place < len(self.instants) and self.instants[place] < end:
            self._next[place] = place + 1
            self._previous[place + 1] = place
            place = self._from(self._next, place)

    def at_or_after(self, instant: float) -> float:
        place = self._from(self._next, bisect_left(self.instants, instant))
        return self.instants[place] if place < len(self.instants) else inf

    def at_or_before(self, instant: float) -> float:
        place = self._from(self._previous, bisect_right(self.instants, instant))
        return self.instants[place - 1] if place else -inf

    @staticmethod
    def _from(way: list[int], place: int) -> int:
        end = place
        while way[end] != end:
            end = way[end]
        while way[place] != end:
            way[place], place = end, way[place]
        return end


def _placed(stays: Stays, ranked: Sequence[int], deadline: float | None) -> dict[int, float]:
    """For each operation an instant. A value comes as late and leaves as early as it can.

    Raises Contradiction for one that has none.
    """
    calls, rets = stays.calls, stays.rets
    found: dict[int, float] = {}
    times = {time for both in (stays.first, stays.last) for time in both}
    for index in (*stays.take, *(o for looks in stays.looks.values() for o in looks)):
        if index != NOBODY:
            times |= {calls[index], rets[index]}
    times |= {calls[index] for index in stays.put}
    times.discard(inf)
    opened = _Open(sorted(times))
    for done, stay in enumerate(ranked):
        if not done % OPERATIONS_PER_LOOK:
            must_not_be_over(deadline)
        put, take = stays.put[stay], stays.take[stay]
        start, out = stays.first[stay], inf
        if take != NOBODY:
            out = opened.at_or_after(stays.last[stay])
            if out > rets[take]:
                raise _hidden(stays, ranked[:done], stay, take, stays.last[stay], rets[take])
            found[take] = out
            start = min(start, out)
        for index in stays.looks.get(stay, ()):
            call = max(calls[index], calls[put])
            end = rets[index] if take == NOBODY else min(rets[index], rets[take])
            instant = opened.at_or_before(min(end, out))
            if instant < call:
                raise _hidden(stays, ranked[:done], stay, index, call, end)
            found[index] = instant
            start = min(start, instant)
        found[put] = start
        opened.cover(stays.first[stay], stays.last[stay])
    return found


def _hidden(
    stays: Stays, smaller: Sequence[int], stay: int, index: int, call: float, ret: float
) -> Contradiction:
    """An operation on a value that was not the smallest at any instant of [call, ret]."""
    cover = Cover(
        (stays.first[other], stays.last[other], other)
        for other in smaller
        if stays.first[other] < stays.last[other]
    )
    chain = cover.chain(call, ret)
    names = ", then ".join(repr(stays.values[other]) for other in chain[:3])
    more = " and others" if len(chain) > 3 else ""
    own = [o for o in (stays.put[stay], stays.last_op[stay], stays.take[stay]) if o != NOBODY]
    return Contradiction(
        f"{stays.values[stay]!r} was found to be the smallest, though all that time {names}{more} was inside.",
        [index, *(o for other in chain for o in stays.own(other))],
        own,
    )


def _order(
    stays: Stays, ranked: Sequence[int], cuts: Sequence[float], placed: dict[int, float]
) -> list[int]:
    """A linearization. At one instant those that leave go first, the smallest before the others.

    Those that come and stay go last, the greatest before the others: so each finds nothing smaller inside.
    """
    keys: list[tuple[float, int, int, int, float, int]] = []
    for rank, stay in enumerate(ranked):
        put, take = stays.put[stay], stays.take[stay]
        start = placed[put]
        end = inf if take == NOBODY else placed[take]

        def key(index: int, step: int, *, start: float = start, end: float = end) -> None:
            instant = placed[index]
            comes = instant == start < end
            number = -rank if comes else rank  # noqa: B023
            keys.append((instant, comes, number, step, stays.calls[index], index))

        key(put, 0)
        for index in stays.looks.get(stay, ()):
            key(index, 1)
        if take != NOBODY:
            key(take, 2)
    for index, cut in zip(stays.empties, cuts, strict=True):
        keys.append((cut, 0, len(ranked), 0, stays.calls[index], index))
    keys.sort()
    return with_loose([index for *_, index in keys], stays.loose, stays.calls)
