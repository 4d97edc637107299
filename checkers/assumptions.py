"""What findings rest on, as it was measured (architecture.md, section 5).

A lease is safe as long as no voter's clock gains too much on the leader's: while the leader's clock advances by E, the
voter's may advance by E + D at most. Clocks are known by bracketed readings (true, node, true); between two of them a clock
is taken to run straight, its jumps are known from the node's own clock_set events, and what a reading's bracket leaves open
counts against the assumption. Each boot is a clock of its own. Liveness rests on a host that did not stall, links under
control and proved heals; durability on a real file system. A step of that kind whose evidence is indeterminate leaves the
assumption unknown, which voids like a failure does.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec

from checkers.faults import CLOCKS, PROCESSES, Step, steps_of
from checkers.faults import LINKS as LINK_KINDS
from checkers.leaderships import Leadership, Leaderships
from checkers.liveness import WRITE_NS, Window, windows_of
from checkers.monitor import (
    CLOCK_BOUND,
    FILE_SYSTEM,
    HEALS,
    HOST_STALLS,
    LINKS,
    MS,
    Handler,
    Params,
    seconds,
)
from checkers.quorum_loss import leader_bound_ns
from checkers.records.events import BecomeLeader, Boot, ClockSet, StepDown
from checkers.records.schema import (
    AssumptionResult,
    ClockSample,
    FaultRecord,
    HostStall,
    LinkIncident,
    Phase,
    ProcessExited,
)

BRACKET_NS_MAX: Final = 4 * MS
"""A reading that took longer says too little about a bound of D, a few dozen ms: it is left out."""
REASON_MAX: Final = 120
"""Characters of a step's own reason that are repeated."""
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

Status = Literal["holds", "failed", "unknown"]


# ---- clocks, pure --------------------------------------------------------------------------------


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


# ---- the fold ------------------------------------------------------------------------------------


