"""What faults.jsonl says, step by step: what was installed, on whom, and from when until when it was in force.

A step counts by its evidence alone: skipped and indeterminate steps are not installed. A step without a
recorded heal stays in force, except those that are over at once (a jump of a clock, an admin call).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from checkers.records.schema import FaultRecord

MOMENTARY: Final = frozenset({"clock_offset", "vote", "transfer", "snapshot"})
CLOCKS: Final = frozenset({"clock_rate", "clock_offset"})
LINKS: Final = frozenset({"partition", "latency", "frames"})
PROCESSES: Final = frozenset({"pause", "kill", "power_loss"})


class Step(msgspec.Struct):
    """One step: its records, put together."""

    step: str
    kind: str
    installed: FaultRecord | None = None
    healed: FaultRecord | None = None

    @property
    def outcome(self) -> str:
        """installed, skipped, indeterminate, or "asked" if nobody recorded what became of it."""
        if self.installed is None or self.installed.outcome is None:
            return "asked"
        return self.installed.outcome

    @property
    def took_effect(self) -> bool:
        return self.outcome == "installed"

    @property
    def targets(self) -> dict[str, Any]:
        return self.installed.targets if self.installed is not None else {}

    @property
    def begin(self) -> int:
        return self.installed.time_begin if self.installed is not None else 0

    @property
    def complete(self) -> int:
        """When the install was complete."""
        return self.installed.time_end if self.installed is not None else 0

    @property
    def end(self) -> int | None:
        """When it was lifted; None: never, as far as is recorded."""
        if self.healed is not None:
            return self.healed.time_end
        return self.complete if self.kind in MOMENTARY else None

    def nodes(self) -> list[str]:
        found = self.targets.get("nodes")
        return [str(node) for node in found] if isinstance(found, list) else []

    def links(self) -> set[tuple[str, str]]:
        found = self.targets.get("links")
        if not isinstance(found, list):
            return set()
        return {
            (str(link[0]), str(link[1]))
            for link in found
            if isinstance(link, list | tuple) and len(link) == 2
        }

    def leader(self) -> str:
        """Who led when it was installed, as far as was known; ""."""
        return str(self.targets.get("leader") or "")


def steps_of(records: Iterable[FaultRecord]) -> list[Step]:
    """In the order in which they were asked."""
    steps: list[Step] = []
    newest: dict[str, Step] = {}
    for record in records:
        step = newest.get(record.step)
        if step is None or record.action == "asked":
            step = newest[record.step] = Step(record.step, record.kind)
            steps.append(step)
        if record.action == "installed":
            step.installed = record
        elif record.action == "healed":
            step.healed = record
    return steps
