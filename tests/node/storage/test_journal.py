"""The journal over a disk that remembers what it was asked (raft-node.md 3.10, A5 to A7)."""

from __future__ import annotations

import os
import threading
import time
import zlib

import pytest

from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry
from node.storage.codec import Corrupt, identity_record, replay
from node.storage.journal import GROW_BYTES, Batch, Journal
from node.storage.syncer import QUICK_SYNCS_TO_RETURN, Syncer

IDENTITY = identity_record("g", "n1")


class MemoryDisk:
    """Bytes in the kernel (`data`), bytes on the platter (`durable`), and every call by name."""

    def __init__(self, data: bytes = IDENTITY, synced: int = 0) -> None:
        self.data = bytearray(data)
        self.durable = bytes(data)
        self.marked = synced
        self.calls: list[str] = []
        self.fails = False
        self.takes_s = 0.0

    def read(self) -> tuple[bytes, int]:
        self.calls.append("read")
        return bytes(self.data), self.marked

    def write(self, offset: int, data: bytes) -> None:
        self.calls.append("write")
        self.data[offset : offset + len(data)] = data

    def cut(self, length: int, size: int) -> None:
        self.calls.append("cut")
        del self.data[length:]
        self.data.extend(bytes(size - length))

    def sync(self) -> None:
        self.calls.append("sync")
        time.sleep(self.takes_s)
        if self.fails:
            raise OSError(5, "Input/output error")
        self.durable = bytes(self.data)

    def mark_synced(self, length: int) -> None:
        self.calls.append("mark")
        assert replay(self.durable, length).end == length, "marked before it was synced"
        self.marked = length


def persist(token: int, *indices: int, term: int = 2) -> Persist:
    entries = [Entry(index, term, DATA, b"", 0) for index in indices]
    return Persist(token, HardState(term, "n2"), 0, entries)


def test_recovery_makes_durable_what_it_found_before_it_says_so() -> None:
    """A record in the page cache alone may be acted on only once it is synced."""
    disk = MemoryDisk()
    journal = Journal(disk, "g", "n1")
    journal.add(persist(1, 1))
    batch = journal.take()
    assert batch is not None
    disk.write(journal.synced, batch.data)
    disk.calls.clear()
    recovered = Journal(disk, "g", "n1")
    assert [entry.index for entry in recovered.recovered.entries] == [1]
    assert disk.calls[-2:] == ["sync", "mark"]
    assert disk.marked == recovered.synced == len(IDENTITY) + len(batch.data)


def test_recovery_cuts_a_torn_tail_from_the_file() -> None:
    """Leftovers could become whole records again once others are written before them."""
    disk = MemoryDisk(IDENTITY + b"\x20\0\0\0torn" + bytes(40), synced=len(IDENTITY))
    journal = Journal(disk, "g", "n1")
    assert journal.recovered.torn
    assert "cut" in disk.calls
    assert not any(disk.data[len(IDENTITY) :])


def test_recovery_refuses_when_durable_bytes_are_gone() -> None:
    """A file shorter than its synced length has lost what was promised."""
    with pytest.raises(Corrupt, match="were durable"):
        Journal(MemoryDisk(IDENTITY, synced=len(IDENTITY) + 1), "g", "n1")


def test_nothing_reaches_the_kernel_before_the_batch_is_synced() -> None:
    """Records wait in user space, so that SIGKILL loses them."""
    disk = MemoryDisk()
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
    assert disk.calls == ["write", "sync", "mark"]
    assert (batch.token, batch.records, journal.syncs, journal.batches) == (2, 5, 1, 1)
    assert journal.take() is None


def test_the_file_is_zero_ahead_of_the_end() -> None:
    """A sync that need not record a new length is cheaper (performance.md)."""
    disk = MemoryDisk()
    journal = Journal(disk, "g", "n1")
    for token in range(1, 40):
        data = bytes(200_000)
        journal.add(Persist(token, None, 0, [Entry(token, 1, DATA, data, zlib.crc32(data))]))
        batch = journal.take()
        assert batch is not None
        journal.write_and_sync(batch)
        assert len(disk.data) > journal.synced
    assert len(disk.data) <= journal.synced + 3 * GROW_BYTES


def test_a_failed_sync_marks_nothing() -> None:
    """A6: the error goes up, and the synced length stays where it was."""
    disk = MemoryDisk()
    journal = Journal(disk, "g", "n1")
    journal.add(persist(1, 1))
    batch = journal.take()
    assert batch is not None
    disk.fails = True
    before = journal.synced
    with pytest.raises(OSError, match="Input/output error"):
        journal.write_and_sync(batch)
    assert disk.marked == journal.synced == before


def test_a_vote_may_overtake_held_back_entries_and_both_replay() -> None:
    """For the bugs that hold entries back: their votes stay honest."""
    disk = MemoryDisk()
    journal = Journal(disk, "g", "n1")
    journal.add(Persist(1, None, 0, [Entry(1, 1, DATA, b"", 0)]))
    alone = journal.add_vote_first(Persist(2, HardState(5, "n3"), 0, []))
    assert alone is not None
    journal.write_and_sync(alone)
    assert replay(disk.durable, disk.marked).hard_state == HardState(5, "n3")
    assert replay(disk.durable, disk.marked).entries == []
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)
    assert len(replay(disk.durable, disk.marked).entries) == 1


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
    """performance.md: an inline sync must not silence heartbeats while the disk is slow."""
    disk = MemoryDisk()
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
    assert len(replay(disk.durable, disk.marked).entries) == 2 + QUICK_SYNCS_TO_RETURN
    syncer.close()
    os.close(syncer.fd)


def test_whatever_goes_wrong_in_the_thread_comes_out_in_the_loop() -> None:
    """A6: a failed sync is fatal, wherever it ran; a wedged node would be worse than a dead one."""
    disk = MemoryDisk()
    journal = Journal(disk, "g", "n1")
    syncer = Syncer(journal, time.monotonic_ns, 20_000_000)
    one, two = batches(journal, 1, 2)
    disk.fails = True
    syncer.away(one)
    with pytest.raises(OSError, match="Input/output error"):
        wait_for(syncer)
    syncer.away(Batch("no bytes", two.token, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        wait_for(syncer)
    syncer.close()
    os.close(syncer.fd)


def test_the_loop_can_wait_for_the_thread() -> None:
    """What must overtake held-back entries may not be written while another batch is being."""
    disk = MemoryDisk()
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
