"""Evidence: a fault that is asked for and does not take effect is recorded as skipped or indeterminate, kind by kind.

Each case sabotages the hand that makes the fault on a real cluster behind real links; the record must not say installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from benchmarks.bed import Bed, open_bed
from checkers.records.schema import FaultsHeader
from harness.cluster import Cluster
from harness.expansion import expand
from harness.faults import network
from harness.faults.base import Scene
from harness.faults.evidence import LagMeter, probe_links
from harness.faults.partition import Partition
from harness.faults.schedule import KINDS, Schedule
from harness.faults.triggers import NodeEvents
from harness.links.server import ApplyReport, LinkSet
from harness.plan import Plan, Step
from harness.processes import Process
from harness.recorder import FaultLog, monotonic_ns
from harness.systems.raft import RaftSystem

Sabotage = Callable[[pytest.MonkeyPatch, Cluster], None]


@asynccontextmanager
async def scene(folder: Path, kind: str = "toxiproxy") -> AsyncIterator[tuple[Bed, Scene]]:
    async with open_bed(folder, nodes=3, clients=2, kind=kind) as bed:
        await bed.ready()
        expanded = expand(Plan(nodes=3, clients=2, time_s=1.0), 1)
        yield bed, Scene(bed.cluster, bed.layout, expanded, LagMeter())


async def deaf_links(self: LinkSet, fault_id: str, asks: Any) -> ApplyReport:
    """A proxy that answers 200 and does nothing."""
    now = monotonic_ns()
    return ApplyReport(time_begin_ns=now, time_end_ns=now)


async def nothing(*_: Any, **__: Any) -> None:
    """A command that is dropped on its way."""


def wedge_links(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    patch.setattr(LinkSet, "apply", deaf_links)


def slow_spawns(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """A host so busy that a process takes its time to begin."""
    spawn = cluster.warden.spawn

    async def slowly(*args: Any, **named: Any) -> Process:
        await trio.sleep(0.1)
        return await spawn(*args, **named)

    patch.setattr(cluster.warden, "spawn", slowly)


async def test_two_who_start_a_node_at_once_start_one_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process would find the data folder in use, end, and count as a crash; nobody would know of the first."""
    async with scene(tmp_path) as (bed, _):
        cluster = bed.cluster
        await cluster.kill("n3", "test")
        slow_spawns(monkeypatch, cluster)
        member = cluster.members["n3"]
        member.down.clear()
        boot = member.boot
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.start, "n3")
            nursery.start_soon(cluster.release, "n3", "other")
            nursery.start_soon(cluster.start, "n3")
        assert member.boot == boot + 1
        with trio.fail_after(10):
            assert await cluster.wait_boot("n3", member.boot) is not None
        assert not member.crashed


async def test_a_node_that_is_killed_while_it_starts_stays_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as (bed, _):
        cluster = bed.cluster
        await cluster.kill("n3", "first")
        slow_spawns(monkeypatch, cluster)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.release, "n3", "first")
            await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.start_soon(cluster.kill, "n3", "second")
        assert cluster.members["n3"].process is None
        assert not await cluster.release("n3", "third")
        assert await cluster.release("n3", "second")


