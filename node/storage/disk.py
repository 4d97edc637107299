"""The disk seam: five methods over one journal file, and the real disk behind them.

Beside the journal lies `synced`: eight bytes, little-endian, the journal's length that is known to be durable. It is raised
after each sync returns, so that a power loss can be played by cutting the journal to it. It is itself never synced, being of
use only to whoever outlives the process. Eight more bytes count what is still in user space.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path
from typing import Final, Protocol

from node.storage.codec import Foreign

JOURNAL: Final = "journal"
SYNCED: Final = "synced"
_LENGTH: Final = struct.Struct("<Q")
_ZEROS: Final = bytes(1024 * 1024)


class Disk(Protocol):
    """Where a journal lives. Every method may raise OSError, after which nothing more is asked of it."""

    def read(self) -> tuple[bytes, int]:
        """The whole journal, and the synced length (0: not known)."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Hand bytes to the kernel; the file may grow."""
        ...

    def cut(self, length: int, size: int) -> None:
        """Drop everything from `length` on, and fill with zeros up to `size`."""
        ...

    def sync(self) -> None:
        """The journal's bytes and length are durable when this returns."""
        ...

    def mark_synced(self, length: int) -> None:
        """Tell the outside world that the first `length` bytes are durable."""
        ...


class FolderDisk:
    """A journal in a folder of its own, locked against a second process for as long as this one lives."""

    def __init__(self, folder: str | Path, first_record: bytes, size: int) -> None:
        """Opens the journal, or makes one of `size` bytes that begins with `first_record`; `fresh` says which.

        Raises Foreign when another process uses the folder.
        """
        self.folder = Path(folder)
        self.path = self.folder / JOURNAL
        self.fresh = not self.path.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Foreign(f"{self.folder}: in use by another process") from None
        if self.fresh:
            self._make(first_record, size)
        else:
            # The life before may have died between its rename and the sync of the folder.
            self._sync_folders()
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        synced_fd = os.open(self.folder / SYNCED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if os.fstat(synced_fd).st_size < 2 * _LENGTH.size:
            os.ftruncate(synced_fd, 2 * _LENGTH.size)
        self._synced = mmap.mmap(synced_fd, 2 * _LENGTH.size)
        os.close(synced_fd)

    def __repr__(self) -> str:
        return f"<FolderDisk {self.path}>"

    def _make(self, first_record: bytes, size: int) -> None:
        temporary = self.folder / (JOURNAL + ".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_zeros(fd, 0, size)
            os.pwrite(fd, first_record, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        # A length left behind by an earlier journal must not speak of this one.
        (self.folder / SYNCED).unlink(missing_ok=True)
        os.rename(temporary, self.path)
        self._sync_folders()

    def _sync_folders(self) -> None:
        os.fsync(self._folder_fd)
        parent = os.open(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def read(self) -> tuple[bytes, int]:
        size = os.fstat(self._fd).st_size
        chunks: list[bytes] = []
        at = 0
        while at < size:
            chunk = os.pread(self._fd, size - at, at)
            if not chunk:
                break
            chunks.append(chunk)
            at += len(chunk)
        return b"".join(chunks), _LENGTH.unpack_from(self._synced)[0]

    def write(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], offset + written)

    def cut(self, length: int, size: int) -> None:
        os.ftruncate(self._fd, length)
        _write_zeros(self._fd, length, size)
        os.fsync(self._fd)
        self._sync_folders()

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def mark_synced(self, length: int) -> None:
        _LENGTH.pack_into(self._synced, 0, length)

    def mark_waiting(self, count: int) -> None:
        """Tell the outside world how many bytes are in user space only."""
        _LENGTH.pack_into(self._synced, _LENGTH.size, count)

    def close(self) -> None:
        self._synced.close()
        os.close(self._fd)
        os.close(self._folder_fd)


def _write_zeros(fd: int, at: int, end: int) -> None:
    while at < end:
        at += os.pwrite(fd, _ZEROS[: end - at], at)


def read_synced(folder: str | Path) -> dict[str, int]:
    """The synced length in bytes of each file of a data folder, also while or after its node ran: {"journal": 4096}.

    Empty when the folder holds no journal yet.
    """
    try:
        data = (Path(folder) / SYNCED).read_bytes()
    except FileNotFoundError:
        return {}
    if len(data) < _LENGTH.size or not (Path(folder) / JOURNAL).exists():
        return {}
    return {JOURNAL: _LENGTH.unpack_from(data)[0]}


def cut_to_synced(folder: str | Path) -> dict[str, dict[str, int]]:
    """Play a power loss on the files of a member that is dead: cut each to its synced length.

    {"journal": {"synced": bytes, "cut": bytes written and not synced, "in_user_space": bytes that died with the process}}.
    Empty when there is no journal yet. Raises OSError.
    """
    lengths = read_synced(folder)
    if JOURNAL not in lengths:
        return {}
    synced = lengths[JOURNAL]
    path = Path(folder) / JOURNAL
    with path.open("r+b") as file:
        file.seek(synced)
        tail = file.read().rstrip(b"\0")
        file.truncate(synced)
        os.fsync(file.fileno())
    marks = (Path(folder) / SYNCED).read_bytes()
    waiting = _LENGTH.unpack_from(marks, _LENGTH.size)[0] if len(marks) >= 16 else 0
    return {JOURNAL: {"synced": synced, "cut": len(tail), "in_user_space": waiting}}
