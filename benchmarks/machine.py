"""What a figure must be read with: CPU steal, cores, kernel; and the rule that voids a run."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

STEAL_MAX = 0.03


class Steal:
    """Share of CPU time that the hypervisor took between `start` and `share`."""

    def __init__(self) -> None:
        self._start = _cpu()

    def share(self) -> float:
        now = _cpu()
        spent = [b - a for a, b in zip(self._start, now, strict=True)]
        total = sum(spent)
        return spent[7] / total if total else 0.0


def _cpu() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def describe() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def spread(values: Sequence[float], unit: str = "", digits: int = 0) -> str:
    """median (min to max)"""
    middle = statistics.median(values)
    return f"{middle:,.{digits}f}{unit} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
