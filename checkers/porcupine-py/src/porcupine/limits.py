"""What a check may take: time, memory, steps; and what it does when that is used up.

A limit that is met makes a verdict "unknown", never wrong. Times are of time.monotonic, in seconds. Memory is what
the searches remember, by their own count; where the system tells how large the process is (Linux), a search that
holds more than half of what it may also stops when the process has grown by more than the limit. The history
itself is not counted, nor are orders that somebody asks for afterwards.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Final

DEFAULT_MOST_BYTES: Final = 2 << 30
WITNESS_SECONDS: Final = 10.0
"""How long working out a witness may take when the check itself had no timeout."""
WITNESS_LEAST_SECONDS: Final = 0.05
"""And how long it may take when the check has used its timeout up."""
OPERATIONS_PER_LOOK: Final = 4096


class DefaultMemory(Enum):
    """The type of `DEFAULT_MEMORY`; an enum of one, so that it stays itself when pickled or copied."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT_MEMORY"


DEFAULT_MEMORY: Final = DefaultMemory.DEFAULT
"""Stands for 2 GiB, or a quarter of the memory that this machine or container has, whichever is less."""
MemoryLimit = int | None | DefaultMemory


class TimeIsUp(Exception):
    """The deadline passed; never leaves this package."""


def memory_limit_bytes(asked: MemoryLimit) -> int | None:
    """The limit in bytes; None for none."""
    return default_memory_bytes() if asked is DEFAULT_MEMORY else asked


@cache
def default_memory_bytes() -> int:
    """2 GiB, or a quarter of the memory that this machine or container has, whichever is less. Asked once."""
    found = [known for known in (_of_the_machine(), _of_the_container()) if known]
    return min([DEFAULT_MOST_BYTES, *(known // 4 for known in found)])


def _of_the_machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None  # a system that does not tell


def _of_the_container() -> int | None:
    """The limit of the control group, by the second version's file."""
    try:
        said = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(said) if said.isdigit() else None


def resident_bytes() -> int | None:
    """Bytes of this process in memory, where the system tells."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


@dataclass(slots=True)
class Limits:
    """The limits of one check, and how much of them is used. Parts share them."""

    deadline: float | None = None
    memory_bytes: int | None = None
    step_limit: int | None = None
    # One illegal part ends the check, unless all are wanted for a picture.
    to_the_end: bool = False
    steps: int = 0
    # What the process may come to, once it was measured.
    ceiling_bytes: int | None = None
    # How long a witness may take where that is known already, in seconds.
    witness_s: float | None = None
    # What each undecided part's search remembers, by the search's id.
    held_bytes: dict[int, int] = field(default_factory=dict)

    def measure_process(self) -> None:
        """Note how large the process is without what the searches hold so far, which is little."""
        if self.memory_bytes is not None and (resident := resident_bytes()) is not None:
            held = sum(self.held_bytes.values())
            self.ceiling_bytes = max(resident - held, 0) + self.memory_bytes

    def left_for(self, search: object) -> int | None:
        """The bytes that a search may come to, beside all others."""
        if self.memory_bytes is None:
            return None
        others = sum(self.held_bytes.values()) - self.held_bytes.get(id(search), 0)
        return max(self.memory_bytes - others, 0)

    def out_of_time(self) -> bool:
        return is_over(self.deadline)

    def witness_seconds(self) -> float:
        """How long a witness may take from now on."""
        if self.witness_s is not None:
            return self.witness_s
        return witness_seconds(self.deadline, monotonic())


class Allowance:
    """So many seconds from when they are first asked for: several pieces of work share them."""

    __slots__ = ("_until", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until: float | None = None

    def left(self) -> float:
        """What is left, in seconds."""
        if self._until is None:
            self._until = monotonic() + self.seconds
        return max(self._until - monotonic(), 0.0)


def witness_seconds(deadline: float | None, now: float) -> float:
    """How long a witness may take when a check ends at `now`: what is left of its timeout, or a little."""
    return WITNESS_SECONDS if deadline is None else max(deadline - now, WITNESS_LEAST_SECONDS)


def deadline_of(timeout_s: float | None, since: float | None = None) -> float | None:
    """A timeout as a deadline, from `since` or else from now on; 0 and None mean none."""
    return (monotonic() if since is None else since) + timeout_s if timeout_s else None


def is_over(deadline: float | None) -> bool:
    return deadline is not None and monotonic() >= deadline


def must_not_be_over(deadline: float | None) -> None:
    if is_over(deadline):
        raise TimeIsUp
