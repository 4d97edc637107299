"""EDN, Clojure's notation, which Jepsen and Knossos write histories in (github.com/edn-format/edn).

One compiled expression cuts a text into tokens, so reading is linear in its length. What is unequal in Clojure
stays unequal here: a keyword is no string, `true` is not 1, `1.0` is not 1 (`as_value` sees to the latter two,
where a form becomes a value that models compare). Vectors and lists become tuples, sets frozensets, maps `Map`s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from porcupine.errors import FormatError

# Groups, told apart by `lastindex`: an atom, a string, an opening and a closing bracket, a discard, a tag, a
# character; then whatever else stands there. At the end of the text no group has matched.
TOKEN: Final = re.compile(
    r"""(?:[\s,]++|;[^\n]*+)*+
    (?:([^\s,;()\[\]{}"\\\#][^\s,;()\[\]{}"\\]*+|\#\#[A-Za-z-]++)
      |("[^"\\]*+(?:\\.[^"\\]*+)*+")
      |(\#\{|[(\[{])
      |([)\]}])
      |(\#_)
      |(\#[A-Za-z][^\s,;()\[\]{}"\\]*+)
      |(\\(?:newline|space|tab|return|formfeed|backspace|u[0-9A-Fa-f]{4}|[^\s]))
      |(.)
      |\Z)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
ATOM, STRING, OPEN, CLOSE, DISCARD, TAG, CHARACTER, GARBAGE = range(1, 9)
INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)N?\Z", re.ASCII)
REAL: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?\Z", re.ASCII)
RATIO: Final = re.compile(r"[+-]?[0-9]+/[0-9]+\Z", re.ASCII)
OCTAL: Final = re.compile(r"[+-]?0[0-9]+N?\Z", re.ASCII)
NUMERIC: Final = re.compile(r"[+-]?[0-9]", re.ASCII)
WORD: Final = re.compile(r"[^\s,]++", re.ASCII)
SIMPLE: Final = re.compile(
    r"[^\s,;()\[\]{}\"\\#][^\s,;()\[\]{}\"\\]*+|\[[^()\[\]{}\"\\#;]*+\]", re.ASCII
)
NESTED: Final = re.compile(r"[\[({\"\\#]")
ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}
NAMED: Final = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "formfeed": "\f",
    "backspace": "\b",
}
CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
CONSTANTS: Final[dict[str, Any]] = {
    "nil": None,
    "true": True,
    "false": False,
    "##Inf": float("inf"),
    "##-Inf": float("-inf"),
}
CLOSED: Final = object()
"""Stands for the bracket that ends a collection whose members are read one by one."""
DEPTH_MAX: Final = 64
"""No history nests deeper, and Python's own comparison of nested tuples has a bound too."""
SHOWN_MAX: Final = 40


class Torn(FormatError):
    """The text ends inside a form."""


class Keyword:
    """`:read`. There is one object for each name, so that `is`, == and the hash of objects will do."""

    __slots__ = ("name",)
    _known: Final[dict[str, Keyword]] = {}
    name: str

    def __new__(cls, name: str) -> Keyword:
        found = cls._known.get(name)
        if found is None:
            made = super().__new__(cls)
            made.name = name
            found = cls._known.setdefault(name, made)  # whichever thread came first
        return found

    def __reduce__(self) -> tuple[type[Keyword], tuple[str]]:
        return Keyword, (self.name,)

    def __copy__(self) -> Keyword:
        return self

    def __deepcopy__(self, memo: object) -> Keyword:
        return self

    def __repr__(self) -> str:
        return f":{self.name}"


