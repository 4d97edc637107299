"""How one seed makes a schedule and clients' streams of a declared plan: pure, byte-equal for equal arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from harness.plan import (
    MEMBERSHIPS,
    SETTLE_S,
    ClientStream,
    ExpandedPlan,
    Plan,
    Step,
    check_plan,
    cuts_leader_first,
    drift_bound,
)
from harness.seeds import Stream, stream


def expand(plan: Plan, seed: int) -> ExpandedPlan:
    """The schedule and the clients' streams that this plan and seed give; pure, byte-equal for equal arguments."""
    check_plan(plan)
    steps = sorted(
        [*random_steps(plan, seed), *repeated(plan)],
        key=lambda step: (step.at_s if step.at_s is not None else -1.0, step.id),
    )
    pinned = (plan.clients + 1) // 2
    clients = [
        ClientStream(
            client=client,
            stream=f"client/{client}",
            pinned=f"n{(client // 2) % plan.nodes + 1}" if client % 2 == 0 else "",
        )
        for client in range(plan.clients)
    ]
    assert sum(1 for c in clients if c.pinned) >= pinned
    return ExpandedPlan(seed=seed, plan=plan, steps=steps, clients=clients)


def repeated(plan: Plan) -> list[Step]:
    """The scripted steps, and their repetitions if the plan repeats them."""
    if plan.repeat_every_s <= 0:
        return list(plan.steps)
    steps: list[Step] = []
    count = max(1, int(plan.time_s // plan.repeat_every_s))
    for turn in range(count):
        shift = turn * plan.repeat_every_s
        for step in plan.steps:
            args = dict(step.args)
            if step.kind == "heal":
                args["steps"] = [f"{name}.{turn}" for name in args.get("steps", [])]
            trigger = step.on
            if trigger is not None:
                trigger = msgspec.structs.replace(
                    trigger,
                    after_s=trigger.after_s + shift,
                    after_step=f"{trigger.after_step}.{turn}" if trigger.after_step else "",
                )
            steps.append(
                msgspec.structs.replace(
                    step,
                    id=f"{step.id}.{turn}",
                    at_s=None if step.at_s is None else step.at_s + shift,
                    on=trigger,
                    args=args,
                )
            )
    return steps


def random_steps(plan: Plan, seed: int) -> list[Step]:
    """Kinds are dealt from shuffled decks, so that a run of some length meets each of them.

    A drifting clock is dealt together with a cut of the leader inside it (if the plan allows both): either alone leaves a
    lease's end untried. That pair also opens the run, while all else is well; later faults overlap as they come.
    """
    faults = plan.faults
    if faults.intensity <= 0 or not faults.kinds:
        return []
    random = stream(seed, "faults")
    pairs = "clock_rate" in faults.kinds and cuts_leader_first(faults)
    again = "clock_rate" if pairs else "partition"
    kinds = Deck(
        random,
        faults.kinds,
        first="clock_rate" if pairs else "partition",
        later=(*faults.kinds, *(kind for kind in faults.kinds if kind == again)),
    )
    shapes = Deck(random, faults.partitions, first="" if pairs else "minority_with_leader")
    processes = Deck(random, ("leader", "one", "minority"), first="leader")
    losses = Deck(random, ("leader", "one", "minority", "all"), first="leader")
    changes = Deck(random, MEMBERSHIPS if plan.members < plan.nodes else ("shrink",))
    steps: list[Step] = []

    def add(kind: str, at_s: float, for_s: float, targets: Sequence[str] = (), **args: Any) -> None:
        steps.append(
            Step(
                id=f"f{len(steps):03d}",
                kind=kind,
                at_s=round(at_s, 3),
                for_s=round(min(for_s, max(0.5, plan.time_s - at_s)), 3),
                targets=list(targets),
                args=args,
            )
        )

    # A short run deals its first round faster, so that no kind is left out.
    first_gap_s = min(faults.every_s, (plan.time_s - 2.5) / (len(faults.kinds) + 1))
    dealt = 0
    at_s = random.uniform(0.2, 0.6)
    while at_s < plan.time_s - 0.8:
        kind = kinds.draw()
        dealt += 1
        for_s = random.uniform(*faults.length_s)
        if kind == "partition":
            add(kind, at_s, for_s, shape=shapes.draw(), clients="split")
        elif kind in ("pause", "kill"):
            add(kind, at_s, for_s, [processes.draw()])
        elif kind == "power_loss":
            add(kind, at_s, for_s, [losses.draw()])
        elif kind == "clock_rate":
            ratio = 1 + random.uniform(0.92, 1.0) * faults.clock_ratio * drift_bound(plan)
            slow = random.choice((1.0, ratio**-0.5, 1 / ratio))
            rates = {"leader": round(slow, 4), "followers": round(slow * ratio, 4)}
            if pairs:
                # On a group that is whole: a leader cut off from two dead nodes proves nothing about leases.
                at_s = max(at_s, max((end_s(step) + SETTLE_S for step in steps), default=0.0))
                if at_s >= plan.time_s - 2.0:
                    break
            # Its evidence takes half a second, and a lease under it should have begun under it.
            cut_s = random.uniform(0.9, 1.3)
            for_s = min(for_s, max(faults.length_s[0], 1.8))
            add(kind, at_s, cut_s + for_s, rates=rates)
            if pairs:
                at_s += cut_s
                add("partition", at_s, for_s, shape="minority_with_leader", clients="split")
                at_s += 0.6
        elif kind == "clock_offset":
            target = random.choice(("leader", "one"))
            add(kind, at_s, for_s, [target], offset_ms=round(random.uniform(*faults.offset_ms), 2))
        elif kind == "membership":
            add(kind, at_s, for_s, shape=changes.draw())
        elif kind == "transfer":
            add(kind, at_s, 0.5, ["follower"])
        elif kind == "snapshot":
            add(kind, at_s, 0.5, [random.choice(("leader", "one", "all"))])
        elif kind == "latency":
            ms = round(random.uniform(*faults.latency_ms), 1)
            add(kind, at_s, for_s, links=[["one", "all"]], ms=ms)
        gap_s = first_gap_s if dealt < len(faults.kinds) else faults.every_s
        at_s += random.uniform(0.6, 1.4) * max(0.3, gap_s) / faults.intensity
    return steps


def end_s(step: Step) -> float:
    """When a drawn step is healed, in seconds of the safety phase."""
    return (step.at_s or 0.0) + (step.for_s or 0.0)


class Deck:
    """Deals its cards in shuffled order and starts again; `first` is dealt first if it is among them.

    From the second round on the cards are `later`, if given.
    """

    def __init__(
        self, random: Stream, cards: tuple[str, ...], first: str = "", later: tuple[str, ...] = ()
    ) -> None:
        self._random = random
        self._later = later or cards
        self._left = [*random.sample(cards, len(cards))]
        if first in self._left:
            self._left.remove(first)
            self._left.append(first)

    def draw(self) -> str:
        if not self._left:
            self._left = self._random.sample(self._later, len(self._later))
        return self._left.pop()
