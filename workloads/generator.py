"""Generators: where a client's operations come from. Pure data in and out; no I/O, no clock, no randomness of their own.

`next(context)` gives an operation, PENDING (ask again soon) or DONE; `update(completion)` tells what became of one. A generator
makes the same number of draws for each operation, so that op i of a client depends on its stream at position i alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec


class Context(msgspec.Struct, frozen=True, gc=False):
    """Who asks: the client, and the process that it currently is."""

    client: int
    process: int


class Op(msgspec.Struct, frozen=True, gc=False):
    """One operation: its name, key, argument, and for reads the mode."""

    f: str
    key: str | None
    value: Any = None
    mode: str | None = None


class Completion(msgspec.Struct, frozen=True, gc=False):
    """What became of `op`: ok with its value, fail, or info."""

    client: int
    process: int
    op: Op
    kind: Literal["ok", "fail", "info"]
    value: Any = None


class Signal(msgspec.Struct, frozen=True):
    """PENDING or DONE."""

    name: str


PENDING: Final = Signal("pending")
DONE: Final = Signal("done")

Next = Op | Signal


class Generator(Protocol):
    """One client's operations."""

    def next(self, context: Context) -> Next: ...

    def update(self, completion: Completion) -> None: ...


class Limit:
    """At most `count` operations of another generator."""

    def __init__(self, count: int, inner: Generator) -> None:
        self._left = count
        self._inner = inner

    def next(self, context: Context) -> Next:
        if self._left <= 0:
            return DONE
        found = self._inner.next(context)
        if isinstance(found, Op):
            self._left -= 1
        return found

    def update(self, completion: Completion) -> None:
        self._inner.update(completion)


class Sequence:
    """The given operations, one after the other."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self._ops = iter(ops)

    def next(self, context: Context) -> Next:
        return next(self._ops, DONE)

    def update(self, completion: Completion) -> None:
        """Nothing here depends on outcomes."""


class Weights:
    """Draws names by weight with one draw each."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._names = [name for name, weight in weights.items() for _ in range(weight)]

    def pick(self, draw: float) -> str:
        """The name at `draw` in [0, 1)."""
        return self._names[int(draw * len(self._names))]
