"""Jepsen's histories: EDN op maps, and the text it prints them as.

EDN: maps with :type, :process, :f and :value, one after the other or in one vector. Text: the tab-separated
history.txt (`3 :ok :read 4`), and the same at the end of lines of a log (`INFO  jepsen.util - 3 :ok :read 4`). The
order of events is that of the lines: :time is stamped by threads of its own, and need not rise with them. Ops of
processes without a number (:nemesis) are no part of the history. Shapes: jepsen-io/jepsen, src/jepsen/util.clj
(prn-op, op->str) and jepsen-io/history, README.

Op maps of one file mostly have the same keys in the same order. So the first map of a shape is read token by token,
and for those like it there is one expression whose groups are their values; values repeat, and are read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from porcupine.errors import FormatError
from porcupine.formats import edn
from porcupine.formats.edn import Keyword, Map, Pair
from porcupine.formats.events import KINDS, Row, Seen, shown
from porcupine.history import UNKNOWN

TYPE, PROCESS, F, VALUE = map(Keyword, ("type", "process", "f", "value"))
KEY, INDEX, SAW = map(Keyword, ("key", "index", "saw"))
WANTED: Final = (TYPE, PROCESS, F, VALUE, KEY, INDEX, SAW)
ABSENT: Final = object()

# A value that one expression can delimit: a string, an atom, or collections within each other, of whatever brackets.
# Whether these fit is seen where the value is read; what nobody wants need not be EDN.
_STRING: Final = r"\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\""
_ATOM: Final = r"[^\s,;()\[\]{}\"\\#][^\s,;()\[\]{}\"\\]*+"
_FLAT: Final = r"[^\[\]{}()\"\\;]++"
NESTED_MAX: Final = 6


def _nested(depth: int) -> str:
    inner = f"|{_nested(depth - 1)}" if depth > 1 else ""
    return rf"[\[({{](?:{_FLAT}|{_STRING}{inner})*+[\])}}]"


_SIMPLE: Final = rf"({_STRING}|{_ATOM}|(?:#[A-Za-z][\w.:/-]*+)?#?{_nested(NESTED_MAX)})"
_BLANK: Final = re.compile(r"(?:[\s,]++|;[^\n]*+)*+", re.ASCII)
SHAPES_MAX: Final = 16
"""A file of more shapes than that is read token by token from there on."""
MEMO_MAX: Final = 1 << 16

LOG: Final = re.compile(
    r".*?jepsen\.util(?:\s+-|:)\s+(\S+)\s+:(invoke|ok|fail|info)\s+:(\S+)(?:\s+(.*))?\Z", re.ASCII
)
"""Logs of 2014 have `jepsen.util - `, those of today `jepsen.util: `."""
TXT: Final = re.compile(r"(\S+)\t:(invoke|ok|fail|info)\t:(\S+)(?:\t(.*))?\Z", re.ASCII)


# --- EDN ------------------------------------------------------------------------------------------


class _Shape:
    """Op maps of the same keys in the same order: an expression, and the groups in which the wanted values are."""

    __slots__ = ("at", "keys", "match")

    def __init__(self, keys: list[Keyword]) -> None:
        self.keys = keys
        pairs = r"[\s,]*".join(rf":{re.escape(key.name)}[\s,]+{_SIMPLE}" for key in keys)
        record = r"(?:#[A-Za-z][^\s,;()\[\]{}\"\\]*+[\s,]*)?"
        self.match = re.compile(
            rf"[\s,]*+{record}\{{[\s,]*{pairs}[\s,]*\}}", re.ASCII | re.DOTALL
        ).match
        self.at = [(place, keys.index(key) + 1) for place, key in enumerate(WANTED) if key in keys]


class _Shapes:
    """The shapes met in one text, and the values their groups held."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.known: list[_Shape] = []
        self.memo: dict[str, Any] = {}
        self.tries = SHAPES_MAX

    def read(self, at: int) -> tuple[int, int, list[Any]] | None:
        """Where the op map at a place begins and ends, and its wanted values; None if it is of no known shape."""
        for shape in self.known:
            match = shape.match(self.text, at)
            if match is not None:
                break
        else:
            return None
        memo = self.memo
        values = [ABSENT] * len(WANTED)
        for place, group in shape.at:
            token = match[group]
            if "0" < token[0] <= "9" and len(token) < 19 and token.isdecimal() and token.isascii():
                values[place] = int(token)  # quicker read than remembered
                continue
            form = memo.get(token, ABSENT)
            if form is ABSENT:
                try:
                    form = edn.of_token(token)
                except FormatError:
                    return None  # whoever reads it token by token can say where this is
                if len(memo) < MEMO_MAX:
                    memo[token] = form
            values[place] = form
        return match.start(1), match.end(), values

    def learn(self, op: Map, begin: int, end: int) -> None:
        """Know the shape of this map from now on, if it is one that an expression can have."""
        if self.tries > 0:
            self.tries -= 1
            shape = _Shape(list(op))
            match = shape.match(self.text, begin)
            if op and match is not None and match.end() == end:
                self.known.append(shape)


