"""Every seeded bug breaks its rule, and the same schedule passes without it (raft-node.md 5 and
5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from node.raft.bugs import CATALOGUE, Seeded
from node.raft.effects import Options
from node.raft.messages import AppendEntries, AppendEntriesReply, Message, RequestVote
from tests.node.raft.bed import MS, Bed, Violation

MANUAL = Options(elections=False, leader_lease=False, check_quorum=False)
"""Elections by admin vote alone, no leases: schedules about logs and votes."""

Script = Callable[[tuple[str, ...]], Bed]


def ask(bed: Bed, candidate: str, voter: str, term: int) -> None:
    bed.deliver(candidate, voter, RequestVote(term, term * 100, 0, 0))
    bed.sync(voter)


def vote_not_persisted(bugs: Sequence[str]) -> Bed:
    """The voter loses power between two candidates of one term."""
    bed = Bed(3, MANUAL, bugs=bugs)
    ask(bed, "n2", "n1", 5)
    bed.restart("n1")
    ask(bed, "n3", "n1", 5)
    return bed


def double_vote(bugs: Sequence[str]) -> Bed:
    """Two candidates of one term ask the same voter."""
    bed = Bed(3, MANUAL, bugs=bugs)
    ask(bed, "n2", "n1", 5)
    ask(bed, "n3", "n1", 5)
    return bed


def no_log_check(bugs: Sequence[str]) -> Bed:
    """A follower misses writes and then asks for votes while the leader is cut off."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(20)
    bed.heal()
    bed.isolate("n1")
    for _ in range(5):
        bed.vote("n3")
        bed.run(200)
    return bed


def lease_to_the_end(bed: Bed) -> Bed:
    """Cut the idle leader off and look at its lease every millisecond while the others elect.

    Answers that are already under way still arrive.
    """
    bed.run_until(lambda: bed.leader() is not None, 3000)
    leader = bed.leader()
    assert leader is not None
    bed.run(700)
    bed.cuts = {(leader, other) for other in bed.names if other != leader}
    for elapsed_ms in range(1000):
        if bed.observe(leader) != "valid":
            break
        if elapsed_ms == 300:
            bed.isolate(leader)
        bed.run(1)
    bed.isolate(leader)
    bed.run(2000)
    assert bed.leader() not in (None, leader), "the others must have elected"
    return bed


def lease_no_drift(bugs: Sequence[str]) -> Bed:
    """The leader's clock is slow and the voters' fast, within 1 + D/E = 1.25."""
    options = Options(election_tick_ms=5)
    bed = Bed(3, options, bugs=bugs, rates=(950, 1100, 1100))
    bed.elect("n1")
    return lease_to_the_end(bed)


def lease_from_response(bugs: Sequence[str]) -> Bed:
    """Every answer to the leader takes 200 ms, far more than D; then it is cut off."""
    options = Options(max_clock_drift_ms=20, election_tick_ms=5)
    bed = Bed(3, options, bugs=bugs)
    bed.elect("n1")
    bed.delay = lambda _from, to: 200 * MS if to == "n1" else MS
    return lease_to_the_end(bed)


def deposed_leader_reads(bed: Bed, mode: str) -> Bed:
    """The old leader is cut off, another one acknowledges a write, then the old one is asked."""
    bed.elect("n1")
    bed.propose("n1")
    bed.run(100)
    bed.isolate("n1")
    bed.run(1000)
    bed.elect("n2")
    bed.propose("n2")
    bed.run(100)
    bed.read("n1", mode)
    bed.run(100)
    return bed


def read_no_check(bugs: Sequence[str]) -> Bed:
    """A lease read at a deposed leader that has not noticed."""
    return deposed_leader_reads(
        Bed(3, Options(elections=False, check_quorum=False), bugs=bugs), "lease"
    )


def readindex_no_round(bugs: Sequence[str]) -> Bed:
    """A readindex read at a deposed leader that has not noticed."""
    return deposed_leader_reads(Bed(3, MANUAL, bugs=bugs), "readindex")


def follower_local_read(bugs: Sequence[str]) -> Bed:
    """A readindex read at a follower that lags."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(20)
    bed.read("n3", "readindex")
    return bed


def ack_before_fsync(bugs: Sequence[str]) -> Bed:
    """Both followers lose power before their sync; what they acknowledged is gone."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    for name in ("n2", "n3"):
        bed.members[name].disk.delay_ns = None
    bed.propose("n1")
    bed.run(20)
    for name in ("n2", "n3"):
        bed.restart(name)
        bed.members[name].disk.delay_ns = 0
    bed.isolate("n1")
    bed.elect("n2")
    return bed


