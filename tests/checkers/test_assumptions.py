"""What findings rest on, as measured: just inside of each bound and just outside."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.assumptions import Assumptions
from checkers.judge import run_over
from checkers.monitor import (
    CLOCK_BOUND,
    FILE_SYSTEM,
    HEALS,
    HOST_STALLS,
    LINKS,
    ONE_GROUP,
)
from checkers.records.events import Boot, ClockSet, ConfChange, ElectionTimeout
from checkers.records.schema import AssumptionResult, ClockSample, HostStall, LinkIncident
from tests.checkers.made import D_MS, E_MS, MS, PARAMS, cut, event, fault, leader, phase

BOUND = 1 + D_MS / E_MS


def samples(
    node: str,
    *spans: tuple[float, float, float],
    boot: int = 1,
    every: float = 250,
    bracket_us: float = 40,
    start: float = 0.0,
    jumps: tuple[tuple[float, float], ...] = (),
) -> list[tuple[str, Any]]:
    """A clock read each `every` ms that ran at `rate` in each (from ms, to ms, rate), and jumped at (ms, by ms)."""
    found = []
    clock = start
    half = round(bracket_us * 500)
    for begin, end, rate in spans:
        at = begin
        while at < end:
            shown = clock + (at - begin) * rate + sum(by for when, by in jumps if when <= at)
            true = round(at * MS)
            found.append(
                (
                    "",
                    ClockSample(
                        index=0,
                        time=true,
                        node=node,
                        boot=boot,
                        before=true - half,
                        clock=round(shown * MS),
                        after=true + half,
                    ),
                )
            )
            at += every
        clock += (end - begin) * rate
    return found


def jump(node: str, at: float, total: float) -> tuple[str, Any]:
    return (node, event(ClockSet, at, took=100, rate=1.0, offset_ns=round(total * MS)))


def assume(
    records: list[tuple[str, Any]], filesystem: str = "ext4", planned: bool = False
) -> dict[str, AssumptionResult]:
    assumed = Assumptions(planned)
    assumed.start(PARAMS)
    run_over([assumed.handlers], [(source, [record]) for source, record in records])
    return {result.name: result for result in assumed.results(filesystem)}


def both(rate_leader: float, rate_voter: float, **fields: Any) -> list[tuple[str, Any]]:
    return [
        *samples("n1", (0, 5000, rate_leader), **fields),
        *samples("n2", (0, 5000, rate_voter), **fields),
    ]


FAST = BOUND
CLOCKS: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "true clocks": (both(1.0, 1.0), "holds"),
    "at 99.9 % of the bound": (both(1.0, FAST * 0.999), "holds"),
    "just beyond the bound": (both(1.0, FAST * 1.001), "failed"),
    "both slow, their ratio within": (both(0.5, 0.5 * FAST * 0.999), "holds"),
    "both slow, their ratio beyond": (both(0.5, 0.5 * FAST * 1.001), "failed"),
    "within, but the readings leave it open": (
        both(1.0, FAST * 0.999, bracket_us=900),
        "failed",
    ),
    "readings too wide to say anything": (both(1.0, 3.0, bracket_us=9000), "unknown"),
    "one wide reading among good ones": (
        [
            *both(1.0, 1.0),
            (
                "",
                ClockSample(
                    index=0,
                    time=0,
                    node="n2",
                    boot=1,
                    before=2100 * MS,
                    clock=9000 * MS,
                    after=2160 * MS,
                ),
            ),
        ],
        "holds",
    ),
    "beyond, but for less than E": (
        [
            *samples("n1", (0, 6000, 1.0)),
            *samples("n2", (0, 2000, 1.0), (2000, 2250, 1.4), (2250, 6000, 1.0)),
        ],
        "holds",
    ),
    "beyond for E": (
        [
            *samples("n1", (0, 6000, 1.0)),
            *samples("n2", (0, 2000, 1.0), (2000, 2500, 1.26), (2500, 6000, 1.0)),
        ],
        "failed",
    ),
    "a jump within D": (
        [*both(1.0, 1.0)[:20], *samples("n2", (0, 5000, 1.0), jumps=((2100, 120),)),
         jump("n2", 2100, 120)],
        "holds",
    ),
    "a jump beyond D": (
        [*both(1.0, 1.0)[:20], *samples("n2", (0, 5000, 1.0), jumps=((2100, 126),)),
         jump("n2", 2100, 126)],
        "failed",
    ),
    "two jumps, each within, both in one E": (
        [*samples("n1", (0, 5000, 1.0)),
         *samples("n2", (0, 5000, 1.0), jumps=((2100, 70), (2400, 70))),
         jump("n2", 2100, 70), jump("n2", 2400, 140)],
        "failed",
    ),
    "two jumps far apart": (
        [*samples("n1", (0, 5000, 1.0)),
         *samples("n2", (0, 5000, 1.0), jumps=((1100, 70), (3400, 70))),
         jump("n2", 1100, 70), jump("n2", 3400, 140)],
        "holds",
    ),
    "a jump and a rate": (
        [*samples("n1", (0, 5000, 1.0)), *samples("n2", (0, 5000, 1.2), jumps=((2100, 30),)),
         jump("n2", 2100, 30)],
        "failed",
    ),
    "a jump nobody told of shows in the rate": (
        [*samples("n1", (0, 5000, 1.0)), *samples("n2", (0, 5000, 1.0), jumps=((2100, 140),))],
        "failed",
    ),
    "each boot is a clock of its own": (
        [
            *samples("n1", (0, 6000, 1.0)),
            *samples("n2", (0, 3000, 1.0)),
            *samples("n2", (3250, 6000, 1.0), boot=2, start=900_000),
            ("n2", event(Boot, 3200, 1, 2, last_index=0, last_term=0, offset_ns=7 * MS, clock=899_950)),
        ],
        "holds",
    ),
    "one clock alone": (samples("n1", (0, 5000, 2.0)), "unknown"),
    "nothing was sampled": ([], "unknown"),
    "too short for one E": (
        [*samples("n1", (0, 400, 1.0)), *samples("n2", (0, 400, 1.0))],
        "unknown",
    ),
    "a clock step that was not proved": (
        [
            *both(1.0, 1.0),
            *(
                ("", one)
                for one in fault("s1", "clock_rate", 100, 900, outcome="indeterminate")
            ),
        ],
        "unknown",
    ),
    "a clock step that was skipped": (
        [*both(1.0, 1.0), *(("", one) for one in fault("s1", "clock_rate", 100, outcome="skipped"))],
        "holds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOCKS)
def test_clocks_stay_within_the_bound_as_measured(name: str) -> None:
    records, status = CLOCKS[name]
    found = assume(records)[CLOCK_BOUND]
    assert found.status == status, found
    assert not found.planned
    assert found.because


def test_a_breach_that_the_plan_asked_for_is_planned() -> None:
    found = assume(both(1.0, 1.4), planned=True)[CLOCK_BOUND]
    assert (found.status, found.planned) == ("failed", True)


def test_the_ratio_that_counts_is_a_voters_over_that_of_who_leads() -> None:
    records = [*both(1.0, 1.2), ("n2", leader(100, 1))]
    statistics = assume(records)[CLOCK_BOUND].statistics
    assert statistics["ratio_max"] == pytest.approx(1.2, abs=1e-3)
    assert statistics["ratio_max_voter_leader"] == pytest.approx(1 / 1.2, abs=1e-3)
    records = [*both(1.0, 1.2), ("n1", leader(100, 1))]
    statistics = assume(records)[CLOCK_BOUND].statistics
    assert statistics["ratio_max_voter_leader"] == pytest.approx(1.2, abs=1e-3)


def test_the_largest_jump_is_told() -> None:
    records = [*both(1.0, 1.0), jump("n2", 2100, 3), jump("n2", 3000, 10)]
    assert assume(records)[CLOCK_BOUND].statistics["step_max_ms"] == 7.0


HEALED = ("", phase("liveness_all", 1000))
END = ("", phase("final_reads", 3000))


def stall(at: float, lag: float) -> tuple[str, Any]:
    return ("", HostStall(index=0, time=round(at * MS), lag_ns=round(lag * MS)))


def incident(begin: float, end: float, repaired: bool = True) -> tuple[str, Any]:
    return (
        "",
        LinkIncident(
            index=0,
            time=round(end * MS),
            begin=round(begin * MS),
            server="peers-n1",
            because="it ended",
            repaired=repaired,
        ),
    )


def steps(kind: str, **fields: Any) -> list[tuple[str, Any]]:
    return [("", one) for one in fault("s1", kind, 100, 900, targets=cut("n1"), **fields)]


OTHERS: dict[str, tuple[list[tuple[str, Any]], str, str, str]] = {
    "a stall of E/4": ([HEALED, stall(2000, 125), END], HOST_STALLS, "ext4", "holds"),
    "a stall above E/4": ([HEALED, stall(2000, 126), END], HOST_STALLS, "ext4", "failed"),
    "a stall that began before the heal": (
        [HEALED, stall(1100, 200), END],
        HOST_STALLS,
        "ext4",
        "failed",
    ),
    "a stall before the heal": ([HEALED, stall(900, 400), END], HOST_STALLS, "ext4", "holds"),
    "a stall in the final reads": ([HEALED, stall(3800, 400), END], HOST_STALLS, "ext4", "holds"),
    "a disk": ([], FILE_SYSTEM, "ext4", "holds"),
    "memory": ([], FILE_SYSTEM, "tmpfs", "failed"),
    "no file system recorded": ([], FILE_SYSTEM, "", "unknown"),
    "a power loss that was not proved": (
        steps("power_loss", outcome="indeterminate"),
        FILE_SYSTEM,
        "ext4",
        "unknown",
    ),
    "a link server replaced during the safety phase": (
        [incident(100, 300), HEALED, END],
        LINKS,
        "ext4",
        "holds",
    ),
    "a link server replaced while a heal was judged": (
        [incident(900, 1300), HEALED, END],
        LINKS,
        "ext4",
        "failed",
    ),
    "a link server that stayed away": ([incident(100, 0, False)], LINKS, "ext4", "failed"),
    "a cut that leaked": (steps("partition", healed="indeterminate"), LINKS, "ext4", "unknown"),
    "a cut that was not proved": (
        steps("partition", outcome="indeterminate"),
        LINKS,
        "ext4",
        "holds",
    ),
    "frames that met no rule": (steps("frames", healed="indeterminate"), LINKS, "ext4", "holds"),
    "all heals proved": (steps("pause"), HEALS, "ext4", "holds"),
    "a heal that was not proved": (
        steps("pause", healed="indeterminate"),
        HEALS,
        "ext4",
        "unknown",
    ),
    "a heal that was not proved by itself, before that of all was": (
        [*steps("pause", healed="indeterminate"), HEALED],
        HEALS,
        "ext4",
        "holds",
    ),
    "a heal that was not proved, after that of all": (
        [("", phase("liveness_all", 500)), *steps("pause", healed="indeterminate")],
        HEALS,
        "ext4",
        "unknown",
    ),
    "a heal of all that was not proved": (
        [("", phase("liveness_all", 1000, proved=False))],
        HEALS,
        "ext4",
        "unknown",
    ),
    "a heal that had nothing to do": (steps("kill", healed="skipped"), HEALS, "ext4", "holds"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_host_the_disk_and_the_links_are_as_findings_need_them(name: str) -> None:
    records, assumption, filesystem, status = OTHERS[name]
    found = assume(records, filesystem)[assumption]
    assert found.status == status, found
    assert found.because or status == "holds"


@pytest.mark.parametrize(
    ("election_ms", "drift_ms", "status"),
    [
        (E_MS - 400, D_MS + 400, "holds"),
        (E_MS, 0, "failed"),
        (E_MS + D_MS, 0, "failed"),
        (E_MS + D_MS + 100, 100, "failed"),
    ],
    ids=["E + D as it was", "a promise no longer than the lease", "a longer lease", "beyond all"],
)
def test_lengths_that_were_reset_count_by_the_worst_pair(
    election_ms: int, drift_ms: int, status: str
) -> None:
    """The lease of one node against the promise of another; clocks differ by a tenth."""
    told = {"election_timeout_ms": election_ms, "max_clock_drift_ms": drift_ms}
    reset = ("n2", event(ElectionTimeout, 100, **told))
    assert assume([*both(1.0, 1.1), reset])[CLOCK_BOUND].status == status


def test_a_reset_of_members_ends_the_one_group_as_asked_for() -> None:
    change = {"index": 3, "members": ("n1",)}
    asked = assume([("n1", event(ConfChange, 100, stage="append", **change))])
    assert asked[ONE_GROUP].status == "holds"
    failed = assume([("n1", event(ConfChange, 100, stage="reset", **change))])[ONE_GROUP]
    assert (failed.status, failed.planned) == ("failed", True)
    assert "reset the members of n1 to n1 at 0.100 s" in failed.because
