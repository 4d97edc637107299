"""P-LX: while a leader's lease is valid, no other node is leader of a later term (Raft thesis 6.4.1).

Every VALID observation of term t comes before become_leader of every later term on another node. It
counts as a violation only if the observation *began* (t0) after the other had become leader for certain
(t1): a process that stood still between two readings must not look like one. Lease reads are answered
under such an observation, so they are covered by it.

Rests on the clock bound, and on one group: after a reset of members two groups may each have a leader.
"""

from __future__ import annotations

from checkers.monitor import (
    CLOCK_BOUND,
    MS,
    NO_EVENTS,
    ONE_GROUP,
    Completeness,
    Handler,
    Params,
    Result,
    conclude,
    pointer,
)
from checkers.records.events import BecomeLeader, Lease
from checkers.records.schema import Finding

VALID = "valid"


class LeaseExclusivity:
    property = "P-LX"
    title = "lease exclusivity"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {Lease: self._lease, BecomeLeader: self._leader}
        self.findings: list[Finding] = []
        self._newest: dict[str, dict[int, Lease]] = {}
        """Of each node and term: the last time it found its lease valid."""
        self._leaders: dict[int, dict[str, BecomeLeader]] = {}
        self._last_term = 0
        self._found: dict[tuple[str, int], tuple[str, BecomeLeader]] = {}
        """Who held a lease of which term too long, and the leader that it stands against."""
        self._observations = 0
        self._params: Params | None = None

    def start(self, params: Params) -> None:
        self._params = params

    def _lease(self, node: str, event: Lease) -> None:
        if event.state != VALID:
            return
        self._observations += 1
        term = event.term
        seen = self._newest.get(node)
        if seen is None:
            seen = self._newest[node] = {}
        newest = seen.get(term)
        if newest is None or event.t0 > newest.t0:
            seen[term] = event
            if term < self._last_term:
                for later, leaders in self._leaders.items():
                    if later > term:
                        for other, leader in leaders.items():
                            self._compare(node, event, other, leader)

    def _leader(self, node: str, event: BecomeLeader) -> None:
        self._leaders.setdefault(event.term, {}).setdefault(node, event)
        self._last_term = max(self._last_term, event.term)
        for holder, seen in self._newest.items():
            for term, lease in seen.items():
                if term < event.term:
                    self._compare(holder, lease, node, event)

    def _compare(self, node: str, lease: Lease, other: str, leader: BecomeLeader) -> None:
        """Told at once, by the events that show it first; `finish` tells of the longest."""
        if node == other or lease.t0 <= leader.t1:
            return
        known = self._found.get((node, lease.term))
        if known is None:
            self.findings.append(self._finding(node, lease, other, leader))
        if known is None or leader.t1 < known[1].t1:
            self._found[(node, lease.term)] = (other, leader)

    def _finding(self, node: str, lease: Lease, other: str, leader: BecomeLeader) -> Finding:
        term, later = lease.term, leader.term
        return Finding(
            property=self.property,
            text=f"{node} held a valid lease of term {term} {(lease.t0 - leader.t1) / MS:.1f} ms after "
            f"{other} had become leader of term {later}",
            evidence=[
                pointer(other, leader, f"{other} becomes leader of term {later}"),
                pointer(node, lease, f"{node} finds its lease of term {term} valid"),
            ],
            time=lease.t0,
            rests_on=[CLOCK_BOUND, ONE_GROUP],
            details={"node": node, "term": term, "other": other, "later": later},
        )

    def finish(self, completeness: Completeness) -> Result:
        leases = [(node, lease) for node, seen in self._newest.items() for lease in seen.values()]
        longest = [
            self._finding(node, self._newest[node][term], other, leader)
            for (node, term), (other, leader) in self._found.items()
        ]
        self.findings[:] = sorted(longest, key=lambda finding: finding.time)
        margin = min(
            (
                leader.t1 - lease.t0
                for node, lease in leases
                for later, leaders in self._leaders.items()
                if later > lease.term
                for other, leader in leaders.items()
                if other != node
            ),
            default=None,
        )
        statistics: dict[str, object] = {"valid_observations": self._observations}
        if margin is not None:
            statistics["least_margin_ms"] = round(margin / MS, 3)
        if self._params is not None and not self._params.node_events:
            return conclude(self.findings, statistics, False, NO_EVENTS)
        if self._params is not None and not self._params.lease and not self._observations:
            return conclude(self.findings, statistics, False, "leader leases are off")
        seen_any = self._observations > 0
        because = "" if seen_any else "no lease was ever seen valid"
        return conclude(self.findings, statistics, seen_any, because)
