"""The frontier: every way in which what has returned so far can be explained, as a set of configurations.

A configuration (state, mask, used) says in which state its order of operations left the object, which of the
operations still to return it holds (a bit each), and how many of unknown outcome of each kind it used up (porcupine.
online.lanes). An operation is linearized as late as can be, just before a return (Lowe, "Testing for linearizability",
2017): so the frontier changes at returns alone. What is left out loses no verdict:

- a read-only operation that fits is taken at once: moved to the front of any order it changes no state;
- of operations of one kind the one that returns first is taken first, the exchange of two being as good;
- one of unknown outcome is never taken where it changes nothing;
- nor is it where the next operation would have come to the same state without it;
- a configuration is dropped for another in the same state, with the same changes made, that used up no more of unknown
  outcome and holds no fewer of the read-only ones: whatever completes it completes the other.
"""

from __future__ import annotations

from typing import Final

from porcupine.online.lanes import COUNT_MASK
from porcupine.online.limits import STEPS_PER_LOOK, Budget
from porcupine.online.tables import Tables
from porcupine.states import REFUSED

Config = tuple[int, int, int]
Frontier = list[Config]
CONFIG_BYTES: Final = 230
"""Of a configuration with its key and its place in a list, in CPython 3.11 on 64 bits."""

# (state, mask without read-only ones) -> (used, mask of read-only ones), none of which stands for another.
_Chosen = dict[tuple[int, int], list[tuple[int, int]]]


class Place:
    """One return, and who may be linearized before it: completed operations called earlier, not returned earlier.

    `room` counts the operations of unknown outcome called before it, by kind.
    """

    __slots__ = ("_same", "bit", "kind", "others", "pure_mask", "pures", "room")

    def __init__(self, bit: int, kind: int, pure: bool, room: int) -> None:
        self.bit = bit
        self.kind = kind
        self.room = room
        self.pures: list[tuple[int, int]] = []  # (bit, kind)
        self.pure_mask = 0
        self.others: list[tuple[int, int, int]] = []  # (bit, kind, bits of those that go first)
        self._same: dict[int, int] = {}
        self.add(bit, kind, pure)

    def add(self, bit: int, kind: int, pure: bool) -> None:
        """One more that may come before this return. To be called in the order of their returns."""
        if pure:
            self.pures.append((bit, kind))
            self.pure_mask |= bit
        else:
            first = self._same.get(kind, 0)
            self.others.append((bit, kind, first))
            self._same[kind] = first | bit


def advance(
    frontier: Frontier, place: Place, tables: Tables, budget: Budget, held_bytes: int
) -> Frontier:
    """The frontier after one more return; empty when nothing explains it. Raises LimitMet."""
    rows, ask, moves = tables.rows, tables.ask, tables.moves
    high = tables.lanes.high
    target, room, others, pures = place.bit, place.room, place.others, place.pures
    changing = ~place.pure_mask
    passed: _Chosen = {}
    seen: _Chosen = {}
    # (state, mask, used, the row of the state before, if an unknown operation that brought nothing else led here)
    todo: list[tuple[int, int, int, dict[int, int] | None]] = []

    def enter(state: int, mask: int, used: int, before: dict[int, int] | None) -> None:
        row = rows[state]
        for bit, kind in pures:
            if not mask & bit:
                reached = row.get(kind)
                if reached is None:
                    reached = ask(state, kind)
                if reached != REFUSED:
                    mask |= bit
                    before = None
        if mask & target:
            _admit(
                passed, (state, (mask ^ target) & changing), used, mask & ~changing & ~target, high
            )
        elif _admit(seen, (state, mask & changing), used, mask & ~changing, high):
            todo.append((state, mask, used, before))

    for state, mask, used in frontier:
        if mask & target:
            _admit(
                passed, (state, (mask ^ target) & changing), used, mask & ~changing & ~target, high
            )
        else:
            enter(state, mask, used, None)
    at = 0
    each_bytes = CONFIG_BYTES + tables.lanes.bytes_each()
    steps = 0
    while at < len(todo):
        state, mask, used, before = todo[at]
        at += 1
        row = rows[state]
        for bit, kind, first in others:
            if mask & bit or first & ~mask:
                continue
            steps += 1
            reached = row.get(kind)
            if reached is None:
                reached = ask(state, kind)
            if reached == REFUSED:
                continue
            if before is not None and before.get(kind) == reached:
                continue
            enter(reached, mask | bit, used, None)
        if room:
            for kind, shift, reached in moves(state):
                steps += 1
                if before is not None and before.get(kind) == reached:
                    continue
                count = used >> shift & COUNT_MASK
                if count >= room >> shift & COUNT_MASK:
                    continue
                enter(reached, mask, used + (1 << shift), row)
        if steps >= STEPS_PER_LOOK:
            budget.steps += steps
            steps = 0
            budget.look(held_bytes + len(todo) * each_bytes)
    budget.steps += steps
    budget.look(held_bytes + len(todo) * each_bytes)
    return [
        (state, mask | pure_mask, used)
        for (state, mask), chosen in passed.items()
        for used, pure_mask in chosen
    ]


def _admit(table: _Chosen, key: tuple[int, int], used: int, pure_mask: int, high: int) -> bool:
    """Enter a configuration unless one that is there stands for it; those that it stands for leave."""
    chosen = table.get(key)
    if chosen is None:
        table[key] = [(used, pure_mask)]
        return True
    for other_used, other_pure in chosen:
        if not pure_mask & ~other_pure and ((used | high) - other_used) & high == high:
            return False
    if len(chosen) > 1 or _stands_for(used, pure_mask, chosen[0], high):
        chosen[:] = [other for other in chosen if not _stands_for(used, pure_mask, other, high)]
    chosen.append((used, pure_mask))
    return True


def _stands_for(used: int, pure_mask: int, other: tuple[int, int], high: int) -> bool:
    return not other[1] & ~pure_mask and ((other[0] | high) - used) & high == high