def drop_signals(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    patch.setattr(Process, "signal", nothing)


def signal_the_wrong_process(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    right = Process.signal

    async def wrong(self: Process, number: int) -> None:
        victim = cluster.members["n3"].process
        assert victim is not None
        await right(victim, number)

    patch.setattr(Process, "signal", wrong)


def drop_clock_commands(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    patch.setattr(RaftSystem, "set_clock", nothing)


def drop_votes(patch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    patch.setattr(RaftSystem, "vote", nothing)


CASES: list[tuple[str, Step, Sabotage, str]] = [
    (
        "a cut that the proxy ignores",
        Step(id="a", kind="partition", at_s=0.0, args={"links": [["n1", "n2"], ["n2", "n1"]]}),
        wedge_links,
        "still pass",
    ),
    (
        "clients' links that the proxy does not cut",
        Step(id="b", kind="partition", at_s=0.0, args={"links": [["clients", "n1"]]}),
        wedge_links,
        "still pass",
    ),
    (
        "latency that the proxy ignores",
        Step(id="c", kind="latency", at_s=0.0, args={"links": [["n1", "n2"]], "ms": 30}),
        wedge_links,
        "not slow",
    ),
    (
        "SIGSTOP to the wrong process",
        Step(id="d", kind="pause", at_s=0.0, targets=["n1"]),
        signal_the_wrong_process,
        "state T",
    ),
    (
        "SIGKILL that never arrives",
        Step(id="e", kind="kill", at_s=0.0, targets=["n1"]),
        drop_signals,
        "SIGKILL",
    ),
    (
        "power that stays on",
        Step(id="f", kind="power_loss", at_s=0.0, targets=["n1"]),
        drop_signals,
        "SIGKILL",
    ),
    (
        "a clock rate that is not set",
        Step(id="g", kind="clock_rate", at_s=0.0, args={"rates": {"n1": 0.9, "n2": 1.1}}),
        drop_clock_commands,
        "not the one asked",
    ),
    (
        "a clock that does not jump",
        Step(id="h", kind="clock_offset", at_s=0.0, targets=["n1"], args={"offset_ms": 5.0}),
        drop_clock_commands,
        "too small",
    ),
    (
        "a vote that nobody hears of",
        Step(id="i", kind="vote", at_s=0.0, targets=["follower"], args={"election_timeout_ms": 50}),
        drop_votes,
        "no target began",
    ),
]


async def test_a_fault_without_effect_is_never_recorded_as_installed(tmp_path: Path) -> None:
    async with scene(tmp_path) as (bed, stage):
        for name, step, sabotage, words in CASES:
            with pytest.MonkeyPatch.context() as patch:
                sabotage(patch, bed.cluster)
                fault = KINDS[step.kind](stage, step)
                with trio.fail_after(10):
                    evidence = await fault.install()
            assert evidence.outcome == "indeterminate", (name, evidence)
            assert words in (evidence.because or ""), (name, evidence)
            with trio.fail_after(10):
                await fault.heal()
            for member in bed.cluster.members.values():
                member.down.clear()
                member.paused.clear()
                if member.process is not None:
                    await member.process.signal(18)


@pytest.mark.parametrize("kind", ["toxiproxy", "embedded"])
async def test_a_heal_that_was_cancelled_half_way_is_done_again(kind: str, tmp_path: Path) -> None:
    """The end of a phase cancels heals under way; what they left undone must not stay for ever."""
    async with scene(tmp_path, kind) as (bed, stage):
        header = FaultsHeader(run="r", boot_id="-", origin_ns=0)
        schedule = Schedule(
            stage,
            FaultLog(tmp_path / "faults.jsonl", header),
            0,
            NodeEvents(tmp_path, bed.cluster.names),
            lambda text, fields: None,
        )
        step = Step(
            id="a", kind="partition", at_s=0.0, args={"links": [["n1", "all"], ["all", "n1"]]}
        )
        for turn in range(5):
            assert (await schedule.install(step)).outcome == "installed"
            with trio.move_on_after(0.002 * turn):
                await schedule.heal("a")
            assert await schedule.heal_all()
            passing, silent = await probe_links(stage.addresses, 1.0)
            assert not silent, (turn, passing)


async def test_what_passes_after_half_a_heal_is_no_leak_of_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heal was cancelled once the links were lifted; requests come through before it is done again."""
    async with scene(tmp_path) as (bed, stage):
        step = Step(
            id="a", kind="partition", at_s=0.0, args={"links": [["n1", "all"], ["all", "n1"]]}
        )
        fault = Partition(stage, step)
        assert (await fault.install()).outcome == "installed"
        with trio.CancelScope() as half:
            lift = bed.cluster.links.lift

            async def lift_and_stop(name: str) -> ApplyReport:
                report = await lift(name)
                half.cancel()
                await trio.lowlevel.checkpoint()
                return report

            monkeypatch.setattr(bed.cluster.links, "lift", lift_and_stop)
            await fault.heal()
        assert half.cancelled_caught
        monkeypatch.undo()
        with trio.fail_after(10):
            while not await fault._leaks():
                await trio.lowlevel.checkpoint()
        evidence = await fault.heal()
        assert (evidence.outcome, evidence.because) == ("installed", None)


async def test_a_fault_without_a_target_is_skipped(tmp_path: Path) -> None:
    async with scene(tmp_path) as (bed, stage):
        await bed.cluster.kill("n3", "test")
        for kind in ("pause", "kill", "power_loss"):
            fault = KINDS[kind](stage, Step(id=kind, kind=kind, at_s=0.0, targets=["n3"]))
            assert (await fault.install()).outcome == "skipped"
        jump = Step(id="j", kind="clock_offset", at_s=0.0, targets=["n3"], args={"offset_ms": 5})
        assert (await KINDS["clock_offset"](stage, jump).install()).outcome == "skipped"
        owner = Step(id="k", kind="clock_rate", at_s=0.0, args={"rates": {"n1": 1.1}})
        assert (await KINDS["clock_rate"](stage, owner).install()).outcome == "installed"
        second = Step(id="l", kind="clock_rate", at_s=0.0, args={"rates": {"n1": 0.9}})
        refused = await KINDS["clock_rate"](stage, second).install()
        assert refused.outcome == "skipped"
        assert "owns" in (refused.because or "")


async def test_a_step_for_the_leader_waits_for_the_successor_of_a_dead_one(tmp_path: Path) -> None:
    """A short run lost its only pause: the leader that it named had just lost its power."""
    async with scene(tmp_path) as (bed, stage):
        leader = await bed.cluster.current_leader()
        await bed.cluster.kill(leader, "test")
        step = Step(id="q", kind="pause", at_s=0.0, targets=["leader"])
        fault = KINDS["pause"](stage, step)
        evidence = await fault.install()
        assert evidence.outcome == "installed"
        assert evidence.targets["nodes"] != [leader]
        await fault.heal()


async def test_a_cut_of_dead_nodes_proves_nothing(tmp_path: Path) -> None:
    """They answer nobody anyway: silence is evidence only beside an answer on another way."""
    async with scene(tmp_path) as (bed, stage):
        await bed.cluster.kill("n3", "test")
        step = Step(id="n", kind="partition", at_s=0.0, args={"links": [["n1", "n3"]]})
        evidence = await KINDS["partition"](stage, step).install()
        assert evidence.outcome == "indeterminate"
        assert "no target of the cut runs" in (evidence.because or "")


async def test_links_whose_pings_make_each_other_slow_are_proved_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy host: of pings that are under way together none is quick."""
    under_way = 0
    plain = network.answers

    async def jammed(address: tuple[str, int], deadline_s: float) -> bool:
        nonlocal under_way
        under_way += 1
        try:
            await trio.lowlevel.checkpoint()
            if under_way > 1:
                await trio.sleep(0.2)
            return await plain(address, deadline_s)
        finally:
            under_way -= 1

    async with scene(tmp_path) as (_, stage):
        step = Step(id="o", kind="latency", at_s=0.0, args={"links": [["n1", "all"]], "ms": 60})
        fault = KINDS["latency"](stage, step)
        assert (await fault.install()).outcome == "installed"
        monkeypatch.setattr(network, "answers", jammed)
        evidence = await fault.heal()
    assert (evidence.outcome, evidence.because) == ("installed", None)


async def test_latency_that_stays_after_its_heal_is_indeterminate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as (_, stage):
        step = Step(id="o", kind="latency", at_s=0.0, args={"links": [["n1", "n2"]], "ms": 200})
        fault = KINDS["latency"](stage, step)
        assert (await fault.install()).outcome == "installed"

        async def deaf(self: LinkSet, fault_id: str) -> ApplyReport:
            self.table.remove(fault_id)
            now = monotonic_ns()
            return ApplyReport(time_begin_ns=now, time_end_ns=now)

        monkeypatch.setattr(LinkSet, "lift", deaf)
        evidence = await fault.heal()
        assert evidence.outcome == "indeterminate"
        assert "still slow" in (evidence.because or "")


async def test_a_clock_that_nobody_hears_of_is_not_healed_by_saying_so(tmp_path: Path) -> None:
    """No target runs: nothing was done, and the record says so."""
    async with scene(tmp_path) as (bed, stage):
        step = Step(id="p", kind="clock_rate", at_s=0.0, args={"rates": {"n1": 1.1}})
        fault = KINDS["clock_rate"](stage, step)
        installed = await fault.install()
        assert (installed.outcome, installed.targets["nodes"]) == ("installed", ["n1"])
        await bed.cluster.kill("n1", "test")
        assert (await fault.heal()).outcome == "skipped"


async def test_a_frame_rule_that_met_nothing_is_indeterminate(tmp_path: Path) -> None:
    async with scene(tmp_path, "embedded") as (_, stage):
        step = Step(
            id="m",
            kind="frames",
            at_s=0.0,
            args={
                "links": [["n1", "n2"]],
                "direction": "request",
                "kinds": ["never"],
                "do": "drop",
            },
        )
        fault = KINDS["frames"](stage, step)
        assert (await fault.install()).outcome == "installed"
        assert (await fault.heal()).outcome == "indeterminate"


async def test_each_kind_is_proved_and_healed_on_a_real_cluster(tmp_path: Path) -> None:
    """The counterpart: without sabotage the same steps are installed, and their heals proved."""
    async with scene(tmp_path) as (_, stage):
        for name, step, _sabotage, _words in CASES:
            fault = KINDS[step.kind](stage, step)
            act: list[Callable[[], Awaitable[Any]]] = [fault.install, fault.heal]
            for action in act:
                with trio.fail_after(12):
                    evidence = await action()
                assert evidence.outcome == "installed", (name, evidence)
            await trio.sleep(0.1)
