"""Histories that the compiled core decides at once, from a list of operations to a verdict in one call.

It is asked first, for a ready model as models.py made it. Where it does not decide, because something is out of
the ordinary or takes long, the ordinary way is gone from the beginning; so nothing depends on it but time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from porcupine.engine import compiled
from porcupine.history import Event, Operation
from porcupine.limits import Limits, witness_seconds
from porcupine.model import Model
from porcupine.result import PartResult, Progress, Result, Verdict

Parts = Callable[[list[Operation], Limits], tuple[PartResult, ...]]


def judged_at_once(
    history: Sequence[Operation] | Sequence[Event],
    model: Model,
    deadline: float | None,
    memory_bytes: int | None,
    asks_gate: bool,
    parts: Parts,
) -> Result | None:
    """The verdict, or None where the ordinary way has to be gone. `deadline` is a time.monotonic() value.

    What more a result shows is for `parts` to work out, when somebody asks; it finds the same again.
    """
    if compiled is None or type(history) is not list or model.sees_failures:
        return None
    twin = model.twin()
    if twin is None or model.partition is not twin.partition:
        return None
    if asks_gate and model.gate is not twin.gate:
        return None
    started = monotonic()
    found = compiled.judged_at_once(
        history,
        twin,
        twin.partition is not None,
        asks_gate and twin.gate is not None,
        None if deadline is None else deadline - started,
        None if memory_bytes is None else min(max(memory_bytes, 0), 2**62),
    )
    if found is None:
        return None
    legal, steps, most, decided, count = found
    ended = monotonic()
    snapshot = history[:]

    def work_out() -> tuple[PartResult, ...]:
        # What decided it takes no longer a second time: its limits need not be asked again.
        seconds = witness_seconds(deadline, ended)
        return parts(snapshot, Limits(memory_bytes=memory_bytes, witness_s=seconds))

    verdict: Verdict = "ok" if legal else "illegal"
    return Result(verdict, None, Progress(decided, count, most), work_out, steps, ended - started)
