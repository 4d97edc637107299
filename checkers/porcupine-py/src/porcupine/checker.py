"""The question itself: is this history linearizable?

A history is cut into parts that may be judged alone. Each part goes to the model's gate, and where that does
not apply to the search. The searches of the parts take turns, with budgets that double, so that one part that
is quickly refuted ends the check however hard the others are. One illegal part makes the history illegal, and
outweighs a part that was not decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from math import isnan
from time import monotonic
from typing import Final, Literal

from porcupine.errors import HistoryError, Undecided
from porcupine.history import Event, Operation
from porcupine.limits import (
    DEFAULT_MEMORY,
    Allowance,
    Limits,
    MemoryLimit,
    TimeIsUp,
    deadline_of,
    memory_limit_bytes,
)
from porcupine.linearization import LinearizationInfo
from porcupine.model import Model
from porcupine.native import NativeSearch, open_search
from porcupine.once import judged_at_once
from porcupine.parts import Part, parts_of
from porcupine.result import Cause, PartResult, Progress, Result, Verdict
from porcupine.showing import result_of, search_witness, worked_out
from porcupine.wgl import Search

Prefer = Literal["auto", "gate", "search"]
FIRST_BUDGET_STEPS: Final = 2_000
# Orders are only worked out for a gate's illegal part when someone asks, and then not for ever.
ORDERS_AFTER_GATE_STEPS: Final = 100_000


_NO_NUMBER: Final = "timeout_s is not a number; give seconds, or None for no limit"


class CheckResult(StrEnum):
    """Porcupine's three answers."""

    OK = "Ok"
    ILLEGAL = "Illegal"
    UNKNOWN = "Unknown"


def check(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    *,
    timeout_s: float | None = None,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
    step_limit: int | None = None,
    prefer: Prefer = "auto",
) -> Result:
    """Judge a history of operations, or of events, against a model.

    timeout_s: wall-clock seconds; 0 and None mean no limit. It is kept to within a tenth or 50 ms, but that one
    call of the model's own functions cannot be interrupted. memory_bytes: what the searches may remember, by an
    estimate that the process' growth stays close to; the history itself is not counted. Unless told, it is 2 GiB
    or a quarter of the memory there is, whichever is less; None means no limit. step_limit: about how many
    transitions the searches may try, all parts together. A limit that is met makes the verdict "unknown" unless
    an illegal part was found before. prefer: "gate" never searches (cause "not applicable"), "search" never asks
    the gate.
    What a result shows beyond its verdict is worked out when it is asked for: a witness within what was left of
    the timeout or 50 ms, whichever is more, or 10 s if there was no timeout.
    Raises HistoryError and ModelError for questions without a sense, and whatever the model raises.
    """
    started, most_bytes = monotonic(), memory_limit_bytes(memory_bytes)
    if timeout_s is not None and isnan(timeout_s):
        raise HistoryError(_NO_NUMBER)
    if step_limit is None and prefer in ("auto", "search"):
        gate = prefer == "auto"
        if found := judged_at_once(history, model, timeout_s, most_bytes, gate, _parts):
            return found
    limits = Limits(deadline_of(timeout_s, started), most_bytes, step_limit)
    return _check(history, model, limits, prefer)[0]


def check_verbose(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    *,
    timeout_s: float | None = None,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
    step_limit: int | None = None,
    prefer: Prefer = "auto",
) -> tuple[Result, LinearizationInfo]:
    """As check, with what a picture needs; so no part is left undecided when another proves illegal.

    Orders and witnesses are worked out when they are asked for: those of illegal parts within what was left of
    the timeout or 50 ms, whichever is more, or 10 s if there was no timeout; together, not each.
    """
    limits = _limits(timeout_s, memory_bytes, step_limit)
    limits.to_the_end = True
    result, parts = _check(history, model, limits, prefer)
    info = LinearizationInfo()
    allowance = Allowance(limits.witness_seconds())
    for part in parts:
        info.add_part(
            part.key,
            part.operations,
            part.verdict or "unknown",
            part.cause,
            partial(worked_out, part, model, allowance, limits.memory_bytes),
        )
    return result, info


