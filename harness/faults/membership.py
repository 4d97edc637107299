"""Membership changes: the leader is asked for another group, and the heal asks for the first one again.

Evidence: a node that is in the new group, not only the leader that was asked, tells of it in its own status.
"""

from __future__ import annotations

import trio

from harness.errors import HarnessError
from harness.faults.base import Scene
from harness.faults.evidence import Evidence, skipped
from harness.plan import Step
from harness.recorder import monotonic_ns
from harness.seeds import stream

MEMBERS_MIN = 3
"""A drawn change leaves a group that survives one failure."""
CHANGE_S = 8.0
"""Catching up, two entries to commit, and an election in between."""
PACE_S = 0.1


class Membership:
    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    def wanted(self) -> list[str]:
        """The group that the step asks for, given who belongs to it now; [] if there is none to ask for."""
        scene, args = self.scene, self.step.args
        random = stream(scene.expanded.seed, f"membership/{self.step.id}")
        now = list(scene.members)
        spares = [name for name in scene.cluster.names if name not in now]
        if "shape" in args:
            shape = args["shape"]
            random.shuffle(now)
            random.shuffle(spares)
            if shape == "shrink" or (shape == "replace" and not spares):
                kept = now[1:] if len(now) > MEMBERS_MIN else []
            elif shape == "grow":
                kept = [*now, spares[0]] if spares else []
            elif shape == "replace":
                kept = [*now[1:], spares[0]]
            else:
                kept = [*now[len(spares) :], *spares] if spares else []
                kept = kept if len(spares) < len(now) else [now[0], *spares]
            return sorted(kept)
        out: list[str] = []
        for role in args.get("remove", []):
            out += scene.resolve_role(role, self.step)
        into: list[str] = []
        for role in args.get("add", []):
            into += scene.resolve_role(role, self.step)
        kept = [name for name in now if name not in out]
        return sorted({*kept, *into})

    async def install(self) -> Evidence:
        await self.scene.refresh()
        await learn(self.scene)
        return await self.change(self.wanted())

    async def heal(self) -> Evidence:
        return await self.change(self.scene.first_members)

    async def change(self, members: list[str]) -> Evidence:
        scene = self.scene
        before = sorted(scene.members)
        targets = {"before": before, "asked": members, "leader": scene.cluster.leader}
        if not members:
            return skipped("there is no spare node, or too few members", **targets)
        begin = monotonic_ns()
        answer = leader = ""
        seen: list[str] = []
        asked = 0
        with trio.move_on_after(CHANGE_S):
            while True:
                leader = await scene.cluster.current_leader()
                try:
                    asked += 1
                    with trio.move_on_after(CHANGE_S / 2):
                        await scene.cluster.system.change_members(leader, members)
                        answer = "carried out"
                except (OSError, HarnessError) as error:
                    answer = str(error)
                seen = await told_by(scene, members)
                if any(name != leader for name in seen) or seen == members:
                    break
                await trio.sleep(PACE_S)
        end = monotonic_ns()
        await learn(scene)
        done = any(name != leader for name in seen) or seen == members
        return Evidence(
            outcome="installed" if done else "indeterminate",
            because=None
            if done
            else f"only {seen or 'nobody'} tells of the new group; the last answer: {answer}",
            targets=targets,
            facts={"told_by": seen, "requests": asked, "answer": answer, "now": scene.members},
            begin=begin,
            end=end,
        )


async def told_by(scene: Scene, members: list[str]) -> list[str]:
    """The nodes whose own status shows just `members`, in no joint stage."""
    statuses = await scene.cluster.statuses()
    return sorted(
        name
        for name, status in statuses.items()
        if sorted(status["members"]) == sorted(members) and not status["old_members"]
    )


async def learn(scene: Scene) -> None:
    """The group as its leader tells it, if one answers."""
    statuses = await scene.cluster.statuses()
    status = statuses.get(scene.cluster.leader)
    if status is not None and status["state"] == "leader" and status["members"]:
        scene.members = sorted({*status["members"], *status["old_members"]})
