"""A bed whose members are whole: core, state machine, wire format, journal, on disks that lose what was not synced.

Every message goes through the wire's bytes, every Persist through the journal's, every restart through recovery. A power loss
keeps any choice of the unsynced writes, some of them torn. Files and clocks are in memory, so a world is a function of its
seed and of what is done to it.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappush
from typing import Any

from checkers.inprocess import Monitors
from checkers.monitor import Params
from node import wire
from node.kv import KeyValue, encode_add, encode_append, encode_cas, encode_write
from node.raft import events
from node.raft.effects import (
    Committed,
    Effects,
    Event,
    Options,
    Propose,
    Received,
    SaveSnapshot,
    SnapshotSaved,
)
from node.raft.messages import DATA, Message, SnapshotMeta
from node.raft.raft import Raft
from node.storage.codec import StorageError
from node.storage.journal import Journal, Sizes
from tests.node.raft.bed import MS, Bed, Disk, Member, Properties, Saved, Violation
from tests.node.storage.crashdisk import CrashDisk

GROUP = "bed"
KEYS = 3
SIZES = Sizes(full=4096, zeros=512, worthwhile=1024)
"""Small, so that schedules of some seconds begin new segments."""


class _Crash(Exception):
    """The power went in the middle of a write; never leaves this module."""


@dataclass
class JournalDisk(Disk):
    """A disk whose log and vote are what the node's own journal makes of the Persists."""

    name: str = ""
    files: CrashDisk = field(default_factory=CrashDisk)
    journal: Journal | None = None
    fails: bool = False
    """The next sync gives an error."""
    durable_term: int = 0

    def open(self) -> None:
        """Recovery, as a node does it."""
        meta = self.snapshots[-1][0] if self.snapshots else None
        try:
            self.journal = Journal(self.files, GROUP, self.name, meta, SIZES)
        except StorageError as error:
            raise Violation("P-DU", f"{self.name} cannot start: {error}") from None
        found = self.journal.recovered
        if found.hard_state.term < self.durable_term:
            raise Violation("P-DU", f"{self.name} goes back to term {found.hard_state.term}")
        self.hard_state, self.base, self.entries = found.hard_state, found.base, found.entries
        self.used = self.used or not found.fresh

    def sync(self, token: int) -> None:
        journal = self.journal
        assert journal is not None
        waiting = self.waiting
        term = self.durable_term
        while waiting and waiting[0].token <= token:
            persist = waiting.pop(0)
            journal.add(persist)
            if persist.hard_state is not None:
                term = persist.hard_state.term
        if (batch := journal.take()) is not None:
            journal.write_and_sync(batch)
        self.durable_term = term
        self.used = True

    def lose_power(self, world: World) -> None:
        """Everything that waits may have been under way: any part of it is there, torn where it was being written."""
        rng, journal = world.rng, self.journal
        if journal is not None and self.waiting and rng.random() < 0.5:
            left = rng.randint(1, 8)

            def before(_call: str) -> None:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise _Crash

            self.files.before = before
            with contextlib.suppress(_Crash):
                self.sync(self.waiting[rng.randrange(len(self.waiting))].token)
        self.waiting.clear()
        self.files = self.files.lost_power(rng)
        self.journal = None


