"""The journal over a disk that remembers what it was asked."""

from __future__ import annotations

import os
import threading
import time
import zlib

import msgspec
import pytest

from node.raft.configuration import Configuration
from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry, SnapshotMeta
from node.storage import names
from node.storage.codec import Corrupt, Foreign, Start, read_segment_header, segment_header
from node.storage.journal import SIZES, Batch, Journal, Recovered, Sizes
from node.storage.syncer import QUICK_SYNCS_TO_RETURN, Syncer
from tests.node.storage.crashdisk import CrashDisk

FIRST = "journal.00000001"
SMALL = Sizes(full=4000, zeros=500, worthwhile=400)


class SlowDisk(CrashDisk):
    """Syncs that take long, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.takes_s = 0.0

    def sync(self, name: str) -> None:
        time.sleep(self.takes_s)
        if self.fails:
            raise OSError(5, "Input/output error")
        super().sync(name)


def persist(token: int, *indices: int, term: int = 2) -> Persist:
    entries = [Entry(index, term, DATA, b"", 0) for index in indices]
    return Persist(token, HardState(term, "n2"), 0, entries)


def store(journal: Journal, persist: Persist) -> None:
    journal.add(persist)
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)


def meta(index: int, term: int) -> SnapshotMeta:
    return SnapshotMeta(index, term, Configuration(("n1",)), 0, 0)


def again(disk: CrashDisk, snapshot: SnapshotMeta | None = None) -> Recovered:
    return Journal(disk.played_power_loss(), "g", "n1", snapshot).recovered


def indices(found: Recovered) -> list[int]:
    return [entry.index for entry in found.entries]


def test_recovery_makes_durable_what_it_found_before_it_says_so() -> None:
    """A record in the page cache alone may be acted on only once it is synced."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    journal.add(persist(1, 1))
    batch = journal.take()
    assert batch is not None
    disk.write(FIRST, journal.synced, batch.data)
    disk.calls.clear()
    recovered = Journal(disk, "g", "n1")
    assert indices(recovered.recovered) == [1]
    end = journal.synced + len(batch.data)
    assert disk.calls == [f"sync {FIRST}", f"mark 1 {end}"]
    assert recovered.synced == end


def test_recovery_cuts_a_torn_tail_from_the_file() -> None:
    """Leftovers could become whole records again once others are written before them."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    disk.write(FIRST, journal.synced, b"\x20\0\0\0torn" + bytes(40))
    disk.calls.clear()
    found = Journal(disk, "g", "n1")
    assert found.recovered.torn
    assert disk.calls[0] == f"truncate {FIRST}"
    assert not any(disk.read(FIRST, journal.synced))


def test_recovery_refuses_when_durable_bytes_are_gone() -> None:
    """A file shorter than its synced length has lost what was promised."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    store(journal, persist(1, 1))
    del disk.files[FIRST].data[journal.synced - 1 :]
    with pytest.raises(Corrupt, match=rf"{FIRST}: byte \d+: .* were durable"):
        Journal(disk, "g", "n1")


def test_nothing_reaches_the_kernel_before_the_batch_is_synced() -> None:
    """Records wait in user space, so that SIGKILL loses them."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    disk.calls.clear()
    journal.add(persist(1, 1))
    journal.add(persist(2, 2, 3))
    assert (disk.calls, journal.waiting) == ([], 5)
    assert journal.waiting_bytes > 0
    batch = journal.take()
    assert batch is not None
    assert disk.calls == []
    journal.write_and_sync(batch)
    write = f"write {FIRST}"
    assert disk.calls == [
        write,
        f"{write}, half done",
        f"sync {FIRST}",
        f"mark 1 {journal.synced}",
    ]
    assert (batch.token, batch.records, journal.syncs, journal.batches) == (2, 5, 1, 1)
    assert journal.take() is None


def test_the_file_is_zero_ahead_of_the_end() -> None:
    """A sync that need not record a new length is cheaper."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    for token in range(1, 40):
        data = bytes(150_000)
        store(journal, Persist(token, None, 0, [Entry(token, 1, DATA, data, zlib.crc32(data))]))
        assert journal.synced < disk.size(journal.name) <= journal.synced + SIZES.zeros
    assert journal.segments == 1


def test_a_failed_sync_marks_nothing() -> None:
    """A6: the error goes up, and the synced length stays where it was."""
    disk = SlowDisk()
    journal = Journal(disk, "g", "n1")
    journal.add(persist(1, 1))
    batch = journal.take()
    assert batch is not None
    disk.fails = True
    before = journal.synced
    with pytest.raises(OSError, match="Input/output error"):
        journal.write_and_sync(batch)
    assert disk.mark() == (1, before)
    assert journal.synced == before


