"""What every kind of fault is given and what it answers: `install() -> Evidence`, `heal() -> Evidence`, both idempotent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from harness.cluster import Cluster
from harness.faults.evidence import Evidence, LagMeter
from harness.faults.targets import Cast, resolve
from harness.layout import Layout
from harness.plan import ExpandedPlan, Step
from harness.seeds import stream

SOMEBODY_S = 2.0
"""An election without the old leader takes about E + D and two ticks: 0.8 s in the test profile."""


class Fault(Protocol):
    """One step of the schedule, resolved. The caller owns the deadline of both calls."""

    async def install(self) -> Evidence: ...

    async def heal(self) -> Evidence: ...


class Scene:
    """The run as a fault sees it."""

    def __init__(
        self, cluster: Cluster, layout: Layout, expanded: ExpandedPlan, lag: LagMeter
    ) -> None:
        self.cluster = cluster
        self.layout = layout
        self.expanded = expanded
        self.lag = lag
        self.old_leader = ""
        self.bound: dict[str, list[str]] = {}
        plan = expanded.plan
        self.first_members = cluster.names[: plan.members or plan.nodes]
        self.members = list(self.first_members)
        """Who belongs to the group, as far as the harness has seen."""
        self.addresses = {name: link.listen for name, link in cluster.links.table.links.items()}

    def cast(self) -> Cast:
        return Cast(
            nodes=self.members,
            spares=[name for name in self.cluster.names if name not in self.members],
            leader=self.cluster.leader,
            old_leader=self.old_leader or self.cluster.leader,
            bound=self.bound,
        )

    async def refresh(self) -> None:
        """Learn who leads now (asked, not remembered)."""
        await self.cluster.current_leader()
        if not self.old_leader:
            self.old_leader = self.cluster.leader

    def resolve(self, step: Step) -> list[str]:
        """The names of the step's targets now."""
        random = stream(self.expanded.seed, f"targets/{step.id}")
        names: list[str] = []
        for role in step.targets:
            names += [name for name in resolve(role, self.cast(), random) if name not in names]
        return names

    def resolve_role(self, role: str, step: Step) -> list[str]:
        """The names of one role now."""
        return resolve(role, self.cast(), stream(self.expanded.seed, f"targets/{step.id}/{role}"))

    async def resolve_running(self, step: Step) -> list[str]:
        """As `resolve`, but waits a little for somebody to strike: a leader that died is known as the leader until the next
        one is there.
        """
        give_up = trio.current_time() + SOMEBODY_S
        while True:
            await self.refresh()
            names = self.resolve(step)
            members = self.cluster.members
            if any(members[name].process is not None for name in names):
                return names
            if trio.current_time() >= give_up:
                return names
            await trio.sleep(0.05)

    async def bind(self, step: Step) -> None:
        """Resolve the step's bindings; no two of one step name the same node."""
        if not step.binds:
            return
        await self.refresh()
        random = stream(self.expanded.seed, f"binds/{step.id}")
        taken: set[str] = set()
        for name in step.binds:
            self.bound.pop(name, None)
        for name, role in step.binds.items():
            cast = msgspec.structs.replace(self.cast(), taken=frozenset(taken))
            self.bound[name] = resolve(role, cast, random)
            taken |= set(self.bound[name])


async def until(condition: Callable[[], bool], deadline_s: float, pace_s: float = 0.02) -> bool:
    """Poll until the condition holds (of /proc, which nobody can wait on); False at the deadline."""
    deadline = trio.current_time() + deadline_s
    while trio.current_time() < deadline:
        if condition():
            return True
        await trio.sleep(pace_s)
    return condition()
