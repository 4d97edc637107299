"""Every seeded bug breaks its rule, and the same schedule passes without it."""

from __future__ import annotations

import pytest

from node.raft.bugs import CATALOGUE, Seeded
from tests.node.raft.bed import Bed, Violation
from tests.node.raft.schedules import SCRIPTS, elections, leases, membership
from tests.node.raft.schedules.common import MANUAL, Script
from tests.node.raft.schedules.elections import no_log_check

ELSEWHERE = {"fsync_error_ignored", "torn_tail_kept", "truncate_committed"}
"""Bugs that another guard masks, or that sit outside of the core: tested by name below or in tests of their own room."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_bug_breaks_its_rule(name: str) -> None:
    """Without the bug the schedule passes; with it the named property breaks."""
    script, expected = SCRIPTS[name]
    script(())
    with pytest.raises(Violation) as broken:
        script((name,))
    assert broken.value.name == expected
    assert expected in CATALOGUE[name].violates


def test_every_bug_has_its_schedule() -> None:
    assert set(CATALOGUE) == set(SCRIPTS) | ELSEWHERE


def test_truncate_committed_is_masked_until_a_leader_lacks_what_is_committed() -> None:
    """39: no correct leader asks for such a cut, so it takes a second bug; the count shows that the line was run."""
    with pytest.raises(Violation) as broken:
        no_log_check(("no_log_check", "truncate_committed"))
    assert broken.value.name == "P-LC"
    bed = masked(("no_log_check", "truncate_committed"))
    assert bed.core("n2").bugs.hits["truncate_committed"]


def masked(bugs: tuple[str, ...]) -> Bed:
    """The short-logged leader goes on to overwrite what was applied, unwatched."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.properties.watching = False
    bed.elect("n1")
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(200)
    bed.heal()
    bed.isolate("n1")
    bed.elect("n3")
    bed.run(200)
    return bed


@pytest.mark.parametrize(
    ("script", "name", "expected"),
    [
        (elections.own_vote_not_persisted, "vote_not_persisted", "P-EL"),
        (leases.read_no_check_by_readindex, "read_no_check", "P-LIN"),
        (membership.joint_one_majority_votes, "joint_one_majority", "P-EL"),
        (membership.quorum_half_commits, "quorum_half", "P-LC"),
    ],
)
def test_a_bug_breaks_its_rule_by_the_other_way_too(
    script: Script, name: str, expected: str
) -> None:
    """Both votes are forgotten, both modes of reading go unchecked, votes and entries are miscounted alike."""
    script(())
    with pytest.raises(Violation) as broken:
        script((name,))
    assert broken.value.name == expected
    assert expected in CATALOGUE[name].violates


def test_a_bug_counts_how_often_it_changed_an_outcome() -> None:
    """The status tells whether a seeded bug has bitten at all."""
    bed = Bed(3, MANUAL, bugs=("follower_local_read", "no_log_check"))
    bed.read("n1", "lease")
    assert bed.core("n1").status()["bugs"] == {"follower_local_read": 1, "no_log_check": 0}


def test_an_unknown_bug_is_refused() -> None:
    """A misspelt bug must not pass for a healthy run."""
    with pytest.raises(ValueError, match="unknown bugs \\['no_such'\\]"):
        Seeded(("no_such",))
