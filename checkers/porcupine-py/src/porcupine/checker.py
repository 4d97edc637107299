"""The question itself: is this history linearizable?

A history is cut into parts that may be judged alone. Each part goes to the model's gate, and where that does
not apply to the search. The searches of the parts take turns, with budgets that double, so that one part that
is quickly refuted ends the check however hard the others are. One illegal part makes the history illegal, and
outweighs a part that was not decided.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Any, Final, Literal, cast

from porcupine.errors import HistoryError, ModelError
from porcupine.history import Event, EventKind, Operation, operations_of, validate
from porcupine.impasse import find_impasse
from porcupine.linearization import LinearizationInfo
from porcupine.model import Model
from porcupine.native import NativeSearch, open_search
from porcupine.result import Cause, PartResult, Progress, Result, Verdict, Witness
from porcupine.wgl import ENGINE, Search

Prefer = Literal["auto", "gate", "search"]
FIRST_BUDGET_STEPS: Final = 2_000
# Orders are only worked out for a gate's illegal part when someone asks, and then not for ever.
ORDERS_AFTER_GATE_STEPS: Final = 100_000
WITNESS_PENDING_MAX: Final = 12


class CheckResult(StrEnum):
    """Porcupine's three answers."""

    OK = "Ok"
    ILLEGAL = "Illegal"
    UNKNOWN = "Unknown"


@dataclass(slots=True)
class _Part:
    """One part on its way to a verdict. `indices` are the places of its operations in the history."""

    key: Hashable
    operations: list[Operation]
    indices: list[int]
    verdict: Verdict | None = None
    engine: str = ENGINE
    cause: Cause | None = None
    witness: Witness | Callable[[], Witness] | None = None
    search: Search | NativeSearch | None = None
    orders: Callable[[], list[list[int]]] | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class _Limits:
    deadline: float | None
    memory_bytes: int | None
    step_limit: int | None
    steps: int = 0
    # One illegal part ends the check, unless all are wanted for a picture.
    to_the_end: bool = False
    # What each undecided part's search remembers, by the search's id.
    held_bytes: dict[int, int] = field(default_factory=dict)


def check(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    *,
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
    step_limit: int | None = None,
    prefer: Prefer = "auto",
) -> Result:
    """Judge a history of operations, or of events, against a model.

    timeout_s: wall-clock seconds; 0 and None mean no limit. memory_bytes: an estimate of what the searches
    remember, checked some thousand times a second; the history itself is not counted. step_limit: about how
    many transitions the searches may try, all parts together. A limit that is met makes the verdict
    "unknown" unless an illegal part was found before. prefer: "gate" never searches (cause "not
    applicable"), "search" never asks the gate.
    Raises HistoryError and ModelError for questions without a sense, and whatever the model raises.
    """
    limits = _Limits(_deadline(timeout_s), memory_bytes, step_limit)
    result, _ = _check(history, model, limits, prefer)
    return result


def check_verbose(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    *,
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
    step_limit: int | None = None,
    prefer: Prefer = "auto",
) -> tuple[Result, LinearizationInfo]:
    """As check, with what a picture needs; so no part is left undecided when another proves illegal."""
    limits = _Limits(_deadline(timeout_s), memory_bytes, step_limit, to_the_end=True)
    result, parts = _check(history, model, limits, prefer)
    info = LinearizationInfo()
    for part in parts:
        info.keys.append(part.key)
        info.history.append(part.operations)
        info.verdicts.append(part.verdict or "unknown")
        info.causes.append(part.cause)
        witness = part.witness() if callable(part.witness) else part.witness
        if witness is not None and witness.stuck_at is None:
            witness, orders = find_impasse(model, part.operations, witness)
        else:
            orders = [] if part.orders is None else part.orders()
        info.witnesses.append(witness)
        info.orders.append(orders)
    return result, info


