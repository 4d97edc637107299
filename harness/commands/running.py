"""`driftline run`: one run, or one for each of many seeds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from harness.commands.asked_plan import plan_of
from harness.commands.exits import EXIT_INTERRUPTED, Usage
from harness.commands.options import RUNS_DIR, NotNegative, Positive
from harness.commands.telling import in_color

if TYPE_CHECKING:
    from checkers.records.schema import Verdict
    from harness.campaign import Campaign, Row
    from harness.observer import Observer
    from harness.plan import Plan
    from harness.run import RunResult

FAIL_ON_ALL: Final = "invalid,unknown,insufficient-coverage,harness-error"


def run(
    *,
    plan: str | None = None,
    nodes: Annotated[int | None, Positive] = None,
    time: Annotated[float | None, Positive] = None,
    clients: Annotated[int | None, Positive] = None,
    rate: Annotated[float | None, NotNegative] = None,
    workload: str | None = None,
    read_modes: Annotated[str | None, Parameter(name=["--read-modes", "--read-mode"])] = None,
    faults: str | None = None,
    intensity: Annotated[float | None, NotNegative] = None,
    links: Literal["toxiproxy", "embedded"] | None = None,
    bug: Annotated[list[str] | None, Parameter(consume_multiple=False, negative=())] = None,
    stop_at_first_violation: Annotated[bool, Parameter(negative=())] = False,
    seed: Annotated[int | None, NotNegative] = None,
    seeds: str | None = None,
    until_finding: Annotated[bool, Parameter(negative=())] = False,
    fail_on: str = FAIL_ON_ALL,
    runs: Path = RUNS_DIR,
    json: Annotated[bool, Parameter(negative=())] = False,
    plain: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Start a cluster, apply a workload and faults, judge what was recorded.

    Parameters
    ----------
    plan
        A TOML file, or the name of one in plans/. Other options override its fields.
    nodes
        Members of the cluster.
    time
        Seconds of the safety phase, in which faults come and go.
    clients
        Clients; at least half are pinned, each to one node.
    rate
        Operations per second and client; 0: as fast as answers come.
    workload
        register, counter, append, or one from outside
    read_modes
        Comma-separated: lease, readindex, local.
    faults
        Comma-separated kinds of the random schedule, or "none".
    intensity
        Factor on how often faults start.
    links
        What every link runs through; never falls back by itself.
    bug
        A seeded bug to run with (repeatable); see `driftline bugs`.
    stop_at_first_violation
        Check while the run goes on, and end its safety phase at the first event that nothing explains.
    seed
        64 bits that decide everything drawn; without it one is drawn and printed.
    seeds
        A..B: one run for each, then a table. The worst verdict decides.
    until_finding
        Stop at the first run with a finding (without --seeds: draw seeds until then).
    fail_on
        Comma-separated verdicts with a non-zero exit, or "none".
    runs
        Folder that holds the runs.
    json
        JSON lines on standard output.
    plain
        Plain lines even on a terminal.
    """
    import trio

    from harness import live

    failing = _fail_on(fail_on)
    declared, plan_words = plan_of(
        plan,
        nodes=nodes,
        time=time,
        clients=clients,
        rate=rate,
        workload=workload,
        read_modes=names_in(read_modes),
        faults=names_in(faults),
        intensity=intensity,
        links=links,
        bugs=bug or [],
        stop_at_first_violation=stop_at_first_violation,
    )
    if seed is not None and seeds is not None:
        raise Usage("--seed and --seeds exclude each other")
    if seed is not None and seed >= 2**64:
        raise Usage(f"--seed {seed}: a seed has 64 bits, so it is below {2**64}")
    if runs != RUNS_DIR:
        plan_words += ["--runs", str(runs)]
    observer = live.choose(json_lines=json, plain=plain)
    many = _seeds(seeds)
    if many is None and until_finding:
        many = iter(draw_seed, -1)
    try:
        if many is None:
            drawn = draw_seed() if seed is None else seed
            result = trio.run(run_one(declared, runs, observer), drawn)
            live.close(observer)
            return _tell_run(result, drawn, plan_words, failing, observer)
        campaign = trio.run(_campaign, many, declared, runs, observer, until_finding)
    finally:
        live.close(observer)
    return _tell_campaign(campaign, plan_words, failing, observer)


def run_one(declared: Plan, runs: Path, observer: Observer) -> Callable[[int], Any]:
    async def one(seed: int) -> RunResult:
        from harness.run import run as conduct

        return await conduct(declared, seed, runs, observer)

    return one


