"""Jepsen's histories: EDN in and out, and the text logs of its first years (as in Porcupine's test data).

Out, for Knossos: one op map a line. With several keys values are Jepsen's independent tuples [k v]. A
compare-and-set that found another value is our "ok" with what it saw, and becomes :fail, which Knossos drops.
Reads by mode "local" promise nothing and are left out. What Knossos cannot be told stands beside, under :saw,
and is found again by `read`; docs/formats.md has the table.

In, EDN as Knossos takes it: :fail did not happen, :info may have, an ok read of nil says nothing, the
register holds nil at first. In, text as Porcupine's etcd test takes it: a failed cas has *seen* another
value, a read of nil has seen nil, a failed read is nothing. Ops of :nemesis and other processes without a
number are passed over. Order is the order of the lines.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.formats import edn
from checkers.formats.foreign import CAS_REGISTER, KV, ForeignHistory, judge_named
from checkers.records.reading import RecordsError, read_history
from checkers.records.schema import HistoryEvent

EDN: Final = "jepsen-edn"
TEXT: Final = "jepsen-log"
TYPES: Final = frozenset({"invoke", "ok", "fail", "info"})
KV_OPS: Final = frozenset({"get", "put", "append"})

EDN_CONVENTIONS: Final = (
    ":fail operations did not happen and are dropped",
    "an ok read of nil says nothing about the register (Knossos)",
    "a register holds nil at first",
)
EXPORT_CONVENTIONS: Final = (
    "written by driftline: a failed compare-and-set and a read of nil saw what :saw says",
    "other :fail operations did not happen and are dropped",
    "a register holds nil at first",
)
TEXT_CONVENTIONS: Final = (
    "a failed compare-and-set saw another value than the one it expected (Porcupine)",
    "a read of nil saw nil, which the register holds at first",
    "a failed read says nothing",
)

LINE: Final = re.compile(
    r".*?jepsen\.util\s+-\s+(?P<process>\S+)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>[\w-]+)\s+(?P<value>.*?)\s*$"
)


# ---- out -----------------------------------------------------------------------------------------


def export(history: Path) -> str:
    """One of our histories as Jepsen EDN. RecordsError if it is none, or holds what EDN cannot."""
    events = read_history(history).events
    asked: dict[int, HistoryEvent] = {}
    kept: list[HistoryEvent] = []
    for event in events:
        if event.type == "invoke":
            asked[event.op] = event
        if asked.get(event.op, event).mode != "local":
            kept.append(event)
    keyed = len({event.key for event in kept}) > 1
    try:
        return "".join([op_line(i, event, asked, keyed) for i, event in enumerate(kept)])
    except edn.EdnError as error:
        raise RecordsError(f"{history}: {error}") from error


def op_line(index: int, event: HistoryEvent, asked: Mapping[int, HistoryEvent], keyed: bool) -> str:
    """One op map. :index is the number of the line, as Jepsen wants it: without gaps."""
    write = edn.write
    kind: str = event.type
    value, beside = event.value, ""
    if event.f == "cas":
        if kind == "ok" and isinstance(value, Mapping) and not value.get("swapped"):
            kind = "fail"
            if "saw" in value:
                beside = f", :saw {write(value['saw'])}"
        invoke = asked.get(event.op, event).value
        value = [invoke["from"], invoke["to"]] if isinstance(invoke, Mapping) else invoke
    elif value is None and kind == "ok" and event.f == "read":
        beside = ", :saw nil"
    shown = f"[{write(event.key)} {write(value)}]" if keyed else write(value)
    if event.node is not None:
        beside += f", :node {write(event.node)}"
    if event.mode is not None:
        beside += f", :mode {write(event.mode)}"
    if event.error is not None:
        beside += f", :error {write(event.error)}"
    return (
        f"{{:index {index}, :time {event.time}, :type :{kind}, :process {event.process}, "
        f":f :{event.f}, :value {shown}{beside}}}\n"
    )


# ---- in: EDN -------------------------------------------------------------------------------------


def read(path: Path, model: str | None = None) -> ForeignHistory:
    """A Jepsen history, EDN or a text log; RecordsError if it is neither.

    `model` is one of foreign.MODELS or 'module:function'; without it a compare-and-set register, or the store
    of strings where the operations are put, append and get.
    """
    text, crc = read_text(path)
    return (read_log if is_text_log(text) else read_edn)(path, text, crc, model)


def is_text_log(text: str) -> bool:
    return any(LINE.match(line) for line in text[:4096].splitlines())


def read_text(path: Path) -> tuple[str, str]:
    """A file's text, and the crc32 of its bytes in hex."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig"), f"{zlib.crc32(data):08x}"
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path}: is no text: {error}") from error


def read_edn(path: Path, text: str, crc: str, model: str | None) -> ForeignHistory:
    ops, torn = op_maps(path, text)
    f_names = {str(op["f"]) for op in ops if "f" in op}
    strings = bool(f_names) and f_names <= KV_OPS
    keyed = any(isinstance(op.get("value"), edn.Pair) for op in ops) or _looks_keyed(ops)
    events = _events(path, ops, keyed)
    name = model if model is not None else KV if strings else CAS_REGISTER
    # Our own export marks every read that saw nil; a file without marks is read as Knossos reads it.
    marked = any("saw" in op for op in ops)
    return ForeignHistory(
        EDN,
        name,
        judge_named(name, nil_is_unknown=not marked),
        events,
        crc,
        EXPORT_CONVENTIONS if marked else EDN_CONVENTIONS,
        torn,
    )


