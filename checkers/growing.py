"""Files that others still write: their whole lines, as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_READ_BYTES: Final = 1 << 20


class Growing:
    """A file whose end moves. A line is given once it is whole; what a kill tears is never given.

    It is open only while it is read, so nobody has to close it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""

    def more(self) -> bytes:
        """Whole lines that were not given yet, with their newlines, or b"" when there are none now. OSError as of `open`."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._read)
            while chunk := file.read(_READ_BYTES):
                self._read += len(chunk)
                whole, newline, rest = chunk.rpartition(b"\n")
                if newline:
                    lines = self._rest + whole + newline
                    self._rest = rest
                    return lines
                self._rest += chunk
        return b""
