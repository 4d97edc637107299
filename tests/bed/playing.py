"""Carrying the moves of a schedule out in a world."""

from __future__ import annotations

from node.raft.effects import ResetElectionTimeout, SetReadonly, Transfer, WallClock
from tests.bed.moves import LEADER, OLD, READS, Move
from tests.bed.world import JournalDisk, World
from tests.node.raft.bed import MS, Violation


class Player:
    """Moves by name. A method does nothing when there is nobody to do it to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.newest = 0
        self.old = ""
        self.alone: dict[str, tuple[int, int]] = {}
        """(life, term) of each member when it was isolated."""

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
        self.old = name = self.name(move.a)
        self.world.isolate(name)
        core = self.world.members[name].core
        if core is not None and name not in self.alone:
            self.alone[name] = (self.world.members[name].life, core.term)

    def on_mute(self, move: Move) -> None:
        """Nothing that a says from now on is heard; what was under way to it still comes."""
        self.old = name = self.name(move.a)
        self.world.cuts |= {(name, other) for other in self.world.names if other != name}

    def on_mark(self, move: Move) -> None:
        self.old = self.name(move.a)

    def on_split(self, move: Move) -> None:
        """Those whose bit is set in a hear and are heard by one another only."""
        self.old = self.name(LEADER)
        part = [name for i, name in enumerate(self.world.names) if move.a >> i & 1]
        self.world.cut(part, [name for name in self.world.names if name not in part])
        self.world.cut([name for name in self.world.names if name not in part], part)

    def on_lag(self, move: Move) -> None:
        """Messages to a take b ms more."""
        self.world.lags[self.name(move.a)] = move.b * MS

    def on_cut(self, move: Move) -> None:
        """From a to b, and back if c."""
        a, b = self.name(move.a), self.name(move.b)
        self.world.cuts |= {(a, b)} | ({(b, a)} if move.c else set())

    def on_heal(self, move: Move) -> None:
        self.on_heal_links(move)
        self.world.heal()

    def on_heal_links(self, _: Move) -> None:
        """P-LV: with pre-vote the term of who is alone grows by one at most, in one life."""
        world = self.world
        for name, (life, term) in self.alone.items():
            member = world.members[name]
            core = member.core
            if core is None or member.life != life or len(core.conf.everyone) < 2:
                continue
            if core.options.prevote and core.term > term + 1:
                raise Violation("P-LV", f"{name} was alone, and came from {term} to {core.term}")
        self.alone.clear()
        world.cuts.clear()

    def on_crash(self, move: Move) -> None:
        self.world.crash(self.name(move.a))

    def on_start(self, _: Move) -> None:
        for name in self.world.names:
            self.boot(name)

    def on_boot(self, move: Move) -> None:
        self.boot(self.name(move.a))

    def boot(self, name: str) -> None:
        if self.world.members[name].core is None and name not in self.world.stopped:
            self.world.start(name)

    def on_pause(self, move: Move) -> None:
        """The process of a is stopped for b ms."""
        if name := self.living(move.a):
            self.world.pause(name, move.b)

    def on_wall(self, move: Move) -> None:
        """The wall clock of a is set b ms ahead."""
        if name := self.living(move.a):
            self.world.step(name, WallClock(move.b * MS))

    def on_elect(self, move: Move) -> None:
        """Ask a to stand until it leads, a second long at most."""
        world, name = self.world, self.name(move.a)
        left = 2000
        while left:
            core = world.members[name].core
            if core is None or core.state == "leader" or name not in core.conf.everyone:
                return
            if core.witness and not core.options.witness_may_lead:
                return
            world.vote_anew(name)
            left -= world.run_steps(MS // 2, left)

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
            self.world.change(name, wanted, [n for n in wanted if n in self.world.witnesses])

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
        """The newest command once more, be it answered or not: requests come twice, too."""
        name = self.living(move.a)
        if name and self.newest:
            self.world.again(name, self.newest)

    def on_read(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.read(name, READS[move.b])

    def on_observe(self, move: Move) -> None:
        if name := self.living(move.a):
            self.world.observe(name)