class Assumptions:
    """Fed with the same records as the monitors; `results` at the end, `clocks` for the coverage."""

    def __init__(self, planned: bool = False) -> None:
        """`planned`: the plan itself asks for clocks beyond the bound."""
        self._leaderships = Leaderships()
        self.handlers: dict[type, Handler] = {
            ClockSample: self._sample,
            ClockSet: self._change,
            Boot: self._boot,
            BecomeLeader: self._leaderships.leader,
            StepDown: self._leaderships.step_down,
            ProcessExited: self._leaderships.exited,
            HostStall: self._stall,
            LinkIncident: self._incident,
            Phase: self._phase,
            FaultRecord: self._fault,
        }
        self._planned = planned
        self._params: Params | None = None
        self._samples: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        self._changes: dict[tuple[str, int], list[Boot | ClockSet]] = {}
        self._stalls: list[HostStall] = []
        self._incidents: list[LinkIncident] = []
        self._phases: list[Phase] = []
        self._faults: list[FaultRecord] = []
        self.clocks: ClockMeasures | None = None

    def start(self, params: Params) -> None:
        self._params = params

    def _sample(self, _: str, fact: ClockSample) -> None:
        self._samples.setdefault((fact.node, fact.boot), []).append(
            (fact.before, fact.clock, fact.after)
        )

    def _change(self, node: str, event: ClockSet) -> None:
        self._changes.setdefault((node, event.boot), []).append(event)

    def _boot(self, node: str, event: Boot) -> None:
        self._changes.setdefault((node, event.boot), []).append(event)
        self._leaderships.boot(node, event)

    def _stall(self, _: str, fact: HostStall) -> None:
        self._stalls.append(fact)

    def _incident(self, _: str, fact: LinkIncident) -> None:
        self._incidents.append(fact)

    def _phase(self, _: str, fact: Phase) -> None:
        self._phases.append(fact)

    def _fault(self, _: str, record: FaultRecord) -> None:
        self._faults.append(record)

    def results(self, filesystem: str) -> list[AssumptionResult]:
        """All five. `filesystem`: what run.jsonl says of the nodes' data, "" if it says nothing."""
        steps = steps_of(self._faults)
        end = max((phase.time for phase in self._phases), default=0)
        windows = windows_of(self._phases, end)
        return [
            self._clock_bound(steps),
            self._host_stalls(windows),
            _file_system(filesystem, steps),
            self._links(steps, windows),
            self._heals(steps),
        ]

    # ---- one each ------------------------------------------------------------------------------

    def _clock_bound(self, steps: list[Step]) -> AssumptionResult:
        params = self._params
        assert params is not None, "start comes first"
        length, drift = params.election_timeout_ns, params.drift_ns
        lives = sorted({*self._samples, *self._changes})
        clocks = [
            clock_of(node, boot, self._samples.get((node, boot), []), changes)
            for node, boot in lives
            for changes in [self._changes.get((node, boot), [])]
        ]
        measures = measure_clocks(clocks, self._leaderships.in_order(), length)
        self.clocks = measures
        bound = 1 + drift / length
        statistics: dict[str, Any] = {
            "bound_ratio": round(bound, 4),
            "ratio_max": round(measures.ratio_max, 4),
            "ratio_max_voter_leader": round(measures.ratio_max_voter_leader, 4),
            "step_max_ms": round(measures.jump_max_ns / MS, 3),
            "stretches": measures.stretches,
            "readings": measures.readings,
        }
        worst = measures.worst
        open_ = _indeterminate(steps, CLOCKS)
        status: Status = "holds"
        if worst is None:
            status, because = "unknown", "no two clocks were sampled over one stretch of E"
        else:
            said = (
                f"while the clock of {worst.leader} advanced by {length / MS:g} ms from "
                f"{seconds(int(worst.begin))} on, that of {worst.voter} advanced by up to "
                f"{worst.advance / MS:.1f} ms; the bound is {(length + drift) / MS:g} ms"
            )
            statistics["advance_max_ms"] = round(worst.advance / MS, 3)
            because = f"at most: {said}"
            if worst.advance > length + drift:
                status, because = "failed", said
            elif open_:
                status, because = "unknown", open_
        return AssumptionResult(
            name=CLOCK_BOUND,
            status=status,
            because=because,
            planned=self._planned,
            statistics=statistics,
        )

    def _host_stalls(self, windows: list[Window]) -> AssumptionResult:
        """Only stalls while a heal was being judged count: what rests on this is liveness alone."""
        params = self._params
        assert params is not None, "start comes first"
        limit = params.election_timeout_ns // 4
        length = leader_bound_ns(params.election_timeout_ns, params.drift_ns) + WRITE_NS

        def while_judged(stall: HostStall) -> bool:
            return any(
                stall.time - stall.lag_ns <= min(window.phase.time + length, window.seen_until)
                and stall.time >= window.phase.time
                for window in windows
            )

        judged = [stall for stall in self._stalls if while_judged(stall)]
        statistics = {
            "stalls": len(self._stalls),
            "largest_ms": round(max((s.lag_ns for s in self._stalls), default=0) / MS, 3),
            "largest_while_judged_ms": round(max((s.lag_ns for s in judged), default=0) / MS, 3),
        }
        bad = [stall for stall in judged if stall.lag_ns > limit]
        if bad:
            worst = max(bad, key=lambda stall: stall.lag_ns)
            because = (
                f"the harness' loop came {worst.lag_ns / MS:.0f} ms late at {seconds(worst.time)}, while a "
                f"heal was judged; the limit is E/4 = {limit / MS:g} ms"
            )
            return AssumptionResult(
                name=HOST_STALLS, status="failed", because=because, statistics=statistics
            )
        quiet = f"no stall above {limit / MS:g} ms while a heal was judged"
        because = quiet if windows else "no heal was judged"
        return AssumptionResult(
            name=HOST_STALLS, status="holds", because=because, statistics=statistics
        )

    def _links(self, steps: list[Step], windows: list[Window]) -> AssumptionResult:
        statistics = {"incidents": len(self._incidents)}
        for incident in self._incidents:
            hit = any(
                incident.begin <= window.seen_until and incident.time >= window.phase.time
                for window in windows
            )
            if not incident.repaired or hit:
                when = (
                    "and was not repaired" if not incident.repaired else "while a heal was judged"
                )
                because = f"link server {incident.server}: {incident.because}, {when}"
                return AssumptionResult(
                    name=LINKS, status="failed", because=because, statistics=statistics
                )
        # A cut that leaked shows when it is lifted. (A rule for frames that met none is a matter of coverage.)
        open_ = _indeterminate(steps, frozenset({"partition", "latency"}), "healed")
        return AssumptionResult(
            name=LINKS,
            status="unknown" if open_ else "holds",
            because=open_,
            statistics=statistics,
        )

    def _heals(self, steps: list[Step]) -> AssumptionResult:
        kinds = PROCESSES | LINK_KINDS - {"frames"}
        open_ = [text for text in [_indeterminate(steps, kinds, "healed")] if text]
        open_ += [
            f"{phase.name} was not proved complete" for phase in self._phases if not phase.proved
        ]
        return AssumptionResult(
            name=HEALS,
            status="unknown" if open_ else "holds",
            because="; ".join(open_),
            statistics={"healed": sum(step.healed is not None for step in steps)},
        )


def _file_system(filesystem: str, steps: list[Step]) -> AssumptionResult:
    open_ = _indeterminate(steps, frozenset({"power_loss"}))
    status: Status = "holds"
    because = f"the nodes' data is on {filesystem}"
    if filesystem in IN_MEMORY:
        status = "failed"
        because = f"the nodes' data is on {filesystem}, which is memory: nothing there is durable"
    elif not filesystem:
        status, because = "unknown", "it was not recorded where the nodes' data is"
    elif open_:
        status, because = "unknown", open_
    return AssumptionResult(name=FILE_SYSTEM, status=status, because=because)


def _short(text: str) -> str:
    return text if len(text) <= REASON_MAX else text[:REASON_MAX] + "..."


def _indeterminate(steps: list[Step], kinds: frozenset[str], action: str = "") -> str:
    """Which steps of these kinds were indeterminate (installed or healed; `action` picks one), in words; ""."""
    found = [
        f"{step.kind} {step.step} {record.action}: {_short(record.because or 'no reason given')}"
        for step in steps
        if step.kind in kinds
        for record in (step.installed, step.healed)
        if record is not None
        and record.outcome == "indeterminate"
        and (not action or record.action == action)
    ]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"a step is indeterminate: {found[0]}{more}" if found else ""
