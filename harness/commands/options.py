"""What options of several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cyclopts import Parameter

RUNS_DIR: Final = Path("runs")


def _positive(kind: type, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError("must be greater than 0")


def _not_negative(kind: type, value: Any) -> None:
    if value is not None and value < 0:
        raise ValueError("must not be negative")


Positive = Parameter(validator=_positive)
NotNegative = Parameter(validator=_not_negative)
