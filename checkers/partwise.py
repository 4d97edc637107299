"""Linearizability, part by part: the same question asked of each part, cheapest first.

Linearizability is local (Herlihy and Wing 1990): a history has an order exactly if each part has one. Parts
differ by orders of magnitude in cost, so none may wait for another: every part first goes through the model's
polynomial gate (Gibbons and Korach 1997), then those it could not decide are searched with a budget of steps that
doubles from round to round, smallest part first. A restart costs at most as much as all rounds before it, and
a violation in a cheap part is never hidden by an expensive one.

No files, no clock of its own beyond the deadline it is given: linearizability.py is the process around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from time import monotonic
from typing import Any, Final, Literal

import msgspec

import porcupine
from checkers.judging import Judge
from checkers.monitor import CLOCK_BOUND, FINDINGS_MAX, describe, seconds
from checkers.records.fitness import Operation
from checkers.records.reading import RecordsError
from checkers.records.schema import Evidence, Finding, HistoryEvent

PROPERTY: Final = "P-LIN"
FIRST_STEPS: Final = 20_000
"""Budget of the first round of the search: some milliseconds, and enough for almost every part."""
LEASE_STEPS: Final = 200_000
"""Budget of the second look at a violated part, without its lease reads."""
SHOWN_MAX: Final = 12
"""Operations that one finding points at; a search's witness may name many more."""

WORDS_S: Final = 2.0
"""For the findings' words and second looks, when the time is up."""
LEASE: Final = "lease"
ZONES: Final = "zones"
"""What porcupine calls the engine that settles parts of registers."""

WORDS: Final = {
    "timeout": "out of time",
    "memory": "out of memory",
    "step limit": "still being searched",
    "left": "left when another part was violated",
    "not applicable": "still to be searched",
}

State = Literal["undecided", "ok", "illegal"]


class Part(msgspec.Struct, gc=False):
    """One part of a history, and how far its decision has come. `sources[i]` is what `operations[i]` was made of."""

    key: Hashable
    model: porcupine.Model
    operations: list[porcupine.Operation] = []
    sources: list[Operation] = []
    state: State = "undecided"
    engine: str = ""
    steps: int = 0
    linearized: int = 0
    cause: str = ""
    witness: porcupine.Witness | None = None


class Limits(msgspec.Struct, frozen=True):
    """When to give up: `deadline` on time.monotonic's clock, in seconds; `memory_bytes` for one search."""

    deadline: float | None = None
    memory_bytes: int | None = None

    def left_s(self) -> float | None:
        return None if self.deadline is None else self.deadline - monotonic()

    def over(self) -> bool:
        left = self.left_s()
        return left is not None and left <= 0


class Whole(msgspec.Struct, frozen=True):
    """A history of which only a few parts are at hand: the others have an order, and nobody asks for their operations."""

    operations: int
    aside: int
    largest: int
    settled: int
    """Parts that are not at hand; the zones of registers accepted them."""


