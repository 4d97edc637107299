"""A linearizability checker: models are two functions, verdicts come with what it takes to believe them."""

from __future__ import annotations

from typing import Final

from porcupine.checker import (
    CheckResult,
    check,
    check_events,
    check_events_timeout,
    check_events_verbose,
    check_operations,
    check_operations_timeout,
    check_operations_verbose,
    check_verbose,
)
from porcupine.columns import CollectionColumns, RegisterColumns, check_columns
from porcupine.engine import core
from porcupine.errors import (
    FormatError,
    HistoryError,
    ModelError,
    PorcupineError,
    Undecided,
)
from porcupine.history import EMPTY, UNKNOWN, Event, EventKind, Operation, operations_of
from porcupine.limits import DEFAULT_MEMORY, default_memory_bytes
from porcupine.linearization import Annotation, LinearizationInfo
from porcupine.model import Model, NondeterministicModel, StepContext
from porcupine.online import OnlineChecker, Violation
from porcupine.result import GateResult, PartResult, Progress, Result, Witness
from porcupine.visualization import visualize, visualize_path
from porcupine.zones import Saw

DISTRIBUTION: Final = "porcupine-py (driftline)"
"""Proves which porcupine was imported: the name is free on the package index."""

__all__ = [
    "DEFAULT_MEMORY",
    "DISTRIBUTION",
    "EMPTY",
    "UNKNOWN",
    "Annotation",
    "CheckResult",
    "CollectionColumns",
    "Event",
    "EventKind",
    "FormatError",
    "GateResult",
    "HistoryError",
    "LinearizationInfo",
    "Model",
    "ModelError",
    "NondeterministicModel",
    "OnlineChecker",
    "Operation",
    "PartResult",
    "PorcupineError",
    "Progress",
    "RegisterColumns",
    "Result",
    "Saw",
    "StepContext",
    "Undecided",
    "Violation",
    "Witness",
    "check",
    "check_columns",
    "check_events",
    "check_events_timeout",
    "check_events_verbose",
    "check_operations",
    "check_operations_timeout",
    "check_operations_verbose",
    "check_verbose",
    "core",
    "default_memory_bytes",
    "operations_of",
    "visualize",
    "visualize_path",
]
