"""P-ORD: purged <= snapshot <= applied <= committed <= last at each node, and nothing of it goes back."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.progress import NodeOrder
from checkers.records.events import (
    Apply,
    Boot,
    Commit,
    LogCut,
    LogReset,
    Progress,
    SnapshotLoaded,
    SnapshotSaved,
    Truncate,
)
from tests.checkers.made import event, watch


def boot(at: float, number: int = 1, first: int = 1, snapshot: int = 0, last: int = 0) -> Any:
    told = {"first_index": first, "snapshot_index": snapshot, "last_index": last, "last_term": 1}
    return event(Boot, at, 1, number, **told)


def commit(at: float, index: int, term: int = 1, **fields: Any) -> Any:
    return event(Commit, at, term, index=index, **fields)


def apply(at: float, first: int, last: int, term: int = 1, **fields: Any) -> Any:
    entries = [(1, 10 + index) for index in range(first, last + 1)]
    return event(Apply, at, term, first=first, entries=entries, **fields)


def saved(at: float, index: int) -> Any:
    return event(SnapshotSaved, at, index=index, last_term=1, digest=1)


def loaded(at: float, index: int) -> Any:
    return event(SnapshotLoaded, at, index=index, last_term=1, digest=1, source="install")


def cut(at: float, first: int) -> Any:
    return event(LogCut, at, first=first)


def stands(at: float, *place: int) -> Any:
    names = ("first_index", "snapshot", "applied", "committed", "last")
    return event(Progress, at, **dict(zip(names, place, strict=True)))


HOLDS: dict[str, list[Any]] = {
    "committed, then applied": [
        boot(0),
        commit(1, 3),
        apply(1, 1, 3),
        commit(2, 5),
        apply(2, 4, 5),
    ],
    "a restart begins at its snapshot again": [
        boot(0),
        commit(1, 9),
        apply(1, 1, 9),
        saved(2, 5),
        boot(5, 2, snapshot=5, last=9),
        commit(6, 7, boot=2),
        apply(6, 6, 7, boot=2),
    ],
    "the log is cut up to the snapshot before the last": [
        boot(0),
        commit(1, 9),
        apply(1, 1, 9),
        saved(2, 4),
        saved(3, 8),
        cut(3, 5),
        stands(4, 5, 8, 9, 9, 12),
    ],
    "an install jumps, and drops the whole log": [
        boot(0),
        commit(1, 2),
        apply(1, 1, 2),
        loaded(2, 100),
        event(LogReset, 2, first=101),
        stands(3, 101, 100, 100, 100, 100),
        commit(4, 101),
        apply(4, 101, 101),
    ],
    "the cut of a tail that is told when an install has jumped over it": [
        # The cut waited for the disk, and the snapshot came meanwhile.
        boot(0),
        commit(1, 2),
        apply(1, 1, 2),
        loaded(2, 100),
        event(Truncate, 3, first=3),
    ],
    "an uncommitted tail is cut": [boot(0), commit(1, 3), event(Truncate, 2, first=4)],
    "an empty log right after its snapshot": [boot(0, first=6, snapshot=5, last=5)],
    "all equal": [boot(0), stands(1, 1, 0, 0, 0, 0), commit(2, 1), apply(2, 1, 1)],
    "a node of old that tells nothing of snapshots": [
        event(Boot, 0, last_index=0, last_term=0),
        apply(1, 4, 5),
        cut(2, 3),
    ],
}

VIOLATED: dict[str, tuple[list[Any], str]] = {
    "a commit that goes back": ([boot(0), commit(1, 5), commit(2, 4)], "up to 4 after 5"),
    "applied before it was committed": (
        [boot(0), commit(1, 1), apply(1, 1, 2)],
        "applied up to 2, and had committed up to 1",
    ),
    "a committed end that is cut off": (
        [boot(0), commit(1, 5), event(Truncate, 2, first=5)],
        "cut its log from 5 on, and had committed up to 5",
    ),
    "a beginning that is cut off before a snapshot is durable": (
        [boot(0), commit(1, 9), apply(1, 1, 9), cut(2, 9)],
        "cut its log up to 8, and its newest durable snapshot is at 0",
    ),
    "a snapshot of what was not applied": (
        # Its index is one too high.
        [boot(0), commit(1, 5), apply(1, 1, 5), saved(2, 6)],
        "saved a snapshot at 6 of a state that was at 5",
    ),
    "an older snapshot in the place of a newer one": (
        [boot(0, snapshot=5, last=5), loaded(2, 3)],
        "a snapshot at 3 in the place of one at 5",
    ),
    "a gap between snapshot and log at a boot": (
        [boot(0, first=8, snapshot=5, last=9)],
        "what is between them is gone",
    ),
    "a log that ends before its snapshot": (
        [boot(0, snapshot=5, last=4)],
        "before its snapshot at 5",
    ),
    "a place that is out of order": (
        [boot(0), stands(1, 1, 0, 4, 3, 9)],
        "these must not decrease",
    ),
    "a log that is shorter than what it committed": (
        [boot(0), stands(1, 1, 0, 3, 5, 4)],
        "last 4",
    ),
    "a place behind what it has told": (
        [boot(0), commit(1, 5), apply(1, 1, 5), stands(2, 1, 0, 4, 5, 9)],
        "stands at applied 4, committed 5 after it had come to 5 and 5",
    ),
    "a term that goes back": (
        [boot(0), commit(1, 1, term=3), commit(2, 2, term=2)],
        "in term 2 after term 3",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_indices_in_order(name: str) -> None:
    records = [("n1", record) for record in HOLDS[name]]
    result = watch(NodeOrder(), records)
    assert result.findings == []


@pytest.mark.parametrize("name", VIOLATED)
def test_indices_out_of_order(name: str) -> None:
    records, text = VIOLATED[name]
    (finding,) = watch(NodeOrder(), [("n1", record) for record in records]).findings
    assert text in finding.text
    assert finding.evidence[-1].file == "nodes/n1/events.1.jsonl"
    assert finding.rests_on == []


def test_what_one_node_does_is_nothing_to_another() -> None:
    records = [("n1", commit(1, 5)), ("n2", commit(2, 3)), ("n1", commit(3, 6))]
    assert watch(NodeOrder(), records).verdict == "holds"