def leader_counts_self_early(bugs: Sequence[str]) -> Bed:
    """The leader loses power before its sync; the one follower with the entry is then cut off."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    bed.members["n1"].disk.delay_ns = None
    bed.propose("n1")
    bed.run(20)
    bed.restart("n1")
    bed.members["n1"].disk.delay_ns = 0
    bed.heal()
    bed.isolate("n2")
    bed.elect("n3")
    return bed


def commit_old_term(bugs: Sequence[str]) -> Bed:
    """Figure 8: an entry of term 2 on three of five is overwritten by one of term 3."""
    options = Options(
        elections=False, leader_lease=False, check_quorum=False, max_entries_per_append=1
    )
    bed = Bed(5, options, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.cut(["n1"], ["n3", "n4", "n5"])
    bed.propose("n1")
    bed.run(20)
    k = bed.core("n1").log.last_index
    assert bed.core("n2").log.last_index == k
    bed.crash("n1")
    bed.heal()
    bed.cut(["n5"], ["n2"])

    def appends_of_n5(source: str, _to: str, message: Message) -> bool:
        return source == "n5" and isinstance(message, AppendEntries)

    bed.rule = appends_of_n5
    until_leading(bed, "n5")
    bed.run(5)
    assert bed.core("n5").log.entries[k - 1].term == bed.core("n5").term
    bed.crash("n5")
    bed.heal()
    bed.held.clear()

    def beyond_k(source: str, to: str, message: Message) -> bool:
        if source != "n1" or not isinstance(message, AppendEntries):
            return False
        return to == "n4" or (bool(message.entries) and message.prev_index >= k)

    bed.rule = beyond_k
    bed.start("n1")
    until_leading(bed, "n1")
    bed.run(100)
    assert bed.core("n3").log.last_index == k
    bed.crash("n1")
    bed.held.clear()
    bed.rule = None
    bed.start("n5")
    bed.elect("n5")
    return bed


def until_leading(bed: Bed, name: str) -> None:
    def leading() -> bool:
        core = bed.core(name)
        if core.state == "follower" and not core.triggered:
            bed.vote(name)
        return core.state == "leader"

    bed.run_until(leading, 5000)


def fail_for_unknown(bugs: Sequence[str]) -> Bed:
    """A leader is cut off after its entry left; the successor commits that entry."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)

    def acknowledgements(_from: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = acknowledgements
    bed.propose("n1")
    bed.run(20)
    bed.isolate("n1")
    bed.elect("n2")
    bed.rule = None
    bed.heal()
    bed.run(200)
    return bed


SCRIPTS: dict[str, tuple[Script, str]] = {
    "vote_not_persisted": (vote_not_persisted, "P-EL"),
    "double_vote": (double_vote, "P-EL"),
    "no_log_check": (no_log_check, "P-LC"),
    "lease_no_drift": (lease_no_drift, "P-LX"),
    "lease_from_response": (lease_from_response, "P-LX"),
    "read_no_check": (read_no_check, "P-LIN"),
    "readindex_no_round": (readindex_no_round, "P-LIN"),
    "follower_local_read": (follower_local_read, "P-LIN"),
    "ack_before_fsync": (ack_before_fsync, "P-LC"),
    "leader_counts_self_early": (leader_counts_self_early, "P-LC"),
    "commit_old_term": (commit_old_term, "P-LC"),
    "fail_for_unknown": (fail_for_unknown, "P-LIN"),
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_bug_breaks_its_rule(name: str) -> None:
    """Without the bug the schedule passes; with it the named property breaks."""
    script, expected = SCRIPTS[name]
    script(())
    with pytest.raises(Violation) as broken:
        script((name,))
    assert broken.value.name == expected
    assert expected in CATALOGUE[name].violates


def own_vote_not_persisted(bugs: Sequence[str]) -> Bed:
    """A candidate votes for itself, loses power, and is asked by a rival of the same term."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.isolate("n1")
    bed.cuts -= {("n2", "n1"), ("n3", "n1")}
    bed.rule = lambda source, _to, message: source == "n1" and isinstance(message, RequestVote)
    bed.core("n1").options = Options(elections=False, leader_lease=False, prevote=False)
    bed.vote("n1")
    bed.run(100)
    term = bed.core("n1").term
    assert bed.core("n1").voted_for == "n1"
    bed.restart("n1")
    ask(bed, "n2", "n1", term)
    return bed


def read_no_check_by_readindex(bugs: Sequence[str]) -> Bed:
    """A readindex read at a deposed leader that has not noticed."""
    return deposed_leader_reads(Bed(3, MANUAL, bugs=bugs), "readindex")


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (own_vote_not_persisted, "vote_not_persisted"),
        (read_no_check_by_readindex, "read_no_check"),
    ],
)
def test_a_bug_breaks_its_rule_by_the_other_way_too(script: Script, name: str) -> None:
    """Both votes are forgotten, and both modes of reading go unchecked."""
    script(())
    with pytest.raises(Violation) as broken:
        script((name,))
    assert broken.value.name == SCRIPTS[name][1]


def test_a_bug_counts_how_often_it_changed_an_outcome() -> None:
    """The status tells whether a seeded bug has bitten at all."""
    bed = Bed(3, MANUAL, bugs=("follower_local_read", "no_log_check"))
    bed.read("n1", "lease")
    assert bed.core("n1").status()["bugs"] == {"follower_local_read": 1, "no_log_check": 0}


def test_an_unknown_bug_is_refused() -> None:
    """A misspelt bug must not pass for a healthy run."""
    with pytest.raises(ValueError, match="unknown bugs \\['no_such'\\]"):
        Seeded(("no_such",))
