"""Schedules for the bugs of counting and of changes of members (5, 14 to 16, 42 to 45)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Options
from node.raft.messages import AppendEntries
from tests.node.raft.bed import Bed
from tests.node.raft.schedules.common import MANUAL, Scripts, observed, until_leading

STRICT = Options(max_clock_drift_ms=20, election_tick_ms=5)
"""D far below E, so that a new leader comes before the old one looks for dead nodes."""


def quorum_half(bugs: Sequence[str]) -> Bed:
    """Four members, cut two and two, stand in the same term."""
    bed = Bed(4, MANUAL, bugs=bugs)
    bed.cut(["n1", "n2"], ["n3", "n4"])
    bed.vote("n1")
    bed.vote("n3")
    bed.run(300)
    return bed


def quorum_half_commits(bugs: Sequence[str]) -> Bed:
    """A leader of four commits with one follower, while the other two elect one of them."""
    bed = Bed(4, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.cut(["n1", "n2"], ["n3", "n4"])
    bed.propose("n1")
    bed.run(50)
    bed.vote("n3")
    bed.run(300)
    return bed


def lease_minority(bugs: Sequence[str]) -> Bed:
    """Five members, the leader and one more are cut off right after it looked for dead nodes; one of the others stands."""
    options = Options(max_clock_drift_ms=20, election_tick_ms=5, elections=False)
    bed = Bed(5, options, bugs=bugs)
    bed.elect("n1")
    after_check(bed, "n1")
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    observed(bed, "n1", 540)
    bed.vote("n3")
    return observed(bed, "n1", 600)


def after_check(bed: Bed, leader: str) -> None:
    """Go on to just after a dead-node check: the next is E away, and the one after it the first that may find anything."""
    bed.run(700)
    due = bed.core(leader).check_due
    bed.run_until(lambda: bed.core(leader).check_due != due, 1000)
    bed.run(30)


def lease_joint_new_only(bugs: Sequence[str]) -> Bed:
    """{1,2,3} to {1,4,5}: the joint entry never reaches 2 and 3, who elect under the old members."""
    bed = Bed(5, STRICT, bugs=bugs, members=("n1", "n2", "n3"))
    bed.elect("n1")
    after_check(bed, "n1")
    bed.change("n1", ("n1", "n4", "n5"))
    bed.run_until(lambda: bed.core("n1").conf.joint, 300)
    bed.cut(["n1", "n4", "n5"], ["n2", "n3"])
    return observed(bed, "n1", 1200)


def lease_nonmember_self(bugs: Sequence[str]) -> Bed:
    """5.1: the leader of four removes itself; the others have the entry, but two are cut off before they can say so."""
    bed = Bed(4, STRICT, bugs=bugs)
    bed.elect("n1")
    after_check(bed, "n1")
    bed.change("n1", ("n2", "n3", "n4"))
    bed.run(1)
    bed.cut(["n1", "n2"], ["n3", "n4"])
    return observed(bed, "n1", 1200)


def two_committing_groups(bugs: Sequence[str]) -> Bed:
    """{1,2,3} to {3,4,5} at 3, which loses 1 and 2 at the append; these elect among themselves."""
    bed = Bed(5, MANUAL, bugs=bugs, members=("n1", "n2", "n3"))
    bed.elect("n3")
    bed.change("n3", ("n3", "n4", "n5"))
    bed.run_until(lambda: bed.core("n3").conf.members == ("n3", "n4", "n5"), 300)
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    bed.propose("n3")
    bed.run(100)
    until_leading(bed, "n1")
    return bed


def joint_one_majority_votes(bugs: Sequence[str]) -> Bed:
    """{1,2,3} to {3,4,5}: everybody has the joint entry, then 1 and 2 stand against 4 and 5."""
    bed = Bed(5, MANUAL, bugs=bugs, members=("n1", "n2", "n3"))
    bed.elect("n3")
    bed.change("n3", ("n3", "n4", "n5"))
    bed.run_until(lambda: bed.core("n3").conf.joint, 300)
    bed.run(1)
    bed.crash("n3")
    bed.cut(["n1", "n2"], ["n4", "n5"])
    bed.vote("n1")
    bed.vote("n4")
    bed.run(300)
    return bed


def conf_no_rollback(bugs: Sequence[str]) -> Bed:
    """The removal of 4 is cut off at 1; its successor then removes 1 itself, with 4, while 1 and 3 are cut off."""
    bed = Bed(4, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.isolate("n1")
    bed.propose("n1")
    bed.change("n1", ("n1", "n2", "n3"))
    bed.elect("n2")
    bed.heal()
    bed.run(300)
    bed.cut(["n1", "n3"], ["n2", "n4"])
    bed.change("n2", ("n2", "n3", "n4"))
    bed.run(100)
    assert bed.core("n2").commit == 3
    for _ in range(3):
        bed.vote("n1")
        bed.run(300)
    return bed


def conf_before_own_commit(bugs: Sequence[str]) -> Bed:
    """5.1: 1 adds 5 and is cut off with it; 2 removes 1 at once and commits that with 3; then 1 stands, with 4 and 5."""
    bed = Bed(5, MANUAL, bugs=bugs, members=("n1", "n2", "n3", "n4"))
    bed.elect("n1")
    bed.run(100)
    bed.change("n1", ("n1", "n2", "n3", "n4", "n5"))
    bed.run_until(lambda: len(bed.core("n1").conf.members) == 5, 300)
    bed.cut(["n1", "n5"], ["n2", "n3", "n4"])
    bed.run(50)
    bed.rule = lambda _from, to, message: (
        to == "n4" and isinstance(message, AppendEntries) and bool(message.entries)
    )
    until_leading(bed, "n2")
    bed.change("n2", ("n2", "n3", "n4"))
    bed.run(100)
    bed.rule = None
    bed.held.clear()
    bed.heal()
    bed.cut(["n2", "n3"], ["n1", "n4", "n5"])
    bed.run_until(lambda: bed.core("n1").state == "follower", 500)
    until_leading(bed, "n1")
    return bed


SCRIPTS: Scripts = {
    "quorum_half": (quorum_half, "P-EL"),
    "lease_minority": (lease_minority, "P-LX"),
    "lease_joint_new_only": (lease_joint_new_only, "P-LX"),
    "lease_nonmember_self": (lease_nonmember_self, "P-LX"),
    "joint_skipped": (two_committing_groups, "P-LC"),
    "joint_one_majority": (two_committing_groups, "P-LC"),
    "conf_no_rollback": (conf_no_rollback, "P-LC"),
    "conf_before_own_commit": (conf_before_own_commit, "P-LC"),
}
