"""What can be wrong with a question. A verdict is never an exception; a question that makes no sense is."""

from __future__ import annotations


class PorcupineError(Exception):
    """The root of this package's exceptions."""


class HistoryError(PorcupineError, ValueError):
    """The operations cannot be a history: a return before its call, a return without a call."""


class ModelError(PorcupineError, ValueError):
    """The model broke its contract, or was given an input it has no meaning for."""


class FormatError(PorcupineError, ValueError):
    """A line of a log could not be read."""


class Undecided(PorcupineError):
    """Yes or no was asked for, and a limit was met before either was known."""
