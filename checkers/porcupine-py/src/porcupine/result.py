"""Answers. A verdict is "ok", "illegal" or "unknown"; each comes with what it takes to believe it.

An "ok" carries an order of the operations that can be replayed, an "illegal" a witness a person can check on
paper, an "unknown" its cause and how far the search came. Whatever costs time beyond the verdict is worked
out when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

Verdict = Literal["ok", "illegal", "unknown"]
Cause = Literal["timeout", "memory", "step limit", "not applicable", "error"]
"""Why a verdict is "unknown"; "error" is an online check's: the model raised an exception, which was passed on."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Why a history is illegal, small enough to read.

    `operations` are the indices of those the text is about; `support` are the writes and compare-and-sets that
    connect them. When `closed` is true, these two alone, without the rest of the history, are already
    illegal. `part` is the key of the part they belong to. A search's witness is not closed, and has further:
    `stuck_at`, the operation with the first return that cannot be explained, even if those still open then
    may or may not have happened, with the outputs they came to return; and `partials`, orders that explain
    all that returned before it and come no further.
    """

    text: str
    operations: tuple[int, ...]
    support: tuple[int, ...] = ()
    closed: bool = False
    part: Hashable = None
    stuck_at: int | None = None
    partials: tuple[tuple[int, ...], ...] = ()

    def moved(self, places: Sequence[int]) -> Witness:
        """The witness of a closed part of a history, as one of the whole: `places` are the part's in it."""
        return replace(
            self,
            operations=tuple(places[index] for index in self.operations),
            support=tuple(places[index] for index in self.support),
        )


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate's decision on one part. Indices are places in the list of operations the gate was given.

    `order` is asked for only when the verdict is "ok"; `witness` is set when it is "illegal", `cause` when it
    is "unknown".
    """

    verdict: Verdict
    engine: str
    order: Callable[[], list[int]] | None = None
    witness: Witness | None = None
    cause: Cause | None = None


class Progress(NamedTuple):
    """How far a check came: parts decided, and the most operations any one order of a part explained."""

    parts_decided: int
    parts: int
    operations_linearized: int

    def __str__(self) -> str:
        return (
            f"{self.parts_decided} of {self.parts} parts decided, "
            f"at most {self.operations_linearized} operations linearized"
        )


@dataclass(slots=True)
class PartResult:
    """One part's verdict. `operations` counts those judged, `steps` the search's transitions (0 for a gate).

    A part that was left when another proved illegal stays "unknown" without a cause.
    """

    key: Hashable
    verdict: Verdict
    engine: str
    operations: int
    steps: int
    seconds: float
    cause: Cause | None = None
    _witness: Witness | Callable[[], Witness] | None = field(default=None, repr=False)
    _orders: Callable[[], list[list[int]]] | None = field(default=None, repr=False)
    _found: list[list[int]] | None = field(default=None, repr=False)

    @property
    def witness(self) -> Witness | None:
        """Why this part is illegal; None when it is not."""
        if callable(self._witness):
            self._witness = self._witness()
        return self._witness

    @property
    def linearizations(self) -> list[list[int]]:
        """Orders as indices into the history: one full order when ok, else the longest partial ones known."""
        if self._found is None:
            self._found = [] if self._orders is None else self._orders()
        return self._found

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled result carries its witness and orders, worked out: what would do so cannot travel.
        names = [each.name for each in fields(self) if not each.name.startswith("_")]
        found = (getattr(self, name) for name in names)
        return PartResult, (*found, self.witness, None, self.linearizations)


@dataclass(slots=True)
class Result:
    """What `check` answers. `cause` and `progress` explain an "unknown", `witness` an "illegal"."""

    verdict: Verdict
    cause: Cause | None
    progress: Progress
    _parts: tuple[PartResult, ...] | Callable[[], tuple[PartResult, ...]] = field(repr=False)
    steps: int
    seconds: float

    @property
    def parts(self) -> tuple[PartResult, ...]:
        """The parts' results, in the order in which their keys appear."""
        if callable(self._parts):
            self._parts = self._parts()
        return self._parts

    def __reduce__(self) -> tuple[Any, ...]:
        # As for PartResult: pickled with its parts worked out.
        found = (self.verdict, self.cause, self.progress, self.parts, self.steps, self.seconds)
        return Result, found

    @property
    def witness(self) -> Witness | None:
        """The first illegal part's; None when there is none."""
        return next((part.witness for part in self.parts if part.verdict == "illegal"), None)

    @property
    def linearization(self) -> list[list[int]]:
        """For each part the best order known, as indices into the history: full when the part is ok."""
        return [part.linearizations[0] if part.linearizations else [] for part in self.parts]

    def __str__(self) -> str:
        if self.verdict == "illegal" and self.witness is not None:
            return f"illegal: {self.witness.text}"
        if self.verdict == "unknown":
            return f"unknown ({self.cause}): {self.progress}"
        return self.verdict
