"""The online check: verdicts while a history happens, in memory that does not grow with it."""

from __future__ import annotations

from porcupine.online.checker import OnlineChecker, Statistics
from porcupine.online.violation import Violation

__all__ = ["OnlineChecker", "Statistics", "Violation"]
