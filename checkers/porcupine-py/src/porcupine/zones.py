"""Registers whose observed values are each written once: decided in O(n log n).

When every value that is seen has one producer, it is known which write each read read from. A blind write, the
reads of its value, and the chain of compare-and-sets that starts from it must then stand side by side in every
linearization: a block. A block's zone runs from r, its earliest return, to i, its latest call; block A must
come before block B exactly when r_A < i_B. Any cycle of that relation holds one of length two, so it is
enough to look for two blocks that must each come first. Gibbons and Korach, "Testing shared memories" (1997);
the zones are those of Golab, Li and Shah, "Analyzing consistency properties for fun and profit" (2011).
Intervals are closed, so every comparison of times here is strict.

An operation of unknown outcome counts if its value was seen by one that counts, and then has no return;
if nobody saw it, leaving it out changes nothing for the others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf
from time import monotonic
from typing import Any, Final

from porcupine.engine import compiled
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import TimeIsUp
from porcupine.result import GateResult, Witness

ENGINE: Final = "zones"
NOBODY: Final = -1
INITIAL: Final = -2  # the producer of the initial value, in place of an operation's index


@dataclass(frozen=True, slots=True)
class Saw:
    """The output of a compare-and-set that did not swap, from a system that tells what it found instead."""

    value: Any


class Refused(Exception):
    """Carries the witness from where it is found to the gate that looks."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness.text)
        self.witness = witness


def check_register(
    operations: Sequence[Operation],
    initial: Hashable,
    skip: int = 0,
    deadline: float | None = None,
    *,
    swaps: bool = True,
) -> GateResult | None:
    """Decide one register's history, or return None where the zones do not apply.

    Inputs are ("read",), ("write", v), ("cas", a, b), with `skip` further elements (a key) after the first;
    `swaps` says whether "cas" is one. A read's output is the value, a compare-and-set's is True or Saw(v).
    None is returned for other outputs of completed operations, for other inputs, for unhashable values, and
    when a value that was seen has more than one producer; unless the history is illegal for a reason that
    needs none of this, as when a value was seen that nobody wrote. `deadline` is a time.monotonic() value,
    looked at between the passes.
    """
    if compiled is not None and type(operations) is list:
        # It says that all is well, or that this is not for the zones. The rest is looked at here.
        left = None if deadline is None else deadline - monotonic()
        accepted = compiled.zones(operations, initial, skip, swaps, left)
        if deadline is not None and monotonic() >= deadline:
            return GateResult("unknown", ENGINE, cause="timeout")
        if accepted:
            order = partial(_order_of_legal, operations, initial, skip, swaps)
            return GateResult("ok", ENGINE, order=order)
        if accepted is False:
            return None
    register = Register(operations, initial, skip, deadline)
    try:
        if not (register.collect(swaps) and register.attribute()):
            return None
        if register.unsure or not register.settle():
            return None
        register.arrange()
        register.compare()
    except Refused as found:
        return GateResult("illegal", ENGINE, witness=found.witness)
    except TimeIsUp:
        return GateResult("unknown", ENGINE, cause="timeout")
    return GateResult("ok", ENGINE, order=register.order)


def _order_of_legal(
    operations: Sequence[Operation], initial: Hashable, skip: int, swaps: bool
) -> list[int]:
    register = Register(operations, initial, skip, None)
    applies = register.collect(swaps) and register.attribute() and register.settle()
    assert applies
    register.arrange()
    return register.order()


