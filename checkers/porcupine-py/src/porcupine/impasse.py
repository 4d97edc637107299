"""Where an illegal part's orders end, when it was a gate that judged it.

A search knows: it was there. A gate's witness names operations that contradict each other, wherever in the
history they stand; for a picture one also wants the first return that no order gets past, and an order that comes up
to it. A short search mostly finds both. Where it does not, the gate itself is asked about ever closer
prefixes: what explains a prefix explains all shorter ones, so halving finds the shortest illegal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from porcupine.history import UNKNOWN, Operation
from porcupine.limits import WITNESS_SECONDS, is_over
from porcupine.model import Model, StepContext
from porcupine.native import open_search
from porcupine.result import Witness

SEARCH_STEPS: Final = 100_000


def find_impasse(
    model: Model,
    operations: Sequence[Operation],
    witness: Witness,
    deadline: float | None = None,
) -> tuple[Witness, list[list[int]]]:
    """The witness of an illegal part with `stuck_at` and `partials` filled in, and partial orders, longest first.

    Indices are places in `operations`. Where neither way leads to the end in bounded work, and before the deadline
    (of time.monotonic), `stuck_at` stays None.
    """
    if is_over(deadline):
        return witness, []
    search = open_search(model, operations, deadline=deadline, partials=True)
    verdict = search.run(SEARCH_STEPS)
    orders = search.partial_orders()
    if verdict == "illegal":
        # Where a state only grows, the return is looked for by searches of its own.
        search.allow(
            WITNESS_SECONDS if deadline is None else max(0.0, deadline - monotonic()), None
        )
        finals: Sequence[Any] = search.finals
        ways = sorted((tuple(search.unwound(final)) for final in finals), key=len, reverse=True)
        return replace(witness, stuck_at=search.stuck_at(), partials=tuple(ways)), orders
    search.forget()
    found = _by_prefixes(model, operations, deadline)
    if found is None:
        return witness, orders
    stuck, order = found
    orders = sorted([order, *(other for other in orders if other != order)], key=len, reverse=True)
    return replace(witness, stuck_at=stuck, partials=(tuple(order),)), orders


def _by_prefixes(
    model: Model, operations: Sequence[Operation], deadline: float | None
) -> tuple[int, list[int]] | None:
    """The first return the gate finds no order for, and one for all before it; None where it does not apply."""
    gate = model.gate
    if gate is None:
        return None
    counted = [
        index
        for index, operation in enumerate(operations)
        if operation.outcome == "ok" or (operation.outcome == "fail" and model.sees_failures)
    ]
    counted.sort(key=lambda index: operations[index].call)
    counted.sort(key=lambda index: operations[index].return_time or 0)
    legal, illegal = 0, len(counted)
    best: list[int] = []
    while legal + 1 < illegal:
        middle = (legal + illegal) // 2
        if is_over(deadline):
            return None
        places, prefix = _prefix(model, operations, counted, middle)
        decided = gate(prefix, deadline)
        if decided is None or decided.verdict == "unknown":
            return None
        if decided.verdict == "illegal":
            illegal = middle
            continue
        legal = middle
        best = [] if decided.order is None else [places[place] for place in decided.order()]
    return counted[illegal - 1], _replayed(model, operations, best)


def _prefix(
    model: Model, operations: Sequence[Operation], counted: Sequence[int], returns: int
) -> tuple[list[int], list[Operation]]:
    """What was called up to a return, with its place; what was still open then may have happened or not."""
    returned = set(counted[:returns])
    now = operations[counted[returns - 1]].return_time
    assert now is not None  # validate() saw to it
    places: list[int] = []
    prefix: list[Operation] = []
    for index, operation in enumerate(operations):
        if operation.call > now or (operation.outcome == "fail" and not model.sees_failures):
            continue
        if index not in returned and operation.outcome != "info":
            if model.readonly is not None and model.readonly(operation.input, operation.output):
                continue  # As one of unknown outcome it might do what it did not.
            operation = replace(operation, outcome="info", output=UNKNOWN, return_time=None)
        places.append(index)
        prefix.append(operation)
    return places, prefix


def _replayed(model: Model, operations: Sequence[Operation], order: Sequence[int]) -> list[int]:
    """The order as far as it holds with what each operation came to return."""
    step = model.stepper(StepContext(None))
    state = model.init()
    kept: list[int] = []
    for index in order:
        operation = operations[index]
        output = UNKNOWN if operation.outcome == "info" else operation.output
        fits, state = step(state, operation.input, output)
        if not fits:
            break
        kept.append(index)
    return kept
