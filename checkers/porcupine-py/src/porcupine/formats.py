"""Files of histories: Porcupine's own test data, and lines of JSON.

Porcupine's data are Jepsen's logs of etcd (2014-15) and histories of a store of strings.

An etcd log is one compare-and-set register, nil at first. Its `:info` lines are operations that timed out; a
read that failed saw nothing and is outcome "fail". What a failed compare-and-set means is a choice: Porcupine
checks that the register did not hold the expected value ("observed"), Knossos drops it ("dropped"), and some
histories are linearizable under one reading alone.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

from porcupine.errors import FormatError
from porcupine.history import EMPTY, OUTCOMES, UNKNOWN, Operation, Outcome
from porcupine.zones import Saw

_ETCD: Final = re.compile(
    r"INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.*?)\s*$"
)
_PAIR: Final = re.compile(r"\[(\d+) (\d+)\]$")
_KV: Final = re.compile(
    r'\{:process (\d+), :type :(invoke|ok), :f :(get|put|append), :key "([^"]*)", :value (?:nil|"([^"]*)")\}$'
)


def read_etcd_log(
    text: str, *, failed_cas: Literal["observed", "dropped"] = "observed"
) -> list[Operation]:
    """The operations of an etcd log, in order of call, for porcupine.models.cas_register().

    Times are line numbers from 0. Raises FormatError for a line that is no event of such a log, if it
    begins like one, and for a completion without an invocation; other lines are passed over.
    """
    operations: list[Operation] = []
    running: dict[int, Operation] = {}
    for time, line in enumerate(text.splitlines()):
        match = _ETCD.match(line)
        if match is None:
            if line.startswith("INFO  jepsen.util - "):
                raise FormatError(f"line {time + 1} is not an event of an etcd log: {line!r}")
            continue
        client, kind, name, rest = int(match[1]), match[2], match[3], match[4]
        if kind == "invoke":
            operation = Operation(
                client, _etcd_input(name, rest, line), time, UNKNOWN, None, "info"
            )
            operations.append(operation)
            running[client] = operation
            continue
        finished = running.pop(client, None)
        if finished is None or finished.input[0] != name:
            raise FormatError(
                f"line {time + 1} completes what client {client} did not begin: {line!r}"
            )
        if kind == "info":
            continue
        finished.return_time = time
        finished.outcome, finished.output = _etcd_output(kind, name, rest, failed_cas)
    return operations


def _etcd_input(name: str, rest: str, line: str) -> tuple[Any, ...]:
    if name == "read":
        return ("read",)
    if name == "write" and rest.isdigit():
        return ("write", int(rest))
    pair = _PAIR.match(rest)
    if name == "cas" and pair is not None:
        return ("cas", int(pair[1]), int(pair[2]))
    raise FormatError(f"the arguments of {line!r} are neither a number nor a pair of numbers")


def _etcd_output(kind: str, name: str, rest: str, failed_cas: str) -> tuple[Outcome, Any]:
    if kind == "fail":
        if name == "cas" and failed_cas == "observed":
            return "ok", False
        return "fail", None
    if name == "read":
        return "ok", None if rest == "nil" else int(rest)
    return "ok", True if name == "cas" else None


def read_kv_log(text: str) -> list[Operation]:
    """The operations of a log of gets, puts and appends, for porcupine.models.append_kv().

    Times are line numbers from 0; an operation that never returned is of unknown outcome. Raises
    FormatError for any line that is not such an event.
    """
    operations: list[Operation] = []
    running: dict[int, Operation] = {}
    for time, line in enumerate(text.splitlines()):
        if not line.strip():
            continue
        match = _KV.match(line.strip())
        if match is None:
            raise FormatError(f"line {time + 1} is not an event of a kv log: {line!r}")
        client, kind, name, key, value = int(match[1]), match[2], match[3], match[4], match[5]
        if kind == "invoke":
            given = ("get", key) if name == "get" else (name, key, value)
            running[client] = Operation(client, given, time, UNKNOWN, None, "info")
            operations.append(running[client])
            continue
        finished = running.pop(client, None)
        if finished is None or finished.input[:2] != (name, key):
            raise FormatError(
                f"line {time + 1} completes what client {client} did not begin: {line!r}"
            )
        finished.return_time = time
        finished.outcome = "ok"
        finished.output = value if name == "get" else None
    return operations


def read_json_lines(text: str) -> list[Operation]:
    """Operations from lines of JSON, in their order: {"client": 0, "input": ["read"], "call": 3, "return": 5, "output": 7}

    "outcome" is "ok" unless it says otherwise, and then "fail" or "info"; "output" and "client" may be left
    out, and "return" of an "info". Lists become tuples, for models want hashable values; {"saw": v} stands for
    Saw(v), {"empty": true} for EMPTY and {"unknown": true} for UNKNOWN. Raises FormatError for other lines.
    """
    found: list[Operation] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            outcome = row.get("outcome", "ok")
            if outcome not in OUTCOMES:
                raise ValueError(f"the outcome is {outcome!r}")
            back = row.get("return")
            if type(row["call"]) is not int or type(back) not in (int, type(None)):
                raise ValueError("times must be whole numbers")
            output = UNKNOWN if outcome == "info" else _from_json(row.get("output"))
            client, given = _from_json(row.get("client", 0)), _from_json(row["input"])
            found.append(Operation(client, given, row["call"], output, back, outcome))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise FormatError(
                f"line {number} is not an operation ({error!r}): {line[:200]!r}"
            ) from None
    return found


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_from_json, value))
    if isinstance(value, dict):
        if set(value) == {"saw"}:
            return Saw(_from_json(value["saw"]))
        if value == {"empty": True}:
            return EMPTY
        if value == {"unknown": True}:
            return UNKNOWN
        raise ValueError(f"no meaning for the object {value!r}")
    return value
