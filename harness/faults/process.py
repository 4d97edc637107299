"""Pauses, kills and power losses of whole processes.

Evidence: a pause is state T in /proc; a kill is SIGKILL in the wait status, which only the warden as the parent can see; a
restart is a higher boot in the node's status; a power loss is files cut to the length that was synced, with the bytes cut and
those that were still in user space.
"""

from __future__ import annotations

import signal
from typing import Any

import trio

from harness.faults.base import Scene, until
from harness.faults.evidence import Evidence, skipped
from harness.plan import Step
from harness.recorder import monotonic_ns

STOP_DEADLINE_S = 1.0
RESTART_DEADLINE_S = 6.0


class Pause:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step
        self.names: list[str] = []

    async def install(self) -> Evidence:
        cluster = self.scene.cluster
        names = await self.scene.resolve_running(self.step)
        targets = {"nodes": names, "leader": cluster.leader}
        begin = monotonic_ns()
        struck = [name for name in names if await cluster.pause(name, self.step.id)]
        end = monotonic_ns()
        self.names = struck
        if not struck:
            return skipped("no target has a running process", **targets)

        def stopped() -> bool:
            return all(_state(self.scene, name) in ("T", "") for name in struck)

        proved = await until(stopped, STOP_DEADLINE_S, 0.005)
        states = {name: _state(self.scene, name) for name in struck}
        return Evidence(
            outcome="installed" if proved and "T" in states.values() else "indeterminate",
            because=None if proved else f"not all are in state T: {states}",
            targets=targets | {"nodes": struck},
            facts={"states": states},
            begin=begin,
            end=end,
        )

    async def heal(self) -> Evidence:
        cluster = self.scene.cluster
        begin = monotonic_ns()
        resumed = [name for name in self.names if await cluster.resume(name, self.step.id)]
        end = monotonic_ns()
        running = await until(
            lambda: all(_state(self.scene, name) != "T" for name in resumed), STOP_DEADLINE_S, 0.005
        )
        return Evidence(
            outcome="installed" if running else "indeterminate",
            because=None if running else "a resumed process is still stopped",
            facts={"resumed": resumed, "kept": [n for n in self.names if n not in resumed]},
            begin=begin,
            end=end,
        )


def _state(scene: Scene, name: str) -> str:
    process = scene.cluster.members[name].process
    return "" if process is None else process.state()


class Kill:
    """SIGKILL, and a restart at the heal; `power_loss` also cuts the files to what was synced, before the restart."""

    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step
        self.names: list[str] = []
        self.boots: dict[str, int] = {}
        self.losses: dict[str, dict[str, Any]] = {}

    async def install(self) -> Evidence:
        cluster = self.scene.cluster
        names = await self.scene.resolve_running(self.step)
        targets = {"nodes": names, "leader": cluster.leader}
        living = [name for name in names if cluster.members[name].process is not None]
        self.names = names
        if not living:
            for name in names:
                cluster.members[name].down.add(self.step.id)
            return skipped("no target has a running process", **targets)
        begin = monotonic_ns()
        self.boots = {name: cluster.members[name].boot for name in living}
        statuses: dict[str, Any] = {}

        async def kill(name: str) -> None:
            status = await cluster.kill(name, self.step.id)
            statuses[name] = None if status is None else status.signal

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(kill, name)
        end = monotonic_ns()
        for name in living:
            if self.step.kind == "power_loss":
                self.losses[name] = cluster.system.cut_to_synced(name)
        killed = [name for name in living if statuses[name] == signal.SIGKILL]
        return Evidence(
            outcome="installed" if killed else "indeterminate",
            because=None if killed == living else f"wait status is not SIGKILL: {statuses}",
            targets=targets | {"nodes": killed or living},
            facts={"wait_signals": statuses, "boots": self.boots, "losses": self.losses},
            begin=begin,
            end=end,
        )

    async def heal(self) -> Evidence:
        cluster = self.scene.cluster
        begin = monotonic_ns()
        started = [name for name in self.names if await cluster.release(name, self.step.id)]
        boots: dict[str, int] = {}

        async def wait(name: str) -> None:
            with trio.move_on_after(RESTART_DEADLINE_S):
                status = await cluster.wait_boot(name, self.boots.get(name, 0) + 1)
                if status is not None:
                    boots[name] = status["boot"]

        async with trio.open_nursery() as nursery:
            for name in started:
                nursery.start_soon(wait, name)
        late = [name for name in started if name not in boots and not cluster.members[name].down]
        kept = [name for name in self.names if name not in started]
        return Evidence(
            outcome="installed" if not late and boots else ("indeterminate" if late else "skipped"),
            because=(
                f"no higher boot was seen of {late}"
                if late
                else (None if boots else "others keep the processes down, or they run already")
            ),
            targets={"nodes": sorted(boots)},
            facts={"boots": boots, "kept": kept, "losses": self.losses},
            begin=begin,
            end=monotonic_ns(),
        )