def op_maps(path: Path, text: str) -> tuple[list[Mapping[str, Any]], bool]:
    """The op maps of a text: one after the other, or in one vector. True with them if the last one is torn."""
    found: list[Any] = []
    torn = False
    try:
        for form in edn.forms(text):
            found.append(form)
    except edn.Torn as error:
        if not found:
            raise RecordsError(f"{path}: {error}") from error
        torn = True
    except edn.EdnError as error:
        raise RecordsError(f"{path}: {error}") from error
    if len(found) == 1 and isinstance(found[0], tuple):
        found = list(found[0])
    for number, op in enumerate(found):
        if not isinstance(op, Mapping) or op.get("type") not in TYPES or "process" not in op:
            raise RecordsError(
                f"{path}: form {number} is no operation: it has to be a map with :type "
                f"{', '.join(sorted(TYPES))} and a :process"
            )
    return found, torn


def _looks_keyed(ops: Sequence[Mapping[str, Any]]) -> bool:
    """Are values written as [k v]? In plain EDN a tuple of jepsen.independent looks like any vector."""
    for op in ops:
        value, f = op.get("value"), op.get("f")
        pair = isinstance(value, tuple) and len(value) == 2
        if f in ("read", "write"):
            return pair
        if f == "cas" and pair:
            return isinstance(value[1], tuple)  # type: ignore[index]
    return False


def _events(path: Path, ops: Sequence[Mapping[str, Any]], keyed: bool) -> list[HistoryEvent]:
    """Op maps as events; a completion belongs to the last invocation of its process."""
    clients = [op for op in ops if type(op["process"]) is int]
    # Jepsen's order is that of the list; its times are used only where they say the same.
    times = [time for op in clients if type(time := op.get("time")) is int]
    if len(times) != len(clients) or any(b <= a for a, b in pairwise(times)):
        times = list(range(len(clients)))
    running: dict[int, tuple[int, HistoryEvent]] = {}
    events: list[HistoryEvent] = []
    number = 0
    for index, op in enumerate(clients):
        kind: Any = str(op["type"])
        process, f = op["process"], str(op.get("f"))
        value = op.get("value")
        key = op.get("key")
        if keyed and isinstance(value, tuple) and len(value) == 2:
            key, value = value
        if kind == "invoke":
            this, invoke = number, None
            number += 1
        elif process in running:
            this, invoke = running.pop(process)
            key = invoke.key if key is None else key
        else:
            # A completion of nothing: it is kept, so that the records are found unfit.
            this, invoke = number, None
            number += 1
        kind, value = _value(path, index, f, kind, value, op, invoke)
        event = HistoryEvent(
            index=index,
            time=times[index],
            type=kind,
            process=process,
            op=this,
            f=f,
            key=None if key is None else key if isinstance(key, str) else edn.write(key),
            value=value,
            node=op.get("node"),
            mode=op.get("mode"),
            error=None if op.get("error") is None else str(op["error"]),
        )
        if kind == "invoke":
            running[process] = (this, event)
        events.append(event)
    return events


def _value(
    path: Path,
    index: int,
    f: str,
    kind: str,
    value: Any,
    op: Mapping[str, Any],
    invoke: HistoryEvent | None,
) -> tuple[str, Any]:
    """Type and value in our shape. :saw, which only our own export writes, restores what Knossos cannot be told."""
    if f == "cas":
        if kind == "invoke":
            if not isinstance(value, tuple) or len(value) != 2:
                raise RecordsError(
                    f"{path}: op {index}: a cas has the value [old new], found {value!r}"
                )
            return kind, {"from": value[0], "to": value[1]}
        asked = dict(invoke.value) if invoke is not None and isinstance(invoke.value, dict) else {}
        if kind == "fail" and "saw" in op:
            return "ok", asked | {"swapped": False, "saw": op["saw"]}
        return kind, asked | {"swapped": True} if kind == "ok" else asked
    return kind, value


# ---- in: text ------------------------------------------------------------------------------------


def read_log(path: Path, text: str, crc: str, model: str | None) -> ForeignHistory:
    """A text log: `INFO  jepsen.util - 3 :ok :read 4`. Lines that are no operation are passed over."""
    ops: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.match(line)
        if match is None:
            continue
        try:
            value = next(edn.forms(match["value"]), None)
        except edn.EdnError as error:
            raise RecordsError(f"{path}, line {number}: {error}") from error
        process = match["process"]
        ops.append(
            {
                "type": match["type"],
                "process": int(process) if process.isdigit() else process,
                "f": match["f"],
                "value": value,
            }
        )
    events = [_as_seen(event) for event in _events(path, ops, keyed=False)]
    name = CAS_REGISTER if model is None else model
    return ForeignHistory(TEXT, name, judge_named(name), events, crc, TEXT_CONVENTIONS)


def _as_seen(event: HistoryEvent) -> HistoryEvent:
    """A failed compare-and-set as what Porcupine takes it for: an observation that the value was another."""
    if event.f != "cas" or event.type != "fail":
        return event
    return msgspec.structs.replace(event, type="ok", value={**event.value, "swapped": False})
