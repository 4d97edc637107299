"""Who led when, by the nodes' own events: the ground on which liveness, clocks and coverage stand.

A leadership begins with become_leader and ends when that node says so (step_down), begins another, or its
life ends. A leader that is cut off goes on leading until it notices: that is what leases are about, so
leaderships of different terms overlap. Times are true time.
"""

from __future__ import annotations

import msgspec

from checkers.monitor import Handler
from checkers.records.events import BecomeLeader, Boot, StepDown
from checkers.records.schema import ProcessExited


class Leadership(msgspec.Struct):
    """`end` is None while it lasts."""

    node: str
    term: int
    begin: int
    event: BecomeLeader
    end: int | None = None

    def covers(self, begin: int, end: int) -> bool:
        return self.begin <= begin and (self.end is None or end <= self.end)


class Leaderships:
    """A fold that others hold: give its handlers the records, ask at the end."""

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            BecomeLeader: self.leader,
            StepDown: self.step_down,
            Boot: self.boot,
            ProcessExited: self.exited,
        }
        self._all: list[Leadership] = []
        self._current: dict[str, Leadership] = {}
        self._exits: dict[tuple[str, int], int] = {}

    def leader(self, node: str, event: BecomeLeader) -> None:
        self._ends(node, event.t0)
        one = Leadership(node, event.term, event.t0, event)
        self._all.append(one)
        self._current[node] = one

    def step_down(self, node: str, event: StepDown) -> None:
        self._ends(node, event.t0)

    def boot(self, node: str, event: Boot) -> None:
        self._ends(node, event.t0)

    def exited(self, _: str, fact: ProcessExited) -> None:
        self._exits[(fact.node, fact.boot)] = fact.time

    def _ends(self, node: str, time: int) -> None:
        current = self._current.pop(node, None)
        if current is not None:
            current.end = time

    def in_order(self) -> list[Leadership]:
        """All of them, by begin."""
        for one in self._all:
            died = self._exits.get((one.node, one.event.boot))
            if died is not None and died >= one.begin:
                one.end = died if one.end is None else min(one.end, died)
        return sorted(self._all, key=lambda one: (one.begin, one.term))


def latest(leaderships: list[Leadership], time: int) -> Leadership | None:
    """The one of the highest term that had begun by `time`."""
    begun = [one for one in leaderships if one.begin <= time]
    return max(begun, key=lambda one: one.term, default=None)
