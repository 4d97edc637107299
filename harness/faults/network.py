"""Latency on links, and which links a step means.

Evidence: the round trip of a ping through a slow link takes at least 80 % of twice the delay asked (each direction is delayed),
and after the heal one of several takes less.
"""

from __future__ import annotations

import math
from typing import Any, Final

import trio

from harness.faults.base import Scene
from harness.faults.evidence import Evidence, answers, skipped
from harness.faults.targets import resolve
from harness.links.table import HEALTHY, Latency
from harness.plan import Step
from harness.recorder import monotonic_ns
from harness.seeds import stream

SLOW_SHARE: Final = 0.8
HEAL_S: Final = 6.0
"""Of many pings one is quick, on a busy host too; a node that was just started answers after some seconds there."""


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
        self.slowed: list[str] = []
        self.delay_ms = 0

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
        self.slowed, self.delay_ms = names, delay_ms
        report = await scene.cluster.links.apply(
            step.id, {name: Latency(delay_ms) for name in names}
        )
        times = await self._times(names, 1.0 + 4 * delay_ms / 1000)
        quick = sorted(name for name, ms in times.items() if ms < SLOW_SHARE * 2 * delay_ms)
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

    async def _times(self, names: list[str], deadline_s: float) -> dict[str, float]:
        times: dict[str, float] = {}

        async def one(name: str) -> None:
            begin = monotonic_ns()
            if await answers(self.scene.addresses[name], deadline_s):
                times[name] = round((monotonic_ns() - begin) / 1e6, 2)

        async with trio.open_nursery() as nursery:
            for name in names:
                if self._running(name):
                    nursery.start_soon(one, name)
        return times

    def _running(self, link: str) -> bool:
        """Is there anybody at the far end who could answer?"""
        return self.scene.cluster.members[link.split("-")[1]].running

    async def heal(self) -> Evidence:
        links = self.scene.cluster.links
        report = await links.lift(self.step.id)
        late = {name for name in self.slowed if links.table.desired(name) == HEALTHY}
        fastest: dict[str, float] = {}
        slow_ms = SLOW_SHARE * 2 * self.delay_ms

        async def look(names: list[str], deadline_s: float) -> None:
            for name, ms in (await self._times(names, deadline_s)).items():
                fastest[name] = min(ms, fastest.get(name, math.inf))
            late.difference_update(
                name
                for name in names
                if not self._running(name) or fastest.get(name, math.inf) < slow_ms
            )

        # One quick answer is enough: a busy host is slow now and then, a slow link always. Asked all at once they make each
        # other slow, and asked one by one nobody waits for one that does not answer.
        with trio.move_on_after(HEAL_S):
            await look(sorted(late), 1.0 + 4 * self.delay_ms / 1000)
            while late:
                for name in sorted(late):
                    await look([name], slow_ms / 1000)
        outcome, because = "installed", None
        if report.indeterminate:
            outcome, because = "indeterminate", report.because
        elif late:
            outcome, because = "indeterminate", f"links that are still slow: {sorted(late)}"
        return Evidence(
            outcome=outcome,  # type: ignore[arg-type]
            because=because,
            facts={"ping_ms": fastest},
            begin=report.time_begin_ns,
            end=report.time_end_ns,
        )
