"""Driftline's histories of registers, judged from the bytes of their lines: no object is made unless something is wrong.

The compiled core reads the lines, and asks the zones of each key. What it does not accept is handed back, for the
ordinary way to judge; and where anything is out of the ordinary, the whole history is. So nothing depends on it but
time and memory.
"""

from __future__ import annotations

from typing import NamedTuple

from porcupine.engine import compiled


class Accepted(NamedTuple):
    """How much of a history has an order. All but `parts - accepted` parts are settled; `rest` has their lines."""

    operations: int
    aside: int
    """Reads of mode "local", which promise nothing: each saw a value whose write had been begun, or none."""
    parts: int
    largest: int
    """Operations of the largest part."""
    accepted: int
    rest: bytes


def accepted_registers(lines: bytes, timeout_s: float | None = None) -> Accepted | None:
    """What the zones accept of the whole lines after the header of a history.jsonl, of registers that hold null at first.

    None where nothing can be said: no compiled core, values that are no whole numbers, `timeout_s` that are over, or
    lines that cannot be such a history.
    """
    if compiled is None:
        return None
    found = compiled.recorded_registers(lines, timeout_s)
    return None if found is None else Accepted(*found)
