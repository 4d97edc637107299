"""A bed for Raft cores: one process, a seeded network, disks that forget, clocks that drift.

The bed holds true time. It carries messages, syncs disks, ticks, and after every step of any core
it checks the properties that no schedule may break: P-EL (one leader per term, one vote per node
and term), P-LX (a lease is valid only before the next leader), P-LC (a leader holds everything
committed), P-SM (all apply the same, once and in order per life, and no snapshot takes a state
back), P-DU (no gap between snapshot and log after a crash), and the part of P-LIN that indices
show: a lease or readindex read sees every write acknowledged before it was asked, and what was told
as a definite failure is never applied. A broken one raises `Violation`.

The state machine is a chain of checksums over what was applied, and the set of the commands that
took effect: one that comes again has none.
"""

from __future__ import annotations

import heapq
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.raft.effects import (
    AdminDone,
    CancelDownload,
    ChangeMembers,
    Committed,
    Disconnected,
    Download,
    Downloaded,
    Effects,
    Event,
    Failed,
    HardState,
    Input,
    LoadSnapshot,
    ManualVote,
    ObserveLease,
    Options,
    Persist,
    Persisted,
    Propose,
    Read,
    ReadReady,
    Received,
    Requests,
    ResetElectionTimeout,
    ResetMembers,
    SaveSnapshot,
    SetReadonly,
    SnapshotSaved,
    TakeSnapshot,
    Tick,
    Transfer,
)
from node.raft.messages import DATA, Entry, Message, SnapshotMeta
from node.raft.raft import Raft

MS = 1_000_000
NEVER = 1 << 62
TICK = Tick()


