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
from node.storage.codec import Foreign, identity_record
from node.storage.disk import JOURNAL, FolderDisk, cut_to_synced, read_synced
from node.storage.journal import FIRST_BYTES, Journal

IDENTITY = identity_record("g", "n1")
ROOT = Path(__file__).parents[3]


def opened(folder: Path) -> tuple[FolderDisk, Journal]:
    disk = FolderDisk(folder, IDENTITY, FIRST_BYTES)
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


def test_a_journal_is_made_beside_its_place_synced_renamed_and_the_folders_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: a rename is durable only when the folder is; no half-made journal is ever in place."""
    seen = asked(monkeypatch)
    folder = tmp_path / "data"
    FolderDisk(folder, IDENTITY, FIRST_BYTES).close()
    new = str(folder / "journal.new")
    assert seen[:4] == [
        ("fsync", new),
        ("rename", new),
        ("fsync", str(folder)),
        ("fsync", str(tmp_path)),
    ]


@pytest.mark.parametrize("left", [b"", IDENTITY[:5], IDENTITY + bytes(100)])
def test_a_making_that_was_interrupted_is_begun_anew(tmp_path: Path, left: bytes) -> None:
    """Whatever a crash left of the temporary file, the member is still at its first boot."""
    (tmp_path / "journal.new").write_bytes(left)
    disk, journal = opened(tmp_path)
    assert disk.fresh
    assert journal.recovered.hard_state == HardState()


def test_opening_syncs_journal_and_folders_before_anything_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The life before may have died between its rename and the sync of its folder."""
    folder = tmp_path / "data"
    opened(folder)[0].close()
    seen = asked(monkeypatch)
    disk, _ = opened(folder)
    assert not disk.fresh
    assert set(seen) == {
        ("fsync", str(folder)),
        ("fsync", str(tmp_path)),
        ("fdatasync", str(folder / JOURNAL)),
    }


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
        assert read_synced(tmp_path) == {JOURNAL: journal.synced}
    disk.close()
    assert read_synced(tmp_path) == {JOURNAL: journal.synced}


def test_a_power_loss_cuts_to_the_synced_length_and_tells_what_is_gone(tmp_path: Path) -> None:
    """Bytes that were written but not synced go; what was synced stays."""
    assert cut_to_synced(tmp_path) == {}
    disk, journal = opened(tmp_path)
    store(journal, 1)
    synced = journal.synced
    disk.write(synced, b"written, never synced")
    disk.mark_waiting(77)
    disk.close()
    told = {JOURNAL: {"synced": synced, "cut": 21, "in_user_space": 77}}
    assert cut_to_synced(tmp_path) == told
    disk, journal = opened(tmp_path)
    assert journal.recovered.hard_state == HardState(1, "n2")
    assert (len(journal.recovered.entries), journal.recovered.torn) == (1, False)
    store(journal, 2)
    disk.close()


def test_a_length_of_an_earlier_journal_does_not_speak_of_a_new_one(tmp_path: Path) -> None:
    """A member whose journal was removed starts fresh, with nothing known to be durable."""
    disk, journal = opened(tmp_path)
    store(journal, 1)
    disk.close()
    (tmp_path / JOURNAL).unlink()
    disk, journal = opened(tmp_path)
    assert disk.fresh
    assert journal.recovered.entries == []
    disk.close()


CHILD = """
import sys
from node.storage.disk import FolderDisk
from node.storage.journal import FIRST_BYTES, Journal
from node.storage.codec import identity_record
from node.raft.effects import HardState, Persist
disk = FolderDisk(sys.argv[1], identity_record("g", "n1"), FIRST_BYTES)
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
    told = cut_to_synced(copy)[JOURNAL]
    assert told["cut"] == 0
    assert told["in_user_space"] > 0
    disk, journal = opened(copy)
    assert journal.recovered.hard_state == HardState(3, "n2")
    disk.close()
