"""A disk that shows what a crash at any moment would leave of it.

`data` of a file is what the kernel holds, `durable` what was synced; `waiting` are the writes and cuts in between, of which a
power loss keeps any. Names are the same: `names_waiting` are renames and removals that no sync of the folder has made durable.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Self

import msgspec

from node.storage import names


class File(msgspec.Struct):
    data: bytearray
    durable: bytes = b""
    waiting: list[tuple[int, bytes | None]] = []
    """(offset, bytes written) or (length, None) for a cut."""


def _put(data: bytearray, offset: int, written: bytes) -> None:
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


class CrashDisk:
    """`before` is called before each change with its name, when everything earlier was done and nothing of it."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.durable_names: dict[str, File] = {}
        self.names_waiting: list[tuple[str, str, File | None]] = []
        """(name that goes, name that comes, its file)."""
        self.marks = [(0, 0)]
        self.before: Callable[[str], None] | None = None
        self.calls: list[str] = []

    def _step(self, call: str) -> None:
        self.calls.append(call)
        if self.before is not None:
            self.before(call)

    # ---- the seam --------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return list(self.files)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        data = self.files[name].data
        return bytes(data[offset : len(data) if length is None else offset + length])

    def size(self, name: str) -> int:
        return len(self.files[name].data)

    def write(self, name: str, offset: int, data: bytes) -> None:
        self._step(f"write {name}")
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = File(bytearray())
            self.names_waiting.append(("", name, file))
        half = len(data) // 2
        for at, part in ((0, data[:half]), (half, data[half:])):
            _put(file.data, offset + at, part)
            file.waiting.append((offset + at, part))
            if not at:
                self._step(f"write {name}, half done")

    def truncate(self, name: str, length: int) -> None:
        self._step(f"truncate {name}")
        file = self.files[name]
        del file.data[length:]
        file.waiting.append((length, None))

    def sync(self, name: str) -> None:
        self._step(f"sync {name}")
        file = self.files[name]
        file.durable = bytes(file.data)
        file.waiting.clear()

    def rename(self, old: str, new: str) -> None:
        self._step(f"rename {old} {new}")
        self.files[new] = self.files.pop(old)
        self.names_waiting.append((old, new, self.files[new]))

    def unlink(self, name: str) -> None:
        if name in self.files:
            self._step(f"unlink {name}")
            del self.files[name]
            self.names_waiting.append((name, "", None))

    def sync_folder(self) -> None:
        self._step("sync folder")
        self.durable_names = dict(self.files)
        self.names_waiting.clear()

    def mark(self) -> tuple[int, int]:
        return self.marks[-1]

    def mark_synced(self, segment: int, length: int) -> None:
        self._step(f"mark {segment} {length}")
        name = names.segment(segment)
        assert not segment or self.durable_names.get(name) is self.files[name]
        assert not segment or len(self.files[name].durable) >= length, "marked before it was synced"
        self.marks.append((segment, length))

    # ---- crashes ---------------------------------------------------------------------------------

    def killed(self) -> Self:
        """What a SIGKILL leaves: all that the kernel has, and what a power loss may still take of it."""
        made = type(self)()
        copies: dict[int, File] = {}

        def copy(file: File) -> File:
            if id(file) not in copies:
                copies[id(file)] = File(bytearray(file.data), file.durable, list(file.waiting))
            return copies[id(file)]

        made.files = {name: copy(file) for name, file in self.files.items()}
        made.durable_names = {name: copy(file) for name, file in self.durable_names.items()}
        made.names_waiting = [
            (old, new, copy(file) if file else None) for old, new, file in self.names_waiting
        ]
        made.marks = list(self.marks)
        return made

    def lost_power(self, random: random.Random) -> Self:
        """What a power loss leaves: any choice of the unsynced changes, some written in part, and any mark so far."""
        made = type(self)()
        entries = dict(self.durable_names)
        for old, new, file in self.names_waiting:
            if random.random() < 0.5:
                entries.pop(old, None)
                if file is not None:
                    entries[new] = file
        for name, file in entries.items():
            data = bytearray(file.durable)
            for at, written in file.waiting:
                if random.random() < 0.5:
                    continue
                if written is None:
                    del data[at:]
                else:
                    _put(data, at, written[: random.choice((len(written), len(written) // 3))])
            made.files[name] = File(data, bytes(data))
        made.durable_names = dict(made.files)
        made.marks = [random.choice(self.marks)]
        return made

    def played_power_loss(self) -> Self:
        """What powerloss.cut_to_synced makes of a killed member's files."""
        made = self.killed()
        newest, synced = self.mark()
        for number in names.segments(made.names()):
            name = names.segment(number)
            if number == newest:
                del made.files[name].data[synced:]
            elif number > newest:
                del made.files[name]
        for name in names.UNFINISHED:
            made.files.pop(name, None)
        for file in made.files.values():
            file.durable = bytes(file.data)
            file.waiting.clear()
        made.durable_names = dict(made.files)
        made.names_waiting.clear()
        return made
