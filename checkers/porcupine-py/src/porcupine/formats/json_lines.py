"""This package's own format: one JSON object a line, one line an operation.

{"client": 0, "input": ["read"], "call": 3, "return": 5, "output": 7}
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, cast

from porcupine.errors import FormatError
from porcupine.history import EMPTY, OUTCOMES, UNKNOWN, Operation, Outcome
from porcupine.zones import Saw

FIELDS: Final = frozenset({"client", "input", "call", "return", "output", "outcome"})


def read_json_lines(text: str) -> list[Operation]:
    """Operations from lines of JSON, in their order: {"client": 0, "input": ["read"], "call": 3, "return": 5, "output": 7}

    "outcome" is "ok" unless it says otherwise, and then "fail" or "info"; "output" and "client" may be left
    out, and "return" of an "info". Lists become tuples, for models want hashable values; {"saw": v} stands for
    Saw(v), {"empty": true} for EMPTY and {"unknown": true} for UNKNOWN. Raises FormatError for other lines.
    """
    return [operation for _, operation in numbered(text)]


def numbered(text: str) -> list[tuple[int, Operation]]:
    """As read_json_lines, each operation with the number of its line, from 1."""
    found: list[tuple[int, Operation]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_no_constant)
            stray = row.keys() - FIELDS
            if stray:
                raise ValueError(f"there is no field {min(stray)!r}")
            said = row.get("outcome", "ok")
            if type(said) is not str or said not in OUTCOMES:
                raise ValueError(f"the outcome is {said!r}")
            outcome = cast(Outcome, said)
            back = row.get("return")
            if type(row["call"]) is not int or type(back) not in (int, type(None)):
                raise ValueError("times must be whole numbers")
            output = UNKNOWN if outcome == "info" else from_json(row.get("output"))
            client, given = from_json(row.get("client", 0)), from_json(row["input"])
            operation = Operation(client, given, row["call"], output, back, outcome)
            found.append((number, operation))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise FormatError(
                f"line {number} is not an operation ({error!r}): {line[:200]!r}"
            ) from None
    return found


def from_json(value: Any) -> Any:
    """A value of JSON as models take it. Raises ValueError for an object without a meaning."""
    if isinstance(value, list):
        return tuple(map(from_json, value))
    if isinstance(value, dict):
        if set(value) == {"saw"}:
            return Saw(from_json(value["saw"]))
        if value == {"empty": True}:
            return EMPTY
        if value == {"unknown": True}:
            return UNKNOWN
        raise ValueError(f"no meaning for the object {value!r}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value that equals itself, or is a time")
