"""One part of a history as it grows: the frontiers of its last returns, as far as they may still change.

What an operation did is known when it returns, and until then it counts as one of unknown outcome. So what it returns
changes the frontiers from its call on, and those alone: they are kept, and worked out again. Where no operation is open
that was called before a frontier, that one is final, and all before it is forgotten: it says everything about what went
before. What is kept grows with how many returns the longest open operation spans, not with the history.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from porcupine.history import UNKNOWN, Operation
from porcupine.model import Model
from porcupine.online.frontier import CONFIG_BYTES, Frontier, Place, advance
from porcupine.online.lanes import COUNT_MASK
from porcupine.online.limits import Budget, LimitMet
from porcupine.online.tables import Tables
from porcupine.result import Cause, Verdict
from porcupine.states import REFUSED

PLACE_BYTES: Final = 900
"""Of a return with its operation, its lists and its share of the operations in them."""
RENEW_SIZE: Final = 4096
"""So many entries tables may have before they are looked through."""
RENEW_FACTOR: Final = 2
"""And so many times what was kept the last time."""


@dataclass(slots=True, eq=False)
class Live:
    """An operation that is open, or whose return is still kept."""

    operation: Operation  # times are numbers of events
    id: int
    begin: int
    """How many returns of its part came before its call."""
    bit: int
    unknown_kind: int
    shift: int | None
    """Of its lane; None for one that without an outcome never changes anything."""
    kind: int = -1


class Window:
    """One part. `verdict` is final once it is not "ok" any more."""

    def __init__(self, key: Hashable, model: Model, budget: Budget) -> None:
        self.key = key
        self.verdict: Verdict = "ok"
        self.cause: Cause | None = None
        self.operations = 0
        self.steps = 0
        self.seconds = 0.0
        self.tables = Tables(model)
        self.stuck: int | None = None
        """When illegal: the place of the first return without an explanation, among those kept."""
        self._budget = budget
        self._model = model
        self.open: dict[int, Live] = {}  # by id, in the order of their calls
        self._free_bits: list[int] = []
        self._bits = 0
        self.first = 0
        """How many returns are forgotten."""
        self._room = 0
        self.returned: list[Live] = []  # the operation of each return kept
        self.places: list[Place] = []
        self.frontiers: list[Frontier] = [[(self.tables.state(model.init()), 0, 0)]]
        """The first is final; each further one is what the return of the same number makes of it."""
        self._configs = 1
        self._renew_at = RENEW_SIZE
        self._unknown_since = 0

    # --- what happens: each says whether the part is legal still -----------------------------------

    def invoke(self, id: int, operation: Operation) -> bool:
        """A call. It changes no frontier: the operation may yet do nothing."""
        tables = self.tables
        self.operations += 1
        kind = tables.kind(operation.input, UNKNOWN)
        bit = self._free_bits.pop() if self._free_bits else self._next_bit()
        shift = None
        if not tables.pure(kind):
            shift = tables.lanes.shift(kind)
            if self._room >> shift & COUNT_MASK == COUNT_MASK:
                raise LimitMet("memory")
            self._room += 1 << shift
        begin = self.first + len(self.returned)
        self.open[id] = Live(operation, id, begin, bit, kind, shift)
        return True

    def complete(self, id: int) -> bool:
        """The return of an operation that now has its output."""
        live = self.open.pop(id)
        tables, places = self.tables, self.places
        operation = live.operation
        live.kind = kind = tables.kind(operation.input, operation.output)
        pure = tables.pure(kind)
        begin = live.begin - self.first
        self._take_back(live)
        for place in places[begin:]:
            place.add(live.bit, kind, pure)
        places.append(Place(live.bit, kind, pure, self._room))
        self.returned.append(live)
        self.frontiers.append([])
        # Unlike a read a compare-and-set that did not swap may have done so in the frontiers known so far.
        read = live if pure and live.shift is None else None
        return self._work_out(begin, read) and self._done_with(live)

    def drop(self, id: int) -> bool:
        """An open operation that did not happen after all."""
        live = self.open.pop(id)
        begin = live.begin - self.first
        self._take_back(live)
        return (live.shift is None or self._work_out(begin)) and self._done_with(live)

    def give_up(self, id: int) -> bool:
        """An open operation whose outcome nobody will know: it stays what it was so far."""
        live = self.open.pop(id)
        if live.shift is not None:
            self._unknown_since += 1
        return self._done_with(live)

    # --- frontiers --------------------------------------------------------------------------------

    def _next_bit(self) -> int:
        self._bits += 1
        return 1 << self._bits - 1

    def _take_back(self, live: Live) -> None:
        """It is not one of unknown outcome any more, from its call on."""
        if live.shift is not None:
            one = 1 << live.shift
            self._room -= one
            for place in self.places[live.begin - self.first :]:
                place.room -= one

    def _work_out(self, begin: int, read: Live | None = None) -> bool:
        """The frontiers after this one, once more. False, and the part illegal, if one of them is empty.

        `read` is the operation that returned last, if it is read-only whatever it gives. As soon as every explanation
        has it, nothing further is different for it, and the frontiers known so far stand.
        """
        frontiers = self.frontiers
        last = len(self.places) - 1
        for at in range(begin, last + 1):
            if read is not None and self._taken_by_all(read, at):
                self._all_have(read, at)
                return True
            before = frontiers[at + 1]
            found = advance(
                frontiers[at], self.places[at], self.tables, self._budget, self.held_bytes()
            )
            frontiers[at + 1] = found
            self._configs += len(found) - len(before)
            if not found:
                self.verdict, self.stuck = "illegal", at
                return False
            if read is not None and len(found) != len(before):
                read = None  # it has made more ways different from each other
            elif read is not None:
                bit = read.bit
                same = {(state, mask & ~bit, used) for state, mask, used in found}
                if same != set(before):
                    read = None
        return True

    def _taken_by_all(self, read: Live, at: int) -> bool:
        rows, ask, bit, kind = self.tables.rows, self.tables.ask, read.bit, read.kind
        for state, mask, _ in self.frontiers[at]:
            if not mask & bit:
                reached = rows[state].get(kind)
                if (ask(state, kind) if reached is None else reached) == REFUSED:
                    return False
        return True

    def _all_have(self, read: Live, at: int) -> None:
        frontiers, bit = self.frontiers, read.bit
        end = len(self.places)
        for later in range(at + 1, end):
            frontiers[later] = [(state, mask | bit, used) for state, mask, used in frontiers[later]]
        # Its own return comes last, and makes no difference.
        frontiers[end] = [(state, mask & ~bit, used) for state, mask, used in frontiers[end - 1]]
        self._configs += len(frontiers[end])

    def _done_with(self, live: Live) -> bool:
        """Free its bit, and let go of what no open operation reaches back to. True, for the part is legal."""
        self._free_bits.append(live.bit)
        end = self.first + len(self.returned)
        oldest = next(iter(self.open.values())).begin if self.open else end
        count = oldest - self.first
        if count:
            self._configs -= sum(map(len, self.frontiers[:count]))
            del self.frontiers[:count], self.places[:count], self.returned[:count]
            self.first = oldest
        if self.tables.size() > self._renew_at or self._unknown_since > RENEW_SIZE:
            self._renew()
        return True

    def _renew(self) -> None:
        """Make room in the tables, and settle the unknown operations that every explanation has used."""
        self._unknown_since = 0
        tables = self.tables
        self._settle()
        kinds = {live.unknown_kind for live in self.open.values()}
        for place in self.places:
            kinds.update(kind for _, kind in place.pures)
            kinds.update(kind for _, kind, _ in place.others)
        states = dict.fromkeys(state for each in self.frontiers for state, _, _ in each)
        number = tables.renew(states, kinds)
        self.frontiers = [
            [(number[state], mask, used) for state, mask, used in each] for each in self.frontiers
        ]
        self._renew_at = max(RENEW_SIZE, RENEW_FACTOR * tables.size())

    def _settle(self) -> None:
        used_by_all = 0
        first = self.frontiers[0]
        for _, shift in self.tables.lanes.order:
            least = min(used >> shift & COUNT_MASK for _, _, used in first)
            used_by_all |= least << shift
        if used_by_all:
            # All frontiers come from the first: they have used as much.
            self.frontiers = [
                [(state, mask, used - used_by_all) for state, mask, used in each]
                for each in self.frontiers
            ]
            for place in self.places:
                place.room -= used_by_all
            self._room -= used_by_all
        self.tables.lanes.keep(self._room)

    def held_bytes(self) -> int:
        """An estimate of what the part holds, without the values that the history itself has."""
        each = CONFIG_BYTES + self.tables.lanes.bytes_each()
        return (
            self._configs * each
            + PLACE_BYTES * (len(self.returned) + len(self.open))
            + self.tables.bytes()
        )

    def kept(self) -> tuple[int, int]:
        """How many operations and how many configurations are kept."""
        return len(self.returned) + len(self.open), self._configs

    def stop(self, cause: Cause) -> None:
        """Judge no further, and hold nothing any more."""
        self.verdict, self.cause = "unknown", cause
        self.open.clear()
        self.places.clear()
        self.returned.clear()
        self.frontiers.clear()
        self._configs = 0
        self.tables = Tables(self._model)