def test_a_vote_may_overtake_held_back_entries_and_both_replay() -> None:
    """For the bugs that hold entries back: their votes stay honest, and a cut is not forgotten."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1", sizes=SMALL)
    journal.add(Persist(1, None, 0, [Entry(1, 1, DATA, b"", 0)]))
    alone = journal.add_vote_first(Persist(2, HardState(5, "n3"), 0, [], cut_to=1))
    assert alone is not None
    journal.write_and_sync(alone)
    assert again(disk).hard_state == HardState(5, "n3")
    assert indices(again(disk)) == []
    batch = journal.take()
    assert batch is not None
    assert batch.cut_to == 1
    journal.write_and_sync(batch)
    assert (again(disk).hard_state, indices(again(disk))) == (HardState(5, "n3"), [1])


# ---- segments ------------------------------------------------------------------------------------


def test_a_full_segment_is_followed_by_the_next_and_both_replay() -> None:
    """The sealed one gives its zeros back; the log goes on where it ended."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1", sizes=SMALL)
    for index in range(1, 200):
        store(journal, persist(index, index))
    assert journal.segments > 1
    assert not disk.read(FIRST).endswith(bytes(8))
    assert journal.name == names.segment(journal.segments)
    assert (again(disk).base, indices(again(disk))) == ((0, 0), list(range(1, 200)))
    journal.add(persist(200, 200))
    assert (again(disk).hard_state, len(again(disk).entries)) == (HardState(2, "n2"), 199)


def test_a_cut_deletes_whole_segments_and_never_the_newest() -> None:
    """What is left begins at or below the cut, and a reader with the snapshot sees no gap."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1", sizes=SMALL)
    for index in range(1, 400):
        store(journal, persist(index, index))
    before = journal.segments
    store(journal, Persist(400, None, 0, [], cut_to=250))
    assert 1 < journal.segments < before
    found = again(disk, meta(250, 2))
    assert 0 < found.base[0] <= 250
    assert indices(found) == list(range(found.base[0] + 1, 400))
    store(journal, Persist(401, None, 0, [], cut_to=399))
    assert journal.segments == 1
    with pytest.raises(Corrupt, match=r"begins after entry .* there is no snapshot"):
        again(disk)
    with pytest.raises(Corrupt, match=r"begins after entry .* the snapshot ends at entry 20"):
        again(disk, meta(20, 2))


def test_the_folder_stays_small_while_snapshots_are_taken() -> None:
    """A snapshot every 1,000 entries of 100 bytes: a few MB, however long it runs."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1")
    largest = 0
    data = bytes(100)
    for first in range(1, 30_000, 100):
        entries = [Entry(i, 2, DATA, data, zlib.crc32(data)) for i in range(first, first + 100)]
        cut_to = first - 5 if first % 1000 == 1 and first > 1 else 0
        store(journal, Persist(first, None, 0, entries, cut_to=cut_to))
        largest = max(largest, sum(map(disk.size, disk.names())))
    assert largest < 3 * 1024 * 1024


