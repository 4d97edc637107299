"""What the files of a data folder are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

SINGLE_FILE_JOURNAL: Final = "journal"
"""The whole journal of format version 1."""
NEW_SEGMENT: Final = "journal.new"
NEW_SNAPSHOT: Final = "snapshot.new"
PARTIAL_SNAPSHOT: Final = "snapshot.part"
UNFINISHED: Final = (NEW_SEGMENT, NEW_SNAPSHOT, PARTIAL_SNAPSHOT)
"""Not in their place yet: nothing rests on them."""

_SEGMENT: Final = re.compile(r"journal\.(\d{8})")
_SNAPSHOT: Final = re.compile(r"snapshot\.(\d+)\.(\d+)")


def segment(number: int) -> str:
    return f"journal.{number:08}"


def segments(names: Iterable[str]) -> list[int]:
    """The numbers of the segments among `names`, oldest first."""
    return sorted(int(match[1]) for name in names if (match := _SEGMENT.fullmatch(name)))


def snapshot(index: int, term: int) -> str:
    return f"snapshot.{index}.{term}"


def snapshots(names: Iterable[str]) -> list[tuple[int, int]]:
    """(index, term) of the snapshots among `names`, oldest first."""
    return sorted(
        (int(match[1]), int(match[2])) for name in names if (match := _SNAPSHOT.fullmatch(name))
    )
