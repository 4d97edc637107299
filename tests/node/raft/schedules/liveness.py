"""Schedules for the bugs of liveness (55 to 60)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Options
from tests.node.raft.bed import MS, Bed
from tests.node.raft.schedules.common import Scripts, lives

LEADER_BOUND_MS = 3 * 625 + 2 * 500
"""3(E + D) + 2E, within which a healed group has a leader (4.1)."""


def led(bugs: Sequence[str], options: Options, size: int = 3) -> Bed:
    bed = Bed(size, options, bugs=bugs)
    bed.elect("n1")
    bed.run(200)
    return bed


def prevote_bumps_term(bugs: Sequence[str]) -> Bed:
    """A node is alone for five election timeouts; its term may grow by one at most."""
    bed = led(bugs, Options())
    term = bed.core("n3").term
    bed.isolate("n3")
    bed.run(5 * 500)
    grown = bed.core("n3").term - term
    lives(bed, f"the term of an isolated node grew by {grown}", grown <= 1)
    return bed


def prevote_no_lag_refusal(bugs: Sequence[str]) -> Bed:
    """A node that lags hears nothing of the leader but is heard by all."""
    bed = led(bugs, Options())
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(100)
    bed.heal()
    bed.cuts = {("n1", "n3"), ("n2", "n3")}
    bed.run(1500)
    bed.cuts = {("n1", "n3")}
    bed.run(1500)
    downs = bed.named("step_down")
    lives(bed, f"a healthy leader was deposed {len(downs)} times", not downs)
    return bed


def no_checkquorum(bugs: Sequence[str]) -> Bed:
    """A leader that hears of nobody must notice."""
    bed = led(bugs, Options(leader_lease=False))
    bed.isolate("n1")
    bed.run(3 * 500)
    lives(bed, "an isolated leader still leads", bed.core("n1").state != "leader")
    return bed


def no_jitter(bugs: Sequence[str]) -> Bed:
    """The leader of five dies; the four others notice in the same moment."""
    bed = led(bugs, Options(), 5)
    for name in bed.names:
        bed.restart(name)
    bed.run(50)
    bed.crash("n1")
    bed.run(LEADER_BOUND_MS)
    lives(bed, f"no leader within {LEADER_BOUND_MS} ms", bed.leader() is not None)
    return bed


def lease_renew_any(bugs: Sequence[str]) -> Bed:
    """A deposed leader that hears nothing goes on sending; its successor dies."""
    bed = led(bugs, Options(check_quorum=False), 5)
    bed.cuts = {(name, "n1") for name in bed.names[1:]} | {("n1", name) for name in bed.names[1:]}
    bed.run_until(lambda: bed.leader() not in (None, "n1"), 3000)
    bed.run(200)
    successor = bed.leader()
    assert successor is not None
    bed.crash(successor)
    bed.cuts = {(name, "n1") for name in bed.names[1:]}
    bed.run(LEADER_BOUND_MS)
    lives(bed, f"no leader within {LEADER_BOUND_MS} ms", bed.leader() not in (None, "n1"))
    return bed


def heartbeat_behind_data(bugs: Sequence[str]) -> Bed:
    """The followers' disks take longer than the election timeout for each sync, under steady writes."""
    bed = led(bugs, Options())
    for name in ("n2", "n3"):
        bed.members[name].disk.delay_ns = 900 * MS
    for _ in range(100):
        bed.propose("n1")
        bed.run(30)
    downs = bed.named("step_down")
    lives(bed, f"slow disks deposed the leader {len(downs)} times", not downs)
    return bed


SCRIPTS: Scripts = {
    "prevote_bumps_term": (prevote_bumps_term, "P-LV"),
    "prevote_no_lag_refusal": (prevote_no_lag_refusal, "P-LV"),
    "no_checkquorum": (no_checkquorum, "P-LV"),
    "no_jitter": (no_jitter, "P-LV"),
    "lease_renew_any": (lease_renew_any, "P-LV"),
    "heartbeat_behind_data": (heartbeat_behind_data, "P-LV"),
}
