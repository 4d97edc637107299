"""Steps that an operator takes: a manual vote(E'), a transfer of the leadership, a snapshot.

Evidence is the status of the node that it is about, never the answer to the request alone. None of them needs a heal.
"""

from __future__ import annotations

import trio

from harness.errors import HarnessError
from harness.faults.base import Scene
from harness.faults.evidence import Evidence, skipped
from harness.plan import Step
from harness.recorder import monotonic_ns

ELECTION_S = 1.0
TRANSFER_S = 2.0
SNAPSHOT_S = 5.0


class NoHeal:
    """What was done stays done."""

    async def heal(self) -> Evidence:
        now = monotonic_ns()
        return Evidence(outcome="installed", because="it needs no heal", begin=now, end=now)


class Vote(NoHeal):
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


class Transfer(NoHeal):
    """Evidence: another node than the one that was asked tells that it leads, in a later term."""

    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene = self.scene
        await scene.refresh()
        leader, term = scene.cluster.leader, scene.cluster.term
        wanted = [name for name in scene.resolve(self.step) if name != leader][:1]
        targets = {"leader": leader, "to": wanted[0] if wanted else ""}
        if not leader or (self.step.targets and not wanted):
            return skipped("there is nobody to hand over, or nobody to take it", **targets)
        begin = monotonic_ns()
        answer = "carried out"
        try:
            with trio.move_on_after(TRANSFER_S) as waiting:
                await scene.cluster.system.transfer(leader, targets["to"])
            if waiting.cancelled_caught:
                answer = f"no answer within {TRANSFER_S:g} s"
        except (OSError, HarnessError) as error:
            answer = str(error)
        end = monotonic_ns()
        with trio.move_on_after(ELECTION_S):
            while scene.cluster.leader == leader or scene.cluster.term == term:
                await scene.cluster.statuses()
                await trio.sleep(0.01)
        moved = scene.cluster.leader != leader and scene.cluster.term > term
        return Evidence(
            outcome="installed" if moved else "indeterminate",
            because=None if moved else f"{leader} still leads; its answer: {answer}",
            targets=targets,
            facts={"answer": answer, "leader": scene.cluster.leader, "term": scene.cluster.term},
            begin=begin,
            end=end,
        )


class Snapshot(NoHeal):
    """Evidence: the index of the newest snapshot in the node's own status has grown."""

    def __init__(self, scene: Scene, step: Step) -> None:
        self.scene = scene
        self.step = step

    async def install(self) -> Evidence:
        scene = self.scene
        names = await scene.resolve_running(self.step)
        statuses = await scene.cluster.statuses()
        before = {name: statuses[name]["snapshot"]["index"] for name in names if name in statuses}
        if not before:
            return skipped("no target answers", nodes=names)
        begin = monotonic_ns()
        answers: dict[str, str] = {}

        async def one(name: str) -> None:
            try:
                with trio.move_on_after(SNAPSHOT_S) as waiting:
                    await scene.cluster.system.snapshot(name)
                answers[name] = "no answer in time" if waiting.cancelled_caught else "carried out"
            except (OSError, HarnessError) as error:
                answers[name] = str(error)

        async with trio.open_nursery() as nursery:
            for name in before:
                nursery.start_soon(one, name)
        end = monotonic_ns()
        statuses = await scene.cluster.statuses()
        after = {name: statuses[name]["snapshot"]["index"] for name in before if name in statuses}
        grown = [name for name in after if after[name] > before[name]]
        return Evidence(
            outcome="installed" if grown else "indeterminate",
            because=None if grown else f"no target's snapshot is newer: {answers}",
            targets={"nodes": list(before)},
            facts={"before": before, "after": after, "answers": answers},
            begin=begin,
            end=end,
        )
