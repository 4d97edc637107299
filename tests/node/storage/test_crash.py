"""A crash after any step of any sequence leaves a state that the member may have had:
everything that was synced is there, nothing is invented, and the vote never goes back."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import msgspec
import pytest

from node.raft.configuration import Configuration
from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry, SnapshotMeta
from node.storage import names
from node.storage.codec import Corrupt
from node.storage.journal import Journal, Sizes
from node.storage.snapshots import Snapshots
from tests.node.storage.crashdisk import CrashDisk

SIZES = Sizes(full=500, zeros=400, worthwhile=250)
MEMBERS = Configuration(("n1", "n2", "n3"))


class State(msgspec.Struct, frozen=True):
    """Vote and log as the core knows them; `base` is (0, 0) or that of the last reset."""

    hard: HardState = HardState()
    base: tuple[int, int] = (0, 0)
    entries: tuple[Entry, ...] = ()

    @property
    def last(self) -> int:
        return self.base[0] + len(self.entries)

    def term_at(self, index: int) -> int:
        if index == self.base[0]:
            return self.base[1]
        return self.entries[index - self.base[0] - 1].term

    def beside(self, meta: SnapshotMeta | None) -> State:
        """After an install's rule: a log that does not hold the snapshot's entry is reset to it."""
        if meta is None or meta.index < self.base[0]:
            return self
        if meta.index <= self.last and self.term_at(meta.index) == meta.term:
            return self
        return State(self.hard, (meta.index, meta.term), ())


def steps(state: State, persist: Persist) -> Iterator[State]:
    """What a crash may leave of one Persist: each prefix of its records, reset and vote first."""
    hard = persist.hard_state or state.hard
    if persist.reset is not None:
        state = State(hard, persist.reset, ())
        yield state
    state = State(hard, state.base, state.entries)
    yield state
    if persist.truncate_from:
        kept = state.entries[: persist.truncate_from - 1 - state.base[0]]
        state = State(hard, state.base, kept)
        yield state
    for entry in persist.entries:
        state = State(hard, state.base, (*state.entries, entry))
        yield state


class Stopped(Exception):
    """The process ended here."""


class Life:
    """A member's storage under a seeded sequence of everything the core asks of it.

    `states` and `metas` are what a crash now may leave.
    """

    def __init__(self, disk: CrashDisk, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = disk
        self.state = State()
        self.token = 0
        self.committed = 0
        self.waiting: list[Persist] = []
        self.states = [self.state]
        self.metas: list[SnapshotMeta | None] = [None]
        self.bytes: dict[tuple[int, int], bytes] = {}

    def open(self) -> None:
        self.disk.sync_folder()  # As FolderDisk does when it opens.
        self.store = Snapshots(self.disk, "g", "n1")
        self.journal = Journal(self.disk, "g", "n1", self.store.latest(), SIZES)

    def run(self, count: int) -> None:
        actions = [self.persist] * 12 + [self.flush] * 12 + [self.save] * 2 + [self.cut] * 2
        actions += [self.install] * 2 + [self.restart, self.crash]
        for _ in range(count):
            self.random.choice(actions)()

    def _hand_over(self, persist: Persist) -> None:
        self.journal.add(persist)
        self.waiting.append(persist)
        *_, self.state = steps(self.state, persist)

    def _persist(self, **fields: object) -> Persist:
        self.token += 1
        return msgspec.structs.replace(Persist(self.token, None, 0, []), **fields)

    def persist(self) -> None:
        state, draw = self.state, self.random
        term = state.hard.term + draw.choice((0, 0, 0, 1, 2))
        hard = None
        if term > state.hard.term or draw.random() < 0.2:
            voted = state.hard.voted_for if term == state.hard.term else ""
            hard = HardState(term, voted or draw.choice(("", "n1", "n2")))
        truncate = draw.randint(self.committed + 1, state.last + 1)
        if truncate > state.last or draw.random() < 0.7:
            truncate = 0
        first = truncate or state.last + 1
        entries = []
        for index in range(first, first + draw.randint(0, 4)):
            data = draw.randbytes(draw.randint(0, 80))
            entries.append(Entry(index, term, DATA, data, zlib.crc32(data)))
        self._hand_over(self._persist(hard_state=hard, truncate_from=truncate, entries=entries))

    def flush(self) -> None:
        batch = self.journal.take()
        if batch is None:
            return
        for persist in self.waiting:
            self.states.extend(steps(self.states[-1], persist))
        self.waiting.clear()
        self.journal.write_and_sync(batch)
        self.states = [self.state]
        self.committed = self.random.randint(self.committed, max(self.committed, self.state.last))

    def _meta(self, index: int, term: int) -> tuple[SnapshotMeta, bytes]:
        state = self.random.randbytes(self.random.randint(0, 400))
        self.bytes[index, zlib.crc32(state)] = state
        return SnapshotMeta(index, term, MEMBERS, len(state), zlib.crc32(state)), state

    def save(self) -> None:
        latest = self.store.latest()
        if self.committed <= (latest.index if latest else 0):
            return
        meta, state = self._meta(self.committed, self.state.term_at(self.committed))
        self.metas.append(meta)
        self.store.save(meta, [state[:100], state[100:]])
        self.metas = [meta]

    def cut(self) -> None:
        if (latest := self.store.latest()) is not None:
            self._hand_over(self._persist(cut_to=latest.index - self.random.choice((0, 0, 3))))

    def install(self) -> None:
        """A snapshot from a leader, of an entry that this log has, has otherwise, or has not."""
        if self.random.random() < 0.5:
            self.flush()
        latest = self.store.latest()
        least = max(self.committed, latest.index if latest else 0) + 1
        index = self.random.randint(least, max(least, self.state.last + 10))
        term = self.state.hard.term
        if index <= self.state.last and self.random.random() < 0.5:
            term = self.state.term_at(index)
        meta, state = self._meta(index, term)
        self.metas.append(meta)
        partial = self.store.receive(meta)
        for at in range(0, len(state), 150):
            partial.write(at, state[at : at + 150])
        assert partial.finish()
        self.metas = [meta]
        self.committed = index
        after = self.state.beside(meta)
        if after != self.state:
            self._hand_over(self._persist(reset=(index, term), cut_to=index))

    def restart(self) -> None:
        """Waiting records die in user space, and the next life begins with what is durable."""
        self.waiting.clear()
        self.open()
        assert self.journal.recovered.fresh is False
        self.state = self.states[-1].beside(self.store.latest())
        self.states = [self.state]

    def crash(self) -> None:
        """The process ends at some step of what it does next, and goes on with what a crash then leaves."""
        check_here, steps_left = self.disk.before, self.random.randint(0, 12)

        def step(call: str) -> None:
            nonlocal steps_left
            if check_here is not None:
                check_here(call)
            steps_left -= 1
            if steps_left < 0:
                raise Stopped

        self.disk.before = step
        try:
            for action in (self.persist, self.flush, self.save, self.cut, self.flush, self.install):
                action()
        except Stopped:
            pass
        calls, self.disk = self.disk.calls, self.random.choice([*crashes(self.disk, self.random)])
        self.state = check(self.disk, self)
        self.disk.calls = calls
        self.disk.before = check_here
        self.waiting.clear()
        self.open()
        latest = self.store.latest()
        self.states, self.metas = [self.state], [latest]
        self.committed = max(self.committed, latest.index if latest else 0)


def check(disk: CrashDisk, life: Life) -> State:
    """One recovery, of what a crash may have left, and exactly: of which of the states it is."""
    disk.sync_folder()
    store = Snapshots(disk, "g", "n1")
    meta = store.latest()
    assert meta in life.metas
    if meta is not None:
        assert store.load() == life.bytes[meta.index, meta.crc]
    found = Journal(disk, "g", "n1", meta, SIZES).recovered
    numbers = names.segments(disk.names())
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "leftovers stayed"
    base, term = found.base
    for state in life.states:
        state = state.beside(meta)
        if (
            found.hard_state == state.hard
            and state.base[0] <= base <= max(state.base[0], meta.index if meta else 0)
            and base <= state.last
            and term == state.term_at(base)
            and tuple(found.entries) == state.entries[base - state.base[0] :]
        ):
            return state
    raise AssertionError(f"{found} after {disk.calls[-10:]} is none of {life.states} with {meta}")


def crashes(disk: CrashDisk, draw: random.Random) -> Iterator[CrashDisk]:
    yield disk.killed()
    yield disk.played_power_loss()
    for _ in range(3):
        yield disk.lost_power(draw)


def check_all(disk: CrashDisk, life: Life, draw: random.Random, deep: bool) -> None:
    """Recovery after every kind of crash now, and, if `deep`, after a second crash at every step of that recovery."""
    for left in crashes(disk, draw):
        if deep:

            def again(_: str, left: CrashDisk = left) -> None:
                check(left.killed(), life)
                check(left.lost_power(draw), life)

            left.before = again
        check(left, life)
        left.before = None
        check(left, life)


def crash_at_every_step(seed: int) -> None:
    life = Life(CrashDisk(), seed)
    draw = random.Random(-seed)
    life.disk.before = lambda _: check_all(life.disk, life, draw, deep=draw.random() < 0.15)
    life.open()
    life.run(100)
    assert len(life.disk.calls) > 100


@pytest.mark.parametrize("seed", range(12))
def test_a_crash_at_any_step_leaves_what_the_member_may_have_had(seed: int) -> None:
    """Every write (also half done), sync, rename, removal and mark of a random life is crashed at, in every way."""
    crash_at_every_step(seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 300))
def test_a_crash_at_any_step_of_many_lives(seed: int) -> None:
    """The same, of more lives than there is time for at every change."""
    crash_at_every_step(seed)


def test_random_lives_meet_every_case() -> None:
    """Resets, deletions, full segments, torn tails, resumed logs: the sequences above are worth something."""
    calls: list[str] = []
    for seed in range(40):
        disk = CrashDisk()
        life = Life(disk, seed)
        life.open()
        life.run(100)
        calls += life.disk.calls
    for call in (
        "unlink journal.0000000",
        "rename snapshot.part",
        "rename snapshot.new",
        "truncate",
    ):
        assert sum(each.startswith(call) for each in calls) > 10, call


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_in_what_was_durable_is_corruption(seed: int) -> None:
    """One flipped bit in any byte that a start reads, a lost segment, a lost end: never silently less."""
    disk = CrashDisk()
    life = Life(disk, seed)
    life.open()
    while len(names.segments(life.disk.names())) < 3 or life.store.latest() is None:
        life.run(1)
    life.flush()
    disk = life.disk
    meta = life.store.latest()
    assert meta is not None
    numbers = names.segments(disk.names())
    newest = numbers[-1]
    # An older snapshot and half a download are not read at a start.
    for name in [*map(names.segment, numbers), names.snapshot(meta.index, meta.term)]:
        size = disk.mark()[1] if name == names.segment(newest) else disk.size(name)
        for at in range(size):
            left = disk.killed()
            left.files[name].data[at] ^= 1 << at % 8
            with pytest.raises(Corrupt, match=rf"{name}: .*byte \d+"):
                check(left, life)
        for length in (size - 1, size // 2, 0):
            left = disk.killed()
            del left.files[name].data[length:]
            with pytest.raises(Corrupt):
                check(left, life)
    left = disk.killed()
    del left.files[names.segment(newest)]
    with pytest.raises(Corrupt, match="gone"):
        check(left, life)
