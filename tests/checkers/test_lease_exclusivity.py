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