def check_operations(model: Model, history: Sequence[Operation]) -> bool:
    """Whether the history is linearizable, however long that takes to find out."""
    return check(history, model).verdict == "ok"


def check_operations_timeout(
    model: Model, history: Sequence[Operation], timeout_s: float | None
) -> CheckResult:
    """As check_operations, for at most `timeout_s` seconds; 0 and None mean no limit."""
    return _CHECK_RESULTS[check(history, model, timeout_s=timeout_s).verdict]


def check_operations_verbose(
    model: Model, history: Sequence[Operation], timeout_s: float | None
) -> tuple[CheckResult, LinearizationInfo]:
    """As check_operations_timeout, with orders for a picture; so no part is left when another is illegal."""
    return _verbose(model, history, timeout_s)


def check_events(model: Model, history: Sequence[Event]) -> bool:
    """As check_operations, for a list of events; a call without a return may or may not have happened."""
    return check(history, model).verdict == "ok"


def check_events_timeout(
    model: Model, history: Sequence[Event], timeout_s: float | None
) -> CheckResult:
    """As check_operations_timeout, for a list of events."""
    return _CHECK_RESULTS[check(history, model, timeout_s=timeout_s).verdict]


def check_events_verbose(
    model: Model, history: Sequence[Event], timeout_s: float | None
) -> tuple[CheckResult, LinearizationInfo]:
    """As check_operations_verbose, for a list of events."""
    return _verbose(model, history, timeout_s)


_CHECK_RESULTS: Final[Mapping[Verdict, CheckResult]] = {
    "ok": CheckResult.OK,
    "illegal": CheckResult.ILLEGAL,
    "unknown": CheckResult.UNKNOWN,
}


def _deadline(timeout_s: float | None) -> float | None:
    return monotonic() + timeout_s if timeout_s else None


def _verbose(
    model: Model, history: Sequence[Operation] | Sequence[Event], timeout_s: float | None
) -> tuple[CheckResult, LinearizationInfo]:
    result, info = check_verbose(history, model, timeout_s=timeout_s)
    return _CHECK_RESULTS[result.verdict], info


# --- from a history to parts ----------------------------------------------------------------------


def _parts_of(history: Sequence[Operation] | Sequence[Event], model: Model) -> list[_Part]:
    if history and isinstance(history[0], Event):
        events = cast("Sequence[Event]", history)
        operations = operations_of(events)
        if model.partition_event is not None:
            return _parts_of_events(events, model)
    else:
        operations = list(cast("Sequence[Operation]", history))
    validate(operations, model.sees_failures)
    if model.partition is None:
        return [_Part(None, operations, list(range(len(operations))))]
    places: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        places.setdefault(id(operation), []).append(index)
    parts: list[_Part] = []
    for key, members in _keyed(model.partition(operations)):
        try:
            indices = [places[id(operation)].pop(0) for operation in members]
        except (KeyError, IndexError):
            raise ModelError(
                f"model {model.name!r}: part {key!r} holds an operation that is not one of the history, or "
                "holds it twice; partition must hand on the objects it was given, each at most once"
            ) from None
        parts.append(_Part(key, list(members), indices))
    return parts


def _parts_of_events(events: Sequence[Event], model: Model) -> list[_Part]:
    assert model.partition_event is not None
    calls = (event.id for event in events if event.kind is EventKind.CALL)
    index_of = {identity: index for index, identity in enumerate(calls)}
    parts: list[_Part] = []
    for key, members in _keyed(model.partition_event(events)):
        part = list(members)
        try:
            indices = [index_of[event.id] for event in part if event.kind is EventKind.CALL]
        except KeyError as missing:
            raise ModelError(
                f"model {model.name!r}: part {key!r} holds an event with the id {missing}, which the "
                "history does not call; partition_event must keep the ids"
            ) from None
        parts.append(_Part(key, operations_of(part), indices))
    return parts


