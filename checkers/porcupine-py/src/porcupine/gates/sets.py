"""Sets to which each element is added, and from which it is removed, at most once: decided in O(n log n).

Without reads of the whole set each element stands for itself. It is absent, then present from its add on, and
absent again from its remove on. With m the first return and M the last call of those that saw it come, be there
or go, it is surely present between the two, and whoever saw it absent needs an instant outside.

Reads of the whole set, where nothing is removed, must each hold those that saw less. An element's add stands
between the last read without it and the first with it: a forced order of groups, in which no operation may
return before one of an earlier group is called.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import Any

from porcupine.gates.deciding import Check, Contradiction, Order, decide, with_loose
from porcupine.gates.stays import NOBODY
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over
from porcupine.result import GateResult

WHOLE: tuple[type, ...] = (list, tuple, set, frozenset)


def check_set(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
    """Decide a set's history, or return None where an element is added or removed more than once.

    None as well where the whole set was read and anything but adds done.
    """
    return decide(Check("set", _judge), operations, deadline)


class _Elements:
    """One history's operations by element."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.calls: list[float] = [operation.call for operation in operations]
        self.rets: list[float] = [
            inf
            if operation.outcome == "info" or operation.return_time is None
            else operation.return_time
            for operation in operations
        ]
        self.slots: dict[Hashable, int] = {}
        self.add: list[int] = []
        self.remove: list[int] = []
        self.present: dict[int, list[int]] = {}
        self.absent: dict[int, list[int]] = {}
        self.reads: list[tuple[int, frozenset[Any]]] = []
        self.loose: list[int] = []

    def collect(self, deadline: float | None) -> bool:
        """False where the check does not apply."""
        for index, operation in enumerate(self.operations):
            if not index % OPERATIONS_PER_LOOK:
                must_not_be_over(deadline)
            outcome = operation.outcome
            if outcome == "fail":
                continue
            kind = operation.input[0]
            if kind not in ("add", "remove", "contains", "read"):
                return False
            output: Any = UNKNOWN if outcome == "info" else operation.output
            if kind == "read":
                if type(output) in WHOLE:
                    self.reads.append((index, frozenset(output)))
                elif output is not UNKNOWN:
                    return False
                elif outcome == "ok":
                    self.loose.append(index)
                continue
            slot = self.slots.setdefault(operation.input[1], len(self.add))
            if slot == len(self.add):
                self.add.append(NOBODY)
                self.remove.append(NOBODY)
            if kind == "contains":
                if type(output) is bool:
                    (self.present if output else self.absent).setdefault(slot, []).append(index)
                elif output is not UNKNOWN:
                    return False
                elif outcome == "ok":
                    self.loose.append(index)
            elif output is False:
                seen = self.present if kind == "add" else self.absent
                seen.setdefault(slot, []).append(index)
            else:
                doers = self.add if kind == "add" else self.remove
                if doers[slot] != NOBODY:
                    return False
                doers[slot] = index
        return not any(value != value for value in self.slots)


def _judge(operations: Sequence[Operation], deadline: float | None) -> Order | None:
    elements = _Elements(operations)
    try:
        if not elements.collect(deadline):
            return None
    except (TypeError, IndexError, KeyError):
        return None  # Unhashable, or not the inputs of a set: the model's step has its say.
    must_not_be_over(deadline)
    if not elements.reads:
        return _each_alone(elements, deadline)
    if elements.present or elements.absent or any(index != NOBODY for index in elements.remove):
        return None
    return _by_reads(elements)


# --- element by element ---------------------------------------------------------------------------


def _each_alone(elements: _Elements, deadline: float | None) -> Order:
    placed: list[tuple[float, int, int]] = []
    for slot, value in enumerate(elements.slots):
        if not slot % OPERATIONS_PER_LOOK:
            must_not_be_over(deadline)
        placed += _Element(elements, slot, value).placed()

    def order() -> list[int]:
        placed.sort()
        return with_loose([index for *_, index in placed], elements.loose, elements.calls)

    return order


