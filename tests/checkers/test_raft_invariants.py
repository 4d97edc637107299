"""P-EL, P-SM and P-LC: small runs that must trip them, and near misses that must not."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.monitor import ONE_GROUP, Monitor
from checkers.raft_invariants import ElectionSafety, LeaderCompleteness
from checkers.records.events import AppendAck, Apply, Boot, Commit, TermChange, VoteGranted
from checkers.state_machine import StateMachineSafety
from tests.checkers.made import event, leader, watch


def vote(at: float, term: int, candidate: str, boot: int = 1) -> Any:
    return event(VoteGranted, at, term, boot, candidate=candidate)


def boot(at: float, term: int, number: int, voted_for: str = "", last_index: int = 0) -> Any:
    return event(Boot, at, term, number, last_index=last_index, last_term=term, voted_for=voted_for)


def apply(at: float, first: int, *entries: tuple[int, int], boot: int = 1) -> Any:
    return event(Apply, at, 1, boot, first=first, entries=list(entries))


HOLDS: dict[str, tuple[type[Monitor], list[tuple[str, Any]]]] = {
    "one leader a term": (ElectionSafety, [("n1", leader(1, 1)), ("n2", leader(2, 2))]),
    "a vote granted again to the same candidate": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", vote(2, 3, "n2")), ("n1", vote(3, 4, "n3"))],
    ),
    "two nodes vote for two candidates": (
        ElectionSafety,
        [("n1", vote(1, 3, "n1")), ("n2", vote(1, 3, "n2"))],
    ),
    "a life that remembers its vote": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 3, 2, "n2"))],
    ),
    "a life in a later term has no vote": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 4, 2, ""))],
    ),
    "terms grow": (
        ElectionSafety,
        [
            ("n1", event(TermChange, 1, 5, previous=3)),
            ("n1", event(TermChange, 2, 6, previous=5)),
            ("n1", leader(3, 6)),
        ],
    ),
    "each life applies anew": (
        StateMachineSafety,
        [
            ("n1", apply(1, 1, (1, 10), (1, 11))),
            ("n1", apply(2, 3, (2, 12))),
            ("n1", apply(9, 1, (1, 10), boot=2)),
            ("n2", apply(3, 1, (1, 10), (1, 11), (2, 12))),
        ],
    ),
    "a leader with all that was committed": (
        LeaderCompleteness,
        [("n1", event(Commit, 1, 1, index=5)), ("n2", leader(2, 2, last_index=5, last_term=1))],
    ),
    "what a later term commits does not count": (
        LeaderCompleteness,
        [("n1", event(Commit, 9, 3, index=50)), ("n2", leader(2, 2, last_index=5, last_term=1))],
    ),
    "a leader that does not say how long its log is": (
        LeaderCompleteness,
        [
            ("n1", event(Commit, 1, 1, index=5)),
            ("n2", leader(2, 2)),
            ("n3", leader(3, 3, last_index=5, last_term=1)),
        ],
    ),
}

VIOLATED: dict[str, tuple[type[Monitor], list[tuple[str, Any]], str]] = {
    "two leaders in a term": (
        ElectionSafety,
        [("n1", leader(1, 4)), ("n2", leader(2, 4))],
        "two leaders in term 4: n1 and n2",
    ),
    "one node leads a term twice": (
        ElectionSafety,
        [("n1", leader(1, 4)), ("n1", leader(9, 4, boot=2))],
        "n1 twice",
    ),
    "a leader of a term that lies behind": (
        ElectionSafety,
        [("n1", leader(1, 4)), ("n1", leader(2, 3))],
        "after it had acted in term 4",
    ),
    "two votes": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", vote(2, 3, "n3"))],
        "voted twice in term 3",
    ),
    "two votes across a restart": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", vote(9, 3, "n3", boot=2))],
        "voted twice in term 3",
    ),
    "a forgotten vote": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 3, 2, ""))],
        "forgot its vote",
    ),
    "a forgotten term": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 2, 2, ""))],
        "forgot the term",
    ),
    "a forgotten term in which it acknowledged": (
        ElectionSafety,
        [
            ("n1", event(AppendAck, 1, 3, leader="n2", last_index=4)),
            ("n1", boot(5, 2, 2, "")),
        ],
        "forgot the term",
    ),
    "a term that goes back": (
        ElectionSafety,
        [("n1", event(TermChange, 1, 2, previous=3))],
        "back to term 2",
    ),
    "another entry at an index": (
        StateMachineSafety,
        [("n1", apply(1, 1, (1, 10), (1, 11))), ("n2", apply(2, 2, (2, 11)))],
        "at index 2",
    ),
    "another content of an entry": (
        StateMachineSafety,
        [("n1", apply(1, 1, (1, 10))), ("n2", apply(2, 1, (1, 99)))],
        "with crc",
    ),
    "another entry after a restart": (
        StateMachineSafety,
        [("n1", apply(1, 1, (1, 10))), ("n1", apply(9, 1, (2, 10), boot=2))],
        "at index 1",
    ),
    "an entry applied twice": (
        StateMachineSafety,
        [("n1", apply(1, 1, (1, 10), (1, 11))), ("n1", apply(2, 2, (1, 11)))],
        "applied index 2 again",
    ),
    "an entry left out": (
        StateMachineSafety,
        [("n1", apply(1, 1, (1, 10))), ("n1", apply(2, 3, (1, 12)))],
        "without 2",
    ),
    "a leader without a committed entry": (
        LeaderCompleteness,
        [("n1", event(Commit, 1, 1, index=6)), ("n2", leader(2, 2, last_index=5, last_term=1))],
        "6 was committed by term 1",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_what_raft_does_holds(name: str) -> None:
    monitor, records = HOLDS[name]
    result = watch(monitor(), records)
    assert result.verdict == "holds", result.findings


@pytest.mark.parametrize("name", VIOLATED)
def test_what_raft_never_does_is_found_and_told_with_its_events(name: str) -> None:
    monitor, records, text = VIOLATED[name]
    result = watch(monitor(), records)
    assert result.verdict == "violated"
    (finding,) = result.findings
    assert text in finding.text
    assert finding.evidence
    assert all(proof.file.startswith("nodes/n") for proof in finding.evidence)
    assert set(finding.rests_on) <= {ONE_GROUP}


@pytest.mark.parametrize("kind", [ElectionSafety, StateMachineSafety, LeaderCompleteness])
def test_without_events_nothing_was_checked(kind: type[Monitor]) -> None:
    result = watch(kind(), [])
    assert result.verdict == "not checked"
    assert result.because


def test_many_findings_are_counted_and_some_are_told() -> None:
    records = [("n1", leader(1, 1)), *(("n2", leader(2 + i, 1)) for i in range(50))]
    result = watch(ElectionSafety(), records)
    assert len(result.findings) == 20
    assert result.statistics["findings"] == 50
    assert "30 more" in result.because


def test_how_nodes_are_interleaved_does_not_matter() -> None:
    """Each life in its own order is all that monitors ask."""
    _, records, _ = VIOLATED["two leaders in a term"]
    assert watch(ElectionSafety(), records[::-1]).verdict == "violated"
    _, records, _ = VIOLATED["a leader without a committed entry"]
    assert watch(LeaderCompleteness(), records[::-1]).verdict == "violated"
