"""Strict reading of every recorded file: what is there becomes typed values, or one line says why it cannot.

Two kinds of damage are told apart. A kill tears the *last* line of a file that was being written: it is
cut on reading and reported in `recovered`. Anything else that does not parse, or breaks its schema, was not
written by us or was changed since: RecordsError, which the command line turns into exit 64. Nothing in here
writes. Whether well-formed records can be a history is another question (fitness.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from checkers.records import events as node_events
from checkers.records.schema import (
    FAULTS,
    HISTORY,
    NODE_EVENTS,
    PLAN_FACTS,
    RUN_FACTS,
    VERSION,
    FaultRecord,
    FaultsHeader,
    HistoryEvent,
    HistoryHeader,
    NodeEventsHeader,
    PlanFacts,
    RunFact,
    RunFactsHeader,
)

SHOWN: Final = 60
"""Characters of what was found that a message repeats."""

QUOTA_MAX: Final = 1e15
"""No run does anything so often."""

_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no value of the type asked for."""

H = TypeVar("H", bound=msgspec.Struct)
R = TypeVar("R")


class RecordsError(Exception):
    """A file that cannot be used: one line with the file, the line, what was found, what to do."""


class History(msgspec.Struct, frozen=True):
    """history.jsonl. `crc` is the crc32 of the file's bytes, in hex: it tells whose a result is."""

    header: HistoryHeader
    events: list[HistoryEvent]
    recovered: bool = False
    crc: str = ""


class HistoryLines(msgspec.Struct, frozen=True):
    """history.jsonl as bytes: `lines` are the whole ones after the header; `torn` if bytes after them were cut."""

    path: Path
    header: HistoryHeader
    lines: bytes
    torn: bool
    crc: str

    def history(self) -> History:
        """RecordsError for a line that is no event."""
        decoder = msgspec.json.Decoder(HistoryEvent)
        events, cut = _records(self.path, self.lines, decoder, "event of a history")
        return History(self.header, events, self.torn or cut, self.crc)


class Faults(msgspec.Struct, frozen=True):
    """faults.jsonl. A kill before the header was written leaves `header` None and nothing else."""

    header: FaultsHeader | None
    records: list[FaultRecord]
    recovered: bool = False


class RunFacts(msgspec.Struct, frozen=True):
    """run.jsonl; `header` as with Faults."""

    header: RunFactsHeader | None
    facts: list[RunFact]
    recovered: bool = False


class NodeLife(msgspec.Struct, frozen=True):
    """nodes/NAME/events.BOOT.jsonl: `node` and `boot` by the file's place; `header` as with Faults."""

    node: str
    boot: int
    header: NodeEventsHeader | None
    events: list[node_events.Event]
    recovered: bool = False


# ---- one file each -------------------------------------------------------------------------------


def read_history(path: Path) -> History:
    """A history with its header; RecordsError for anything else, also for one whose header is torn."""
    return open_history(path).history()


def open_history(path: Path) -> HistoryLines:
    """A history whose events are not looked at yet; RecordsError as for `read_history`."""
    data = _bytes(path)
    if not data:
        raise RecordsError(f"{path}: the file is empty; a history begins with a header line")
    header, body, torn = _split(path, data, HISTORY, HistoryHeader)
    if header is None:
        raise RecordsError(
            f"{path}: the header line is torn, nothing was recorded; there is nothing to judge"
        )
    if header.election_timeout_ms <= 0 or header.max_clock_drift_ms < 0:
        raise RecordsError(
            f"{path}: line 1: election_timeout_ms {header.election_timeout_ms} must be positive and "
            f"max_clock_drift_ms {header.max_clock_drift_ms} not negative; restore the line as it was"
        )
    return HistoryLines(path, header, body, torn, f"{zlib.crc32(data):08x}")


def read_faults(path: Path) -> Faults:
    data = _bytes(path)
    header, body, torn = _split(path, data, FAULTS, FaultsHeader)
    records, cut = _records(path, body, msgspec.json.Decoder(FaultRecord), "record of a fault")
    return Faults(header, records, torn or cut)


def read_run_facts(path: Path) -> RunFacts:
    data = _bytes(path)
    header, body, torn = _split(path, data, RUN_FACTS, RunFactsHeader)
    decoder: msgspec.json.Decoder[RunFact] = msgspec.json.Decoder(RunFact)
    facts, cut = _records(path, body, decoder, "fact of a run")
    return RunFacts(header, facts, torn or cut)


def read_plan_facts(path: Path) -> PlanFacts:
    """One JSON document, saved whole before anything started: it cannot be torn, only damaged."""
    data = _bytes(path)
    try:
        found = msgspec.json.decode(data, type=PlanFacts)
    except _BROKEN as error:
        raise RecordsError(
            f"{path}: these are no facts of a plan ({_why(error)}); restore the file as it was saved"
        ) from error
    _check_format(path, found.format, found.version, PLAN_FACTS)
    for name in found.quotas.__struct_fields__:
        wanted = getattr(found.quotas, name)
        if isinstance(wanted, int | float) and not 0 <= wanted <= QUOTA_MAX:
            raise RecordsError(
                f"{path}: quotas.{name} is {_text(wanted)}; expected a number from 0 to {QUOTA_MAX:g}"
            )
    return found


