"""The exit status of `porcupine check` is the verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from porcupine import EMPTY, UNKNOWN, FormatError, Operation, Saw
from porcupine.cli import main
from porcupine.formats import read_json_lines

DATA = Path(__file__).parent / "data"
ETCD = str(DATA / "etcd/etcd_002.log")
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


def test_an_empty_file_is_no_history_unless_it_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("")
    assert main(["check", str(file), "--model", "register"]) == 64
    assert capsys.readouterr().err.startswith(f"porcupine: {file}: the file is empty")
    assert main(["check", str(file), "--model", "register", "--format", "json"]) == 0
    assert "note: there is no operation in it" in capsys.readouterr().out


def test_porcupines_own_logs_are_judged() -> None:
    etcd = ["--format", "etcd", "--model", "cas-register"]
    assert main(["check", str(DATA / "etcd/etcd_002.log"), *etcd]) == 0
    assert main(["check", str(DATA / "etcd/etcd_000.log"), *etcd]) == 1
    kv = ["--format", "kv", "--model", "append-kv"]
    assert main(["check", str(DATA / "kv/c10-ok.txt"), *kv]) == 0
    assert main(["check", str(DATA / "kv/c10-bad.txt"), *kv]) == 1


def test_what_cannot_be_decided_in_time_is_unknown(tmp_path: Path) -> None:
    rows = [f'{{"input": ["enqueue", {i % 39}], "call": 0, "return": 10}}' for i in range(40)]
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
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "append-kv", "--format", "json"],
        ["check", str(DATA / "etcd"), "--model", "cas-register"],
        ["check", ETCD, "--model", "cas-register", "--timeout", "soon"],
        ["check", ETCD, "--model", "cas-register", "--timeout", "nan"],
        ["check", ETCD, "--model", "cas-register", "--memory", "much"],
        ["check", ETCD, "--model", "cas-register", "--initial", "[1"],
        ["check", ETCD, "--model", "cas-register", "--permits", "2"],
        ["check", ETCD, "--model", "semaphore"],
        ["check", ETCD, "--model", "mutex", "--initial", "1"],
        ["check", ETCD, "--model", "counter", "--initial", "nil"],
        ["check", ETCD, "--model", "cas-register", "--json", "--quiet"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "append-kv", "--format", "etcd?"],
        ["check", str(DATA / "kv/c01-ok.txt"), "--model", "counter", "--format", "kv"],
    ],
)
def test_a_question_without_a_sense_exits_with_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert capsys.readouterr().err


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main(["check", *arguments, "--json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_machine_is_told_what_was_judged_and_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.edn"
    file.write_text(
        "{:process 0, :type :invoke, :f :write, :value [:x 1]}\n"
        "{:process 0, :type :ok, :f :write, :value [:x 1]}\n"
        "{:process 1, :type :invoke, :f :read, :value [:x nil]}\n"
        "{:process 1, :type :ok, :f :read, :value [:x 2]}\n"
    )
    answer = said(capsys, str(file), "--model", "register")
    assert answer["verdict"] == "illegal"
    assert (answer["format"], answer["guessed"]) == ("jepsen-edn", ["format", "keyed"])
    assert answer["conventions"] == {
        "nil_read": "unknown",
        "failed": "dropped",
        "keyed": True,
        "initial": None,
        "partition": "key",
    }
    assert answer["witness"]["part"] == ":x"
    assert answer["witness"]["operations"][0]["lines"] == [3, 4]
    assert answer["witness"]["operations"][0]["output"] == 2
    assert main(["check", str(file), "--model", "register", "--partition", "none"]) == 64
    assert "take kv" in capsys.readouterr().err
    together = said(capsys, str(file), "--model", "kv", "--partition", "none")
    assert (together["verdict"], together["parts"]) == ("illegal", 1)


def test_conventions_are_options_and_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ETCD, "--model", "cas-register"]) == 0
    assert "a failed compare-and-set saw that it was not possible" in capsys.readouterr().out
    loose = ["--failed", "dropped", "--nil-read", "unknown", "--no-keyed"]
    assert main(["check", ETCD, "--model", "cas-register", *loose]) == 0
    out = capsys.readouterr().out
    assert "a read of nil is of unknown value; a failed compare-and-set is dropped" in out
    assert "read as etcd (by its content)" in out
    assert main(["check", ETCD, "--model", "cas-register", "--initial", "9"]) == 1


def test_all_keys_may_be_judged_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    for name, verdict in (("c01-ok", "ok"), ("c01-bad", "illegal")):
        file = str(DATA / f"kv/{name}.txt")
        one = said(capsys, file, "--model", "append-kv", "--partition", "none")
        many = said(capsys, file, "--model", "append-kv")
        assert (one["verdict"], many["verdict"]) == (verdict, verdict)
        assert (one["parts"], many["parts"]) == (1, 10 if name == "c01-ok" else 8)


@pytest.mark.usefixtures("same_core")
def test_what_comes_in_is_judged_too() -> None:
    program = [sys.executable, "-m", "porcupine.cli", "check", "-", "--model", "cas-register"]
    with open(ETCD, "rb") as log:
        done = subprocess.run(program, stdin=log, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run(program, input=b"\xff", capture_output=True, check=False)
    assert done.returncode == 64
    assert done.stderr.count(b"\n") == 1


@pytest.mark.usefixtures("same_core")
def test_a_reader_that_went_away_does_not_change_the_verdict() -> None:
    program = [sys.executable, "-m", "porcupine.cli", "check", ETCD, "--model", "cas-register"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(program, stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_limits_are_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f'{{"input": ["enqueue", {i % 39}], "call": 0, "return": 10}}' for i in range(40)]
    rows.append('{"input": ["dequeue"], "call": 11, "return": 12, "output": 99}')
    rows.append('{"input": ["enqueue", 99], "call": 0, "outcome": "info"}')
    file = tmp_path / "hard.jsonl"
    file.write_text("\n".join(rows))
    for option, cause in ((("--steps", "3000"), "step limit"), (("--memory", "2MiB"), "memory")):
        answer = said(capsys, str(file), "--model", "queue", *option)
        assert (answer["verdict"], answer["cause"]) == ("unknown", cause)
        assert answer["operations_linearized"] > 0


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
        '{"input": ["read"], "call": 1, "return": 2, "output": NaN}',
        '{"input": ["read"], "call": 1, "return": 2, "outcom": "info"}',
        '{"input": ["read"], "call": true, "return": 2}',
    ],
)
def test_a_wrong_json_line_is_refused(line: str) -> None:
    with pytest.raises(FormatError, match="line 1 is not an operation"):
        read_json_lines(line)
