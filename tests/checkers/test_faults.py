"""Steps put together from their records: from when until when each was in force."""

from __future__ import annotations

import pytest

from checkers.faults import steps_of
from harness.faults.schedule import WITHOUT_HEAL
from tests.checkers.made import MS, fault


@pytest.mark.parametrize("kind", WITHOUT_HEAL)
def test_a_step_that_needs_no_heal_is_over_when_it_is_done(kind: str) -> None:
    (step,) = steps_of(fault("s1", kind, 1000, took=10))
    assert (step.begin, step.end) == (1000 * MS, 1010 * MS)


def test_any_other_step_is_in_force_until_its_heal() -> None:
    never, healed = steps_of(
        [*fault("s1", "kill", 1000), *fault("s2", "kill", 1000, 2000, took=10)]
    )
    assert never.end is None
    assert healed.end is not None
    assert healed.end >= 2000 * MS
