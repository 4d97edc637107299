"""Stacks of distinct values: decided in O(n log n), peeks and pops of nothing included.

A value that is at the bottom has its operations at instants at which no other is inside. So each operation is taken
away that has an instant at which no value, other than its own, is surely inside; a value all of whose operations are
gone is inside no more, for what remains can be arranged between them; and so on until nothing remains, or nothing
more goes: then some values are each inside while another must be at the bottom. An operation that found
nothing counts as below them all.

Grahn, Abdulla, Atig and others, "Efficient linearizability monitoring" (2025), take values away in this order. How
often an instant is covered is kept in a tree, so that each step costs O(log n).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from math import inf
from typing import Final

from porcupine.gates.deciding import Check, Contradiction, Order, decide, with_loose
from porcupine.gates.segments import Counts, Ends
from porcupine.gates.stays import NOBODY, Cover, Stays, cuts_of, stays_of
from porcupine.history import Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over
from porcupine.result import GateResult

CHUNK: Final = 1_000
"""Operations in a piece of an order that others are still put into."""
LAST: Final = 1 << 62
"""Beyond the number of any operation."""


def check_stack(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
    """Decide a stack's history, or return None where values are not distinct, or takes are not told."""
    return decide(Check("stack", _judge), operations, deadline)


def _judge(operations: Sequence[Operation], deadline: float | None) -> Order | None:
    stays = stays_of(operations, "push", "pop", deadline)
    if stays is None:
        return None
    try:
        cuts = cuts_of(stays)
        peeled = _Peeled(stays)
        peeled.peel(deadline)
    except Contradiction:
        if stays.unsure:
            return None
        raise
    return partial(_order, stays, cuts, peeled)


class _Peeled:
    """Values taken away from the bottom up. A place is the number of an instant; a name, a stay's and one more."""

    def __init__(self, stays: Stays) -> None:
        self.stays = stays
        # Each operation with the least interval it can have beside others of its value.
        self.interval: dict[int, tuple[float, float]] = {}
        self.stay_of: dict[int, int] = {}
        self.ranked: list[int] = []  # stays in the order in which they were taken away
        self.instant: dict[int, float] = {}  # where an operation was taken away
        for stay, put in enumerate(stays.put):
            self._enter(stay, put, stays.calls[put], stays.first[stay])
            take = stays.take[stay]
            end = inf if take == NOBODY else stays.rets[take]
            for index in stays.looks.get(stay, ()):
                call = max(stays.calls[index], stays.calls[put])
                self._enter(stay, index, call, min(stays.rets[index], end))
            if take != NOBODY:
                self._enter(stay, take, stays.last[stay], end)

    def _enter(self, stay: int, index: int, call: float, ret: float) -> None:
        self.interval[index] = (call, ret)
        self.stay_of[index] = stay

    def peel(self, deadline: float | None) -> None:
        """Take away what can be. Raises Contradiction when something remains."""
        stays, interval, stay_of = self.stays, self.interval, self.stay_of
        instants = sorted({time for both in interval.values() for time in both})
        place = {instant: at for at, instant in enumerate(instants)}
        inside = {
            stay: (place[first] + 1, place.get(last, len(instants)))
            for first, last, stay in stays.inside()
        }
        alone = Counts(len(instants))
        by_call = sorted(interval, key=lambda index: interval[index][0])
        starts = [interval[index][0] for index in by_call]
        every = Ends([interval[index][1] for index in by_call])
        # Looks may be where their own value is inside, if it is the only one.
        lookers = [index for index in by_call if stays.put[stay_of[index]] != index]
        lookers = sorted(
            (index for index in lookers if stays.take[stay_of[index]] != index),
            key=lambda index: (stay_of[index], interval[index][0]),
        )
        keys = [(stay_of[index], interval[index][0]) for index in lookers]
        own = Ends([interval[index][1] for index in lookers])
        with_own = Counts(len(instants)) if lookers else None
        for stay, (start, end) in inside.items():
            for counts in (alone, with_own):
                if counts is not None:
                    counts.add(start, end, 1, stay + 1)
        left = [0] * len(stays)
        for stay in stay_of.values():
            left[stay] += 1

        def remove(indices: Iterable[int], instant: float) -> None:
            for index in indices:
                if index in self.instant:
                    continue
                self.instant[index] = instant
                stay = stay_of[index]
                left[stay] -= 1
                if left[stay] == 0:
                    self.ranked.append(stay)
                    if stay in inside:
                        for counts in (alone, with_own):
                            if counts is not None:
                                counts.add(*inside[stay], -1, stay + 1)

        looks = 0
        while True:
            looks += 1
            if not looks % OPERATIONS_PER_LOOK:
                must_not_be_over(deadline)
            if (at := alone.pop(0)) is not None:
                taken = every.take(0, bisect_right(starts, instants[at]), instants[at])
                remove((by_call[number] for number in taken), instants[at])
            elif with_own is not None and (at := with_own.pop(1)) is not None:
                stay = with_own.only(at) - 1
                if stay >= 0:
                    start = bisect_left(keys, (stay, -inf))
                    stop = bisect_right(keys, (stay, instants[at]))
                    taken = own.take(start, stop, instants[at])
                    remove((lookers[number] for number in taken), instants[at])
            else:
                break
        if len(self.ranked) < len(stays):
            raise self._stuck()

    def _stuck(self) -> Contradiction:
        """Values of which none can be at the bottom: from any one along those that are inside instead."""
        stays, gone = self.stays, set(self.ranked)
        inside = [entry for entry in stays.inside() if entry[2] not in gone]
        kept: dict[int, int] = {}  # by stay, an operation that has no instant
        blocked: dict[int, list[int]] = {}
        for index, stay in self.stay_of.items():
            if index not in self.instant:
                blocked.setdefault(stay, []).append(index)
        cover = Cover(inside)
        todo = [min(blocked, key=lambda stay: stays.first[stay])]
        while todo:
            stay = todo.pop()
            if stay in kept:
                continue
            index = blocked[stay][0]
            kept[stay] = index
            own_look = index not in (stays.put[stay], stays.take[stay])
            others = Cover(e for e in inside if e[2] != stay) if own_look else cover
            todo.extend(others.chain(*self.interval[index]))
        names = ", ".join(repr(stays.values[stay]) for stay in list(kept)[:4])
        more = " and others" if len(kept) > 4 else ""
        return Contradiction(
            f"None of {names}{more} can have been at the bottom: for each, while one of its operations took place, "
            "another was inside that came later or left earlier.",
            [index for stay, own in kept.items() for index in stays.own(stay, own)],
        )