class _Element:
    """One element, with its operations."""

    def __init__(self, elements: _Elements, slot: int, value: Any) -> None:
        self.calls, self.rets = elements.calls, elements.rets
        self.name = repr(value)
        self.add, self.remove = elements.add[slot], elements.remove[slot]
        self.present = elements.present.get(slot, [])
        self.absent = elements.absent.get(slot, [])
        gone = None if self.remove == NOBODY else elements.operations[self.remove]
        # A remove that does not say whether it found anything may have come before the add.
        self.sure = gone is None or (gone.outcome == "ok" and gone.output is True)

    def placed(self) -> list[tuple[float, int, int]]:
        """Instants for its operations, and their order where these are equal. Raises Contradiction."""
        removed = self.remove != NOBODY
        unknown = removed and self.rets[self.remove] == inf
        seen = [*self.present, self.remove] if removed and self.sure else self.present
        if self.add == NOBODY or (self.rets[self.add] == inf and not seen):
            if seen:
                raise Contradiction(
                    f"{self.name} was found in the set, and nobody had added it.", seen[:1]
                )
            idle = [self.remove] if removed and not unknown else []
            return [(self.calls[index], 0, index) for index in (*self.absent, *idle)]
        if not removed or self.sure:
            return self._through(self.remove, self.absent)
        try:
            return self._through(self.remove, self.absent)
        except Contradiction as found:
            first = found
        try:
            absent = self.absent if unknown else [*self.absent, self.remove]
            return self._through(NOBODY, absent)
        except Contradiction as found:
            raise Contradiction(
                f"{found.reason[:-1]}; and if the remove did something: {first.reason}",
                [*found.operations, *first.operations],
                [*found.support, *first.support],
            ) from None

    def _through(self, remove: int, absent: Sequence[int]) -> list[tuple[float, int, int]]:
        """As `placed`, if this is what it was removed by, and these are all that saw it absent."""
        calls, rets, add = self.calls, self.rets, self.add
        came = [add, *self.present]
        back_op = min(came, key=rets.__getitem__)
        if remove != NOBODY and rets[remove] < rets[back_op]:
            back_op = remove
        back = rets[back_op]
        if back < calls[add]:
            raise Contradiction(
                f"{self.name} was found in the set before it was added.", [back_op, add]
            )
        last_op = max(came, key=calls.__getitem__)
        last = inf
        if remove != NOBODY:
            if rets[remove] < calls[last_op]:
                raise Contradiction(
                    f"{self.name} was found in the set after it had been removed.",
                    [remove, last_op],
                    [add],
                )
            if calls[remove] > calls[last_op]:
                last_op = remove
            last = calls[last_op]
        found: list[tuple[float, int, int]] = [(back, 1, add)]
        for index in absent:
            if calls[index] <= back:
                found.append((calls[index], 0, index))
            elif rets[index] >= last:
                found.append((max(calls[index], last), 4, index))
            else:
                around = [back_op] if remove == NOBODY else [back_op, last_op]
                support = [add] if remove == NOBODY else [add, remove]
                raise Contradiction(
                    f"{self.name} was found missing while it was surely in the set.",
                    [*around, index],
                    support,
                )
        found += [(max(back, calls[index]), 2, index) for index in self.present]
        if remove != NOBODY:
            found.append((max(back, last), 3, remove))
        return found


# --- with reads of all ----------------------------------------------------------------------------


def _by_reads(elements: _Elements) -> Order | None:
    calls, rets, slots = elements.calls, elements.rets, elements.slots
    reads = sorted(elements.reads, key=lambda read: len(read[1]))
    group_of: dict[int, int] = {}
    before: frozenset[Any] = frozenset()
    chain: list[tuple[int, frozenset[Any]]] = []
    groups: list[list[int]] = []
    for index, seen in reads:
        if not chain or len(seen) > len(before):
            for value in seen - before:
                slot = slots.get(value)
                if slot is None or elements.add[slot] == NOBODY:
                    raise Contradiction(f"{value!r} was read, and nobody had added it.", [index])
                group_of[slot] = len(groups)
            groups += [[], []]
        if not before <= seen:
            raise _incomparable(elements, chain[-1], (index, seen))
        chain.append((index, seen))
        groups[-1].append(index)
        before = seen
    groups.append([])
    for slot, index in enumerate(elements.add):
        if index != NOBODY and (slot in group_of or rets[index] != inf):
            groups[group_of.get(slot, len(groups) - 1)].append(index)
    latest: list[int] = []  # up to each group, the operation that was called last
    for group in groups:
        known = [index for index in (*latest[-1:], *group) if index != NOBODY]
        latest.append(max(known, key=calls.__getitem__, default=NOBODY))
    for earlier, group in zip(latest, groups[1:], strict=False):
        for index in group:
            if earlier != NOBODY and rets[index] < calls[earlier]:
                raise _late(elements, chain, earlier, index)

    def order() -> list[int]:
        found = [index for group in groups for index in sorted(group, key=calls.__getitem__)]
        return with_loose(found, elements.loose, calls)

    return order


def _incomparable(
    elements: _Elements, one: tuple[int, frozenset[Any]], other: tuple[int, frozenset[Any]]
) -> Contradiction:
    mine, yours = next(iter(one[1] - other[1])), next(iter(other[1] - one[1]))
    names = f"{mine!r} without {yours!r}, another {yours!r} without {mine!r}"
    adds = [
        elements.add[elements.slots[value]] for value in (mine, yours) if value in elements.slots
    ]
    return Contradiction(
        f"One read saw {names}, and nothing was ever removed.", [one[0], other[0]], adds
    )


def _late(
    elements: _Elements, chain: Sequence[tuple[int, frozenset[Any]]], called: int, returned: int
) -> Contradiction:
    """By what the reads saw, `called` comes before `returned`; but it was only called when that was over."""
    values = {
        index: value for value, slot in elements.slots.items() if (index := elements.add[slot]) >= 0
    }
    seen = dict(chain)
    between: list[int] = []
    if called in values and returned in values:
        between = [next(i for i, s in chain if values[called] in s and values[returned] not in s)]
    support = []
    for index in (called, returned, *between):
        if index in seen:
            support += [elements.add[elements.slots[value]] for value in seen[index]]
    return Contradiction(
        f"By what was read, the operation that returned at {elements.rets[returned]} comes after the one that was "
        f"called at {elements.calls[called]}, when it was already over.",
        [called, returned, *between],
        support,
    )
