"""The real disk behind the seam, and what is left of it after a kill and after a power loss."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.raft.effects import HardState, Persist
from node.raft.messages import DATA, Entry
from node.storage.codec import Foreign
from node.storage.disk import FolderDisk
from node.storage.journal import Journal
from node.storage.powerloss import cut_to_synced, read_synced

FIRST = "journal.00000001"
ROOT = Path(__file__).parents[3]


def opened(folder: Path) -> tuple[FolderDisk, Journal]:
    disk = FolderDisk(folder)
    return disk, Journal(disk, "g", "n1")


def persist(token: int) -> Persist:
    return Persist(token, HardState(token, "n2"), 0, [Entry(token, token, DATA, b"", 0)])


def store(journal: Journal, token: int) -> None:
    journal.add(persist(token))
    batch = journal.take()
    assert batch is not None
    journal.write_and_sync(batch)


def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every sync and rename from now on, as (call, path)."""
    seen: list[tuple[str, str]] = []

    def spy(name: str) -> None:
        real: Callable[..., None] = getattr(os, name)

        def call(target: int | str | Path, *rest: object) -> None:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target
            seen.append((name, str(path)))
            real(target, *rest)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "fdatasync", "rename"):
        spy(name)
    return seen


def test_a_segment_is_made_beside_its_place_synced_renamed_and_the_folder_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: a rename is durable only when the folder is; no half-made segment is ever in place."""
    folder = tmp_path / "data"
    disk = FolderDisk(folder)
    seen = asked(monkeypatch)
    Journal(disk, "g", "n1")
    new = str(folder / "journal.new")
    assert seen == [("fdatasync", new), ("rename", new), ("fsync", str(folder))]


@pytest.mark.parametrize("left", [b"", b"half of a header", bytes(100)])
def test_a_making_that_was_interrupted_is_begun_anew(tmp_path: Path, left: bytes) -> None:
    """Whatever a crash left of the temporary file, the member is still at its first boot."""
    (tmp_path / "journal.new").write_bytes(left)
    _, journal = opened(tmp_path)
    assert journal.recovered.fresh
    assert journal.recovered.hard_state == HardState()


def test_opening_syncs_journal_and_folders_before_anything_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The life before may have died between its rename and the sync of its folder."""
    folder = tmp_path / "data"
    opened(folder)[0].close()
    seen = asked(monkeypatch)
    _, journal = opened(folder)
    assert not journal.recovered.fresh
    assert seen == [
        ("fsync", str(folder)),
        ("fsync", str(tmp_path)),
        ("fdatasync", str(folder / FIRST)),
    ]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Two processes as one member would be two votes."""
    disk, _ = opened(tmp_path)
    with pytest.raises(Foreign, match="in use"):
        opened(tmp_path)
    disk.close()
    opened(tmp_path)[0].close()


def test_the_synced_length_can_be_read_outside_while_the_journal_grows(tmp_path: Path) -> None:
    """The harness reads it, also while or after the node ran."""
    assert read_synced(tmp_path) == {}
    disk, journal = opened(tmp_path)
    for token in range(1, 5):
        store(journal, token)
        assert read_synced(tmp_path) == {FIRST: journal.synced}
    disk.close()
    assert read_synced(tmp_path) == {FIRST: journal.synced}


def test_a_power_loss_cuts_to_the_synced_length_and_tells_what_is_gone(tmp_path: Path) -> None:
    """Bytes that were written but not synced go; what was synced stays."""
    assert cut_to_synced(tmp_path) == {}
    disk, journal = opened(tmp_path)
    store(journal, 1)
    synced = journal.synced
    disk.write(FIRST, synced, b"written, never synced")
    disk.mark_waiting(77)
    disk.close()
    assert cut_to_synced(tmp_path) == {FIRST: {"cut": 21, "unwritten": 77}}
    assert (tmp_path / FIRST).stat().st_size == synced
    disk, journal = opened(tmp_path)
    assert journal.recovered.hard_state == HardState(1, "n2")
    assert (len(journal.recovered.entries), journal.recovered.torn) == (1, False)
    store(journal, 2)
    disk.close()


def test_a_power_loss_takes_what_was_not_in_its_place_yet(tmp_path: Path) -> None:
    """A segment that the mark does not speak of, half a snapshot, half a download: nothing rests on them."""
    disk, journal = opened(tmp_path)
    store(journal, 1)
    disk.close()
    gone = ("journal.00000002", "journal.new", "snapshot.new", "snapshot.part")
    for name in gone:
        (tmp_path / name).write_bytes(b"12345" + bytes(9))
    (tmp_path / "snapshot.1.1").write_bytes(b"in its place")
    told = cut_to_synced(tmp_path)
    assert told.pop(FIRST) == {"cut": 0, "unwritten": 0}
    assert told == {name: {"cut": 5, "unwritten": 0} for name in gone}
    assert sorted(os.listdir(tmp_path)) == [FIRST, "snapshot.1.1", "synced"]


def test_a_length_of_an_earlier_journal_does_not_speak_of_a_new_one(tmp_path: Path) -> None:
    """A member whose journal was removed starts fresh, with nothing known to be durable."""
    disk, journal = opened(tmp_path)
    store(journal, 1)
    disk.close()
    (tmp_path / FIRST).unlink()
    disk, journal = opened(tmp_path)
    assert journal.recovered.fresh
    assert read_synced(tmp_path) == {FIRST: journal.synced}
    disk.close()


def test_files_are_found_by_their_names_after_renames_and_removals(tmp_path: Path) -> None:
    """Open files follow their names: a write to a name never lands in a file that had it before."""
    disk = FolderDisk(tmp_path)
    for number, name in enumerate(("a", "b", "a")):
        disk.unlink(name)
        disk.write(name, 0, b"%d" % number)
        disk.sync(name)
    disk.rename("a", "b")
    disk.write("a", 2, b"x")
    disk.write("b", 1, b"y")
    assert sorted(disk.names()) == ["a", "b", "synced"]
    assert (disk.read("a"), disk.read("b"), disk.size("a")) == (b"\0\0x", b"2y", 3)
    assert (disk.read("a", 2, 9), disk.read("b", 0, 1), disk.read("b", 5)) == (b"x", b"2", b"")
    disk.truncate("b", 1)
    assert disk.read("b") == b"2"
    disk.close()


CHILD = """
import sys
from node.storage.disk import FolderDisk
from node.storage.journal import Journal
from node.raft.effects import HardState, Persist
disk = FolderDisk(sys.argv[1])
journal = Journal(disk, "g", "n1")
journal.add(Persist(1, HardState(3, "n2"), 0, []))
journal.write_and_sync(journal.take())
print("synced", flush=True)
journal.add(Persist(2, HardState(4, "n3"), 0, []))
disk.mark_waiting(journal.waiting_bytes)
print("waiting", flush=True)
sys.stdin.read()
"""


def test_sigkill_loses_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    """A real process is killed: its synced vote is there, the one in user space is gone."""
    folder = tmp_path / "data"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert [child.stdout.readline(), child.stdout.readline()] == ["synced\n", "waiting\n"]
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    disk, journal = opened(folder)
    assert journal.recovered.hard_state == HardState(3, "n2")
    disk.close()
    told = cut_to_synced(copy)[FIRST]
    assert told["cut"] == 0
    assert told["unwritten"] > 0
    disk, journal = opened(copy)
    assert journal.recovered.hard_state == HardState(3, "n2")
    disk.close()
