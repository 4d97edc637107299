"""All nodes' clocks, read again and again while a run lasts: the facts that the assumption "clock bound" is judged by.

A run that ends early, or whose host was so busy that most readings took too long to be of use, may not have measured what
its findings rest on. So `until_measured` reads on at the end: until the judge has a stretch of E for every two nodes.
"""

from __future__ import annotations

from itertools import permutations

import trio

from checkers.clocks import clock_of, gains
from harness.faults.base import Scene
from harness.faults.clock import read_clock
from harness.recorder import FactLog

PACE_S = 0.25
CLOSE_PACE_S = 0.05
"""While a run waits for it: of two readings that are good, at least one must come soon."""


class ClockSampler:
    """Samples of one run. `run` goes on for ever; `length_ns` is E."""

    def __init__(self, scene: Scene, facts: FactLog, length_ns: int) -> None:
        self._scene = scene
        self._facts = facts
        self._length_ns = length_ns
        self._samples: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        self._open = set(permutations(scene.cluster.names, 2))

    async def run(self) -> None:
        while True:
            await self._sample()
            await trio.sleep(PACE_S)

    async def until_measured(self, deadline_s: float) -> list[str]:
        """Read on until every two running nodes' clocks are known over one stretch of E; who is not, at the deadline."""
        with trio.move_on_after(deadline_s):
            while self._missing():
                await self._sample()
                await trio.sleep(CLOSE_PACE_S)
        return self._missing()

    async def _sample(self) -> None:
        async def one(name: str) -> None:
            boot = members[name].boot
            reading = await read_clock(self._scene, name)
            if reading is not None and boot == members[name].boot:
                self._facts.clock(name, boot, *reading)
                if self._open:
                    self._samples.setdefault((name, boot), []).append(reading)

        members = self._scene.cluster.members
        async with trio.open_nursery() as nursery:
            for name in self._scene.cluster.names:
                nursery.start_soon(one, name)

    def _missing(self) -> list[str]:
        """Running nodes whose clocks are not known yet, in the judge's own terms."""
        clocks = [clock_of(node, boot, taken, []) for (node, boot), taken in self._samples.items()]
        for one, other in permutations(clocks, 2):
            if (one.node, other.node) in self._open and gains(one, other, self._length_ns):
                self._open.discard((one.node, other.node))
        if not self._open:
            self._samples.clear()
        members = self._scene.cluster.members
        return sorted(
            {
                name
                for pair in self._open
                if all(members[name].running for name in pair)
                for name in pair
            }
        )