async def _campaign(
    seeds: Iterator[int], declared: Plan, runs: Path, observer: Observer, until_finding: bool
) -> Campaign:
    from harness import campaign
    from harness.plan import PlanError
    from workloads.registry import WorkloadError

    def told(row: Row) -> None:
        found = " ".join(sorted(row.findings)) or row.error or "no findings"
        observer.note(f"seed {row.seed}: {row.verdict}, {found}", {"what": "row", "seed": row.seed})

    return await campaign.run_seeds(
        seeds,
        run_one(declared, runs, observer),
        until_finding=until_finding,
        told=told,
        refused=(PlanError, WorkloadError),
    )


def _tell_run(
    result: RunResult, seed: int, plan_words: list[str], failing: frozenset[str], observer: Observer
) -> int:
    from harness.live import JsonLines

    verdict = result.verdict
    code = _exit_of(verdict, failing)
    again = verdict.rerun or _rerun(plan_words, seed)
    report = result.run_dir / "report.html"
    if isinstance(observer, JsonLines):
        import msgspec

        observer.emit(
            "verdict",
            {
                "verdict": msgspec.to_builtins(verdict),
                "exit_code": code,
                "run_dir": str(result.run_dir),
                "report": str(report) if report.exists() else None,
                "seed": seed,
                "rerun": again,
            },
        )
        return code
    from harness import show

    print()
    for line in show.verdict_lines(verdict, color=in_color()):
        print(line)
    print()
    print(f"run:    {result.run_dir}")
    if report.exists():
        print(f"report: {report}")
    else:
        print(f"report: not written (driftline report {result.run_dir} tries again)")
    print(f"again:  {again}")
    return code


def _tell_campaign(
    campaign: Campaign, plan_words: list[str], failing: frozenset[str], observer: Observer
) -> int:
    from harness.campaign import table
    from harness.live import JsonLines

    # --fail-on speaks of verdicts: rows that it does not name cannot turn the campaign red.
    failing_rows = [
        row for row in campaign.rows if row.verdict in failing or row.verdict == "valid"
    ]
    worst = type(campaign)(failing_rows, campaign.stopped).exit_code if failing_rows else 0
    code = EXIT_INTERRUPTED if campaign.stopped == "interrupted" else worst
    first = next((row for row in campaign.rows if row.findings), None)
    again = _rerun(plan_words, (first or campaign.rows[-1]).seed) if campaign.rows else ""
    if isinstance(observer, JsonLines):
        import msgspec

        observer.emit(
            "campaign",
            {
                "runs": msgspec.to_builtins(campaign.rows),
                "stopped": campaign.stopped,
                "exit_code": code,
                "rerun": again,
            },
        )
        return code
    print()
    for line in table(campaign.rows):
        print(line)
    if campaign.stopped:
        print(f"stopped early: {campaign.stopped}")
    which = "the first with a finding" if first else "the last of them"
    print(f"again ({which}): {again}")
    return code


def _exit_of(verdict: Verdict, failing: frozenset[str]) -> int:
    if verdict.interrupted:
        return EXIT_INTERRUPTED
    if verdict.expectation == "not met" or verdict.verdict in failing:
        return verdict.exit_code
    return 0


def _fail_on(text: str) -> frozenset[str]:
    from checkers.records.schema import EXIT_CODES

    if text.strip() == "none":
        return frozenset()
    known = {name.replace(" ", "-"): name for name in EXIT_CODES} | {
        "insufficient": "insufficient coverage"
    }
    chosen = set()
    for word in names_in(text) or []:
        name = known.get(word.replace(" ", "-"))
        if name is None:
            raise Usage(f"--fail-on {word}: no such verdict; there are {', '.join(known)}, none")
        chosen.add(name)
    return frozenset(chosen)


def names_in(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


def draw_seed() -> int:
    """The only draw from the system: everything else follows from it."""
    return int.from_bytes(os.urandom(8), "big")


def _seeds(text: str | None) -> Iterator[int] | None:
    if text is None:
        return None
    first, dots, last = text.partition("..")
    try:
        begin = int(first)
        end = int(last) if dots else begin
    except ValueError:
        raise Usage(f"--seeds {text}: give A..B, two whole numbers, as in 1..20") from None
    if begin < 0 or end < begin or end >= 2**64:
        raise Usage(f"--seeds {text}: A..B needs 0 <= A <= B < 2**64")
    return iter(range(begin, end + 1))


def _rerun(plan_words: list[str], seed: int) -> str:
    return shlex.join(["driftline", "run", *plan_words, "--seed", str(seed)])
