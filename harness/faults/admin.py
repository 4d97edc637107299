"""Admin steps: a manual vote(E') at a node (raft-node.md 3.6).

Evidence: the node's own status shows a pre-vote or candidacy begun, a higher term, or leadership.
"""

from __future__ import annotations

import trio

from harness.errors import HarnessError
from harness.faults.base import Scene
from harness.faults.evidence import Evidence, skipped
from harness.plan import Step
from harness.recorder import monotonic_ns

ELECTION_S = 1.0


class Vote:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene = self.scene
        statuses = await scene.cluster.statuses()
        if not scene.old_leader:
            scene.old_leader = scene.cluster.leader
        names = [name for name in scene.resolve(self.step) if name in statuses]
        targets = {"nodes": names, "leader": scene.cluster.leader}
        if not names:
            return skipped("no target answers", **targets)
        begin = monotonic_ns()
        tick = int(self.step.args.get("election_timeout_ms", 50))
        for name in names:
            try:
                with trio.move_on_after(ELECTION_S):
                    await scene.cluster.system.vote(name, tick)
            except (OSError, HarnessError) as error:
                return skipped(f"{name} refused: {error}", **targets)
        end = monotonic_ns()
        terms = {name: statuses[name]["term"] for name in names}
        moved: dict[str, str] = {}
        with trio.move_on_after(ELECTION_S):
            while len(moved) < len(names):
                for name in names:
                    status = await scene.cluster.status(name)
                    if status and (status["term"] > terms[name] or status["state"] != "follower"):
                        moved[name] = f"{status['state']} of term {status['term']}"
                await trio.sleep(0.01)
        return Evidence(
            outcome="installed" if moved else "indeterminate",
            because=None if moved else "no target began an election",
            targets=targets,
            facts={"before": terms, "after": moved},
            begin=begin,
            end=end,
        )

    async def heal(self) -> Evidence:
        now = monotonic_ns()
        return Evidence(outcome="installed", because="a vote needs no heal", begin=now, end=now)
