"""What a model says, remembered: numbers for states and for kinds of operations, and where each leads.

A kind is an input with an output, of equal value and type: operations of one kind do the same in every state. The
model is asked once about each pair of a state and a kind, until the table is cleared to make room.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from time import monotonic
from typing import Any, Final

from porcupine.errors import ModelError
from porcupine.model import Model, StepContext
from porcupine.online.lanes import Lanes
from porcupine.online.limits import LimitMet
from porcupine.states import REFUSED, States

# Estimates for CPython 3.11 on 64 bits, as in porcupine.wgl.
TRANSITION_BYTES: Final = 100
KIND_BYTES: Final = 400
ROW_BYTES: Final = 400
MOVE_BYTES: Final = 90


class Tables:
    """One part's tables. States and kinds are numbers; `rows[state].get(kind)` is where it leads, if known."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.lanes = Lanes()
        self.states = States(model)
        self.rows: list[dict[int, int]] = []
        self.deadline: float | None = None
        self._step = model.stepper(StepContext(None))
        self._kinds: dict[Hashable, int] = {}
        self._meanings: dict[int, tuple[Any, Any, bool]] = {}
        self._next_kind = 0
        self._transitions = 0
        # For each state the unknown operations that change it: (kind, shift, where to), for so many lanes.
        self._moves: dict[int, tuple[list[tuple[int, int, int]], int]] = {}
        self._moves_count = 0

    def until(self, deadline: float | None) -> None:
        """Answers are wanted until then, in seconds of time.monotonic."""
        if deadline != self.deadline:
            self.deadline = deadline
            self._step = self.model.stepper(StepContext(deadline))

    def state(self, state: Any) -> int:
        number = self.states.number(state)
        if number == len(self.rows):
            self.rows.append({})
        return number

    def kind(self, given: Any, output: Any) -> int:
        """The kind of an input with an output. Without a hash it is a kind of its own each time."""
        types = tuple(map(type, given)) if type(given) is tuple else type(given)
        key = (given, output, type(output), types)
        try:
            kind = self._kinds.get(key)
            if kind is not None:
                return kind
            self._kinds[key] = self._next_kind
        except TypeError:
            pass
        kind = self._next_kind
        self._next_kind += 1
        readonly = self.model.readonly
        self._meanings[kind] = (
            given,
            output,
            readonly is not None and bool(readonly(given, output)),
        )
        return kind

    def pure(self, kind: int) -> bool:
        """Does the model call it read-only?"""
        return self._meanings[kind][2]

    def meaning(self, kind: int) -> tuple[Any, Any]:
        """A kind's input and output."""
        given, output, _ = self._meanings[kind]
        return given, output

    def ask(self, state: int, kind: int) -> int:
        """Where a kind leads from a state, or REFUSED; from the model. Call it for what `rows` does not know."""
        given, output, pure = self._meanings[kind]
        before = self.states.known[state]
        fits, after = self.model.answer(self._step(before, given, output))
        if self.deadline is not None and monotonic() >= self.deadline:
            raise LimitMet("timeout")
        reached = self.state(after) if fits else REFUSED
        if pure and fits and reached != state:
            raise ModelError(
                f"model {self.model.name!r} calls {given!r} -> {output!r} read-only, but it took {before!r} to "
                f"{after!r}; mend the model's readonly or its step"
            )
        self.rows[state][kind] = reached
        self._transitions += 1
        return reached

    def moves(self, state: int) -> list[tuple[int, int, int]]:
        """The kinds of unknown outcome that change a state: (kind, shift of its lane, the state after it)."""
        order = self.lanes.order
        known = self._moves.get(state)
        if known is None:
            found: list[tuple[int, int, int]] = []
            looked = 0
        else:
            found, looked = known
        if looked < len(order):
            row = self.rows[state]
            before = len(found)
            for kind, shift in order[looked:]:
                reached = row.get(kind)
                if reached is None:
                    reached = self.ask(state, kind)
                if reached not in (REFUSED, state):
                    found.append((kind, shift, reached))
            self._moves_count += len(found) - before
            self._moves[state] = (found, len(order))
        return found

    def size(self) -> int:
        """How much is remembered, in entries."""
        return self._transitions + len(self._meanings) + len(self.rows)

    def bytes(self) -> int:
        """An estimate of what all of it takes."""
        return (
            self.states.bytes
            + TRANSITION_BYTES * self._transitions
            + KIND_BYTES * len(self._meanings)
            + ROW_BYTES * len(self.rows)
            + MOVE_BYTES * self._moves_count
        )

    def renew(self, states: Iterable[int], kinds: set[int]) -> dict[int, int]:
        """Forget all but these states and kinds, and all transitions. The new number of each state by its old."""
        known = self.states.known
        kept = [(number, known[number]) for number in states]
        self.states = States(self.model)
        self.rows = []
        renumbered = {number: self.state(state) for number, state in kept}
        kinds = kinds.union(kind for kind, _ in self.lanes.order)
        self._kinds = {key: kind for key, kind in self._kinds.items() if kind in kinds}
        self._meanings = {kind: self._meanings[kind] for kind in kinds}
        self._transitions = 0
        self.forget_moves()
        return renumbered

    def forget_moves(self) -> None:
        """After lanes were taken away."""
        self._moves = {}
        self._moves_count = 0
