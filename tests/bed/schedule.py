"""Schedules as data: drawn from a seed, played in a world, printed, and made smaller while they still break something.

A move names a role or a node by number, and does nothing where it makes no sense: so any moves may be taken out of a schedule,
and what is left is a schedule still.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from node.raft.effects import Options
from tests.bed.moves import LEADER, Move
from tests.bed.playing import Player
from tests.bed.scenes import SCENES
from tests.bed.world import World
from tests.node.raft.bed import MS, Violation


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`nodes` of which the first `members` begin the group; `rates` are thousandths of true time, `disks` sync times in us.

    `witness` is the number of the node that holds no data, whenever it is a member; -1: all hold it.
    """

    seed: int
    nodes: int
    members: int
    options: Options
    rates: tuple[int, ...]
    disks: tuple[int, ...]
    delay_us: int
    drop: float
    duplicate: float
    moves: tuple[Move, ...]
    bugs: tuple[str, ...] = ()
    witness: int = -1

    def __str__(self) -> str:
        defaults = Options()
        changed = {
            name: getattr(self.options, name)
            for name in Options.__struct_fields__
            if getattr(self.options, name) != getattr(defaults, name)
        }
        head = (
            f"seed {self.seed}: {self.nodes} nodes, {self.members} members, "
            f"{'no witness' if self.witness < 0 else f'witness n{self.witness + 1}'}, rates {self.rates}, "
            f"disks {self.disks} us, messages up to {self.delay_us} us, {self.drop:.0%} lost, "
            f"{self.duplicate:.0%} twice, bugs {', '.join(self.bugs) or 'none'}\noptions {changed}\n"
        )
        return head + "; ".join(map(str, self.moves))


# ---- drawing -------------------------------------------------------------------------------------


def options_of(rng: random.Random) -> Options:
    return Options(
        election_timeout_ms=200,
        max_clock_drift_ms=rng.choice((20, 50, 50)),
        election_tick_ms=rng.choice((10, 20, 40)),
        heartbeat_ms=rng.choice((10, 20, 40)),
        prevote=rng.random() < 0.85,
        leader_lease=rng.random() < 0.7,
        leader_sticky=rng.random() < 0.3,
        check_quorum=rng.random() < 0.8,
        append_timeout_ms=rng.choice((20, 60, 250)),
        max_inflight_appends=rng.choice((1, 1, 2, 8)),
        max_entries_per_append=rng.choice((1, 1, 3, 256)),
        snapshot_interval_entries=rng.choice((0, 3, 10, 40)),
        snapshot_min_gap_entries=rng.choice((1, 1, 4)),
    )


def rates_of(rng: random.Random, options: Options, nodes: int) -> tuple[int, ...]:
    """Rates of clocks in thousandths: rate(follower) / rate(leader) <= 1 + D/E holds for any two, often only just."""
    least, most = (900, 1110) if options.max_clock_drift_ms == 50 else (955, 1045)
    return tuple(rng.choice((least, most, rng.randint(least, most))) for _ in range(nodes))


_WEIGHTS = {
    "isolate": 3,
    "cut": 2,
    "heal": 5,
    "crash": 3,
    "start": 5,
    "vote": 3,
    "disconnect": 2,
    "disk": 2,
    "failing": 1,
    "mute": 1,
    "lag": 1,
    "elect": 1,
    "pause": 1,
    "wall": 1,
    "change": 2,
    "transfer": 2,
    "snapshot": 2,
    "readonly": 1,
    "timeout": 1,
    "write": 14,
    "burst": 4,
    "retry": 2,
    "read": 10,
    "observe": 8,
    "run": 16,
}


