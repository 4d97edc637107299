"""Histories of whole numbers as columns: a million operations, judged without a million objects.

A column is anything with a buffer of the right items: array.array, a memoryview, a numpy array. The gates look at
the columns themselves, in the compiled core. Of an illegal history only the few rows become operations that the
core names as a contradiction; what it cannot decide becomes a list of operations, and is judged as one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Literal

from porcupine.checker import check
from porcupine.engine import compiled
from porcupine.errors import HistoryError
from porcupine.history import EMPTY, UNKNOWN, Operation
from porcupine.limits import DEFAULT_MEMORY, MemoryLimit
from porcupine.model import Model
from porcupine.models import cas_register, priority_queue, queue, set_of_values, stack
from porcupine.result import PartResult, Progress, Result, Witness
from porcupine.zones import ENGINE

READ: Final = 0
WRITE: Final = 1
CAS: Final = 2
PUT: Final = 0
TAKE: Final = 1
PEEK: Final = 2
ADD: Final = 0
REMOVE: Final = 1
PRESENT: Final = 2
ABSENT: Final = 3
NEVER: Final = 2**63 - 1
"""The return time of an operation of unknown outcome."""
NOTHING: Final = -(2**63)
"""In place of the value where a collection was found empty."""


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


@dataclass(frozen=True, slots=True)
class CollectionColumns:
    """The history of one queue, stack, priority queue (the smallest first) or set, a row for each operation.

    `kinds` has unsigned bytes. In a set they are ADD and REMOVE, which both changed it, and PRESENT and ABSENT, of a
    "contains"; elsewhere PUT, TAKE and PEEK. The others have signed numbers of 64 bits: times of call and return,
    and the value, which is NOTHING where none was found. An operation that failed has no row.
    """

    collection: Literal["queue", "stack", "priority_queue", "set"]
    kinds: Any
    calls: Any
    returns: Any
    values: Any
    clients: Sequence[Hashable] | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def model(self) -> Model:
        """Raises HistoryError where there is no such collection."""
        if self.collection not in COLLECTIONS:
            raise HistoryError(
                f"no collection {self.collection!r} has columns; there are {', '.join(COLLECTIONS)}"
            )
        return COLLECTIONS[self.collection][0]()

    def operations(self, rows: Iterable[int] | None = None) -> list[Operation]:
        """The same history for the collection's model, or only some of its rows."""
        columns = (self.kinds, self.calls, self.returns, self.values)
        if len({len(column) for column in columns}) > 1:
            raise HistoryError("the columns are not of one length; each row needs all of them")
        self.model()
        names = COLLECTIONS[self.collection][1]
        found: list[Operation] = []
        for row in range(len(self)) if rows is None else rows:
            kind, call, back, value = (int(column[row]) for column in columns)
            if kind >= len(names):
                raise HistoryError(
                    f"row {row} is of kind {kind}; of a {self.collection} kinds are 0 to {len(names) - 1}"
                )
            name = names[kind]
            given: tuple[Any, ...] = (name, value)
            output: Any = None
            if self.collection == "set":
                output = kind != ABSENT
            elif kind != PUT:
                given, output = (name,), EMPTY if value == NOTHING else value
            if value == NOTHING and output is not EMPTY and back != NEVER:
                raise HistoryError(
                    f"row {row} has NOTHING for a value; only who takes or looks finds that"
                )
            client: Hashable = row if self.clients is None else self.clients[row]
            if back == NEVER:
                found.append(Operation(client, given, call, UNKNOWN, None, "info"))
            else:
                found.append(Operation(client, given, call, output, back))
        return found


COLLECTIONS: Final[dict[str, tuple[Callable[[], Model], tuple[str, ...]]]] = {
    "queue": (queue, ("enqueue", "dequeue", "peek")),
    "stack": (stack, ("push", "pop", "peek")),
    "priority_queue": (priority_queue, ("push", "pop", "peek")),
    "set": (set_of_values, ("add", "remove", "contains", "contains")),
}
"""By name: the model, and the names of its operations by kind."""


def check_columns(
    columns: RegisterColumns | CollectionColumns,
    *,
    initial: int = 0,
    timeout_s: float | None = None,
    memory_bytes: MemoryLimit = DEFAULT_MEMORY,
    step_limit: int | None = None,
) -> Result:
    """As porcupine.check, for one collection, or one compare-and-set register that holds `initial` at first."""
    started = monotonic()
    rows: Sequence[int] = []
    if isinstance(columns, RegisterColumns):
        model, engine = cas_register(initial), ENGINE
        told = _zones(columns, initial)
    else:
        model = columns.model()
        kind = model.name
        engine = f"{kind} gate"
        told, rows = _gate(columns, kind, timeout_s)
    if told or rows:
        part = PartResult(None, "ok", engine, len(columns), 0, 0.0)
        if told:
            part._orders = lambda: check(columns.operations(), model).linearization
        elif (witness := _witness(columns, model, rows)) is not None:
            part.verdict, part._witness = "illegal", witness
        if told or part.verdict == "illegal":
            part.seconds = monotonic() - started
            progress = Progress(1, 1, len(columns) if told else 0)
            return Result(part.verdict, None, progress, (part,), 0, part.seconds)
    left = timeout_s and max(timeout_s - (monotonic() - started), LEAST_SECONDS)
    return check(
        columns.operations(),
        model,
        timeout_s=left,
        memory_bytes=memory_bytes,
        step_limit=step_limit,
    )


LEAST_SECONDS: Final = 1e-9
"""What is left of a timeout that is over; 0 would mean none."""


def _zones(columns: RegisterColumns, initial: int) -> bool:
    if compiled is None:
        return False
    try:
        accepted: bool = compiled.zones_columns(
            columns.kinds, columns.calls, columns.returns, columns.values, columns.news, initial
        )
    except (BufferError, TypeError, OverflowError):
        return False  # Not columns of these items: as a list they may still be a history.
    return accepted


def _gate(
    columns: CollectionColumns, kind: str, timeout_s: float | None
) -> tuple[bool, Sequence[int]]:
    """Whether the gate finds the columns legal; if not, rows that it finds illegal by themselves, if any."""
    if compiled is None:
        return False, []
    try:
        told, rows = compiled.gate_columns(
            kind,
            columns.kinds,
            columns.calls,
            columns.returns,
            columns.values,
            timeout_s or None,
        )
    except (BufferError, TypeError, OverflowError):
        return False, []
    return told is True, rows


def _witness(
    columns: RegisterColumns | CollectionColumns, model: Model, rows: Sequence[int]
) -> Witness | None:
    """The witness of a few rows that are illegal by themselves, as one of the whole."""
    assert isinstance(columns, CollectionColumns)
    found = check(columns.operations(rows), model, prefer="gate").witness
    return found and found.moved(rows)
