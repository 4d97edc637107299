"""Two trees over an array for the check of stacks: how often places are covered, and which intervals hold a place."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


class Counts:
    """By how many intervals each place is covered; places that are covered by few are asked for once."""

    def __init__(self, places: int) -> None:
        self._base = 1 << max(places - 1, 0).bit_length()
        self._add = [0] * (2 * self._base)
        self._name = [0] * (2 * self._base)
        self._least: list[float] = [0.0] * (2 * self._base)
        for place in range(places, self._base):
            self._least[self._base + place] = inf
        for node in range(self._base - 1, 0, -1):
            self._least[node] = min(self._least[2 * node], self._least[2 * node + 1])

    def add(self, start: int, end: int, by: int, name: int) -> None:
        """Cover places start to end - 1 `by` times more, with an interval of this name."""
        if start >= end:
            return
        left, right = start + self._base, end + self._base - 1
        low, high = left, right
        name *= by
        while left <= right:
            if left & 1:
                self._put(left, by, name)
                left += 1
            if not right & 1:
                self._put(right, by, name)
                right -= 1
            left >>= 1
            right >>= 1
        self._mend(low)
        self._mend(high)

    def _put(self, node: int, by: int, name: int) -> None:
        self._add[node] += by
        self._name[node] += name
        self._least[node] += by

    def _mend(self, node: int) -> None:
        least, add = self._least, self._add
        while (node := node >> 1) > 0:
            least[node] = min(least[2 * node], least[2 * node + 1]) + add[node]

    def pop(self, most: int) -> int | None:
        """A place that is covered at most so often, never to be given again; None if there is none left."""
        if self._least[1] > most:
            return None
        node, left = 1, most
        while node < self._base:
            left -= self._add[node]
            node = 2 * node + (self._least[2 * node] > left)
        self._least[node] = inf
        self._mend(node)
        return node - self._base

    def only(self, place: int) -> int:
        """The name of the one interval that covers a place; 0 when none does."""
        node, name = place + self._base, 0
        while node:
            name += self._name[node]
            node >>= 1
        return name


class Ends:
    """The ends of intervals that stand in the order of their starts; those that reach a place are taken out."""

    def __init__(self, ends: Sequence[float]) -> None:
        self._base = 1 << max(len(ends) - 1, 0).bit_length()
        self._most = [-inf] * (2 * self._base)
        self._most[self._base : self._base + len(ends)] = ends
        for node in range(self._base - 1, 0, -1):
            self._most[node] = max(self._most[2 * node], self._most[2 * node + 1])

    def take(self, start: int, stop: int, reach: float) -> list[int]:
        """Take out all in [start, stop) that end at `reach` or later; their numbers."""
        found: list[int] = []
        most, base = self._most, self._base
        left, right = start + base, stop + base - 1
        todo: list[int] = []
        while left <= right:
            if left & 1:
                todo.append(left)
                left += 1
            if not right & 1:
                todo.append(right)
                right -= 1
            left >>= 1
            right >>= 1
        while todo:
            node = todo.pop()
            if most[node] < reach:
                continue
            if node < base:
                todo += (2 * node, 2 * node + 1)
                continue
            found.append(node - base)
            most[node] = -inf
            while (node := node >> 1) > 0:
                most[node] = max(most[2 * node], most[2 * node + 1])
        return found
