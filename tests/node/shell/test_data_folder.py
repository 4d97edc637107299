"""A data folder that cannot be used: one line that names the file, and the exit code (node/__main__.py)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node.kv import KeyValue, encode_write
from node.raft import configuration
from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry, SnapshotMeta
from node.storage import codec
from node.storage.codec import RECORD, Identity
from node.storage.disk import FolderDisk
from node.storage.journal import Journal, Sizes
from node.storage.snapshots import Snapshots
from tests.node.shell.group import Group

COVERED = 60
SEGMENT = "journal.00000002"
SNAPSHOT = f"snapshot.{COVERED}.2"


def fill(folder: Path, group: str, node: str) -> None:
    """A snapshot, and a journal of which the first segment is gone: one that begins after a base."""
    disk = FolderDisk(folder)
    store = Snapshots(disk, group, node)
    journal = Journal(disk, group, node, sizes=Sizes(full=1000, zeros=1000, worthwhile=1000))

    def persist(token: int, entries: list[Entry], cut_to: int) -> None:
        journal.add(Persist(token, HardState(2, "n1"), 0, entries, cut_to=cut_to))
        batch = journal.take()
        assert batch is not None
        journal.write_and_sync(batch)

    kv = KeyValue()
    for index in range(1, COVERED + 3):
        data = encode_write("s", index, "x", index)
        if index <= COVERED:
            kv.apply(data, index, 2)
        if index == COVERED + 1:
            state = b"".join(kv.parts())
            of = configuration.of(["n1"])
            meta = SnapshotMeta(COVERED, 2, of, len(state), zlib.crc32(state))
            store.save(meta, [state])
        entry = Entry(index, 2, DATA, data, zlib.crc32(data))
        persist(index, [entry], 20 if index > COVERED else 0)
    disk.close()


@pytest.fixture
def alone() -> Iterator[Group]:
    with Group(1) as group:
        fill(group.folder / "n1" / "data", "test", "n1")
        yield group


def flip(name: str, at: int) -> Callable[[Path], None]:
    """One bit, `at` bytes from the beginning or before the end of what is not zero."""

    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at if at >= 0 else len(data.rstrip(b"\0")) + at] ^= 0x40
        (folder / name).write_bytes(data)

    return change


def removed(*found: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for pattern in found:
            for path in folder.glob(pattern):
                path.unlink()

    return change


def newer(name: str, format: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        payload = b"I" + msgspec.msgpack.encode(Identity(format, 9, "test", "n1"))
        record = RECORD.pack(len(payload), zlib.crc32(payload)) + payload
        (folder / name).write_bytes(record + b"\x01 whatever it may be")

    return change


def foreign(pattern: str) -> Callable[[Path], None]:
    """The same files, of another member."""

    def change(folder: Path) -> None:
        other = folder.parent / "other"
        fill(other, "test", "n2")
        for path in other.glob(pattern):
            (folder / path.name).write_bytes(path.read_bytes())

    return change


def senseless(folder: Path) -> None:
    """A snapshot that is whole, but whose state is none."""
    meta = SnapshotMeta(COVERED, 2, configuration.of(["n1"]), 4, zlib.crc32(b"none"))
    (folder / SNAPSHOT).write_bytes(codec.snapshot_header("test", "n1", meta) + b"none")


def version_1(folder: Path) -> None:
    (folder / "journal").write_bytes(b"")


async def test_a_folder_with_a_snapshot_and_a_cut_log_is_one_to_start_from(alone: Group) -> None:
    """The control: nothing is wrong with it before it is damaged."""
    assert alone.segments("n1")[0].name >= SEGMENT
    alone.start("n1")
    await alone.leader()
    client = alone.client("n1")
    assert (await client.call("read", "x", None, "readindex", 5000)).value == COVERED + 2
    client.close()


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (flip(SEGMENT, 3), 65, f"{SEGMENT}: byte 0: "),
        (flip(SEGMENT, -3), 65, "bytes were durable"),
        (removed("journal.*"), 65, "the vote is gone"),
        (removed(SNAPSHOT), 65, "and there is no snapshot"),
        (flip(SNAPSHOT, 3), 65, f"{SNAPSHOT}: byte 0: "),
        (flip(SNAPSHOT, -3), 65, f"{SNAPSHOT}: byte "),
        (senseless, 65, "newest snapshot"),
        (foreign("journal.*"), 64, "belongs to node 'n2', this is 'n1'"),
        (foreign("snapshot.*"), 64, "belongs to node 'n2', this is 'n1'"),
        (newer(SEGMENT, codec.JOURNAL_FORMAT), 64, "version 9, this node reads version 2"),
        (newer(SNAPSHOT, codec.SNAPSHOT_FORMAT), 64, "version 9, this node reads version 1"),
        (version_1, 64, "version 1, this node reads version 2"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_one_line(
    alone: Group, damage: Callable[[Path], None], code: int, said: str
) -> None:
    """65: what was durable is damaged; 64: it is another's, or another version's."""
    damage(alone.folder / "n1" / "data")
    alone.start("n1")
    ended, stderr = await alone.ended("n1")
    assert (ended, stderr.count("\n")) == (code, 1)
    assert str(alone.folder / "n1" / "data") in stderr
    assert said in stderr
