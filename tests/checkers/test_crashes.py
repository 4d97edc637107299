"""P-CRASH: an exit that nobody asked for, and a log that says that something failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkers.crashes import LOG_BYTES_MAX, Crashes, scan_logs
from checkers.records.schema import ProcessExited, ProcessStarted
from tests.checkers.made import watch

STARTED = ("", ProcessStarted(index=0, time=1, node="n2", boot=3, pid=7))


def exited(asked: bool, code: int | None = 1, signal: int | None = None, stderr: str = "") -> Any:
    return (
        "",
        ProcessExited(
            index=4, time=9, node="n2", boot=3, code=code, signal=signal, asked=asked, stderr=stderr
        ),
    )


def test_an_exit_that_was_asked_for_is_none() -> None:
    result = watch(Crashes(), [STARTED, exited(True, None, 9)])
    assert (result.verdict, result.statistics) == ("holds", {"lives": 1, "exits": 1})


def test_an_exit_that_nobody_asked_for_is_told_with_what_it_said_last() -> None:
    tail = "Traceback (most recent call last):\n  ...\nAssertionError: commit went back\n"
    (finding,) = watch(Crashes(), [STARTED, exited(False, 1, stderr=tail)]).findings
    assert finding.text == (
        "n2 (boot 3) ended with status 1, and nobody had asked it to: AssertionError: commit went back"
    )
    assert finding.details["stderr"] == tail
    assert (finding.evidence[0].file, finding.evidence[0].index) == ("run.jsonl", 4)
    (finding,) = watch(Crashes(), [STARTED, exited(False, None, 11)]).findings
    assert "by signal 11" in finding.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ready\nTraceback (most recent call last):\n  File x\nValueError: y\n", 2),
        ("a\nb\nAssertionError\n", 3),
        ("thread 'main' panicked at src/log.rs\n", 1),
        ("2026 ERROR cannot sync\n", 1),
        ("panic: runtime error\n", 1),
        ("", 0),
        ("errors 0, no panics here, TERRORS\n", 0),
        ("hispanic\nnode: ready\n", 0),
    ],
)
def test_logs_are_looked_through(tmp_path: Path, text: str, line: int) -> None:
    log = tmp_path / "nodes" / "n2" / "err.3.log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    found = list(scan_logs(tmp_path))
    assert [trouble.line for trouble in found] == ([line] if line else [])
    result = watch(Crashes(), [STARTED, *(("", trouble) for trouble in found)])
    assert result.verdict == ("violated" if line else "holds")
    for finding in result.findings:
        assert finding.evidence[0].file == "nodes/n2/err.3.log"
        assert "n2 (boot 3)" in finding.text
    # The exit of the same life tells it already.
    both = watch(Crashes(), [STARTED, exited(False), *(("", trouble) for trouble in found)])
    assert len(both.findings) == 1


def test_a_log_that_floods_is_read_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "nodes" / "n2" / "out.3.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 99 + b"\xff\n" + b"noise\n" * (LOG_BYTES_MAX // 6 + 9) + b"panic!\n")
    (trouble,) = scan_logs(tmp_path)
    assert trouble.text == "panic!"


def test_without_processes_nothing_was_checked() -> None:
    assert watch(Crashes(), []).verdict == "not checked"