def edn_rows(text: str, *, keyed: bool) -> Iterator[Row]:
    """The events of op maps, in their order, without those of other processes than numbers.

    Raises FormatError for anything else, with the number of the map and its line.
    """
    line, counted, last_index = 1, 0, -1
    for number, (begin, values) in enumerate(_ops(text)):
        line += text.count("\n", counted, begin)
        counted = begin
        kind, process, f, value, key, index, saw = values
        if type(index) is int:
            if index <= last_index:
                raise FormatError(
                    f"event {number} (line {line}): its :index is {index}, after one of {last_index}; events stand "
                    "in the order in which they happened"
                )
            last_index = index
        if type(process) is not int:
            if process is ABSENT:
                raise FormatError(f"event {number} (line {line}): an operation without a :process")
            continue
        if type(kind) is not Keyword or kind.name not in KINDS or type(f) is not Keyword:
            raise FormatError(
                f"event {number} (line {line}): wants :type :invoke, :ok, :fail or :info and a keyword as :f, "
                f"found :type {_told(kind)} and :f {_told(f)}"
            )
        if value is ABSENT:
            value = None
        if key is ABSENT:
            key = None
        if keyed and key is None:
            key, value = _unpacked(value, kind.name, number, line)
        seen = None if saw is ABSENT else Seen(saw)
        yield Row(number, line, kind.name, process, f.name, value, key, seen)  # type: ignore[arg-type]


def _ops(text: str) -> Iterator[tuple[int, list[Any]]]:
    """The op maps: where each begins, and what it has under the wanted keys."""
    at = _BLANK.match(text).end()  # type: ignore[union-attr]
    inside = edn.CLOSES.get(text[at : at + 1], "")
    if inside in ("", "}"):
        inside = ""
    else:
        opened, at = at, at + 1
    shapes = _Shapes(text)
    number = 0
    while True:
        known = shapes.read(at)
        if known is not None:
            begin, at, values = known
            yield begin, values
        else:
            found = next(edn.forms(text, at, inside), None)
            if found is None or found[2] is edn.CLOSED:
                break
            begin, at, op = found
            if type(op) is not Map or not all(type(key) is Keyword for key in op):
                raise FormatError(
                    f"event {number} (line {edn.line_of(text, begin)}): no operation, which is a map of keywords "
                    f"such as {{:type :invoke, :process 0, :f :read, :value nil}}: {shown(op)}"
                )
            shapes.learn(op, begin, at)
            yield begin, [op.get(key, ABSENT) for key in WANTED]
        number += 1
    if found is None and inside:
        raise edn.Torn(
            f"line {edn.line_of(text, len(text))}: the text ends inside the collection that begins in line "
            f"{edn.line_of(text, opened)}; was the file cut off?"
        )
    if found is not None:
        end = _BLANK.match(text, found[1]).end()  # type: ignore[union-attr]
        if end < len(text):
            raise FormatError(
                f"line {edn.line_of(text, end)}: something follows the end of the history: "
                f"{text[end : end + 40]!r}"
            )


def _told(value: Any) -> str:
    return "nothing" if value is ABSENT else shown(value)