class Decision:
    """One history on its way to a verdict. `run` may take until the deadline; the rest may be asked at any time."""

    def __init__(
        self,
        operations: Sequence[Operation],
        judge: Judge,
        file: str,
        whole: Whole | None = None,
    ) -> None:
        """RecordsError for an operation that the judge does not know. Those of settled parts are not among them."""
        self._file = file
        self._judge = judge
        self._rounds = 0
        self._told: dict[int, Finding] = {}
        self.parts, self.aside = split(operations, judge)
        largest = max((len(part.operations) for part in self.parts), default=0)
        self._whole = whole or Whole(len(operations), len(self.aside), largest, 0)
        self.objections = list(judge.objections(operations, self.aside))

    def run(self, limits: Limits, note: Callable[[], None] = lambda: None) -> None:
        """Decide what can be decided; `note` is called whenever more may have become known."""
        for part in self.parts:
            if limits.over():
                part.cause = "timeout"
                continue
            ask(part, limits, prefer="gate")
        open_ = sorted(self.undecided(), key=lambda part: len(part.operations))
        steps = FIRST_STEPS
        while open_:
            self._rounds += 1
            for part in open_:
                note()
                if limits.over():
                    part.cause = "timeout"
                else:
                    ask(part, limits, prefer="search", step_limit=steps)
            if limits.over() or self.violations():
                # What is illegal stays so: only parts that might hide the first violation are worth more time.
                for part in self.undecided():
                    if part.cause == "step limit":
                        part.cause = "timeout" if limits.over() else "left"
                return
            # Who ran out of memory will do so again; who ran out of steps gets twice as many.
            open_ = [
                part for part in open_ if part.state == "undecided" and part.cause == "step limit"
            ]
            steps *= 2

    # ---- what is known -------------------------------------------------------------------------

    def undecided(self) -> list[Part]:
        return [part for part in self.parts if part.state == "undecided"]

    def violations(self) -> int:
        return sum(part.state == "illegal" for part in self.parts) + len(self.objections)

    def because(self) -> str:
        """Why and where it stopped short; "" when every part is decided."""
        open_ = self.undecided()
        if not open_:
            return ""
        causes = Counter(part.cause or "not yet looked at" for part in open_)
        why = ", ".join(WORDS.get(cause, cause) for cause, _ in causes.most_common())
        far = max(open_, key=lambda part: len(part.operations))
        parts = len(self.parts) + self._whole.settled
        return (
            f"{why}: {parts - len(open_)} of {parts} parts decided; "
            f"undecided {_list(_name(part.key) for part in open_)}; of {_name(far.key)} at most "
            f"{far.linearized} of {len(far.operations)} operations were put in an order"
        )

    def statistics(self) -> dict[str, Any]:
        whole = self._whole
        engines = Counter(part.engine for part in self.parts if part.state != "undecided")
        if whole.settled:
            engines[ZONES] += whole.settled
        return {
            "operations": whole.operations,
            "judged_aside": whole.aside,
            "parts": len(self.parts) + whole.settled,
            "largest_part": whole.largest,
            "parts_by_engine": dict(sorted(engines.items())),
            "steps": sum(part.steps for part in self.parts),
            "rounds": self._rounds,
            "undecided_parts": [_name(part.key) for part in self.undecided()],
        }

    def findings(self, limits: Limits) -> list[Finding]:
        """One for each violated part, and one for each objection; the earliest FINDINGS_MAX of them."""
        # To put it in words is worth a little more than the time there was.
        latest = monotonic() + WORDS_S
        if limits.deadline is not None:
            limits = msgspec.structs.replace(limits, deadline=max(limits.deadline, latest))
        illegal = [part for part in self.parts if part.state == "illegal"]
        found = [self._found(part, limits) for part in sorted(illegal, key=_when)[:FINDINGS_MAX]]
        for objection in self.objections[:FINDINGS_MAX]:
            shown = list(objection.operations)
            found.append(
                Finding(
                    property=PROPERTY,
                    text=objection.text,
                    evidence=self._evidence(shown),
                    time=_time(shown[:1]),
                    details={
                        "key": objection.part,
                        "operations": [operation.invoke.op for operation in shown],
                    },
                )
            )
        found.sort(key=lambda finding: finding.time)
        return found[:FINDINGS_MAX]

    def _found(self, part: Part, limits: Limits) -> Finding:
        known = self._told.get(id(part))
        if known is None:
            known = self._told[id(part)] = self._finding(part, limits)
        return known

    def _finding(self, part: Part, limits: Limits) -> Finding:
        rests_on, part = without_leases(part, limits)
        witness = part.witness
        details: dict[str, Any] = {"key": part.key, "engine": part.engine}
        if witness is None:
            return Finding(
                property=PROPERTY,
                text=f"{_name(part.key)} is not linearizable",
                rests_on=rests_on,
                details=details | {"operations": []},
            )
        if witness.stuck_at is not None:
            named = [part.sources[witness.stuck_at]]
        else:
            named = [part.sources[i] for i in witness.operations]
        indices = sorted(
            {*witness.operations, *witness.support}, key=lambda i: part.operations[i].call
        )
        shown = [part.sources[i] for i in indices]
        if witness.stuck_at is not None:
            reason = (
                "what had returned before can be put in an order, but no order goes on to "
                f"{describe(named[0])}, over at {seconds(_time(named))}"
            )
        else:
            said = self._judge.explain(part.key, shown, part.sources)
            if said is None:
                reason = _first_line(witness.text)
            else:
                reason = said.text
                named = shown = list(said.operations)
        return Finding(
            property=PROPERTY,
            text=f"{_name(part.key)} is not linearizable: {reason}",
            evidence=self._evidence(shown),
            time=_time(named),
            rests_on=rests_on,
            details=details
            | {
                "operations": [operation.invoke.op for operation in shown],
                "closed": witness.closed,
                "witness": witness.text,
            },
        )

    def _evidence(self, operations: Sequence[Operation]) -> list[Evidence]:
        """Both ends of each operation, in the order of the history."""
        lines: list[tuple[HistoryEvent, str]] = []
        for operation in operations[:SHOWN_MAX]:
            words = describe(operation)
            lines.append((operation.invoke, f"begins: {words}"))
            if operation.completion is not None:
                lines.append((operation.completion, f"ends: {words}"))
        lines.sort(key=lambda line: line[0].index)
        return [Evidence(self._file, event.index, event.time, text) for event, text in lines]


