"""Whole frames held, dropped, duplicated or delayed by message kind and direction: embedded links only.

Evidence: at the heal the rule's own counters tell how many frames it met, inside the link server that
stands between the nodes; a rule that met none is indeterminate.
"""

from __future__ import annotations

from harness.faults.base import Scene
from harness.faults.evidence import Evidence, skipped
from harness.faults.network import step_links
from harness.links.rules import FrameRule, RuleState
from harness.plan import Step
from harness.recorder import monotonic_ns


class Frames:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene, step = self.scene, self.step
        await scene.refresh()
        pairs = step_links(scene, step)
        targets = {"leader": scene.cluster.leader, "links": [list(pair) for pair in pairs]}
        if not pairs:
            return skipped("no link to strike: no leader is known", **targets)
        args = {
            name: value for name, value in step.args.items() if name not in ("links", "do", "kinds")
        }
        begin = monotonic_ns()
        report = await scene.cluster.links.add_rule(
            FrameRule(
                id=step.id,
                links=[f"{a}-{b}" for a, b in pairs],
                kinds=list(step.args.get("kinds", [])),
                action=step.args["do"],
                **args,
            )
        )
        return Evidence(
            outcome="indeterminate" if report.indeterminate else "installed",
            because=report.because,
            targets=targets,
            begin=begin,
            end=monotonic_ns(),
        )

    async def heal(self) -> Evidence:
        begin = monotonic_ns()
        state = (await self.scene.cluster.links.rules()).get(self.step.id)
        await self.scene.cluster.links.remove_rule(self.step.id)
        met = 0 if state is None else state.matched
        return Evidence(
            outcome="installed" if met else "indeterminate",
            because=None if met else "no frame met the rule",
            facts={} if state is None else {"counters": _counters(state)},
            begin=begin,
            end=monotonic_ns(),
        )


def _counters(state: RuleState) -> dict[str, int]:
    return {name: getattr(state, name) for name in RuleState.__struct_fields__ if name != "rule"}
