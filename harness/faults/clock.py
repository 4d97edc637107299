"""Clocks: the node's own *monotonic* clock runs at another rate, or jumps forward.

Evidence: bracketed readings (true, node, true). A rate needs two of them at least 500 ms apart, and a node's restart gets the
desired rate on its command line; an offset is proved by a jump of at least 80 % of the one asked.
"""

from __future__ import annotations

from typing import Any

import trio

from harness.errors import HarnessError
from harness.faults.base import Scene
from harness.faults.evidence import Evidence, skipped
from harness.faults.targets import resolve
from harness.plan import Step
from harness.recorder import monotonic_ns
from harness.seeds import stream

BASE_S = 0.52
ANSWER_S = 0.5
RATE_ERROR_MAX = 0.01
WAIT_S = 5.0


class ClockRate:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step
        self.rates: dict[str, float] = {}

    async def install(self) -> Evidence:
        scene, step = self.scene, self.step
        await scene.refresh()
        random = stream(scene.expanded.seed, f"targets/{step.id}")
        wanted: dict[str, float] = {}
        for role, rate in step.args["rates"].items():
            for name in resolve(role, scene.cast(), random):
                wanted[name] = float(rate)
        targets = {"nodes": sorted(wanted), "rates": wanted, "leader": scene.cluster.leader}
        if not wanted:
            return skipped("no leader is known", **targets)
        owned = {
            name: scene.cluster.members[name].clock_owner
            for name in wanted
            if scene.cluster.members[name].clock_owner not in ("", step.id)
        }
        if owned:
            return skipped(f"clocks that another step owns: {owned}", **targets)
        self.rates = wanted
        begin = monotonic_ns()
        await self._set(wanted)
        end = monotonic_ns()
        for name in wanted:
            scene.cluster.members[name].clock_owner = step.id
        return await self._prove(wanted, targets, begin, end)

    async def _set(self, rates: dict[str, float]) -> None:
        async def one(name: str, rate: float) -> None:
            member = self.scene.cluster.members[name]
            member.rate = rate
            if member.running:
                with trio.move_on_after(ANSWER_S):
                    try:
                        await self.scene.cluster.system.set_clock(name, rate=rate)
                    except (OSError, HarnessError):
                        return

        async with trio.open_nursery() as nursery:
            for name, rate in rates.items():
                nursery.start_soon(one, name, rate)

    async def _prove(
        self, rates: dict[str, float], targets: dict[str, Any], begin: int, end: int
    ) -> Evidence:
        measured: dict[str, float] = {}
        wrong: list[str] = []
        give_up = trio.current_time() + WAIT_S
        # Nodes that are down get the rate on their next command line: it is measured when one is back.
        while not measured and rates and trio.current_time() < give_up:
            measured, wrong = await self._measure(rates)
        outcome, because = "installed", None
        if wrong:
            outcome, because = "indeterminate", f"the measured rate is not the one asked: {wrong}"
        elif not measured:
            outcome, because = "indeterminate", "no node could be measured"
        return Evidence(
            outcome=outcome,  # type: ignore[arg-type]
            because=because,
            targets=targets | {"nodes": sorted(measured)},
            facts={
                "asked": rates,
                "measured": {k: round(v, 5) for k, v in measured.items()},
                "not_measured": sorted(set(rates) - set(measured)),
            },
            begin=begin,
            end=end,
        )

    async def _measure(self, rates: dict[str, float]) -> tuple[dict[str, float], list[str]]:
        """(rates between two bracketed readings, who has another rate than the one asked)."""
        first = await self._read(rates)
        await trio.sleep(BASE_S)
        second = await self._read(rates)
        measured: dict[str, float] = {}
        wrong: list[str] = []
        for name, rate in rates.items():
            if name not in first or name not in second or first[name][3] != second[name][3]:
                continue
            a, b = first[name], second[name]
            span = (b[0] + b[2] - a[0] - a[2]) / 2
            measured[name] = (b[1] - a[1]) / span
            slack = (b[2] - b[0] + a[2] - a[0]) / span
            if abs(measured[name] / rate - 1) > RATE_ERROR_MAX + slack:
                wrong.append(name)
        return measured, wrong

    async def _read(self, names: dict[str, float]) -> dict[str, tuple[int, int, int, int]]:
        found: dict[str, tuple[int, int, int, int]] = {}

        async def one(name: str) -> None:
            reading = await read_clock(self.scene, name)
            if reading is not None:
                found[name] = (*reading, self.scene.cluster.members[name].boot)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
        return found

    async def heal(self) -> Evidence:
        begin = monotonic_ns()
        rates = {
            name: 1.0
            for name in self.rates
            if self.scene.cluster.members[name].clock_owner == self.step.id
        }
        await self._set(rates)
        end = monotonic_ns()
        try:
            evidence = await self._prove(rates, {"nodes": sorted(rates)}, begin, end)
        finally:
            # Owned until it is proved: a successor that took the clocks meanwhile would spoil the measurement.
            for name in rates:
                self.scene.cluster.members[name].clock_owner = ""
        if not any(self.scene.cluster.members[name].running for name in rates):
            evidence.outcome = "skipped"
            evidence.because = "no target runs: the next life starts at rate 1"
        return evidence


class ClockOffset:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene, step = self.scene, self.step
        await scene.refresh()
        names = scene.resolve(step)
        targets = {"nodes": names, "leader": scene.cluster.leader}
        asked = round(float(step.args["offset_ms"]) * 1e6)
        begin = monotonic_ns()
        jumps: dict[str, float] = {}
        for name in names:
            before = await read_clock(scene, name)
            if before is None:
                continue
            with trio.move_on_after(ANSWER_S):
                try:
                    await scene.cluster.system.set_clock(name, offset_ns=asked)
                except (OSError, HarnessError):
                    continue
            after = await read_clock(scene, name)
            if after is None:
                continue
            rate = scene.cluster.members[name].rate
            span = (after[0] + after[2] - before[0] - before[2]) / 2
            jumps[name] = (after[1] - before[1]) - span * rate
        end = monotonic_ns()
        if not jumps:
            return skipped("no target answered", **targets)
        small = [name for name, jump in jumps.items() if jump < 0.8 * asked]
        return Evidence(
            outcome="indeterminate" if small else "installed",
            because=f"the measured jump is too small: {small}" if small else None,
            targets=targets | {"nodes": sorted(jumps)},
            facts={"asked_ns": asked, "measured_ns": {k: round(v) for k, v in jumps.items()}},
            begin=begin,
            end=end,
        )

    async def heal(self) -> Evidence:
        now = monotonic_ns()
        return Evidence(
            outcome="installed",
            because="an offset stays: a monotonic clock does not go back",
            begin=now,
            end=now,
        )


async def read_clock(scene: Scene, name: str) -> tuple[int, int, int] | None:
    """One bracketed reading (true before, node's clock, true after) in ns, or None if the node does not answer."""
    if not scene.cluster.members[name].running:
        return None
    with trio.move_on_after(ANSWER_S):
        try:
            return await scene.cluster.system.read_clock(name)
        except (OSError, HarnessError):
            return None
    return None
