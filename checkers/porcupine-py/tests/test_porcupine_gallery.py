"""A gallery of small histories, each with the sentence it stands for.

Written as rows: client, call, return (None: unknown outcome), input, output. Every row of cases is judged by
zones where they apply, by the search, and by the plain oracle.
"""

from __future__ import annotations

from typing import Any

import pytest

from porcupine import UNKNOWN, Operation, Saw, check
from porcupine.models import cas_register

R = ("read",)


def w(value: Any) -> tuple[Any, ...]:
    return ("write", value)


def cas(old: Any, new: Any) -> tuple[Any, ...]:
    return ("cas", old, new)


def history(*rows: tuple[Any, ...]) -> list[Operation]:
    return [
        Operation(client, given, call, UNKNOWN if back is None else output, back)
        if back is not None
        else Operation(client, given, call, UNKNOWN, None, "info")
        for client, call, back, given, output in rows
    ]


CASES: list[tuple[str, bool, list[Operation]]] = [
    ("nothing happened", True, history()),
    ("the initial value is a value like any other", True, history((0, 0, 1, R, None))),
    ("a read of what nobody wrote", False, history((0, 0, 1, R, 7))),
    ("a read sees a write that went before", True, history((0, 0, 1, w(1), None), (1, 2, 3, R, 1))),
    ("a stale read", False, history((0, 0, 1, w(1), None), (1, 2, 3, R, None))),
    (
        "a read that overlaps a write may see the old value",
        True,
        history((0, 0, 5, w(1), None), (1, 1, 2, R, None)),
    ),
    (
        "intervals are closed: a write that returns as a read is called may come after it",
        True,
        history((0, 10, 20, w(1), None), (1, 20, 30, R, None)),
    ),
    (
        "one instant later it may not",
        False,
        history((0, 10, 20, w(1), None), (1, 21, 30, R, None)),
    ),
    (
        "a read from the future: it returned before its write was called",
        False,
        history((0, 0, 1, R, 1), (1, 2, 3, w(1), None)),
    ),
    (
        "a read and its write at one instant",
        True,
        history((0, 5, 5, R, 1), (1, 5, 5, w(1), None)),
    ),
    (
        "new-old inversion: two reads in turn see the new value, then the old one",
        False,
        history((0, 0, 9, w(1), None), (1, 1, 2, R, 1), (1, 3, 4, R, None)),
    ),
    (
        "a value cannot come back: 1, 2, 1",
        False,
        history(
            (0, 0, 9, w(1), None),
            (1, 0, 9, w(2), None),
            (2, 1, 2, R, 1),
            (2, 3, 4, R, 2),
            (2, 5, 6, R, 1),
        ),
    ),
    (
        "two readers may disagree on two values only while neither has to come first",
        True,
        history((0, 0, 9, w(1), None), (1, 0, 9, w(2), None), (2, 1, 8, R, 1), (3, 1, 8, R, 2)),
    ),
    (
        "two readers that saw two writes in opposite orders",
        False,
        history(
            (0, 0, 9, w(1), None),
            (1, 0, 9, w(2), None),
            (2, 1, 2, R, 1),
            (2, 4, 5, R, 2),
            (3, 1, 2, R, 2),
            (3, 4, 5, R, 1),
        ),
    ),
    (
        "an unknown write may never have happened",
        True,
        history((0, 0, None, w(1), None), (1, 5, 6, R, None)),
    ),
    (
        "an unknown write may have happened late",
        True,
        history((0, 0, None, w(1), None), (1, 5, 6, R, None), (1, 7, 8, R, 1)),
    ),
    (
        "an unknown write, once seen, has happened",
        False,
        history((0, 0, None, w(1), None), (1, 5, 6, R, 1), (1, 7, 8, R, None)),
    ),
    (
        "an unknown write cannot happen before its call",
        False,
        history((1, 0, 1, R, 1), (0, 2, None, w(1), None)),
    ),
    ("an unknown read says nothing", True, history((0, 0, None, R, 99), (1, 1, 2, w(1), None))),
    (
        "a compare-and-set from the initial value",
        True,
        history((0, 0, 1, cas(None, 1), True), (1, 2, 3, R, 1)),
    ),
    (
        "two compare-and-sets cannot both win",
        False,
        history((0, 0, 9, cas(None, 1), True), (1, 0, 9, cas(None, 2), True)),
    ),
    (
        "of two, one unknown and unseen, the other may win",
        True,
        history((0, 0, None, cas(None, 1), None), (1, 0, 9, cas(None, 2), True)),
    ),
    (
        "of two, one unknown and seen, the other cannot win",
        False,
        history((0, 0, None, cas(None, 1), None), (1, 0, 9, cas(None, 2), True), (2, 3, 4, R, 1)),
    ),
    (
        "compare-and-sets that feed each other in a circle",
        False,
        history((0, 0, 9, cas(2, 1), True), (1, 0, 9, cas(1, 2), True)),
    ),
    (
        "a compare-and-set of a value to itself, which nobody else wrote",
        False,
        history((0, 0, 9, cas(1, 1), True)),
    ),
    (
        "an unknown chain is settled by a read of its end",
        True,
        history(
            (0, 0, None, w(1), None),
            (1, 0, None, cas(1, 2), None),
            (2, 0, None, cas(2, 3), None),
            (3, 5, 6, R, 3),
        ),
    ),
    (
        "with the end of the chain read, its beginning is over",
        False,
        history(
            (0, 0, None, w(1), None),
            (1, 0, None, cas(1, 2), None),
            (2, 0, None, cas(2, 3), None),
            (3, 5, 6, R, 3),
            (3, 7, 8, R, 1),
        ),
    ),
    (
        "a write cannot come between a compare-and-set and what it expected",
        False,
        history(
            (0, 0, 1, w(1), None),
            (1, 2, 3, w(2), None),
            (2, 4, 5, cas(1, 3), True),
        ),
    ),
    (
        "a compare-and-set that failed and says what it saw is a read",
        False,
        history((0, 0, 1, w(1), None), (1, 2, 3, cas(5, 6), Saw(None))),
    ),
    (
        "a compare-and-set that failed cannot have seen what it expected",
        False,
        history((0, 0, 1, w(1), None), (1, 2, 3, cas(1, 6), Saw(1))),
    ),
    (
        "a compare-and-set that failed, saw another value",
        False,
        history((0, 0, 1, w(1), None), (1, 2, 3, cas(1, 6), False)),
    ),
    (
        "a value written twice may come back",
        True,
        history(
            (0, 0, 1, w(1), None),
            (1, 2, 3, R, 1),
            (0, 4, 5, w(2), None),
            (0, 6, 7, w(1), None),
            (1, 8, 9, R, 1),
        ),
    ),
    (
        "two unknown writes of one value bring it back twice",
        True,
        history(
            (0, 0, None, w(1), None),
            (1, 0, None, w(1), None),
            (2, 0, 1, w(2), None),
            (3, 2, 3, R, 1),
            (2, 4, 5, w(2), None),
            (3, 6, 7, R, 1),
        ),
    ),
    (
        "but not three times",
        False,
        history(
            (0, 0, None, w(1), None),
            (1, 0, None, w(1), None),
            (3, 2, 3, R, 1),
            (2, 4, 5, w(2), None),
            (3, 6, 7, R, 1),
            (2, 8, 9, w(2), None),
            (3, 10, 11, R, 1),
        ),
    ),
    (
        "a completed read of which nobody knows what it saw",
        True,
        history((0, 0, 1, R, UNKNOWN), (1, 2, 3, w(1), None), (0, 4, 5, R, UNKNOWN)),
    ),
]


