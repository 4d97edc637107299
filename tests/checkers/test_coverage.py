"""What counts as exercised: operations, faults by their evidence, and the conditions that need definitions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from checkers.clocks import ClockMeasures
from checkers.coverage import Coverage
from checkers.judge import run_over
from checkers.records.events import (
    Boot,
    ConfChange,
    LogCut,
    Readonly,
    SnapshotLoaded,
    SnapshotSaved,
    StepDown,
    Transfer,
)
from checkers.records.schema import QuotaResult, Quotas
from tests.checkers.made import D_MS, E_MS, PARAMS, cut, event, fault, leader, operation

NO_QUOTAS = Quotas(ok_per_operation=0, forced_leader_changes=0)
AFTER = 3 * (E_MS + D_MS)


def cover(
    records: list[tuple[str, Any]], ratio: float = 1.0, nodes: tuple[str, ...] = PARAMS.nodes
) -> Coverage:
    covered = Coverage()
    covered.start(msgspec.structs.replace(PARAMS, nodes=nodes))
    run_over([covered.handlers], [(source, [record]) for source, record in records])
    covered.finish(ClockMeasures(None, ratio, ratio, 0, 1, 2))
    return covered


def quotas(covered: Coverage, **wanted: Any) -> dict[str, QuotaResult]:
    asked = msgspec.structs.replace(NO_QUOTAS, **wanted)
    results = covered.quotas(asked, ["read", "write"], ["lease", "readindex"])
    return {result.name: result for result in results}


def steps(*args: Any, **fields: Any) -> list[tuple[str, Any]]:
    return [("", one) for one in fault(*args, **fields)]


def ops(f: str, count: int, outcome: str = "ok", **fields: Any) -> list[tuple[str, Any]]:
    return [
        ("", operation(f, 10 * op, 10 * op + 5, outcome, op=op, **fields)) for op in range(count)
    ]


def test_operations_are_counted_by_outcome_and_mode_and_final_reads_apart() -> None:
    covered = cover(
        [
            *ops("read", 3, mode="lease"),
            *ops("read", 2, "fail", mode="readindex"),
            *ops("write", 4),
            ("", operation("write", 1, None)),
            *ops("read", 5, mode="lease", final=True),
        ]
    )
    assert covered.statistics["ops"] == {
        "read": {"ok": 3, "fail": 2, "info": 0},
        "write": {"ok": 4, "fail": 0, "info": 1},
    }
    assert covered.statistics["reads_by_mode"]["lease"]["ok"] == 3
    assert covered.statistics["final_reads"] == 5
    got = quotas(covered, ok_per_operation=3, ok_total=8, info_total=1)
    assert {name: (quota.got, quota.reached) for name, quota in got.items()} == {
        "ok read lease": (3, True),
        "ok read readindex": (0, False),
        "ok write": (4, True),
        "ok in total": (7, False),
        "unknown outcomes": (1, True),
    }


def test_a_quota_that_asks_for_nothing_is_none() -> None:
    assert quotas(cover([])) == {}


@pytest.mark.parametrize(
    ("outcome", "reached"), [("installed", True), ("skipped", False), ("indeterminate", False)]
)
def test_a_fault_counts_by_its_evidence(outcome: str, reached: bool) -> None:
    covered = cover([*steps("s1", "pause", 100, 900, outcome=outcome), *steps("s2", "kill", 1)])
    assert covered.statistics["faults"] == {"pause": {outcome: 1}, "kill": {"installed": 1}}
    got = quotas(covered, kinds_installed=["pause", "pause", "latency"])
    assert got["pause installed"].reached is reached
    assert not got["latency installed"].reached


def test_a_step_of_which_only_the_asking_is_recorded_was_not_installed() -> None:
    covered = cover(steps("s1", "pause", 100)[:1])
    assert covered.statistics["faults"] == {"pause": {"asked": 1}}


OLD = ("n1", leader(100, 1))
NEW = ("n2", leader(2000, 2))

FORCED: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "a pause in force": (steps("s", "pause", 1500, 2500, targets={"nodes": ["n1"]}), 1),
    "a kill that is not healed": (steps("s", "kill", 1500, targets={"nodes": ["n1"]}), 1),
    "a cut of its links": (steps("s", "partition", 1500, 2500, targets=cut("n1")), 1),
    "its clock": (steps("s", "clock_rate", 1500, 2500, targets={"nodes": ["n1", "n3"]}), 1),
    "healed just within 3(E+D)": (
        steps("s", "pause", 10, 2000 - AFTER, took=0, targets={"nodes": ["n1"]}),
        1,
    ),
    "healed just before that": (
        steps("s", "pause", 10, 2000 - AFTER - 1, took=0, targets={"nodes": ["n1"]}),
        0,
    ),
    "a jump of its clock is over at once": (
        steps("s", "clock_offset", 10, took=0, targets={"nodes": ["n1"]}),
        0,
    ),
    "no fault at all": ([], 0),
    "a fault on another node": (steps("s", "pause", 1500, 2500, targets={"nodes": ["n3"]}), 0),
    "a cut elsewhere": (
        steps("s", "partition", 1500, 2500, targets={"links": [["n2", "n3"], ["n3", "n2"]]}),
        0,
    ),
    "a cut that only keeps clients away": (
        steps("s", "partition", 1500, 2500, targets={"links": [["c1", "n1"]]}),
        0,
    ),
    "a fault that came after the change": (
        steps("s", "pause", 2001, 2500, targets={"nodes": ["n1"]}),
        0,
    ),
    "a fault without evidence": (
        steps("s", "pause", 1500, 2500, targets={"nodes": ["n1"]}, outcome="indeterminate"),
        0,
    ),
}


@pytest.mark.parametrize("name", FORCED)
def test_a_leader_change_is_forced_by_a_fault_on_the_previous_leader(name: str) -> None:
    records, forced = FORCED[name]
    covered = cover([OLD, *records, NEW])
    assert covered.statistics["leader_changes"] == 1
    assert covered.statistics["terms"] == 2
    assert covered.statistics["forced_leader_changes"] == forced
    assert quotas(covered, forced_leader_changes=1)["forced leader changes"].reached == forced


def test_the_same_node_again_is_no_change() -> None:
    records = steps("s", "pause", 1500, 2500, targets={"nodes": ["n1"]})
    covered = cover([OLD, *records, ("n1", leader(2000, 2))])
    assert covered.statistics["leader_changes"] == 0
    assert covered.statistics["forced_leader_changes"] == 0


CUT = steps("s", "partition", 1000, 3000, targets=cut("n1"))  # complete at 1010


def read(begin: float, end: float, **fields: Any) -> tuple[str, Any]:
    given: dict[str, Any] = {"mode": "lease", "node": "n1", **fields}
    return ("", operation("read", begin, end, **given))


READS: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "once the cut was complete": ([OLD, *CUT, read(1010, 1100)], 1),
    "at the very end of E": ([OLD, *CUT, read(1400, 1010 + E_MS)], 1),
    "asked before the cut was complete": ([OLD, *CUT, read(1009, 1100)], 0),
    "answered later than E": ([OLD, *CUT, read(1400, 1010 + E_MS + 1)], 0),
    "not answered": ([OLD, *CUT, ("", operation("read", 1020, None, mode="lease"))], 0),
    "refused": ([OLD, *CUT, read(1020, 1030, outcome="fail")], 0),
    "by another mode": ([OLD, *CUT, read(1020, 1030, mode="readindex")], 0),
    "at another node": ([OLD, *CUT, read(1020, 1030, node="n2")], 0),
    "a final read": ([OLD, *CUT, read(1020, 1030, final=True)], 0),
    "at one who did not lead any more": ([OLD, ("n2", leader(900, 2)), *CUT, read(1020, 1030)], 0),
    "at one who never led": ([*CUT, read(1020, 1030)], 0),
    "the cut was not proved": (
        [OLD, *steps("s", "partition", 1000, 3000, targets=cut("n1"), outcome="indeterminate"),
         read(1020, 1030)],
        0,
    ),
    "the cut left it a quorum": (
        [OLD, *steps("s", "partition", 1000, 3000,
                     targets={"links": [["n1", "n2"], ["n2", "n1"]], "leader": "n1"}),
         read(1020, 1030)],
        0,
    ),
    "only what it sends was cut": (
        [OLD, *steps("s", "partition", 1000, 3000,
                     targets={"links": [["n1", "n2"], ["n1", "n3"]], "leader": "n1"}),
         read(1020, 1030)],
        1,
    ),
    "two cuts, one read": (
        [OLD, *CUT, *steps("t", "partition", 1001, 3000, targets=cut("n1")), read(1020, 1030)],
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_a_lease_read_at_the_cut_off_leader_is_one_that_the_lease_alone_answers_for(
    name: str,
) -> None:
    records, count = READS[name]
    covered = cover(records)
    assert covered.statistics["lease_reads_at_cut_leader"] == count


def boot(at: float, number: int, node: str = "n3") -> tuple[str, Any]:
    return (node, event(Boot, at, 1, number, last_index=0, last_term=0))


def loss(outcome: str = "installed", lost: int = 0, **fields: Any) -> list[tuple[str, Any]]:
    evidence = {"boots": {"n3": 1}, "losses": {"n3": {"log": {"cut": lost, "unwritten": 0}}}}
    return steps(
        "s", "power_loss", 1000, 2000, targets={"nodes": ["n3"]}, outcome=outcome,
        evidence=evidence, **fields,
    )  # fmt: skip


RESTARTS: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "a higher boot": ([boot(1, 1), *loss(), boot(2100, 2)], 1),
    "no boot since": ([boot(1, 1), *loss()], 0),
    "a boot of another node": ([*loss(), boot(2100, 2, "n1")], 0),
    "a boot from before": ([boot(900, 2), *loss()], 0),
    "a loss without evidence": ([*loss("indeterminate"), boot(2100, 2)], 0),
    "a kill is no power loss": (
        [*steps("s", "kill", 1000, 2000, targets={"nodes": ["n3"]}), boot(2100, 2)],
        0,
    ),
    "seen by the heal alone": (loss(heal_evidence={"boots": {"n3": 2}}), 1),
}


@pytest.mark.parametrize("name", RESTARTS)
def test_a_restart_after_a_power_loss_is_a_higher_boot(name: str) -> None:
    records, count = RESTARTS[name]
    assert cover(records).statistics["restarts_after_power_loss"] == count


def test_a_power_loss_that_lost_nothing_is_installed_and_counted_apart() -> None:
    assert cover(loss()).statistics["power_losses_that_lost_bytes"] == 0
    assert cover(loss(lost=3)).statistics["power_losses_that_lost_bytes"] == 1


def test_the_clock_ratio_is_the_measured_one_of_voter_and_leader() -> None:
    covered = cover([], ratio=1.19)
    assert covered.statistics["max_clock_ratio"] == 1.19
    assert quotas(covered, clock_ratio=1.18)["clock ratio"].reached
    assert not quotas(covered, clock_ratio=1.2)["clock ratio"].reached


def test_a_leader_that_stepped_down_is_still_the_previous_one() -> None:
    records = steps("s", "partition", 1500, 2500, targets=cut("n1"))
    covered = cover([OLD, ("n1", event(StepDown, 1800, 1)), *records, NEW])
    assert covered.statistics["forced_leader_changes"] == 1


def group(at: float, index: int, members: str, old: str = "", node: str = "n1") -> tuple[str, Any]:
    told = {"index": index, "members": tuple(members), "old": tuple(old), "stage": "commit"}
    return (node, event(ConfChange, at, **told))


def snapshot(at: float, source: str) -> tuple[str, Any]:
    told = {"index": 5, "last_term": 1, "digest": 1, "source": source}
    return ("n2", event(SnapshotLoaded, at, **told))


def test_snapshots_transfers_and_read_only_times_are_counted() -> None:
    """As facts: a plan that asks for none has no quota of them."""
    covered = cover(
        [
            ("n1", event(SnapshotSaved, 1, index=5, last_term=1, digest=1)),
            ("n1", event(LogCut, 1, first=3)),
            snapshot(2, "boot"),
            snapshot(3, "install"),
            snapshot(4, "install"),
            ("n1", event(Transfer, 5, to="n2", stage="start")),
            ("n1", event(Transfer, 6, to="n2", stage="expired")),
            ("n1", event(Transfer, 7, to="n2", stage="start")),
            ("n1", event(Transfer, 8, to="n2", stage="done")),
            ("n1", event(Readonly, 9, readonly=True)),
            ("n1", event(Readonly, 10, readonly=False)),
        ]
    )
    counted = {
        "snapshots_saved": 1, "snapshots_loaded_at_boot": 1, "snapshots_installed": 2, "logs_cut": 1,
        "transfers_begun": 2, "transfers_done": 1, "times_read_only": 1,
    }  # fmt: skip
    assert counted.items() <= covered.statistics.items()
    assert quotas(covered) == {}
    asked = quotas(covered, snapshots_installed=3, transfers_done=1, snapshots_saved=1)
    assert {name: quota.reached for name, quota in asked.items()} == {
        "snapshots saved": True, "snapshots installed": False, "transfers done": True,
    }  # fmt: skip


def test_a_change_of_members_counts_once_however_it_was_made_and_told() -> None:
    """A leader repeats the configuration, a joint one is on the way, and all nodes tell of each."""
    boot = ("n1", event(Boot, 0, last_index=0, last_term=0, members=tuple("abc")))
    records = [
        group(1, 1, "abc"),
        group(2, 5, "ade", old="abc"),
        group(3, 6, "ade"),
        group(4, 6, "ade", node="n2"),
        group(5, 9, "ade"),
        group(6, 12, "adef"),
    ]
    covered = cover([boot, *records])
    assert covered.statistics["membership_changes"] == 2
    assert quotas(covered, membership_changes=3)["membership changes"].reached is False


def test_a_snapshot_of_the_leader_forces_nobody_to_elect() -> None:
    snapped = steps("s1", "snapshot", 1000, targets={"nodes": ["n1"], "leader": "n1"})
    covered = cover([("n1", leader(100)), *snapped, ("n2", leader(1100, 2))])
    assert covered.statistics["forced_leader_changes"] == 0


def test_who_is_cut_off_depends_on_who_the_members_are() -> None:
    """n1 cut off from n2 alone hears n3, but that is no member: it has no quorum."""
    links = {"links": [["n1", "n2"], ["n2", "n1"]], "leader": "n1"}
    read = ("", operation("read", 1100, 1105, mode="lease", node="n1"))
    records = [("n1", leader(100)), *steps("s1", "partition", 1000, 3000, targets=links), read]
    assert cover(records).statistics["lease_reads_at_cut_leader"] == 0
    two = ("n1", event(ConfChange, 200, index=1, members=("n1", "n2"), stage="commit"))
    assert cover([two, *records]).statistics["lease_reads_at_cut_leader"] == 1
