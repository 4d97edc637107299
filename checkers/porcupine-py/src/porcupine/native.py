"""The compiled search, behind the face of the one in Python.

It finds verdicts and orders; what is shown of them is worked out here with the model's own step, by going
through an order once more. A model written in Python is asked for each transition once; a ready one has a
twin in the compiled core, which is used as long as the model's step is the one it came with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import Any, Final

from porcupine.engine import compiled, remark_on_core
from porcupine.errors import ModelError
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import OPERATIONS_PER_LOOK, TimeIsUp, must_not_be_over
from porcupine.model import Model, StepContext
from porcupine.result import Cause, Verdict
from porcupine.states import REFUSED, States, refusal_text
from porcupine.wgl import Search

# Lists of who is open at each return may take this part of a memory limit, before anything is searched.
ROOM_PART: Final = 8


@dataclass(frozen=True, slots=True)
class Stop:
    """A configuration from which the search could not get past the failing return."""

    state: int
    order: tuple[int, ...]


def open_search(
    model: Model,
    operations: Sequence[Operation],
    *,
    deadline: float | None = None,
    partials: bool = False,
    memory_bytes: int | None = None,
) -> Search | NativeSearch:
    """A search of one part by the engine in use."""
    if compiled is not None:
        found = NativeSearch(
            model, operations, deadline=deadline, partials=partials, memory_bytes=memory_bytes
        )
        if found.applies:
            return found
    else:
        remark_on_core()
    return Search(model, operations, deadline=deadline, partials=partials)


def _whole(limit: int | None) -> int | None:
    """A limit as the core takes it: neither negative nor past 64 bits."""
    return None if limit is None else min(max(limit, 0), 2**62)


class NativeSearch:
    """As wgl.Search. Indices are places in the list it was given."""

    def __init__(
        self,
        model: Model,
        operations: Sequence[Operation],
        *,
        deadline: float | None = None,
        partials: bool = False,
        memory_bytes: int | None = None,
    ) -> None:
        self.model = model
        self.operations = operations
        self.deadline = deadline
        self.verdict: Verdict | None = None
        self.cause: Cause | None = None
        self.exact = True
        self._step = model.stepper(StepContext(deadline))
        self._states = States(model)
        self._stuck: int | None = None
        self._finals: list[Stop] = []
        self._state_of: tuple[Stop, Any] | None = None
        self._allowed: tuple[float, int | None] = (0.0, None)
        self._search = compiled.Search.open(
            operations if isinstance(operations, list) else list(operations),
            model.sees_failures,
            model.twin(),
            model.readonly,
            self._take,
            self._states,
            partials,
            None if deadline is None else deadline - monotonic(),
            _whole(None if memory_bytes is None else memory_bytes // ROOM_PART),
        )
        if self._search is None:
            return
        if not self._search.native:
            self._states.number(model.init())
        if self._search.returns == 0:
            self.verdict = "ok"

    @property
    def applies(self) -> bool:
        """Whether the compiled search can take this history on; if not, nothing else may be asked."""
        return self._search is not None

    @property
    def steps(self) -> int:
        steps: int = self._search.steps
        return steps

    @property
    def most(self) -> int:
        most: int = self._search.most
        return most

    def run(
        self,
        steps: int | None = None,
        memory_bytes: int | None = None,
        ceiling_bytes: int | None = None,
    ) -> Verdict | None:
        """As wgl.Search.run."""
        if self.verdict is not None:
            return self.verdict
        left = None if self.deadline is None else self.deadline - monotonic()
        try:
            found = self._search.run(
                _whole(steps), left, _whole(memory_bytes), _whole(ceiling_bytes)
            )
        except TimeIsUp:
            found = "timeout"
        if found in ("timeout", "memory"):
            self.cause = found
            found = "unknown"
        self.verdict = found
        return self.verdict

    def _take(self, index: int, state: int) -> int:
        """The state the model goes to by one operation, or REFUSED."""
        before = self._states.known[state]
        operation = self.operations[index]
        output = UNKNOWN if operation.outcome == "info" else operation.output
        fits, after = self.model.answer(self._step(before, operation.input, output))
        reached = self._states.number(after) if fits else REFUSED
        readonly = self.model.readonly
        if reached not in (REFUSED, state) and readonly and readonly(operation.input, output):
            raise ModelError(
                f"model {self.model.name!r} calls {operation.input!r} -> {output!r} read-only, but it took "
                f"{before!r} to {after!r}; mend the model's readonly or its step"
            )
        must_not_be_over(self.deadline)
        return reached

    # --- what it found ----------------------------------------------------------------------------

    @cached_property
    def outputs(self) -> list[Any]:
        """What each operation came back with; UNKNOWN for one of unknown outcome."""
        return [UNKNOWN if o.outcome == "info" else o.output for o in self.operations]

    def held_bytes(self) -> int:
        """An estimate of what the search remembers, in bytes."""
        held: int = self._search.held_bytes()
        return held

    def order(self) -> list[int]:
        """The full order when the verdict is "ok", else the longest one met."""
        order: list[int] = self._search.best()
        return order

    def partial_orders(self) -> list[list[int]]:
        """Distinct orders, longest first, such that each operation's longest known one is among them."""
        orders: list[list[int]] = self._search.partials()
        return orders

    def allow(self, seconds: float, memory_bytes: int | None) -> None:
        """Before a witness is asked for: it may take so long, and so much."""
        self._allowed = (seconds, _whole(memory_bytes))
        self.deadline = monotonic() + seconds
        self._step = self.model.stepper(StepContext(self.deadline))

    def _find_stuck(self) -> None:
        if self._stuck is None:
            self._stuck, self.exact, finals = self._search.stuck(*self._allowed)
            self._finals = [Stop(state, tuple(order)) for state, order in finals]

    @property
    def finals(self) -> list[Stop]:
        self._find_stuck()
        return self._finals

    def stuck_at(self) -> int:
        """The operation whose return no order gets past; if `exact`, one explains all returns before it."""
        self._find_stuck()
        assert self._stuck is not None
        return self._stuck

    def unwound(self, final: Stop) -> list[int]:
        """The order that leads to where the search got stuck."""
        return list(final.order)

    def state_of(self, final: Stop) -> Any:
        """The model's state after the order that leads to where the search got stuck.

        Raises TimeIsUp, as `refusals` does, when what was allowed is used up.
        """
        if self._state_of is None or self._state_of[0] is not final:
            state = self.model.init()
            for done, index in enumerate(final.order):
                if done % OPERATIONS_PER_LOOK == 0 or self.model.step_context is not None:
                    must_not_be_over(self.deadline)
                _, state = self._step(state, self.operations[index].input, self.outputs[index])
            must_not_be_over(self.deadline)
            self._state_of = (final, state)
        return self._state_of[1]

    def refusals(self, final: Stop, most: int) -> tuple[list[tuple[int, str]], int]:
        """For operations open where the search got stuck, what the model says to them there; and how many more."""
        model, state, done = self.model, self.state_of(final), set(final.order)
        window = self.operations[self.stuck_at()].return_time
        assert window is not None
        open_then: list[tuple[bool, int, int]] = []
        for index, operation in enumerate(self.operations):
            info = operation.outcome == "info"
            if index in done or operation.call > window:
                continue
            if operation.outcome == "fail" and not model.sees_failures:
                continue
            if info and model.readonly and model.readonly(operation.input, UNKNOWN):
                continue
            open_then.append((info, operation.call, index))
        states = States(model)
        states.number(state)
        found: list[tuple[int, str]] = []
        for _, _, index in sorted(open_then)[:most]:
            fits, after = self._step(state, self.operations[index].input, self.outputs[index])
            must_not_be_over(self.deadline)
            reached = states.number(after) if fits else REFUSED
            text = model.state_text(after) if fits else ""
            found.append((index, refusal_text(reached, 0, text)))
        return found, len(open_then) - len(found)

    def forget(self) -> None:
        """Let go of what was only needed to search on."""
        self._search.forget()
        self._states.clear()
