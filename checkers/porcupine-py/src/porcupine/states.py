"""Small numbers for a model's states, equal for equal states; and what states and tables of them weigh.

Searches remember states by number. Bytes are estimates for CPython 3.11 on 64 bits (benchmarks/limits.py compares
them with what a process grows by).
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Final

from porcupine.errors import ModelError
from porcupine.model import Model

REFUSED: Final = -1
"""Stands for the state after a step that the model does not allow."""
STATE_BYTES: Final = 44
TABLE_MIN_BYTES: Final = 1 << 16
WEIGHED_MAX: Final = 256
STATES_PER_LOOK: Final = 64


def refusal_text(reached: int, state: int, after: str) -> str:
    """What the model says to an operation that leads from `state` to `reached`, described by `after`."""
    if reached == REFUSED:
        return "not possible here"
    if reached == state:
        return "possible, but changes nothing"
    return f"possible, leads to {after}, from where it is no better"


ATOMS: Final = frozenset({int, str, bytes, float, bool, type(None)})
"""What a state does not own: its values are mostly those of the history."""


def weight_bytes(state: Any) -> int:
    """An estimate of what a state takes: itself, and the collections in it; of very many the first stand for all."""
    total = getsizeof(state, 64)
    todo = [state]
    weighed = inner = 0
    while todo:
        members = todo.pop()
        kind = type(members)
        if kind is dict:
            members = [*members.keys(), *members.values()]
        elif kind not in (tuple, list, frozenset, set):
            continue
        for place, member in enumerate(members):
            if type(member) not in ATOMS:
                inner += getsizeof(member, 64)
                todo.append(member)
                weighed += 1
                if weighed == WEIGHED_MAX:
                    return total + inner + inner * (len(members) - place) // WEIGHED_MAX
    return total + inner


def growth_bytes(table: dict[Any, Any]) -> int:
    """What a dictionary will take besides, while it stands twice in memory, if it is about to grow."""
    size = getsizeof(table)
    if size < TABLE_MIN_BYTES:
        return 0
    # It grows when two thirds of its slots, a power of two of them, are used.
    count = len(table)
    slots = 1 << (count * 3 // 2).bit_length()
    return 2 * size if count > slots * 7 // 12 else 0


class States:
    """Small numbers for states, equal for equal states."""

    def __init__(self, model: Model) -> None:
        self._equal = model.equal
        self._digest = model.hash
        self._hashable: dict[Any, int] = {}
        self._buckets: dict[int, list[int]] = {}
        self._plain = model.equal is None and model.hash is None
        self.known: list[Any] = []
        self.bytes = 0  # what all of it takes, and soon will
        self._table_bytes = 0

    def number(self, state: Any) -> int:
        if self._plain:
            try:
                found = self._hashable.setdefault(state, len(self.known))
            except TypeError:
                self._plain = False
                self._move_to_buckets()
            else:
                if found == len(self.known):
                    self._add(state)
                return found
        bucket = self._buckets.setdefault(self._hash(state), [])
        equal = self._equal
        for number in bucket:
            other = self.known[number]
            if (state == other) if equal is None else equal(state, other):
                return number
        bucket.append(len(self.known))
        self._add(state)
        return len(self.known) - 1

    def clear(self) -> None:
        """Let go of all of them."""
        self._hashable.clear()
        self._buckets.clear()
        self.known.clear()
        self.bytes = self._table_bytes = 0

    def _hash(self, state: Any) -> int:
        if self._digest is not None:
            digest = self._digest(state)
            if not isinstance(digest, int):
                raise ModelError(f"the model's hash gave {digest!r} for a state; it must be an int")
            return digest
        if self._equal is not None:
            return 0  # Equal states may have unequal hashes of their own.
        try:
            return hash(state)
        except TypeError:
            return 0

    def _move_to_buckets(self) -> None:
        for number, state in enumerate(self.known):
            self._buckets.setdefault(self._hash(state), []).append(number)
        self._hashable.clear()

    def _add(self, state: Any) -> None:
        self.known.append(state)
        self.bytes += STATE_BYTES + weight_bytes(state)
        if len(self.known) % STATES_PER_LOOK == 0:
            tables = 0
            for table in (self._hashable, self._buckets):
                tables += getsizeof(table) + growth_bytes(table)
            self.bytes += tables - self._table_bytes
            self._table_bytes = tables
