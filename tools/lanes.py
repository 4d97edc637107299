"""Run the tests in lanes beside each other: `make pytest`.

Tests that start processes mostly wait for them, so one after the other they would leave a second core idle for minutes.
They come first in what they need of the machine; the tests that only compute take, at a lower priority, what is left. A
lane's output is printed whole when it has ended, in the order of `LANES`. What is given on the command line goes to
each lane: `tools/lanes.py -k lease`. The exit status is 0 if every lane passed, or else that of the first that did not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "lanes"
NO_TESTS = 5
"""pytest's exit status when a lane has none that the options chose."""


class Lane(NamedTuple):
    name: str
    niceness: int
    words: tuple[str, ...]
    core: str = ""
    """PORCUPINE_CORE of this lane."""


PROCESSES = ("tests/end_to_end", "tests/harness", "tests/node/shell")
LANES = (
    Lane("runs", 0, PROCESSES[:2]),
    Lane("nodes", 0, PROCESSES[2:]),
    Lane(
        "computing",
        10,
        ("tests", "checkers/porcupine-py/tests", *(f"--ignore={folder}" for folder in PROCESSES)),
    ),
    Lane("python-core", 19, ("checkers/porcupine-py/tests",), core="python"),
)


def main(options: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    running = [(lane, _start(lane, options)) for lane in LANES]
    try:
        statuses = [_end(lane, process, begun) for lane, process in running]
    finally:
        for _, process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if all(status == NO_TESTS for status in statuses):
        return NO_TESTS
    return next((status for status in statuses if status not in (0, NO_TESTS)), 0)


def _start(lane: Lane, options: list[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if lane.core:
        environment["PORCUPINE_CORE"] = lane.core
    with _log(lane).open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest"),
                *("-o", f"cache_dir={LOGS / (lane.name + '.cache')}", *lane.words, *options),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Of its own, so that all that a lane started ends with it.
            process_group=0,
        )
    # By the system call: a newcomer's PATH need not have nice.
    os.setpriority(os.PRIO_PGRP, process.pid, lane.niceness)
    return process


def _end(lane: Lane, process: subprocess.Popen[bytes], begun: float) -> int:
    status = process.wait()
    core = f"PORCUPINE_CORE={lane.core} " if lane.core else ""
    print(f"\n== {core}pytest {' '.join(lane.words)}", flush=True)
    sys.stdout.buffer.write(_log(lane).read_bytes())
    told = "passed" if status in (0, NO_TESTS) else f"FAILED with exit status {status}"
    print(f"== {told} {time.monotonic() - begun:.0f} s after the first lane began", flush=True)
    return status


def _log(lane: Lane) -> Path:
    return LOGS / f"{lane.name}.log"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
