"""A power loss, played on the files of a member that was killed: what was not synced goes.

What the kernel wrote for a dead process survives it, and a power loss would not have left it there. Segments before the
newest were synced whole; of the newest, `synced` tells how much was; a segment that it does not speak of yet, and a snapshot
that is not in its place yet, were not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.storage import names
from node.storage.disk import MARK_BYTES, SYNCED, split_mark


def _marks(folder: Path) -> tuple[int, int, int] | None:
    """(newest segment, its synced length, bytes in user space); None when no node has run in the folder."""
    try:
        data = (folder / SYNCED).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) != MARK_BYTES:
        return None
    half = MARK_BYTES // 2
    mark, waiting = (int.from_bytes(part, sys.byteorder) for part in (data[:half], data[half:]))
    return *split_mark(mark), waiting


def read_synced(folder: str | Path) -> dict[str, int]:
    """The synced length in bytes of the journal's newest segment, also while or after its node ran: {"journal.00000001": 4096}.

    Empty when the folder holds no journal yet.
    """
    folder = Path(folder)
    marks = _marks(folder)
    if marks is None or not (folder / names.segment(marks[0])).exists():
        return {}
    return {names.segment(marks[0]): marks[1]}


def cut_to_synced(folder: str | Path) -> dict[str, dict[str, int]]:
    """Play a power loss on the files of a member that is dead.

    {file: {"cut": bytes that were written and not synced, "unwritten": bytes that died in user space}}, for the newest segment
    and for all that is gone. Empty when there is no journal yet. Raises OSError.
    """
    folder = Path(folder)
    marks = _marks(folder)
    if marks is None:
        return {}
    newest, synced, waiting = marks
    lost: dict[str, dict[str, int]] = {}
    found = os.listdir(folder)
    for number in names.segments(found):
        name = names.segment(number)
        if number == newest:
            lost[name] = {"cut": _cut(folder / name, synced), "unwritten": waiting}
        elif number > newest:
            lost[name] = {"cut": _cut(folder / name, 0), "unwritten": 0}
            (folder / name).unlink()
    for name in names.UNFINISHED:
        if name in found:
            lost[name] = {"cut": _cut(folder / name, 0), "unwritten": 0}
            (folder / name).unlink()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return lost


def _cut(path: Path, length: int) -> int:
    """Cut the file; how many bytes of it went, zeros at its end not counted."""
    with path.open("r+b") as file:
        file.seek(length)
        tail = file.read().rstrip(b"\0")
        file.truncate(length)
        os.fsync(file.fileno())
    return len(tail)
