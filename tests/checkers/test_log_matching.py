"""P-LM: equal (index, term) means equal entries and equal prefixes, in what was applied and in whole logs."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.log_matching import LogMatching
from checkers.records.events import Apply, LogDump, SnapshotLoaded
from tests.checkers.made import event, watch


def apply(at: float, first: int, *entries: tuple[int, int], boot: int = 1) -> Any:
    return event(Apply, at, 1, boot, first=first, entries=list(entries))


def dump(at: float, first: int, *entries: tuple[int, int]) -> Any:
    return event(LogDump, at, first=first, entries=list(entries))


def loaded(at: float, index: int, last_term: int) -> Any:
    return event(SnapshotLoaded, at, index=index, last_term=last_term, digest=1, source="install")


HOLDS: dict[str, list[tuple[str, Any]]] = {
    "one log is a prefix of the other": [
        ("n1", dump(1, 1, (1, 10), (1, 11), (2, 12))),
        ("n2", dump(1, 1, (1, 10), (1, 11))),
    ],
    "tails of different terms": [
        # Two leaders piled up entries that nobody committed.
        ("n1", dump(1, 1, (1, 10), (2, 11), (2, 12))),
        ("n2", dump(1, 1, (1, 10), (3, 21), (3, 22))),
    ],
    "a log that begins after a snapshot": [
        ("n1", dump(1, 1, (1, 10), (1, 11), (2, 12))),
        ("n2", dump(1, 3, (2, 12))),
    ],
    "the same, seen in the other order": [
        ("n2", dump(1, 3, (2, 12))),
        ("n1", dump(1, 1, (1, 10), (1, 11), (2, 12))),
    ],
    "an applied log that goes on after a snapshot": [
        ("n1", apply(1, 1, (1, 10), (1, 11), (2, 12))),
        ("n2", loaded(1, 2, 1)),
        ("n2", apply(2, 3, (2, 12))),
    ],
    "each life from its own beginning": [
        ("n1", apply(1, 1, (1, 10), (1, 11))),
        ("n1", apply(9, 3, (2, 12), boot=2)),
        ("n2", apply(1, 1, (1, 10), (1, 11), (2, 12))),
    ],
    "an uncommitted tail that was replaced": [
        ("n1", dump(1, 1, (1, 10), (2, 11))),
        ("n1", dump(9, 1, (1, 10), (3, 21))),
    ],
}

VIOLATED: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "two contents of one entry": (
        [("n1", dump(1, 1, (1, 10))), ("n2", dump(1, 1, (1, 99)))],
        "different entries of term 1 at index 1",
    ),
    "the same entry after different ones": (
        # The append was accepted without looking at what stands before it.
        [("n1", dump(1, 1, (1, 10), (3, 12))), ("n2", dump(1, 1, (2, 11), (3, 12)))],
        "before it one of term 1 and one of term 2",
    ),
    "a log that does not fit the snapshot before it": (
        # The suffix was kept though the term at the snapshot's index differs.
        [
            ("n1", apply(1, 1, (1, 10), (1, 11), (3, 12))),
            ("n2", loaded(2, 2, 2)),
            ("n2", apply(3, 3, (3, 12))),
        ],
        "before it one of term 1 and one of term 2",
    ),
    "two contents in two tails that are not the first ones seen there": (
        [
            ("n1", dump(1, 1, (1, 10))),
            ("n2", dump(1, 1, (2, 20))),
            ("n3", dump(1, 1, (2, 99))),
        ],
        "n2 and n3 hold different entries of term 2",
    ),
    "another prefix, known only after a log that begins later": (
        [
            ("n3", dump(1, 2, (3, 12))),
            ("n1", dump(1, 1, (1, 10), (3, 12))),
            ("n2", dump(1, 1, (2, 11), (3, 12))),
        ],
        "n1 and n2 hold the same entry of term 3",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_logs_that_match(name: str) -> None:
    result = watch(LogMatching(), HOLDS[name])
    assert result.verdict == "holds", result.findings


@pytest.mark.parametrize("name", VIOLATED)
def test_logs_that_do_not_match(name: str) -> None:
    records, text = VIOLATED[name]
    (finding,) = watch(LogMatching(), records).findings
    assert text in finding.text
    assert len(finding.evidence) == 2


def test_without_a_log_there_is_nothing_to_match() -> None:
    assert watch(LogMatching(), [("n1", loaded(1, 3, 1))]).verdict == "not checked"
