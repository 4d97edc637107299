"""Schedules as data: drawn from a seed, played in a world, printed, and made smaller while they still break something.

A move names a role or a node by number, and does nothing where it makes no sense: so any moves may be taken out of a schedule,
and what is left is a schedule still.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from node.raft.effects import Options, ResetElectionTimeout, SetReadonly, Transfer
from tests.bed.world import JournalDisk, World
from tests.node.raft.bed import MS, Violation

LEADER = -1
"""As a node's number: whoever leads the newest term."""
OLD = -2
"""As a node's number: whoever was cut off last."""
_ROLES = {LEADER: "leader", OLD: "old"}


class Move(msgspec.Struct, frozen=True, array_like=True):
    """`what` with up to three whole numbers; play.MOVES says what they mean."""

    what: str
    a: int = 0
    b: int = 0
    c: int = 0

    def __str__(self) -> str:
        numbers = [self.a, self.b, self.c]
        while numbers and not numbers[-1]:
            numbers.pop()
        return " ".join([self.what, *(_ROLES.get(n, str(n)) for n in numbers)])


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`nodes` of which the first `members` begin the group; `rates` are thousandths of true time, `disks` sync times in us."""

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

    def __str__(self) -> str:
        defaults = Options()
        changed = {
            name: getattr(self.options, name)
            for name in Options.__struct_fields__
            if getattr(self.options, name) != getattr(defaults, name)
        }
        head = (
            f"seed {self.seed}: {self.nodes} nodes, {self.members} members, rates {self.rates}, "
            f"disks {self.disks} us, messages up to {self.delay_us} us, {self.drop:.0%} lost, "
            f"{self.duplicate:.0%} twice, bugs {', '.join(self.bugs) or 'none'}\noptions {changed}\n"
        )
        return head + "\n".join(f"  {move}" for move in self.moves)


# ---- drawing -------------------------------------------------------------------------------------


def options_of(rng: random.Random) -> Options:
    return Options(
        election_timeout_ms=200,
        max_clock_drift_ms=50,
        election_tick_ms=rng.choice((10, 20, 40)),
        heartbeat_ms=rng.choice((10, 20, 40)),
        prevote=rng.random() < 0.85,
        leader_lease=rng.random() < 0.7,
        leader_sticky=rng.random() < 0.3,
        check_quorum=rng.random() < 0.8,
        append_timeout_ms=rng.choice((20, 60, 250)),
        max_inflight_appends=rng.choice((1, 2, 8)),
        max_entries_per_append=rng.choice((1, 3, 256)),
        snapshot_interval_entries=rng.choice((0, 3, 10, 40)),
        snapshot_min_gap_entries=rng.choice((1, 1, 4)),
    )


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
            return Move(what, who(), rng.choice((200, 200, 150, 230)))
        if what == "vote":
            return Move(what, who(), rng.choice((0, 50)))
        return Move(what, who())

    drawn: list[Move] = []
    while len(drawn) < moves:
        if rng.random() < 0.08:
            drawn += scene(rng, nodes)
            if rng.random() < 0.7:
                drawn += [Move("heal"), Move("start"), Move("run", 300)]
        else:
            drawn.append(move(rng.choices(names, weights)[0]))
    # rate(follower) / rate(leader) <= 1 + D/E = 1.25 holds for any two of these.
    return Schedule(
        seed=seed,
        nodes=nodes,
        members=members,
        options=options_of(rng),
        rates=tuple(rng.randint(900, 1110) for _ in range(nodes)),
        disks=tuple(rng.choice((0, 1000, 10_000, 60_000)) for _ in range(nodes)),
        delay_us=slow,
        drop=rng.choice((0.0, 0.02, 0.2)),
        duplicate=rng.choice((0.0, 0.02, 0.2)),
        moves=tuple(drawn),
        bugs=tuple(bugs),
    )


def scene(rng: random.Random, nodes: int) -> list[Move]:
    """A few moves that go together: the situations in which a rule of the protocol is all that stands between two truths."""
    some, other = rng.randrange(nodes), rng.randrange(nodes)
    looks = [Move("read", OLD, rng.randint(1, 2)), Move("observe", OLD)]
    match rng.randrange(9):
        case 0:
            # A leader that was cut off is asked while another one has already written.
            moves = [Move("isolate", LEADER)]
            for _ in range(rng.randint(4, 9)):
                moves += [Move("run", rng.choice((25, 50, 75))), *looks, Move("write", LEADER)]
                moves.append(Move("run", 5))
            return moves
        case 1:
            # A follower misses writes, and comes back as the only one who can elect or be elected.
            moves = [Move("isolate", some), Move("burst", LEADER, 4), Move("run", 50)]
            return [
                *moves,
                Move("heal"),
                Move("isolate", LEADER),
                Move("vote", some),
                Move("run", 400),
            ]
        case 2:
            # Power goes right after a write, at some or at all.
            moves = [Move("burst", LEADER, 3), Move("run", rng.choice((1, 3, 8, 20)))]
            moves += [Move("crash", n) for n in rng.sample(range(nodes), rng.randint(1, nodes))]
            return [*moves, Move("start"), Move("isolate", some), Move("run", 500)]
        case 3:
            # A leader in the minority piles up what the others overwrite.
            moves = [Move("isolate", LEADER), Move("burst", OLD, 6), Move("run", 350)]
            moves += [Move("burst", LEADER, 3), Move("run", 50), Move("heal"), Move("run", 60)]
            return [*moves, Move("isolate", LEADER), Move("vote", OLD), Move("run", 400)]
        case 4:
            # One link is cut, and the third node sees both ends.
            moves = [Move("cut", LEADER, some, 1)]
            for _ in range(12):
                moves += [Move("run", 30), *(Move("observe", n) for n in range(nodes))]
            return moves
        case 5:
            # All followers forget what they had promised, were it not on their minds after a restart.
            moves = [Move("isolate", LEADER)]
            moves += [Move("crash", n) for n in range(nodes) if n != other]
            moves += [Move("start")]
            for _ in range(10):
                moves += [Move("run", 20), *looks]
            return moves
        case 6:
            # Somebody is away over two snapshots, and is asked right after the one that he gets.
            moves = [Move("isolate", some), Move("burst", LEADER, 8), Move("snapshot", LEADER)]
            moves += [Move("run", 50), Move("burst", LEADER, 8), Move("snapshot", LEADER)]
            moves += [Move("run", 60), Move("heal"), Move("run", 400), Move("crash", some)]
            return [*moves, Move("start"), Move("retry", LEADER), Move("run", 100)]
        case 7:
            # The group changes while a part of it cannot hear of it.
            moves = [Move("isolate", some), Move("change", rng.randint(1, 2**nodes - 1))]
            moves += [Move("run", 50), Move("write", LEADER), Move("run", 300), Move("vote", some)]
            return [*moves, Move("write", LEADER), Move("run", 300), Move("heal"), Move("run", 200)]
        case _:
            # Rivals: two are asked to stand at once, with the leader gone.
            moves = [
                Move("crash", LEADER),
                Move("run", 300),
                Move("vote", some),
                Move("vote", other),
            ]
            return [*moves, Move("run", 100), Move("crash", some), Move("start"), Move("run", 100)]


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
    player = _Player(world)
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


class _Player:
    """Moves by name. A method does nothing when there is nobody to do it to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.newest = 0
        self.old = ""

    def play(self, move: Move) -> None:
        world = self.world
        if world.keeping:
            world.note(str(move))
        getattr(self, f"on_{move.what}")(move)

    def name(self, number: int) -> str:
        world = self.world
        if number == LEADER:
            return world.leader() or world.names[0]
        if number == OLD:
            return self.old or world.names[0]
        return world.names[number % len(world.names)]

    def living(self, number: int) -> str:
        """The node, "" when it is down."""
        name = self.name(number)
        return name if self.world.members[name].core is not None else ""

    def on_run(self, move: Move) -> None:
        self.world.run(move.a)

    def on_isolate(self, move: Move) -> None:
        self.old = self.name(move.a)
        self.world.isolate(self.old)

    def on_cut(self, move: Move) -> None:
        """From a to b, and back if c."""
        a, b = self.name(move.a), self.name(move.b)
        self.world.cuts |= {(a, b)} | ({(b, a)} if move.c else set())

    def on_heal(self, _: Move) -> None:
        self.world.heal()

    def on_crash(self, move: Move) -> None:
        self.world.crash(self.name(move.a))

    def on_start(self, _: Move) -> None:
        for name, member in self.world.members.items():
            if member.core is None:
                self.world.start(name)

    def on_vote(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.vote(name, move.b)

    def on_disconnect(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.disconnect(name, self.name(move.b))

    def on_disk(self, move: Move) -> None:
        self.world.members[self.name(move.a)].disk.delay_ns = move.b * 1000

    def on_failing(self, move: Move) -> None:
        disk = self.world.members[self.name(move.a)].disk
        assert isinstance(disk, JournalDisk)
        disk.fails = True

    def on_change(self, move: Move) -> None:
        """The members are those whose bit is set in a."""
        if name := self.living(LEADER):
            wanted = [n for i, n in enumerate(self.world.names) if move.a >> i & 1]
            self.world.change(name, wanted)

    def on_transfer(self, move: Move) -> None:
        if name := self.living(move.a):
            self.operator(name, Transfer(self.token(), self.name(move.b)))

    def on_snapshot(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.snapshot(name)

    def on_readonly(self, move: Move) -> None:
        if name := self.living(move.a):
            self.operator(name, SetReadonly(self.token(), bool(move.b)))

    def on_timeout(self, move: Move) -> None:
        if name := self.living(move.a):
            self.operator(name, ResetElectionTimeout(self.token(), move.b))

    def operator(self, name: str, asked: Transfer | SetReadonly | ResetElectionTimeout) -> None:
        self.world.step(name, asked)

    def token(self) -> int:
        return self.world.next_token()

    def on_write(self, move: Move) -> None:
        if name := self.living(move.a):
            self.newest = self.world.propose(name)

    def on_burst(self, move: Move) -> None:
        """b writes that one append may carry."""
        if name := self.living(move.a):
            for number in range(move.b):
                self.newest = self.world.propose(name, more=number < move.b - 1)

    def on_retry(self, move: Move) -> None:
        name = self.living(move.a)
        if name and self.newest and self.newest not in self.world.answers:
            self.world.again(name, self.newest)

    def on_read(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.read(name, ("local", "readindex", "lease")[move.b])

    def on_observe(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.observe(name)


# ---- making smaller ------------------------------------------------------------------------------


def breaks(schedule: Schedule) -> str:
    """The property that the schedule breaks, "" if it breaks none."""
    try:
        play(schedule)
    except Violation as broken:
        return broken.name
    return ""


def shrink(schedule: Schedule, broken: str, tries: int = 400) -> Schedule:
    """Fewer moves that break the same property: halves, quarters and so on are taken out while it still breaks."""

    def still(candidate: Schedule) -> bool:
        return breaks(candidate) == broken

    return delete(schedule, still, tries)


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
