"""`driftline demo`: what Driftline is for, in a minute."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.commands.exits import EXIT_HARNESS_ERROR, EXIT_INTERRUPTED
from harness.commands.options import RUNS_DIR, NotNegative
from harness.commands.running import draw_seed, run_one
from harness.commands.telling import in_color

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.run import RunResult


def demo(
    *,
    short: Annotated[bool, Parameter(negative=())] = False,
    seed: Annotated[int | None, NotNegative] = None,
    links: Literal["toxiproxy", "embedded"] = "toxiproxy",
    runs: Path = RUNS_DIR,
    plain: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """A correct cluster under faults, then one with a seeded bug that must be caught.

    Exit 0 only if the first run is valid and the second invalid.

    Parameters
    ----------
    short
        10 seconds of faults instead of 30.
    seed
        Without it one is drawn and printed.
    links
        What every link runs through.
    runs
        Folder that holds the runs.
    plain
        Plain lines even on a terminal.
    """
    import msgspec
    import trio

    from harness import live, show
    from harness.plan import Plan

    drawn = draw_seed() if seed is None else seed
    good = Plan(name="demo", nodes=5, clients=10, time_s=10.0 if short else 30.0, links=links)
    bad = msgspec.structs.replace(_demo_bug_plan(), links=links)
    results: list[RunResult] = []
    for part, plan in (
        ("1 of 2: a correct cluster, 5 nodes, 10 clients, random faults", good),
        ("2 of 2: the same store with the seeded bug read_no_check", bad),
    ):
        print(f"\n== {part}", flush=True)
        observer = live.choose(json_lines=False, plain=plain)
        try:
            result = trio.run(run_one(plan, runs, observer), drawn)
        finally:
            live.close(observer)
        results.append(result)
        print()
        for line in show.verdict_lines(result.verdict, color=in_color()):
            print(line)
        if result.verdict.interrupted:
            return EXIT_INTERRUPTED
    first, second = results
    print("\n== What this has shown")
    for line in show.exercised_lines(first.verdict):
        print(line)
    as_wanted = first.verdict.verdict == "valid" and second.verdict.verdict == "invalid"
    for which, result, wanted in (
        ("correct cluster", first, "valid"),
        ("seeded bug", second, "invalid"),
    ):
        print(f"{which + ':':<17}{result.verdict.verdict} (wanted: {wanted})")
        print(f"{'':<17}report {result.run_dir / 'report.html'}")
    if as_wanted:
        print("A read that does not ask the other members returned a value that was already")
        print("overwritten: the same faults that the correct cluster withstood exposed it.")
    else:
        print("The demonstration did not go as it should: see the reports.")
    words = ["driftline", "demo", *(["--short"] if short else []), "--seed", str(drawn)]
    if links != "toxiproxy":
        words += ["--links", links]
    print(f"again:  {shlex.join(words)}")
    return 0 if as_wanted else (1 if first.verdict.verdict == "invalid" else EXIT_HARNESS_ERROR)


def _demo_bug_plan() -> Plan:
    """Leaders cut off with the minority of nodes and clients, again and again, under a bug that lets them answer reads."""
    from harness.plan import FaultsPlan, Plan

    return Plan(
        name="demo-bug",
        nodes=5,
        clients=10,
        time_s=8.0,
        bugs=["read_no_check"],
        faults=FaultsPlan(
            kinds=("partition",),
            partitions=("minority_with_leader",),
            every_s=1.5,
            length_s=(1.2, 2.0),
        ),
    )
