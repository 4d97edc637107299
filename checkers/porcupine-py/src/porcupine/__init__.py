"""A linearizability checker: models are two functions, verdicts come with what it takes to believe them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

# Whoever judges a history should not wait for what draws one: a module is imported when something in it is asked for,
# or it itself.
_HOMES: Final = {
    "checker": (
        "CheckResult",
        "check",
        "check_events",
        "check_events_timeout",
        "check_events_verbose",
        "check_operations",
        "check_operations_timeout",
        "check_operations_verbose",
        "check_verbose",
    ),
    "columns": ("CollectionColumns", "RegisterColumns", "check_columns"),
    "engine": ("core",),
    "errors": ("FormatError", "HistoryError", "ModelError", "PorcupineError", "Undecided"),
    "history": ("EMPTY", "UNKNOWN", "Event", "EventKind", "Operation", "operations_of"),
    "limits": ("DEFAULT_MEMORY", "default_memory_bytes"),
    "linearization": ("Annotation", "LinearizationInfo"),
    "models": (),
    "model": ("Model", "NondeterministicModel", "StepContext"),
    "online": ("OnlineChecker", "Violation"),
    "result": ("GateResult", "PartResult", "Progress", "Result", "Witness"),
    "visualization": ("visualize", "visualize_path"),
    "zones": ("Saw",),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return import_module(f"{__name__}.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
