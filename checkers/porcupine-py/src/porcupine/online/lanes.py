"""How many operations of unknown outcome of each kind: many small counts in one whole number.

Operations of one kind do the same in every state, so which of them was used does not matter, only how many. A vector
of counts is packed, one lane a kind, so that "nowhere more than" is one subtraction: the top bit of every lane, set
before it, stays set exactly where no borrow passed (Lamport, "Multiple byte processing with full-word instructions",
1975).
"""

from __future__ import annotations

from typing import Final

LANE_BITS: Final = 20
COUNT_MASK: Final = (1 << LANE_BITS - 1) - 1
"""The most that a lane may count to: its top bit stays free."""


class Lanes:
    """Which kind counts where. `order` only grows between two calls of `keep`."""

    __slots__ = ("_free", "_place", "_places", "high", "order")

    def __init__(self) -> None:
        self.order: list[tuple[int, int]] = []  # (kind, shift)
        self.high = 0  # the top bit of every lane
        self._place: dict[int, int] = {}
        self._free: list[int] = []
        self._places = 0

    def __len__(self) -> int:
        return len(self.order)

    def shift(self, kind: int) -> int:
        """By how many bits the count of this kind is shifted; a lane is given to it if it has none."""
        shift = self._place.get(kind)
        if shift is None:
            if self._free:
                shift = self._free.pop()
            else:
                shift = self._places * LANE_BITS
                self._places += 1
            self._place[kind] = shift
            self.order.append((kind, shift))
            self.high |= 1 << shift + LANE_BITS - 1
        return shift

    def keep(self, counts: int) -> None:
        """Take the lane from each kind that counts nothing in `counts`."""
        order = self.order
        self.order = []
        for kind, shift in order:
            if counts >> shift & COUNT_MASK:
                self.order.append((kind, shift))
            else:
                del self._place[kind]
                self._free.append(shift)
                self.high &= ~(1 << shift + LANE_BITS - 1)

    def counted(self, counts: int) -> list[tuple[int, int]]:
        """The kinds that count something, and how much."""
        found = ((kind, counts >> shift & COUNT_MASK) for kind, shift in self.order)
        return [(kind, count) for kind, count in found if count]

    def bytes_each(self) -> int:
        """What one vector takes beyond a small number."""
        return self._places * LANE_BITS // 8
