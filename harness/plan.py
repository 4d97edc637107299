"""What is to happen in a run, as data: the declared plan (TOML or options), and how one seed expands it.

The expanded plan holds no ports, paths, run ids or wall time, and role targets stay unresolved in it: two runs from one seed
have byte-equal expanded plans. Every draw comes from a named stream (harness/seeds.py), so adding a client leaves the fault
schedule as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from checkers.records.events import KINDS as EVENTS
from checkers.records.schema import Quotas
from harness.errors import PlanError as PlanError

KINDS: Final = (
    "partition",
    "pause",
    "kill",
    "power_loss",
    "clock_rate",
    "clock_offset",
    "latency",
    "membership",
    "transfer",
    "snapshot",
)
"""Kinds that the random schedule can draw. Scripted steps know also "vote", "frames" and "heal"."""

PARTITIONS: Final = (
    "halves",
    "one",
    "minority_with_leader",
    "majorities_ring",
    "bridge",
    "one_way",
    "clients",
)

MEMBERSHIPS: Final = ("replace", "shrink", "grow", "reshape")
"""What a drawn membership change does: one member for a spare, one out, one in, or all but one for spares (joint)."""

SCRIPTED: Final = (*KINDS, "vote", "frames", "heal")
"""Kinds that a scripted step can name."""

ROLES: Final = (
    "leader",
    "old_leader",
    "follower",
    "followers",
    "one",
    "minority",
    "majority",
    "all",
    "rest",
    "spare",
    "spares",
)

TRIGGER_ROLES: Final = ("leader", "old_leader", "follower", "rest")
"""Roles that say whose events a trigger takes: of "follower" and "rest" anybody's."""

SETTLE_S: Final = 1.1
"""From the time at which a drawn step is to be healed to a group that is whole: evidence of both ends, and a restart."""

STEP_ARGS: Final[dict[str, tuple[str, ...]]] = {
    "partition": ("shape", "links", "clients"),
    "pause": (),
    "kill": (),
    "power_loss": (),
    "clock_rate": ("rates",),
    "clock_offset": ("offset_ms",),
    "latency": ("links", "ms"),
    "membership": ("shape", "add", "remove"),
    "transfer": (),
    "snapshot": (),
    "vote": ("election_timeout_ms",),
    "frames": ("links", "direction", "kinds", "do", "delay_ms", "count", "after", "deliver"),
    "heal": ("steps",),
}


class WorkloadPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str = "register"
    params: dict[str, Any] = {}
    """Handed to the workload; it refuses what it does not know."""


class FaultsPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The random schedule. Times are seconds; each is drawn uniformly from its range."""

    kinds: tuple[str, ...] = ("partition", "pause", "power_loss", "kill", "clock_rate")
    partitions: tuple[str, ...] = PARTITIONS
    intensity: float = 1.0
    """Faults start on average every `every_s / intensity` seconds; 0 is no random faults."""
    every_s: float = 1.4
    length_s: tuple[float, float] = (1.2, 3.0)
    clock_ratio: float = 0.92
    """Of the declared bound D/E: the fastest voter's rate over the slowest leader's is at most 1 + clock_ratio * D/E."""
    offset_ms: tuple[float, float] = (1.0, 5.0)
    latency_ms: tuple[float, float] = (5.0, 40.0)


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Starts a step when a node reports `event` (and `where` matches its fields), not before `after_s`.

    Which event it was stands in the evidence of the step's record.
    """

    event: str
    node: str = ""
    """A name, a role of TRIGGER_ROLES, "$NAME" bound by a step, or "" for any."""
    where: dict[str, Any] = {}
    """Fields and their values; "$NAME" is the node bound so."""
    count: int = 1
    """Of the events that match, the one that starts the step."""
    after_s: float = 0.0
    after_step: str = ""
    """Only once that step is installed."""
    within_s: float = 0.0
    """Give up so many seconds later: the step is then recorded as skipped. 0: wait as long as the phase lasts."""
    bind: str = ""
    """Later steps may name the node where it happened as "$NAME"."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step of the schedule.

    kind      args
    partition shape, or links = [[from, to], ...] of names or roles; clients = "split" | "none"
    pause     (targets)
    kill      (targets); down_s is `for_s`; the node is restarted at the heal
    power_loss  as kill, and files are cut to their synced length before the restart
    clock_rate  rates = {target: rate}
    clock_offset  offset_ms (targets)
    latency   ms, links
    membership  shape, or add = [roles], remove = [roles]; the heal brings the first members back
    transfer  (targets: who shall lead; none: whoever is furthest); has no heal
    snapshot  (targets: who saves one now); has no heal
    vote      election_timeout_ms (targets); has no heal
    frames    embedded links only: links, direction, kinds, do = hold|drop|duplicate|delay, delay_ms, count, after, deliver
    heal      steps = [ids]: heals these steps now

    Targets: node names "n1".., or roles: "leader", "follower" (one), "followers" (all), "one" (any), "minority", "majority",
    "all", "spare" (one that is no member), "spares", "old_leader" (leader when the first step of this schedule ran), "$NAME"
    (bound by this or an earlier step), "rest" (nodes that no binding names).
    """

    id: str
    kind: str
    at_s: float | None = None
    on: Trigger | None = None
    delay_s: float = 0.0
    """After the trigger fired."""
    for_s: float | None = None
    """None: until a heal step or the end of the safety phase."""
    targets: list[str] = []
    binds: dict[str, str] = {}
    """{NAME: role}: resolved when the step runs; this and later steps may name the nodes as "$NAME"."""
    args: dict[str, Any] = {}


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The declared plan. `driftline run --plan FILE` reads it from TOML; options of the command line override fields."""

    name: str = "default"
    nodes: int = 5
    members: int = 0
    """How many of the nodes, from n1 on, are the group at first; the others are spares for membership changes. 0: all."""
    clients: int = 10
    time_s: float = 30.0
    """The safety phase."""
    quiet_s: float = 1.0
    """From ready to the first fault; clients run."""
    rate: float = 40.0
    """Operations per second and client; 0 is as fast as answers come."""
    op_timeout_ms: int = 250
    """Short, so that clients cut off from one node are soon at another: before a cut-off leader gives up."""
    retry: Literal["none", "session"] = "none"
    workload: WorkloadPlan = WorkloadPlan()
    node: dict[str, Any] = {}
    """Options of a node (node.api Options), checked by the system's adapter."""
    bugs: list[str] = []
    links: Literal["toxiproxy", "embedded"] = "toxiproxy"
    faults: FaultsPlan = FaultsPlan()
    steps: list[Step] = []
    """Scripted steps, beside the random schedule."""
    repeat_every_s: float = 0.0
    """> 0: the scripted steps run again and again with this period while the safety phase lasts."""
    quotas: Quotas | None = None
    """None: the default quotas, scaled to the run's length."""
    expect: list[str] = []
    wall_s: float = 0.0
    """Deadline of the whole run; 0: time_s + 60."""
    stop_at_first_violation: bool = False
    """Watch the history as it grows, and end the safety phase at the first event that nothing explains."""
    check_timeout_s: float = 60.0
    check_memory_mb: int = 2048
    system: str = "raft"


class ClientStream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name and parameters of one client's stream; op i of client c draws from it at position i only."""

    client: int
    stream: str
    pinned: str
    """The node it is pinned to, or "" for one that follows leader hints."""


class ExpandedPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str = "driftline-expanded-plan"
    version: int = 1
    seed: int
    plan: Plan
    steps: list[Step]
    clients: list[ClientStream]


