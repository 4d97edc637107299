"""What a record file holds after a write that failed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.recorder import Lines


class Record(msgspec.Struct):
    number: int


def test_a_line_is_written_once_though_the_disk_was_full_in_its_midst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines(tmp_path / "records", Record(0))
    plain, calls = os.write, 0

    def full_at_the_second(fd: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "no space left")
        return plain(fd, bytes(data[:5]) if calls == 1 else bytes(data))

    monkeypatch.setattr(os, "write", full_at_the_second)
    with pytest.raises(OSError, match="no space"):
        lines.write(Record(1))
    lines.write(Record(2))
    monkeypatch.undo()
    lines.close()
    assert (tmp_path / "records").read_text() == '{"number":0}\n{"number":1}\n{"number":2}\n'