def _unpacked(value: Any, kind: str, number: int, line: int) -> tuple[Any, Any]:
    """The key and the value of an independent tuple. What failed or got lost may have an error in its place."""
    if type(value) in (tuple, Pair) and len(value) == 2:
        return value[0], value[1]
    if kind in ("fail", "info"):
        return None, value
    raise FormatError(
        f"event {number} (line {line}): keyed histories have values [key value], found {shown(value)}"
    )


LOOKS: Final = frozenset({"read", "get", "dequeue", "pop", "poll", "peek", "acquire", "release"})
"""What asks for a value without giving one: an invocation of these holds nil, or a key beside it."""
LOOKED_AT_MAX: Final = 1000


def looks_keyed(rows: Iterator[Row]) -> bool | None:
    """Whether values are [key value], by the first invocation that asks and gives nothing. None: who knows?

    In print a tuple of jepsen.independent looks like any vector. A compare-and-set of [1 [2 3]] may be keyed, or may
    expect 1; without a read among the first thousand events the caller has to say so.
    """
    doubtful = False
    for row in rows:
        value = row.value
        pair = type(value) in (tuple, Pair) and len(value) == 2
        if type(value) is Pair:
            return True
        if row.kind == "invoke" and row.f in LOOKS:
            return pair
        if row.f == "cas" and pair and type(value[1]) is tuple:
            doubtful = True
        if row.number > LOOKED_AT_MAX:
            break
    return None if doubtful else False


# --- text -----------------------------------------------------------------------------------------


def must_be_whole(text: str) -> None:
    """Refuse a text whose last line is an event without an end: of a value that was cut the beginning is a value too."""
    last = text[text.rfind("\n") + 1 :]
    if LOG.match(last) or TXT.match(last):
        raise FormatError(
            f"line {edn.line_of(text, len(text))} has no end, so that its value may have been cut off: {last[:80]!r}; "
            "if the file is whole, end its last line"
        )


def text_rows(text: str, *, keyed: bool, form: re.Pattern[str] = LOG) -> Iterator[Row]:
    """The events of a log (LOG), or of a history.txt (TXT), of which every line has to be one."""
    memo: dict[tuple[str, str], Any] = {}
    number = -1
    match_line = form.match
    for line, content in enumerate(text.split("\n"), 1):
        match = match_line(content.rstrip())
        if match is None:
            if form is TXT and content.strip():
                raise FormatError(
                    f"line {line} is no event of a history.txt, which has process, :type, :f and value, with tabs "
                    f"between them: {content[:60]!r}"
                )
            if form is LOG and _almost(content):
                raise FormatError(f"line {line} is not an event of a jepsen log: {content[:120]!r}")
            continue
        number += 1
        process, kind, f, rest = match.groups()
        if not process.isdecimal():
            continue
        rest = rest or ""
        said = (kind, rest)
        if said in memo:
            value = memo[said]
        else:
            value = _rest(rest, kind, number, line)
            if len(memo) < MEMO_MAX:
                memo[said] = value
        key = None
        if keyed:
            key, value = _unpacked(value, kind, number, line)
        yield Row(number, line, kind, int(process), f, value, key, None)  # type: ignore[arg-type]


def _almost(content: str) -> bool:
    """Whether a log's line begins like an event: a number or a nemesis has a word after it, but no type."""
    head, mark, tail = content.partition("jepsen.util - ")
    return (
        bool(mark)
        and head.strip() == "INFO"
        and bool(tail.strip())
        and tail.lstrip()[0].isdecimal()
    )


def _rest(rest: str, kind: str, number: int, line: int) -> Any:
    """The value at the end of a line, where a failure may have an error in its place, or after it."""
    value = rest.partition("\t")[0]
    if not value:
        return None
    try:
        found = [edn.of_text(value)]
    except FormatError:
        found = []
    if kind in ("fail", "info"):
        return found[0] if found else UNKNOWN
    if len(found) != 1:
        raise FormatError(f"event {number} (line {line}): {value[:60]!r} is not one value in EDN")
    return found[0]
