"""What findings rest on, as it was measured.

A lease is safe as long as no voter's clock gains too much on the leader's: while the leader's clock advances by E, the
voter's may advance by E + D at most (clocks.py). Liveness rests on a host that did not stall, links under control and proved
heals; durability on a real file system; everything that majorities decide on there being one group, which an operator's reset
of members ends. A step of that kind whose evidence is indeterminate leaves the assumption unknown, which voids like a failure
does.
"""

from __future__ import annotations

import textwrap
from typing import Any, Final, Literal

from checkers.clocks import ClockMeasures, clock_of, measure_clocks
from checkers.faults import CLOCKS, PROCESSES, Step, steps_of
from checkers.faults import LINKS as LINK_KINDS
from checkers.leaderships import Leaderships
from checkers.liveness import WRITE_NS, Window, longest_bound_ns, windows_of
from checkers.monitor import (
    CLOCK_BOUND,
    FILE_SYSTEM,
    HEALS,
    HOST_STALLS,
    LINKS,
    MS,
    ONE_GROUP,
    Handler,
    Params,
    seconds,
)
from checkers.records.events import (
    BecomeLeader,
    Boot,
    ClockSet,
    ConfChange,
    ElectionTimeout,
    StepDown,
)
from checkers.records.schema import (
    AssumptionResult,
    ClockSample,
    FaultRecord,
    HostStall,
    LinkIncident,
    Phase,
    ProcessExited,
)

REASON_MAX: Final = 120
"""Characters of a step's own reason that are repeated."""
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

Status = Literal["holds", "failed", "unknown"]


# ---- the fold ------------------------------------------------------------------------------------


class Assumptions:
    """Fed with the same records as the monitors; `results` at the end, `clocks` for the coverage."""

    def __init__(self, planned: bool = False) -> None:
        """`planned`: the plan itself asks for clocks beyond the bound."""
        self._leaderships = Leaderships()
        self.handlers: dict[type, Handler] = {
            ClockSample: self._sample,
            ClockSet: self._change,
            ConfChange: self._configured,
            ElectionTimeout: self._timeout,
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
        self._timeouts: list[ElectionTimeout] = []
        self._resets: list[tuple[str, ConfChange]] = []
        self._witnesses = False
        self.clocks: ClockMeasures | None = None

    def start(self, params: Params) -> None:
        self._params = params

    def _configured(self, node: str, event: ConfChange) -> None:
        self._witnesses |= bool(event.witnesses)
        if event.stage == "reset":
            self._resets.append((node, event))

    def _timeout(self, _: str, event: ElectionTimeout) -> None:
        self._timeouts.append(event)

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
        """All six. `filesystem`: what run.jsonl says of the nodes' data, "" if it says nothing."""
        steps = steps_of(self._faults)
        end = max((phase.time for phase in self._phases), default=0)
        windows = windows_of(self._phases, end)
        return [
            self._clock_bound(steps),
            self._host_stalls(windows),
            _file_system(filesystem, steps),
            self._links(steps, windows),
            self._heals(steps),
            self._one_group(),
        ]

    # ---- one each ------------------------------------------------------------------------------

    def _clock_bound(self, steps: list[Step]) -> AssumptionResult:
        params = self._params
        assert params is not None, "start comes first"
        # A leader claims for its E, a voter refuses for its E + D: where these were reset, the worst pair counts.
        told = self._timeouts
        length = max([params.election_timeout_ns, *(one.election_timeout_ms * MS for one in told)])
        promise = params.election_timeout_ns + params.drift_ns
        promise = min(
            [promise, *((one.election_timeout_ms + one.max_clock_drift_ms) * MS for one in told)]
        )
        drift = promise - length
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
        length = longest_bound_ns(params, self._timeouts, self._witnesses) + WRITE_NS

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
        """Every heal by itself, or else all of them together afterwards: `liveness_all` is proved by every node and link."""
        kinds = PROCESSES | LINK_KINDS - {"frames"}
        proofs = [phase for phase in self._phases if phase.proved and phase.name == "liveness_all"]
        proved = max((phase.time for phase in proofs), default=-1)
        later = [step for step in steps if step.healed is None or step.healed.time_end > proved]
        open_ = [text for text in [_indeterminate(later, kinds, "healed")] if text]
        open_ += [
            f"{phase.name} was not proved complete" for phase in self._phases if not phase.proved
        ]
        return AssumptionResult(
            name=HEALS,
            status="unknown" if open_ else "holds",
            because="; ".join(open_),
            statistics={"healed": sum(step.healed is not None for step in steps)},
        )

    def _one_group(self) -> AssumptionResult:
        """A reset of members asks nobody else: two groups may come of it, each with leaders and entries of its own."""
        statistics = {"resets": len(self._resets)}
        if not self._resets:
            return AssumptionResult(name=ONE_GROUP, status="holds", statistics=statistics)
        node, event = self._resets[0]
        return AssumptionResult(
            name=ONE_GROUP,
            status="failed",
            because=f"an operator reset the members of {node} to {' '.join(event.members)} at {seconds(event.t0)}",
            # Nodes never do that by themselves, and in a run the plan is the operator.
            planned=True,
            statistics=statistics,
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
    """Cut between words, so that no half of a name or number passes for the whole."""
    return textwrap.shorten(text, REASON_MAX, placeholder=" ...")


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