@pytest.mark.parametrize(
    ("sentence", "legal", "operations"), CASES, ids=[case[0] for case in CASES]
)
def test_gallery(lab: Any, sentence: str, legal: bool, operations: list[Operation]) -> None:
    model = cas_register()
    assert lab.oracle(model, operations) is legal
    for prefer in ("auto", "gate", "search"):
        result = check(operations, model, prefer=prefer)
        if result.cause == "not applicable":
            assert prefer == "gate"
            continue
        assert result.verdict == ("ok" if legal else "illegal"), prefer
        if legal:
            assert lab.objection(model, operations, result.linearization[0]) is None


def test_a_witness_is_small_and_says_who_wrote_what() -> None:
    operations = history(
        (0, 0, 9, w(1), None),
        (1, 0, 9, w(2), None),
        (2, 1, 2, R, 1),
        (2, 3, 4, R, 2),
        (2, 5, 6, R, 1),
        *((5, 20 + 2 * i, 21 + 2 * i, w(10 + i), None) for i in range(50)),
    )
    result = check(operations, cas_register())
    assert result.parts[0].engine == "zones"
    witness = result.witness
    assert witness is not None
    assert set(witness.operations) == {2, 3, 4}
    assert set(witness.support) == {0, 1}
    assert witness.text == (
        "The register held what came of write 1 both before and after it held what came of write 2, "
        "and neither was written twice.\n"
        "  client 2: read() -> 1 in [1, 2]\n"
        "  client 2: read() -> 2 in [3, 4]\n"
        "  client 2: read() -> 1 in [5, 6]\n"
        "where these come from:\n"
        "  client 0: write(1) in [0, 9]\n"
        "  client 1: write(2) in [0, 9]"
    )


def test_a_value_from_nowhere_needs_no_search() -> None:
    """Repeated values and an unexplained failure keep the zones from deciding, but not from seeing this."""
    operations = history(
        (0, 0, 1, w(1), None),
        (0, 2, 3, w(1), None),
        (0, 4, 5, R, 1),
        (1, 4, 5, cas(8, 9), False),
        (1, 6, 7, cas(3, 4), UNKNOWN),
        (2, 8, 9, R, 77),
    )
    result = check(operations, cas_register())
    assert (result.verdict, result.parts[0].engine) == ("illegal", "zones")
    assert result.witness is not None
    assert result.witness.operations == (5,)
    possible = [*operations[:5], Operation(2, R, 8, 4, 9)]
    assert check(possible, cas_register()).parts[0].engine == "wgl"


def test_a_dirty_read_names_the_write_that_failed() -> None:
    operations = [
        Operation(4, w(7), 0, None, 1, "fail"),
        Operation(5, R, 2, 7, 3),
    ]
    witness = check(operations, cas_register()).witness
    assert witness is not None
    assert "failed, called by client 4 at 0" in witness.text


def test_a_search_says_what_was_open_and_why_it_does_not_fit() -> None:
    operations = history(
        (0, 0, 1, w(1), None),
        (1, 2, 3, cas(1, 5), False),
        (2, 2, 9, w(1), None),
    )
    result = check(operations, cas_register())
    assert result.parts[0].engine == "wgl"
    witness = result.witness
    assert witness is not None
    assert witness.stuck_at == 1
    assert witness.text == (
        "No order explains the history up to this return, though one explains all before it:\n"
        "  client 1: cas(1, 5) -> False in [2, 3]\n"
        "one way there leads to the state 1, after client 2: write(1) in [2, 9]; what was still open then:\n"
        "  client 1: cas(1, 5) -> False in [2, 3]: not possible here"
    )