def _keyed(parts: Any) -> list[tuple[Hashable, Sequence[Any]]]:
    return list(parts.items()) if isinstance(parts, Mapping) else list(enumerate(parts))


# --- from parts to a verdict ----------------------------------------------------------------------


def _check(
    history: Sequence[Operation] | Sequence[Event], model: Model, limits: _Limits, prefer: Prefer
) -> tuple[Result, list[_Part]]:
    started = monotonic()
    if prefer not in ("auto", "gate", "search"):
        raise HistoryError(f'prefer is {prefer!r}; it must be "auto", "gate" or "search"')
    parts = _parts_of(history, model)
    if _ask_gates(parts, model, limits, prefer):
        _run_searches(parts, model, limits)
    illegal = [part for part in parts if part.verdict == "illegal"]
    verdict: Verdict = "ok"
    cause: Cause | None = None
    if illegal:
        verdict = "illegal"
    elif any(part.verdict != "ok" for part in parts):
        verdict = "unknown"
        cause = next(part.cause for part in parts if part.cause is not None)
    results = tuple(map(_result_of, parts))
    most = max((0 if p.search is None else p.search.most for p in parts), default=0)
    most = max([most, *(len(p.operations) for p in parts if p.verdict == "ok")])
    progress = Progress(sum(part.verdict in ("ok", "illegal") for part in parts), len(parts), most)
    seconds = monotonic() - started
    return Result(verdict, cause, progress, results, limits.steps, seconds), parts


def _ask_gates(parts: list[_Part], model: Model, limits: _Limits, prefer: Prefer) -> bool:
    """Let the gate decide what it can. False when nothing is left to be decided."""
    for part in parts:
        if model.gate is None or prefer == "search":
            break
        started = monotonic()
        decided = model.gate(part.operations, limits.deadline)
        part.seconds = monotonic() - started
        if decided is None:
            continue
        part.verdict, part.cause, part.engine = decided.verdict, decided.cause, decided.engine
        part.witness = decided.witness
        if decided.verdict == "ok" and decided.order is not None:
            order = decided.order
            part.orders = partial(lambda work_out: [work_out()], order)
        elif decided.verdict == "illegal":
            part.orders = partial(_orders_by_search, model, part.operations)
            if not limits.to_the_end:
                return False
    undecided = [part for part in parts if part.verdict is None]
    if prefer == "gate":
        for part in undecided:
            part.verdict, part.cause, part.engine = "unknown", "not applicable", "none"
        return False
    return bool(undecided)


def _run_searches(parts: list[_Part], model: Model, limits: _Limits) -> None:
    """Give each undecided part a budget in turn, and double it with every round."""
    budget = FIRST_BUDGET_STEPS
    undecided = [part for part in parts if part.verdict is None]
    while undecided:
        for part in undecided:
            started = monotonic()
            if part.search is None:
                part.search = open_search(
                    model,
                    part.operations,
                    deadline=limits.deadline,
                    partials=limits.to_the_end,
                )
            search = part.search
            before = search.steps
            # One part alone needs no turns: only what stops it.
            steps = None if len(undecided) == 1 else budget
            if limits.step_limit is not None:
                left = max(limits.step_limit - limits.steps, 0)
                steps = left if steps is None else min(steps, left)
            memory = limits.memory_bytes
            if memory is not None:
                others = sum(limits.held_bytes.values()) - limits.held_bytes.get(id(search), 0)
                memory -= others
            verdict = search.run(steps, memory)
            limits.steps += search.steps - before
            part.seconds += monotonic() - started
            spent = limits.step_limit is not None and limits.steps >= limits.step_limit
            if verdict is None and spent:
                verdict, search.cause = "unknown", "step limit"
            limits.held_bytes[id(search)] = search.held_bytes()
            if verdict is None:
                continue
            part.verdict, part.cause = verdict, search.cause
            part.orders = search.partial_orders
            if verdict == "ok":
                part.orders = partial(_order_alone, search)
            elif verdict == "illegal":
                part.witness = partial(_search_witness, part, model)
                if not limits.to_the_end:
                    return
            if verdict == "unknown" and search.cause != "memory":
                _give_up(undecided, search.cause)
                return
            # Decided, or grown too large: what it remembers makes room for the others.
            limits.held_bytes.pop(id(search))
            search.forget()
        undecided = [part for part in undecided if part.verdict is None]
        budget *= 2


