"""What an online check may take: memory in all, transitions and time for each event.

A limit that is met makes the verdict of the part it was met in "unknown" for good, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Final

from porcupine.result import Cause

STEPS_PER_LOOK: Final = 1024


class LimitMet(Exception):
    """A limit was met; never leaves this package."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


@dataclass(slots=True)
class Budget:
    """The limits, and what is used of them. One for all parts of a checker."""

    memory_bytes: int | None = None
    step_limit: int | None = None
    timeout_s: float | None = None
    deadline: float | None = None
    steps: int = 0
    """Transitions tried, all events together."""
    others_bytes: int = 0
    """What the parts hold that are not at work."""
    steps_until: int | None = None

    def begin(self) -> None:
        """An event is about to be judged."""
        if self.timeout_s is not None:
            self.deadline = monotonic() + self.timeout_s
        if self.step_limit is not None:
            self.steps_until = self.steps + self.step_limit

    def look(self, held_bytes: int) -> None:
        """Raise LimitMet if a limit is met; `held_bytes` is what the part at work holds."""
        if self.steps_until is not None and self.steps > self.steps_until:
            raise LimitMet("step limit")
        if self.deadline is not None and monotonic() >= self.deadline:
            raise LimitMet("timeout")
        if self.memory_bytes is not None and self.others_bytes + held_bytes > self.memory_bytes:
            raise LimitMet("memory")
