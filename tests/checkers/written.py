"""Histories for tests, written as files. One line an operation: who, what, and from when to when.

    0: write k 1     [0 10]        by process 0, begun at 0 ms and acknowledged at 10
    1: read k 1      [20 30] lease at n1
    2: cas k 1 2     [5 15]        swapped
    2: cas k 7 2 / 1 [16 18]       found 1 instead
    3: write k 9     [5 -]         never completed (`[5 ? 9]`: info at 9; `[5 ! 9]`: failed at 9)

Values are integers, `nil`, or words.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from checkers.records.schema import HistoryEvent, HistoryHeader, WorkloadHeader

MODEL = "workloads.register:model"
LINE = re.compile(
    r"(\d+): (read|write|cas) (\S+) (\S+)(?: (\S+))?(?: / (\S+))?\s+\[(\d+) ([?!]?) ?(\d+|-)\]"
    r"(?: (lease|readindex|local))?(?: at (\w+))?$"
)


def header(model: str = MODEL, params: dict[str, Any] | None = None) -> HistoryHeader:
    return HistoryHeader(
        run="written",
        boot_id="b",
        origin_ns=1,
        workload=WorkloadHeader("register", model, params or {}),
        nodes=["n1", "n2", "n3"],
        clients=10,
        election_timeout_ms=500,
        max_clock_drift_ms=125,
        lease=True,
    )


def events(text: str) -> list[HistoryEvent]:
    """The events of a written history, in the order of their times."""
    found: list[tuple[int, int, dict[str, Any]]] = []
    lines = [line.split("#")[0].strip() for line in text.strip().splitlines()]
    for op, line in enumerate(line for line in lines if line):
        match = LINE.match(line)
        assert match is not None, line
        process, f, key, first, second, saw, begin, how, end, mode, node = match.groups()
        common = {"process": int(process), "op": op, "f": f, "key": key, "mode": mode, "node": node}
        asked: Any = None if f == "read" else value(first)
        seen: Any = value(first)
        if f == "cas":
            asked = {"from": value(first), "to": value(second)}
            seen = asked | (
                {"swapped": True} if saw is None else {"swapped": False, "saw": value(saw)}
            )
        found.append((int(begin), 1, {"type": "invoke", "value": asked, **common}))
        if end != "-":
            kind = {"": "ok", "?": "info", "!": "fail"}[how]
            ended = {"type": kind, "value": seen if kind == "ok" else asked, **common}
            found.append((int(end), 0, ended))
    found.sort(key=lambda item: item[:2])
    return [
        HistoryEvent(index=index, time=ms * 1_000_000, **fields)
        for index, (ms, _, fields) in enumerate(found)
    ]


def value(word: str | None) -> Any:
    if word is None or word == "nil":
        return None
    return int(word) if word.lstrip("-").isdigit() else word


def write(path: Path, text: str, **of_header: Any) -> Path:
    """The file of a written history."""
    return write_events(path, events(text), **of_header)


def write_events(path: Path, lines: list[HistoryEvent], **of_header: Any) -> Path:
    encode = msgspec.json.encode
    path.write_bytes(b"".join(encode(line) + b"\n" for line in [header(**of_header), *lines]))
    return path
