"""P-CONF: members change one at a time or through a joint configuration, after the leader's own commit, the same for all."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.configurations import Configurations
from checkers.monitor import ONE_GROUP
from checkers.records.events import Boot, Commit, ConfChange, SnapshotLoaded, StepDown
from tests.checkers.made import event, leader, watch

ABC = "abc"


def boot(at: float, members: str = ABC, number: int = 1, old: str = "") -> Any:
    return event(
        Boot, at, 1, number, last_index=0, last_term=0, members=tuple(members), old=tuple(old)
    )


def conf(stage: str, at: float, index: int, members: str, old: str = "", **fields: Any) -> Any:
    return event(
        ConfChange, at, index=index, members=tuple(members), old=tuple(old), stage=stage, **fields
    )


def append(at: float, index: int, members: str, old: str = "", **fields: Any) -> Any:
    return conf("append", at, index, members, old, **fields)


def commit(at: float, index: int) -> Any:
    return event(Commit, at, index=index)


LEADS = [boot(0), leader(1, 1, last_index=9, last_term=0)]
"""a leads from index 10 on."""
READY = [*LEADS, append(1, 10, ABC), commit(2, 10)]
"""Its first entry, which repeats the configuration, is committed."""

HOLDS: dict[str, list[Any]] = {
    "one more": [*READY, append(3, 11, "abcd")],
    "one less": [*READY, append(3, 11, "ab")],
    "a leader removes itself": [
        *READY,
        append(3, 11, "bc"),
        commit(4, 11),
        conf("commit", 4, 11, "bc"),
    ],
    "two at once, through a joint one": [
        *READY,
        append(3, 11, "ade", old=ABC),
        commit(4, 11),
        append(4, 12, "ade"),
        commit(5, 12),
    ],
    "one after the other": [*READY, append(3, 11, "abcd"), commit(4, 11), append(5, 12, "abcde")],
    "a successor goes on from the joint one": [
        boot(0),
        append(1, 5, "ade", old=ABC),
        leader(2, 2, last_index=5, last_term=1),
        append(2, 6, "ade", old=ABC),
        commit(3, 6),
        append(3, 7, "ade"),
    ],
    "a follower takes what the leader sends, committed or not": [
        boot(0),
        append(1, 5, "abcd"),
        append(1, 6, "abcde"),
    ],
    "a follower that led before": [
        *LEADS,
        append(1, 10, ABC),
        event(StepDown, 2, reason="new_leader"),
        append(3, 11, "abcd"),
    ],
    "an uncommitted change is rolled back, and another one takes its index": [
        boot(0),
        append(1, 5, "abcd"),
        conf("rollback", 2, 0, ABC),
        append(2, 5, "ab"),
    ],
    "a life that begins with the change that is rolled back": [
        boot(0, "ade", old=ABC),
        conf("rollback", 2, 1, ABC),
        append(3, 6, "abcd"),
    ],
    "an install brings a configuration from far away": [
        boot(0),
        event(SnapshotLoaded, 1, index=90, last_term=3, digest=1, source="install"),
        append(1, 90, "xyz"),
        append(2, 91, "wxyz"),
    ],
    "an operator's reset is no step of the group": [
        boot(0),
        append(1, 5, ABC),
        conf("reset", 2, 5, "a"),
        append(3, 6, "a"),
        append(4, 7, "ab"),
    ],
    "a node that does not say who is in the group at its boot": [
        event(Boot, 0, last_index=0, last_term=0),
        append(1, 5, "xyz"),
    ],
}

VIOLATED: dict[str, tuple[list[Any], str]] = {
    "two at once": ([*READY, append(3, 11, "ade")], "{a b c} to {a d e} in one step"),
    "one in the place of another": ([*READY, append(3, 11, "abd")], "in one step"),
    "two at once at a follower": ([boot(0), append(1, 5, "abcde")], "in one step"),
    "a joint one that does not begin with the members there are": (
        [*READY, append(3, 11, "ade", old="ab")],
        "in one step",
    ),
    "a joint one left for other members than it said": (
        [*READY, append(3, 11, "ade", old=ABC), commit(4, 11), append(4, 12, "ad")],
        "{a b c} to {a d e} to {a d} in one step",
    ),
    "a change before the leader's first entry is committed": (
        [*LEADS, append(1, 10, ABC), append(2, 11, "abcd")],
        "before its first entry of that term, 10, was committed",
    ),
    "a leader whose first entry is a change": (
        [*LEADS, append(1, 10, "abcd")],
        "before its first entry of that term, 10, was committed",
    ),
    "a change before the last one is committed": (
        [*READY, append(3, 11, "abcd"), append(4, 12, "abcde")],
        "before the configuration at 11 was committed",
    ),
    "a change that stays in force though its entry was cut off": (
        [boot(0), append(1, 5, "abcd"), append(2, 5, "abc")],
        "while one at 5 is in force, which was not rolled back",
    ),
    "a rollback to members that never were": (
        [boot(0), append(1, 4, ABC), append(2, 5, "abcd"), conf("rollback", 3, 4, "ab")],
        "had {a b c} there before",
    ),
    "a committed change that is rolled back": (
        [
            boot(0),
            append(1, 4, ABC),
            append(1, 5, "abcd"),
            commit(2, 5),
            conf("rollback", 3, 4, ABC),
        ],
        "rolled back the configuration at index 5",
    ),
    "other members committed than were appended": (
        [boot(0), append(1, 5, "abcd"), commit(2, 5), conf("commit", 2, 5, "ab")],
        "committed other members at index 5",
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_steps_that_keep_one_group(name: str) -> None:
    result = watch(Configurations(), [("a", record) for record in HOLDS[name]])
    assert result.findings == []


@pytest.mark.parametrize("name", VIOLATED)
def test_steps_that_may_make_two_groups(name: str) -> None:
    records, text = VIOLATED[name]
    (finding,) = watch(Configurations(), [("a", record) for record in records]).findings
    assert text in finding.text
    assert finding.rests_on == [ONE_GROUP]
    assert len(finding.evidence) == 2


def test_nodes_that_committed_the_same_steps() -> None:
    records = [(node, conf("commit", 1, index, ABC)) for node in ABC for index in (1, 4)]
    assert watch(Configurations(), records).findings == []


def test_nodes_that_did_not_commit_the_same_members() -> None:
    records = [("a", conf("commit", 1, 4, ABC)), ("b", conf("commit", 2, 4, "abd"))]
    (finding,) = watch(Configurations(), records).findings
    assert "at index 4 a committed the members {a b c} and b {a b d}" in finding.text


def test_a_group_that_tells_no_configuration_is_not_checked() -> None:
    assert watch(Configurations(), [("a", boot(0))]).verdict == "not checked"
