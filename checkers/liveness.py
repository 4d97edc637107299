"""P-LV: with faults healed the group comes back (the bound is measured: docs/measured.md).

Twice a heal is proved: first of a quorum, then of all. From each of these moments on a leader must be there
within 3(E+D) + 2E, and a write acknowledged within one second more; each is judged once. With pre-vote the term
of a node that hears nobody grows by at most 1 in that time: it may have won its pre-vote just before the cut. A
node that is only deaf, whose own requests get through, stands for election at most once: as an equal it may take
over and then leads, with an old log it wins no pre-vote. Leaders without a quorum and groups without a leader are
judged while faults go on too (quorum_loss.py). How often leaders change is told, not judged.

The bound is for the group and the lengths that there are: E and D are the longest that any node was told, E counts twice where
a witness promises for 2E. It is not asked of nodes that hold no majority of the members, nor a write of those that are
read-only, nor that a group of one keeps its term.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import msgspec

from checkers.faults import PROCESSES, Step, steps_of
from checkers.leaderships import Leadership, Leaderships
from checkers.members import Members
from checkers.monitor import (
    HEALS,
    HOST_STALLS,
    LINKS,
    MS,
    SECOND,
    Completeness,
    Handler,
    Params,
    Result,
    conclude,
    pointer,
    seconds,
)
from checkers.quorum_loss import (
    GRACE_NS,
    cut_off,
    deaf,
    disturbances,
    leader_bound_ns,
    orphaned,
    stuck,
)
from checkers.records.events import (
    BecomeLeader,
    Boot,
    ConfChange,
    ElectionTimeout,
    Readonly,
    StepDown,
    TermChange,
)
from checkers.records.fitness import Operation
from checkers.records.schema import (
    Evidence,
    FaultRecord,
    Finding,
    HostStall,
    LinkIncident,
    Phase,
    ProcessExited,
)

WRITE_NS: Final = SECOND
RESET: Final = "reset_peers"
"""An operator's reset of members takes a term of its own."""
HEALED: Final = ("liveness_quorum", "liveness_all")
OWN_ACCORD: Final = ("candidate", "pre_vote")
"""Reasons of a term's change that are the node's own, not another's."""


def longest_bound_ns(params: Params, told: list[ElectionTimeout], witnesses: bool) -> int:
    """The bound for the longest E and E + D that any node was told; a witness's promise lasts 2E + D."""
    election, drift = params.election_timeout_ns, params.drift_ns
    longest = max([election, *(one.election_timeout_ms * MS for one in told)])
    promise = max(
        [
            election + drift,
            *((one.election_timeout_ms + one.max_clock_drift_ms) * MS for one in told),
        ]
    )
    if witnesses:
        return leader_bound_ns(2 * longest, promise - longest)
    return leader_bound_ns(longest, promise - longest)


class Window(msgspec.Struct, frozen=True):
    """A heal that is judged: from `begin` on, `nodes` are healed; observed until `seen_until`."""

    phase: Phase
    seen_until: int


def windows_of(phases: list[Phase], end: int) -> list[Window]:
    """The two heals, each with what was recorded after it: writes come until the final reads."""
    windows = []
    for position, phase in enumerate(phases):
        if phase.name in HEALED:
            later = phases[position + 1 :]
            windows.append(Window(phase, later[0].time if later else end))
    return windows