def check_operations(model: Model, history: Sequence[Operation]) -> bool:
    """Whether the history is linearizable, however long that takes to find out.

    Raises Undecided when it takes more than the memory `check` allows: neither answer would be true.
    """
    return _decided(check(history, model))


def check_operations_timeout(
    model: Model, history: Sequence[Operation], timeout_s: float | None
) -> CheckResult:
    """As check_operations, for at most `timeout_s` seconds; 0 and None mean no limit."""
    return _CHECK_RESULTS[check(history, model, timeout_s=timeout_s).verdict]


def check_operations_verbose(
    model: Model,
    history: Sequence[Operation],
    timeout_s: float | None,
    *,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
) -> tuple[CheckResult, LinearizationInfo]:
    """As check_operations_timeout, with orders for a picture; so no part is left when another is illegal.

    The orders are worked out when they are asked for.
    """
    return _verbose(model, history, timeout_s, memory_bytes)


def check_events(model: Model, history: Sequence[Event]) -> bool:
    """As check_operations, for a list of events; a call without a return may or may not have happened."""
    return _decided(check(history, model))


def check_events_timeout(
    model: Model, history: Sequence[Event], timeout_s: float | None
) -> CheckResult:
    """As check_operations_timeout, for a list of events."""
    return _CHECK_RESULTS[check(history, model, timeout_s=timeout_s).verdict]


def check_events_verbose(
    model: Model,
    history: Sequence[Event],
    timeout_s: float | None,
    *,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
) -> tuple[CheckResult, LinearizationInfo]:
    """As check_operations_verbose, for a list of events."""
    return _verbose(model, history, timeout_s, memory_bytes)


_CHECK_RESULTS: Final[Mapping[Verdict, CheckResult]] = {
    "ok": CheckResult.OK,
    "illegal": CheckResult.ILLEGAL,
    "unknown": CheckResult.UNKNOWN,
}


def _limits(timeout_s: float | None, memory_bytes: MemoryLimit, step_limit: int | None) -> Limits:
    if timeout_s is not None and isnan(timeout_s):
        raise HistoryError(_NO_NUMBER)
    return Limits(deadline_of(timeout_s), memory_limit_bytes(memory_bytes), step_limit)


def _decided(result: Result) -> bool:
    if result.verdict == "unknown":
        raise Undecided(
            f"asked for yes or no, but the check ran out of {result.cause}: {result.progress}; ask `check`, which can "
            "say so, and takes limits (memory_bytes=None for none)"
        )
    return result.verdict == "ok"


def _verbose(
    model: Model,
    history: Sequence[Operation] | Sequence[Event],
    timeout_s: float | None,
    memory_bytes: MemoryLimit,
) -> tuple[CheckResult, LinearizationInfo]:
    result, info = check_verbose(history, model, timeout_s=timeout_s, memory_bytes=memory_bytes)
    return _CHECK_RESULTS[result.verdict], info


# --- the way to a verdict -------------------------------------------------------------------------


def _check(
    history: Sequence[Operation] | Sequence[Event], model: Model, limits: Limits, prefer: Prefer
) -> tuple[Result, list[Part]]:
    started = monotonic()
    if prefer not in ("auto", "gate", "search"):
        raise HistoryError(f'prefer is {prefer!r}; it must be "auto", "gate" or "search"')
    try:
        parts = parts_of(history, model, limits.deadline)
        if _ask_gates(parts, model, limits, prefer):
            _run_searches(parts, model, limits)
    except TimeIsUp:  # even to look at all operations took too long
        parts = [Part(None, [], [], "unknown", "none", "timeout")]
    illegal = [part for part in parts if part.verdict == "illegal"]
    verdict: Verdict = "ok"
    cause: Cause | None = None
    if illegal:
        verdict = "illegal"
    elif any(part.verdict != "ok" for part in parts):
        verdict = "unknown"
        cause = next(part.cause for part in parts if part.cause is not None)
    results = tuple(map(result_of, parts))
    most = max((0 if p.search is None else p.search.most for p in parts), default=0)
    most = max([most, *(len(p.operations) for p in parts if p.verdict == "ok")])
    progress = Progress(sum(part.verdict in ("ok", "illegal") for part in parts), len(parts), most)
    seconds = monotonic() - started
    return Result(verdict, cause, progress, results, limits.steps, seconds), parts


