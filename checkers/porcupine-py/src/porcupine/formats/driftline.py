"""Driftline's history.jsonl: a header, then one event a line, tied together by `op` (docs/formats.md of that project).

A completed `cas` that found another value is "ok" and says what it saw; "fail" did not happen, "info" and an invoke
without an end may have. A process never speaks again after an "info". Reads with mode "local" promise nothing, and are
left out. Lines reach the disk one by one, so that a kill can tear the last line of a file and no other: that one is
cut, and said to be.
"""

from __future__ import annotations

import json
from typing import Any, Final

from porcupine.errors import FormatError
from porcupine.formats.edn import Map
from porcupine.formats.events import KINDS, Call, Seen, shown
from porcupine.formats.meaning import Conventions
from porcupine.history import UNKNOWN

FORMAT: Final = "driftline-history"
VERSION: Final = 1
CONVENTIONS: Final = Conventions(nil_read="value", failed="dropped", keyed=True)
LOCAL: Final = "local"
TIME_MAX: Final = 1 << 62


def is_header(line: str) -> bool:
    """Whether a line says that this is such a file, of whatever version."""
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("format") == FORMAT


def read(text: str) -> tuple[list[Call], list[str]]:
    """The calls of a history, in order of invocation, and notes on what was cut or left out.

    `call` and `back` of each are times in nanoseconds. Raises FormatError for a file that cannot be a history.
    """
    notes: list[str] = []
    lines = text.split("\n")
    if lines[-1]:
        try:
            json.loads(lines[-1])
        except (ValueError, RecursionError):
            notes.append(f"the torn last line, {len(lines)}, is cut")
            del lines[-1]
    if not lines or not is_header(lines[0]):
        raise FormatError(
            f'line 1 is no header of a driftline history ({{"format": "{FORMAT}", ...}})'
        )
    version = json.loads(lines[0]).get("version")
    if version != VERSION:
        raise FormatError(
            f"line 1: version {shown(version)} of a driftline history; this reads {VERSION}"
        )
    calls: dict[int, Call] = {}
    open_of: dict[int, Call] = {}
    ended: dict[int, int] = {}
    local: set[int] = set()
    now, due = 0, 0
    for line, content in enumerate(lines[1:], 2):
        if not content.strip():
            continue
        event = _event(content, line)
        number, time, kind, process, op = (
            event[name] for name in ("index", "time", "type", "process", "op")
        )
        where = f"event {number} (line {line})"
        if number != due:
            raise FormatError(
                f"line {line}: its index is {number}, where {due} is due: lines are missing"
            )
        due += 1
        if not now <= time <= TIME_MAX:
            raise FormatError(f"{where}: time goes from {now} to {time} ns")
        now = time
        f, key = event["f"], event.get("key")
        if kind == "invoke":
            if op in calls:
                raise FormatError(f"{where}: operation {op} is invoked a second time")
            if process in open_of:
                raise FormatError(
                    f"{where}: process {process} invokes operation {op} while its {open_of[process].f!r} (line "
                    f"{open_of[process].line}) is still open"
                )
            if process in ended:
                raise FormatError(
                    f"{where}: process {process} goes on after its outcome was unknown in line {ended[process]}"
                )
            calls[op] = open_of[process] = Call(
                process, f, key, _asked(f, event.get("value"), where), time, line
            )
            if event.get("mode") == LOCAL:
                local.add(op)
            continue
        call = calls.get(op)
        if call is None or open_of.get(process) is not call:
            what = (
                "was never invoked by it" if call is None or call.process != process else "is over"
            )
            raise FormatError(f"{where}: process {process} completes operation {op}, which {what}")
        if (f, key) != (call.f, call.key):
            raise FormatError(
                f"{where}: operation {op} is completed as {f} {key}, but was invoked as {call.f} {call.key} in "
                f"line {call.line}"
            )
        del open_of[process]
        if kind == "info":
            ended[process] = line
        call.back, call.back_line = time, line
        _complete(call, kind, event.get("value"), where)
    if local:
        notes.append(f"{len(local)} reads of mode local are left out: they promise nothing")
    return [call for op, call in calls.items() if op not in local], notes


def _event(content: str, line: int) -> dict[str, Any]:
    try:
        event = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"line {line} is no JSON ({error}): {content[:80]!r}") from None
    if not isinstance(event, dict):
        raise FormatError(f"line {line} is no event, which is an object: {content[:80]!r}")
    for name in ("index", "time", "process", "op"):
        if type(event.get(name)) is not int:
            raise FormatError(
                f"line {line}: {name} must be a whole number, found {shown(event.get(name))}"
            )
    if event.get("type") not in KINDS or type(event.get("f")) is not str:
        raise FormatError(
            f"line {line}: wants a type (invoke, ok, fail, info) and f: {content[:80]!r}"
        )
    return event


def _asked(f: str, value: Any, where: str) -> Any:
    if f != "cas":
        return frozen(value, where)
    if not isinstance(value, dict) or not value.keys() >= {"from", "to"}:
        raise FormatError(f'{where}: a cas has the value {{"from", "to"}}, found {shown(value)}')
    return frozen(value["from"], where), frozen(value["to"], where)


def _complete(call: Call, kind: Any, value: Any, where: str) -> None:
    call.kind = kind
    if kind != "ok":
        return
    if call.f == "add" and isinstance(value, dict) and value.keys() == {"add", "now"}:
        # Its adds answer with the counter after them.
        call.f, call.got = "add_and_get", frozen(value["now"], where)
        return
    if call.f != "cas":
        call.got = frozen(value, where)
        return
    call.got = _asked("cas", value, where)
    swapped = value.get("swapped")
    if type(swapped) is not bool:
        raise FormatError(f"{where}: a completed cas says whether it swapped, found {shown(value)}")
    if not swapped:
        saw = frozen(value["saw"], where) if "saw" in value else UNKNOWN
        call.seen = Seen(saw)


def frozen(value: Any, where: str) -> Any:
    """A value of JSON that can be hashed: lists as tuples, objects as Maps."""
    if isinstance(value, list):
        return tuple(frozen(item, where) for item in value)
    if isinstance(value, dict):
        return Map((key, frozen(item, where)) for key, item in value.items())
    if isinstance(value, float) and value - value != 0:
        raise FormatError(f"{where}: {value!r} is no value that equals itself, or is a number")
    return value
