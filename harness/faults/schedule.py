"""Runs the steps of an expanded plan: each waits for its time or a node's event, installs, and heals when its time is over.

Every action leaves its record in faults.jsonl: asked before anything is done, then what took effect, then the heal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from harness.faults.admin import Snapshot, Transfer, Vote
from harness.faults.base import Fault, Scene
from harness.faults.clock import ClockOffset, ClockRate
from harness.faults.evidence import Evidence, skipped
from harness.faults.frames import Frames
from harness.faults.membership import Membership
from harness.faults.network import SlowLinks
from harness.faults.partition import Partition
from harness.faults.process import Kill, Pause
from harness.faults.triggers import Happened, NodeEvents
from harness.plan import Step, Trigger
from harness.recorder import FaultLog, monotonic_ns

KINDS: dict[str, Callable[[Scene, Step], Fault]] = {
    "partition": Partition,
    "pause": Pause,
    "kill": Kill,
    "power_loss": Kill,
    "clock_rate": ClockRate,
    "clock_offset": ClockOffset,
    "latency": SlowLinks,
    "membership": Membership,
    "transfer": Transfer,
    "snapshot": Snapshot,
    "vote": Vote,
    "frames": Frames,
}
WITHOUT_HEAL = ("vote", "transfer", "snapshot", "clock_offset")
ACTION_DEADLINE_S = 12.0


class Schedule:
    """All steps of one run. `run` starts them; `heal_all` heals what is still in force."""

    def __init__(
        self,
        scene: Scene,
        log: FaultLog,
        origin_ns: int,
        events: NodeEvents,
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.scene = scene
        self.log = log
        self.events = events
        self._origin = origin_ns
        self._note = note
        self._active: dict[str, tuple[Step, Fault]] = {}
        self._installed: dict[str, trio.Event] = {}
        self._healing: set[str] = set()
        self._started_by: dict[str, Happened] = {}

    def in_force(self) -> list[str]:
        """Words for what is in force now."""
        return [describe(step) for step, _ in self._active.values()]

    async def run(self, steps: list[Step], begin: float) -> None:
        """Carry out all steps; `begin` (trio's clock) is the start of the safety phase. Ends when all are done."""
        self._installed = {step.id: trio.Event() for step in steps}
        async with trio.open_nursery() as nursery:
            for step in steps:
                nursery.start_soon(self._carry_out, step, begin)

    async def _carry_out(self, step: Step, begin: float) -> None:
        if step.on is not None:
            happened = await self._await_trigger(step.on, begin)
            if happened is None:
                self._skip(step, f"{words(step.on)} did not come within {step.on.within_s:g} s")
                return
            self._started_by[step.id] = happened
        else:
            await trio.sleep_until(begin + (step.at_s or 0.0))
        if step.delay_s:
            await trio.sleep(step.delay_s)
        if step.kind == "heal":
            for name in step.args.get("steps", []):
                await self.heal(name)
            self._installed[step.id].set()
            return
        await self.install(step)
        if step.for_s is not None and step.id in self._active:
            await trio.sleep(step.for_s)
            await self.heal(step.id)

    async def _await_trigger(self, trigger: Trigger, begin: float) -> Happened | None:
        """None if the event did not come in time."""
        if trigger.after_step:
            event = self._installed.get(trigger.after_step)
            if event is not None:
                await event.wait()
        mark = self.events.now()
        await trio.sleep_until(begin + trigger.after_s)
        with trio.move_on_after(trigger.within_s or math.inf):
            happened = await self.events.wait(trigger, self._names, mark)
            if trigger.bind:
                self.scene.bound[trigger.bind] = [happened.node]
            return happened
        return None

    def _names(self, role: str) -> list[str]:
        if not role:
            return self.scene.cluster.names
        if role == "leader":
            return [self.scene.cluster.leader]
        if role == "follower":
            return [n for n in self.scene.cluster.names if n != self.scene.cluster.leader]
        if role == "old_leader":
            return [self.scene.old_leader]
        if role == "rest":
            named = {name for names in self.scene.bound.values() for name in names}
            return [name for name in self.scene.cluster.names if name not in named]
        if role.startswith("$"):
            return self.scene.bound.get(role[1:], [])
        return [role]

    def _ask(self, step: Step) -> None:
        now = monotonic_ns() - self._origin
        self.log.write(
            step=step.id,
            action="asked",
            kind=step.kind,
            asked={"targets": step.targets, **step.args},
            time_begin=now,
            time_end=now,
        )

    def _skip(self, step: Step, because: str) -> None:
        """A step that never began is told like any other that did nothing."""
        if step.kind != "heal":
            self._ask(step)
            self._write(step, "installed", skipped(because))
        self._note(f"{describe(step)}: skipped ({because})", {"step": step.id, "kind": step.kind})

    async def install(self, step: Step) -> Evidence:
        """Install `step` now and record what took effect."""
        fault = KINDS[step.kind](self.scene, step)
        self._ask(step)
        self._active[step.id] = (step, fault)
        await self.scene.bind(step)
        evidence = await self._act(fault.install)
        started_by = self._started_by.get(step.id)
        if started_by is not None:
            evidence.facts = evidence.facts | {"on": msgspec.to_builtins(started_by)}
        record = self._write(step, "installed", evidence)
        if evidence.outcome == "skipped" or step.kind in WITHOUT_HEAL:
            self._active.pop(step.id, None)
        self._installed.setdefault(step.id, trio.Event()).set()
        self._note(
            f"{describe(step)}: {record.outcome}"
            + (f" ({record.because})" if record.because else ""),
            {"step": step.id, "kind": step.kind, "outcome": record.outcome},
        )
        return evidence

    async def heal(self, name: str) -> Evidence | None:
        """Heal the step `name` if it is in force."""
        if name not in self._active or name in self._healing:
            return None
        self._healing.add(name)
        step, fault = self._active[name]
        try:
            evidence = await self._act(fault.heal)
        finally:
            self._healing.discard(name)
        # Only now: a heal that was cancelled half-way must be done again (by heal_all).
        self._active.pop(name, None)
        record = self._write(step, "healed", evidence)
        self._note(
            f"healed {describe(step)}" + (f" ({record.because})" if record.because else ""),
            {"step": step.id, "kind": step.kind, "outcome": record.outcome},
        )
        return evidence

    async def heal_all(self) -> bool:
        """Heal everything in force, all at once; True if every heal was proved."""
        proved: list[bool] = []

        async def one(name: str) -> None:
            evidence = await self.heal(name)
            proved.append(evidence is None or evidence.outcome != "indeterminate")

        async with trio.open_nursery() as nursery:
            for name in list(self._active):
                nursery.start_soon(one, name)
        return all(proved)

    async def _act(self, action: Callable[[], Any]) -> Evidence:
        begin = monotonic_ns()
        with trio.move_on_after(ACTION_DEADLINE_S):
            evidence: Evidence = await action()
            return evidence
        return Evidence(
            outcome="indeterminate",
            because=f"not done within {ACTION_DEADLINE_S:.0f} s",
            begin=begin,
            end=monotonic_ns(),
        )

    def _write(self, step: Step, action: Any, evidence: Evidence) -> Any:
        return self.log.write(
            step=step.id,
            action=action,
            kind=step.kind,
            asked={"targets": step.targets, **step.args},
            targets=evidence.targets,
            time_begin=evidence.begin - self._origin,
            time_end=evidence.end - self._origin,
            outcome=evidence.outcome,
            because=evidence.because,
            evidence=evidence.facts,
        )


def describe(step: Step) -> str:
    """A few words for a person."""
    what = step.args.get("shape") or ",".join(step.targets)
    if step.kind == "clock_rate":
        what = " ".join(f"{role} x{rate}" for role, rate in step.args["rates"].items())
    elif step.kind == "partition" and "links" in step.args:
        what = ", ".join(f"{a} to {b}" for a, b in step.args["links"])
    elif step.kind in ("latency", "frames"):
        what = ", ".join(f"{a} to {b}" for a, b in step.args.get("links", []))
    return f"{step.kind.replace('_', ' ')} {what}".strip()


def words(trigger: Trigger) -> str:
    """What a step waits for, for a person."""
    where = "".join(f" {field}={value}" for field, value in trigger.where.items())
    times = f", {trigger.count} times" if trigger.count > 1 else ""
    return trigger.event + where + (f" at {trigger.node}" if trigger.node else "") + times
