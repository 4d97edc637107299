"""Histories that the compiled core decides at once, from a list of operations to a verdict in one call.

It is asked first, for a ready model as models.py made it. Where it does not decide, because something is out of
the ordinary or takes long, the ordinary way is gone from the beginning; so nothing depends on it but time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from porcupine.engine import compiled
from porcupine.history import Event, Operation
from porcupine.limits import Limits, witness_seconds
from porcupine.model import LocalGate, Model
from porcupine.result import PartResult, Progress, Result

_made = tuple.__new__
Parts = Callable[[list[Operation], Model, Limits, bool], tuple[PartResult, ...]]
MOST_BYTES: Final = 2**62  # what the core takes as a number of bytes

# The last model asked about in each of two ways (with its gate, without), the core's own question for it, and whether
# its parts are told as one.
_asked: dict[bool, tuple[Model | None, Any, bool]] = {
    True: (None, None, False),
    False: (None, None, False),
}


def _question(model: Model, asks_gate: bool) -> Any:
    """What the core is asked of this model's histories; None where it is no ready model as it was made."""
    if model.sees_failures:
        return None
    if isinstance(model.gate, LocalGate):
        return _question(model.gate.model, True) if asks_gate and model.partition is None else None
    twin = model.twin()
    if twin is None or model.partition is not twin.partition:
        return None
    if asks_gate and model.gate is not twin.gate:
        return None
    gated = asks_gate and twin.gate is not None
    return compiled.AtOnce(twin, twin.partition is not None, gated)


def judged_at_once(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    timeout_s: float | None,
    memory_bytes: int | None,
    asks_gate: bool,
    parts: Parts,
) -> Result | None:
    """The verdict, or None where the ordinary way has to be gone. 0 and None as `timeout_s` mean no limit.

    What more a result shows is for `parts` to work out, when somebody asks; it finds the same again. A small history
    takes the core less than 5 us, so that here every call counts.
    """
    if compiled is None or type(history) is not list:
        return None
    known, question, as_one = _asked[asks_gate]
    if known is not model:
        question, as_one = _question(model, asks_gate), isinstance(model.gate, LocalGate)
        _asked[asks_gate] = (model, question, as_one)
    if question is None:
        return None
    if memory_bytes is not None and not 0 <= memory_bytes <= MOST_BYTES:
        memory_bytes = min(max(memory_bytes, 0), MOST_BYTES)
    found = question.judge(history, timeout_s or None, memory_bytes)
    if found is None:
        return None
    legal, steps, numbers, snapshot, seconds = found
    if as_one:  # one part, which its gate decided
        steps, numbers = 0, (1, 1, len(snapshot) if legal else 0)
    work_out = partial(
        _worked_out, parts, snapshot, model, timeout_s, seconds, memory_bytes, asks_gate
    )
    # As Progress._make, in half the time.
    progress = _made(Progress, numbers)
    return Result("ok" if legal else "illegal", None, progress, work_out, steps, seconds)


def _worked_out(
    parts: Parts,
    snapshot: tuple[Operation, ...],
    model: Model,
    timeout_s: float | None,
    seconds: float,
    memory_bytes: int | None,
    asks_gate: bool,
) -> tuple[PartResult, ...]:
    # What decided it takes no longer a second time: its limits need not be asked again.
    allowed = witness_seconds(timeout_s or None, seconds)
    limits = Limits(memory_bytes=memory_bytes, witness_s=allowed)
    return parts(list(snapshot), model, limits, asks_gate)