class Violation(AssertionError):
    """`name` is the property that broke."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name
        self.bed: Bed | None = None
        """Where it happened, as far as it came."""


@dataclass(frozen=True)
class State:
    """The state machine: how much of the log it has applied, and a checksum over all of that."""

    applied: int = 0
    digest: int = 0

    def after(self, entry: Entry) -> State:
        return State(entry.index, zlib.crc32(b"%d %d" % (entry.term, entry.crc), self.digest))


Saved = tuple[State, frozenset[int], bytes]
"""What a snapshot holds: the state, the commands (by crc) that took effect, and the bytes of a real state machine if any."""


@dataclass
class Disk:
    """What survives a crash, and what waits for its sync."""

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    waiting: list[Persist] = field(default_factory=list)
    used: bool = False
    delay_ns: int | None = 0
    """How long a sync takes; None: only `Bed.sync` does it."""
    base: tuple[int, int] = (0, 0)
    """(index, term) after which the entries begin."""
    lazy: bool = False
    """What a snapshot covers stays on the disk."""
    snapshots: list[tuple[SnapshotMeta, Saved]] = field(default_factory=list)
    """The newest two, oldest first."""
    save_ns: int | None = 0
    """How long it takes to make a snapshot durable; None: for ever."""
    fetch_ns: int = MS
    """How long it takes to pull one."""

    def sync(self, token: int) -> None:
        while self.waiting and self.waiting[0].token <= token:
            persist = self.waiting.pop(0)
            if persist.reset is not None:
                self.entries.clear()
                self.base = persist.reset
            if persist.truncate_from:
                del self.entries[persist.truncate_from - 1 - self.base[0] :]
            for entry in persist.entries:
                assert entry.index == self.base[0] + len(self.entries) + 1, "a gap on the disk"
                self.entries.append(entry)
            cut = persist.cut_to - self.base[0]
            if cut > 0 and not self.lazy:
                self.base = (persist.cut_to, self.entries[cut - 1].term)
                del self.entries[:cut]
            if persist.hard_state is not None:
                self.hard_state = persist.hard_state
            self.used = True

    def keep(self, meta: SnapshotMeta, saved: Saved) -> None:
        self.snapshots = sorted([*self.snapshots, (meta, saved)], key=lambda each: each[0].index)
        del self.snapshots[:-2]
        self.used = True


@dataclass
class Member:
    """One node over all its lives."""

    name: str
    disk: Disk
    core: Raft | None = None
    life: int = 0
    rate: int = 1000
    """Thousandths of true time."""
    offset_ns: int = 0
    tick_at: int = NEVER
    """When the bed will look whether a tick is due, in true time."""
    looked: int | None = None
    """The deadline on the node's own clock for which `tick_at` was set."""
    state: State = State()
    done: set[int] = field(default_factory=set)
    """crc of each command that took effect."""
    fetching: Download | None = None
    fetched: tuple[SnapshotMeta, Saved] | None = None

    @property
    def applied(self) -> int:
        return self.state.applied

    def clock(self, true_ns: int) -> int:
        return true_ns * self.rate // 1000 + self.offset_ns

    def true_of(self, own_ns: int) -> int:
        return -((self.offset_ns - own_ns) * 1000 // self.rate)


@dataclass
class Asked:
    """A read, with the newest index acknowledged to any client when it was asked."""

    mode: str
    at_least: int


class Properties:
    """The checks, fed with everything that leaves a core."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.committed: dict[int, tuple[int, int]] = {}
        self.acknowledged = 0
        self.reads: dict[int, Asked] = {}
        self.payloads: dict[int, int] = {}
        """crc of a command's data -> its token."""
        self.applied_tokens: set[int] = set()
        self.effects: dict[int, int] = {}
        """crc of a command -> the index at which it took effect."""
        self.again: dict[int, int] = {}
        """token of another try -> token of the command that it tries."""
        self.tried_again: set[int] = set()
        """Commands that were tried again: that one try was denied says nothing of the others."""
        self.denied: set[int] = set()
        self.observed: dict[str, int] = {}
        """Events seen, by name."""
        self.watching = True

    def step(self, member: Member, out: Effects) -> None:
        if not self.watching:
            return
        if out.fatal:
            raise Violation("P-SM", out.fatal)
        for event in out.events:
            self.event(member, event)
        for failed in out.failed:
            if failed.definite:
                self.denied.add(failed.token)
                self.never_both(failed.token)
        for committed in out.apply:
            self.apply(member, committed)
        for read in out.reads:
            self.read(member, read)

    def event(self, member: Member, event: Event) -> None:
        core = member.core
        assert core is not None
        self.observed[event.name] = self.observed.get(event.name, 0) + 1
        if event.name == "become_leader":
            other = self.leaders.setdefault(event.term, member.name)
            if other != member.name:
                raise Violation("P-EL", f"{other} and {member.name} lead term {event.term}")
            for index, (term, crc) in self.committed.items():
                if index <= core.log.base:
                    continue
                entry = core.log.entry(index) if index <= core.log.last_index else None
                if entry is None or (entry.term, entry.crc) != (term, crc):
                    raise Violation("P-LC", f"{member.name} leads {event.term} without {index}")
        elif event.name == "vote_granted":
            candidate = str(event.fields["candidate"])
            other = self.votes.setdefault((member.name, event.term), candidate)
            if other != candidate:
                raise Violation("P-EL", f"{member.name} voted {other}, {candidate} in {event.term}")
        elif event.name == "lease" and event.fields["state"] == "valid":
            newest = max(self.leaders)
            if newest > event.term:
                raise Violation("P-LX", f"lease of {event.term} valid, {newest} has a leader")

    def apply(self, member: Member, committed: Committed) -> None:
        entry = committed.entry
        if entry.index != member.applied + 1:
            raise Violation("P-SM", f"{member.name} applies {entry.index} after {member.applied}")
        member.state = member.state.after(entry)
        known = self.committed.setdefault(entry.index, (entry.term, entry.crc))
        if known != (entry.term, entry.crc):
            raise Violation("P-SM", f"{member.name} applies {entry} where {known} was applied")
        if entry.kind == DATA:
            token = self.payloads[entry.crc]
            self.applied_tokens.add(token)
            if entry.crc not in member.done:
                member.done.add(entry.crc)
                first = self.effects.setdefault(entry.crc, entry.index)
                if first != entry.index:
                    raise Violation(
                        "P-LIN", f"command {token} took effect at {first} and {entry.index}"
                    )
            self.never_both(token)
            if committed.token is not None:
                if committed.token != token and self.again.get(committed.token) != token:
                    raise Violation(
                        "P-LIN", f"command {committed.token} is answered with the entry of {token}"
                    )
                self.acknowledged = max(self.acknowledged, entry.index)

    def read(self, member: Member, read: ReadReady) -> None:
        if read.token not in self.reads:
            if read.token not in self.applied_tokens:
                raise Violation("P-LIN", f"command {read.token} is answered ok and nowhere applied")
            return
        asked = self.reads[read.token]
        if asked.mode != "local" and member.applied < asked.at_least:
            raise Violation(
                "P-LIN",
                f"{asked.mode} read at {member.name} saw {member.applied}, not {asked.at_least}",
            )

    def never_both(self, token: int) -> None:
        if token in self.denied and token in self.applied_tokens and token not in self.tried_again:
            raise Violation("P-LIN", f"command {token} was denied and yet applied")


Answer = Committed | Failed | ReadReady
Rule = Callable[[str, str, Message], bool]


class Bed:
    """Members, the network between them, and true time `now`."""

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
        """`members` begin the group (None: all); the others know of none until a leader takes them in."""
        self.rng = random.Random(seed)
        self.seed = seed
        self.options = options if not bugs else _with_bugs(options, bugs)
        self.names = [f"n{i + 1}" for i in range(size)]
        self.initial = self.names if members is None else list(members)
        self.witnesses = witnesses
        self.now = 0
        self.properties = self.make_properties()
        self.members = {name: Member(name, self.make_disk(name)) for name in self.names}
        for name, rate in zip(self.names, rates, strict=False):
            self.members[name].rate = rate
        self.cuts: set[tuple[str, str]] = set()
        self.rule: Rule | None = None
        """Messages for which it is true are held back, in `held`."""
        self.held: list[tuple[str, str, Message]] = []
        self.delay: Callable[[str, str], int] = lambda _from, _to: MS
        self.drop = 0.0
        self.duplicate = 0.0
        self.answers: dict[int, Answer] = {}
        self.admin: dict[int, AdminDone] = {}
        self.unusable: dict[str, str] = {}
        """Why a member ended for good."""
        self.events: list[tuple[int, str, Event]] = []
        self.sent: list[tuple[int, str, str, Message]] = []
        self.trace: list[tuple[int, str, Input | str, Effects | None]] = []
        """Every step: (true time, node, what went in, what came out); and the notes of a schedule, as text."""
        self.keeping = True
        """Whether events, messages and steps are kept to be looked at."""
        self.steps = 0
        # Its last one lies beyond all time, so that there always is a next one.
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = [
            (2 * NEVER, 0, self.heal, ())
        ]
        self._order = 0
        self._token = 0
        for name in self.names:
            self.start(name)

    def make_disk(self, name: str) -> Disk:
        return Disk()

    def make_properties(self) -> Properties:
        return Properties()

    # ---- lives -----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        member = self.members[name]
        disk = member.disk
        member.life += 1
        self.recover(member)
        meta = disk.snapshots[-1][0] if disk.snapshots else None
        begins = name in self.initial
        try:
            member.core = Raft(
                name,
                self.initial if begins else (),
                self.options,
                disk.hard_state,
                disk.entries,
                not disk.used,
                f"{self.seed}/{name}/{member.life}".encode(),
                member.clock(self.now),
                witnesses=self.witnesses if begins else (),
                base=disk.base,
                snapshot=meta,
            )
        except ValueError as error:
            raise Violation("P-DU", f"{name} cannot start: {error}") from None
        self.look_anew(member)

    def recover(self, member: Member) -> None:
        """The state machine as the disk has it."""
        snapshots = member.disk.snapshots
        member.state, done, _ = snapshots[-1][1] if snapshots else (State(), frozenset[int](), b"")
        member.done = set(done)

    def crash(self, name: str) -> None:
        """Power loss: everything not synced is gone."""
        member = self.members[name]
        member.core = None
        member.fetching = None
        member.disk.waiting.clear()

    def restart(self, name: str) -> None:
        self.crash(name)
        self.start(name)

    def note(self, text: str) -> None:
        """A line for the reader of a transcript."""
        self.trace.append((self.now, "", text, None))

    def match_logs(self) -> None:
        """P-LM: an entry at the same index and of the same term is the same, and so is all before
        it.
        """
        logs = [m.core.log for m in self.members.values() if m.core is not None]
        for number, left in enumerate(logs):
            for right in logs[:number]:
                agreed = False
                base = max(left.base, right.base)
                last = min(left.last_index, right.last_index)
                if last < base:
                    continue
                for mine, theirs in zip(
                    reversed(left.between(base + 1, last)),
                    reversed(right.between(base + 1, last)),
                    strict=True,
                ):
                    agreed = agreed or mine.term == theirs.term
                    if agreed and (mine.term, mine.crc) != (theirs.term, theirs.crc):
                        raise Violation("P-LM", f"{mine} and {theirs} before equal entries")
                if agreed and left.term_at(base) != right.term_at(base):
                    raise Violation("P-LM", f"{left} and {right} differ at {base}, and agree after")

    def core(self, name: str) -> Raft:
        core = self.members[name].core
        assert core is not None, f"{name} is down"
        return core

    # ---- steps -----------------------------------------------------------------------------------

    def step(self, name: str, input: Input) -> Effects:
        """One step of one core: check it, then carry it out in the order of the contract."""
        member = self.members[name]
        core = member.core
        assert core is not None
        out = core.step(input, self.now * member.rate // 1000 + member.offset_ns)
        self.steps += 1
        if self.keeping:
            self.trace.append((self.now, name, input, out))
            for event in out.events:
                self.events.append((self.now, name, event))
        # Most steps give messages, or nothing at all.
        more = (
            out.events
            or out.persist
            or out.apply
            or out.failed
            or out.reads
            or out.admin
            or out.snapshots
            or out.fatal
        )
        if more:
            for asked in out.snapshots:
                if isinstance(asked, LoadSnapshot):
                    self.load(member, asked)
            self.properties.step(member, out)
        for to, message in out.messages:
            self.send(name, to, message)
        if more:
            self.carry_out(member, out)
        if out.unusable:
            self.unusable[name] = out.unusable
            self.crash(name)
            return out
        due = core.next_deadline
        if due is not None and due != member.looked:
            when = -((member.offset_ns - due) * 1000 // member.rate)
            if when < member.tick_at:
                self.tick_at(member, due, when)
        return out

    def carry_out(self, member: Member, out: Effects) -> None:
        """What follows the messages."""
        if out.apply or out.failed or out.reads:
            self.answered(out)
        for done in out.admin:
            assert done.token not in self.admin, "answered twice"
            self.admin[done.token] = done
        for asked in out.snapshots:
            if isinstance(asked, SaveSnapshot):
                self.save(member, asked)
            elif isinstance(asked, Download):
                self.fetch(member, asked)
            elif isinstance(asked, CancelDownload):
                member.fetching = None
        for persist in out.persist:
            self.write(member, persist)

    def answered(self, out: Effects) -> None:
        """What clients are told, each of them once."""
        answers: list[Answer] = [*out.failed, *out.apply, *out.reads]
        for answer in answers:
            if answer.token is not None:
                assert answer.token not in self.answers, "answered twice"
                self.answers[answer.token] = answer

    # ---- snapshots -------------------------------------------------------------------------------

    def save(self, member: Member, asked: SaveSnapshot) -> None:
        """Durable after the disk's save_ns, unless the member dies before."""
        state, life = member.state, member.life
        core = self.core(member.name)
        done = frozenset(member.done)
        if done and core.bugs.breaks("snap_no_sessions"):
            done = frozenset()
        meta = SnapshotMeta(
            asked.index, asked.term, asked.configuration, 8, state.digest, asked.bare
        )

        def saved() -> None:
            if member.core is not None and member.life == life:
                member.disk.keep(meta, (state, done, b""))
                self.step(member.name, SnapshotSaved(meta))

        if member.disk.save_ns is not None:
            self.at(self.now + member.disk.save_ns, saved)

    def fetch(self, member: Member, asked: Download) -> None:
        """Here after the disk's fetch_ns, if the leader still has it then and both ways are open."""
        member.fetching = asked
        source = self.members[asked.leader]

        def fetched() -> None:
            if member.fetching is not asked:
                return
            member.fetching = None
            between = {(member.name, source.name), (source.name, member.name)} & self.cuts
            wanted = asked.meta
            have = next(
                (
                    saved
                    for meta, saved in source.disk.snapshots
                    if (meta.index, meta.term) == (wanted.index, wanted.term)
                ),
                None,
            )
            if have is None or source.core is None or between:
                self.step(member.name, Downloaded(asked.meta, False))
                return
            member.disk.keep(asked.meta, have)
            member.fetched = (asked.meta, have)
            self.step(member.name, Downloaded(asked.meta, True))

        self.at(self.now + member.disk.fetch_ns, fetched)

    def load(self, member: Member, asked: LoadSnapshot) -> None:
        """The state machine's state is another one now."""
        assert member.fetched is not None, "nothing was fetched"
        assert member.fetched[0] == asked.meta, "another one was fetched"
        state, done, _ = member.fetched[1]
        if state.applied < member.applied:
            raise Violation("P-SM", f"{member.name} goes back from {member.state} to {state}")
        member.state, member.done = state, set(done)

    def write(self, member: Member, persist: Persist) -> None:
        member.disk.waiting.append(persist)
        life = member.life
        delay = member.disk.delay_ns
        if delay is not None:
            self.at(self.now + delay, self.synced, member, life, persist.token)

    def synced(self, member: Member, life: int, token: int) -> None:
        """The disk of that life has everything up to `token`."""
        if member.core is not None and member.life == life:
            member.disk.sync(token)
            self.step(member.name, Persisted(token))

    def sync(self, name: str) -> None:
        """Sync the disk of `name` now and tell its core."""
        waiting = self.members[name].disk.waiting
        if waiting:
            token = waiting[-1].token
            self.members[name].disk.sync(token)
            self.step(name, Persisted(token))

    # ---- network ---------------------------------------------------------------------------------

    def send(self, source: str, to: str, message: Message) -> None:
        if self.keeping:
            self.sent.append((self.now, source, to, message))
        if (source, to) in self.cuts or (self.drop and self.rng.random() < self.drop):
            return
        if self.rule is not None and self.rule(source, to, message):
            self.held.append((source, to, message))
            return
        self.at(self.now + self.delay(source, to), self.deliver, source, to, message)
        if self.duplicate and self.rng.random() < self.duplicate:
            self.at(self.now + self.delay(source, to), self.deliver, source, to, message)

    def deliver(self, source: str, to: str, message: Message) -> None:
        """Hand a message over now, if the receiver lives and the link is up."""
        if (source, to) not in self.cuts and self.members[to].core is not None:
            self.step(to, Received(source, message))

    def release(self) -> None:
        """Deliver what was held back, in the order it was sent; hold nothing more."""
        self.rule = None
        held, self.held = self.held, []
        for source, to, message in held:
            self.deliver(source, to, message)

    def cut(self, left: Sequence[str], right: Sequence[str]) -> None:
        for a in left:
            for b in right:
                if a != b:
                    self.cuts |= {(a, b), (b, a)}

    def isolate(self, name: str) -> None:
        self.cut([name], self.names)

    def heal(self) -> None:
        self.cuts.clear()

    # ---- time ------------------------------------------------------------------------------------

    def at(self, when_ns: int, do: Callable[..., None], *arguments: Any) -> None:
        self._order += 1
        heapq.heappush(self._queue, (when_ns, self._order, do, arguments))

    def look(self, member: Member) -> None:
        """See to it that the member's next deadline is looked at in time."""
        due = None if member.core is None else member.core.next_deadline
        if due is not None:
            when = -((member.offset_ns - due) * 1000 // member.rate)
            if when < member.tick_at:
                self.tick_at(member, due, when)

    def tick_at(self, member: Member, due: int, when: int) -> None:
        """Look then, in true time, whether the deadline `due` has come."""
        if when < self.now:
            when = self.now
        member.tick_at = when
        member.looked = due
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, self.tick, (member, member.life, when)))

    def look_anew(self, member: Member) -> None:
        """The same, when the tick that the bed waits for, if any, is not to come."""
        member.tick_at, member.looked = NEVER, None
        self.look(member)

    def tick(self, member: Member, life: int, when: int) -> None:
        core = member.core
        if member.tick_at != when or member.life != life or core is None:
            return
        due = core.next_deadline
        if due is not None and self.now * member.rate // 1000 + member.offset_ns >= due:
            member.tick_at, member.looked = NEVER, None
            self.step(member.name, TICK)
        else:
            self.look_anew(member)

    def drift(self, name: str, rate: int) -> None:
        """The clock of `name` goes on from here at `rate` thousandths of true time."""
        member = self.members[name]
        member.offset_ns = member.clock(self.now) - self.now * rate // 1000
        member.rate = rate
        self.look_anew(member)

    def run(self, ms: float) -> None:
        """Let `ms` of true time pass."""
        end = self.now + int(ms * MS)
        queue, pop = self._queue, heapq.heappop
        while queue[0][0] <= end:
            when, _, do, arguments = pop(queue)
            if when > self.now:
                self.now = when
            do(*arguments)
        self.now = end

    def run_steps(self, step_ns: int, most: int) -> int:
        """Let time pass in steps, up to the first in which something is due, `most` of them at most; gives how many it were."""
        steps = min(most, max(1, -((self.now - self._queue[0][0]) // step_ns)))
        self.run(steps * step_ns / MS)
        return steps

    def run_until(self, condition: Callable[[], bool], ms: float) -> None:
        """Let time pass until `condition`, which must come within `ms`."""
        end = self.now + int(ms * MS)
        while not condition():
            assert self.now < end, f"not within {ms} ms: {[m.core for m in self.members.values()]}"
            self.run(1)

    # ---- clients and admins ----------------------------------------------------------------------

    def propose(self, name: str, more: bool = False) -> int:
        """A unique command at `name`; gives its token."""
        self._token += 1
        data = self.command(self._token)
        crc = zlib.crc32(data)
        self.properties.payloads[crc] = self._token
        self.step(name, Propose(self._token, data, crc, more))
        return self._token

    def request(
        self, name: str, proposals: int, reads: int, begin: bool = True
    ) -> tuple[list[int], list[int]]:
        """So many commands and ReadIndex reads that came together; gives their tokens. Without `begin` the reads wait on."""
        proposed: list[Propose] = []
        for _ in range(proposals):
            data = self.command(self.next_token())
            crc = zlib.crc32(data)
            self.properties.payloads[crc] = self._token
            proposed.append(Propose(self._token, data, crc, True))
        asked = [Read(self.next_token(), "readindex", True) for _ in range(reads)]
        for read in asked:
            self.properties.reads[read.token] = Asked(read.mode, self.properties.acknowledged)
            self.step(name, read)
        self.step(name, Requests(proposed, begin))
        return [p.token for p in proposed], [read.token for read in asked]

    def retry(self, name: str, token: int) -> None:
        """The command of `token`, which was not answered, once more."""
        crc = next(crc for crc, known in self.properties.payloads.items() if known == token)
        self.step(name, Propose(token, self.command(token), crc))

    def next_token(self) -> int:
        self._token += 1
        return self._token

    def command(self, token: int) -> bytes:
        """The bytes of the client command `token`."""
        return f"command {token}".encode()

    def read(self, name: str, mode: str) -> int:
        self._token += 1
        self.properties.reads[self._token] = Asked(mode, self.properties.acknowledged)
        self.step(name, Read(self._token, mode))
        return self._token

    def observe(self, name: str) -> str:
        """The state of the leader lease at `name`."""
        out = self.step(name, ObserveLease())
        return next(str(e.fields["state"]) for e in out.events if e.name == "lease")

    def vote(self, name: str, timeout_ms: int = 0) -> None:
        self.step(name, ManualVote(timeout_ms))

    def snapshot(self, name: str) -> int:
        """An operator's request for a snapshot; gives its token."""
        self._token += 1
        self.step(name, TakeSnapshot(self._token))
        return self._token

    def change(self, name: str, members: Sequence[str], witnesses: Sequence[str] = ()) -> int:
        """An operator's request to make `members` the group; gives its token."""
        self._token += 1
        self.step(name, ChangeMembers(self._token, tuple(members), tuple(witnesses)))
        return self._token

    def reset_members(self, name: str, members: Sequence[str]) -> int:
        """An operator's override of what `name` takes for the group; gives its token."""
        self._token += 1
        self.step(name, ResetMembers(self._token, tuple(members)))
        return self._token

    def transfer(self, name: str, to: str = "") -> int:
        """An operator's request to hand the leadership over; gives its token."""
        self._token += 1
        self.step(name, Transfer(self._token, to))
        return self._token

    def set_readonly(self, name: str, readonly: bool) -> int:
        """An operator's request to enter or leave the read-only mode; gives its token."""
        self._token += 1
        self.step(name, SetReadonly(self._token, readonly))
        return self._token

    def reset_timeout(self, name: str, timeout_ms: int, drift_ms: int | None = None) -> int:
        """An operator's request for another E, and D; gives its token."""
        self._token += 1
        self.step(name, ResetElectionTimeout(self._token, timeout_ms, drift_ms))
        return self._token

    def disconnect(self, name: str, peer: str) -> None:
        self.step(name, Disconnected(peer))

    def leader(self) -> str | None:
        """The living leader of the newest term."""
        living = [m.core for m in self.members.values() if m.core is not None]
        leading = [core for core in living if core.state == "leader"]
        return max(leading, key=lambda core: core.term).name if leading else None

    def vote_anew(self, name: str) -> None:
        """An operator's vote at a follower, unless the pre-vote of an earlier one may still succeed."""
        core = self.core(name)
        ballot = core.ballot
        over = ballot is None or self.now - ballot.started_ns >= core.election_timeout_ns
        if core.state == "follower" and not core.triggered and over:
            self.vote(name)

    def elect(self, name: str, ms: float = 5000) -> None:
        """Make `name` a leader that has committed its first entry, by manual votes."""

        def done() -> bool:
            core = self.core(name)
            self.vote_anew(name)
            return core.state == "leader" and core.commit >= core.term_start

        self.run_until(done, ms)

    def named(self, event: str, node: str | None = None) -> list[Event]:
        return [e for _, who, e in self.events if e.name == event and node in (None, who)]


def _with_bugs(options: Options, bugs: Sequence[str]) -> Options:
    fields = {name: getattr(options, name) for name in options.__struct_fields__}
    return Options(**{**fields, "bugs": tuple(bugs)})
