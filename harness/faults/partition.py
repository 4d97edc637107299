"""Partitions: sets of directed links that become black holes, clients split with the sides.

Evidence, link by link: a ping on a new connection through the link gets no answer while the target answers on another way
within the same second; and until the heal the target processed no request that the source initiated, from a grace after the
install (the target's own stamps say so).
"""

from __future__ import annotations

from typing import Any

import trio

from harness.faults.base import Scene
from harness.faults.evidence import GRACE_NS, Evidence, probe_links, skipped
from harness.faults.network import step_links
from harness.faults.targets import Cut as NodeCut
from harness.faults.targets import between, resolve, shape
from harness.links.table import Cut
from harness.plan import Step
from harness.recorder import monotonic_ns
from harness.seeds import stream

SILENCE_S = 0.2


class Partition:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step
        self.cut: list[str] = []
        self.installed_ns = 0
        self.leaks: list[str] | None = None

    async def install(self) -> Evidence:
        scene, step = self.scene, self.step
        await scene.refresh()
        leader = scene.cluster.leader
        pairs, note = self._pairs()
        if not pairs:
            return skipped(note or "no link to cut: no leader is known", leader=leader)
        self.cut = [f"{source}-{target}" for source, target in pairs]
        report = await scene.cluster.links.apply(step.id, {name: Cut() for name in self.cut})
        self.installed_ns = report.time_end_ns
        targets: dict[str, Any] = {"leader": leader, "links": [list(pair) for pair in pairs]}
        evidence = await self._prove(pairs)
        outcome, because = evidence.pop("outcome"), evidence.pop("because")
        if report.indeterminate:
            outcome, because = "indeterminate", report.because
        return Evidence(
            outcome=outcome,
            because=because,
            targets=targets,
            facts=evidence,
            begin=report.time_begin_ns,
            end=report.time_end_ns,
        )

    def _pairs(self) -> tuple[list[tuple[str, str]], str]:
        scene, step = self.scene, self.step
        random = stream(scene.expanded.seed, f"targets/{step.id}")
        cast = scene.cast()
        clients = [f"c{c.client}" for c in scene.expanded.clients]
        if "links" in step.args:
            return step_links(scene, step), ""
        name = step.args.get("shape", "minority_with_leader")
        if name == "clients":
            struck = [c for c in clients if random.random() < 0.5] or clients[:1]
            nodes = resolve(random.choice(("all", "leader", "minority")), cast, random)
            return [(c, n) for c in struck for n in nodes], ""
        cut: NodeCut = shape(name, cast, random)
        pairs = list(cut.links)
        if cut.sides is not None and step.args.get("clients", "split") == "split":
            pairs += self._split_clients(cut.sides)
        return pairs, ""

    def _split_clients(self, sides: tuple[list[str], list[str]]) -> list[tuple[str, str]]:
        """A pinned client stays with its node; of those that follow hints every second falls to the other side.

        Alternating, not independent draws: some surely stay with the old leader.
        """
        scene = self.scene
        random = stream(scene.expanded.seed, f"split/{self.step.id}")
        free = [client.client for client in scene.expanded.clients if not client.pinned]
        order = random.sample(free, len(free))
        turn = random.randrange(2)
        pairs: list[tuple[str, str]] = []
        for client in scene.expanded.clients:
            pinned_side = int(client.pinned not in sides[0])
            side = pinned_side if client.pinned else (order.index(client.client) + turn) % 2
            pairs += [(f"c{client.client}", node) for node in sides[1 - side]]
        return pairs

    async def _prove(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        scene = self.scene
        begin = monotonic_ns()
        alive: set[str] = set()

        async def ask(node: str) -> None:
            if await scene.cluster.status(node) is not None:
                alive.add(node)

        async with trio.open_nursery() as nursery:
            for node in {target for _, target in pairs}:
                nursery.start_soon(ask, node)
            passing, silent = await probe_links(
                {name: scene.addresses[name] for name in self.cut}, SILENCE_S
            )
        unheard = sorted(
            name
            for name in silent
            if name.split("-")[1] not in alive and scene.cluster.members[name.split("-")[1]].running
        )
        facts: dict[str, Any] = {
            "links_silent": len(silent),
            "links_passing": sorted(passing),
            "targets_answering": sorted(alive),
            "targets_not_running": sorted({t for _, t in pairs} - alive),
            "outcome": "installed",
            "because": None,
        }
        if passing:
            facts |= {
                "outcome": "indeterminate",
                "because": f"{len(passing)} of {len(self.cut)} links still pass a ping",
            }
        elif unheard:
            facts |= {
                "outcome": "indeterminate",
                "because": f"no other way to the target answered either: {_some(unheard)}",
            }
        elif not alive:
            # Whoever is dead answers nobody: silence proves a cut only beside an answer on another way.
            facts |= {"outcome": "indeterminate", "because": "no target of the cut runs"}
        elif scene.lag.lagged_since(begin):
            facts |= {"outcome": "indeterminate", "because": "the harness' own loop lagged"}
        return facts

    async def heal(self) -> Evidence:
        scene = self.scene
        if self.leaks is None:
            # Once, before anything is lifted: what passes after half a heal says nothing of the cut.
            self.leaks = await self._leaks()
        leaks = self.leaks
        report = await scene.cluster.links.lift(self.step.id)
        free = {
            name: scene.addresses[name]
            for name in self.cut
            if not scene.cluster.links.table.desired(name).cut
            and scene.cluster.members[name.split("-")[1]].running
        }
        passing, silent = await probe_links(free, 1.0)
        silent = {name for name in silent if scene.cluster.members[name.split("-")[1]].running}
        outcome, because = "installed", None
        if leaks:
            outcome, because = "indeterminate", f"requests came through the cut: {leaks}"
        elif report.indeterminate:
            outcome, because = "indeterminate", report.because
        elif silent:
            outcome, because = "indeterminate", f"healed links do not pass: {sorted(silent)}"
        return Evidence(
            outcome=outcome,  # type: ignore[arg-type]
            because=because,
            facts={"links_passing": len(passing), "leaks": leaks},
            begin=report.time_begin_ns,
            end=report.time_end_ns,
        )

    async def _leaks(self) -> list[str]:
        """Requests that a target processed from a source whose link to it was cut."""
        if not self.installed_ns:
            return []
        limit = self.installed_ns + GRACE_NS - scene_origin(self.scene)
        statuses = await self.scene.cluster.statuses()
        leaks = []
        for name in self.cut:
            source, target = name.split("-")
            stamps = statuses.get(target, {}).get("last_received", {})
            if stamps.get(source, 0) > limit:
                leaks.append(name)
        return leaks


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def scene_origin(scene: Scene) -> int:
    """The run's origin in ns of CLOCK_MONOTONIC: nodes stamp from there."""
    return scene.cluster.system.origin_ns


__all__ = ["Partition", "between"]
