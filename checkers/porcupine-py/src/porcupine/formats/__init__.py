"""Files of histories: those of Jepsen, Knossos, Porcupine and Driftline, and this package's own lines of JSON.

`load` reads a file, tells its format by its content, and gives operations for one of the ready models. How a
line is to be understood is a matter of convention (see Conventions); each format has those of its own tool, and a
caller can choose others. Whatever cannot be a history is refused with a FormatError that names event and line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from porcupine.errors import FormatError
from porcupine.formats import driftline, edn, jepsen, json_lines, knossos, porcupine_logs
from porcupine.formats.events import Row, paired
from porcupine.formats.json_lines import read_json_lines
from porcupine.formats.meaning import (
    MEANINGS,
    Conventions,
    Failed,
    NilRead,
    operations_of_calls,
)
from porcupine.formats.porcupine_logs import read_etcd_log, read_kv_log
from porcupine.history import Operation

__all__ = [
    "FORMATS",
    "Conventions",
    "History",
    "decoded",
    "detect",
    "load",
    "read",
    "read_etcd_log",
    "read_json_lines",
    "read_kv_log",
    "text_of",
    "value_of",
]

FORMATS: Final = {
    "driftline": "Driftline's history.jsonl, or the folder of a run",
    "etcd": "Jepsen's logs of etcd, as Porcupine's tests read them",
    "jepsen-edn": "Jepsen's op maps in EDN, one after the other",
    "jepsen-log": "a log in which Jepsen printed the operations",
    "jepsen-txt": "Jepsen's history.txt",
    "json": "lines of JSON, one operation each (porcupine.formats.read_json_lines)",
    "knossos": "one vector or list of op maps in EDN",
    "kv": "Porcupine's logs of a store of strings",
}
CONVENTIONS: Final = {
    "driftline": driftline.CONVENTIONS,
    "etcd": porcupine_logs.CONVENTIONS,
    "jepsen-edn": knossos.CONVENTIONS,
    "jepsen-log": knossos.CONVENTIONS,
    "jepsen-txt": knossos.CONVENTIONS,
    "knossos": knossos.CONVENTIONS,
    "kv": porcupine_logs.KV_CONVENTIONS,
}
IN_A_FOLDER: Final = ("history.jsonl", "history.edn", "history.txt")
"""What stands for the folder of a run: Driftline's, then Jepsen's."""
SHOWN_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class History:
    """A file as it was read, for one model.

    `lines` has for each operation the numbers of the lines of its call and its return, from 1. `conventions` is
    None for lines of JSON, which say themselves what they mean; `guessed` names what was told by the content.
    """

    format: str
    operations: list[Operation]
    lines: list[tuple[int, int | None]]
    conventions: Conventions | None
    guessed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def keys_aside(self) -> bool:
        """Whether operations have keys that the model does not know: then each key is to be judged alone."""
        return self.conventions is not None and any(o.metadata for o in self.operations)


def load(
    path: Path,
    model: str,
    *,
    format: str = "auto",
    nil_read: NilRead | None = None,
    failed: Failed | None = None,
    keyed: bool | None = None,
) -> History:
    """Read a file, or the folder of a run, for porcupine.models' model of this name. Raises FormatError and OSError."""
    return read(text_of(path), model, format=format, nil_read=nil_read, failed=failed, keyed=keyed)


