"""The seeded bugs of the journal lose or invent entries, and without them nothing is lost (33 and 34)."""

from __future__ import annotations

import random
import zlib

import pytest

from node.raft.bugs import Seeded
from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry
from node.storage.journal import Journal, Sizes
from tests.node.storage.crashdisk import CrashDisk

SIZES = Sizes(full=100_000, zeros=512, worthwhile=50_000)


def entry(index: int, data: bytes) -> Entry:
    return Entry(index, 1, DATA, data, zlib.crc32(data))


def write(journal: Journal, token: int, *entries: Entry) -> None:
    journal.add(Persist(token, HardState(1), 0, entries))
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)


class FailingDisk(CrashDisk):
    """Its syncs give an error while `fails`."""

    fails = False

    def sync(self, name: str) -> None:
        if self.fails:
            raise OSError(5, "Input/output error")
        super().sync(name)


def test_a_failed_sync_ends_the_journal_and_ignored_it_loses_what_was_promised() -> None:
    disk = FailingDisk()
    journal = Journal(disk, "g", "n1", sizes=SIZES)
    write(journal, 1, entry(1, b"a"))
    disk.fails = True
    with pytest.raises(OSError, match="Input/output"):
        write(journal, 2, entry(2, b"b"))

    disk = FailingDisk()
    bugs = Seeded(("fsync_error_ignored",))
    journal = Journal(disk, "g", "n1", sizes=SIZES, bugs=bugs)
    write(journal, 1, entry(1, b"a"))
    disk.fails = True
    write(journal, 2, entry(2, b"b"))
    assert bugs.hits["fsync_error_ignored"] == 1
    left = [
        len(Journal(disk.lost_power(random.Random(seed)), "g", "n1", sizes=SIZES).recovered.entries)
        for seed in range(20)
    ]
    assert set(left) == {1, 2}, "some power losses took what was said to be durable"


@pytest.mark.parametrize(
    ("bugs", "expected"), [((), [b"x" * 9]), (("torn_tail_kept",), [b"x" * 9, b"c" * 9])]
)
def test_what_follows_a_torn_record_comes_back_unless_it_is_cut(
    bugs: tuple[str, ...], expected: list[bytes]
) -> None:
    """A batch of two was being written: the first record is torn, the second whole. Another life writes in their place."""
    disk = CrashDisk()
    write(Journal(disk, "g", "n1", sizes=SIZES), 1, entry(1, b"a"))
    journal = Journal(disk, "g", "n1", sizes=SIZES)
    end = journal.synced
    journal.add(Persist(2, None, 0, (entry(2, b"b" * 9), entry(3, b"c" * 9))))
    batch = journal.take()
    assert batch is not None
    data = bytearray(batch.data)
    data[12] ^= 255
    disk.write(journal.name, end, bytes(data))

    seeded = Seeded(bugs)
    journal = Journal(disk, "g", "n1", sizes=SIZES, bugs=seeded)
    assert [e.data for e in journal.recovered.entries] == [b"a"]
    journal.add(Persist(1, None, 0, (entry(2, b"x" * 9),)))
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)
    found = Journal(disk, "g", "n1", sizes=SIZES).recovered.entries
    assert [e.data for e in found[1:]] == expected
