"""First-in first-out queues of distinct values: decided in O(n log n), peeks and empty dequeues included.

Values leave in the order in which they came. So a must come before b if a's enqueue returned before b's was
called, or if a was found at the head (by a peek or its dequeue) by an operation that returned before one that
found b there was called. Values are taken away one after the other, each when none of the rest must come before
it; what is left in the end has values that must each come before the next, in a circle of at most three.
Emmi and Enea, "Sound, complete, and tractable linearizability monitoring for concurrent collections" (2018), look
for pairs; with peeks there are circles of three without any pair.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from math import inf

from porcupine.gates.deciding import Check, Contradiction, Order, decide, with_loose
from porcupine.gates.stays import Stays, cuts_of, stays_of
from porcupine.history import Operation
from porcupine.limits import must_not_be_over
from porcupine.result import GateResult


def check_queue(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
    """Decide a queue's history, or return None where values are not distinct, or takes are not told."""
    return decide(Check("queue", _judge), operations, deadline)


def _judge(operations: Sequence[Operation], deadline: float | None) -> Order | None:
    stays = stays_of(operations, "enqueue", "dequeue", deadline)
    if stays is None:
        return None
    try:
        ranked = _arranged(stays, deadline)
        cuts = cuts_of(stays)
    except Contradiction:
        if stays.unsure:
            return None
        raise
    return partial(_order, stays, ranked, cuts)


class _Rest:
    """Stays in the order of one of their instants, of which only those that are left count."""

    def __init__(self, instants: Sequence[float], gone: bytearray) -> None:
        self.instants = instants
        self.gone = gone
        self.order = sorted(range(len(instants)), key=instants.__getitem__)
        self.top = 0
        self.second = 1

    def settle(self) -> None:
        """Move on past those that are gone."""
        order, gone, count = self.order, self.gone, len(self.order)
        while self.top < count and gone[order[self.top]]:
            self.top += 1
        self.second = max(self.second, self.top + 1)
        while self.second < count and gone[order[self.second]]:
            self.second += 1

    def first_but(self, stay: int) -> int | None:
        """The first that is left, other than `stay`."""
        for place in (self.top, self.second):
            if place < len(self.order) and self.order[place] != stay:
                return self.order[place]
        return None

    def least_but(self, stay: int) -> float:
        other = self.first_but(stay)
        return inf if other is None else self.instants[other]


def _arranged(stays: Stays, deadline: float | None) -> list[int]:
    """The stays in an order in which values may pass through the queue."""
    count = len(stays)
    gone = bytearray(count)
    put_calls = [stays.calls[index] for index in stays.put]
    came, seen = _Rest(stays.first, gone), _Rest(stays.found, gone)
    by_put, by_last = _Rest(put_calls, gone), _Rest(stays.last, gone)
    must_not_be_over(deadline)
    free = bytearray(count)  # 1: may come first by its put; 2: and by when it was found at the head
    ready: list[int] = []
    ranked: list[int] = []

    def grant(stay: int, bit: int) -> None:
        if not free[stay] & bit:
            free[stay] |= bit
            if free[stay] == 3:
                ready.append(stay)

    while len(ranked) < count:
        for rest in (came, seen):
            rest.settle()
        least = stays.first[came.order[came.top]]
        while by_put.top < count and put_calls[by_put.order[by_put.top]] <= least:
            grant(by_put.order[by_put.top], 1)
            by_put.top += 1
        top = seen.order[seen.top]
        least = stays.found[top]
        while by_last.top < count and (
            gone[stay := by_last.order[by_last.top]] or stays.last[stay] <= least
        ):
            if not gone[stay]:
                grant(stay, 2)
            by_last.top += 1
        if stays.last[top] <= seen.least_but(top):
            grant(top, 2)
        if not ready:
            raise _circle(stays, came, seen, next(s for s in range(count) if not gone[s]))
        stay = ready.pop()
        gone[stay] = 1
        ranked.append(stay)
    return ranked


def _circle(stays: Stays, came: _Rest, seen: _Rest, stay: int) -> Contradiction:
    """From any value that is left back along those that must come before it, until they repeat."""
    path: list[int] = []
    whys: list[str] = []
    while stay not in path:
        path.append(stay)
        name = repr(stays.values[stay])
        before = came.order[came.top]
        if stays.first[before] < stays.calls[stays.put[stay]]:
            whys.append(f"{stays.values[before]!r} went in before {name}")
        else:
            other = seen.first_but(stay)
            assert other is not None and stays.found[other] < stays.last[stay]
            before = other
            whys.append(f"{stays.values[before]!r} was at the head before {name}")
        stay = before
    start = path.index(stay)
    reason = ", ".join(reversed(whys[start:]))
    return Contradiction(
        f"A queue keeps the order in which values came, but here {reason}.",
        [index for one in path[start:] for index in stays.own(one)],
    )


def _order(stays: Stays, ranked: Sequence[int], cuts: Sequence[float]) -> list[int]:
    """A linearization. Each chain, of enqueues and of what finds values at the head, goes as early as it can.

    Operations that found nothing cut the history into blocks; a value belongs before a cut if it can.
    """
    calls, put, take, last = stays.calls, stays.put, stays.take, stays.last
    instants = sorted(set(cuts))
    blocks = [bisect_left(instants, end) for end in last]
    placed: list[tuple[float, int, int, int, int]] = []
    came = left = -inf
    at = 0
    for stay in sorted(ranked, key=blocks.__getitem__):
        block = blocks[stay]
        if block:
            came = max(came, instants[block - 1])
        came = max(came, calls[put[stay]])
        placed.append((came, block, 0, at, put[stay]))
        at += 1
        left = max(left, came)
        heads = sorted(stays.looks.get(stay, ()), key=calls.__getitem__)
        if take[stay] >= 0:
            heads.append(take[stay])
        for index in heads:
            left = max(left, calls[index])
            placed.append((left, block, 1, at, index))
            at += 1
    for index, cut in zip(stays.empties, cuts, strict=True):
        placed.append((cut, bisect_left(instants, cut), 2, at, index))
        at += 1
    placed.sort()
    return with_loose([index for *_, index in placed], stays.loose, calls)