class Liveness:
    property = "P-LV"
    title = "liveness"

    def __init__(self) -> None:
        self._leaderships = Leaderships()
        self._members = Members()
        self.handlers: dict[type, Handler] = {
            Phase: self._phase,
            FaultRecord: self._fault,
            LinkIncident: self._incident,
            HostStall: self._stall,
            TermChange: self._term,
            Operation: self._operation,
            BecomeLeader: self._leader,
            StepDown: self._leaderships.step_down,
            Boot: self._boot,
            ConfChange: self._configured,
            ElectionTimeout: self._timeout,
            Readonly: self._readonly,
            ProcessExited: self._leaderships.exited,
        }
        self.findings: list[Finding] = []
        self._params: Params | None = None
        self._phases: list[Phase] = []
        self._faults: list[FaultRecord] = []
        self._incidents: list[LinkIncident] = []
        self._stalls: list[HostStall] = []
        self._terms: dict[str, list[TermChange]] = {}
        self._writes: list[tuple[int, Operation]] = []
        self._writes_asked = False
        self._timeouts: list[ElectionTimeout] = []
        self._witnesses = False
        self._read_only: dict[str, list[tuple[int, bool]]] = {}
        """Of each node: since when it was read-only, or not."""
        self._end = 0
        self._history_end = 0

    def start(self, params: Params) -> None:
        self._params = params

    def _phase(self, _: str, fact: Phase) -> None:
        self._phases.append(fact)
        self._end = max(self._end, fact.time)

    def _fault(self, _: str, record: FaultRecord) -> None:
        self._faults.append(record)

    def _incident(self, _: str, fact: LinkIncident) -> None:
        self._incidents.append(fact)

    def _stall(self, _: str, fact: HostStall) -> None:
        self._stalls.append(fact)

    def _term(self, node: str, event: TermChange) -> None:
        self._terms.setdefault(node, []).append(event)

    def _leader(self, node: str, event: BecomeLeader) -> None:
        self._leaderships.leader(node, event)
        self._end = max(self._end, event.t0)

    def _boot(self, node: str, event: Boot) -> None:
        self._leaderships.boot(node, event)
        self._members.boot(node, event)
        self._witnesses |= bool(event.witnesses)
        if node in self._read_only:
            self._read_only[node].append((event.t0, False))

    def _configured(self, node: str, event: ConfChange) -> None:
        self._members.change(node, event)
        self._witnesses |= bool(event.witnesses)

    def _timeout(self, _: str, event: ElectionTimeout) -> None:
        self._timeouts.append(event)

    def _readonly(self, node: str, event: Readonly) -> None:
        self._read_only.setdefault(node, []).append((event.t0, event.readonly))

    def _operation(self, _: str, operation: Operation) -> None:
        invoke, completion = operation.invoke, operation.completion
        seen = invoke.time if completion is None else completion.time
        if seen > self._history_end:
            self._history_end = seen
        if invoke.f == "read":
            return
        self._writes_asked = True
        if completion is not None and completion.type == "ok":
            self._writes.append((completion.time, operation))

    def finish(self, completeness: Completeness) -> Result:
        params = self._params
        assert params is not None, "start comes first"
        bound = longest_bound_ns(params, self._timeouts, self._witnesses)
        leaderships = self._leaderships.in_order()
        statistics: dict[str, Any] = {"bound_ms": round(bound / MS, 3)}
        left_out: list[str] = []
        judged: set[str] = set()
        self._end = max(self._end, self._history_end)
        windows = windows_of(self._phases, self._end)
        for window in windows:
            because = self._heal(window, bound, leaderships, params, completeness, statistics)
            if because:
                left_out.append(f"{window.phase.name} not judged: {because}")
            else:
                judged.add(window.phase.name)
        if not windows:
            left_out.append("the run did not come to a heal")
        if params.prevote and params.node_events:
            statistics["isolations"] = self._isolations(params)
        if params.node_events and not completeness.events_lack:
            steps = steps_of(self._faults)
            held_up = disturbances(self._incidents, self._stalls, params)
            found, looked = orphaned(steps, held_up, leaderships, params)
            self.findings += found
            statistics["leaders_lost"] = looked
            if params.check_quorum:
                found, looked = stuck(steps, held_up, leaderships, params)
                self.findings += found
                statistics["leaders_cut_off"] = looked
        statistics["heals_judged"] = len(judged)
        if leaderships and self._end > 0:
            changes = sum(a.node != b.node for a, b in pairwise(leaderships))
            statistics["leader_changes_per_minute"] = round(changes * 60 * SECOND / self._end, 2)
        # Without the heal of all it is not said that it holds; without the quorum's, which is told, it is.
        return conclude(self.findings, statistics, HEALED[-1] in judged, "; ".join(left_out))

    def _heal(
        self,
        window: Window,
        bound: int,
        leaderships: list[Leadership],
        params: Params,
        completeness: Completeness,
        statistics: dict[str, Any],
    ) -> str:
        """Judge one heal; why it was not judged, else ""."""
        phase = window.phase
        if not phase.proved:
            return "the heal was not proved"
        begin = phase.time
        nodes = phase.nodes or list(params.nodes)
        group = self._members.at(begin)
        if group is not None and not group.agrees(nodes):
            return f"{', '.join(nodes)} are no majority of the members then, {', '.join(group.members)}"
        proof = Evidence(
            "run.jsonl", phase.index, begin, f"{phase.name}: {', '.join(nodes)} healed"
        )
        if params.node_events:
            since = [
                max(one.begin, begin)
                for one in leaderships
                if one.node in nodes and (one.end is None or one.end > begin)
            ]
            led = min(since, default=None)
            if led is None or led > begin + bound:
                if window.seen_until < begin + bound:
                    return "it was not watched for the whole bound"
                if completeness.events_lack:
                    return completeness.events_lack
                after = (
                    "none came" if led is None else f"the first came after {seconds(led - begin)}"
                )
                self._late(f"no leader within {seconds(bound)} of {phase.name}: {after}", proof)
                return ""
            statistics[f"{phase.name}_leader_after_ms"] = round((led - begin) / MS, 3)
        if not self._writes_asked:
            return "" if params.node_events else "the workload writes nothing"
        silent = self._read_only_between(begin, window.seen_until)
        if silent and not (
            group is not None and group.agrees([n for n in nodes if n not in silent])
        ):
            return f"{', '.join(silent)} were read-only"
        written = min((time for time, _ in self._writes if time >= begin), default=None)
        if written is None or written > begin + bound + WRITE_NS:
            # Clients go on trying: a history that ends before the bound is over lacks its end.
            if window.seen_until < begin + bound + WRITE_NS:
                return "it was not watched for the whole bound"
            if self._history_end < begin + bound + WRITE_NS:
                return "the history ends before the bound is over"
            after = "none was" if written is None else f"the first after {seconds(written - begin)}"
            self._late(
                f"no write was acknowledged within {seconds(bound + WRITE_NS)} of {phase.name}: {after}",
                proof,
            )
            return ""
        statistics[f"{phase.name}_write_after_ms"] = round((written - begin) / MS, 3)
        return ""

    def _read_only_between(self, begin: int, end: int) -> list[str]:
        found = []
        for node, told in self._read_only.items():
            before = [readonly for time, readonly in told if time <= begin]
            if (before and before[-1]) or any(
                readonly and begin < time <= end for time, readonly in told
            ):
                found.append(node)
        return found

    def _late(self, text: str, proof: Evidence) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[proof],
                time=proof.time,
                rests_on=[HOST_STALLS, HEALS, LINKS],
            )
        )

    def _isolations(self, params: Params) -> int:
        """Judge how terms grew on nodes that heard nobody; how many such times there were."""
        steps = steps_of(self._faults)
        count = 0
        for step in steps:
            healed = step.healed
            if (
                step.kind != "partition"
                or not step.took_effect
                or healed is None
                or healed.outcome != "installed"
            ):
                continue
            begin, end = step.complete + GRACE_NS, healed.time_begin
            alone = cut_off(step, params.nodes)
            for node in deaf(step, params.nodes):
                group = self._members.at(begin)
                single = group is not None and group.members == (node,)
                if single or self._disturbed(node, steps, begin, end):
                    continue
                count += 1
                grown = [
                    event
                    for event in self._terms.get(node, ())
                    if begin < event.t0 < end and event.reason != RESET
                ]
                if node not in alone:
                    self._stands(node, step, [one for one in grown if one.reason in OWN_ACCORD])
                elif sum(event.term - event.previous for event in grown) > 1:
                    self.findings.append(
                        Finding(
                            property=self.property,
                            text=f"{node} was cut off from all others for {seconds(end - begin)} and "
                            f"went from term {grown[0].previous} to {grown[-1].term}: with pre-vote "
                            "its term grows by at most 1",
                            evidence=[
                                pointer(node, event, f"{node} goes to term {event.term}")
                                for event in grown[:5]
                            ],
                            time=grown[-1].t0,
                            rests_on=[LINKS],
                            details={"node": node, "step": step.step},
                        )
                    )
        return count

    def _stands(self, node: str, step: Step, own: list[TermChange]) -> None:
        """A deaf node raised the term `own` times of its own accord."""
        if len(own) > 1:
            self.findings.append(
                Finding(
                    property=self.property,
                    text=f"{node} heard no request of the others and raised the term {len(own)} times: with "
                    "pre-vote it stands for election at most once",
                    evidence=[
                        pointer(node, event, f"{node} goes to term {event.term}")
                        for event in own[:5]
                    ],
                    time=own[1].t0,
                    rests_on=[LINKS],
                    details={"node": node, "step": step.step},
                )
            )

    def _disturbed(self, node: str, steps: list[Step], begin: int, end: int) -> bool:
        """Something else may have brought a term: what waited in its sockets while it stood still, an admin call, a link."""
        if any(one.begin < end and begin - GRACE_NS < one.time for one in self._incidents):
            return True
        return any(
            (step.kind in PROCESSES or step.kind in ("vote", "frames"))
            and (node in step.nodes() or any(node in link for link in step.links()))
            and step.begin < end
            and (step.end is None or step.end > begin - GRACE_NS)
            for step in steps
            if step.outcome != "skipped"
        )
