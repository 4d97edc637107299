"""The snapshot store: whole or not at all, the newest, and resumed downloads."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from node.raft.configuration import Configuration
from node.raft.messages import SnapshotMeta
from node.storage import codec
from node.storage.codec import Corrupt, Foreign
from node.storage.disk import Disk, FolderDisk
from node.storage.snapshots import Snapshots
from tests.node.storage.crashdisk import CrashDisk

STATE = bytes(range(256)) * 20


def meta(index: int, state: bytes = STATE, term: int = 3) -> SnapshotMeta:
    joint = Configuration(("n1", "n2"), ("n1", "n3"), ("n2",))
    return SnapshotMeta(index, term, joint, len(state), zlib.crc32(state))


@pytest.fixture(params=["folder", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return FolderDisk(tmp_path) if request.param == "folder" else CrashDisk()


def opened(disk: Disk) -> Snapshots:
    return Snapshots(disk, "g", "n1")


def test_what_was_saved_is_there_after_a_restart_and_only_the_newest(disk: Disk) -> None:
    """With the configuration in force at its entry (row 47), joint stage and witnesses included."""
    store = opened(disk)
    assert store.latest() is None
    store.save(meta(10), [STATE[:7], b"", STATE[7:]])
    store.save(meta(20, b""), [])
    store.save(meta(30), [STATE])
    for each in (store, opened(disk)):
        assert each.latest() == meta(30)
        assert each.load() == STATE
    assert [name for name in disk.names() if name.startswith("snapshot")] == ["snapshot.30.3"]


def test_an_older_snapshot_never_takes_the_place_of_a_newer(disk: Disk) -> None:
    """Row 49."""
    store = opened(disk)
    store.save(meta(10), [STATE])
    partial = store.receive(meta(9))
    partial.write(0, STATE)
    for index in (9, 10):
        with pytest.raises(ValueError, match="not newer"):
            store.save(meta(index), [STATE])
    assert not partial.finish()
    assert opened(disk).latest() == meta(10)


def test_chunks_that_are_not_what_meta_says_are_refused(disk: Disk) -> None:
    """A wrong crc would be found at the next boot, too late."""
    store = opened(disk)
    for chunks in ([STATE[1:]], [STATE, b"x"], [STATE[:-1] + b"?"]):
        with pytest.raises(ValueError, match="meta says"):
            store.save(meta(10), chunks)
    assert (store.latest(), opened(disk).latest()) == (None, None)


def test_it_is_synced_before_its_rename_and_the_older_goes_last() -> None:
    """Row 50, A7: at every moment one of the two is whole, in its place, and durable."""
    disk = CrashDisk()
    store = opened(disk)
    store.save(meta(1, b""), [])
    disk.calls.clear()
    store.save(meta(2), [STATE])
    assert not [call for call in disk.calls if "snapshot.1.3" in call]
    store.save(meta(3), [STATE])
    assert disk.calls[-4:] == [
        "sync snapshot.new",
        "rename snapshot.new snapshot.3.3",
        "sync folder",
        "unlink snapshot.1.3",
    ]


def test_pieces_are_of_the_snapshot_that_was_asked_for_or_none(disk: Disk) -> None:
    """The log still goes on from the one before the newest; who pulls one that has gone must begin anew, never mix two."""
    store = opened(disk)
    assert store.read_piece(10, 3, 0, 5) is None
    store.save(meta(10), [STATE])
    assert store.read_piece(10, 3, 0, 5) == STATE[:5]
    assert store.read_piece(10, 3, len(STATE) - 2, 100) == STATE[-2:]
    assert store.read_piece(10, 3, len(STATE), 100) == b""
    assert store.read_piece(10, 4, 0, 5) is None
    store.save(meta(20), [STATE])
    assert store.read_piece(10, 3, 0, 5) == store.read_piece(20, 3, 0, 5) == STATE[:5]
    assert opened(disk).read_piece(10, 3, 0, 5) is None
    assert store.read_piece(10, 3, 0, 5) is None
    store.save(meta(30), [STATE])
    assert store.read_piece(10, 3, 0, 5) is None


def test_a_download_is_verified_and_becomes_the_newest(disk: Disk) -> None:
    """Pieces in order; one that was here already, leaves a hole or is too long is left."""
    store = opened(disk)
    store.save(meta(10), [STATE])
    partial = store.receive(meta(20))
    assert not partial.write(5, STATE[5:9])
    assert partial.write(0, STATE[:100])
    assert not partial.write(0, STATE[:100])
    assert not partial.write(100, STATE)
    assert not partial.finish()
    assert (partial.have, partial.state(), store.latest()) == (100, None, meta(10))
    assert partial.write(100, STATE[100:])
    assert partial.state() == STATE
    assert partial.finish()
    for each in (store, opened(disk)):
        assert (each.latest(), each.load()) == (meta(20), STATE)
    assert [name for name in disk.names() if name.startswith("snapshot")] == ["snapshot.20.3"]


def test_a_download_goes_on_after_a_restart_if_it_is_of_the_same(disk: Disk) -> None:
    """Of another one, nothing is kept."""
    first = opened(disk).receive(meta(20))
    assert first.write(0, STATE[:300])
    resumed = opened(disk).receive(meta(20))
    assert resumed.have == 300
    assert resumed.write(300, STATE[300:])
    assert opened(disk).receive(meta(20, term=4)).have == 0
    store = opened(disk)
    again = store.receive(meta(20))
    assert again.have == 0
    assert again.write(0, STATE)
    assert store.receive(meta(20)).finish()
    assert store.load() == STATE


def test_a_download_with_wrong_bytes_is_thrown_away_whole(disk: Disk) -> None:
    """A power loss may have left zeros in place of pieces that were never synced."""
    store = opened(disk)
    partial = store.receive(meta(20))
    assert partial.write(0, bytes(len(STATE)))
    assert partial.state() is None
    assert not partial.finish()
    assert (store.latest(), partial.have, store.receive(meta(20)).have) == (None, 0, 0)
    assert partial.write(0, STATE)
    assert partial.finish()


def test_leftovers_of_crashes_go(disk: Disk) -> None:
    """Half a snapshot, and an older one whose removal was not reached; a partial download stays."""
    store = opened(disk)
    store.save(meta(20), [STATE])
    for name in ("snapshot.new", "snapshot.10.3", "snapshot.part"):
        disk.write(name, 0, b"left")
    opened(disk)
    assert {name for name in disk.names() if name.startswith("snapshot")} == {
        "snapshot.20.3",
        "snapshot.part",
    }


def test_damage_is_told_with_file_and_offset(disk: Disk) -> None:
    """In the header, the length or the state; and a file under another's name."""
    opened(disk).save(meta(20), [STATE])
    name = "snapshot.20.3"
    whole = disk.read(name)
    begin = len(whole) - len(STATE)
    for at in range(0, len(whole), 7):
        disk.write(name, at, bytes([whole[at] ^ 0x10]))
        where = str(begin) if at >= begin else "[0-9]+"
        with pytest.raises(Corrupt, match=f"{name}: byte {where}: "):
            opened(disk).load()
        disk.write(name, 0, whole)
    disk.truncate(name, len(whole) - 1)
    with pytest.raises(Corrupt, match=f"{name}: byte {begin}: state of {len(STATE) - 1} bytes"):
        opened(disk)
    disk.write(name, 0, whole)
    disk.rename(name, "snapshot.21.3")
    with pytest.raises(Corrupt, match="under another's name"):
        opened(disk)


def test_a_snapshot_of_others_is_refused(disk: Disk) -> None:
    """By name: a member that began with another's state would answer for another group."""
    opened(disk).save(meta(20), [STATE])
    for group, node, said in (("h", "n1", "group 'g'"), ("g", "n2", "node 'n1'")):
        with pytest.raises(Foreign, match=f"snapshot.20.3: belongs to {said}"):
            Snapshots(disk, group, node)


def test_no_snapshot_is_a_key_error(disk: Disk) -> None:
    with pytest.raises(KeyError):
        opened(disk).load()


def test_the_header_is_all_that_stands_before_the_state() -> None:
    """The state's bytes are kept as they are: a piece is a read at an offset."""
    disk = CrashDisk()
    opened(disk).save(meta(20), [STATE])
    header = codec.snapshot_header("g", "n1", meta(20))
    assert disk.read("snapshot.20.3") == header + STATE
