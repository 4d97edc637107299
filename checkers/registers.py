"""The judge of registers: read, write and compare-and-set, key by key.

Used by the register workload for our own histories and by checkers/formats for those of other tools. A
compare-and-set that found another value is an observation, and judged as one. A local read asks nobody and
may be stale by design, so that only one thing can be wrong with it: a value that was never written.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import porcupine
import porcupine.models
from checkers.judging import Objection, Point
from checkers.local_reads import answered, is_local, words
from checkers.monitor import MS, describe
from checkers.records.fitness import Operation

READ: Final = ("read",)


class RegisterJudge:
    """Each key is a register (checkers/judging.py). Reads by mode "local" may be stale, and stand aside.

    `nil_is_unknown`: a read of None says nothing (Knossos' convention), instead of "never written".
    """

    def __init__(
        self,
        model: porcupine.Model | None = None,
        *,
        cas: bool = True,
        nil_is_unknown: bool = False,
    ) -> None:
        self.plain = model is None and cas and not nil_is_unknown
        """Read, write and cas of a register that holds None at first, in our own words (porcupine/recorded.py)."""
        self._model = porcupine.models.cas_register(initial=None) if model is None else model
        self._cas = cas
        self._nil_is_unknown = nil_is_unknown

    def model(self, part: Hashable) -> porcupine.Model:
        return self._model

    def point(self, operation: Operation) -> Point | None:
        invoke, completion = operation.invoke, operation.completion
        f, outcome = invoke.f, operation.outcome
        saw: Any = porcupine.UNKNOWN
        if f == "read":
            if is_local(operation):
                return None
            if outcome == "ok" and completion is not None:
                saw = completion.value
                if saw is None and self._nil_is_unknown:
                    return Point(invoke.key, READ, porcupine.UNKNOWN, "info")
            return Point(invoke.key, READ, saw, outcome)
        if f == "write":
            if outcome == "ok":
                saw = None
            return Point(invoke.key, ("write", invoke.value), saw, outcome)
        if f == "cas" and self._cas:
            asked = invoke.value
            if not isinstance(asked, dict) or not asked.keys() >= {"from", "to"}:
                raise ValueError(f"the value of a cas is {{from, to}}, found {asked!r}")
            if outcome == "ok" and completion is not None:
                saw = _swapped(completion.value)
            return Point(invoke.key, ("cas", asked["from"], asked["to"]), saw, outcome)
        raise ValueError(
            f"a register has read, write{' and cas' if self._cas else ''}, found {f!r}"
        )

    def objections(
        self, operations: Sequence[Operation], aside: Sequence[Operation]
    ) -> list[Objection]:
        """A local read may be stale, but what it saw must once have been written, and not in its future.

        A write that definitely failed, and a cas that did not swap, have written nothing.
        """
        looks = [(look, end) for look, end in answered(aside) if end.value is not None]
        if not looks:
            return []
        # By repr, for values need not be hashable.
        writes: dict[tuple[str | None, str], Operation] = {}
        for operation in operations:
            if operation.invoke.f != "read":
                name = (operation.invoke.key, repr(_written(operation)))
                known = writes.get(name)
                if known is None or (not _may_write(known) and _may_write(operation)):
                    writes[name] = operation
        found: list[Objection] = []
        for look, completion in looks:
            write = writes.get((look.invoke.key, repr(completion.value)))
            said = f"{words(look)} saw {completion.value!r}, "
            if write is None:
                said += "which nobody ever wrote there"
            elif not _may_write(write):
                said += f"which was not written: {describe(write)}"
            elif write.invoke.index > completion.index:
                said += "before its write was begun"
            else:
                continue
            found.append(
                Objection(look.invoke.key, said, [look] if write is None else [look, write])
            )
        return found

    def explain(
        self, part: Hashable, witness: Sequence[Operation], whole: Sequence[Operation]
    ) -> Objection | None:
        """The three plainest violations in a sentence: a value from nowhere, from the future, from the past.

        Only for a witness whose values each have one producer, as the zones' have.
        """
        producers = {_written(op): op for op in witness if _may_write(op)}
        for look in witness:
            saw = _observed(look)
            if saw is NOTHING or look.completion is None:
                continue
            old = producers.get(saw)
            if old is look or (old is None and saw is not None):
                failed = [op for op in whole if _written(op) == saw and not _may_write(op)]
                if old is None and failed:
                    text = f"{describe(look)}, which was not written: {describe(failed[0])}"
                    return Objection(part, text, [failed[0], look])
                continue
            if old is not None and old.invoke.time > look.completion.time:
                text = f"{describe(look)} before {_named(old)} was begun"
                return Objection(part, text, [look, old])
            for new in witness:
                if new in (look, old) or not _may_write(new) or not _over(new, look):
                    continue
                if old is None:
                    return Objection(part, _too_late(look, new), [new, look])
                if _over(old, new):
                    text = f"{_too_late(look, new)}, and {_named(old)} was over before the newer one began"
                    return Objection(part, text, [old, new, look])
        return None


NOTHING: Final = object()


def _written(operation: Operation) -> Any:
    """The value that it writes, if it takes effect; NOTHING of a read."""
    invoke = operation.invoke
    if invoke.f == "cas":
        return invoke.value["to"]
    return invoke.value if invoke.f == "write" else NOTHING


def _observed(operation: Operation) -> Any:
    """The value that it saw, or else NOTHING."""
    completion = operation.completion
    if operation.outcome != "ok" or completion is None:
        return NOTHING
    if operation.invoke.f == "read":
        return completion.value
    if operation.invoke.f == "cas":
        value = completion.value
        return operation.invoke.value["from"] if value["swapped"] else value.get("saw", NOTHING)
    return NOTHING


def _over(first: Operation, second: Operation) -> bool:
    """Was the first over before the second began?"""
    done = first.completion
    return first.outcome == "ok" and done is not None and done.time < second.invoke.time


def _too_late(look: Operation, new: Operation) -> str:
    assert new.completion is not None
    gone_ms = (look.invoke.time - new.completion.time) / MS
    return f"{describe(look)}, but {_named(new)} had been acknowledged {gone_ms:.3f} ms before that began"


def _swapped(value: Any) -> Any:
    """A completed cas as the model's output: True, what it saw, or False where the system does not say what it saw."""
    if not isinstance(value, dict) or not isinstance(value.get("swapped"), bool):
        raise ValueError(f"an ok cas has the value {{from, to, swapped[, saw]}}, found {value!r}")
    if value["swapped"]:
        return True
    return porcupine.Saw(value["saw"]) if "saw" in value else False


def _may_write(operation: Operation) -> bool:
    """May it have changed the register?"""
    if operation.invoke.f == "read":
        return False
    completion = operation.completion
    if operation.outcome != "ok" or completion is None:
        return operation.outcome == "info"
    value = completion.value
    return not (operation.invoke.f == "cas" and isinstance(value, dict) and not value["swapped"])


def _named(operation: Operation) -> str:
    invoke = operation.invoke
    if invoke.f == "cas":
        return f"the cas of {invoke.value['from']!r} to {invoke.value['to']!r}"
    return f"the write of {invoke.value!r}"
