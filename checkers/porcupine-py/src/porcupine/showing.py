"""From a part's verdict to what is shown of it: a result, a witness in words, orders for a picture.

Whatever costs time beyond the verdict is worked out when it is first asked for, within an allowance of its own
(porcupine.limits): what was left of the check's timeout, or a little.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import Any, Final

from porcupine.impasse import find_impasse
from porcupine.limits import Allowance, TimeIsUp
from porcupine.model import Model
from porcupine.parts import Part
from porcupine.result import PartResult, Witness

WITNESS_PENDING_MAX: Final = 12


def result_of(part: Part) -> PartResult:
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


def search_witness(part: Part, model: Model, seconds: float, memory_bytes: int | None) -> Witness:
    """Say which return cannot be explained, and what speaks against each way there, as far as time allows."""
    search = part.search
    assert search is not None
    search.allow(seconds, memory_bytes)
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
        try:
            state = model.state_text(search.state_of(final))
            refusals, more = search.refusals(final, WITNESS_PENDING_MAX)
        except TimeIsUp:
            lines.append("what speaks against each way there would take longer than there is time")
            break
        last = f"after {line(order[-1])}" if order else "at the very beginning"
        lines.append(f"one way there leads to the state {state}, {last}; what was still open then:")
        for index, why in refusals:
            shown.setdefault(index)
            lines.append(f"  {line(index)}: {why}")
        if more:
            lines.append(f"  and {more} more")
    return Witness(
        "\n".join(lines),
        tuple(shown),
        closed=False,
        part=part.key,
        stuck_at=stuck,
        partials=tuple(sorted(partials, key=len, reverse=True)),
    )


def worked_out(
    part: Part, model: Model, allowance: Allowance, memory_bytes: int | None
) -> tuple[Witness | None, list[list[int]]]:
    """A part's witness and orders, for a picture."""
    if part.verdict != "illegal":
        return None, [] if part.orders is None else part.orders()
    left = allowance.left()
    if part.search is not None and callable(part.witness):
        part.witness = search_witness(part, model, left, memory_bytes)
    witness = part.witness() if callable(part.witness) else part.witness
    if witness is not None and witness.stuck_at is None:
        return find_impasse(model, part.operations, witness, monotonic() + left)
    return witness, [] if part.orders is None else part.orders()
