"""EDN as our records hold it (Clojure's notation, github.com/edn-format/edn): read by porcupine, written here.

`porcupine.formats.edn` keeps apart what Clojure does; records of ours are judged by what they say, so that here
a keyword equals its name, a tag is dropped and its form kept (but for jepsen.independent's tuple, a `Pair`), and
maps are dicts. Written: what a driftline history can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from porcupine.errors import FormatError as EdnError
from porcupine.formats import edn
from porcupine.formats.edn import Map, Pair, Tagged, Torn

__all__ = ["EdnError", "Keyword", "Pair", "Torn", "forms", "write"]


class Keyword(str):
    """`:read` as Keyword("read"): equal to the string, and still told from one by its type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f":{self!s}"


def forms(text: str) -> Iterator[Any]:
    """The forms of a text, one after the other. EdnError names the line; Torn if it ends inside a form."""
    keywords: dict[str, Keyword] = {}

    def ours(form: Any) -> Any:
        kind = type(form)
        if kind is edn.Keyword:
            return keywords.setdefault(form.name, Keyword(form.name))
        if kind is Map:
            return {ours(key): ours(value) for key, value in form.items()}
        if kind is tuple or kind is Pair or kind is frozenset:
            return kind(map(ours, form))
        return untagged(form) if kind is Tagged else form

    def untagged(form: Tagged) -> Any:
        if form.tag != "number":
            return ours(form.form)
        try:
            return float(form.form.rstrip("M"))
        except ValueError:
            return form.form  # a ratio

    for begin, _, form in edn.forms(text):
        try:
            yield ours(form)
        except TypeError as error:
            raise EdnError(
                f"line {edn.line_of(text, begin)}: this cannot be a key or a member: {error}"
            ) from error


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
