"""The end of a legal history: which event nothing explains, and what speaks against each way to it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from porcupine.history import Operation
from porcupine.model import Model
from porcupine.online.window import Live, Window
from porcupine.result import Witness
from porcupine.states import REFUSED, refusal_text

STATES_SHOWN: Final = 10
OPEN_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Violation:
    """Where a history became illegal.

    `event` is the number of the first event that cannot be explained, so the first `event + 1` events are the minimal
    illegal prefix; `operation` is the id of the operation that it completes. `part` is the key. `operations` are those
    of that part that were open or had returned since the last moment of which everything is known, by their ids; what
    came before them is in `states`, those the object may have been in then. Times are numbers of events.
    `witness` says in words which return cannot be explained, which may be an earlier one: only its event told what an
    operation did that was open then.
    """

    event: int
    operation: int
    part: Hashable
    operations: dict[int, Operation]
    states: tuple[object, ...]
    witness: Witness


def violation_of(window: Window, model: Model, event: int, operation: int) -> Violation:
    """To be called when a part has just become illegal."""
    stuck_at = window.stuck
    assert stuck_at is not None
    stuck = window.returned[stuck_at]
    members = sorted([*window.returned, *window.open.values()], key=lambda live: live.id)
    first = window.tables.states.known
    begin = dict.fromkeys(state for state, _, _ in window.frontiers[0])
    return Violation(
        event,
        operation,
        window.key,
        {live.id: live.operation for live in members},
        tuple(first[state] for state in begin),
        _witness(window, model, stuck_at, stuck, members),
    )


def _witness(
    window: Window, model: Model, stuck_at: int, stuck: Live, members: list[Live]
) -> Witness:
    tables = window.tables
    returned = {live.id for live in window.returned[:stuck_at]}
    # Completed ones that may have been linearized before this return; the others are told by kind.
    near = [
        live
        for live in members
        if live.kind >= 0 and live.begin <= window.first + stuck_at and live.id not in returned
    ]
    lines = [
        "No order explains the history up to this return, though one explains all before it:",
        f"  {_line(stuck, model)}",
    ]
    shown: dict[int, None] = {stuck.id: None}
    described: set[int] = set()

    def said(state: int, kind: int) -> str:
        reached = tables.rows[state].get(kind)
        if reached is None:
            reached = tables.ask(state, kind)
        after = "" if reached == REFUSED else model.state_text(tables.states.known[reached])
        return refusal_text(reached, state, after)

    for state, mask, used in window.frontiers[stuck_at]:
        if state in described:
            continue
        if len(described) == STATES_SHOWN:
            lines.append("and there are other ways")
            break
        described.add(state)
        lines.append(
            f"one way there leads to the state {model.state_text(tables.states.known[state])}; "
            "what was still open then:"
        )
        left = [live for live in near if not mask & live.bit]
        for live in left[:OPEN_SHOWN]:
            shown.setdefault(live.id)
            lines.append(f"  {_line(live, model)}: {said(state, live.kind)}")
        unknown = tables.lanes.counted(window.places[stuck_at].room - used)
        for kind, count in unknown[:OPEN_SHOWN]:
            text = model.operation_text(*tables.meaning(kind))
            lines.append(f"  {count} times {text}: {said(state, kind)}")
        more = max(len(left) - OPEN_SHOWN, 0) + max(len(unknown) - OPEN_SHOWN, 0)
        if more:
            lines.append(f"  and {more} more")
    text = "\n".join(lines)
    if window.key is not None:
        text = f"in part {window.key!r}: {text}"
    return Witness(text, tuple(shown), part=window.key, stuck_at=stuck.id)


def _line(live: Live, model: Model) -> str:
    operation = live.operation
    text = model.operation_text(operation.input, operation.output)
    return f"client {operation.client_id}: {text} in [{operation.call}, {operation.return_time}]"
