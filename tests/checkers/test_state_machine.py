"""P-SM: the same entries at all nodes, each life once and in order, and snapshots that stand for them."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.monitor import ONE_GROUP
from checkers.records.events import Apply, Boot, SnapshotLoaded, SnapshotSaved
from checkers.state_machine import StateMachineSafety
from tests.checkers.made import event, watch


def apply(at: float, first: int, *entries: tuple[int, int], boot: int = 1) -> Any:
    return event(Apply, at, 1, boot, first=first, entries=list(entries))


def boot(at: float, number: int, snapshot: int, **fields: Any) -> Any:
    told = {"last_index": snapshot, "last_term": 1, "snapshot_index": snapshot, "snapshot_term": 1}
    return event(Boot, at, 1, number, **told, **fields)


def saved(at: float, index: int, digest: int = 7, last_term: int = 1, **fields: Any) -> Any:
    return event(SnapshotSaved, at, index=index, last_term=last_term, digest=digest, **fields)


def loaded(at: float, index: int, digest: int = 7, source: str = "install", **fields: Any) -> Any:
    told = {"last_term": 1, "digest": digest, "source": source}
    return event(SnapshotLoaded, at, index=index, **{**told, **fields})


THREE = [(1, 10), (1, 11), (1, 12)]

HOLDS: dict[str, list[tuple[str, Any]]] = {
    "each life applies anew": [
        ("n1", apply(1, 1, (1, 10), (1, 11))),
        ("n1", apply(2, 3, (2, 12))),
        ("n1", apply(9, 1, (1, 10), boot=2)),
        ("n2", apply(3, 1, (1, 10), (1, 11), (2, 12))),
    ],
    "a life goes on after the snapshot that it began with": [
        ("n1", apply(1, 1, *THREE)),
        ("n1", saved(2, 2)),
        ("n1", boot(5, 2, 2)),
        ("n1", loaded(5, 2, source="boot", boot=2)),
        ("n1", apply(6, 3, (1, 12), boot=2)),
    ],
    "an installed snapshot sets where it goes on": [
        ("n1", apply(1, 1, *THREE)),
        ("n1", saved(2, 3)),
        ("n2", boot(1, 1, 0)),
        ("n2", apply(2, 1, (1, 10))),
        ("n2", loaded(3, 3)),
        ("n2", apply(4, 4, (1, 13))),
    ],
    "a second offer of a snapshot that is refused": [
        # The duplicate came when the node was past it: it answers and does nothing, so there is nothing to see.
        ("n2", boot(1, 1, 0)),
        ("n2", loaded(3, 3)),
        ("n2", apply(4, 4, (1, 13))),
        ("n2", apply(5, 5, (1, 14))),
    ],
    "a snapshot of exactly what was applied": [
        ("n2", boot(1, 1, 0)),
        ("n2", apply(2, 1, *THREE)),
        ("n2", loaded(3, 3)),
        ("n2", apply(4, 4, (1, 13))),
    ],
    "equal snapshots at equal indices, other ones elsewhere": [
        ("n1", apply(1, 1, *THREE)),
        ("n1", saved(2, 3)),
        ("n2", saved(2, 3)),
        ("n2", saved(3, 5, digest=8)),
    ],
    "a witness has no state that could be equal": [
        ("n1", apply(1, 1, *THREE)),
        ("n1", saved(2, 3)),
        ("n3", saved(2, 3, digest=None)),
    ],
    "a life that does not say which snapshot it has": [
        ("n1", event(Boot, 1, last_index=9, last_term=1)),
        ("n1", apply(2, 5, (1, 14))),
    ],
}

VIOLATED: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "another entry at an index": (
        [("n1", apply(1, 1, (1, 10), (1, 11))), ("n2", apply(2, 2, (2, 11)))],
        "at index 2",
    ),
    "another content of an entry": (
        [("n1", apply(1, 1, (1, 10))), ("n2", apply(2, 1, (1, 99)))],
        "with crc",
    ),
    "another entry after a restart": (
        [("n1", apply(1, 1, (1, 10))), ("n1", apply(9, 1, (2, 10), boot=2))],
        "at index 1",
    ),
    "an entry applied twice": (
        [("n1", apply(1, 1, (1, 10), (1, 11))), ("n1", apply(2, 2, (1, 11)))],
        "applied index 2 again",
    ),
    "an entry left out": (
        [("n1", apply(1, 1, (1, 10))), ("n1", apply(2, 3, (1, 12)))],
        "without 2",
    ),
    "a life that applies what its snapshot holds already": (
        [("n1", boot(5, 2, 2)), ("n1", apply(6, 2, (1, 11), boot=2))],
        "applied index 2 again",
    ),
    "a life that leaves out what follows its snapshot": (
        [("n1", boot(5, 2, 2)), ("n1", apply(6, 4, (1, 13), boot=2))],
        "without 3",
    ),
    "an entry left out after an install": (
        [("n1", loaded(1, 3)), ("n1", apply(2, 5, (1, 14)))],
        "without 4",
    ),
    "an older snapshot over a newer state": (
        [("n1", boot(1, 1, 0)), ("n1", apply(2, 1, *THREE)), ("n1", loaded(3, 2))],
        "loaded a snapshot at 2 (install) over a state that was at 3",
    ),
    "two states at an index": (
        [("n1", saved(1, 3, digest=7)), ("n2", saved(2, 3, digest=8))],
        "digest 0x7 at n1 and digest 0x8 at n2",
    ),
    "another state than the one that was sent": (
        [("n1", saved(1, 3, digest=7)), ("n2", loaded(2, 3, digest=8))],
        "digest 0x7 at n1 and digest 0x8 at n2",
    ),
    "two last terms of one snapshot": (
        [("n1", saved(1, 3, last_term=1)), ("n2", saved(2, 3, last_term=2))],
        "last term 1 at n1 and last term 2 at n2",
    ),
    "a snapshot whose last term is not that of the entry there": (
        # Its index is one too high, and the entry after it is of the next term.
        [("n1", apply(1, 1, (1, 10), (1, 11), (2, 12))), ("n1", saved(2, 3, last_term=1))],
        "whose last term is 1",
    ),
    "the same, and the entry is applied later": (
        [("n1", saved(1, 3, last_term=1)), ("n2", apply(2, 3, (2, 12)))],
        "whose last term is 1",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_state_machine_that_is_one(name: str) -> None:
    result = watch(StateMachineSafety(), HOLDS[name])
    assert result.verdict == "holds", result.findings


@pytest.mark.parametrize("name", VIOLATED)
def test_state_machines_that_part(name: str) -> None:
    records, text = VIOLATED[name]
    result = watch(StateMachineSafety(), records)
    (finding,) = result.findings
    assert text in finding.text
    assert finding.evidence[-1].file.startswith("nodes/n")
    assert set(finding.rests_on) <= {ONE_GROUP}


def test_nothing_applied_is_nothing_checked() -> None:
    assert watch(StateMachineSafety(), [("n1", boot(1, 1, 0))]).verdict == "not checked"
