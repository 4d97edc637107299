"""How often each seeded bug is found, by which property, and how often the same plans are clean without it.

python -m benchmarks.detection own|default|controls|baseline [--bugs A,B] [--seeds 1..10] [--time 20] [--jobs 2]

own: each bug by its own plan under plans/bug/ (the default plan where it has none). default: each bug by the default plan.
controls: the own plans without the bug. baseline: the default plan without a bug. Whole `driftline run` campaigns are started,
`--jobs` of them at a time; the run folders stay under --runs, so that any row can be looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import Steal, describe
from harness.systems import raft

DRIFTLINE = [sys.executable, "-P", "-m", "harness"]


def words(what: str, bug: str) -> list[str]:
    """The options of one campaign."""
    plan = Path("plans/bug") / f"{bug}.toml"
    own = ["--plan", str(plan)] if what in ("own", "controls") and plan.exists() else []
    return [*own, *(["--bug", bug] if what in ("own", "default") else [])]


def campaign(what: str, bug: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one campaign, as `driftline run --json` tells them at its end."""
    command = [*DRIFTLINE, "run", *words(what, bug), "--seeds", arguments.seeds, "--json"]
    command += ["--time", str(arguments.time), "--runs", str(arguments.runs / what / (bug or "-"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in reversed(done.stdout.splitlines()):
        document = json.loads(line)
        if "runs" in document:
            rows: list[dict[str, Any]] = document["runs"]
            return rows
    raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")


def told(bug: str, rows: list[dict[str, Any]]) -> str:
    """One line of the table."""
    found = Counter(name for row in rows for name in row["findings"])
    verdicts = Counter(row["verdict"] for row in rows)
    hits = sum(1 for row in rows if row["findings"])
    by = " ".join(f"{name} {count}" for name, count in found.most_common()) or "-"
    said = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
    return f"{bug:<26}{hits:>3} of {len(rows):<4} {by:<34} {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("own", "default", "controls", "baseline"))
    parser.add_argument("--bugs", default="")
    parser.add_argument("--seeds", default="1..10")
    parser.add_argument("--time", type=float, default=20.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/detection"))
    arguments = parser.parse_args()
    bugs = [name for name, *_ in raft.bugs()]
    if arguments.bugs:
        bugs = arguments.bugs.split(",")
    elif arguments.what == "baseline":
        bugs = [""]
    elif arguments.what == "controls":
        bugs = [bug for bug in bugs if (Path("plans/bug") / f"{bug}.toml").exists()]
    steal = Steal()
    print(f"{arguments.what}, seeds {arguments.seeds}, {arguments.time:g} s each; {describe()}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for bug, rows in zip(
            bugs, pool.map(lambda bug: campaign(arguments.what, bug, arguments), bugs), strict=True
        ):
            print(told(bug or "no bug", rows), flush=True)
    print(f"steal {steal.share():.1%}")


if __name__ == "__main__":
    main()
