"""How well the limits are kept: python checkers/porcupine-py/benchmarks/limits.py [--quick]

Histories that no search here decides in seconds, each judged in a process of its own, once by the compiled core and
once in Python. Reported: by how much a timeout is overshot (plain and verbose, and for the witness), by how much the
process grows past a memory limit (its high-water mark in /proc, reset before the check), and how long it takes from
SIGINT to KeyboardInterrupt. Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from compare import generated

from porcupine import UNKNOWN, Model, Operation, check, check_operations_verbose
from porcupine.models import append_kv, cas_register, queue

MIB = 1 << 20
Case = tuple[list[Operation], Model]


def register(count: int, clients: int, lost: float = 0.0) -> Case:
    """Five values, and after all the rest a write and a read that does not see it: illegal at the last return."""
    rng = random.Random(f"{count} {clients} {lost}")
    found = generated(rng, count, clients, lost, False)
    end = max(operation.return_time or 0 for operation in found)
    found.append(Operation(0, ("write", 0), end + 1, None, end + 2))
    found.append(Operation(0, ("read",), end + 3, 1, end + 4))
    return found, cas_register()


def crowded_queue() -> Case:
    """Forty values in at once, one twice, so no gate; one out that only an unknown operation could have put in."""
    found = [Operation(i, ("enqueue", i % 39), 0, None, 10) for i in range(40)]
    found.append(Operation(98, ("dequeue",), 11, 99, 12))
    found.append(Operation(99, ("enqueue", 99), 0, UNKNOWN, None, "info"))
    return found, queue()


def crowded_strings(count: int) -> Case:
    """Appends that may stand in any order, and a read that none of the orders gives."""
    found = [
        Operation(i, ("append", "k", "a" if i % 2 else "b"), 0, None, 10) for i in range(count)
    ]
    found.append(Operation(98, ("get", "k"), 11, "ab" * count, 12))
    found += [Operation(50 + i, ("put", "k", "ab"), 0, None, 10) for i in range(3)]
    return found, append_kv()


def own_model() -> Case:
    """A model that the compiled core has no twin of: the queue, its step asked in Python."""
    history, model = crowded_queue()
    return history, replace(model, compiled=None)


CASES: dict[str, Callable[[], Case]] = {
    "register 1000 x 30": lambda: register(1_000, 30),
    "register 5000 x 40": lambda: register(5_000, 40),
    "register 1000 x 20, lost": lambda: register(1_000, 20, 0.02),
    "queue 40": crowded_queue,
    "strings 14": lambda: crowded_strings(14),
    "strings 26": lambda: crowded_strings(26),
    "own model 40": own_model,
}


def high_water_kib() -> int:
    with Path("/proc/self/status").open() as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def resident_kib() -> int:
    with Path("/proc/self/status").open() as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


# --- one measurement, in its own process ----------------------------------------------------------


def timed(history: list[Operation], model: Model, timeout_s: float, how: str) -> str:
    if how == "verbose":
        started = perf_counter()
        verdict, _ = check_operations_verbose(model, history, timeout_s)
        return f"{str(verdict).lower()} {1000 * (perf_counter() - started - timeout_s):.1f}"
    started = perf_counter()
    result = check(history, model, timeout_s=timeout_s, memory_bytes=None)
    spent = perf_counter()
    if how == "witness":
        str(result)
        return f"{result.verdict} {1000 * (perf_counter() - spent):.1f}"
    return f"{result.verdict} {1000 * (spent - started - timeout_s):.1f}"


def grown(history: list[Operation], model: Model, limit_bytes: int) -> str:
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib()
    result = check(history, model, memory_bytes=limit_bytes, timeout_s=240, prefer="search")
    grown_bytes = 1024 * (high_water_kib() - before)
    after_bytes = 1024 * (resident_kib() - before)
    return (
        f"{result.verdict} {result.cause} {grown_bytes / limit_bytes:.3f} {after_bytes / limit_bytes:.3f} "
        f"{result.seconds:.1f}"
    )


def interrupted(history: list[Operation], model: Model) -> str:
    print("go", flush=True)
    try:
        result = check(history, model, memory_bytes=None)
    except KeyboardInterrupt:
        return f"{perf_counter()}"
    return f"decided {result.verdict}"


def child(what: str, case: str, argument: str) -> None:
    history, model = CASES[case]()
    check(history[:2], model)  # what is set up once is not measured
    if what == "memory":
        print(grown(history, model, int(argument)))
    elif what == "interrupt":
        print(interrupted(history, model))
    else:
        print(timed(history, model, float(argument), what))


# --- all of them ----------------------------------------------------------------------------------


def asked(core: str, what: str, case: str, argument: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "--child", what, case, str(argument)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PORCUPINE_CORE": core},
    )


def answer(core: str, what: str, case: str, argument: Any) -> str:
    with asked(core, what, case, argument) as process:
        said, _ = process.communicate()
    return said.strip() or f"ended with {process.returncode}"


def interrupt(core: str, case: str) -> str:
    with asked(core, "interrupt", case, 0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sleep(0.5)
        sent = perf_counter()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
    said = said.strip()
    if not said or said.startswith("decided"):
        return said or f"ended with {process.returncode}"
    # perf_counter is CLOCK_MONOTONIC here, the same in all processes.
    return f"{1000 * (float(said) - sent):.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest limits alone")
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    timeouts_s = [0.1] if given.quick else [0.1, 1.0, 3.0]
    limits = [64 * MIB] if given.quick else [64 * MIB, 256 * MIB, 1024 * MIB]
    print("a timeout is overshot by, in ms (0.05 s and 10 % are allowed)")
    for core in ("rust", "python"):
        for case in CASES:
            for how in ("plain", "verbose", "witness"):
                said = [answer(core, how, case, timeout_s) for timeout_s in timeouts_s]
                print(f"  {core:6} {case:26} {how:8} {'  '.join(said)}", flush=True)
    print("the process grows at most to, as a part of memory_bytes; what it has after; seconds")
    for core in ("rust", "python"):
        for case in CASES:
            for limit in limits:
                said = answer(core, "memory", case, limit)
                print(f"  {core:6} {case:26} {limit // MIB:5} MiB {said}", flush=True)
    print("from SIGINT to KeyboardInterrupt")
    for core in ("rust", "python"):
        for case in CASES:
            print(f"  {core:6} {case:26} {interrupt(core, case)}", flush=True)


if __name__ == "__main__":
    main()