def draw(seed: int, nodes: int = 0, moves: int = 120, bugs: Sequence[str] = ()) -> Schedule:
    """The schedule of this seed; `nodes` 0 draws their number too."""
    rng = random.Random(seed)
    nodes = nodes or rng.choice((1, 2, 3, 3, 4, 5, 5))
    members = nodes if rng.random() < 0.5 else rng.randint(min(nodes, 3), nodes)
    names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    slow = rng.choice((1000, 3000, 15_000, 60_000))

    def who() -> int:
        return LEADER if rng.random() < 0.4 else rng.randrange(nodes)

    def move(what: str) -> Move:
        if what == "run":
            return Move(what, rng.choice((1, 1, 5, 5, 30, 50, 250, 500)))
        if what == "cut":
            return Move(what, who(), rng.randrange(nodes), rng.randrange(2))
        if what == "read":
            return Move(what, who(), rng.randrange(3))
        if what == "disk":
            return Move(what, who(), rng.choice((0, 1000, 10_000, 60_000)))
        if what == "change":
            return Move(what, rng.randint(1, 2**nodes - 1))
        if what in ("transfer", "disconnect"):
            return Move(what, who(), rng.randrange(nodes))
        if what == "burst":
            return Move(what, who(), rng.randint(2, 8))
        if what == "readonly":
            return Move(what, who(), int(rng.random() < 0.3))
        if what == "timeout":
            # E + D stays as it is, so a longer E would leave too little D for the rates of these clocks.
            return Move(what, who(), rng.choice((200, 200, 150, 180)))
        if what == "lag":
            return Move(what, who(), rng.choice((0, 30, 100, 300)))
        if what == "elect":
            return Move(what, rng.randrange(nodes))
        if what == "pause":
            return Move(what, who(), rng.choice((50, 230, 400)))
        if what == "wall":
            return Move(what, who(), rng.choice((60_000, -60_000)))
        if what == "vote":
            return Move(what, who(), rng.choice((0, 50)))
        return Move(what, who())

    drawn: list[Move] = []
    while len(drawn) < moves:
        if rng.random() < 0.1:
            if rng.random() < 0.5:
                drawn += [Move("heal"), Move("start"), Move("run", 300)]
            group = rng.sample(range(members), members)
            drawn += rng.choice(SCENES)(rng, nodes, group)
            if rng.random() < 0.7:
                drawn += [Move("heal"), Move("start"), Move("run", 300)]
        else:
            drawn.append(move(rng.choices(names, weights)[0]))
    options = options_of(rng)
    witness = -1
    # Drawn apart: the schedules of old seeds stay what they were but for this.
    apart = random.Random(f"{seed} witness")
    if members > 2 and apart.random() < 0.2:
        witness = apart.randrange(members)
        may_lead = apart.random() < 0.3
        options = msgspec.structs.replace(options, witness_may_lead=may_lead)
    return Schedule(
        seed=seed,
        nodes=nodes,
        members=members,
        options=options,
        rates=rates_of(rng, options, nodes),
        disks=tuple(rng.choice((0, 1000, 10_000, 60_000)) for _ in range(nodes)),
        delay_us=slow,
        drop=rng.choice((0.0, 0.02, 0.2)),
        duplicate=rng.choice((0.0, 0.02, 0.2)),
        moves=tuple(drawn),
        bugs=tuple(bugs),
        witness=witness,
    )


# ---- playing -------------------------------------------------------------------------------------


def play(schedule: Schedule, keeping: bool = False) -> World:
    """Carry the schedule out; raises Violation as soon as a property breaks. `keeping`: for a transcript."""
    names = [f"n{i + 1}" for i in range(schedule.nodes)]
    world = World(
        schedule.nodes,
        schedule.options,
        schedule.seed,
        schedule.bugs,
        schedule.rates,
        None if schedule.members == schedule.nodes else names[: schedule.members],
        () if schedule.witness < 0 else (names[schedule.witness],),
    )
    world.keeping = keeping
    rng = random.Random(schedule.seed * 2 + 1)
    world.slow_ns = schedule.delay_us * 1000
    world.drop, world.duplicate = schedule.drop, schedule.duplicate
    for name, sync_us in zip(names, schedule.disks, strict=True):
        disk = world.members[name].disk
        disk.delay_ns = sync_us * 1000
        disk.save_ns = rng.choice((0, MS, 60 * MS))
        disk.fetch_ns = rng.choice((0, 5 * MS, 300 * MS))
    player = Player(world)
    try:
        for number, move in enumerate(schedule.moves):
            player.play(move)
            if number % 20 == 19:
                world.match_logs()
        world.match_logs()
    except Violation as broken:
        broken.bed = world
        raise
    return world


# ---- making smaller ------------------------------------------------------------------------------


def breaks(schedule: Schedule) -> str:
    """The property that the schedule breaks, "" if it breaks none."""
    try:
        play(schedule)
    except Violation as broken:
        return broken.name
    return ""


def shrink(
    schedule: Schedule,
    broken: str,
    tries: int = 400,
    breaks: Callable[[Schedule], str] = breaks,
) -> Schedule:
    """Fewer moves that break the same property: halves, quarters and so on are taken out while it still breaks."""

    def still(candidate: Schedule) -> bool:
        return breaks(candidate) == broken

    return join(delete(schedule, still, tries), still)


def join(schedule: Schedule, still: Callable[[Schedule], bool]) -> Schedule:
    """Runs that follow one another become one where that is the same."""
    moves = list(schedule.moves)
    at = 0
    while at + 1 < len(moves):
        left, right = moves[at], moves[at + 1]
        if left.what == right.what == "run":
            rest = [*moves[:at], Move("run", left.a + right.a), *moves[at + 2 :]]
            if still(msgspec.structs.replace(schedule, moves=tuple(rest))):
                moves = rest
                continue
        at += 1
    return msgspec.structs.replace(schedule, moves=tuple(moves))


def delete(schedule: Schedule, still: Callable[[Schedule], bool], tries: int) -> Schedule:
    """Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002), with complements only."""
    moves = list(schedule.moves)
    size = max(1, len(moves) // 2)
    while size and tries > 0:
        at, smaller = 0, False
        while at < len(moves) and tries > 0:
            rest = moves[:at] + moves[at + size :]
            tries -= 1
            if still(msgspec.structs.replace(schedule, moves=tuple(rest))):
                moves, smaller = rest, True
            else:
                at += size
        if not smaller or size > len(moves):
            size //= 2
    return msgspec.structs.replace(schedule, moves=tuple(moves))
