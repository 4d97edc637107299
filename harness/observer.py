"""What a run tells whoever watches it: the live view, plain lines, JSON lines, a test."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot, about four times a second. `outcomes` counts ops per second in the last second by ok|fail|info."""

    phase: str
    seconds_left: float
    outcomes: dict[str, float] = {}
    totals: dict[str, int] = {}
    leader: str = ""
    term: int = 0
    faults: list[str] = []
    """Faults in force, in words: "partition minority_with_leader n1 | n2 n3 n4 n5"."""


class Observer(Protocol):
    """Called from the run's own task; must return at once and never raise."""

    def started(self, run_dir: str, seed: int, plan_name: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def note(self, text: str, fields: dict[str, Any]) -> None:
        """One line worth telling: a fault installed, a new leader, a phase."""
        ...