class Map(dict[Any, Any]):
    """A map, which can be a key or a member like any other form. Nobody changes it once it is read."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class Pair(tuple[Any, ...]):
    """A key and a value of jepsen.independent, tagged as such."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """A form that is not equal to the same form without its tag: `#inst "..."`, `1.5M`, a symbol, a character."""

    tag: str
    form: Any

    def __repr__(self) -> str:
        if self.tag in ("symbol", "number", "boolean"):
            return str(self.form).lower() if self.tag == "boolean" else str(self.form)
        if self.tag == "character":
            return f"\\{self.form}"
        return f"#{self.tag} {self.form!r}"


class _Waiting:
    """What is waiting for its end: a collection for its bracket, a tag or a discard for the form after it."""

    __slots__ = ("at", "items", "token")

    def __init__(self, token: str, at: int) -> None:
        self.token = token
        self.at = at
        self.items: list[Any] = []


def forms(text: str, at: int = 0, inside: str = "") -> Iterator[tuple[int, int, Any]]:
    """The forms of a text from `at` on, each with where it begins and ends.

    With `inside`, a closing bracket, they are members of a collection: that bracket comes last, as CLOSED.
    Raises FormatError, which names the line; Torn if the text ends inside a form.
    """
    stack: list[_Waiting] = []
    form: Any
    for match in TOKEN.finditer(text, at):
        kind = match.lastindex
        if kind == ATOM:
            begin, end = match.span(1)
            form = atom(match[1], text, begin)
        elif kind in (OPEN, TAG, DISCARD):
            begin, end = match.span(kind)
            stack.append(_Waiting(match[kind], begin))
            if len(stack) > DEPTH_MAX:
                _refuse(text, begin, f"forms are nested more than {DEPTH_MAX} deep")
            continue
        elif kind == CLOSE:
            begin, end = match.span(4)
            if not stack and match[4] == inside:
                yield begin, end, CLOSED
                return
            if not stack:
                _refuse(text, begin, f"{match[4]!r} closes, though nothing is open")
            opened = stack.pop()
            if CLOSES.get(opened.token) != match[4]:
                _refuse(text, begin, f"{match[4]!r} closes {opened.token!r}")
            begin = opened.at
            form = collection(opened, text)
        elif kind == STRING:
            begin, end = match.span(2)
            form = unescaped(match[2], text, begin)
        elif kind == CHARACTER:
            begin, end = match.span(7)
            name = match[7][1:]
            if len(name) == 5 and name[0] == "u":
                name = chr(int(name[1:], 16))
            form = Tagged("character", NAMED.get(name, name))
        elif kind == GARBAGE:
            _unread(text, match.start(8))
        else:
            break
        dropped = False
        while stack and stack[-1].token not in CLOSES:
            waiting = stack.pop()
            begin = waiting.at
            if waiting.token == "#_":
                dropped = True
                break
            form = tagged(waiting.token[1:], form)
        if dropped:
            continue
        if stack:
            stack[-1].items.append(form)
        else:
            yield begin, end, form
    if stack:
        raise Torn(
            f"line {line_of(text, len(text))}: the text ends inside what {stack[0].token!r} begins in line "
            f"{line_of(text, stack[0].at)}; was the file cut off?"
        )


def one(text: str) -> Any:
    """The only form of a text. Raises FormatError if there is none, or more than one."""
    found = list(forms(text))
    if len(found) != 1:
        raise FormatError(f"expected one EDN form, found {len(found)}: {text[:SHOWN_MAX]!r}")
    return found[0][2]


def of_token(token: str) -> Any:
    """The only form of a text without blanks around it: as `one`, quicker on what is simple."""
    first, inner = token[0], token[1:-1]
    if first == '"' and "\\" not in inner:
        return inner
    if first not in '[({#"':
        return atom(token, token, 0)
    if first != "[" or NESTED.search(inner):
        return one(token)
    return tuple([atom(word, word, 0) for word in WORD.findall(inner)])


def of_text(text: str) -> Any:
    """The only form of a text, as `one`, quicker on what is simple."""
    if SIMPLE.fullmatch(text):
        return of_token(text)
    return one(text)


def line_of(text: str, at: int) -> int:
    """The number of the line that holds a place, from 1."""
    return text.count("\n", 0, at) + 1


def _refuse(text: str, at: int, why: str) -> NoReturn:
    raise FormatError(f"line {line_of(text, at)}: {why}")


def _unread(text: str, at: int) -> NoReturn:
    rest = text[at : at + SHOWN_MAX]
    if rest.startswith('"') or len(text) - at == 1:
        # A string without its end, or half a character or tag, is what a kill leaves of a line.
        raise Torn(f"line {line_of(text, at)}: the text ends inside a form: {rest!r}")
    _refuse(text, at, f"this is no EDN: {rest!r}")


def collection(opened: _Waiting, text: str) -> Any:
    """What stood between two brackets."""
    items = opened.items
    try:
        if opened.token == "{":
            if len(items) % 2:
                _refuse(text, opened.at, "a map has a key without a value")
            found = Map(zip(items[::2], items[1::2], strict=True))
            if 2 * len(found) != len(items):
                _refuse(text, opened.at, "a map has one key twice")
            return found
        if opened.token == "#{":
            members = frozenset(map(as_value, items))
            if len(members) != len(items):
                _refuse(text, opened.at, "a set has one member twice")
            return members
    except TypeError as error:
        _refuse(text, opened.at, f"this cannot be a key or a member: {error}")
    return tuple(items)


def tagged(tag: str, form: Any) -> Any:
    """A record is the map it is made of, and a tuple of jepsen.independent a Pair."""
    if tag.startswith("jepsen.independent") and type(form) is tuple and len(form) == 2:
        return Pair(form)
    return form if type(form) is Map else Tagged(tag, form)


def atom(token: str, text: str, at: int) -> Any:
    """nil, a boolean, a number, a keyword or a symbol."""
    if token[0] == ":":
        if len(token) == 1:
            if at + 1 == len(text):
                raise Torn(f"line {line_of(text, at)}: the text ends inside a keyword")
            _refuse(text, at, "a keyword has no name")
        return Keyword(token[1:])
    if INTEGER.match(token):
        try:
            return int(token.rstrip("N"))
        except ValueError as error:  # Python bounds the digits that it converts
            _refuse(text, at, f"this number cannot be read: {error}")
    if token in CONSTANTS:
        return CONSTANTS[token]
    if NUMERIC.match(token):
        if OCTAL.match(token):
            _refuse(text, at, f"the number {token!r} begins with a 0: octal, or decimal?")
        if RATIO.match(token) or (token.endswith("M") and REAL.match(token)):
            return Tagged("number", token)
        if not REAL.match(token):
            _refuse(text, at, f"this is no number: {token[:SHOWN_MAX]!r}")
        return float(token)
    if token.startswith("##"):
        _refuse(text, at, f"{token[:SHOWN_MAX]!r} is no value that equals itself")
    return Tagged("symbol", token)


def unescaped(token: str, text: str, at: int) -> str:
    """A string as it was meant."""
    body = token[1:-1]
    if "\\" not in body:
        return body

    def meant(match: re.Match[str]) -> str:
        name = match[1]
        if len(name) == 5:
            return chr(int(name[1:], 16))
        if name not in ESCAPES:
            _refuse(text, at, f"a string has the escape {match[0]!r}, which means nothing")
        return ESCAPES[name]

    return ESCAPE.sub(meant, body)


PLAIN: Final = frozenset({int, str, type(None), Keyword, Tagged})


def as_value(form: Any) -> Any:
    """A form as models may compare it: in Python 1 == 1.0 == True, in Clojure no two of them are equal."""
    kind = type(form)
    if kind in PLAIN:
        return form
    if kind is bool:
        return Tagged("boolean", form)
    if kind is float:
        return Tagged("number", repr(form)) if form.is_integer() else form
    if kind is tuple or kind is Pair:
        return tuple(map(as_value, form))
    if kind is Map:
        return Map((as_value(key), as_value(value)) for key, value in form.items())
    return form
