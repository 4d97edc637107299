"""What is settled from the bytes of a register's history is what the ordinary way finds, down to the words."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from checkers import linearizability
from checkers.linearizability import judge_history
from checkers.records.reading import RecordsError
from porcupine import core
from porcupine.recorded import accepted_registers
from tests.checkers import written

needs_core = pytest.mark.skipif(core != "rust", reason="is about the compiled core")


def random_events(rng: Random) -> list[dict[str, Any]]:
    """Of some clients on two keys: each operation takes effect at an instant of its own, or not, and some answers are wrong."""
    states: dict[str, int | None] = {}
    free = dict.fromkeys(range(4), 0)
    ends: list[tuple[int, int, dict[str, Any]]] = []
    now = 0
    for op in range(rng.randrange(1, 40)):
        client = rng.choice(sorted(free))
        now += rng.randrange(1, 6)
        call = max(free.pop(client), now - rng.randrange(8))
        now = max(now, call)
        back = now + rng.randrange(8)
        key = rng.choice("ab")
        seen = states.get(key) if rng.random() < 0.97 else rng.randrange(op + 1)
        value = op if rng.random() < 0.95 else rng.randrange(3)
        outcome = rng.choices(["ok", "fail", "info", None], [12, 1, 1, 1])[0]
        does = outcome == "ok" or (outcome != "fail" and rng.random() < 0.5)
        event: dict[str, Any] = {"process": client, "op": op, "key": key}
        event["f"] = f = rng.choice(["read", "read", "write", "cas"])
        given, answer = {}, {}
        if f == "read":
            given = {"mode": rng.choice(["lease", "readindex", "local"])}
            answer = {} if seen is None else {"value": seen}
        elif f == "write":
            given = answer = {"value": value}
            states[key] = value if does else states.get(key)
        else:
            swap = {"from": seen if rng.random() < 0.7 else rng.randrange(3), "to": value}
            swapped = swap["from"] == seen
            saw = {} if swapped or rng.random() < 0.1 else {"saw": seen}
            given = {"value": swap}
            answer = {"value": swap | {"swapped": swapped} | saw}
            states[key] = value if does and swapped else states.get(key)
        ends.append((call, op, {"type": "invoke", **event, **given}))
        if outcome is not None:
            more = answer if outcome == "ok" else {"error": 'no "answer" came\n'}
            ends.append((back, op, {"type": outcome, **event, **more, "term": 1}))
        free[client if outcome in ("ok", "fail") else client + 4] = back + 1
    ends.sort(key=lambda end: end[:2])
    return [{"index": i, "time": at, **shown} for i, (at, _, shown) in enumerate(ends)]


def damaged(lines: list[bytes], rng: Random) -> list[bytes]:
    """Something is changed: a field of one event, some bytes, or which lines there are."""
    lines = list(lines)
    at = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        event = msgspec.json.decode(lines[at])
        name = rng.choice([*event, "final", "strange", "log_index"])
        wrong = [None, True, -1, 0, 3, 1.0, 2**63, "a", "local", {"from": 1, "to": 2}, [], "é\n"]
        lines[at] = msgspec.json.encode(event | {name: rng.choice(wrong)})
    elif kind == 1:
        where, line = rng.randrange(len(lines[at])), bytearray(lines[at])
        line[where : where + rng.randrange(3)] = rng.choice(
            [
                b"",
                b" ",
                b"0",
                b"-",
                b".0",
                b"e1",
                b"\\u0061",
                b'"',
                b"\xff",
                b"\t",
                b"}",
                b",",
                b"{",
            ]
        )
        lines[at] = bytes(line)
    elif kind == 2:
        del lines[at]
    else:
        lines.insert(rng.randrange(len(lines)), lines[at])
    return lines


def told(path: Path) -> Any:
    try:
        found = msgspec.to_builtins(judge_history(path))
    except RecordsError as error:
        return str(error)
    found["statistics"].pop("seconds", None)
    return found


@pytest.mark.parametrize("damage", [False, True])
def test_it_finds_what_the_ordinary_way_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    path = tmp_path / "history.jsonl"
    header = msgspec.json.encode(written.header())
    found: dict[str, int] = {}
    for seed in range(400):
        rng = Random(seed)
        lines = [msgspec.json.encode(event) for event in random_events(rng)]
        lines = damaged(lines, rng) if damage else lines
        path.write_bytes(b"".join(line + b"\n" for line in [header, *lines]))
        quick = told(path)
        with monkeypatch.context() as patch:
            patch.setattr(linearizability, "accepted_registers", lambda lines, timeout_s: None)
            assert told(path) == quick, seed
        name = (
            "refused" if isinstance(quick, str) else "unfit" if quick["unfit"] else quick["status"]
        )
        found[name] = found.get(name, 0) + 1
    wanted = {"holds", "violated", "refused", "unfit"} if damage else {"holds", "violated"}
    assert all(found.get(name, 0) > 5 for name in wanted), found


@needs_core
def test_only_the_lines_of_parts_that_are_not_accepted_come_back() -> None:
    text = """
        0: write a 1 [0 10]
        1: write b 2 [0 10]
        0: read a 1  [20 30]
        1: read b 7  [20 30]
        2: read b 2  [20 30] local"""
    lines = [msgspec.json.encode(event) + b"\n" for event in written.events(text)]
    found = accepted_registers(b"".join(lines))
    assert found is not None
    assert (found.operations, found.aside, found.parts, found.largest) == (5, 1, 2, 2)
    assert found.accepted == 1
    assert found.rest == b"".join(line for line in lines if b'"key":"b"' in line)


@needs_core
def test_it_gives_up_when_the_time_is_over() -> None:
    text = "\n".join(f"{i % 7}: write a {i} [{2 * i} {2 * i + 1}]" for i in range(20_000))
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in written.events(text))
    assert accepted_registers(lines) is not None
    assert accepted_registers(lines, timeout_s=-1.0) is None


def test_values_that_are_no_whole_numbers_are_left_to_the_ordinary_way() -> None:
    lines = [msgspec.json.encode(event) + b"\n" for event in written.events("0: write a x [0 10]")]
    assert accepted_registers(b"".join(lines)) is None
