"""How the command line tells an answer: as text for people, as JSON for machines.

Both say what was judged and how it was read, since that can decide a verdict; and both point back to the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from porcupine.engine import core
from porcupine.formats import History
from porcupine.formats.edn import Keyword, Map
from porcupine.history import EMPTY, UNKNOWN
from porcupine.result import Result, Witness
from porcupine.zones import Saw

LINES_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asked, as far as an answer repeats it."""

    file: str
    model: str
    initial: Any
    partition: str


def as_text(asked: Asked, history: History, result: Result) -> str:
    engines = sorted({part.engine for part in result.parts})
    lines = [
        str(result),
        f"{len(history.operations)} operations in {len(result.parts)} parts, {result.steps} steps, "
        f"{1000 * result.seconds:.1f} ms, by {' and '.join(engines) or 'nothing'} ({core})",
        f"read as {history.format}{' (by its content)' if 'format' in history.guessed else ''}: "
        + "; ".join(conventions(asked, history)),
    ]
    witness = result.witness
    if witness is not None:
        lines.insert(1, _places(history, witness))
    if not history.operations:
        lines.append("note: there is no operation in it")
    lines.extend(f"note: {note}" for note in history.notes)
    return "\n".join(lines)


def conventions(asked: Asked, history: History) -> list[str]:
    """How the file was read, in words."""
    found: list[str] = []
    if history.conventions is not None:
        found.append(str(history.conventions))
        by = " (by its content)" if "keyed" in history.guessed else ""
        found.append(f"values are {'[key value]' if history.conventions.keyed else 'plain'}{by}")
        if history.format in ("driftline", "kv"):
            found[-1] = "keys stand beside the values"
    if asked.initial is not None or asked.model in ("register", "cas-register", "kv"):
        initial = "nil" if asked.initial is None else repr(asked.initial)
        found.append(f"{initial} at first")
    if asked.partition == "none":
        found.append("all keys judged together")
    return found or ["it says itself what it means"]


def _places(history: History, witness: Witness) -> str:
    shown = [history.lines[index] for index in witness.operations[:LINES_MAX]]
    numbers = sorted({line for both in shown for line in both if line is not None})
    more = " and others" if len(witness.operations) > LINES_MAX else ""
    return f"in the file: lines {', '.join(map(str, numbers))}{more}"


def as_json(asked: Asked, history: History, result: Result) -> str:
    said = history.conventions
    document = {
        "verdict": result.verdict,
        "cause": result.cause,
        "file": asked.file,
        "model": asked.model,
        "format": history.format,
        "guessed": list(history.guessed),
        "conventions": {
            "nil_read": None if said is None else said.nil_read,
            "failed": None if said is None else said.failed,
            "keyed": None if said is None else said.keyed,
            "initial": plain(asked.initial),
            "partition": asked.partition,
        },
        "notes": list(history.notes),
        "operations": len(history.operations),
        "parts": result.progress.parts,
        "parts_decided": result.progress.parts_decided,
        "operations_linearized": result.progress.operations_linearized,
        "steps": result.steps,
        "seconds": round(result.seconds, 6),
        "engines": sorted({part.engine for part in result.parts}),
        "core": core,
        "witness": None if result.witness is None else _witness(history, result.witness),
    }
    return json.dumps(document)


def _witness(history: History, witness: Witness) -> dict[str, Any]:
    return {
        "text": witness.text,
        "part": plain(witness.part),
        "closed": witness.closed,
        "operations": [_operation(history, index) for index in witness.operations],
        "support": [_operation(history, index) for index in witness.support],
        "stuck_at": witness.stuck_at,
        "longest_order": list(witness.partials[0]) if witness.partials else None,
    }


def _operation(history: History, index: int) -> dict[str, Any]:
    operation = history.operations[index]
    return {
        "index": index,
        "lines": [line for line in history.lines[index] if line is not None],
        "client": plain(operation.client_id),
        "input": plain(operation.input),
        "output": plain(operation.output),
        "call": operation.call,
        "return": operation.return_time,
        "outcome": operation.outcome,
    }


def plain(value: Any) -> Any:
    """A value as JSON can have it; what JSON lacks is an object of one field, or its text."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if value is UNKNOWN:
        return {"unknown": True}
    if value is EMPTY:
        return {"empty": True}
    if type(value) is Saw:
        return {"saw": plain(value.value)}
    if type(value) is Keyword:
        return f":{value.name}"
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": [plain(item) for item in sorted(value, key=repr)]}
    if type(value) is Map:
        return {"map": [[plain(key), plain(item)] for key, item in value.items()]}
    return repr(value)