class _Row:
    """Operations with their instants, in an order into which more are put."""

    def __init__(self) -> None:
        self.chunks: list[list[tuple[float, int]]] = [[]]
        self.least: list[float] = [-inf]

    def insert(self, instant: float, block: Sequence[tuple[float, int]]) -> None:
        """Put a block behind all that stand at this instant or earlier, moved in between its neighbours."""
        at = max(bisect_right(self.least, instant) - 1, 0)
        chunk = self.chunks[at]
        place = bisect_right(chunk, (instant, LAST))
        low = chunk[place - 1][0] if place else self._before(at)
        high = chunk[place][0] if place < len(chunk) else self._after(at)
        chunk[place:place] = [(min(max(time, low), high), index) for time, index in block]
        if len(chunk) > CHUNK:
            half = len(chunk) // 2
            self.chunks[at : at + 1] = [chunk[:half], chunk[half:]]
            self.least[at : at + 1] = [self.least[at], chunk[half][0]]

    def _before(self, at: int) -> float:
        return self.chunks[at - 1][-1][0] if at else -inf

    def _after(self, at: int) -> float:
        return self.chunks[at + 1][0][0] if at + 1 < len(self.chunks) else inf


def _order(stays: Stays, cuts: Sequence[float], peeled: _Peeled) -> list[int]:
    """A linearization: from the bottom up, each value as a whole goes between operations of those below it."""
    row = _Row()
    for cut, index in sorted(zip(cuts, stays.empties, strict=True)):
        row.insert(cut, [(cut, index)])
    instant = peeled.instant
    for stay in peeled.ranked:
        put, take = stays.put[stay], stays.take[stay]
        start = instant[put]
        end = inf if take == NOBODY else max(instant[take], start)
        looks = [
            (min(max(instant[index], start), end), index) for index in stays.looks.get(stay, ())
        ]
        block = [(start, put), *sorted(looks)]
        if take != NOBODY:
            block.append((end, take))
        row.insert(stays.first[stay], block)
    found = [index for chunk in row.chunks for _, index in chunk]
    return with_loose(found, stays.loose, stays.calls)
