"""Latency on links, and (on embedded links) whole frames held, dropped, duplicated or delayed by kind and direction.

Evidence: a ping through a slow link takes at least 80 % of the delay asked; a frame rule counts the frames that it met.
"""

from __future__ import annotations

from typing import Any

import trio

from harness.faults.base import Scene
from harness.faults.evidence import Evidence, answers, skipped
from harness.faults.targets import resolve
from harness.links.table import Latency
from harness.plan import Step
from harness.recorder import monotonic_ns
from harness.seeds import stream


def step_links(scene: Scene, step: Step) -> list[tuple[str, str]]:
    """The directed links that the step's `links` name; clients may be named as "clients"."""
    random = stream(scene.expanded.seed, f"targets/{step.id}")
    cast = scene.cast()
    clients = [f"c{client.client}" for client in scene.expanded.clients]
    pairs: list[tuple[str, str]] = []
    for source, target in step.args.get("links", [["all", "all"]]):
        sources = clients if source == "clients" else resolve(source, cast, random)
        for a in sources:
            pairs += [(a, b) for b in resolve(target, cast, random) if a != b]
    return list(dict.fromkeys(pairs))


class SlowLinks:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene, step = self.scene, self.step
        await scene.refresh()
        pairs = step_links(scene, step)
        targets: dict[str, Any] = {
            "leader": scene.cluster.leader,
            "links": [list(pair) for pair in pairs],
        }
        if not pairs:
            return skipped("no link to slow down: no leader is known", **targets)
        delay_ms = max(1, round(step.args["ms"]))
        names = [f"{a}-{b}" for a, b in pairs]
        report = await scene.cluster.links.apply(
            step.id, {name: Latency(delay_ms) for name in names}
        )
        times = await self._times(names, delay_ms)
        quick = sorted(name for name, ms in times.items() if ms < 0.8 * delay_ms)
        outcome, because = "installed", None
        if report.indeterminate:
            outcome, because = "indeterminate", report.because
        elif quick:
            outcome, because = "indeterminate", f"links that are not slow: {quick}"
        elif not times:
            outcome, because = "indeterminate", "no link passed a ping"
        return Evidence(
            outcome=outcome,  # type: ignore[arg-type]
            because=because,
            targets=targets,
            facts={"asked_ms": delay_ms, "ping_ms": times},
            begin=report.time_begin_ns,
            end=report.time_end_ns,
        )

    async def _times(self, names: list[str], delay_ms: int) -> dict[str, float]:
        times: dict[str, float] = {}

        async def one(name: str) -> None:
            begin = monotonic_ns()
            if await answers(self.scene.addresses[name], 1.0 + 4 * delay_ms / 1000):
                times[name] = round((monotonic_ns() - begin) / 1e6, 2)

        async with trio.open_nursery() as nursery:
            for name in names:
                if self.scene.cluster.members[name.split("-")[1]].running:
                    nursery.start_soon(one, name)
        return times

    async def heal(self) -> Evidence:
        report = await self.scene.cluster.links.lift(self.step.id)
        return Evidence(
            outcome="indeterminate" if report.indeterminate else "installed",
            because=report.because if report.indeterminate else None,
            begin=report.time_begin_ns,
            end=report.time_end_ns,
        )
