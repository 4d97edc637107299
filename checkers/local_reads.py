"""Local reads: who answers one asks nobody, so that it may be stale by design. The search leaves them aside.

What each judge still asks of them is whether they saw anything that was not there by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from checkers.records.fitness import Operation
from checkers.records.schema import HistoryEvent

LOCAL: Final = "local"
"""The mode of such a read."""


def is_local(operation: Operation) -> bool:
    return operation.invoke.mode == LOCAL


def answered(aside: Iterable[Operation]) -> Iterator[tuple[Operation, HistoryEvent]]:
    """Those that saw something or nothing, with the event that says so."""
    for look in aside:
        if look.outcome == "ok" and look.completion is not None:
            yield look, look.completion


def words(look: Operation) -> str:
    """ "a local read of k1 at n2" """
    invoke = look.invoke
    return f"a local read of {invoke.key}" + (f" at {invoke.node}" if invoke.node else "")
