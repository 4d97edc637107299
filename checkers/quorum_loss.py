"""P-LV while faults go on: a leader that lost its quorum gives up, and a group that lost only its leader gets another.

Both bounds are true time. CheckQuorum looks every E whether a quorum answered within E, so a leader that nobody answers leads
for at most 2E on its own clock; 2(E+D) covers a clock that is slow within the declared bound. A group whose leader alone
stands still is as well off as after a heal, and gets the same 3(E+D) + 2E.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from checkers.faults import PROCESSES, Step
from checkers.leaderships import Leadership
from checkers.monitor import LINKS, MS, Params, pointer, seconds
from checkers.records.schema import Evidence, Finding, HostStall, LinkIncident

GRACE_NS: Final = 100 * MS
"""After a cut is complete what was under way may still arrive."""
SLOW_LINK_MS: Final = 15.0
"""The bound for a leader was seen to hold at one-way delays up to this."""


Disturbance = tuple[int, int]
"""From when until when the host or a link server, not a fault, may have held the group up."""


def disturbances(
    incidents: list[LinkIncident], stalls: list[HostStall], params: Params
) -> list[Disturbance]:
    """Link servers that were replaced, and stalls of the host above E/4, which those who judge a heal allow as well."""
    limit = params.election_timeout_ns // 4
    return [
        *((one.begin, one.time) for one in incidents),
        *((one.time - one.lag_ns, one.time) for one in stalls if one.lag_ns > limit),
    ]


def leader_bound_ns(election_timeout_ns: int, drift_ns: int) -> int:
    """Within this time of a heal there is a leader: 3(E+D) + 2E."""
    return 3 * (election_timeout_ns + drift_ns) + 2 * election_timeout_ns


def cut_off(step: Step, nodes: tuple[str, ...]) -> list[str]:
    """The nodes that this cut leaves without any link, in either direction."""
    links = step.links()
    return [
        node for node in deaf(step, nodes) if all((node, n) in links for n in nodes if n != node)
    ]


def deaf(step: Step, nodes: tuple[str, ...]) -> list[str]:
    """The nodes that no request of any other reaches; their own requests may, and be answered."""
    links = step.links()
    return [
        node
        for node in nodes
        if len(nodes) > 1 and all((other, node) in links for other in nodes if other != node)
    ]


def stuck(
    steps: list[Step],
    held_up: Sequence[Disturbance],
    leaderships: list[Leadership],
    params: Params,
) -> tuple[list[Finding], int]:
    """Leaders that went on after 2(E+D) without anybody; and how many leaders were cut off for so long."""
    findings: list[Finding] = []
    count = 0
    limit = 2 * (params.election_timeout_ns + params.drift_ns)
    for step in steps:
        healed = step.healed
        if step.kind != "partition" or not step.took_effect or healed is None:
            continue
        for one in leaderships:
            if one.node not in cut_off(step, params.nodes):
                continue
            begin = max(one.begin, step.complete + GRACE_NS)
            until = begin + limit
            over = one.end is not None and one.end <= begin
            if over or until > healed.time_begin or healed.outcome != "installed":
                continue
            if _others(step, steps, begin, until, (one.node,)) or _met(held_up, begin, until):
                continue
            count += 1
            if one.end is None or one.end > until:
                findings.append(
                    Finding(
                        property="P-LV",
                        text=f"{one.node}, cut off from all others, went on as leader of term {one.term}: "
                        f"it should have stepped down within {seconds(limit)}",
                        evidence=[
                            pointer(one.node, one.event, f"{one.node} leads term {one.term}"),
                            _installed(step, f"{one.node} is cut off"),
                        ],
                        time=until,
                        rests_on=[LINKS],
                        details={"node": one.node, "step": step.step},
                    )
                )
    return findings, count


def orphaned(
    steps: list[Step],
    held_up: Sequence[Disturbance],
    leaderships: list[Leadership],
    params: Params,
) -> tuple[list[Finding], int]:
    """Groups that lost their leader, nothing else, and had no other within the bound; and how often that was looked at.

    Links may be slow meanwhile, as far as the bound allows.
    """
    findings: list[Finding] = []
    count = 0
    bound = leader_bound_ns(params.election_timeout_ns, params.drift_ns)
    for step in steps:
        healed, struck = step.healed, step.nodes()
        if step.kind not in PROCESSES or not step.took_effect or healed is None:
            continue
        until = step.complete + bound
        if len(struck) != 1 or len(params.nodes) < 3 or healed.time_begin < until:
            continue
        led = [one for one in leaderships if one.begin <= step.begin]
        if not led or max(led, key=lambda one: one.term).node != struck[0]:
            continue
        # An end before the step was the leader's own; what came of it is another story.
        end = max(led, key=lambda one: one.term).end
        if end is not None and end < step.begin:
            continue
        if _others(step, steps, step.begin, until, params.nodes) or _met(
            held_up, step.begin, until
        ):
            continue
        count += 1
        if not any(
            step.begin < one.begin <= until and one.node != struck[0] for one in leaderships
        ):
            findings.append(
                Finding(
                    property="P-LV",
                    text=f"the leader {struck[0]} was lost and nothing else, yet the others had no leader "
                    f"within {seconds(bound)}",
                    evidence=[_installed(step, f"{step.kind} of {struck[0]}")],
                    time=until,
                    rests_on=[LINKS],
                    details={"node": struck[0], "step": step.step},
                )
            )
    return findings, count


def _others(
    step: Step, steps: list[Step], begin: int, until: int, nodes: tuple[str, ...]
) -> list[Step]:
    """Other steps in force in that time that touch one of `nodes`, links that are slow within the bound's reach excepted.

    Of clocks nothing is excepted but what the bounds cover: rates. A change of members touches all.
    """
    return [
        other
        for other in steps
        if other is not step
        and other.outcome != "skipped"
        and other.begin < until
        and (other.end is None or other.end > begin - GRACE_NS)
        and other.kind not in ("clock_rate", "snapshot")
        and not (other.kind == "latency" and _slow_ms(other) <= SLOW_LINK_MS)
        and (
            other.kind in ("membership", "transfer")
            or any(node in other.nodes() for node in nodes)
            or any(node in link for link in other.links() for node in nodes)
        )
    ]


def _slow_ms(step: Step) -> float:
    return float(step.installed.asked.get("ms", 0.0)) if step.installed is not None else 0.0


def _met(held_up: Sequence[Disturbance], begin: int, until: int) -> bool:
    return any(since < until and begin - GRACE_NS < time for since, time in held_up)


def _installed(step: Step, text: str) -> Evidence:
    assert step.installed is not None
    return Evidence("faults.jsonl", step.installed.index, step.begin, text)
