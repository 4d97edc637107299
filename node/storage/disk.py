"""The disk seam: a folder of files, every step of which a crash may follow, and the real folder behind it.

Beside the files lies `synced`: a u64 that names the journal's newest segment and the length of it that is known to be durable.
It is raised after each sync returns, so that a power loss can be played (powerloss.py). It is itself never synced, being of use
only to whoever outlives the process. A second u64 counts what is still in user space.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path
from typing import Final, Protocol

from node.storage.codec import Foreign

SYNCED: Final = "synced"
MARK_BYTES: Final = 16
LENGTH_BITS: Final = 40
"""A segment's length takes that many bits of the mark, its number the others: one store changes both."""


class Disk(Protocol):
    """Where journal and snapshots live. Every method may raise OSError, after which nothing more is asked of it."""

    def names(self) -> list[str]:
        """The files that are there, in any order."""
        ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """A file's bytes from `offset` on, at most `length`. Raises FileNotFoundError."""
        ...

    def size(self, name: str) -> int:
        """The file's length in bytes. Raises FileNotFoundError."""
        ...

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Hand bytes to the kernel; the file is made if need be, and may grow."""
        ...

    def truncate(self, name: str, length: int) -> None:
        """Drop everything from `length` on."""
        ...

    def sync(self, name: str) -> None:
        """The file's bytes and length are durable when this returns; its name is not, if it is new."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Put `old` in the place of `new`, at once."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def sync_folder(self) -> None:
        """The names of all files are durable when this returns."""
        ...

    def mark(self) -> tuple[int, int]:
        """(segment, length) as marked last; (0, 0): not known."""
        ...

    def mark_synced(self, segment: int, length: int) -> None:
        """Tell the outside world that the first `length` bytes of the newest segment are durable."""
        ...


class FolderDisk:
    """A folder of its own, locked against a second process for as long as this one lives.

    A file may be used by one thread at a time; different files by different threads.
    """

    def __init__(self, folder: str | Path) -> None:
        """Makes the folder if need be. Raises Foreign when another process uses it, OSError."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, int] = {}
        self._folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Foreign(f"{self.folder}: in use by another process") from None
        # The life before may have died between its rename and the sync of the folder.
        self.sync_folder()
        parent = os.open(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
        synced_fd = os.open(self.folder / SYNCED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if os.fstat(synced_fd).st_size != MARK_BYTES:
            os.ftruncate(synced_fd, 0)
            os.ftruncate(synced_fd, MARK_BYTES)
        self._mapped = mmap.mmap(synced_fd, MARK_BYTES)
        os.close(synced_fd)
        # Stored by one machine instruction each: a kill leaves no half of a number.
        self._marks = memoryview(self._mapped).cast("Q")

    def __repr__(self) -> str:
        return f"<FolderDisk {self.folder}>"

    def names(self) -> list[str]:
        return os.listdir(self.folder)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with (self.folder / name).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            end = size if length is None else min(size, offset + length)
            chunks: list[bytes] = []
            while offset < end:
                chunk = os.pread(file.fileno(), end - offset, offset)
                if not chunk:
                    break
                chunks.append(chunk)
                offset += len(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def _fd(self, name: str) -> int:
        fd = self._files.get(name)
        if fd is None:
            fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._files[name] = fd
        return fd

    def write(self, name: str, offset: int, data: bytes) -> None:
        fd = self._fd(name)
        written = os.pwrite(fd, data, offset)
        while written < len(data):
            written += os.pwrite(fd, data[written:], offset + written)

    def truncate(self, name: str, length: int) -> None:
        os.ftruncate(self._fd(name), length)

    def sync(self, name: str) -> None:
        os.fdatasync(self._fd(name))

    def rename(self, old: str, new: str) -> None:
        os.rename(self.folder / old, self.folder / new)
        self._close(new)
        if old in self._files:
            self._files[new] = self._files.pop(old)

    def unlink(self, name: str) -> None:
        self._close(name)
        (self.folder / name).unlink(missing_ok=True)

    def _close(self, name: str) -> None:
        fd = self._files.pop(name, None)
        if fd is not None:
            os.close(fd)

    def sync_folder(self) -> None:
        os.fsync(self._folder_fd)

    def mark(self) -> tuple[int, int]:
        return split_mark(self._marks[0])

    def mark_synced(self, segment: int, length: int) -> None:
        self._marks[0] = segment << LENGTH_BITS | length

    def mark_waiting(self, count: int) -> None:
        """Tell the outside world how many bytes are in user space only."""
        self._marks[1] = count

    def close(self) -> None:
        for name in list(self._files):
            self._close(name)
        self._marks.release()
        self._mapped.close()
        os.close(self._folder_fd)


def split_mark(mark: int) -> tuple[int, int]:
    """(segment, length) that a mark says."""
    return mark >> LENGTH_BITS, mark & ((1 << LENGTH_BITS) - 1)
