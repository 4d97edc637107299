"""`driftline check` of a recorded register run, from the start of the process to its verdict.

python -m benchmarks.judging [--operations 100000] [--runs 5] [--folder RUN] [--profile]

Writes a run folder that has a history alone, legal, of 20 clients on keys of 500 operations each, in the project's
format, and judges the folder (verdict and report are written) and its file (the verdict is printed). With --folder a
recorded run is judged the same way, in a copy. Beside the time stands the processor's, of all processes together, which
a busy machine changes less. Files and compiled modules are warm: a first check is not counted. --profile shows where
one check's time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import Steal, describe, spread

CLIENTS = 20
OPERATIONS_PER_KEY = 500
LANES = 5  # keys in use at one time
DRIFTLINE = [sys.executable, "-m", "harness"]


def header(run: str) -> dict[str, Any]:
    return {
        "format": "driftline-history",
        "version": 1,
        "run": run,
        "boot_id": "00000000-0000-0000-0000-000000000000",
        "origin_ns": 0,
        "workload": {
            "name": "register",
            "model": "workloads.register:model",
            "params": {"keys": LANES, "ops_per_key": OPERATIONS_PER_KEY},
        },
        "nodes": ["n1", "n2", "n3", "n4", "n5"],
        "clients": CLIENTS,
        "election_timeout_ms": 500,
        "max_clock_drift_ms": 125,
        "lease": True,
    }


def events(count: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Each operation takes effect at an instant of its own, within an interval around it."""
    states: dict[str, int | None] = {}
    free = [0] * CLIENTS
    ends: list[tuple[int, dict[str, Any]]] = []
    instant = 0
    for op in range(count):
        instant += 50_000
        key = f"k{op % LANES}.{op // (LANES * OPERATIONS_PER_KEY)}"
        client = min(range(CLIENTS), key=free.__getitem__)
        call = max(free[client] + 1, instant - rng.randrange(400_000))
        instant = max(instant, call)
        free[client] = back = instant + rng.randrange(1, 400_000)
        event: dict[str, Any] = {"process": client, "op": op, "f": "read", "key": key}
        kind = rng.random()
        value: Any = states.get(key)
        given: dict[str, Any] = {"mode": "lease"}
        if kind < 0.3:
            event["f"], value, given = "write", op, {"value": op}
            states[key] = op
        elif kind < 0.6:
            swap = {"from": value, "to": op}
            event["f"], value, given = "cas", swap | {"swapped": True}, {"value": swap}
            states[key] = op
        ends.append((call, {"type": "invoke", **event, **given, "node": "n1"}))
        done = {"type": "ok", **event, "node": "n1", "term": 1, "log_index": op + 1}
        if event["f"] == "read":
            done["mode"] = "lease"
        if value is not None:
            done["value"] = value
        ends.append((back, done))
    ends.sort(key=lambda end: end[0])
    for index, (at, shown) in enumerate(ends):
        yield {"index": index, "time": at, **shown}


def write_folder(folder: Path, count: int) -> None:
    folder.mkdir()
    lines = [json.dumps(line, separators=(",", ":")) for line in events(count, random.Random(1))]
    (folder / "history.jsonl").write_text(
        "\n".join([json.dumps(header(folder.name)), *lines]) + "\n"
    )


def timed(target: Path, runs: int) -> tuple[list[float], list[float], str]:
    """Seconds of each check, the processor's seconds, and the verdict's line."""
    took: list[float] = []
    used: list[float] = []
    said = ""
    # Compiled modules are kept, as they are wherever nobody forbids it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for number in range(runs + 1):
        begin, before = time.perf_counter(), processor_s()
        done = subprocess.run(
            [*DRIFTLINE, "check", str(target)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if number:
            took.append(time.perf_counter() - begin)
            used.append(processor_s() - before)
        said = (done.stdout or done.stderr).partition("\n")[0]
    return took, used, said


def processor_s() -> float:
    """What all children that have ended used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def shown_s(took: list[float], used: list[float]) -> str:
    return f"{spread(took, ' s', 2)}; processor {spread(used, ' s', 2)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    steal = Steal()
    shown: list[str] = []
    with tempfile.TemporaryDirectory(dir=".") as place:
        made = Path(place) / "recorded"
        write_folder(made, arguments.operations)
        targets = [("history file", made / "history.jsonl"), ("folder with a history alone", made)]
        if arguments.folder is not None:
            copy = Path(place) / arguments.folder.resolve().name
            shutil.copytree(arguments.folder, copy)
            targets.append(("recorded folder", copy))
        for name, target in targets:
            took, used, said = timed(target, arguments.runs)
            path = target if target.is_file() else target / "history.jsonl"
            lines = path.read_bytes().count(b"\n")
            shown.append(f"{name}, {lines:,} lines: {shown_s(took, used)} ({said})")
        took, used, _ = timed(Path(place) / "nothing", arguments.runs)
        shown.append(f"a process that finds nothing to judge: {shown_s(took, used)}")
        if arguments.profile:
            command = ["-m", "cProfile", "-s", "tottime", "-m", "harness", "check", str(made)]
            subprocess.run([sys.executable, *command], check=False)
    print(f"{describe()}, steal {steal.share():.1%}, {arguments.runs} runs")
    print("\n".join(shown))


if __name__ == "__main__":
    main()
