"""How often each seeded bug is found by real processes, by which property, how soon; and how often the same plans are clean.

python -m benchmarks.detection own|default [--bugs A,B] [--seeds 1..5] [--time 60] [--jobs 2] [--folder FOLDER]
python -m benchmarks.detection controls [--bugs A,B] [--runs 50] [--time 30] [--jobs 2] [--folder FOLDER]

own: each bug by its own plan under plans/bug/ (the default plan where it has none). default: each bug by the default plan.
controls: the default plan and the bugs' plans without their bug, in turns; the seeds go up with each turn. Each run is a
`driftline run --stop-at-first-violation` of its plan's length, but at most --time seconds, and its row goes to
FOLDER/rows.jsonl as soon as it ends: the same command again makes only the runs that have no row there. So each state of the
code wants a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import count, islice
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.machine import Steal, describe
from checkers.records import schema
from harness.plan import read_plan
from node.raft.bugs import CATALOGUE

DRIFTLINE: Final = [sys.executable, "-P", "-m", "harness"]
PLANS: Final = Path("plans")
BUGS: Final = (
    *("vote_not_persisted", "vote_no_fsync", "double_vote", "quorum_half", "no_log_check"),
    *("log_check_index_only", "lease_no_drift", "lease_from_response", "lease_flag_by_timer"),
    *("follower_lease_ignored", "read_no_check", "readindex_no_round", "follower_local_read"),
    *("apply_before_commit", "ack_before_fsync", "leader_counts_self_early", "commit_old_term"),
    *("joint_skipped", "joint_one_majority", "snap_no_sessions", "snap_no_conf"),
    *("snap_off_by_one", "closure_by_index", "fail_for_unknown", "ok_on_stepdown"),
    *("prevote_bumps_term", "prevote_no_lag_refusal", "no_checkquorum", "no_jitter"),
)
"""The bugs that whole runs are held to find. The others of the catalogue need what only a script of the core can do."""


class Run(msgspec.Struct, frozen=True):
    """What is to be run. `bug` is "" in a control."""

    bug: str
    plan: str
    seed: int
    time_s: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `first_s`: from the run's begin to what its earliest finding speaks of."""

    run: Run
    verdict: str
    found: dict[str, int] = {}
    first_s: float = 0.0
    headline: str = ""
    folder: str = ""


def own_plan(bug: str) -> str:
    return f"bug/{bug}" if (PLANS / "bug" / f"{bug}.toml").exists() else "default"


def planned(plan: str, bug: str, seed: int, time_s: float) -> Run:
    """A plan's own length, but no more than `time_s`."""
    return Run(bug, plan, seed, min(time_s, read_plan(PLANS / f"{plan}.toml").time_s))


def runs_of(arguments: argparse.Namespace) -> list[Run]:
    """All runs that the command asks for; seed by seed, so that a campaign cut short says something of each bug."""
    bugs = [bug for bug in arguments.bugs.split(",") if bug] or list(BUGS)
    unknown = [bug for bug in bugs if bug not in CATALOGUE]
    if unknown:
        raise SystemExit(
            f"--bugs: found {', '.join(unknown)}; `driftline bugs` lists what there is"
        )
    if arguments.what == "controls":
        plans = list(dict.fromkeys(["default", *map(own_plan, bugs)]))
        turns = ((plan, seed) for seed in count(1) for plan in plans)
        return [
            planned(plan, "", seed, arguments.time) for plan, seed in islice(turns, arguments.runs)
        ]
    first, _, last = arguments.seeds.partition("..")
    return [
        planned(own_plan(bug) if arguments.what == "own" else "default", bug, seed, arguments.time)
        for seed in range(int(first), int(last or first) + 1)
        for bug in bugs
    ]


def carry_out(run: Run, folder: Path) -> Row:
    """One `driftline run`, and its verdict."""
    runs = folder / (run.bug or "control") / f"{run.plan.replace('/', '-')}-{run.seed}"
    command = [*DRIFTLINE, "run", "--plan", str(PLANS / f"{run.plan}.toml"), "--plain"]
    command += ["--stop-at-first-violation", "--seed", str(run.seed), "--time", str(run.time_s)]
    command += ["--runs", str(runs), *(["--bug", run.bug] if run.bug else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    place = (runs / "latest").resolve()
    try:
        verdict = msgspec.json.decode((place / "verdict.json").read_bytes(), type=schema.Verdict)
    except OSError as error:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}"
        ) from error
    stands = [finding for finding in verdict.findings if not finding.voided_by]
    return Row(
        run=run,
        verdict=verdict.verdict,
        found=dict(Counter(finding.property for finding in stands)),
        first_s=min((finding.time for finding in stands), default=0) / 1e9,
        headline=verdict.headline,
        folder=str(place),
    )