class World(Bed):
    """The bed with everything around the core that is pure; monitors of the recorded events watch beside the bed's own."""

    def __init__(
        self,
        size: int,
        options: Options,
        seed: int = 0,
        bugs: Sequence[str] = (),
        rates: Sequence[int] = (),
        members: Sequence[str] | None = None,
        witnesses: Sequence[str] = (),
    ) -> None:
        self.machines: dict[str, KeyValue] = {}
        self.monitors = Monitors(
            Params(
                nodes=tuple(f"n{i + 1}" for i in range(size)),
                election_timeout_ns=options.election_timeout_ms * MS,
                drift_ns=options.max_clock_drift_ms * MS,
                prevote=options.prevote,
                lease=options.leader_lease,
            )
        )
        super().__init__(size, options, seed, bugs, rates, members, witnesses)
        self.keeping = False
        self.chance = self.rng.random
        self.slow_ns = MS
        """A message takes any time up to this long."""
        self.lags: dict[str, int] = {}
        """How much longer messages to a member take, in ns."""
        self.stopped: dict[str, Raft] = {}
        """Whose process does nothing at present."""

    def make_disk(self, name: str) -> Disk:
        return JournalDisk(name=name)

    def make_properties(self) -> Properties:
        return WorldProperties(self)

    # ---- lives -----------------------------------------------------------------------------------

    def recover(self, member: Member) -> None:
        super().recover(member)
        disk = member.disk
        assert isinstance(disk, JournalDisk)
        disk.open()
        kv = KeyValue()
        if disk.snapshots and not disk.snapshots[-1][0].bare:
            kv = KeyValue.load(disk.snapshots[-1][1][2])
        self.machines[member.name] = kv

    def start(self, name: str) -> None:
        super().start(name)
        member = self.members[name]
        disk, core = member.disk, self.core(name)
        first = [events.boot(disk.hard_state, core.log, core.snapshot, not disk.used)]
        if core.snapshot is not None:
            first.append(events.snapshot_loaded(core.term, core.snapshot, "boot"))
        self.tell(member, first)

    def tell(self, member: Member, told: Sequence[Event]) -> None:
        """What a member reports, to the monitors of recorded runs."""
        feed, name, life, now = self.monitors.event, member.name, member.life, self.now
        for event in told:
            found = feed(name, life, now, now, event.name, event.term, event.fields)
            if found:
                raise Violation(found[0].property, found[0].text)

    def crash(self, name: str) -> None:
        self.stopped.pop(name, None)
        member = self.members[name]
        member.core = None
        member.fetching = None
        assert isinstance(member.disk, JournalDisk)
        member.disk.lose_power(self)

    def pause(self, name: str, ms: int) -> None:
        """Stop the process for so long; it misses what comes meanwhile. Nothing happens while a snapshot is on its way."""
        member = self.members[name]
        core = self.core(name)
        if not core.snapshots.saving and member.fetching is None:
            self.stopped[name] = core
            member.core = None
            self.at(self.now + ms * MS, self.resume, member, member.life)

    def resume(self, member: Member, life: int) -> None:
        """The process goes on: a client's request that waited comes before any timer."""
        name = member.name
        if member.life != life or name not in self.stopped:
            return
        member.core = self.stopped.pop(name)
        self.observe(name)
        self.read(name, "lease")
        if member.disk.waiting:
            self.synced(member, life, member.disk.waiting[-1].token)
        self.look_anew(member)

    def heal(self) -> None:
        super().heal()
        self.lags.clear()

    def synced(self, member: Member, life: int, token: int) -> None:
        disk = member.disk
        assert isinstance(disk, JournalDisk)
        if member.life == life and member.core is not None and disk.fails:
            # A failed sync ends the process: nobody knows what is on the disk.
            disk.fails = False
            self.crash(member.name)
            return
        super().synced(member, life, token)

    def match_logs(self) -> None:
        """The bed's own comparison, and the monitors' over whole logs."""
        super().match_logs()
        feed, now = self.monitors.log, self.now
        for name, member in self.members.items():
            if member.core is not None:
                log = member.core.log
                entries = [(entry.term, entry.crc) for entry in log.entries]
                found = feed(name, member.life, now, member.core.term, log.first_index, entries)
                if found:
                    raise Violation(found[0].property, found[0].text)

    # ---- the state machine -------------------------------------------------------------------------

    def command(self, token: int) -> bytes:
        session, key = f"s{token}", f"k{token % KEYS}"
        kind = token % 5
        if kind == 0:
            return encode_cas(session, 1, key, token - KEYS, token)
        if kind == 1:
            return encode_add(session, 1, f"c{token % KEYS}", 1)
        if kind == 2:
            return encode_append(session, 1, f"l{token % KEYS}", token)
        return encode_write(session, 1, key, token)

    def again(self, name: str, token: int) -> None:
        """Another try of the command of `token`, by a client that was not answered: answered under a token of its own."""
        data = self.command(token)
        properties = self.properties
        properties.tried_again.add(token)
        number = self.next_token()
        properties.again[number] = token
        self.step(name, Propose(number, data, zlib.crc32(data)))

    def save(self, member: Member, asked: SaveSnapshot) -> None:
        kv, core = self.machines[member.name], self.core(member.name)
        done = frozenset(member.done)
        if done and core.bugs.breaks("snap_no_sessions"):
            done, kv = frozenset(), kv.frozen()
            kv.sessions.clear()
        data = b"" if asked.bare else kv.dump()
        meta = SnapshotMeta(
            asked.index, asked.term, asked.configuration, len(data), zlib.crc32(data), asked.bare
        )
        if member.disk.save_ns is not None:
            saved = (member.state, done, data)
            self.at(self.now + member.disk.save_ns, self.is_saved, member, member.life, meta, saved)

    def is_saved(self, member: Member, life: int, meta: SnapshotMeta, saved: Saved) -> None:
        if member.core is not None and member.life == life:
            member.disk.keep(meta, saved)
            self.step(member.name, SnapshotSaved(meta))

    def load(self, member: Member, asked: Any) -> None:
        super().load(member, asked)
        assert member.fetched is not None
        data = member.fetched[1][2]
        self.machines[member.name] = KeyValue() if asked.meta.bare else KeyValue.load(data)

    # ---- the network -------------------------------------------------------------------------------

    def send(self, source: str, to: str, message: Message) -> None:
        if (source, to) in self.cuts:
            return
        # One number says whether the message is lost, comes, or comes twice.
        chance = self.chance()
        if chance < self.drop:
            return
        way = (source, to, wire.encode(message))
        for _ in range(2 if chance >= 1 - self.duplicate else 1):
            self._order += 1
            when = self.now + int(self.chance() * self.slow_ns)
            if self.lags:
                when += self.lags.get(to, 0)
            heappush(self._queue, (when, self._order, self.arrive, way))

    def arrive(self, source: str, to: str, payload: bytes) -> None:
        if (source, to) not in self.cuts and self.members[to].core is not None:
            message: Any = wire.decode_peer(payload)
            self.step(to, Received(source, message))


class WorldProperties(Properties):
    """The bed's checks, and after each step the order of openraft's metrics: purged <= snapshot <= applied <= last."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def step(self, member: Member, out: Effects) -> None:
        super().step(member, out)
        if out.events and self.watching:
            self.world.tell(member, out.events)
        if not (out.persist or out.apply or out.snapshots):
            return
        core = member.core
        assert core is not None
        log, snapshot = core.log, core.snapshot
        covered = 0 if snapshot is None else snapshot.index
        if not log.base <= covered <= core.commit <= log.last_index and self.watching:
            raise Violation(
                "P-SM", f"{member.name}: {log.base} <= {covered} <= {core.commit} <= {log} is false"
            )

    def apply(self, member: Member, committed: Committed) -> None:
        super().apply(member, committed)
        entry = committed.entry
        if entry.kind == DATA and entry.data:
            self.world.machines[member.name].apply(entry.data, entry.index, entry.term)
