"""From the last final read to the saved verdict, and from there to nothing left running, on the default plan.

python -m benchmarks.ending [--time 30] [--runs 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.machine import Steal, describe, spread
from harness.plan import Plan
from harness.run import run


class Stopwatch:
    """An observer that stamps the phases."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def started(self, run_dir: str, seed: int, plan_name: str) -> None:
        """Nothing is measured here."""

    def progress(self, progress: Any) -> None:
        """Nobody watches."""

    def note(self, text: str, fields: dict[str, Any]) -> None:
        if "phase" in fields:
            self.at[fields["phase"]] = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    steal = Steal()
    verdicts, teardowns, reports = [], [], []
    for seed in range(arguments.runs):
        watch = Stopwatch()
        with tempfile.TemporaryDirectory(dir=".") as folder:
            plan = msgspec.structs.replace(Plan(), time_s=arguments.time)
            result = trio.run(run, plan, seed + 1, Path(folder), watch)
            done = time.perf_counter()
            history = (result.run_dir / "history.jsonl").read_bytes().count(b"\n")
        at = watch.at
        verdicts.append(at["teardown"] - at["collect"])
        teardowns.append(at["report"] - at["teardown"])
        reports.append(done - at["report"])
        print(f"seed {seed + 1}: {result.verdict.verdict}, {history:,} lines of history")
    print(f"{describe()}, steal {steal.share():.1%}, {arguments.runs} runs of {arguments.time:g} s")
    print(f"last final read to verdict saved: {spread(verdicts, ' s', 2)}")
    print(f"verdict saved to nothing left:    {spread(teardowns, ' s', 2)}")
    print(f"report written:                   {spread(reports, ' s', 2)}")


if __name__ == "__main__":
    main()
