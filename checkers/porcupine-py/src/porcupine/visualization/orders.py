"""Orders as a tree: those that begin alike share their beginning, and each step knows the state it leads to.

An order is replayed with the model's own step. Where it ends, the operations that might have come next are
asked what speaks against them: that is what explains an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from porcupine.history import UNKNOWN, Operation
from porcupine.model import Model, StepContext
from porcupine.states import REFUSED, States

NOT_DRAWN: Final = -1
UNTOLD: Final = -2
UNCHANGED: Final = -2
ORDERS_MAX: Final = 400
REFUSALS_MAX: Final = 60
"""Of the operations open at an order's end, so many are asked, those that return first before others."""
REFUSAL_WORK_MAX: Final = 4_000_000
TOLD_AT_THE_END: Final = 300
"""So many states before an order's end are always told; those before only while there is room."""
TOLD_CHARACTERS_MAX: Final = 20_000_000


def outputs_of(operations: Sequence[Operation]) -> list[Any]:
    """What each came back with; UNKNOWN for one of unknown outcome."""
    return [UNKNOWN if o.outcome == "info" else o.output for o in operations]


def first_unexplained(
    model: Model, operations: Sequence[Operation], order: Sequence[int]
) -> int | None:
    """The operation with the first return that the order does not explain; None when it explains all."""
    done = set(order)
    left = [
        index
        for index, operation in enumerate(operations)
        if index not in done
        and operation.return_time is not None
        and (operation.outcome == "ok" or (operation.outcome == "fail" and model.sees_failures))
    ]
    return min(
        left,
        key=lambda index: (operations[index].return_time, operations[index].call),
        default=None,
    )


class Orders:
    """The trees of all parts, within bounds they share."""

    def __init__(
        self,
        model: Model,
        number: Callable[[str, int], int],
        steps: int,
        replayed_steps: int,
        state_characters: int,
    ) -> None:
        self._model = model
        self._number = number
        self._steps_left = steps
        self._replays_left = replayed_steps
        self._state_characters = state_characters
        self._told = 0
        self._refusal_work = 0
        self._step = model.stepper(StepContext(None))

    def tree(
        self,
        operations: Sequence[Operation],
        orders: Sequence[Sequence[int]],
        place_of: Mapping[int, int],
        *,
        stops: bool,
        ways: int,
    ) -> dict[str, Any]:
        """The tree of one part's orders, of which the first `ways` come up to its first error.

        up, op, state: for each step the step before (0 for the beginning, else its number from 1), the operation
        (NOT_DRAWN for one, or for many in a row, that the picture leaves out) and the text of the state after it
        (REFUSED where the model does not allow it, UNTOLD where there was no room). ends: the last step
        of each order. refusals: for each order [operation, the text of the state after it, REFUSED, or UNCHANGED].
        """
        model = self._model
        outputs = outputs_of(operations)
        tree = _Tree(self._told_state(model.init(), 0))
        ends: list[int] = []
        refusals: list[list[list[int]]] = []
        met: set[int] = set()
        left_out = shown_ways = 0
        seen: set[tuple[int, ...]] = set()
        for at, order in enumerate(orders):
            named = tuple(order)
            if named in seen:
                continue
            seen.add(named)
            # Each order is to show something: a way to the error, or an operation no longer one holds.
            if at >= ways and ends and met.issuperset(order):
                continue
            room = self._steps_left >= len(order) and self._replays_left >= len(order)
            if len(ends) >= ORDERS_MAX or (ends and not room):
                left_out += 1
                continue
            met.update(order)
            end, state = self._add(tree, operations, outputs, order, place_of)
            ends.append(end)
            shown_ways += at < ways
            refusals.append(
                self._refusals(operations, outputs, order, state, place_of) if stops else []
            )
        return {
            "start": tree.start,
            "up": [at - up for at, up in enumerate(tree.up, start=1)],
            "op": tree.op,
            "state": tree.state,
            "ends": ends,
            "ways": shown_ways,
            "refusals": refusals,
            "ordersLeftOut": left_out,
        }

    def _add(
        self,
        tree: _Tree,
        operations: Sequence[Operation],
        outputs: Sequence[Any],
        order: Sequence[int],
        place_of: Mapping[int, int],
    ) -> tuple[int, Any]:
        """Walk down the tree along an order, growing it where it ends: the last step, and the state there."""
        self._replays_left -= len(order)
        state = self._model.init()
        node = hidden = 0
        for at, index in enumerate(order, start=1):
            fits, after = self._step(state, operations[index].input, outputs[index])
            drawn = place_of.get(index, NOT_DRAWN)
            following = len(order) > at and order[at] not in place_of
            if drawn == NOT_DRAWN and following and fits:
                # One step is to stand for the whole row of operations that are not drawn.
                hidden += 1
                state = after
                continue
            key = (node, drawn, hidden, index)
            hidden = 0
            child = tree.child.get(key, 0)
            if not child:
                told = self._told_state(after, len(order) - at) if fits else REFUSED
                child = tree.grow(key, told)
                self._steps_left -= 1
            node = child
            if not fits:
                return node, _NOWHERE
            state = after
        return node, state

    def _told_state(self, state: Any, from_end: int) -> int:
        if from_end > TOLD_AT_THE_END and self._told > TOLD_CHARACTERS_MAX:
            return UNTOLD
        text = self._model.state_text(state)
        self._told += len(text)
        return self._number(text, self._state_characters)

    def _refusals(
        self,
        operations: Sequence[Operation],
        outputs: Sequence[Any],
        order: Sequence[int],
        state: Any,
        place_of: Mapping[int, int],
    ) -> list[list[int]]:
        """What the model says, where the order ends, to each operation that might come next."""
        self._refusal_work += 2 * len(operations)
        if self._refusal_work > REFUSAL_WORK_MAX or state is _NOWHERE:
            return []
        model = self._model
        done = set(order)
        first = first_unexplained(model, operations, order)
        if first is None:
            return []
        window = operations[first].return_time
        assert window is not None
        open_then: list[tuple[float, int]] = []
        for index, operation in enumerate(operations):
            if index in done or operation.call > window or index not in place_of:
                continue
            if operation.outcome == "fail" and not model.sees_failures:
                continue
            info = operation.outcome == "info"
            if info and model.readonly is not None and model.readonly(operation.input, UNKNOWN):
                continue
            back = operation.return_time
            open_then.append((float("inf") if info or back is None else back, index))
        states = States(model)
        states.number(state)
        found: list[list[int]] = []
        for _, index in sorted(open_then)[:REFUSALS_MAX]:
            fits, after = self._step(state, operations[index].input, outputs[index])
            told = REFUSED
            if fits and states.number(after) == 0:
                told = UNCHANGED
            elif fits:
                told = self._number(model.state_text(after), self._state_characters)
            found.append([place_of[index], told])
        return found


class _Tree:
    """Columns of steps, from 1; 0 is the beginning."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.up: list[int] = []
        self.op: list[int] = []
        self.state: list[int] = []
        # By the step before, the operation, how many not drawn ones it stands for besides, the last of them.
        self.child: dict[tuple[int, int, int, int], int] = {}

    def grow(self, key: tuple[int, int, int, int], state: int) -> int:
        self.up.append(key[0])
        self.op.append(key[1])
        self.state.append(state)
        made = len(self.up)
        self.child[key] = made
        return made


_NOWHERE: Final = object()
"""The state after a step that the model does not allow."""