def read(
    text: str,
    model: str,
    *,
    format: str = "auto",
    nil_read: NilRead | None = None,
    failed: Failed | None = None,
    keyed: bool | None = None,
) -> History:
    """As load, of the text of a file. None stands for the format's own convention; `keyed` is then told by content."""
    if model not in MEANINGS:
        raise FormatError(f"no model {model!r}; there are {', '.join(sorted(MEANINGS))}")
    guessed: list[str] = []
    if format == "auto":
        format = detect(text)
        guessed.append("format")
    elif format not in FORMATS:
        raise FormatError(f"no format {format!r}; there are auto, {', '.join(FORMATS)}")
    notes: list[str] = []
    if format == "json":
        if nil_read is not None or failed is not None or keyed is not None:
            raise FormatError(
                "lines of JSON say themselves what was read, what failed, and of which key; conventions have "
                "nothing to decide there"
            )
        numbered = json_lines.numbered(text)
        lines: list[tuple[int, int | None]] = [(number, number) for number, _ in numbered]
        return History(format, [o for _, o in numbered], lines, None, tuple(guessed))
    if keyed is not None and format in ("driftline", "kv"):
        raise FormatError(
            f"keys stand beside the values in {format}; keyed has nothing to decide there"
        )
    if failed is not None and format == "driftline":
        raise FormatError(
            "a driftline history says of each compare-and-set whether it saw another value or failed; failed has "
            "nothing to decide there"
        )
    conventions = CONVENTIONS[format]
    if nil_read is not None:
        conventions = replace(conventions, nil_read=nil_read)
    if failed is not None:
        conventions = replace(conventions, failed=failed)
    if format == "driftline":
        calls, cut = driftline.read(text)
        notes += cut
    else:
        if keyed is None and format != "kv":
            keyed = jepsen.looks_keyed(_rows(text, format, keyed=False))
            if keyed is None:
                raise FormatError(
                    "these values may be [key value] or vectors of their own; say whether they are keyed"
                )
            guessed.append("keyed")
        conventions = replace(conventions, keyed=bool(keyed) or format == "kv")
        calls = paired(_rows(text, format, keyed=bool(keyed)))
    lines = [(call.line, call.back_line) for call in calls]
    operations = operations_of_calls(calls, model, conventions)
    return History(format, operations, lines, conventions, tuple(guessed), tuple(notes))


def _rows(text: str, format: str, *, keyed: bool) -> Iterator[Row]:
    if format == "kv":
        return porcupine_logs.kv_rows(text)
    if format in ("etcd", "jepsen-log", "jepsen-txt"):
        jepsen.must_be_whole(text)
    if format in ("etcd", "jepsen-log"):
        return jepsen.text_rows(text, keyed=keyed)
    if format == "jepsen-txt":
        return jepsen.text_rows(text, keyed=keyed, form=jepsen.TXT)
    if format == "knossos":
        return knossos.rows(text, keyed=keyed)
    return jepsen.edn_rows(text, keyed=keyed)


def text_of(path: Path) -> str:
    """The text of a file, or of the history in the folder of a run. Raises FormatError if it is no text."""
    if path.is_dir():
        found = next((path / name for name in IN_A_FOLDER if (path / name).is_file()), None)
        if found is None:
            raise FormatError(f"{path} is a folder without any of {', '.join(IN_A_FOLDER)}")
        path = found
    return decoded(path.read_bytes(), str(path))


def decoded(data: bytes, name: str) -> str:
    """Bytes as text. Raises FormatError if they are none."""
    at = data.find(b"\0")
    if at >= 0:
        raise FormatError(
            f"line {data.count(10, 0, at) + 1} has a byte 0: {name} is no text (or is compressed, or torn)"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(10, 0, error.start) + 1
        raise FormatError(
            f"line {line} of {name} is no UTF-8: byte {data[error.start]:#04x} at {error.start}"
        ) from None


def detect(text: str) -> str:
    """The format of a text, by its first line that says something. Raises FormatError if there is none."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not (content := line.strip()) or content.startswith(";"):
            continue
        if driftline.is_header(content):
            return "driftline"
        if porcupine_logs.is_kv_line(content):
            return "kv"
        if content.startswith("{") and content[1:].lstrip().startswith(('"', "}")):
            return "json"
        if content.startswith(("{", "#")):
            return "jepsen-edn"
        if knossos.is_collection(content):
            if content[1:].lstrip().startswith('{"'):
                raise FormatError("a list of JSON objects; write one object a line")
            return "knossos"
        if jepsen.TXT.match(line):
            return "jepsen-txt"
        first = number
        break
    else:
        raise FormatError("the file is empty, which is of no format; name one if that is meant")
    for line in lines:
        if jepsen.LOG.match(line.rstrip()):
            return "etcd" if line.startswith("INFO  jepsen.util - ") else "jepsen-log"
    raise FormatError(
        f"line {first} is of no format known here: {content[:SHOWN_MAX]!r}; there are {', '.join(FORMATS)}"
    )


def value_of(text: str, format: str) -> Any:
    """One value written in EDN, such as nil, 0 or "a", as a history of this format would have it."""
    form = edn.one(text)
    return form if format == "json" else edn.as_value(form)
