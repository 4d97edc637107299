"""Schedules for the bugs of leases and reads (10 to 29)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Options, WallClock
from tests.node.raft.bed import MS, Bed
from tests.node.raft.schedules.common import MANUAL, Scripts, observed

QUICK = Options(election_tick_ms=5)


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


def lease_wall_clock(bugs: Sequence[str]) -> Bed:
    """The voters' wall clock is set a minute ahead while the leader is cut off."""
    bed = Bed(3, QUICK, bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    bed.isolate("n1")
    for name in ("n2", "n3"):
        bed.step(name, WallClock(60_000 * MS))
    observed(bed, "n1", 400)
    bed.run(2000)
    assert bed.leader() in ("n2", "n3")
    return bed


def follower_lease_ignored(bugs: Sequence[str]) -> Bed:
    """One link is cut; who hears the leader no more asks the third, who does."""
    bed = Bed(3, QUICK, bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    bed.cut(["n1"], ["n3"])
    bed.delay = lambda source, to: (20 if "n1" in (source, to) else 1) * MS
    return observed(bed, "n1", 1500)


def self_vote_ignores_lease(bugs: Sequence[str]) -> Bed:
    """The candidate itself has promised, the only other voter has not."""
    bed = Bed(3, Options(election_tick_ms=5, elections=False), bugs=bugs)
    bed.elect("n1")
    bed.cut(["n1"], ["n2"])
    bed.run(800)
    bed.cut(["n1"], ["n3"])
    bed.vote("n3", 5)
    return observed(bed, "n1", 400)


def restart_forgets_lease(bugs: Sequence[str]) -> Bed:
    """All followers restart right after the leader was cut off."""
    bed = Bed(3, QUICK, bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    bed.isolate("n1")
    bed.restart("n2")
    bed.restart("n3")
    return observed(bed, "n1", 450)


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


def read_no_check_by_readindex(bugs: Sequence[str]) -> Bed:
    """A readindex read at a deposed leader that has not noticed."""
    return deposed_leader_reads(Bed(3, MANUAL, bugs=bugs), "readindex")


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


SCRIPTS: Scripts = {
    "lease_no_drift": (lease_no_drift, "P-LX"),
    "lease_from_response": (lease_from_response, "P-LX"),
    "lease_wall_clock": (lease_wall_clock, "P-LX"),
    "follower_lease_ignored": (follower_lease_ignored, "P-LX"),
    "self_vote_ignores_lease": (self_vote_ignores_lease, "P-LX"),
    "restart_forgets_lease": (restart_forgets_lease, "P-LX"),
    "read_no_check": (read_no_check, "P-LIN"),
    "readindex_no_round": (readindex_no_round, "P-LIN"),
    "follower_local_read": (follower_local_read, "P-LIN"),
}
