"""Registers of whole numbers as columns: a million operations, judged without a million objects.

A column is anything with a buffer of the right items: array.array, a memoryview, a numpy array. The zones
look at the columns themselves, in the compiled core; whatever they do not accept at once becomes a list of
operations, and is judged as one.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from porcupine.checker import check
from porcupine.engine import compiled
from porcupine.errors import HistoryError
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import DEFAULT_MEMORY, MemoryLimit
from porcupine.models import cas_register
from porcupine.result import PartResult, Progress, Result
from porcupine.zones import ENGINE

READ: Final = 0
WRITE: Final = 1
CAS: Final = 2
NEVER: Final = 2**63 - 1
"""The return time of an operation of unknown outcome."""


@dataclass(frozen=True, slots=True)
class RegisterColumns:
    """One compare-and-set register's history, a row for each operation.

    `kinds` has unsigned bytes (READ, WRITE or CAS, the latter successful or of unknown outcome), the others
    signed numbers of 64 bits: times of call and return, the value read, written or expected, and in `news`
    the value a compare-and-set puts in its place (not looked at for others). An operation that failed has no row.
    """

    kinds: Any
    calls: Any
    returns: Any
    values: Any
    news: Any
    clients: Sequence[Hashable] | None = None

    @staticmethod
    def of(rows: Sequence[tuple[int, int, int, int, int]]) -> RegisterColumns:
        """From rows of (kind, call, return, value, new)."""
        kinds, calls, returns, values, news = zip(*rows, strict=True) if rows else ((),) * 5
        columns = (array("q", column) for column in (calls, returns, values, news))
        return RegisterColumns(array("B", kinds), *columns)

    def __len__(self) -> int:
        return len(self.kinds)

    def operations(self) -> list[Operation]:
        """The same history, for porcupine.models.cas_register()."""
        clients: Sequence[Hashable] = range(len(self)) if self.clients is None else self.clients
        columns = (clients, self.kinds, self.calls, self.returns, self.values, self.news)
        found: list[Operation] = []
        try:
            for client, kind, call, back, value, new in zip(*columns, strict=True):
                given: tuple[Any, ...]
                output: Any = None
                if kind == READ:
                    given, output = ("read",), int(value)
                elif kind == WRITE:
                    given = ("write", int(value))
                elif kind == CAS:
                    given, output = ("cas", int(value), int(new)), True
                else:
                    raise HistoryError(f"row {len(found)} is of kind {kind}; kinds are 0, 1 and 2")
                if back == NEVER:
                    found.append(Operation(client, given, int(call), UNKNOWN, None, "info"))
                else:
                    found.append(Operation(client, given, int(call), output, int(back)))
        except ValueError as error:
            if isinstance(error, HistoryError):
                raise
            raise HistoryError(
                "the columns are not of one length; each row needs all of them"
            ) from error
        return found


def check_columns(
    columns: RegisterColumns,
    *,
    initial: int = 0,
    timeout_s: float | None = None,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
    step_limit: int | None = None,
) -> Result:
    """As porcupine.check, for one compare-and-set register that holds `initial` at first."""
    started = monotonic()
    if compiled is not None:
        try:
            accepted = compiled.zones_columns(
                columns.kinds,
                columns.calls,
                columns.returns,
                columns.values,
                columns.news,
                initial,
            )
        except (BufferError, TypeError, OverflowError):
            accepted = False  # Not columns of these items: as a list they may still be a history.
        if accepted:
            count = len(columns)
            seconds = monotonic() - started

            def orders() -> list[list[int]]:
                return check(columns.operations(), cas_register(initial)).linearization

            part = PartResult(None, "ok", ENGINE, count, 0, seconds, _orders=orders)
            return Result("ok", None, Progress(1, 1, count), (part,), 0, seconds)
    return check(
        columns.operations(),
        cas_register(initial),
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        step_limit=step_limit,
    )