@pytest.mark.parametrize("votes", [None, HardState(7, "n3")])
def test_a_reset_leaves_one_segment_that_begins_after_it(votes: HardState | None) -> None:
    """What waited of the forgotten log is never written; the vote is there as soon as the reset is."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1", sizes=SMALL)
    store(journal, persist(1, 1, 2, 3))
    journal.add(persist(2, 4, term=6))
    journal.add(Persist(3, votes, 0, [], reset=(100, 5), cut_to=100))
    journal.add(persist(4, 101, term=8))
    left: list[Recovered] = []
    disk.before = lambda call: left.append(again(disk, meta(100, 5))) if "write" in call else None
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)
    assert disk.names() == [names.segment(2)]
    found = again(disk, meta(100, 5))
    assert (found.base, indices(found), found.hard_state) == ((100, 5), [101], HardState(8, "n2"))
    assert left[0].hard_state == HardState(2, "n2")
    assert left[-1].hard_state in (votes or HardState(6, "n2"), HardState(8, "n2"))
    assert {each.base for each in left} == {(100, 5)}


@pytest.mark.parametrize(
    ("snapshot", "base", "kept"),
    [
        (meta(2, 2), (0, 0), [1, 2, 3]),
        (meta(3, 2), (0, 0), [1, 2, 3]),
        (meta(2, 3), (2, 3), []),
        (meta(4, 2), (4, 2), []),
    ],
    ids=["inside", "at the end", "of another term", "past the end"],
)
def test_a_snapshot_that_the_log_does_not_hold_resets_it(
    snapshot: SnapshotMeta, base: tuple[int, int], kept: list[int]
) -> None:
    """Row 51: a crash between an install and its reset; an entry of another term takes all after it along."""
    disk = CrashDisk()
    store(Journal(disk, "g", "n1"), persist(1, 1, 2, 3))
    journal = Journal(disk, "g", "n1", snapshot)
    assert (journal.recovered.base, indices(journal.recovered)) == (base, kept)
    assert again(disk, snapshot) == journal.recovered
    store(journal, persist(2, (kept[-1] if kept else base[0]) + 1))


def test_a_base_of_another_term_than_the_snapshot_is_damage() -> None:
    """Both are committed: they cannot differ."""
    disk = CrashDisk()
    store(Journal(disk, "g", "n1"), Persist(1, None, 0, [], reset=(9, 2)))
    with pytest.raises(Corrupt, match="entry 9 has term 2 in the journal and term 3"):
        Journal(disk, "g", "n1", meta(9, 3))


def test_a_folder_of_the_first_format_or_without_its_journal_is_refused() -> None:
    """One line that names the file and says what to do."""
    disk = CrashDisk()
    with pytest.raises(Corrupt, match="no journal beside the snapshot"):
        Journal(disk, "g", "n1", meta(9, 3))
    disk.write("journal", 0, b"anything")
    with pytest.raises(Foreign, match=r"version 1, this node reads version 2; start the release"):
        Journal(disk, "g", "n1")


def test_segments_that_do_not_fit_together_are_damage() -> None:
    """A file under another's name, another log's segment: each is whole, and yet wrong."""
    disk = CrashDisk()
    journal = Journal(disk, "g", "n1", sizes=SMALL)
    while journal.segments < 3:
        store(journal, persist(journal.syncs + 1, journal.syncs + 1))
    swapped = disk.killed()
    swapped.files[FIRST] = swapped.files[names.segment(2)]
    with pytest.raises(Corrupt, match="is segment 2 under another's name"):
        Journal(swapped, "g", "n1")
    other = disk.killed()
    start = msgspec.structs.replace(begin_of(other, 2), index=7)
    other.files[names.segment(2)].data[:] = segment_header("g", "n1", start)
    with pytest.raises(Corrupt, match="begins after entry 7 of term 2"):
        Journal(other, "g", "n1")


def begin_of(disk: CrashDisk, number: int) -> Start:
    return read_segment_header(disk.read(names.segment(number)), "g", "n1")[0]


# ---- where a sync runs ---------------------------------------------------------------------------


def batches(journal: Journal, first: int, count: int) -> list[Batch]:
    made = []
    for index in range(first, first + count):
        journal.add(persist(index, index))
        batch = journal.take()
        assert batch is not None
        made.append(batch)
    return made


def wait_for(syncer: Syncer) -> Batch:
    deadline = time.monotonic() + 5
    while (done := syncer.finished()) is None:
        assert time.monotonic() < deadline, "the thread never answered"
        time.sleep(0.001)
    return done


def is_slow(syncer: Syncer) -> bool:
    return syncer.slow


def test_slow_syncs_move_to_a_thread_and_quick_ones_come_back() -> None:
    """An inline sync must not silence heartbeats while the disk is slow."""
    disk = SlowDisk()
    journal = Journal(disk, "g", "n1")
    # Long against what a busy host takes from a thread: quick is below a quarter of it.
    syncer = Syncer(journal, time.monotonic_ns, 800_000_000)
    first, second, *rest = batches(journal, 1, 2 + QUICK_SYNCS_TO_RETURN)
    disk.takes_s = 0.9
    syncer.here(first)
    assert is_slow(syncer)
    before = threading.active_count()
    syncer.away(second)
    assert syncer.in_flight
    assert threading.active_count() == before + 1
    assert wait_for(syncer) is second
    assert (syncer.in_flight, syncer.in_thread) == (False, 1)
    assert syncer.last_ns > 800_000_000
    disk.takes_s = 0.0
    for batch in rest:
        assert is_slow(syncer)
        syncer.away(batch)
        assert wait_for(syncer) is batch
    assert not is_slow(syncer)
    assert len(again(disk).entries) == 2 + QUICK_SYNCS_TO_RETURN
    syncer.close()
    os.close(syncer.fd)


def test_whatever_goes_wrong_in_the_thread_comes_out_in_the_loop() -> None:
    """A6: a failed sync is fatal, wherever it ran; a wedged node would be worse than a dead one."""
    disk = SlowDisk()
    journal = Journal(disk, "g", "n1")
    syncer = Syncer(journal, time.monotonic_ns, 20_000_000)
    one, two = batches(journal, 1, 2)
    disk.fails = True
    syncer.away(one)
    with pytest.raises(OSError, match="Input/output error"):
        wait_for(syncer)
    syncer.away(msgspec.structs.replace(two, data="no bytes"))
    with pytest.raises(TypeError):
        wait_for(syncer)
    syncer.close()
    os.close(syncer.fd)


def test_the_loop_can_wait_for_the_thread() -> None:
    """What must overtake held-back entries may not be written while another batch is being."""
    disk = SlowDisk()
    journal = Journal(disk, "g", "n1")
    syncer = Syncer(journal, time.monotonic_ns, 20_000_000)
    (one,) = batches(journal, 1, 1)
    disk.takes_s = 0.05
    assert syncer.join() is None
    syncer.away(one)
    assert syncer.join() is one
    assert not syncer.in_flight
    syncer.close()
    os.close(syncer.fd)
