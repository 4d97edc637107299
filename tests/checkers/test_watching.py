"""Watching a history that grows ends with the first event that nothing explains, or says why it cannot go on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from checkers import watching
from checkers.records.reading import RecordsError
from checkers.watching import Watch, Watched
from tests.checkers import written
from workloads.register import model

LEGAL = """
    0: write k 1 [0 10]
    1: read k 1 [20 30] lease at n1
    1: cas k 7 8 / 1 [40 50]
    2: write k 2 [40 ? 90]
    3: write k 3 [41 ! 60]
    1: read k 2 [70 80]
    4: read j nil [5 9]"""
STALE = """
    0: write k 1 [0 10]
    0: write k 2 [20 30]
    2: write k 3 [22 -]
    1: read k 1 [40 50]
    1: read k 2 [60 70]"""


def watched(text: str, memory_bytes: int | None = None) -> Watched | None:
    watch = Watch(model({}), memory_bytes)
    found = (watch.feed(event) for event in written.events(text))
    return next((each for each in found if each is not None), None)


def test_a_legal_history_is_watched_to_its_end() -> None:
    assert watched(LEGAL) is None


def test_the_event_that_nothing_explains_is_named() -> None:
    found = watched(STALE)
    assert found is not None
    events = written.events(STALE)
    assert found.verdict == "illegal"
    assert (events[found.event].type, events[found.event].time) == ("ok", 50_000_000)
    assert found.because.startswith("read k saw 1")


def test_a_limit_of_memory_ends_the_watch_and_not_the_run() -> None:
    found = watched(LEGAL, memory_bytes=10)
    assert found is not None
    assert (found.verdict, found.because) == ("unknown", "part j: memory")


def test_an_operation_that_the_workload_does_not_know_ends_the_watch() -> None:
    watch = Watch(model({}))
    strange = msgspec.structs.replace(written.events(STALE)[0], f="dance")
    found = watch.feed(strange)
    assert found is not None
    assert found.verdict == "unknown"
    assert "dance" in found.because


def test_a_file_is_read_while_it_grows(tmp_path: Path) -> None:
    """It comes byte by byte in pieces of 7, so that lines are met half written."""
    whole = written.write(tmp_path / "whole.jsonl", STALE).read_bytes()
    growing = tmp_path / "history.jsonl"
    growing.write_bytes(b"")
    pieces: Iterator[bytes] = (whole[at : at + 7] for at in range(0, len(whole), 7))

    def wait() -> None:
        with growing.open("ab") as file:
            file.write(next(pieces))

    found = watching.watch(growing, 1 << 30, wait)
    assert found.verdict == "illegal"
    assert found == msgspec.structs.replace(watched(STALE), busy_s=found.busy_s)  # type: ignore[type-var]


def test_a_file_that_is_no_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("{}\n")
    with pytest.raises(RecordsError, match="no header of a history"):
        watching.watch(path, 1 << 30, lambda: None)


def test_the_child_leaves_what_it_found(tmp_path: Path) -> None:
    history = written.write(tmp_path / "history.jsonl", STALE)
    out = tmp_path / "watch.json"
    assert watching.load(out) is None
    subprocess.run(watching.command(history, out, 1 << 30), check=True, timeout=60)
    found = watching.load(out)
    assert found is not None
    assert found.verdict == "illegal"
