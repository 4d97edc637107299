"""Keys that retire: after a bounded number of operations and of unknown outcomes a fresh one takes the place.

No part of a history grows without bound. The keys are shared by the clients of one run.
"""

from __future__ import annotations

from workloads.generator import Completion


class Keys:
    """`count` keys in use at a time."""

    def __init__(self, count: int, ops_per_key: int, infos_per_key: int) -> None:
        self._ops_per_key = ops_per_key
        self._infos_per_key = infos_per_key
        self._generation = [0] * count
        self._ops = [0] * count
        self._infos = [0] * count
        self.count = count
        self.used: list[str] = [self.name(slot) for slot in range(count)]

    def name(self, slot: int) -> str:
        return f"k{slot}.{self._generation[slot]}"

    def take(self, slot: int) -> str:
        """The key of this slot for one more operation."""
        if self._ops[slot] >= self._ops_per_key or self._infos[slot] >= self._infos_per_key:
            self._generation[slot] += 1
            self._ops[slot] = self._infos[slot] = 0
            self.used.append(self.name(slot))
        self._ops[slot] += 1
        return self.name(slot)

    def update(self, completion: Completion) -> None:
        """An outcome that nobody knows brings its key nearer to its end; a read's costs nothing."""
        key = completion.op.key
        assert key is not None
        if completion.kind == "info" and completion.op.f != "read":
            slot = int(key[1:].split(".")[0])
            if key == self.name(slot):
                self._infos[slot] += 1
