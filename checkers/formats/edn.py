"""EDN, as much of it as histories hold: Clojure's notation, which Jepsen's files are written in (github.com/edn-format/edn).

Read: nil, booleans, numbers, strings, characters, keywords, symbols, lists, vectors, sets, maps, tags,
comments and discards. A tag is dropped and its form kept, but for jepsen.independent's tuple, which is a
`Pair`. Vectors and lists become tuples, sets frozensets, maps dicts. Written: what a driftline history can
hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

TOKEN: Final = re.compile(
    r"""(?:[\s,]|;[^\n]*+)*+
    (?:(?P<string>"(?:[^"\\]|\\.)*")
      |(?P<open>\#\{|[(\[{])
      |(?P<close>[)\]}])
      |(?P<discard>\#_)
      |(?P<tag>\#[A-Za-z][^\s,;()\[\]{}"]*)
      |(?P<char>\\(?:newline|space|tab|return|formfeed|backspace|u[0-9A-Fa-f]{4}|.))
      |(?P<atom>[^\s,;()\[\]{}"\\\#][^\s,;()\[\]{}"]*|\#\#(?:Inf|-Inf|NaN)))""",
    re.VERBOSE | re.DOTALL,
)
BLANK: Final = re.compile(r"(?:[\s,]|;[^\n]*+)*+")
INTEGER: Final = re.compile(r"([+-]?\d+)N?$")
ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
NAMED_CHARS: Final = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "formfeed": "\f",
    "backspace": "\b",
}
CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
TUPLES: Final = frozenset({"#jepsen.independent/tuple", "#jepsen.independent.Tuple"})
DEPTH_MAX: Final = 64


class EdnError(ValueError):
    """What stands there is no EDN."""


class Torn(EdnError):
    """The text ends inside a form."""


class Keyword(str):
    """`:read` as Keyword("read"): equal to the string, and still told from one by its type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f":{self!s}"


class Pair(tuple[Any, ...]):
    """A key and a value of jepsen.independent, tagged as such."""

    __slots__ = ()


class _Open:
    """What is waiting for its end: a collection for its bracket, a tag or a discard for the form after it."""

    __slots__ = ("items", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.items: list[Any] = []


def forms(text: str) -> Iterator[Any]:
    """The forms of a text, one after the other. EdnError names the line; Torn if it ends inside a form."""
    stack: list[_Open] = []
    atoms: dict[str, Any] = {}
    at, end = 0, len(text)
    match_at = TOKEN.match
    while at < end:
        match = match_at(text, at)
        if match is None:
            if BLANK.fullmatch(text, at):
                break
            raise _unread(text, at)
        at = match.end()
        kind = match.lastgroup
        if kind == "atom":
            token = match["atom"]
            if token in atoms:
                form = atoms[token]
            else:
                form = atoms[token] = atom(token)
        elif kind == "string":
            form = unescaped(match["string"])
        elif kind == "close":
            if not stack or CLOSES.get(stack[-1].token) != match["close"]:
                opened = f" {stack[-1].token!r}" if stack else ", though nothing is open"
                raise EdnError(f"{_line(text, at)}: {match['close']!r} closes{opened}")
            form = collection(stack.pop(), text, at)
        elif kind == "char":
            form = character(match["char"])
        else:
            assert kind is not None
            stack.append(_Open(match[kind]))
            if len(stack) > DEPTH_MAX:
                raise EdnError(f"{_line(text, at)}: forms are nested more than {DEPTH_MAX} deep")
            continue
        dropped = False
        while stack and stack[-1].token not in CLOSES:
            token = stack.pop().token
            if token == "#_":
                dropped = True
                break
            if token in TUPLES and isinstance(form, tuple):
                form = Pair(form)
        if dropped:
            continue
        if stack:
            stack[-1].items.append(form)
        else:
            yield form
    if stack:
        raise Torn(f"{_line(text, end)}: the text ends inside a form")


def collection(opened: _Open, text: str, at: int) -> Any:
    """What stood between two brackets."""
    items = opened.items
    try:
        if opened.token == "{":
            if len(items) % 2:
                raise EdnError(f"{_line(text, at)}: a map has a key without a value")
            return dict(zip(items[::2], items[1::2], strict=True))
        return frozenset(items) if opened.token == "#{" else tuple(items)
    except TypeError as error:
        raise EdnError(f"{_line(text, at)}: this cannot be a key or a member: {error}") from error


def character(token: str) -> str:
    name = token[1:]
    if len(name) == 5 and name[0] == "u":
        return chr(int(name[1:], 16))
    return NAMED_CHARS.get(name, name)


def _unread(text: str, at: int) -> EdnError:
    rest = text[at:].strip()
    # A string without its end, or half a character or tag, is what a kill leaves of a line.
    if rest.startswith('"') or ("\n" not in rest and rest.startswith(("\\", "#"))):
        return Torn(f"{_line(text, at)}: the text ends inside a form")
    return EdnError(f"{_line(text, at)}: no EDN: {rest[:40]!r}")


def _line(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}"


def atom(token: str) -> Any:
    """nil, a boolean, a number, a keyword or a symbol."""
    if token[0] == ":" and len(token) > 1:
        return Keyword(token[1:])
    match = INTEGER.match(token)
    if match is not None:
        return int(match[1])
    if token in CONSTANTS:
        return CONSTANTS[token]
    if token[0] in "+-.0123456789":
        try:
            return float(token.rstrip("M"))
        except ValueError:
            return token
    return token


CONSTANTS: Final[Mapping[str, Any]] = {
    "nil": None,
    "true": True,
    "false": False,
    "##Inf": float("inf"),
    "##-Inf": float("-inf"),
    "##NaN": float("nan"),
}


def unescaped(token: str) -> str:
    body = token[1:-1]
    if "\\" not in body:
        return body

    def one(match: re.Match[str]) -> str:
        name = match[1]
        return chr(int(name[1:], 16)) if len(name) == 5 else ESCAPES.get(name, name)

    return ESCAPE.sub(one, body)


def write(value: Any) -> str:
    """A value in EDN: None, booleans, numbers, strings, keywords, sequences and maps of such."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return str(value)
    if value is None:
        return "nil"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Keyword):
        return f":{value!s}"
    if isinstance(value, str):
        return f'"{value.translate(WRITTEN)}"'
    if isinstance(value, int):
        # Clojure reads a plain number as 64 bits wide, and more only with an N.
        return str(value) if -(2**63) <= value < 2**63 else f"{value}N"
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "##NaN" if value != value else "##Inf" if value > 0 else "##-Inf"
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(write(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{write(k)} {write(v)}" for k, v in value.items()) + "}"
    raise EdnError(f"a {type(value).__name__} cannot be written as EDN: {value!r}")


# Everything else may stand in a string as it is.
WRITTEN: Final = str.maketrans(
    {
        '"': '\\"',
        "\\": "\\\\",
        "\n": "\\n",
        "\t": "\\t",
        "\r": "\\r",
        "\b": "\\b",
        "\f": "\\f",
    }
)