def _parts(
    operations: list[Operation], model: Model, limits: Limits, asks_gate: bool
) -> tuple[PartResult, ...]:
    return _check(operations, model, limits, "auto" if asks_gate else "search")[0].parts


def _ask_gates(parts: list[Part], model: Model, limits: Limits, prefer: Prefer) -> bool:
    """Let the gate decide what it can. False when nothing is left to be decided."""
    for part in parts:
        if model.gate is None or prefer == "search":
            break
        if limits.out_of_time():
            part.verdict, part.cause, part.engine = "unknown", "timeout", "none"
            continue
        if model.sees_failures and any(each.outcome == "fail" for each in part.operations):
            continue  # Gates leave failed operations out.
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
            part.orders = partial(
                _orders_by_search, model, part.operations, limits.witness_seconds()
            )
            if not limits.to_the_end:
                return False
    undecided = [part for part in parts if part.verdict is None]
    if prefer == "gate":
        for part in undecided:
            part.verdict, part.cause, part.engine = "unknown", "not applicable", "none"
        return False
    return bool(undecided)


def _run_searches(parts: list[Part], model: Model, limits: Limits) -> None:
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
                    memory_bytes=limits.memory_bytes,
                )
            search = part.search
            before = search.steps
            # One part alone needs no turns: only what stops it. But most are done with the first budget.
            alone = len(undecided) == 1 and budget > FIRST_BUDGET_STEPS
            steps = None if alone else budget
            if limits.step_limit is not None:
                left = max(limits.step_limit - limits.steps, 0)
                steps = left if steps is None else min(steps, left)
            verdict = search.run(steps, limits.left_for(search), limits.ceiling_bytes)
            limits.steps += search.steps - before
            part.seconds += monotonic() - started
            spent = limits.step_limit is not None and limits.steps >= limits.step_limit
            if verdict is None and spent:
                verdict, search.cause = "unknown", "step limit"
            if verdict is None:
                limits.held_bytes[id(search)] = search.held_bytes()
                continue
            part.verdict, part.cause = verdict, search.cause
            part.orders = search.partial_orders
            if verdict == "ok":
                part.orders = partial(_order_alone, search)
            elif verdict == "illegal":
                part.witness = partial(
                    search_witness, part, model, limits.witness_seconds(), limits.memory_bytes
                )
            # Decided, or grown too large: what it remembers makes room for the others.
            limits.held_bytes.pop(id(search), None)
            search.forget()
            done = verdict == "illegal" and not limits.to_the_end
            if done or (verdict == "unknown" and search.cause != "memory"):
                _leave(undecided, None if done else search.cause)
                return
        undecided = [part for part in undecided if part.verdict is None]
        if budget == FIRST_BUDGET_STEPS and undecided:
            limits.measure_process()
        budget *= 2


def _order_alone(search: Search | NativeSearch) -> list[list[int]]:
    return [search.order()]


def _leave(parts: list[Part], cause: Cause | None) -> None:
    """Give up what is not decided: with a cause it is unknown, without one it was left for an illegal part."""
    for part in parts:
        if part.verdict is None:
            if cause is not None:
                part.verdict, part.cause = "unknown", cause
            if part.search is not None:
                part.orders = part.search.partial_orders
                part.search.forget()


def _orders_by_search(model: Model, operations: list[Operation], seconds: float) -> list[list[int]]:
    search = open_search(model, operations, deadline=monotonic() + seconds, partials=True)
    search.run(ORDERS_AFTER_GATE_STEPS)
    return search.partial_orders()
