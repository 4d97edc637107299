"""Watching a history that grows ends with the first event that nothing explains, or says why it cannot go on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from checkers import watching
from checkers.records.events import BecomeLeader
from checkers.records.reading import RecordsError
from checkers.records.schema import ProcessExited
from checkers.watching import Watch, Watched
from checkers.watching_nodes import NodesWatch
from tests.checkers import made, written
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


# ---- the nodes' events ---------------------------------------------------------------------------


def line(kind: type, at: float, term: int = 1, boot: int = 1, **fields: object) -> bytes:
    return msgspec.json.encode(made.event(kind, at, term, boot, **fields)) + b"\n"


def begin(folder: Path, node: str, boot: int, *lines: bytes) -> Path:
    """A life's file with its header and a first few lines."""
    path = folder / node / f"events.{boot}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"format":"driftline-node-events"}\n' + b"".join(lines))
    return path


def two_leaders(folder: Path) -> list[bytes]:
    """n1 leads term 2; what is given makes n2 another leader of it."""
    begin(folder, "n1", 1, line(BecomeLeader, 10, 2, last_index=0, last_term=0))
    begin(folder, "n2", 1, line(BecomeLeader, 5, 1, last_index=0, last_term=0))
    return [line(BecomeLeader, 20, 2, last_index=0, last_term=0)]


def test_the_first_finding_of_a_nodes_monitor_is_told_when_its_line_is_whole(
    tmp_path: Path,
) -> None:
    (second,) = two_leaders(tmp_path)
    watch = NodesWatch(tmp_path, made.PARAMS)
    assert watch.look() is None
    path = tmp_path / "n2" / "events.1.jsonl"
    with path.open("ab") as file:
        file.write(second[:30])
    assert watch.look() is None
    with path.open("ab") as file:
        file.write(second[30:])
    found = watch.look()
    assert found is not None
    assert (found.property, found.time) == ("P-EL", 20 * made.MS)
    assert watch.read == 3


def test_the_lives_of_a_node_are_read_in_their_order_and_torn_ends_are_left_out(
    tmp_path: Path,
) -> None:
    """A killed node leaves half a line behind; what its next life tells goes on after the whole ones."""
    (second,) = two_leaders(tmp_path)
    with (tmp_path / "n2" / "events.1.jsonl").open("ab") as file:
        file.write(second[:-20])
    begin(tmp_path, "n2", 2)
    begin(tmp_path, "n2", 10, line(BecomeLeader, 40, 2, 10, last_index=0, last_term=0))
    watch = NodesWatch(tmp_path, made.PARAMS)
    looks = [watch.look() for _ in range(4)]
    found = [finding for finding in looks if finding is not None]
    assert found
    assert found[0].time == 40 * made.MS


def exited(node: str, *, asked: bool) -> ProcessExited:
    return ProcessExited(index=0, time=9, node=node, boot=1, code=1, signal=None, asked=asked)


def test_a_process_that_ended_unasked_ends_the_watch(tmp_path: Path) -> None:
    """What faults kill was asked for."""
    facts = tmp_path / "run.jsonl"
    asked = exited("n1", asked=True)
    facts.write_bytes(b"{}\n" + msgspec.json.encode(asked) + b"\n")
    watch = NodesWatch(tmp_path, made.PARAMS, facts=facts)
    assert watch.look() is None
    with facts.open("ab") as file:
        file.write(msgspec.json.encode(exited("n2", asked=False)) + b"\n")
    found = watch.look()
    assert found is not None
    assert found.property == "P-CRASH"


def test_only_what_is_wanted_ends_the_watch(tmp_path: Path) -> None:
    """A plan with a bug expects certain properties to fail; others are for the verdict."""
    (second,) = two_leaders(tmp_path)
    with (tmp_path / "n2" / "events.1.jsonl").open("ab") as file:
        file.write(second)
    assert NodesWatch(tmp_path, made.PARAMS, ["P-LX"]).look() is None
    assert NodesWatch(tmp_path, made.PARAMS, ["P-LX", "P-EL"]).look() is not None


def test_a_run_is_watched_by_its_history_and_its_nodes_events(tmp_path: Path) -> None:
    """Both grow; what is found first ends the watch, with the history's event that had been taken by then."""
    history = written.write(tmp_path / "history.jsonl", LEGAL)
    nodes = tmp_path / "nodes"
    (second,) = two_leaders(nodes)

    def wait() -> None:
        with (nodes / "n2" / "events.1.jsonl").open("ab") as file:
            file.write(second)

    found = watching.watch(history, 1 << 30, wait, nodes)
    assert (found.verdict, found.property) == ("illegal", "P-EL")
    assert found.event == len(written.events(LEGAL)) - 1


def test_events_that_cannot_be_read_end_the_watch_and_not_the_run(tmp_path: Path) -> None:
    history = written.write(tmp_path / "history.jsonl", LEGAL)
    nodes = tmp_path / "nodes"
    begin(nodes, "n1", 1, b'{"event":"become_leader"}\n')
    found = watching.watch(history, 1 << 30, lambda: None, nodes)
    assert found.verdict == "unknown"
    assert found.because.startswith("the records: ")


def test_the_watch_of_the_nodes_has_a_limit_of_memory_too(tmp_path: Path) -> None:
    history = written.write(tmp_path / "history.jsonl", "\n    9: read k nil [0 1] local at n1")
    found = watching.watch(history, 1 << 20, lambda: None, tmp_path / "nodes")
    assert (found.verdict, found.because) == ("unknown", "it holds more memory than is allowed")