def rows_of(path: Path) -> list[Row]:
    """The rows that are there already."""
    return msgspec.json.Decoder(Row).decode_lines(path.read_bytes()) if path.exists() else []


def campaign(wanted: list[Run], folder: Path, jobs: int) -> Iterator[Row]:
    """Rows as they come, those made earlier first; new ones are appended to the folder's file."""
    path = folder / "rows.jsonl"
    there = {row.run: row for row in rows_of(path)}
    yield from (there[run] for run in wanted if run in there)
    folder.mkdir(parents=True, exist_ok=True)
    left = [run for run in wanted if run not in there]
    with path.open("ab", buffering=0) as file, ThreadPoolExecutor(jobs) as pool:

        def one(run: Run) -> Row:
            row = carry_out(run, folder)
            file.write(msgspec.json.encode(row) + b"\n")
            return row

        for done in as_completed([pool.submit(one, run) for run in left]):
            yield done.result()


def found_table(rows: list[Row]) -> Iterator[str]:
    """Markdown, one line for each bug."""
    yield "| bug | plan | found | by | seconds | without a finding |"
    yield "|---|---|---|---|---|---|"
    for bug, plan in dict.fromkeys((row.run.bug, row.run.plan) for row in rows):
        of_bug = [row for row in rows if (row.run.bug, row.run.plan) == (bug, plan)]
        hits = [row for row in of_bug if row.found]
        by = Counter(name for row in hits for name in row.found).most_common()
        seconds = sorted(row.first_s for row in hits)
        span = f"{seconds[0]:.0f} to {seconds[-1]:.0f}" if seconds else ""
        missed = Counter(row.verdict for row in of_bug if not row.found).most_common()
        yield (
            f"| {bug} | {'default' if plan == 'default' else 'its own'} | {len(hits)} of {len(of_bug)} "
            f"| {', '.join(f'{name} {number}' for name, number in by)} | {span} "
            f"| {', '.join(f'{number} {verdict}' for verdict, number in missed)} |"
        )


def control_table(rows: list[Row]) -> Iterator[str]:
    """Markdown, one line for each plan; then whatever was not clean."""
    yield "| plan without its bug | runs | with a finding | verdicts |"
    yield "|---|---|---|---|"
    for plan in dict.fromkeys(row.run.plan for row in rows):
        of_plan = [row for row in rows if row.run.plan == plan]
        verdicts = Counter(row.verdict for row in of_plan).most_common()
        told = ", ".join(f"{number} {verdict}" for verdict, number in verdicts)
        yield f"| {plan} | {len(of_plan)} | {sum(bool(row.found) for row in of_plan)} | {told} |"
    for row in rows:
        if row.verdict != "valid":
            yield f"\n{row.run.plan} seed {row.run.seed}: {row.headline}\n{row.folder}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("own", "default", "controls"))
    parser.add_argument("--bugs", default="")
    parser.add_argument("--seeds", default="1..5")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--time", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--folder", type=Path, default=Path("runs/detection"))
    arguments = parser.parse_args()
    wanted = runs_of(arguments)
    steal = Steal()
    print(
        f"{arguments.what}, {len(wanted)} runs, {arguments.jobs} at a time; {describe()}",
        file=sys.stderr,
    )
    rows: list[Row] = []
    for row in campaign(wanted, arguments.folder, arguments.jobs):
        rows.append(row)
        found = " ".join(row.found) or "no finding"
        print(
            f"{len(rows)}/{len(wanted)} {row.run.bug or 'control'} {row.run.plan} "
            f"seed {row.run.seed}: {row.verdict}, {found}",
            file=sys.stderr,
        )
    table = control_table(rows) if arguments.what == "controls" else found_table(rows)
    print("\n".join(table))
    print(f"\nsteal {steal.share():.1%}", file=sys.stderr)


if __name__ == "__main__":
    main()
