"""Reading recorded files: torn last lines are cut and told, all else that is no record of ours is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.records import events
from checkers.records.reading import (
    RecordsError,
    life_paths,
    read_faults,
    read_history,
    read_node_life,
    read_plan_facts,
    read_run_facts,
)
from tests.checkers import made

HEADER = msgspec.json.encode(made.header()) + b"\n"
EVENTS = [msgspec.json.encode(event) + b"\n" for event in made.history(4)]
WHOLE = HEADER + b"".join(EVENTS)


def read(folder: Path, data: bytes) -> Any:
    path = folder / "history.jsonl"
    path.write_bytes(data)
    return read_history(path)


def test_a_whole_history_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found.header == made.header()
    assert found.events == made.history(4)
    assert not found.recovered
    assert len(found.crc) == 8


@pytest.mark.parametrize(
    "tail",
    [b'{"index":8', b"{", b"\x00\x00\x00", b'{"index":8,"ti\n', b"\x00\x00\n", b"\xff\xfe\n"],
)
def test_a_torn_last_line_is_cut_and_told(tmp_path: Path, tail: bytes) -> None:
    found = read(tmp_path, WHOLE + tail)
    assert len(found.events) == len(EVENTS)
    assert found.recovered


def test_a_last_line_without_its_end_is_cut_even_if_it_looks_whole(tmp_path: Path) -> None:
    """Nobody knows whether more was to come."""
    found = read(tmp_path, WHOLE[:-1])
    assert len(found.events) == len(EVENTS) - 1
    assert found.recovered


REFUSED: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "the file is empty"),
    "a binary file": (b"\x7fELF\x02\x01\x01\x00\n\x00\x9f\n", "line 1: this is no"),
    "bytes without a line": (b"\x89PNG\r", "no driftline-history file"),
    "text": (b"hello\nworld\n", "line 1: this is no driftline-history file"),
    "a number": (b"7\n", "the header line is missing"),
    "a list": (b"[]\n", "the header line is missing"),
    "a torn header": (HEADER[:40], "the header line is torn"),
    "no header": (b"".join(EVENTS), "the header line is missing"),
    "another of our formats": (
        b'{"format":"driftline-faults","version":1}\n',
        "this is a 'driftline-faults' file",
    ),
    "a format nobody knows": (b'{"format":9}\n', "this is a 9 file"),
    "a version to come": (
        HEADER.replace(b'"version":1', b'"version":2'),
        "version 2 of driftline-history is not known",
    ),
    "a version that is none": (HEADER.replace(b'"version":1', b'"version":true'), "version True"),
    "a header that lacks a field": (HEADER.replace(b'"clients":3,', b""), "`clients`"),
    "a header with a stranger's field": (
        HEADER.replace(b'"clients":3', b'"clients":3,"x":1'),
        "unknown field `x`",
    ),
    "a header with a length that is none": (
        HEADER.replace(b'"election_timeout_ms":500', b'"election_timeout_ms":0'),
        "must be positive",
    ),
    "a bad line in the middle": (HEADER + EVENTS[0] + b"{\n" + EVENTS[1], "line 3: "),
    "a bad line at first": (HEADER + b"nonsense\n" + EVENTS[0], "line 2: this is no event"),
    "an empty line in the middle": (HEADER + EVENTS[0] + b"\n" + EVENTS[1], "line 3: "),
    "a line that breaks the schema": (
        HEADER + EVENTS[0].replace(b'"invoke"', b'"invoked"') + EVENTS[1],
        "line 2: this is no event of a history (Invalid enum value 'invoked'",
    ),
    "a last line that breaks the schema": (
        HEADER + EVENTS[0] + EVENTS[1].replace(b'"op":0', b'"op":"0"'),
        "line 3: ",
    ),
    "a last line that is an event with a field too many": (
        HEADER + EVENTS[0].replace(b'"op":0', b'"op":0,"colour":"red"'),
        "unknown field `colour`",
    ),
    "a line nested without end": (
        HEADER + EVENTS[0].replace(b'"op":0', b'"value":' + b"[" * 100_000) + EVENTS[1],
        "too deeply",
    ),
    "a number beyond all bounds": (
        HEADER + EVENTS[0].replace(b'"op":0', b'"op":1e999') + EVENTS[1],
        "line 2: ",
    ),
    "bytes that are no text": (HEADER + b'{"index":"\xff"}\n' + EVENTS[0], "line 2: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_one_line(tmp_path: Path, name: str) -> None:
    data, text = REFUSED[name]
    with pytest.raises(RecordsError) as refused:
        read(tmp_path, data)
    said = str(refused.value)
    assert text in said
    assert "history.jsonl" in said
    assert len(said.splitlines()) == 1
    assert len(said) < 500


def test_a_folder_and_a_name_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="this is a folder"):
        read_history(tmp_path)
    with pytest.raises(RecordsError, match="no such file"):
        read_history(tmp_path / "nowhere")


READERS: dict[str, Callable[[Path], Any]] = {
    "faults.jsonl": read_faults,
    "run.jsonl": read_run_facts,
    "nodes/n1/events.1.jsonl": read_node_life,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kept", [0, 1, 20])
def test_a_kill_before_the_header_was_written_leaves_a_file_of_nothing(
    tmp_path: Path, name: str, kept: int
) -> None:
    """Such a file is normal: it was made, and then its writer died."""
    path = made.run_folder(tmp_path / "run") / name
    path.write_bytes(path.read_bytes()[:kept])
    found = READERS[name](path)
    assert found.header is None
    assert found.recovered


@pytest.mark.parametrize("name", READERS)
def test_each_reader_refuses_what_another_wrote(tmp_path: Path, name: str) -> None:
    path = made.run_folder(tmp_path / "run") / name
    assert not READERS[name](path).recovered
    whole = path.read_bytes()
    path.write_bytes(WHOLE)
    with pytest.raises(RecordsError, match="driftline-history"):
        READERS[name](path)
    first, rest = whole.split(b"\n", 1)
    path.write_bytes(first + b'\n{"no":"record"}\n' + rest)
    with pytest.raises(RecordsError, match=r"line 2: "):
        READERS[name](path)


def test_damaged_facts_of_a_plan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan-facts.json"
    whole = msgspec.json.encode(made.plan_facts())
    path.write_bytes(whole)
    assert read_plan_facts(path) == made.plan_facts()
    endless = whole.replace(b'"ok_total":40', b'"ok_total":' + b"9" * 400)
    assert endless != whole
    newer = whole.replace(b'"version":1', b'"version":2')
    for data in (b"", b"[]", whole[:-5], newer, endless):
        path.write_bytes(data)
        with pytest.raises(RecordsError, match=r"plan-facts.json: "):
            read_plan_facts(path)


def test_events_that_monitors_do_not_know_are_kept_by_name(tmp_path: Path) -> None:
    path = made.run_folder(tmp_path / "run") / "nodes" / "n1" / "events.1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    strange = lines[1].replace(b'"event":"boot"', b'"event":"tea_served"')
    path.write_bytes(lines[0] + strange + b"".join(lines[2:]))
    found = read_node_life(path).events
    assert isinstance(found[0], events.Other)
    assert found[0].event == "tea_served"
    assert len(found) == len(lines) - 1


def test_a_known_event_with_wrong_fields_is_no_stranger(tmp_path: Path) -> None:
    path = made.run_folder(tmp_path / "run") / "nodes" / "n1" / "events.1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"candidate":"n1"', b'"candidate":7'))
    with pytest.raises(RecordsError, match=r"events.1.jsonl: line 3: .*candidate"):
        read_node_life(path)


def test_lives_come_by_node_and_in_the_order_of_boots(tmp_path: Path) -> None:
    for name in ("n2/events.10.jsonl", "n2/events.9.jsonl", "n1/events.1.jsonl", "n1/out.1.log"):
        path = tmp_path / "nodes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [path.relative_to(tmp_path / "nodes").as_posix() for path in life_paths(tmp_path)] == [
        "n1/events.1.jsonl",
        "n2/events.9.jsonl",
        "n2/events.10.jsonl",
    ]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any part replaced by any bytes: it is read, or refused with one line."""
    begin = data.draw(st.integers(0, len(WHOLE)))
    length = data.draw(st.integers(0, 40))
    junk = data.draw(st.binary(max_size=20))
    changed = WHOLE[:begin] + junk + WHOLE[begin + length :]
    refused = ""
    try:
        read(tmp_path_factory.getbasetemp(), changed)
    except RecordsError as error:
        refused = str(error)
    assert len(refused.splitlines()) <= 1
