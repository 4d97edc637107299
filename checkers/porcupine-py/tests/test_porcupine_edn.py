"""EDN is read as Clojure reads it, and what is no EDN is refused with its line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from porcupine import FormatError
from porcupine.formats import edn
from porcupine.formats.edn import Keyword, Map, Pair, Tagged, as_value


def read(text: str) -> list[Any]:
    return [form for _, _, form in edn.forms(text)]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("nil", None),
        ("true", True),
        ("-12", -12),
        ("+7", 7),
        ("18446744073709551616N", 2**64),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.50M", Tagged("number", "1.50M")),
        ("1/3", Tagged("number", "1/3")),
        (":ns/read", Keyword("ns/read")),
        ("->x", Tagged("symbol", "->x")),
        ('"a\\n\\"\\u00e9\\\\"', 'a\n"é\\'),
        ('"two\nlines"', "two\nlines"),
        ("\\a", Tagged("character", "a")),
        ("\\newline", Tagged("character", "\n")),
        ("\\u0041", Tagged("character", "A")),
        ("[1, 2 (3) []]", (1, 2, (3,), ())),
        ("#{1 2}", frozenset({1, 2})),
        ("{:a [1], :b {}}", Map({Keyword("a"): (1,), Keyword("b"): Map()})),
        ("#_ #_ a b 4", 4),
        ("[1 #_ {:a 3} 2]", (1, 2)),
        ("; a comment\n 5 ; another", 5),
        ('#inst "2026"', Tagged("inst", "2026")),
        ("#jepsen.history.Op{:index 0}", Map({Keyword("index"): 0})),
        ("#jepsen.independent/tuple [:k 1]", Pair((Keyword("k"), 1))),
        ("##Inf", float("inf")),
    ],
)
def test_a_form_is_what_it_is_in_clojure(text: str, form: Any) -> None:
    found = read(text)
    assert found == [form]
    assert type(found[0]) is type(form)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1\n 2", "line 2: the text ends inside what '\\[' begins in line 1"),
        ("{:a 1}\n}", "line 2: '}' closes, though nothing is open"),
        ("[1)", "line 1: '\\)' closes '\\['"),
        ('\n"abc', "line 2: the text ends inside a form"),
        ("#", "ends inside a form"),
        ("{:a 1 :a 2}", "a map has one key twice"),
        ("#{1 1}", "a set has one member twice"),
        ("{:a}", "a key without a value"),
        ("1 #_ {:a}", "a key without a value"),  # what is discarded is read all the same
        (":", "ends inside a keyword"),
        (": 1", "a keyword has no name"),
        ("007", "octal, or decimal"),
        ("1x", "this is no number"),
        ("##NaN", "no value that equals itself"),
        ('"\\q"', "the escape '\\\\\\\\q'"),
        ("9" * 5000, "this number cannot be read"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("#tag", "ends inside"),
        ("#_", "ends inside"),
    ],
)
def test_what_is_no_edn_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        read(text)


def test_what_clojure_holds_apart_stays_apart() -> None:
    """In Python 1 == 1.0 == True, and a string could stand for a keyword or a character."""
    texts = [
        "1",
        "1.0",
        "1M",
        "true",
        '"1"',
        ":1a",
        '":1a"',
        '"a"',
        "\\a",
        "a",
        "[1]",
        "#{1}",
        "{1 1}",
        "nil",
    ]
    values = [as_value(edn.one(text)) for text in texts]
    assert len(set(values)) == len(values)
    assert as_value(edn.one("[1 [1.0 true]]")) != as_value(edn.one("[1 [1 1]]"))
    assert as_value(edn.one("[1 2]")) == as_value(edn.one("(1 2)"))
    assert as_value(edn.one("1N")) == 1


def test_a_keyword_stays_itself_when_copied_or_sent() -> None:
    read_back = pickle.loads(pickle.dumps(Keyword("read")))
    assert read_back is Keyword("read") is copy.deepcopy(Keyword("read"))
    assert repr(Keyword("read")) == ":read"
    assert Keyword("read") != "read"


def test_a_long_file_is_read_in_one_pass() -> None:
    """Blanks, comments and strings that never end are where a careless expression takes quadratic time."""
    long = 300_000
    assert read(" " * long + "1" + "," * long) == [1]
    assert read(";" * long) == []
    assert read('"' + "\\\\" * long + '"') == ["\\" * long]
    with pytest.raises(FormatError):
        read('"' + "a" * long)
    with pytest.raises(FormatError):
        read("[" + "1 " * long)
