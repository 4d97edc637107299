"""Steps that wait for a node's event: which event starts one, what is recorded of it, and what if it never comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from checkers.records.schema import FaultsHeader
from harness.faults import schedule as schedules
from harness.faults.evidence import Evidence
from harness.faults.schedule import Schedule
from harness.faults.triggers import NodeEvents
from harness.plan import Step, Trigger
from harness.recorder import FaultLog

NODES = ["n1", "n2", "n3"]


class Told:
    """A fault that takes effect at once."""

    def __init__(self, scene: Any, step: Step) -> None:
        """It strikes nobody."""

    async def install(self) -> Evidence:
        return Evidence(outcome="installed", facts={"done": True})

    async def heal(self) -> Evidence:
        return Evidence(outcome="installed")


class Play:
    """A schedule over event files that the test writes. Nodes: n1 leads, A is bound to n2."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self.seq = 0
        for node in NODES:
            (folder / node).mkdir()
            (folder / node / "events.1.jsonl").touch()
        self.events = NodeEvents(folder, NODES)
        nursery.start_soon(self.events.follow, lambda name: 1)
        self.scene = SimpleNamespace(
            cluster=SimpleNamespace(names=NODES, leader="n1"),
            bound={"A": ["n2"]},
            old_leader="",
            bind=self._bind,
        )
        header = FaultsHeader(run="r", boot_id="b", origin_ns=0)
        self.log = FaultLog(folder / "faults.jsonl", header)
        self.schedule = Schedule(self.scene, self.log, 0, self.events, lambda text, fields: None)  # type: ignore[arg-type]

    async def _bind(self, step: Step) -> None:
        """Nothing is bound by these steps."""

    def report(self, node: str, event: str, **fields: Any) -> int:
        """The node writes one line; its seq."""
        self.seq += 1
        line = {"seq": self.seq, "t0": self.seq, "t1": self.seq, "clock": 0, "boot": 1, "term": 1}
        with (self.folder / node / "events.1.jsonl").open("a") as file:
            file.write(json.dumps(line | {"event": event} | fields) + "\n")
        return self.seq

    def records(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in (self.folder / "faults.jsonl").read_text().splitlines()[1:]
        ]


@asynccontextmanager
async def play(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    monkeypatch.setitem(schedules.KINDS, "vote", Told)
    async with trio.open_nursery() as nursery:
        yield Play(folder, nursery)
        nursery.cancel_scope.cancel()


async def started_by(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trigger: Trigger, tell: Callable[[Play], int]
) -> None:
    """`tell` returns the seq of the event that must have started the step."""
    async with play(folder, monkeypatch) as it:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                step = Step(id="a", kind="vote", on=trigger, targets=["n1"])
                nursery.start_soon(it.schedule.run, [step], trio.current_time())
                while not it.events._waiting:
                    await trio.lowlevel.checkpoint()
                wanted = tell(it)
        installed = it.records()[-1]
        assert installed["outcome"] == "installed"
        assert installed["evidence"]["done"]
        assert installed["evidence"]["on"]["seq"] == wanted


async def test_a_step_starts_on_the_event_of_its_node_with_its_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(it: Play) -> int:
        it.report("n2", "vote_granted", candidate="n1")
        it.report("n3", "append_ack", leader="n2", last_index=4)
        it.report("n3", "append_ack", leader="n1", last_index=4)
        return it.report("n2", "append_ack", leader="n1", last_index=4)

    trigger = Trigger(event="append_ack", node="$A", where={"leader": "n1", "last_index": 4})
    await started_by(tmp_path, monkeypatch, trigger, tell)


async def test_a_field_can_be_asked_to_be_a_bound_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(it: Play) -> int:
        it.report("n3", "append_ack", leader="n1", last_index=4)
        return it.report("n3", "append_ack", leader="n2", last_index=4)

    trigger = Trigger(event="append_ack", where={"leader": "$A"})
    await started_by(tmp_path, monkeypatch, trigger, tell)


async def test_the_event_that_counts_starts_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(it: Play) -> int:
        it.report("n2", "append_ack", leader="n1", last_index=4)
        it.report("n2", "commit", index=4)
        return it.report("n2", "append_ack", leader="n1", last_index=5)

    await started_by(tmp_path, monkeypatch, Trigger(event="append_ack", count=2), tell)


@pytest.mark.parametrize(("role", "node"), [("leader", "n1"), ("follower", "n3"), ("rest", "n1")])
async def test_a_role_says_whose_events_are_taken(
    role: str, node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"leader": "n2", "follower": "n1", "rest": "n2"}[role]

    def tell(it: Play) -> int:
        it.report(other, "commit", index=4)
        return it.report(node, "commit", index=4)

    await started_by(tmp_path, monkeypatch, Trigger(event="commit", node=role), tell)


async def test_an_event_that_does_not_come_leaves_the_step_skipped_and_says_what_it_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = Trigger(event="append_ack", node="$A", where={"leader": "n1"}, count=2, within_s=0.05)
    async with play(tmp_path, monkeypatch) as it:
        step = Step(id="a", kind="vote", on=trigger, targets=["n1"])
        await it.schedule.run([step], trio.current_time())
        asked, installed = it.records()
    assert (asked["action"], installed["outcome"]) == ("asked", "skipped")
    assert installed["because"] == "append_ack leader=n1 at $A, 2 times did not come within 0.05 s"
    assert "on" not in installed.get("evidence", {})