def read_node_life(path: Path) -> NodeLife:
    """One life of a node; its name and boot are those of the folder and the file."""
    number = path.name.split(".")[1] if path.name.count(".") >= 2 else ""
    if not number.isdecimal() or len(number) > 9:
        raise RecordsError(f"{path}: the name is no events.BOOT.jsonl; move the file elsewhere")
    data = _bytes(path)
    header, body, torn = _split(path, data, NODE_EVENTS, NodeEventsHeader)
    events, cut = _lines(
        path, body, node_events.decode_lines, node_events.decode, "event of a node"
    )
    return NodeLife(path.parent.name, int(number), header, events, torn or cut)


def life_paths(run_dir: Path) -> list[Path]:
    """The event files of all nodes: by node, and in the order of its boots."""

    def place(path: Path) -> tuple[str, int, str]:
        number = path.name.split(".")[1]
        return path.parent.name, int(number) if number.isdecimal() else -1, path.name

    return sorted((run_dir / "nodes").glob("*/events.*.jsonl"), key=place)


# ---- lines ---------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordsError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise RecordsError(f"{path}: this is a folder; name the file in it") from None
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read: {error.strerror}") from error


def _split(path: Path, data: bytes, format_: str, kind: type[H]) -> tuple[H | None, bytes, bool]:
    """Header, the whole lines after it, and whether bytes after the last newline were cut."""
    end = data.rfind(b"\n") + 1
    torn = end < len(data)
    first = data.find(b"\n")
    if first < 0:
        # Not even the header line came to its end. Only what can be the beginning of one is a torn file of ours.
        if data and not _begins_header(data, format_):
            raise RecordsError(
                f"{path}: this is no {format_} file: its only line is {_shown(data)}; "
                f"expected a header line"
            )
        return None, b"", True
    line = data[:first]
    try:
        raw = msgspec.json.decode(line)
    except _BROKEN as error:
        raise RecordsError(
            f"{path}: line 1: this is no {format_} file: expected a header line of JSON, "
            f"found {_shown(line)}"
        ) from error
    if not isinstance(raw, dict) or "format" not in raw:
        raise RecordsError(
            f'{path}: line 1: the header line is missing: expected {{"format":"{format_}",...}}, '
            f"found {_shown(line)}"
        )
    _check_format(path, raw["format"], raw.get("version", VERSION), format_)
    try:
        header = msgspec.convert(raw, kind)
    except _BROKEN as error:
        raise RecordsError(
            f"{path}: line 1: the header cannot be used ({_why(error)}); "
            "restore the line as it was recorded"
        ) from error
    return header, data[first + 1 : end], torn


def _begins_header(data: bytes, format_: str) -> bool:
    start = b'{"format":"' + format_.encode() + b'"'
    return data[: len(start)] == start[: len(data)]


def _check_format(path: Path, format_: object, version: object, wanted: str) -> None:
    if format_ != wanted:
        raise RecordsError(
            f"{path}: line 1: this is a {_text(format_)} file, not a {wanted} file; name the right one"
        )
    if version != VERSION or isinstance(version, bool):
        raise RecordsError(
            f"{path}: line 1: version {_text(version)} of {wanted} is not known, this program reads "
            f"version {VERSION}; judge it with the driftline that recorded it"
        )


def _records(
    path: Path, body: bytes, decoder: msgspec.json.Decoder[R], what: str
) -> tuple[list[R], bool]:
    def whole(data: bytes) -> list[R]:
        found: list[R] = decoder.decode_lines(data)
        return found

    return _lines(path, body, whole, decoder.decode, what)


def _lines(
    path: Path,
    body: bytes,
    whole: Callable[[bytes], list[R]],
    one: Callable[[bytes], R],
    what: str,
) -> tuple[list[R], bool]:
    """All lines of `body` at once; if that fails, line by line to name the bad one. True: the last was torn."""
    if not body:
        return [], False
    try:
        found = whole(body)
        if len(found) == body.count(b"\n"):
            return found, False
    except _BROKEN:
        pass  # The slow way below finds out where.
    found = []
    lines = body.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=2):
        try:
            found.append(one(line))
        except _BROKEN as error:
            # A torn line never is well-formed JSON: one that is, and still does not fit, was written so.
            if number == len(lines) + 1 and not isinstance(error, msgspec.ValidationError):
                return found, True
            raise RecordsError(
                f"{path}: line {number}: this is no {what} ({_why(error)}): {_shown(line)}; "
                "restore the file as it was recorded"
            ) from error
    return found, False


def _why(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return " ".join(str(error).split())


def _shown(data: bytes) -> str:
    """The beginning of some bytes, printable and on one line."""
    if not data:
        return "nothing"
    return _text(data[: SHOWN + 1].decode("utf-8", "backslashreplace"))


def _text(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
