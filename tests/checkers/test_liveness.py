"""P-LV: after a proved heal a leader and a write come within the bound; who hears nobody does not raise its term."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from checkers.liveness import Liveness
from checkers.monitor import HEALS, HOST_STALLS, LINKS
from checkers.records.events import (
    Boot,
    ConfChange,
    ElectionTimeout,
    Readonly,
    StepDown,
    TermChange,
)
from checkers.records.fitness import Operation
from checkers.records.schema import HostStall, LinkIncident
from tests.checkers.made import (
    BOUND_MS,
    D_MS,
    E_MS,
    MS,
    NODES,
    PARAMS,
    WHOLE,
    cut,
    event,
    fault,
    leader,
    operation,
    phase,
    watch,
)

HEAL = 10_000


def run(
    *records: tuple[str, Any], ends: float = HEAL + BOUND_MS + 1500, **fields: Any
) -> list[tuple[str, Any]]:
    """A heal of all at HEAL ms, watched until `ends`."""
    return [
        ("", phase("liveness_all", HEAL, nodes=list(NODES), **fields)),
        *records,
        ("", phase("final_reads", ends)),
        ("", operation("read", ends + 1, ends + 2, "info", final=True)),
    ]


def write(end: float, outcome: str = "ok") -> tuple[str, Any]:
    return ("", operation("write", end - 5, end, outcome, value=1))


IN_TIME = ("n1", leader(HEAL + BOUND_MS - 1))
OLD = ("n1", leader(100))
OTHER = ("n2", leader(100))

CASES: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "a leader and a write in time": (run(IN_TIME, write(HEAL + BOUND_MS + 500)), "holds"),
    "a leader that was there before": (run(OLD, write(HEAL + 5)), "holds"),
    "a leader that had stepped down": (
        run(OLD, ("n1", event(StepDown, 5000, 1)), write(HEAL + 5)),
        "violated",
    ),
    "a leader whose life had ended": (
        run(OLD, ("n1", event(Boot, 5000, 1, 2, last_index=1, last_term=1)), write(HEAL + 5)),
        "violated",
    ),
    "a leader too late": (run(("n1", leader(HEAL + BOUND_MS + 1)), write(HEAL + 5)), "violated"),
    "no leader": (run(write(HEAL + 5)), "violated"),
    "a leader and no write": (run(IN_TIME, write(9000), write(HEAL + 7, "info")), "violated"),
    "a write too late": (run(IN_TIME, write(HEAL + BOUND_MS + 1001)), "violated"),
    "a workload that writes nothing": (
        run(IN_TIME, ("", operation("read", HEAL + 1, HEAL + 2, mode="lease"))),
        "holds",
    ),
    "a heal that was not proved": (run(proved=False), "not checked"),
    "no leader, but watched too briefly": (run(ends=HEAL + 500), "not checked"),
    "no write, but watched too briefly": (
        run(IN_TIME, write(9000), ends=HEAL + BOUND_MS + 500),
        "not checked",
    ),
    "no heal at all": ([OLD], "not checked"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_group_comes_back_within_the_bound(name: str) -> None:
    records, verdict = CASES[name]
    result = watch(Liveness(), records)
    assert result.verdict == verdict, (result.findings, result.because)
    if verdict == "not checked":
        assert result.because
    for finding in result.findings:
        assert set(finding.rests_on) == {HOST_STALLS, HEALS, LINKS}


def members(at: float, *names: str, **fields: Any) -> tuple[str, Any]:
    told = {"index": 1, "members": names, "stage": "commit"}
    return ("n1", event(ConfChange, at, **{**told, **fields}))


def readonly(node: str, at: float, on: bool = True) -> tuple[str, Any]:
    return (node, event(Readonly, at, readonly=on))


def timeout(election_ms: int, drift_ms: int) -> tuple[str, Any]:
    told = {"election_timeout_ms": election_ms, "max_clock_drift_ms": drift_ms}
    return ("n2", event(ElectionTimeout, 100, **told))


LATE = ("n1", leader(HEAL + BOUND_MS + 300))

GROUPS: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "too late for all, in time for an E that was made longer": (
        run(timeout(E_MS + 100, D_MS), LATE, write(HEAL + BOUND_MS + 800)),
        "holds",
    ),
    "a manual vote's short E, with E + D as it was, makes no difference": (
        run(timeout(50, E_MS + D_MS - 50), LATE, write(HEAL + BOUND_MS + 800)),
        "violated",
    ),
    "a witness promises for twice as long": (
        run(members(100, *NODES, witnesses=("n3",)), LATE, write(HEAL + BOUND_MS + 800)),
        "holds",
    ),
    "the healed nodes are no majority of the members": (
        run(members(100, "n1", "n4", "n5"), write(9000)),
        "not checked",
    ),
    "nor of the old members of a joint configuration": (
        run(members(100, "n1", "n2", old=("n1", "n4", "n5")), write(9000)),
        "not checked",
    ),
    "a majority of fewer members": (run(members(100, "n1"), write(9000)), "violated"),
    "no write of a read-only group": (
        run(IN_TIME, readonly("n1", 5000), readonly("n2", HEAL + 5), write(9000)),
        "not checked",
    ),
    "a group that was read-only before": (
        run(IN_TIME, readonly("n1", 5000), readonly("n1", 6000, on=False), write(9000)),
        "violated",
    ),
    "a restart ends the read-only mode": (
        run(
            readonly("n1", 5000),
            ("n1", event(Boot, 6000, 1, 2, last_index=1, last_term=1)),
            IN_TIME,
            write(9000),
        ),
        "violated",
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_bound_is_for_the_group_that_there_is(name: str) -> None:
    records, verdict = GROUPS[name]
    result = watch(Liveness(), records)
    assert result.verdict == verdict, (result.findings, result.because)
    assert verdict != "not checked" or result.because


def test_a_group_of_one_elects_itself_and_a_reset_takes_a_term() -> None:
    """Neither is what pre-vote is to keep an isolated node from."""
    steps = [("", one) for one in fault("s1", "partition", 1000, 5000, targets=cut("n3"))]
    grow = [("n3", event(TermChange, 2000 + i, 5 + i, previous=4 + i)) for i in range(3)]
    alone = watch(Liveness(), [*steps, members(100, "n3"), *grow])
    assert alone.findings == []
    reset = [("n3", event(TermChange, 1500, 4, previous=3, reason="reset_peers")), grow[0]]
    assert watch(Liveness(), [*steps, *reset]).findings == []
    (finding,) = watch(Liveness(), [*steps, *grow]).findings
    assert "grows by at most 1" in finding.text


def test_nothing_follows_from_records_that_are_not_all_there() -> None:
    lacking = msgspec.structs.replace(WHOLE, events_lack="the events of n3 end in a torn line")
    result = watch(Liveness(), run(write(HEAL + 5)), completeness=lacking)
    assert (result.verdict, result.findings) == ("not checked", [])
    assert "torn line" in result.because
    # A history that ends before the bound is over lacks its end: clients go on trying.
    short = [record for record in run(IN_TIME, write(9000)) if not _is_final(record[1])]
    assert watch(Liveness(), short).verdict == "not checked"


def _is_final(record: Any) -> bool:
    return isinstance(record, Operation) and record.invoke.final


def test_a_leader_outside_of_the_healed_quorum_does_not_count() -> None:
    heal = ("", phase("liveness_quorum", HEAL, nodes=["n2", "n3"]))
    records = [heal, OLD, write(HEAL + 5), ("", phase("heal_all", HEAL + BOUND_MS + 1500))]
    assert watch(Liveness(), records).verdict == "violated"


def test_each_heal_is_judged_and_the_one_left_out_is_told() -> None:
    records = [
        OLD,
        ("", phase("liveness_quorum", 5000, nodes=["n1", "n2"], proved=False)),
        *run(write(HEAL + 30)),
    ]
    result = watch(Liveness(), records)
    assert result.verdict == "holds"
    assert "liveness_quorum not judged" in result.because
    assert result.statistics["liveness_all_write_after_ms"] == 30.0


def term(at: float, new: int, previous: int) -> tuple[str, Any]:
    return ("n1", event(TermChange, at, new, previous=previous))


def isolated(*records: tuple[str, Any], **fields: Any) -> list[tuple[str, Any]]:
    """n1 is cut off from 1000 to 4000 ms."""
    steps = fault("s1", "partition", 1000, 4000, targets=cut("n1"), **fields)
    return [*(("", step) for step in steps), *records, *run(OTHER, write(HEAL + 5))]


TWICE = (term(2000, 4, 3), term(3000, 5, 4))
ISOLATIONS: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "a term grows by one": (isolated(term(2000, 4, 3)), 0),
    "a term grows by two": (isolated(*TWICE), 1),
    "a term grows by two at once": (isolated(term(2000, 5, 3)), 1),
    "before the cut and after it": (isolated(term(900, 4, 3), term(4001, 6, 4)), 0),
    "what arrived in the grace after the cut": (isolated(term(1050, 9, 3)), 0),
    "the cut leaked": (isolated(*TWICE, healed="indeterminate"), 0),
    "the cut was not proved": (isolated(*TWICE, outcome="indeterminate"), 0),
    "the node stood still in between": (
        isolated(
            *(("", one) for one in fault("s2", "pause", 500, 1500, targets={"nodes": ["n1"]})),
            *TWICE,
        ),
        0,
    ),
    "another node stood still": (
        isolated(
            *(("", one) for one in fault("s2", "pause", 500, 1500, targets={"nodes": ["n2"]})),
            *TWICE,
        ),
        1,
    ),
    "a link server was replaced in between": (
        isolated(
            ("", LinkIncident(index=0, time=2000 * MS, begin=1900 * MS, server="s", because="b")),
            *TWICE,
        ),
        0,
    ),
}


@pytest.mark.parametrize("name", ISOLATIONS)
def test_with_pre_vote_the_term_of_an_isolated_node_grows_by_one_at_most(name: str) -> None:
    records, findings = ISOLATIONS[name]
    result = watch(Liveness(), records)
    assert len(result.findings) == findings
    for finding in result.findings:
        assert finding.rests_on == [LINKS]
        assert "n1" in finding.text


def test_without_pre_vote_terms_may_grow() -> None:
    params = msgspec.structs.replace(PARAMS, prevote=False)
    assert watch(Liveness(), isolated(*TWICE), params).verdict == "holds"


def test_a_cut_in_one_direction_isolates_nobody() -> None:
    targets = {"links": [["n1", "n2"], ["n1", "n3"]], "leader": "n1"}
    steps = fault("s1", "partition", 1000, 4000, targets=targets)
    records = [*(("", step) for step in steps), *TWICE, *run(OLD, write(HEAL + 5))]
    assert watch(Liveness(), records).verdict == "holds"


def faults(*records: Any) -> list[tuple[str, Any]]:
    return [("", record) for one in records for record in one]


DEAF = {"links": [["n2", "n1"], ["n3", "n1"]], "leader": "n2"}


def stands(at: float, new: int, reason: str = "candidate") -> tuple[str, Any]:
    return ("n1", event(TermChange, at, new, previous=new - 1, reason=reason))


@pytest.mark.parametrize(
    ("records", "findings"),
    [
        ([stands(2000, 2)], 0),
        ([stands(2000, 2), stands(2900, 4)], 1),
        ([stands(2000, 2, "pre_vote"), stands(2900, 3)], 1),
        ([stands(2000, 2), stands(2900, 3, "higher_term_response")], 0),
        ([stands(900, 2), stands(2900, 3)], 0),
    ],
    ids=["once", "twice", "by a pre-vote", "another's term", "before the cut"],
)
def test_with_pre_vote_a_deaf_node_stands_for_election_at_most_once(
    records: list[tuple[str, Any]], findings: int
) -> None:
    steps = faults(fault("s1", "partition", 1000, 4000, targets=DEAF))
    result = watch(Liveness(), [*steps, *records, *run(OTHER, write(HEAL + 5))])
    assert len(result.findings) == findings


LIMIT_MS = 2 * (E_MS + D_MS) + 100
"""From the end of the install to the last moment at which a leader without anybody may still lead."""
CUT = fault("s1", "partition", 1000, 6000, targets=cut("n1"))
INCIDENT = ("", LinkIncident(index=0, time=2000 * MS, begin=1900 * MS, server="s", because="b"))


def stall(lag_ms: float) -> tuple[str, Any]:
    return ("", HostStall(index=0, time=2000 * MS, lag_ns=round(lag_ms * MS)))


STUCK: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "it goes on": ([*faults(CUT), OLD], 1),
    "it steps down in time": (
        [*faults(CUT), OLD, ("n1", event(StepDown, 1010 + LIMIT_MS, 1))],
        0,
    ),
    "it steps down too late": (
        [*faults(CUT), OLD, ("n1", event(StepDown, 1011 + LIMIT_MS, 1))],
        1,
    ),
    "it was none any more": ([*faults(CUT), OLD, ("n1", event(StepDown, 900, 1))], 0),
    "healed too early": (
        [*faults(fault("s1", "partition", 1000, 1005 + LIMIT_MS, targets=cut("n1"))), OLD],
        0,
    ),
    "the cut was not proved": (
        [
            *faults(
                fault("s1", "partition", 1000, 6000, targets=cut("n1"), outcome="indeterminate")
            ),
            OLD,
        ],
        0,
    ),
    "one link is open": (
        [
            *faults(
                fault(
                    "s1",
                    "partition",
                    1000,
                    6000,
                    targets={"links": [["n1", "n2"], ["n2", "n1"], ["n3", "n1"]], "leader": "n1"},
                )
            ),
            OLD,
        ],
        0,
    ),
    "it stood still": (
        [*faults(CUT, fault("s2", "pause", 1500, 2500, targets={"nodes": ["n1"]})), OLD],
        0,
    ),
    "another stood still": (
        [*faults(CUT, fault("s2", "pause", 1500, 2500, targets={"nodes": ["n2"]})), OLD],
        1,
    ),
    "a link server was replaced": ([*faults(CUT), OLD, INCIDENT], 0),
    "the host stalled": ([*faults(CUT), OLD, stall(E_MS / 4 + 1)], 0),
    "the host was a little late": ([*faults(CUT), OLD, stall(E_MS / 4)], 1),
}


@pytest.mark.parametrize("name", STUCK)
def test_a_leader_that_nobody_answers_steps_down(name: str) -> None:
    records, findings = STUCK[name]
    later = ("n2", leader(7000, 2))
    records = [*records, *run(("n1", event(StepDown, 6500, 1)), later, write(HEAL + 5))]
    result = watch(Liveness(), records)
    assert len(result.findings) == findings, result.findings
    without = msgspec.structs.replace(PARAMS, check_quorum=False)
    assert watch(Liveness(), records, without).findings == []


KILLED = fault("s1", "kill", 1000, 6000, targets={"nodes": ["n1"], "leader": "n1"})
NEXT = ("n2", leader(1010 + BOUND_MS, 2))
LATE = ("n2", leader(1011 + BOUND_MS, 2))


def slow(ms: float) -> list[Any]:
    records = fault("s2", "latency", 500, 6000, targets={"links": [["n2", "n3"]], "leader": "n1"})
    return [msgspec.structs.replace(record, asked={"ms": ms}) for record in records]


ORPHANED: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "another in time": ([*faults(KILLED), OLD, NEXT], 0),
    "another too late": ([*faults(KILLED), OLD, LATE], 1),
    "none but itself": ([*faults(KILLED), OLD, ("n1", leader(2000, 2))], 1),
    "it did not lead": ([*faults(KILLED), OTHER, ("n3", leader(1011 + BOUND_MS, 2))], 0),
    "it had stepped down before": (
        [*faults(KILLED), OLD, ("n1", event(StepDown, 900, 1)), LATE],
        0,
    ),
    "back before the bound": (
        [
            *faults(fault("s1", "kill", 1000, 2000, targets={"nodes": ["n1"], "leader": "n1"})),
            OLD,
            LATE,
        ],
        0,
    ),
    "two were struck": (
        [
            *faults(
                fault("s1", "kill", 1000, 6000, targets={"nodes": ["n1", "n2"], "leader": "n1"})
            ),
            OLD,
            LATE,
        ],
        0,
    ),
    "links a little slow": ([*faults(KILLED, slow(15)), OLD, LATE], 1),
    "links too slow": ([*faults(KILLED, slow(16)), OLD, LATE], 0),
    "another stood still": (
        [
            *faults(KILLED, fault("s2", "pause", 1500, 2500, targets={"nodes": ["n2"]})),
            OLD,
            LATE,
        ],
        0,
    ),
    "a snapshot was saved": (
        [
            *faults(KILLED, fault("s2", "snapshot", 1500, targets={"nodes": ["n2"]})),
            OLD,
            LATE,
        ],
        1,
    ),
    "a link server was replaced": ([*faults(KILLED), OLD, LATE, INCIDENT], 0),
    "the host stalled": ([*faults(KILLED), OLD, LATE, stall(E_MS / 4 + 1)], 0),
}


@pytest.mark.parametrize("name", ORPHANED)
def test_a_group_that_lost_its_leader_alone_gets_another_within_the_bound(name: str) -> None:
    records, findings = ORPHANED[name]
    later = ("n3", leader(7000, 9))
    result = watch(Liveness(), [*records, *run(later, write(HEAL + 5))])
    assert len(result.findings) == findings, result.findings


def test_a_system_without_events_is_judged_by_its_writes() -> None:
    params = msgspec.structs.replace(PARAMS, node_events=False)
    assert watch(Liveness(), run(write(HEAL + 5)), params).verdict == "holds"
    assert watch(Liveness(), run(write(9000)), params).verdict == "violated"
