"""From events to operations: whatever a file looks like, an invocation and its completion make one call.

A process does one operation at a time (Herlihy and Wing, "Linearizability", 1990: histories are well-formed). A
completion of nothing, a second one, or an invocation while another is open means that lines are missing or in
disorder, and no verdict could be trusted: such a file is refused, and the message names event and line.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from porcupine.errors import FormatError

Kind = Literal["invoke", "ok", "fail", "info"]
KINDS: Final = frozenset({"invoke", "ok", "fail", "info"})
SHOWN_MAX: Final = 60


class Seen:
    """What a format lets an operation say beyond its value: `Seen(v)` saw v, though its :value cannot tell."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Row(NamedTuple):
    """One event. `number` counts the file's events from 0, `line` its lines from 1.

    `seen` is None, or what the event saw beside its value.
    """

    number: int
    line: int
    kind: Kind
    process: Hashable
    f: str
    value: Any
    key: Any = None
    seen: Seen | None = None


@dataclass(slots=True)
class Call:
    """One operation as the file has it. `call` and `back` are the numbers of its events, from 0.

    `kind` is that of its completion, or "info" where there is none; `asked` is the invocation's value, `got` the
    completion's.
    """

    process: Hashable
    f: str
    key: Any
    asked: Any
    call: int
    line: int
    kind: Kind = "info"
    got: Any = None
    back: int | None = None
    back_line: int | None = None
    seen: Seen | None = None

    def where(self) -> str:
        """For a message: which events these are, and on which lines."""
        if self.back is None:
            return f"event {self.call} (line {self.line})"
        return f"events {self.call} and {self.back} (lines {self.line} and {self.back_line})"


def shown(value: Any) -> str:
    """A value for a message, of bounded length."""
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def paired(rows: Iterable[Row]) -> list[Call]:
    """The calls of events in their order, in order of invocation. Raises FormatError if they are no history."""
    calls: list[Call] = []
    running: dict[Hashable, Call] = {}
    for number, line, kind, process, f, value, key, seen in rows:
        if kind == "invoke":
            call = Call(process, f, key, value, number, line)
            open_one = running.setdefault(process, call)
            if open_one is not call:
                raise FormatError(
                    f"event {number} (line {line}): process {process!r} invokes {f!r}, but its {open_one.f!r} of "
                    f"event {open_one.call} (line {open_one.line}) is still open; one process does one "
                    "operation at a time"
                )
            calls.append(call)
            continue
        finished = running.pop(process, None)
        if finished is None:
            raise FormatError(
                f"event {number} (line {line}): process {process!r} completes {f!r} with {kind!r}, but has "
                "nothing open: it was never invoked, or is completed twice"
            )
        if finished.f != f or (key is not None and key != finished.key):
            ours, theirs = (f, finished.f) if finished.f != f else (key, finished.key)
            raise FormatError(
                f"event {number} (line {line}): process {process!r} completes {shown(ours)}, but what it has "
                f"open is {shown(theirs)} of event {finished.call} (line {finished.line})"
            )
        finished.kind, finished.got, finished.seen = kind, value, seen
        finished.back, finished.back_line = number, line
    return calls
