"""A failure of our own machinery, in whatever phase, is a harness error with everything judged that was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from checkers.clocks import BRACKET_NS_MAX
from checkers.monitor import CLOCK_BOUND
from harness import clock_sampling
from harness.clock_sampling import ClockSampler
from harness.cluster import Cluster
from harness.errors import PlanError
from harness.faults.schedule import Schedule
from harness.links.server import LinkSet
from harness.plan import FaultsPlan, Plan
from harness.recorder import FactLog
from harness.run import Conductor, RunResult, run

PLAN = Plan(nodes=3, clients=3, time_s=0.5, quiet_s=0.2, faults=FaultsPlan(intensity=0.0, kinds=()))


class Silent:
    """An observer that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def started(self, run_dir: str, seed: int, plan_name: str) -> None:
        self.notes.append(run_dir)

    def progress(self, progress: Any) -> None:
        """Nobody watches."""

    def note(self, text: str, fields: dict[str, Any]) -> None:
        self.notes.append(text)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken on purpose")


async def broken_later(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken on purpose")


PHASES: list[tuple[str, type, str, Callable[..., Any]]] = [
    ("up: a link server", LinkSet, "start", broken_later),
    ("up: a node", Cluster, "start", broken_later),
    ("ready", Conductor, "_ready", broken_later),
    ("quiet: starting clients", Conductor, "_start_clients", broken),
    ("safety", Schedule, "run", broken_later),
    ("heal", Schedule, "heal_all", broken_later),
    ("liveness", Conductor, "_live", broken_later),
    ("final reads", Conductor, "_final_reads", broken_later),
    ("beside the phases: the clocks' sampler", ClockSampler, "run", broken_later),
]


def children() -> list[str]:
    """What this process has started and not reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == os.getpid():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(("where", "owner", "name", "act"), PHASES, ids=[p[0] for p in PHASES])
async def test_raising_in_a_phase_is_a_harness_error(
    where: str,
    owner: type,
    name: str,
    act: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, act)
    before = children()
    result: RunResult = await run(PLAN, 1, tmp_path, Silent())
    assert result.verdict.verdict == "harness error", where
    assert result.verdict.exit_code == 4
    assert "broken on purpose" in " ".join(result.verdict.harness_errors)
    assert "broken on purpose" in (result.run_dir / "harness-error.txt").read_text()
    assert json.loads((result.run_dir / "verdict.json").read_bytes())["exit_code"] == 4
    assert children() == before


async def test_a_run_that_does_not_end_in_time_is_a_harness_error_with_all_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(*_: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Conductor, "_final_reads", for_ever)
    plan = Plan(
        nodes=3,
        clients=2,
        time_s=0.3,
        quiet_s=0.1,
        wall_s=6.0,
        faults=FaultsPlan(intensity=0.0, kinds=()),
    )
    result = await run(plan, 1, tmp_path, Silent())
    assert result.verdict.verdict == "harness error"
    assert "wall deadline" in " ".join(result.verdict.harness_errors)
    assert "for_ever" in (result.run_dir / "harness-error.txt").read_text()


async def test_a_teardown_or_report_that_fails_loses_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import harness.report

    plain = LinkSet.stop

    async def stop_and_break(self: LinkSet) -> None:
        await plain(self)
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(LinkSet, "stop", stop_and_break)
    monkeypatch.setattr(harness.report, "write_report", broken)
    observer = Silent()
    result = await run(PLAN, 1, tmp_path, observer)
    assert result.verdict.verdict in ("valid", "insufficient coverage")
    assert (result.run_dir / "verdict.json").exists()
    assert sum("broken on purpose" in note for note in observer.notes) == 2


async def test_the_phases_come_in_their_order_and_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    plain = FactLog.phase

    def noted(self: FactLog, name: str, **fields: Any) -> Any:
        seen.append(name)
        return plain(self, name, **fields)

    monkeypatch.setattr(FactLog, "phase", noted)
    await run(PLAN, 1, tmp_path, Silent())
    assert seen == [
        "up",
        "ready",
        "quiet",
        "safety",
        "heal_quorum",
        "liveness_quorum",
        "heal_all",
        "liveness_all",
        "final_reads",
        "collect",
        "end",
    ]


async def test_links_that_cannot_be_had_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_TOXIPROXY_SERVER", "/nowhere/toxiproxy-server")
    with pytest.raises(PlanError, match="make setup"):
        await run(PLAN, 1, tmp_path / "runs", Silent())
    assert not (tmp_path / "runs").exists()


async def test_a_violation_found_at_once_is_not_lost_since_clocks_are_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the final reads each reading takes too long to be of use, as on a busy host."""
    phase = ""
    plain_phase, plain_read = FactLog.phase, clock_sampling.read_clock

    def noted(self: FactLog, name: str, **fields: Any) -> Any:
        nonlocal phase
        phase = name
        return plain_phase(self, name, **fields)

    async def slow_at_first(scene: Any, name: str) -> tuple[int, int, int] | None:
        reading = await plain_read(scene, name)
        if reading is None or phase == "final_reads":
            return reading
        before, clock, after = reading
        return before - BRACKET_NS_MAX, clock, after

    monkeypatch.setattr(FactLog, "phase", noted)
    monkeypatch.setattr(clock_sampling, "read_clock", slow_at_first)
    plan = Plan(
        nodes=3,
        clients=6,
        time_s=30.0,
        quiet_s=0.2,
        rate=0.0,
        bugs=["follower_local_read"],
        faults=FaultsPlan(intensity=0.0, kinds=()),
        stop_at_first_violation=True,
    )
    result = await run(plan, 1, tmp_path, Silent())
    verdict = result.verdict
    assert verdict.verdict == "invalid", verdict.headline
    bound = next(one for one in verdict.assumptions if one.name == CLOCK_BOUND)
    assert bound.status == "holds", bound.because
