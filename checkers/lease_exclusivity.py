"""P-LX: while a leader's lease is valid, no other node is leader of a later term (raft-node.md 3.6).

Every VALID observation of term t comes before become_leader of every later term on another node. It
counts as a violation only if the observation *began* (t0) after the other had become leader for certain
(t1): a process that stood still between two readings must not look like one. Lease reads are answered
under such an observation, so they are covered by it.
"""

from __future__ import annotations

from checkers.monitor import (
    CLOCK_BOUND,
    MS,
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
        self._newest: dict[tuple[str, int], Lease] = {}
        self._earliest: dict[int, tuple[str, BecomeLeader]] = {}
        self._found: dict[tuple[str, int, str, int], Finding] = {}
        self._observations = 0
        self._params: Params | None = None

    def start(self, params: Params) -> None:
        self._params = params

    def _lease(self, node: str, event: Lease) -> None:
        if event.state != VALID:
            return
        self._observations += 1
        newest = self._newest.get((node, event.term))
        if newest is None or event.t0 > newest.t0:
            self._newest[(node, event.term)] = event

    def _leader(self, node: str, event: BecomeLeader) -> None:
        known = self._earliest.get(event.term)
        if known is None or event.t1 < known[1].t1:
            self._earliest[event.term] = (node, event)

    def finish(self, completeness: Completeness) -> Result:
        leaders = sorted(self._earliest.items())
        margin: int | None = None
        for (node, term), seen in sorted(self._newest.items(), key=lambda item: item[1].t0):
            for later, (other, event) in leaders:
                if later <= term or other == node:
                    continue
                margin = (
                    min(event.t1 - seen.t0, margin) if margin is not None else event.t1 - seen.t0
                )
                if seen.t0 > event.t1:
                    self.findings.append(
                        Finding(
                            property=self.property,
                            text=f"{node} held a valid lease of term {term} "
                            f"{(seen.t0 - event.t1) / MS:.1f} ms after {other} had become leader of "
                            f"term {later}",
                            evidence=[
                                pointer(other, event, f"{other} becomes leader of term {later}"),
                                pointer(node, seen, f"{node} finds its lease of term {term} valid"),
                            ],
                            time=seen.t0,
                            rests_on=[CLOCK_BOUND],
                            details={"node": node, "term": term, "other": other, "later": later},
                        )
                    )
                    break
        statistics: dict[str, object] = {"valid_observations": self._observations}
        if margin is not None:
            statistics["least_margin_ms"] = round(margin / MS, 3)
        if self._params is not None and not self._params.node_events:
            return conclude(self.findings, statistics, False, "the system reports no events")
        if self._params is not None and not self._params.lease and not self._observations:
            return conclude(self.findings, statistics, False, "leader leases are off")
        seen_any = self._observations > 0
        because = "" if seen_any else "no lease was ever seen valid"
        return conclude(self.findings, statistics, seen_any, because)