def read_plan(path: Path) -> Plan:
    """Read a TOML plan; PlanError names the field's path, what was found and what is allowed."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise PlanError(f"the plan {path} cannot be used: {error}") from error


def check_plan(plan: Plan) -> None:
    """Refuse what cannot be done, before anything is started; PlanError says field, finding and mend."""

    def need(ok: bool, field: str, found: object, mend: str) -> None:
        if not ok:
            raise PlanError(f"plan field {field}: found {found!r}; {mend}")

    need(1 <= plan.nodes <= 9, "nodes", plan.nodes, "give 1 to 9")
    need(
        0 <= plan.members <= plan.nodes,
        "members",
        plan.members,
        f"give at most the {plan.nodes} nodes; 0 is all of them",
    )
    need(1 <= plan.clients <= 200, "clients", plan.clients, "give 1 to 200")
    need(0 < plan.time_s <= 86_400, "time_s", plan.time_s, "give more than 0 and at most 86400")
    need(plan.quiet_s >= 0, "quiet_s", plan.quiet_s, "a time cannot be negative")
    need(plan.rate >= 0, "rate", plan.rate, "a rate cannot be negative; 0 is unbounded")
    need(plan.op_timeout_ms > 0, "op_timeout_ms", plan.op_timeout_ms, "give more than 0")
    need(plan.wall_s >= 0, "wall_s", plan.wall_s, "a time cannot be negative")
    need(plan.check_timeout_s > 0, "check_timeout_s", plan.check_timeout_s, "give more than 0")
    need(plan.check_memory_mb >= 64, "check_memory_mb", plan.check_memory_mb, "give at least 64")
    need(plan.system == "raft", "system", plan.system, "known systems: raft")
    faults = plan.faults
    need(faults.intensity >= 0, "faults.intensity", faults.intensity, "give 0 or more")
    need(faults.every_s > 0, "faults.every_s", faults.every_s, "give more than 0")
    for name in ("length_s", "offset_ms", "latency_ms"):
        low, high = getattr(faults, name)
        need(0 < low <= high, f"faults.{name}", [low, high], "give 0 < low <= high")
    need(faults.clock_ratio > 0, "faults.clock_ratio", faults.clock_ratio, "give more than 0")
    for kind in faults.kinds:
        need(kind in KINDS, "faults.kinds", kind, f"this harness can make {', '.join(KINDS)}")
    for shape in faults.partitions:
        need(shape in PARTITIONS, "faults.partitions", shape, f"known: {', '.join(PARTITIONS)}")
    need(
        "partition" not in faults.kinds or bool(faults.partitions),
        "faults.partitions",
        [],
        "name at least one shape, or take partition out of faults.kinds",
    )
    if faults.intensity > 0 and faults.kinds:
        need(
            (plan.members or plan.nodes) >= 3,
            "members" if plan.members else "nodes",
            plan.members or plan.nodes,
            "faults need a quorum that survives: give at least 3 nodes, or faults.kinds = []",
        )
    names = {f"n{i + 1}" for i in range(plan.nodes)}
    seen: set[str] = set()
    bound: set[str] = set()
    for position, step in enumerate(plan.steps):
        if step.on is not None:
            check_trigger(plan, step.on, f"steps[{position}].on", names, need)
        where = f"steps[{position}]"
        need(bool(step.id) and step.id not in seen, f"{where}.id", step.id, "give a unique id")
        seen.add(step.id)
        need(
            step.kind in SCRIPTED,
            f"{where}.kind",
            step.kind,
            f"this harness can make {', '.join(SCRIPTED)}",
        )
        need(
            (step.at_s is None) != (step.on is None),
            where,
            {"at_s": step.at_s, "on": step.on is not None},
            "give either at_s or on",
        )
        need(step.at_s is None or step.at_s >= 0, f"{where}.at_s", step.at_s, "not negative")
        need(step.delay_s >= 0, f"{where}.delay_s", step.delay_s, "not negative")
        need(step.for_s is None or step.for_s > 0, f"{where}.for_s", step.for_s, "more than 0")
        need(
            step.kind != "frames" or plan.links == "embedded",
            f"{where}.kind",
            "frames",
            'toxiproxy cannot see frames; set links = "embedded"',
        )
        if step.on is not None and step.on.bind:
            bound.add(step.on.bind)
        named = list(step.targets)
        named += [end for link in step.args.get("links", []) for end in link if end != "clients"]
        named += list(step.args.get("rates", {}))
        named += [*step.args.get("add", []), *step.args.get("remove", [])]
        need(
            step.kind != "membership"
            or (step.args.get("shape") in MEMBERSHIPS)
            != bool(step.args.get("add") or step.args.get("remove")),
            f"{where}.args",
            step.args,
            f"a membership change has either shape ({', '.join(MEMBERSHIPS)}) or add and remove",
        )
        bound |= set(step.binds)
        named += list(step.binds.values())
        for target in named:
            need(
                target in names or target in ROLES or target.lstrip("$") in bound,
                f"{where}.targets",
                target,
                f"give a node ({', '.join(sorted(names))}), a role ({', '.join(ROLES)}) "
                "or $NAME bound by an earlier step",
            )
        allowed = STEP_ARGS[step.kind]
        for name in step.args:
            need(name in allowed, f"{where}.args.{name}", name, f"known: {', '.join(allowed)}")
        need(
            set(step.args.get("steps", [])) <= {other.id for other in plan.steps},
            f"{where}.args.steps",
            step.args.get("steps"),
            "name steps of this plan",
        )


def check_trigger(
    plan: Plan, trigger: Trigger, where: str, names: set[str], need: Callable[..., None]
) -> None:
    """Refuse what could never start its step: a misspelt event would wait for ever in silence."""
    bound = {name for step in plan.steps for name in step.binds}
    bound |= {step.on.bind for step in plan.steps if step.on is not None and step.on.bind}
    steps = [step.id for step in plan.steps]
    need(
        trigger.event in EVENTS,
        f"{where}.event",
        trigger.event,
        f"nodes report {', '.join(EVENTS)}",
    )
    need(
        trigger.node in {"", *names, *TRIGGER_ROLES, *(f"${name}" for name in bound)},
        f"{where}.node",
        trigger.node,
        f"give a node, a role ({', '.join(TRIGGER_ROLES)}) or $NAME bound by a step",
    )
    fields = [field.encode_name for field in msgspec.structs.fields(EVENTS[trigger.event])]
    for field, value in trigger.where.items():
        need(field in fields, f"{where}.where", field, f"{trigger.event} has {', '.join(fields)}")
        need(
            not (isinstance(value, str) and value.startswith("$")) or value[1:] in bound,
            f"{where}.where.{field}",
            value,
            "no step binds that name",
        )
    need(trigger.count >= 1, f"{where}.count", trigger.count, "give 1 or more")
    need(
        trigger.after_step in ("", *steps),
        f"{where}.after_step",
        trigger.after_step,
        "name a step of this plan",
    )
    need(trigger.after_s >= 0, f"{where}.after_s", trigger.after_s, "a time cannot be negative")
    need(trigger.within_s >= 0, f"{where}.within_s", trigger.within_s, "a time cannot be negative")


def default_quotas(plan: Plan) -> Quotas:
    """The coverage a run promises when its plan names none: scaled to 30 s, 5 nodes, 10 clients."""
    scale = min(1.0, plan.time_s / 30.0)
    random_faults = plan.faults.intensity > 0 and bool(plan.faults.kinds)
    kinds = list(plan.faults.kinds) if random_faults else []
    kinds += [step.kind for step in plan.steps if step.kind not in kinds and step.kind in KINDS]
    leader_faults = {"partition", "pause", "kill", "power_loss"}
    reads_by_lease = "lease" in plan.workload.params.get("read_modes", ("lease",))
    leases = bool(plan.node.get("leader_lease", True)) and reads_by_lease
    return Quotas(
        ok_per_operation=max(1, int(200 * scale)),
        ok_total=max(1, int(1000 * scale)),
        info_total=int(20 * scale) if random_faults else 0,
        kinds_installed=kinds,
        forced_leader_changes=(
            max(1, round(2 * scale)) if random_faults and leader_faults & set(kinds) else 0
        ),
        lease_read_at_cut_leader=int(
            random_faults and leases and cuts_leader_first(plan.faults) and scale > 0.3
        ),
        restarts_after_power_loss=1 if random_faults and "power_loss" in kinds else 0,
        # A little less than the least that is drawn: a leader may change while it is measured.
        clock_ratio=(
            1 + min(0.8, 0.9 * plan.faults.clock_ratio) * drift_bound(plan)
            if random_faults and "clock_rate" in kinds and scale > 0.3
            else 0.0
        ),
    )


def cuts_leader_first(faults: FaultsPlan) -> bool:
    """The first cut of the random schedule leaves the leader in a minority (Deck.first)."""
    return "partition" in faults.kinds and "minority_with_leader" in faults.partitions


def drift_bound(plan: Plan) -> float:
    """D/E of the plan's nodes."""
    drift = float(plan.node.get("max_clock_drift_ms", 125))
    return drift / float(plan.node.get("election_timeout_ms", 500))
