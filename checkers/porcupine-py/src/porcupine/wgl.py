"""The search for everything else: Wing and Gong's, with Lowe's memory of configurations visited.

A configuration says which operations have been linearized and in which state that left the object. From it, any
operation called before the first return not yet linearized may come next. Configurations are kept as
(e, M, U, state): e is the place of that first return, M has a bit for each linearized operation still open at
e (its slot is free again once it has returned), U for each used operation of unknown outcome. So the size of
one depends on how many operations overlap, not on how long the history is. Wing and Gong, "Testing and
verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017).

Operations of unknown outcome are optional: a history is linearizable when its returns are all explained.
Four reductions, none of which loses a verdict, keep their number from exploding:
- one that never changes the state is dropped, and none is used where it changes nothing;
- of several optional ones with equal input, the one called first is used first; of several completed ones
  with equal input and output that are open together, the one that returns first;
- a configuration that used a superset of another's, all else equal, can do no more than that one;
- a completed operation that is read-only and fits is linearized at once, without looking at alternatives.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof
from time import monotonic
from typing import Any, Final

from porcupine.errors import ModelError
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import (
    OPERATIONS_PER_LOOK,
    TimeIsUp,
    must_not_be_over,
    resident_bytes,
)
from porcupine.model import Model, StepContext
from porcupine.result import Cause, Verdict
from porcupine.states import REFUSED, States, growth_bytes, refusal_text

ENGINE: Final = "wgl"
# What is counted against a memory limit, in CPython 3.11 on 64 bits (benchmarks/limits.py compares it with what the
# process grows by): beside the tables themselves a configuration (a key of three numbers, and the list of masks under
# it), each further mask, a remembered transition, a step of the order at its longest. States count themselves.
ENTRY_BYTES: Final = 190
MASK_BYTES: Final = 52
TRANSITION_BYTES: Final = 72
NARROW_BITS: Final = 60  # a mask of up to so many slots is in an int of 32 bytes
PATH_BYTES: Final = 64
PARTIAL_NODES_COUNTED: Final = 16
"""Of an order kept for a picture: it shares the rest with others."""
FINALS_MAX: Final = 10
DEPTH_BYTES: Final = 150
LOOPS_PER_LOOK: Final = 512
PULSE_SECONDS: Final = 0.02
RIVALS_MAX: Final = 32
PARTIAL_WORK_MAX: Final = 2_000_000
PURE, OTHER, OPTIONAL = 0, 1, 2  # the lists of what may come next, in the order they are tried

# The order found so far, newest first: (operation, the rest). Shared, so that keeping one costs nothing.
Path = tuple[int, "Path"] | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A configuration from which the search could not get past the failing return."""

    path: Path
    state: int
    taken: int
    used: int


def unwound(path: Path) -> list[int]:
    """A path as a list, oldest first."""
    found: list[int] = []
    while path is not None:
        found.append(path[0])
        path = path[1]
    found.reverse()
    return found


