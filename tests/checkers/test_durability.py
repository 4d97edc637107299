"""P-DU: what a node or the group acknowledged is there later."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.durability import Durability
from checkers.monitor import FILE_SYSTEM, Completeness
from checkers.records.events import (
    AppendAck,
    Apply,
    Boot,
    LogReset,
    SnapshotLoaded,
    SnapshotSaved,
    Truncate,
)
from tests.checkers.made import PARTIAL, WHOLE, event, operation, watch


def ack(at: float, last_index: int) -> Any:
    return event(AppendAck, at, 1, leader="n1", last_index=last_index)


def boot(
    at: float, last_index: int, number: int = 2, last_term: int = 1, snapshot: int = -1
) -> Any:
    told = {"last_index": last_index, "last_term": last_term, "snapshot_index": snapshot}
    return event(Boot, at, 1, number, **told)


def saved(at: float, index: int) -> Any:
    return event(SnapshotSaved, at, index=index, last_term=1, digest=1)


def loaded(at: float, index: int, boot: int = 1, source: str = "install") -> Any:
    told = {"index": index, "last_term": 1, "digest": 1, "source": source}
    return event(SnapshotLoaded, at, 1, boot, **told)


def apply(at: float, first: int, *terms: int, boot: int = 1) -> Any:
    return event(Apply, at, 1, boot, first=first, entries=[(term, 7) for term in terms])


def write(op: int, begin: float, end: float, index: int, term: int = 1, **fields: Any) -> Any:
    return operation("write", begin, end, op=op, value=op, term=term, log_index=index, **fields)


HOLDS: dict[str, list[tuple[str, Any]]] = {
    "a log that is as long as it was acknowledged": [("n2", ack(1, 5)), ("n2", boot(9, 5))],
    "a log that is longer": [("n2", ack(1, 5)), ("n2", boot(9, 8))],
    "a log that the node itself cut": [
        ("n2", ack(1, 5)),
        ("n2", event(Truncate, 2, 2, first=4)),
        ("n2", boot(9, 3)),
    ],
    "a log whose end a later leader overwrote, killed before it said so": [
        ("n2", ack(1, 5)),
        ("n2", boot(9, 4, last_term=2)),
    ],
    "a log that was dropped for a snapshot": [
        ("n2", ack(1, 9)),
        ("n2", loaded(2, 6)),
        ("n2", event(LogReset, 3, first=7)),
        ("n2", boot(9, 6, snapshot=6)),
    ],
    "the same, killed before it said so": [
        ("n2", ack(1, 9)),
        ("n2", loaded(2, 6)),
        ("n2", boot(9, 6, snapshot=6)),
    ],
    "the same, killed before the log went": [
        ("n2", ack(1, 9)),
        ("n2", loaded(2, 6)),
        ("n2", boot(9, 9, snapshot=6)),
    ],
    "a snapshot that is there, or a newer one": [
        ("n2", ack(1, 9)),
        ("n2", saved(2, 6)),
        ("n2", boot(9, 9, snapshot=8)),
    ],
    "a node of old that does not tell of snapshots": [
        ("n2", ack(1, 9)),
        ("n2", saved(2, 6)),
        ("n2", boot(9, 9)),
    ],
    "a write that a snapshot brought to the life at the end": [
        ("", write(0, 1, 2, 2)),
        ("n1", apply(5, 1, 1, 1)),
        ("n1", boot(9, 2, snapshot=2)),
    ],
    "a write that an install brought": [
        ("", write(0, 1, 2, 2)),
        ("n1", apply(5, 1, 1, 1)),
        ("n1", boot(9, 0, snapshot=0)),
        ("n1", loaded(10, 2, boot=2)),
    ],
    "writes in order": [
        ("", write(0, 1, 2, 2)),
        ("", write(1, 3, 4, 3)),
        ("n1", apply(5, 1, 1, 1, 1)),
    ],
    "writes at the same time in any order": [
        ("", write(0, 1, 5, 3)),
        ("", write(1, 2, 4, 2)),
        ("n1", apply(5, 1, 1, 1, 1)),
    ],
    "a write that nobody acknowledged": [
        ("", write(0, 1, 2, 1)),
        ("", operation("write", 3, None, op=1, value=1)),
        ("n1", apply(5, 1, 1)),
    ],
    "a compare-and-set that changed nothing has no place": [
        ("", write(0, 1, 2, 2)),
        (
            "",
            operation(
                "cas",
                3,
                4,
                op=1,
                value={"from": 1, "to": 2, "swapped": False, "saw": 0},
                log_index=1,
            ),
        ),
        ("n1", apply(5, 1, 1, 1)),
    ],
}

VIOLATED: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "a log that is shorter than it was acknowledged": (
        [("n2", ack(1, 5)), ("n2", boot(9, 4))],
        "up to index 5",
    ),
    "a cut that does not explain all that is gone": (
        [("n2", ack(1, 5)), ("n2", event(Truncate, 2, 2, first=5)), ("n2", boot(9, 3))],
        "up to index 4",
    ),
    "an old end of the log that came back after a newer one was acknowledged": (
        # The snapshot does not excuse it: something was acknowledged since.
        [
            ("n2", ack(1, 9)),
            ("n2", loaded(2, 6)),
            ("n2", ack(3, 9)),
            ("n2", boot(9, 6, snapshot=6)),
        ],
        "up to index 9",
    ),
    "a snapshot that is gone": (
        [("n2", ack(1, 5)), ("n2", saved(2, 5)), ("n2", boot(9, 5, snapshot=3))],
        "had a snapshot at index 5 and started again with one at 3",
    ),
    "an installed snapshot that is gone": (
        [("n2", ack(1, 5)), ("n2", loaded(2, 9)), ("n2", boot(9, 5, snapshot=0))],
        "had a snapshot at index 9",
    ),
    "another entry where a write was acknowledged": (
        [("", write(0, 1, 2, 2, term=1)), ("n3", apply(5, 1, 1, 2))],
        "n3 applied an entry of term 2",
    ),
    "an index given twice": (
        [("", write(0, 1, 2, 2)), ("", write(1, 3, 4, 2)), ("n1", apply(5, 1, 1, 1))],
        "lost an acknowledged end",
    ),
    "no life at the end applied it": (
        [("", write(0, 1, 2, 3)), ("n1", apply(5, 1, 1, 1))],
        "1 acknowledged writes from index 3",
    ),
    "only a life that is over applied it": (
        [
            ("", write(0, 1, 2, 2)),
            ("n1", apply(5, 1, 1, 1)),
            ("n1", boot(9, 1)),
            ("n1", apply(10, 1, 1, boot=2)),
        ],
        "came to index 1",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_what_stays_holds(name: str) -> None:
    result = watch(Durability(), HOLDS[name])
    assert result.verdict == "holds", result.findings


@pytest.mark.parametrize("name", VIOLATED)
def test_what_is_lost_is_found(name: str) -> None:
    records, text = VIOLATED[name]
    result = watch(Durability(), records)
    (finding,) = result.findings
    assert text in finding.text
    assert finding.rests_on == [FILE_SYSTEM]


@pytest.mark.parametrize(
    "completeness",
    [
        PARTIAL,
        Completeness(whole=True, healed=False),
        Completeness(whole=True, healed=True, events_lack="the events of n2 end in a torn line"),
    ],
    ids=["partial", "not healed", "not all told"],
)
def test_an_end_that_was_not_recorded_proves_no_loss(completeness: Completeness) -> None:
    records, _ = VIOLATED["no life at the end applied it"]
    result = watch(Durability(), records, completeness=completeness)
    assert result.verdict == "holds"
    assert "not at the end" in result.because
    assert watch(Durability(), records, completeness=WHOLE).verdict == "violated"


def test_with_nothing_acknowledged_there_is_nothing_to_check() -> None:
    assert watch(Durability(), [("n1", boot(1, 0))]).verdict == "not checked"
