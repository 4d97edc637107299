"""The exit status of `porcupine check` is the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from porcupine import EMPTY, UNKNOWN, FormatError, Operation, Saw
from porcupine.cli import main
from porcupine.formats import read_json_lines

DATA = Path(__file__).parent / "data"
WRITTEN = '{"client": 0, "input": ["write", 1], "call": 0, "return": 1}\n'
LOST = '{"client": 1, "input": ["write", 2], "call": 0, "outcome": "info"}\n'


def read(value: int) -> str:
    return f'{{"client": 2, "input": ["read"], "call": 2, "return": 3, "output": {value}}}\n'


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        (WRITTEN + read(1), 0, "ok\n2 operations in 1 parts"),
        (WRITTEN + LOST + read(2), 0, "ok"),
        (WRITTEN + read(3), 1, "illegal: An operation saw 3"),
        ("", 0, "ok"),
    ],
)
def test_a_file_of_json_lines_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, status: int, says: str
) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(text)
    assert main(["check", str(file), "--model", "cas-register"]) == status
    assert capsys.readouterr().out.startswith(says)
    assert main(["check", str(file), "--model", "cas-register", "--quiet"]) == status
    assert capsys.readouterr().out == ""


def test_porcupines_own_logs_are_judged() -> None:
    etcd = ["--format", "etcd", "--model", "cas-register"]
    assert main(["check", str(DATA / "etcd/etcd_002.log"), *etcd]) == 0
    assert main(["check", str(DATA / "etcd/etcd_000.log"), *etcd]) == 1
    kv = ["--format", "kv", "--model", "append-kv"]
    assert main(["check", str(DATA / "kv/c10-ok.txt"), *kv]) == 0
    assert main(["check", str(DATA / "kv/c10-bad.txt"), *kv]) == 1


def test_what_cannot_be_decided_in_time_is_unknown(tmp_path: Path) -> None:
    rows = [f'{{"input": ["enqueue", {i}], "call": 0, "return": 10}}' for i in range(40)]
    rows.append('{"input": ["dequeue"], "call": 11, "return": 12, "output": 99}')
    rows.append('{"input": ["enqueue", 99], "call": 0, "outcome": "info"}')
    file = tmp_path / "hard.jsonl"
    file.write_text("\n".join(rows))
    assert main(["check", str(file), "--model", "queue", "--timeout", "0.1"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["judge"],
        ["check", "there is no such file", "--model", "register"],
        ["check", "there is no such file"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "telephone"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "append-kv"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "append-kv", "--format", "etcd?"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "counter", "--format", "kv"],
    ],
)
def test_a_question_without_a_sense_exits_with_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert capsys.readouterr().err


def test_json_lines_become_operations() -> None:
    text = """
{"input": ["cas", [1, 2], 3], "call": 1, "return": 2, "output": {"saw": 4}, "client": "a"}
{"input": ["pop"], "call": 1, "return": 2, "output": {"empty": true}}
{"input": ["read"], "call": 1, "return": 2, "output": {"unknown": true}, "outcome": "fail"}
"""
    assert read_json_lines(text) == [
        Operation("a", ("cas", (1, 2), 3), 1, Saw(4), 2),
        Operation(0, ("pop",), 1, EMPTY, 2),
        Operation(0, ("read",), 1, UNKNOWN, 2, "fail"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"input": ["read"]}',
        '{"input": ["read"], "call": 1.5, "return": 2}',
        '{"input": ["read"], "call": 1, "return": 2, "outcome": "perhaps"}',
        '{"input": ["read"], "call": 1, "return": 2, "output": {"value": 1}}',
    ],
)
def test_a_wrong_json_line_is_refused(line: str) -> None:
    with pytest.raises(FormatError, match="line 1 is not an operation"):
        read_json_lines(line)
