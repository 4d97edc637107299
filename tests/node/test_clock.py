"""The clock seam: own time is continuous, never goes back, and true time stays true."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.clock import NodeClock, true_clock

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000


class Hand:
    """True time that moves by hand."""

    def __init__(self, now: int = 10 * SECOND) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def test_without_faults_own_time_is_true_time_from_the_origin() -> None:
    """Both read the same, so that records of a healthy run line up."""
    hand = Hand()
    clock = NodeClock(hand, 4 * SECOND)
    assert (clock.true(), clock.own(), clock.rate, clock.offset_ns) == (6 * SECOND,) * 2 + (1.0, 0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**10), st.floats(0.01, 50), st.integers(0, 10**12)), max_size=8
    )
)
def test_own_time_is_continuous_across_rates_and_only_jumps_forward(
    changes: list[tuple[int, float, int]],
) -> None:
    """At a change own time moves by exactly the offset asked; between changes by rate x true."""
    hand = Hand()
    clock = NodeClock(hand, 0)
    for passed, rate, offset in changes:
        before = clock.own()
        hand.now += passed
        after = clock.own()
        assert abs(after - before - passed * clock.rate) <= 1 + passed / SECOND
        clock.set(rate=rate, offset_ns=offset)
        assert clock.own() == after + offset
    assert clock.offset_ns == sum(offset for _, _, offset in changes)


@pytest.mark.parametrize(("rate", "offset_ns"), [(0.0, 0), (-1.0, 0), (1e4, 0), (1.0, -1)])
def test_a_clock_that_stands_or_goes_back_is_refused_and_nothing_changes(
    rate: float, offset_ns: int
) -> None:
    """A monotonic clock has no steps back."""
    hand = Hand()
    clock = NodeClock(hand, 0, rate=2.0)
    before = (clock.own(), clock.rate, clock.offset_ns)
    with pytest.raises(ValueError, match=r"forward only|lies between"):
        clock.set(rate=rate, offset_ns=offset_ns)
    assert (clock.own(), clock.rate, clock.offset_ns) == before


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), float("-inf")])
def test_a_rate_that_is_no_number_is_refused(rate: float) -> None:
    """Whatever an operator sends, it is a ValueError and not a crash."""
    with pytest.raises(ValueError, match="rate"):
        NodeClock(Hand(), 0).set(rate=rate)


@settings(deadline=None)
@given(st.integers(0, 10**11), st.floats(0.01, 50))
def test_a_pending_deadline_is_rearmed_by_a_change_of_rate(left: int, rate: float) -> None:
    """Timers are computed from the clock at every turn: the new rate counts for them at once."""
    hand = Hand()
    clock = NodeClock(hand, 0)
    due = clock.own() + left
    assert clock.true_until(due, clock.own()) == left
    clock.set(rate=rate)
    wait = clock.true_until(due, clock.own())
    hand.now += wait
    assert clock.own() >= due
    hand.now -= min(wait, 2)
    assert clock.own() <= due
    clock.set(offset_ns=left + 1)
    assert clock.true_until(due, clock.own()) == 0


def test_true_time_is_the_hosts_monotonic_clock() -> None:
    """All files of a run count from the same CLOCK_MONOTONIC."""
    read = true_clock()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= read() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


PROBE = """
import time
from node.clock import true_clock
read = true_clock()
t, m = read(), time.monotonic_ns()
time.sleep(0.4)
print(t, read(), m, time.monotonic_ns())
"""


@pytest.mark.skipif(
    shutil.which("faketime") is None, reason="faketime is not installed: apt-get install faketime"
)
def test_true_time_stays_true_under_libfaketime() -> None:
    """Every clock of libc is faked, the vdso called by address is not."""
    before = time.monotonic_ns()
    run = subprocess.run(
        ["faketime", "-f", "+0 x4", sys.executable, "-c", PROBE],
        cwd=ROOT,
        env={**os.environ, "NO_FAKE_STAT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    after = time.monotonic_ns()
    true_begin, true_end, faked_begin, faked_end = map(int, run.stdout.split())
    assert before < true_begin < true_end < after
    ratio = (faked_end - faked_begin) / (true_end - true_begin)
    assert 3.5 < ratio < 4.5
