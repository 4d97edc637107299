"""How far one node's clock came while another's advanced by E, as it was measured. Pure.

Clocks are known by bracketed readings (true, node, true); between two of them a clock is taken to run straight, its jumps are
known from the node's own clock_set events, and what a reading's bracket leaves open counts against the assumption. Each boot
is a clock of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

import msgspec

from checkers.leaderships import Leadership
from checkers.monitor import MS
from checkers.records.events import Boot, ClockSet

BRACKET_NS_MAX: Final = 4 * MS
"""A reading that took longer says too little about a bound of D, a few dozen ms: it is left out."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The node's clock, less its jumps, was `clock` at the true time `time`, give or take `error` (ns)."""

    time: float
    clock: float
    error: float


class Clock(msgspec.Struct, frozen=True):
    """One life's clock: readings in order, and its forward jumps as (true time, ns)."""

    node: str
    boot: int
    readings: list[Reading]
    jumps: list[tuple[int, int]]


class Gain(msgspec.Struct, frozen=True):
    """While the clock of `leader` advanced by E from true time `begin` on, that of `voter` advanced by `advance` ns.

    `advance` is the most that the readings allow, jumps included; `ratio` is rho_F / rho_L as measured, without either.
    """

    leader: str
    voter: str
    begin: float
    end: float
    advance: float
    ratio: float


def clock_of(
    node: str, boot: int, samples: list[tuple[int, int, int]], changes: list[Boot | ClockSet]
) -> Clock:
    """A life's clock from bracketed (before, clock, after) and from what it says of its own changes."""
    jumps: list[tuple[int, int]] = []
    total = 0
    readings: list[Reading] = []
    for change in changes:
        if isinstance(change, Boot):
            total = change.offset_ns
        elif change.offset_ns != total:
            jumps.append((change.t0, change.offset_ns - total))
            total = change.offset_ns
        # The node read its clock between these two instants: as good as a sample, and at the very corner.
        if change.t1 - change.t0 <= BRACKET_NS_MAX:
            jumped = sum(size for at, size in jumps)
            readings.append(_reading(change.t0, change.clock - jumped, change.t1))
    for before, clock, after in samples:
        if not 0 <= after - before <= BRACKET_NS_MAX:
            continue
        if any(before < at < after for at, _ in jumps):
            continue  # Nobody knows on which side of the jump the clock was read.
        readings.append(
            _reading(before, clock - sum(size for at, size in jumps if at <= before), after)
        )
    readings.sort(key=lambda reading: reading.time)
    apart = [reading for reading, last in zip(readings, [None, *readings], strict=False)
             if last is None or reading.time > last.time]  # fmt: skip
    return Clock(node, boot, apart, jumps)


def _reading(before: int, clock: int, after: int) -> Reading:
    return Reading((before + after) / 2, clock, (after - before) / 2)


class _Line:
    """A clock as a function of true time, straight between readings; asked between its first and its last."""

    def __init__(self, readings: list[Reading]) -> None:
        self.times = [reading.time for reading in readings]
        self.clocks = [reading.clock for reading in readings]
        pairs = list(pairwise(readings))
        self._rates = [(b.clock - a.clock) / (b.time - a.time) for a, b in pairs]
        self._errors = [
            max(a.error, b.error) * max(rate, 0.0)
            for (a, b), rate in zip(pairs, self._rates, strict=True)
        ]
        self._last = len(pairs)

    def at(self, time: float) -> tuple[float, float]:
        """(clock, error on the clock) at a true time."""
        position = bisect_right(self.times, time, 1, self._last) - 1
        clock = self.clocks[position] + (time - self.times[position]) * self._rates[position]
        return clock, self._errors[position]

    def when(self, clock: float) -> float:
        """The true time at which the clock stood there."""
        position = bisect_right(self.clocks, clock, 1, self._last) - 1
        rate = self._rates[position]
        return self.times[position] + ((clock - self.clocks[position]) / rate if rate > 0 else 0.0)


def gains(leader: Clock, voter: Clock, length_ns: int) -> list[Gain]:
    """How far the voter's clock came in stretches of `length_ns` on the leader's.

    Both run straight between readings, so the most is found where a stretch begins or ends at a reading, or at a
    jump of the voter's.
    """
    if len(leader.readings) < 2 or len(voter.readings) < 2:
        return []
    ours, theirs = _Line(leader.readings), _Line(voter.readings)
    first = max(ours.times[0], theirs.times[0])
    last = min(ours.times[-1], theirs.times[-1])
    if last <= first:
        return []
    low, high = ours.at(first)[0], ours.at(last)[0]
    corners = {time for time in (*ours.times, *theirs.times) if first <= time <= last}
    corners |= {float(at) for at, _ in voter.jumps if first <= at <= last}
    begins: set[float] = set()
    for time in corners:
        clock = ours.at(time)[0]
        if clock + length_ns <= high:
            begins.add(time)
        if clock - length_ns >= low:
            begins.add(ours.when(clock - length_ns))
    found = []
    jumps = voter.jumps
    for begin in sorted(begins):
        clock, error = ours.at(begin)
        end = ours.when(clock + length_ns)
        _, error_end = ours.at(end)
        came, voter_error = theirs.at(begin)
        went, voter_error_end = theirs.at(end)
        # What is open about the leader's clock is open about the stretch's two ends, in the voter's time.
        ratio = (went - came) / length_ns
        slack = voter_error + voter_error_end + (error + error_end) * max(ratio, 0.0)
        jumped = sum(size for at, size in jumps if begin <= at <= end) if jumps else 0
        found.append(Gain(leader.node, voter.node, begin, end, went - came + slack + jumped, ratio))
    return found


class ClockMeasures(msgspec.Struct, frozen=True):
    """All pairs of one run."""

    worst: Gain | None
    ratio_max: float
    ratio_max_voter_leader: float
    jump_max_ns: int
    stretches: int
    readings: int


def measure_clocks(
    clocks: list[Clock], leaderships: list[Leadership], length_ns: int
) -> ClockMeasures:
    """The worst gain, and the largest ratios: over all pairs, and over those whose first led during the stretch."""
    worst: Gain | None = None
    ratio = by_leader = 0.0
    stretches = 0
    for leader in clocks:
        led = [one for one in leaderships if one.node == leader.node]
        for voter in clocks:
            if voter.node == leader.node:
                continue
            for gain in gains(leader, voter, length_ns):
                stretches += 1
                if worst is None or gain.advance > worst.advance:
                    worst = gain
                ratio = max(ratio, gain.ratio)
                if gain.ratio > by_leader and any(
                    one.begin <= gain.begin and (one.end is None or gain.end <= one.end)
                    for one in led
                ):
                    by_leader = gain.ratio
    jumps = [size for clock in clocks for _, size in clock.jumps]
    return ClockMeasures(
        worst,
        ratio,
        by_leader,
        max(jumps, default=0),
        stretches,
        sum(len(clock.readings) for clock in clocks),
    )
