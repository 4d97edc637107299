"""P-EL and P-LC: small runs that must trip them, and near misses that must not."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.monitor import ONE_GROUP, Monitor
from checkers.raft_invariants import ElectionSafety, LeaderCompleteness
from checkers.records.events import AppendAck, Apply, Boot, Commit, LogDump, TermChange, VoteGranted
from checkers.state_machine import StateMachineSafety
from tests.checkers.made import event, leader, watch


def vote(at: float, term: int, candidate: str, boot: int = 1) -> Any:
    return event(VoteGranted, at, term, boot, candidate=candidate)


def boot(at: float, term: int, number: int, voted_for: str = "", last_index: int = 0) -> Any:
    return event(Boot, at, term, number, last_index=last_index, last_term=term, voted_for=voted_for)


def ack(at: float, term: int, last_index: int = 4) -> Any:
    return event(AppendAck, at, term, leader="n2", last_index=last_index)


def commit(at: float, term: int, index: int) -> Any:
    return event(Commit, at, term, index=index)


def dump(at: float, term: int, first: int, *entries: tuple[int, int]) -> Any:
    return event(LogDump, at, term, first=first, entries=list(entries))


def apply(at: float, term: int, first: int, *entries: tuple[int, int]) -> Any:
    return event(Apply, at, term, first=first, entries=list(entries))


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
    "a vote that is granted again after a restart, to the same candidate": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 3, 2, "n2")), ("n1", vote(6, 3, "n2", boot=2))],
    ),
    "a life whose boot lifted its term above its log's last one": (
        # The log is of term 5 and the vote record of term 3: it begins in term 6, with no vote.
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", ack(2, 3)), ("n1", boot(5, 6, 2, "", last_index=9))],
    ),
    "a vote that was written and never told of": (
        # Killed after the sync and before a word of it.
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", boot(5, 4, 2, "n3"))],
    ),
    "a member that left and comes back in a later term": (
        ElectionSafety,
        [("n3", vote(1, 3, "n2")), ("n3", ack(2, 3)), ("n3", vote(9, 7, "n1"))],
    ),
    "acknowledgements in the term that a vote brought": (
        ElectionSafety,
        [("n1", vote(1, 3, "n2")), ("n1", ack(2, 3)), ("n1", ack(3, 3, 5)), ("n1", leader(4, 4))],
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
    "a leader with all that was committed": (
        LeaderCompleteness,
        [("n1", event(Commit, 1, 1, index=5)), ("n2", leader(2, 2, last_index=5, last_term=1))],
    ),
    "a leader that holds the committed entry and more of the same term": (
        LeaderCompleteness,
        [("n1", apply(1, 2, 5, (2, 7))), ("n2", leader(2, 3, last_index=8, last_term=2))],
    ),
    "a leader whose log is all in a snapshot": (
        # Its log is empty: the last index and term are those of the snapshot.
        LeaderCompleteness,
        [("n1", apply(1, 2, 5, (2, 7))), ("n2", leader(2, 3, last_index=5, last_term=2))],
    ),
    "a leader of the very term in which the entry was committed": (
        LeaderCompleteness,
        [("n1", commit(5, 2, 9)), ("n1", leader(2, 2, last_index=4, last_term=1))],
    ),
    "entries committed under a quorum that shrank": (
        # A removal commits a later entry, and all before it with it, though they had no quorum of the larger group.
        LeaderCompleteness,
        [
            ("n1", leader(1, 2, last_index=0, last_term=0)),
            ("n1", commit(2, 2, 8)),
            ("n1", apply(2, 2, 1, *((2, 10 + i) for i in range(8)))),
            ("n2", leader(9, 3, last_index=8, last_term=2)),
        ],
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
    "an acknowledgement in a term that is over": (
        # The disk was slow, and the node voted in term 4 meanwhile.
        ElectionSafety,
        [("n1", vote(1, 4, "n3")), ("n1", ack(2, 3))],
        "acknowledged entries in term 3 after it had acted in term 4",
    ),
    "a vote in a term that is over": (
        ElectionSafety,
        [("n1", ack(1, 4)), ("n1", vote(2, 3, "n3"))],
        "voted in term 3 after",
    ),
    "a term that its node had told of and forgot": (
        ElectionSafety,
        [("n1", event(TermChange, 1, 5, previous=3)), ("n1", boot(5, 4, 2, ""))],
        "forgot the term",
    ),
    "two leaders in a term of two groups that a change of members made": (
        ElectionSafety,
        [("n1", leader(1, 4)), ("n5", leader(9, 4))],
        "two leaders in term 4: n1 and n5",
    ),
    "a term that goes back": (
        ElectionSafety,
        [("n1", event(TermChange, 1, 2, previous=3))],
        "back to term 2",
    ),
    "a longer log of an older term": (
        # Unacknowledged entries piled up at a cut-off leader: length alone says nothing.
        LeaderCompleteness,
        [("n1", apply(1, 2, 5, (2, 7))), ("n3", leader(2, 3, last_index=9, last_term=1))],
        "a log whose last entry, 9, is of term 1",
    ),
    "another entry where the committed one should be the last": (
        LeaderCompleteness,
        [("n1", apply(1, 2, 5, (2, 7))), ("n3", leader(2, 4, last_index=5, last_term=3))],
        "although 5 of term 2 was committed",
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


@pytest.mark.parametrize("kind", [ElectionSafety, LeaderCompleteness])
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
    for name in ("a leader without a committed entry", "a longer log of an older term"):
        _, records, _ = VIOLATED[name]
        assert watch(LeaderCompleteness(), records[::-1]).verdict == "violated"


DUMPS: dict[str, tuple[tuple[int, list[tuple[int, int]]], str]] = {
    "all of it": ((1, [(1, 10), (1, 11), (1, 12)]), ""),
    "all of it, and a tail of its own": ((1, [(1, 10), (1, 11), (1, 12), (1, 99)]), ""),
    "all that no snapshot covers": ((3, [(1, 12)]), ""),
    "nothing, for a snapshot covers it": ((4, []), ""),
    "other entries": ((1, [(1, 99), (1, 11), (1, 12)]), "with the one of term 1 at index 1"),
    "too few": ((2, [(1, 11)]), "with nothing at index 3"),
}


@pytest.mark.parametrize("name", DUMPS)
def test_a_leaders_whole_log_holds_each_committed_entry(name: str) -> None:
    """A last entry that fits does not show what is before it; the whole log does."""
    (first, entries), text = DUMPS[name]
    safety = StateMachineSafety()
    monitor = LeaderCompleteness(safety.applied)
    watch(safety, [("n1", apply(1, 1, 1, (1, 10), (1, 11), (1, 12)))])
    records = [("n2", leader(2, 2, last_index=9, last_term=1)), ("n2", dump(2, 2, first, *entries))]
    found = watch(monitor, records).findings
    assert [text in finding.text for finding in found] == ([True] if text else [])
