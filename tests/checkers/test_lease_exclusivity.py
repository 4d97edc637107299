"""P-LX: a valid lease and a later leader elsewhere exclude each other, judged by true time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from checkers.lease_exclusivity import LeaseExclusivity
from checkers.monitor import CLOCK_BOUND, ONE_GROUP
from checkers.records.events import Lease
from tests.checkers.made import PARAMS, event, leader, watch


def lease(at: float, term: int = 1, state: str = "valid", **fields: Any) -> Any:
    return event(Lease, at, term, state=state, **fields)


CASES: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "the lease ends before the next leader": (
        [("n1", lease(100)), ("n2", leader(101, 2))],
        "holds",
    ),
    "looked at while the other was becoming leader": (
        [("n1", lease(101)), ("n2", leader(100, 2, took=5))],
        "holds",
    ),
    "a step that began before and ended after": (
        [("n1", lease(100, took=500)), ("n2", leader(101, 2))],
        "holds",
    ),
    "an expired lease": ([("n1", lease(200, state="expired")), ("n1", lease(50)),
                          ("n2", leader(100, 2))], "holds"),
    "of a later term than the other leader's": (
        [("n1", lease(200, 3)), ("n2", leader(100, 2))],
        "holds",
    ),
    "the same node leads again": ([("n1", lease(200, 1)), ("n1", leader(100, 2))], "holds"),
    "an old leader's valid, told long after the new leader's but seen before it": (
        # The lines come late; the reading began before the other led.
        [("n2", leader(101, 2)), ("n1", lease(100, took=900))],
        "holds",
    ),
    "a process that stood still between its two readings of the clock": (
        # True time was read, then it was stopped; when it went on it read its own clock and found the lease over or not.
        [("n1", lease(90, took=2000)), ("n2", leader(700, 2, took=1))],
        "holds",
    ),
    "a new leader that stood still before it said so": (
        [("n1", lease(150)), ("n2", leader(100, 2, took=200))],
        "holds",
    ),
    "a leader that handed over and looked again only afterwards": (
        [("n1", lease(90)), ("n2", leader(100, 2)), ("n1", lease(110, state="expired"))],
        "holds",
    ),
    "a removed leader that counts itself": (
        [("n4", leader(100, 2)), ("n1", lease(130))],
        "violated",
    ),
    "two leaders of later terms, of which the first is its own": (
        [("n1", leader(90, 2)), ("n2", leader(100, 3)), ("n1", lease(101, 2))],
        "violated",
    ),
    "valid after another became leader": (
        [("n1", lease(50)), ("n1", lease(200)), ("n2", leader(100, 2, took=5))],
        "violated",
    ),
    "valid after a leader two terms later": (
        [("n2", leader(100, 3)), ("n1", lease(101, 1))],
        "violated",
    ),
    "nothing was ever valid": (
        [("n1", lease(50, state="expired")), ("n2", leader(100, 2))],
        "not checked",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_valid_lease_excludes_a_later_leader(name: str) -> None:
    records, verdict = CASES[name]
    result = watch(LeaseExclusivity(), records)
    assert result.verdict == verdict
    for finding in result.findings:
        assert finding.rests_on == [CLOCK_BOUND, ONE_GROUP]
        assert len(finding.evidence) == 2


def test_how_near_it_came_is_told() -> None:
    result = watch(LeaseExclusivity(), [("n1", lease(100)), ("n2", leader(130, 2))])
    assert result.statistics["least_margin_ms"] == 30.0


def test_with_leases_off_there_is_nothing_to_check() -> None:
    params = msgspec.structs.replace(PARAMS, lease=False)
    result = watch(LeaseExclusivity(), [("n2", leader(130, 2))], params)
    assert (result.verdict, result.because) == ("not checked", "leader leases are off")


@pytest.mark.parametrize("turned", [False, True])
def test_one_finding_for_each_lease_however_the_nodes_come(turned: bool) -> None:
    """Told at once, and at the end by how long it lasted."""
    leases = [("n1", lease(at)) for at in (50, 110, 120, 200)]
    leaders = [("n2", leader(100, 2)), ("n3", leader(150, 3))]
    result = watch(LeaseExclusivity(), leaders + leases if turned else leases + leaders)
    (finding,) = result.findings
    assert "100.0 ms after n2" in finding.text
