"""The main job for long: minutes of everything that the random schedule can draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from harness.plan import FaultsPlan, Plan
from harness.run import run
from tests.harness.test_run import Silent


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_five_minutes_of_faults_are_valid(seed: int, tmp_path: Path) -> None:
    """With offsets of clocks and slow links beside the default kinds."""
    kinds = (*FaultsPlan().kinds, "clock_offset", "latency")
    plan = Plan(name="soak", time_s=300.0, faults=FaultsPlan(kinds=kinds))
    result = trio.run(run, plan, seed, tmp_path, Silent())
    assert result.verdict.findings == []
    assert result.verdict.verdict == "valid", result.verdict.headline