class Search:
    """A search of one part that can be run in slices. Indices are places in the list it was given."""

    def __init__(
        self,
        model: Model,
        operations: Sequence[Operation],
        *,
        deadline: float | None = None,
        partials: bool = False,
    ) -> None:
        self.model = model
        self.operations = operations
        self.deadline = deadline
        self.verdict: Verdict | None = None
        self.cause: Cause | None = None
        self.exact = True  # what stuck_at names is the first return that cannot be explained
        self.steps = 0
        self.bytes = 0
        self.most = 0
        self.finals: list[Stuck] = []
        self.best_path: Path = None
        self._step = model.stepper(StepContext(deadline))
        self._states = States(model)
        self._transitions: dict[tuple[int, int], int] = {}
        self._memo: dict[tuple[int, int, int], list[int]] = {}
        self._keep_partials = partials
        self._partial_work = 0
        self._longest: dict[int, tuple[int, Path]] = {}
        self._next_pulse = 0.0
        self._stack: list[tuple[int, int, int, int, int]] = []
        self._furthest = -1
        try:
            self._prepare()
        except TimeIsUp:
            self.verdict, self.cause = "unknown", "timeout"

    # --- preparation ------------------------------------------------------------------------------

    def _prepare(self) -> None:
        operations, model, deadline = self.operations, self.model, self.deadline
        must_not_be_over(deadline)
        readonly = model.readonly
        count = len(operations)
        required: list[int] = []
        optional: list[int] = []
        calls = [operation.call for operation in operations]
        rets: list[int] = [0] * count
        self.outputs: list[Any] = [UNKNOWN] * count
        # Equal numbers for operations of equal input and output: they do the same in every state. The model
        # is asked once for each whether it is read-only, in the order in which the compiled core asks.
        self.kinds = list(range(count))
        self.pure = bytearray(count)
        known: dict[Hashable, int] = {}
        for index, operation in enumerate(operations):
            if index % OPERATIONS_PER_LOOK == 0:
                must_not_be_over(deadline)
            lost = operation.outcome == "info"
            if not lost:
                if operation.outcome != "ok" and not model.sees_failures:
                    continue
                assert operation.return_time is not None  # validate() saw to it
                rets[index] = operation.return_time
                self.outputs[index] = operation.output
            # The types too: 1 == True, but a model may tell them apart.
            given, output = operation.input, self.outputs[index]
            key = (given, output, type(output), self._types(given))
            try:
                kind = known.setdefault(key, index)
            except TypeError:
                kind = index
            self.kinds[index] = kind
            if kind == index and readonly is not None:
                must_not_be_over(deadline)
                self.pure[index] = bool(readonly(given, output))
            else:
                self.pure[index] = self.pure[kind]
            if not lost:
                required.append(index)
            elif not self.pure[index]:
                optional.append(index)
        must_not_be_over(deadline)
        required.sort(key=calls.__getitem__)
        optional.sort(key=calls.__getitem__)
        self.required = required
        self.by_return = sorted(required, key=rets.__getitem__)
        self.calls, self.rets = calls, rets
        self.bits = [0] * count
        self._give_slots()
        # The one before it of equal input: 0 when there is none.
        self.before = [0] * count
        last: dict[int, int] = {}
        for place, index in enumerate(optional):
            self.bits[index] = 1 << place
            self.before[index] = last.get(self.kinds[index], 0)
            last[self.kinds[index]] = 1 << place
        self._find_rivals()
        # Three linked lists in order of call, each with a head, tried one after the other: completed
        # operations that are read-only, other completed ones, optional ones.
        self._end = count
        self._next = [self._end] * (count + 4)
        self._previous = [self._end] * (count + 4)
        pure = self.pure
        must_not_be_over(deadline)
        lists = ([i for i in required if pure[i]], [i for i in required if not pure[i]], optional)
        self._phase_of = bytearray(count)
        for phase, members in enumerate(lists):
            previous = count + 1 + phase
            for index in members:
                self._next[previous] = index
                self._previous[index] = previous
                self._phase_of[index] = phase
                previous = index
        # Where the search stands between two slices.
        state = self._states.number(model.init())
        self._at = (0, 0, 0, state)  # e, M, U, state
        self._path: Path = None
        self._depth = 0
        self._phase = PURE
        self._current = self._next[count + 1]
        self._pushed = True
        self._memo[(0, 0, state)] = [0]
        if not required:
            self.verdict = "ok"

    @staticmethod
    def _types(given: Any) -> Hashable:
        types: tuple[type, ...] = (
            tuple(map(type, given)) if type(given) is tuple else (type(given),)
        )
        return types

    def _give_slots(self) -> None:
        """Number the completed operations so that no two open at one time share a number."""
        free: list[int] = []
        slots = 0
        place = 0
        slot_of = [0] * len(self.operations)
        for looked, index in enumerate(self.required):
            if looked % OPERATIONS_PER_LOOK == 0:
                must_not_be_over(self.deadline)
            while self.rets[self.by_return[place]] < self.calls[index]:
                free.append(slot_of[self.by_return[place]])
                place += 1
            if free:
                slot_of[index] = free.pop()
            else:
                slot_of[index] = slots
                slots += 1
            self.bits[index] = 1 << slot_of[index]

    def _find_rivals(self) -> None:
        """For each completed operation, those of its kind that overlap it and return before it."""
        place_of = [0] * len(self.operations)
        for place, index in enumerate(self.by_return):
            place_of[index] = place
        self._rivals: list[list[tuple[int, int, int]]] = [[] for _ in self.operations]
        open_of: dict[int, list[int]] = {}
        for looked, index in enumerate(self.required):
            if looked % OPERATIONS_PER_LOOK == 0:
                must_not_be_over(self.deadline)
            if self.pure[index]:
                continue
            call = self.calls[index]
            alike = [o for o in open_of.get(self.kinds[index], ()) if self.rets[o] >= call]
            for other in alike:
                first, second = sorted((index, other), key=place_of.__getitem__)
                self._rivals[second].append((place_of[first], self.bits[first], self.calls[first]))
            alike.append(index)
            # A rival forgotten costs some pruning; to keep all would be quadratic in the overlap.
            open_of[self.kinds[index]] = alike[-RIVALS_MAX:]

    # --- the search -------------------------------------------------------------------------------

    def run(
        self,
        steps: int | None = None,
        memory_bytes: int | None = None,
        ceiling_bytes: int | None = None,
    ) -> Verdict | None:
        """Search on for at most `steps` transitions; None means there is more to do.

        The verdict is "unknown", with `cause` set, when the deadline passed, or the estimate of what is held is
        above `memory_bytes`, or above half of that and the process larger than `ceiling_bytes`.
        """
        if self.verdict is not None:
            return self.verdict
        limit = None if steps is None else self.steps + steps
        following, previous = self._next, self._previous
        calls, rets, bits, by_return = self.calls, self.rets, self.bits, self.by_return
        kinds, phase_of, before, rivals = self.kinds, self._phase_of, self.before, self._rivals
        transitions, memo, stack = self._transitions, self._memo, self._stack
        end, heads = self._end, self._end + 1
        returns = len(by_return)
        e, taken, used, state = self._at
        current, phase, path, depth = self._current, self._phase, self._path, self._depth
        pushed = self._pushed
        window = rets[by_return[e]]
        chunk = LOOPS_PER_LOOK if steps is None else max(1, min(steps, LOOPS_PER_LOOK))
        loops = 0
        count = self.steps
        outcome: Verdict | None = None
        while True:
            loops += 1
            if loops >= chunk:
                loops = 0
                if self._must_stop(memory_bytes, ceiling_bytes):
                    outcome = "unknown"
                    break
                if limit is not None and count >= limit:
                    break
            if current == end or calls[current] > window:
                if phase != OPTIONAL:
                    phase += 1
                    current = following[heads + phase]
                    continue
                # Nothing more to try here: go back.
                if pushed:
                    pushed = False
                    if e > self._furthest:
                        self._furthest = e
                        self.finals = []
                    if e == self._furthest and len(self.finals) < FINALS_MAX:
                        self.finals.append(Stuck(path, state, taken, used))
                    if self._keep_partials:
                        self._remember(path, depth)
                        loops += depth // 16  # that was as much work as so many loops
                while stack:
                    current, e, taken, used, state = stack.pop()
                    assert path is not None
                    path = path[1]
                    depth -= 1
                    following[previous[current]] = current
                    after = following[current]
                    if after != end:
                        previous[after] = current
                    phase = phase_of[current]
                    if phase != PURE:
                        break
                else:
                    outcome = "illegal"
                    break
                window = rets[by_return[e]]
                current = following[current]
                continue
            bit = bits[current]
            if phase == OPTIONAL:
                # One of equal input that was called earlier is to be used first.
                if before[current] & ~used:
                    current = following[current]
                    continue
            elif rivals[current]:
                for place, bit_of, called in rivals[current]:
                    if place >= e and not taken & bit_of and called <= window:
                        break
                else:
                    place = -1
                if place >= 0:
                    current = following[current]
                    continue
            count += 1
            transition = (state, kinds[current])
            reached = transitions.get(transition)
            if reached is None:
                self.steps = count
                reached = self._take(current, state)
                transitions[transition] = reached
                self.bytes += TRANSITION_BYTES
                if self.deadline is not None and monotonic() >= self.deadline:
                    self.cause = "timeout"
                    outcome = "unknown"
                    break
            if reached == REFUSED or (phase == OPTIONAL and reached == state):
                current = following[current]
                continue
            if phase == OPTIONAL:
                next_e, next_taken, next_used = e, taken, used | bit
            else:
                next_e, next_taken, next_used = e, taken | bit, used
                if by_return[e] == current:
                    # Pass every return that is linearized already, and free its slot.
                    while next_e < returns:
                        open_bit = bits[by_return[next_e]]
                        if not next_taken & open_bit:
                            break
                        next_taken ^= open_bit
                        next_e += 1
            key = (next_e, next_taken, reached)
            masks = memo.get(key)
            if masks is None:
                memo[key] = [next_used]
                self.bytes += ENTRY_BYTES
                if next_used:
                    self.bytes += MASK_BYTES - 8 + next_used.bit_length() // 7
                if next_taken.bit_length() > NARROW_BITS:
                    self.bytes += next_taken.bit_length() // 7
            else:
                for mask in masks:
                    if mask & ~next_used == 0:
                        break
                else:
                    masks.append(next_used)
                    self.bytes += MASK_BYTES + next_used.bit_length() // 7
                    masks = None
                if masks is not None:
                    current = following[current]
                    continue
            # Take it out of its list and go on from the configuration it leads to.
            stack.append((current, e, taken, used, state))
            following[previous[current]] = following[current]
            after = following[current]
            if after != end:
                previous[after] = previous[current]
            path = (current, path)
            depth += 1
            pushed = True
            if depth > self.most:
                self.most = depth
                self.best_path = path
            e, taken, used, state = next_e, next_taken, next_used, reached
            if e == returns:
                outcome = "ok"
                self.best_path = path
                break
            window = rets[by_return[e]]
            phase = PURE
            current = following[heads]
        self.steps = count
        self._at = (e, taken, used, state)
        self._current, self._phase, self._path, self._depth = current, phase, path, depth
        self._pushed = pushed
        self.verdict = outcome
        return outcome

    def held_bytes(self) -> int:
        """An estimate of what the search remembers, in bytes."""
        tables = getsizeof(self._memo) + getsizeof(self._transitions)
        return self.bytes + self._states.bytes + tables + DEPTH_BYTES * self.most

    def _must_stop(self, memory_bytes: int | None, ceiling_bytes: int | None) -> bool:
        now = monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.cause = "timeout"
        elif memory_bytes is not None:
            held = self.held_bytes()
            soon = max(growth_bytes(self._memo), growth_bytes(self._transitions))
            if held + soon > memory_bytes:
                self.cause = "memory"
            elif ceiling_bytes is not None and now >= self._next_pulse and held > memory_bytes // 2:
                self._next_pulse = now + PULSE_SECONDS
                resident = resident_bytes()
                if resident is not None and resident + soon > ceiling_bytes:
                    self.cause = "memory"
        return self.cause is not None

    def _take(self, index: int, state: int) -> int:
        """The state the model goes to by one operation, or REFUSED."""
        before = self._states.known[state]
        given = self.operations[index].input
        fits, after = self.model.answer(self._step(before, given, self.outputs[index]))
        if not fits:
            return REFUSED
        reached = self._states.number(after)
        if self.pure[index] and reached != state:
            raise ModelError(
                f"model {self.model.name!r} calls {given!r} -> {self.outputs[index]!r} read-only, but it took "
                f"{before!r} to {after!r}; mend the model's readonly or its step"
            )
        return reached

    def _remember(self, path: Path, depth: int) -> None:
        """Note this order for each operation on it that knows of no longer one, within a bound on the work."""
        if self._partial_work > PARTIAL_WORK_MAX and depth < self.most:
            return
        self._partial_work += depth
        self.bytes += PATH_BYTES * min(depth, PARTIAL_NODES_COUNTED)
        longest = self._longest
        rest = path
        while rest is not None:
            known = longest.get(rest[0])
            if known is None or known[0] < depth:
                longest[rest[0]] = (depth, path)
            rest = rest[1]

    # --- what it found ----------------------------------------------------------------------------

    def order(self) -> list[int]:
        """The full order when the verdict is "ok", else the longest one met."""
        return unwound(self.best_path)

    def partial_orders(self) -> list[list[int]]:
        """Distinct orders, longest first, such that each operation's longest known one is among them."""
        paths: dict[int, tuple[int, Path]] = {id(self.best_path): (self.most, self.best_path)}
        for depth, path in self._longest.values():
            paths.setdefault(id(path), (depth, path))
        ranked = sorted(paths.values(), key=lambda entry: -entry[0])
        return [unwound(path) for _, path in ranked if path is not None]

    def stuck_at(self) -> int:
        """The operation whose return no order gets past, though one explains all returns before it."""
        return self.by_return[self._furthest]

    def allow(self, seconds: float, memory_bytes: int | None) -> None:
        """Before a witness is asked for: the model may be asked again, for so long."""
        self.deadline = monotonic() + seconds
        self._step = self.model.stepper(StepContext(self.deadline))

    def refusals(self, final: Stuck, most: int) -> tuple[list[tuple[int, str]], int]:
        """For operations open where the search got stuck, what the model says to them there; and how many more.

        Raises TimeIsUp when what was allowed is used up.
        """
        done = set(unwound(final.path))
        window = self.rets[self.stuck_at()]
        optional = (i for i, o in enumerate(self._phase_of) if o == OPTIONAL)
        open_then = [
            i for i in (*self.required, *optional) if i not in done and self.calls[i] <= window
        ]
        found: list[tuple[int, str]] = []
        for index in open_then[:most]:
            reached = self._take(index, final.state)
            must_not_be_over(self.deadline)
            after = "" if reached == REFUSED else self.model.state_text(self._states.known[reached])
            found.append((index, refusal_text(reached, final.state, after)))
        return found, len(open_then) - len(found)

    def unwound(self, final: Stuck) -> list[int]:
        """The order that leads to where the search got stuck."""
        return unwound(final.path)

    def forget(self) -> None:
        """Let go of what was only needed to search on."""
        self._memo.clear()
        self._transitions.clear()
        self._stack.clear()
        self.bytes = 0
        known = list(self._states.known)
        self._states.clear()
        self.finals = [
            replace(final, state=self._states.number(known[final.state])) for final in self.finals
        ]

    def state_of(self, final: Stuck) -> Any:
        return self._states.known[final.state]