class Register:
    """One check. Each pass fills flat lists for the next; a slot is the small number of a value."""

    def __init__(
        self,
        operations: Sequence[Operation],
        initial: Hashable,
        skip: int,
        deadline: float | None,
    ) -> None:
        self.operations = operations
        self.skip = skip
        self.deadline = deadline
        self.calls = [operation.call for operation in operations]
        self.rets: list[float] = [
            inf
            if operation.outcome == "info" or operation.return_time is None
            else operation.return_time
            for operation in operations
        ]
        self.initial = initial
        # By value, then by slot.
        self.slots: dict[Hashable, int] = {initial: 0}
        self.producer = [INITIAL]
        self.repeated = bytearray(1)
        self.seen_by: list[int] = []
        self.first_back: list[
            float
        ] = []  # the earliest return of the slot's reads, and whose it is
        self.first_op: list[int] = []
        self.last_call: list[float] = []  # the latest call of the slot's reads, and whose it is
        self.last_op: list[int] = []
        self.next_cas: list[int] = []
        # By kind of operation: indices, and the slot of what they wrote, saw or expected.
        self.writes: list[int] = []
        self.swaps: list[int] = []
        self.readers: list[int] = []
        self.seen: list[Hashable] = []
        self.loose: list[int] = []  # completed reads of which nobody knows what they saw
        self.pending: list[int] = []
        self.target: dict[int, int] = {}
        self.unsure = False  # a compare-and-set did not say what it saw, or whether it swapped
        # By block.
        self.roots: list[int] = []
        self.zone_r: list[float] = []
        self.zone_i: list[float] = []
        self.zone_r_op: list[int] = []
        self.zone_i_op: list[int] = []

    # --- the passes -------------------------------------------------------------------------------

    def collect(self, may_swap: bool = True) -> bool:
        """Sort the operations by kind and give every written value a slot. False: does not apply."""
        slots, producer, repeated = self.slots, self.producer, self.repeated
        at = 1 + self.skip
        readers, seen, writes, swaps = self.readers, self.seen, self.writes, self.swaps
        pending, target = self.pending, self.target
        try:
            for index, operation in enumerate(self.operations):
                if not index & 0x1FFF:
                    self._look_at_the_clock()
                outcome = operation.outcome
                if outcome == "fail":
                    continue
                given = operation.input
                kind = given[0]
                if kind == "read":
                    if outcome == "ok":
                        value = operation.output
                        if value is UNKNOWN:
                            self.loose.append(index)
                        else:
                            readers.append(index)
                            seen.append(value)
                    continue
                if kind == "write":
                    value = given[at]
                    if outcome == "ok":
                        writes.append(index)
                    else:
                        pending.append(index)
                elif kind == "cas" and may_swap:
                    if outcome == "ok":
                        output = operation.output
                        if output is not True:
                            if output is False:
                                self.unsure = True
                                continue
                            if output is UNKNOWN:
                                self.unsure = True
                                self._produce(given[at + 1], index)
                                continue
                            if type(output) is not Saw:
                                return False
                            if output.value == given[at]:
                                raise Refused(self._saw_expected(index))
                            readers.append(index)
                            seen.append(output.value)
                            continue
                        swaps.append(index)
                    else:
                        pending.append(index)
                    value = given[at + 1]
                else:
                    return False
                # _produce, written out: this is the loop that takes the most time.
                slot = slots.setdefault(value, len(producer))
                target[index] = slot
                if slot == len(producer):
                    producer.append(index)
                    repeated.append(0)
                else:
                    repeated[slot] = 1
        except (TypeError, IndexError):
            return (
                False  # Unhashable, or not the inputs of a register: the model's step has its say.
            )
        self._look_at_the_clock()
        # A value that differs from itself (NaN) is found by a dictionary and refused by a model.
        return not any(value != value for value in slots)

    def attribute(self) -> bool:
        """Find the producer of every value a completed operation saw or expected."""
        count = len(self.producer)
        calls, rets, producer = self.calls, self.rets, self.producer
        self.seen_by = [NOBODY] * count
        self.first_back, self.first_op = [inf] * count, [NOBODY] * count
        self.last_call, self.last_op = [-inf] * count, [NOBODY] * count
        self.next_cas = [NOBODY] * count
        first_back, first_op = self.first_back, self.first_op
        last_call, last_op = self.last_call, self.last_op
        find = self.slots.get
        try:
            for index, value in zip(self.readers, self.seen, strict=True):
                slot = find(value)
                if slot is None:
                    raise Refused(self._from_nowhere(index, value))
                back = rets[index]
                if back < first_back[slot]:
                    first_back[slot] = back
                    first_op[slot] = index
                call = calls[index]
                if call > last_call[slot]:
                    last_call[slot] = call
                    last_op[slot] = index
            expected = [find(self._expected(index)) for index in self.swaps]
        except TypeError:
            return False
        self.seen_by[:] = first_op
        assert len(producer) == count
        for index, slot in zip(self.swaps, expected, strict=True):
            self._chain(index, slot)
        self._look_at_the_clock()
        return True

    def settle(self) -> bool:
        """Decide which unknown operations took effect: those whose value was seen, and what those expected.

        False when a value that was seen has two producers: then it is not known which write a read read.
        """
        producer, seen_by, operations = self.producer, self.seen_by, self.operations
        pending = set(self.pending)
        work = [
            slot
            for slot in map(self.target.__getitem__, self.pending)
            if seen_by[slot] != NOBODY and producer[slot] in pending
        ]
        done: set[int] = set()
        while work:
            slot = work.pop()
            if slot in done:
                continue
            done.add(slot)
            index = producer[slot]
            if self.repeated[slot]:
                return False
            if operations[index].input[0] == "write":
                self.writes.append(index)
                continue
            self.swaps.append(index)
            try:
                source = self.slots.get(self._expected(index))
            except TypeError:
                return False
            self._chain(index, source)
            if source is not None and producer[source] in pending:
                work.append(source)
        repeated = self.repeated
        if any(repeated):
            return not any(
                again and by != NOBODY for again, by in zip(repeated, seen_by, strict=True)
            )
        return True

    def arrange(self) -> None:
        """Walk each block along its forced order: its write, the reads of it, the next compare-and-set ...

        An operation that returned before one that must come earlier in the block was called is a
        contradiction. Otherwise the block's zone is what remains of it.
        """
        if len(self.seen_by) and (self.seen_by[0] != NOBODY):
            self.roots = [INITIAL, *self.writes]
        else:
            self.roots = list(self.writes)
        calls, rets, target = self.calls, self.rets, self.target
        first_back, first_op = self.first_back, self.first_op
        last_call, last_op = self.last_call, self.last_op
        next_cas = self.next_cas
        zone_r, zone_r_op = self.zone_r, self.zone_r_op
        zone_i, zone_i_op = self.zone_i, self.zone_i_op
        chained = 0
        for root in self.roots:
            if root == INITIAL:
                slot = 0
                r: float = -inf
                i: float = -inf
            else:
                slot = target[root]
                r = rets[root]
                i = calls[root]
            r_op = i_op = root
            while True:
                back = first_back[slot]
                if back < i:
                    raise Refused(self._out_of_order(first_op[slot], i_op))
                if back < r:
                    r = back
                    r_op = first_op[slot]
                call = last_call[slot]
                if call > i:
                    i = call
                    i_op = last_op[slot]
                swap = next_cas[slot]
                if swap == NOBODY:
                    break
                chained += 1
                back = rets[swap]
                if back < i:
                    raise Refused(self._out_of_order(swap, i_op))
                if back < r:
                    r = back
                    r_op = swap
                call = calls[swap]
                if call > i:
                    i = call
                    i_op = swap
                slot = target[swap]
            zone_r.append(r)
            zone_r_op.append(r_op)
            zone_i.append(i)
            zone_i_op.append(i_op)
        if chained < len(self.swaps):
            raise Refused(self._rootless())
        self._look_at_the_clock()

    def compare(self) -> None:
        """Look for two blocks that must each come before the other."""
        zone_r, zone_i = self.zone_r, self.zone_i
        forward = [b for b, (r, i) in enumerate(zip(zone_r, zone_i, strict=True)) if r < i]
        forward.sort(key=zone_r.__getitem__)
        for left, right in pairwise(forward):
            if zone_r[right] < zone_i[left]:
                raise Refused(self._crossing(left, right))
        # Forward zones are now disjoint. A block with r >= i fits between them, unless it lies wholly
        # inside one.
        starts = [zone_r[b] for b in forward]
        for block, (r, i) in enumerate(zip(zone_r, zone_i, strict=True)):
            if r >= i:
                before = bisect_left(starts, i) - 1
                if before >= 0 and r < zone_i[forward[before]]:
                    raise Refused(self._crossing(forward[before], block))
        self._look_at_the_clock()

    # --- an order to show -------------------------------------------------------------------------

    def order(self) -> list[int]:
        """A linearization: indices of the operations that took effect, in an order a model can replay.

        Forward zones stand in the order of their starts. Any other block has an instant in [i, r] that is
        inside no forward zone, and stands there; at equal instants it comes before the forward zone.
        """
        zone_r, zone_i = self.zone_r, self.zone_i
        forward = sorted(
            (b for b in range(len(zone_r)) if zone_r[b] < zone_i[b]), key=zone_r.__getitem__
        )
        starts = [zone_r[b] for b in forward]
        places: list[tuple[float, int, int]] = []
        for block, (r, i) in enumerate(zip(zone_r, zone_i, strict=True)):
            if r < i:
                places.append((r, 1, block))
                continue
            before = bisect_left(starts, i) - 1
            point = i if before < 0 else max(i, zone_i[forward[before]])
            places.append((point, 0, block))
        places.sort()
        readers_of: dict[int, list[int]] = {}
        for index, value in zip(self.readers, self.seen, strict=True):
            readers_of.setdefault(self.slots[value], []).append(index)
        calls = self.calls
        found: list[int] = []
        for _, _, block in places:
            step = self.roots[block]
            while step != NOBODY:
                if step == INITIAL:
                    slot = 0
                else:
                    found.append(step)
                    slot = self.target[step]
                found.extend(sorted(readers_of.pop(slot, ()), key=calls.__getitem__))
                step = self.next_cas[slot]
        return self._with_loose(found)

    def _with_loose(self, found: list[int]) -> list[int]:
        """Put in the reads that saw who knows what: each at its own call, which suits any order of the rest."""
        if not self.loose:
            return found
        calls = self.calls
        placed: list[tuple[float, int, int]] = []
        now = -inf
        for position, index in enumerate(found):
            now = max(now, calls[index])
            placed.append((now, position, index))
        placed.extend((calls[index], len(found), index) for index in self.loose)
        placed.sort()
        return [index for _, _, index in placed]

    # --- steps of the passes ----------------------------------------------------------------------

    def _produce(self, value: Hashable, index: int) -> None:
        """Note that an operation may have written a value."""
        slot = self.slots.setdefault(value, len(self.producer))
        self.target[index] = slot
        if slot == len(self.producer):
            self.producer.append(index)
            self.repeated.append(0)
        else:
            self.repeated[slot] = 1

    def _expected(self, index: int) -> Hashable:
        value: Hashable = self.operations[index].input[1 + self.skip]
        return value

    def _chain(self, index: int, source: int | None) -> None:
        """Enter a compare-and-set that took effect behind the value it expected."""
        if source is None:
            raise Refused(self._from_nowhere(index, self._expected(index)))
        if self.seen_by[source] == NOBODY:
            self.seen_by[source] = index
        other = self.next_cas[source]
        # With two producers of the source it is no contradiction; `settle` then refuses the history.
        if other != NOBODY and not self.repeated[source]:
            raise Refused(self._forked(other, index))
        self.next_cas[source] = index

    def _look_at_the_clock(self) -> None:
        if self.deadline is not None and monotonic() >= self.deadline:
            raise TimeIsUp

    # --- witnesses --------------------------------------------------------------------------------

    def _sees(self, index: int) -> Hashable | None:
        """The slot's value an operation saw or expected, wrapped in a tuple; None for a write."""
        operation = self.operations[index]
        kind = operation.input[0]
        if kind == "write":
            return None
        if kind == "read":
            return (operation.output,)
        if type(operation.output) is Saw and operation.outcome == "ok":
            return (operation.output.value,)
        return (self._expected(index),)

    def _closed(self, indices: Iterable[int]) -> tuple[int, ...]:
        """What else it takes for `indices` to be a history of its own: who wrote what they saw, and who saw
        what an unknown operation wrote."""
        shown = set(indices)
        held = set(shown)
        work = list(shown)
        while work:
            index = work.pop()
            needed = []
            sees = self._sees(index)
            if isinstance(sees, tuple):
                slot = self.slots.get(sees[0])
                if slot is not None:
                    needed.append(self.producer[slot])
            if self.operations[index].outcome == "info" and index in self.target:
                needed.append(self.seen_by[self.target[index]])
            for other in needed:
                if other >= 0 and other not in held:
                    held.add(other)
                    work.append(other)
        return tuple(sorted(held - shown, key=self.calls.__getitem__))

    def _line(self, index: int) -> str:
        operation = self.operations[index]
        name, *arguments = operation.input
        text = f"{name}({', '.join(repr(argument) for argument in arguments)})"
        if operation.outcome == "info":
            text += " -> unknown"
            back = "..."
        else:
            back = str(operation.return_time)
            if name != "write":
                text += f" -> {operation.output!r}"
        return f"  client {operation.client_id}: {text} in [{operation.call}, {back}]"

    def _witness(self, reason: str, indices: Iterable[int]) -> Witness:
        shown = [index for index in dict.fromkeys(indices) if index >= 0]
        shown.sort(key=self.calls.__getitem__)
        support = self._closed(shown)
        lines = [reason, *(self._line(index) for index in shown)]
        if 0 < len(support) <= 4:
            lines.append("where these come from:")
            lines.extend(self._line(index) for index in support)
        elif support:
            lines.append(
                f"where these come from: {len(support)} operations, the first and the last"
            )
            lines.extend(self._line(index) for index in (support[0], support[-1]))
        return Witness("\n".join(lines), tuple(shown), support, closed=True)

    def _value(self, slot: int) -> str:
        return next(repr(value) for value, s in self.slots.items() if s == slot)

    def _saw_expected(self, index: int) -> Witness:
        reason = "A compare-and-set did not swap, though it found the very value it expected."
        return Witness(f"{reason}\n{self._line(index)}", (index,), closed=True)

    def _from_nowhere(self, index: int, value: Hashable) -> Witness:
        at = 1 + self.skip
        kind = self.operations[index].input[0]
        act = "expected" if kind == "cas" and self.operations[index].output is True else "saw"
        reason = (
            f"An operation {act} {value!r}, which nobody wrote and which is not the initial value."
        )
        for operation in self.operations:
            given = operation.input
            if operation.outcome != "fail" or type(given) is not tuple:
                continue  # of a failed one nobody has looked at what it was
            name = given[0] if given and type(given[0]) is str else ""
            wrote = given[at : at + 1] if name == "write" else given[at + 1 : at + 2]
            if name in ("write", "cas") and wrote == (value,):
                reason = (
                    f"An operation {act} {value!r}; the only operation that would have written it "
                    f"failed, called by client {operation.client_id} at {operation.call}."
                )
                break
        return self._witness(reason, [index])

    def _forked(self, one: int, other: int) -> Witness:
        return self._witness(
            f"Two compare-and-sets both found {self._expected(one)!r}, which was written only once.",
            [one, other],
        )

    def _out_of_order(self, later: int, earlier: int) -> Witness:
        kind = self.operations[earlier].input[0]
        what = {"write": "the write", "cas": "the compare-and-set", "read": "the read"}[kind]
        return self._witness(
            f"By its value, the operation that returned at {self.rets[later]} comes after {what} "
            f"that was called at {self.calls[earlier]}, when it was already over.",
            [later, earlier],
        )

    def _rootless(self) -> Witness:
        swaps = set(self.swaps)
        reached: set[int] = set()
        for root in self.roots:
            slot = 0 if root == INITIAL else self.target[root]
            while (swap := self.next_cas[slot]) != NOBODY:
                reached.add(swap)
                slot = self.target[swap]
        swap = min(swaps - reached)
        circle: list[int] = []
        while swap not in circle:
            circle.append(swap)
            swap = self.next_cas[self.target[swap]]
        return self._witness(
            "These compare-and-sets took their values from each other in a circle.", circle
        )

    def _crossing(self, left: int, right: int) -> Witness:
        names = [
            "the initial value" if root == INITIAL else f"write {self._value(self.target[root])}"
            for root in (self.roots[left], self.roots[right])
        ]
        return self._witness(
            f"The register held what came of {names[0]} both before and after it held what came of "
            f"{names[1]}, and neither was written twice.",
            [
                self.zone_r_op[left],
                self.zone_i_op[left],
                self.zone_r_op[right],
                self.zone_i_op[right],
            ],
        )