def split(operations: Sequence[Operation], judge: Judge) -> tuple[list[Part], list[Operation]]:
    """The parts in the order in which they first appear, and the operations that stand aside."""
    parts: dict[Hashable, Part] = {}
    aside: list[Operation] = []
    point_of, make = judge.point, porcupine.Operation
    for source in operations:
        invoke, completion = source.invoke, source.completion
        try:
            point = point_of(source)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordsError(
                f"operation {invoke.op} (line with index {invoke.index}): the model cannot judge it: {error}"
            ) from error
        if point is None:
            aside.append(source)
            continue
        key, given, output, outcome = point
        part = parts.get(key)
        if part is None:
            part = parts[key] = Part(key, judge.model(key), [], [])
        part.operations.append(
            make(
                invoke.process,
                given,
                invoke.time,
                output,
                None if completion is None else completion.time,
                outcome,
            )
        )
        part.sources.append(source)
    return list(parts.values()), aside


def ask(
    part: Part,
    limits: Limits,
    *,
    prefer: Literal["auto", "gate", "search"],
    step_limit: int | None = None,
) -> None:
    """Ask porcupine once about a part, and keep what it said. RecordsError if it cannot understand the part."""
    left = limits.left_s()
    try:
        result = porcupine.check(
            part.operations,
            part.model,
            # 0 would be no limit at all.
            timeout_s=None if left is None else max(left, 0.001),
            memory_bytes=limits.memory_bytes,
            step_limit=step_limit,
            prefer=prefer,
        )
    except MemoryError:
        part.cause = "memory"
        return
    except porcupine.PorcupineError as error:
        raise RecordsError(f"{_name(part.key)} cannot be judged: {error}") from error
    part.steps += result.steps
    part.linearized = max(part.linearized, result.progress.operations_linearized)
    part.engine = result.parts[0].engine if result.parts else "none"
    part.cause = result.cause or ""
    if result.verdict == "ok":
        part.state = "ok"
    elif result.verdict == "illegal":
        part.state = "illegal"
        part.witness = result.witness


def without_leases(part: Part, limits: Limits) -> tuple[list[str], Part]:
    """What an illegal part's violation rests on, and the part to show for it.

    Taking reads out of a history never makes it illegal. So what is illegal without its lease reads does not
    rest on clocks, and says more; only what needs them does. A witness that is closed and names none needs
    none.
    """
    witness = part.witness
    named: Iterable[int] = range(len(part.sources))
    if witness is not None and witness.closed:
        named = (*witness.operations, *witness.support)
    if not any(_by_lease(part.sources[i]) for i in named):
        return [], part
    kept = [i for i, source in enumerate(part.sources) if not _by_lease(source)]
    other = Part(
        part.key, part.model, [part.operations[i] for i in kept], [part.sources[i] for i in kept]
    )
    if not limits.over():
        ask(other, limits, prefer="auto", step_limit=LEASE_STEPS)
    return ([], other) if other.state == "illegal" else ([CLOCK_BOUND], part)


def _by_lease(operation: Operation) -> bool:
    return operation.invoke.mode == LEASE


def _time(operations: Sequence[Operation]) -> int:
    """When it could be known: the last event of any of these."""
    return max((op.completion or op.invoke).time for op in operations) if operations else 0


def _when(part: Part) -> int:
    if part.witness is None:
        return 0
    stuck = part.witness.stuck_at
    return _time([part.sources[i] for i in part.witness.operations if stuck in (None, i)])


def _first_line(text: str) -> str:
    line = text.split("\n", 1)[0].rstrip(".:")
    return line[:1].lower() + line[1:]


def _name(key: Hashable) -> str:
    return "the history" if key is None else f"key {key}"


def _list(names: Any, most: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
