"""EDN: what is written is read back, and what is no EDN is named by its line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.formats import edn
from checkers.formats.edn import Keyword


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("true", True),
        ("-12", -12),
        ("12N", 12),
        ("1.5", 1.5),
        (":read", Keyword("read")),
        ('"a\\n\\"\\u0041\\\\"', 'a\n"A\\'),
        ("\\a", "a"),
        ("\\newline", "\n"),
        ("[1, 2 (3)]", (1, 2, (3,))),
        ("#{1 2}", frozenset({1, 2})),
        ("{:a 1, :b [2]}", {"a": 1, "b": (2,)}),
        ('#inst "2020"', "2020"),
        ("#jepsen.history.Op{:f :read}", {"f": "read"}),
        ("[1 #_ 2 3 ; four\n]", (1, 3)),
        ("sym/bol", "sym/bol"),
    ],
)
def test_forms_are_read(text: str, value: Any) -> None:
    (found,) = edn.forms(text)
    assert found == value
    assert type(found) is type(value)


def test_forms_stand_one_after_the_other() -> None:
    assert list(edn.forms("1 ; one\n 2,\n#_ 3\n")) == [1, 2]
    assert list(edn.forms("")) == []
    assert list(edn.forms("; nothing\n")) == []


@pytest.mark.parametrize("text", ["[1 2", "{:a", '"abc', "#{", "#tag"])
def test_a_form_that_ends_too_early_is_torn(text: str) -> None:
    with pytest.raises(edn.Torn, match="line 1"):
        list(edn.forms(text))


@pytest.mark.parametrize(
    "text", ["1\n]", "1\n[2)", "1\n{:a}", "[" * 100 + "]" * 100, "1\n{[{}] 1 {} 2}"]
)
def test_what_is_no_edn_is_refused(text: str) -> None:
    with pytest.raises(edn.EdnError):
        list(edn.forms(text))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False)
    | st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True).map(Keyword),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    (found,) = edn.forms(edn.write(value))
    assert found == value
    assert type(found) is type(value)


def test_a_value_that_edn_has_no_form_for_is_refused() -> None:
    with pytest.raises(edn.EdnError, match="object"):
        edn.write(object())