def _order_alone(search: Search | NativeSearch) -> list[list[int]]:
    return [search.order()]


def _give_up(parts: list[_Part], cause: Cause | None) -> None:
    for part in parts:
        if part.verdict is None:
            part.verdict, part.cause = "unknown", cause
            if part.search is not None:
                part.orders = part.search.partial_orders


def _orders_by_search(model: Model, operations: list[Operation]) -> list[list[int]]:
    search = open_search(model, operations, partials=True)
    search.run(ORDERS_AFTER_GATE_STEPS)
    return search.partial_orders()


# --- from a verdict to what is shown --------------------------------------------------------------


def _result_of(part: _Part) -> PartResult:
    indices = part.indices
    orders = part.orders

    def mapped() -> list[list[int]]:
        assert orders is not None
        return [[indices[place] for place in order] for order in orders()]

    def placed() -> Witness:
        assert part.witness is not None
        witness = part.witness() if callable(part.witness) else part.witness
        text = witness.text if part.key is None else f"in part {part.key!r}: {witness.text}"
        return replace(
            witness,
            text=text,
            part=part.key,
            operations=tuple(indices[place] for place in witness.operations),
            support=tuple(indices[place] for place in witness.support),
            stuck_at=None if witness.stuck_at is None else indices[witness.stuck_at],
            partials=tuple(tuple(indices[place] for place in order) for order in witness.partials),
        )

    return PartResult(
        part.key,
        part.verdict or "unknown",
        part.engine,
        len(part.operations),
        0 if part.search is None else part.search.steps,
        part.seconds,
        part.cause,
        None if part.witness is None else placed,
        None if orders is None else mapped,
    )


def _search_witness(part: _Part, model: Model) -> Witness:
    """Say which return cannot be explained, and what speaks against each way there."""
    search = part.search
    assert search is not None
    stuck = search.stuck_at()
    operations = part.operations

    def line(index: int) -> str:
        operation = operations[index]
        text = model.operation_text(operation.input, search.outputs[index])
        back = "..." if operation.outcome == "info" else operation.return_time
        return f"client {operation.client_id}: {text} in [{operation.call}, {back}]"

    lines = [
        "No order explains the history up to this return, though one explains all before it:"
        if search.exact
        else "No order explains the history up to this return:",
        f"  {line(stuck)}",
    ]
    partials: list[tuple[int, ...]] = []
    shown: dict[int, None] = {stuck: None}
    described: set[int] = set()
    finals: Any = search.finals  # of the engine's own type
    for final in finals:
        order = search.unwound(final)
        partials.append(tuple(order))
        if final.state in described:
            continue
        described.add(final.state)
        state = model.state_text(search.state_of(final))
        last = f"after {line(order[-1])}" if order else "at the very beginning"
        lines.append(f"one way there leads to the state {state}, {last}; what was still open then:")
        refusals = search.refusals(final)
        for index, why in refusals[:WITNESS_PENDING_MAX]:
            shown.setdefault(index)
            lines.append(f"  {line(index)}: {why}")
        if len(refusals) > WITNESS_PENDING_MAX:
            lines.append(f"  and {len(refusals) - WITNESS_PENDING_MAX} more")
    return Witness(
        "\n".join(lines),
        tuple(shown),
        closed=False,
        part=part.key,
        stuck_at=stuck,
        partials=tuple(sorted(partials, key=len, reverse=True)),
    )
