"""A grid of registers beside Porcupine: python checkers/porcupine-py/benchmarks/grid.py [--timeout 30] [--seeds 1]
[--cells TEXT] [--alone]

Generated histories of one compare-and-set register of five values: 200, 1,000 and 5,000 operations of 5, 10 and 20
clients, of which none, 1 and 5 in a hundred are of unknown outcome; each as it is, and with one read changed so that
it is illegal: drawn until it is, by our own verdict within two seconds, which Porcupine then has to share where it has
one. Every
history is judged in a process of its own, once by either side, from its file; told are the time of the check alone
(the best of three, or one where it takes more than a second) and the most memory the process had, reading
included. Porcupine gives up after the timeout, and so do we. The means are over what Porcupine decides.
`--cells "5000 x 10, 5 %"` keeps to the cells whose names have that in them; `--alone` leaves Porcupine out.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import geometric_mean
from time import perf_counter
from typing import NamedTuple

from compare import LONG_S, build, generated, written
from limits import high_water_kib

from porcupine import UNKNOWN, Operation, check, core
from porcupine.models import cas_register

ROUNDS = 3
DRAWS_MAX = 30
DRAW_S = 2.0
COUNTS = (200, 1_000, 5_000)
CLIENTS = (5, 10, 20)
LOST = (0.0, 0.01, 0.05)


class Said(NamedTuple):
    """One side's verdict, in lower case, its milliseconds and its most memory in MiB."""

    verdict: str
    took_ms: float
    peak_mib: float


class Cell(NamedTuple):
    count: int
    clients: int
    lost: float
    spoilt: bool

    def __str__(self) -> str:
        kind = "a read changed" if self.spoilt else "as it is"
        return f"{self.count} x {self.clients}, {100 * self.lost:.0f} %, {kind}"


def cells() -> Iterator[Cell]:
    for count in COUNTS:
        for clients in CLIENTS:
            for lost in LOST:
                for spoilt in (False, True):
                    yield Cell(count, clients, lost, spoilt)


def drawn(cell: Cell, rng: random.Random, timeout_s: float) -> list[Operation] | None:
    """One that is not decided, where none is illegal; None where all are legal: with many unknown outcomes most are."""
    open_: list[Operation] | None = None
    for _ in range(DRAWS_MAX):
        history = generated(rng, cell.count, cell.clients, cell.lost, cell.spoilt)
        if not cell.spoilt:
            return history
        verdict = check(history, cas_register(), timeout_s=min(timeout_s, DRAW_S)).verdict
        if verdict == "illegal":
            return history
        if verdict == "unknown" and open_ is None:
            open_ = history
    return open_


# --- our side, in a process of its own ------------------------------------------------------------


def read(path: Path) -> list[Operation]:
    """What compare.py wrote for the Go program, as operations again."""
    values = {"None": None, "True": True, "False": False, "": None}

    def value(text: str) -> object:
        return values[text] if text in values else int(text)

    found: list[Operation] = []
    for line in path.read_text().split("\n"):
        client, call, back, name, a, b, output = line.split("\t")
        given = (name, *(value(text) for text in (a, b) if text))
        if back == "-1":
            found.append(Operation(int(client), given, int(call), UNKNOWN, None, "info"))
        else:
            found.append(Operation(int(client), given, int(call), value(output), int(back)))
    return found


def child(path: Path, timeout_s: float) -> None:
    history, model = read(path), cas_register()
    best, verdict = float("inf"), ""
    for _ in range(ROUNDS):
        started = perf_counter()
        verdict = check(history, model, timeout_s=timeout_s).verdict
        took = perf_counter() - started
        best = min(best, took)
        if took > LONG_S:
            break
    print(f"{path}\t{verdict}\t{1_000 * best:.4f}\t{high_water_kib()}")


# --- both -----------------------------------------------------------------------------------------


def asked(command: list[str | Path]) -> Said:
    ran = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    _, verdict, took, peak = ran.stdout.strip().split("\t")
    return Said(verdict.lower(), float(took), float(peak) / 1024)


def shown(said: Said, timeout_s: float) -> str:
    took = f"over {timeout_s:g} s" if said.verdict == "unknown" else f"{said.took_ms:.2f}"
    return f"{said.verdict} | {took} | {said.peak_mib:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one history")
    parser.add_argument("--seeds", type=int, default=1, help="histories in each cell")
    parser.add_argument("--cells", default="", help="only cells whose names contain this")
    parser.add_argument("--alone", action="store_true", help="without Porcupine")
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), float(options.child[1]))
        return
    wanted = [cell for cell in cells() if options.cells in str(cell)]
    if not wanted:
        parser.error(
            f"asked for cells with {options.cells!r} in their names, as in {next(cells())}; found none"
        )
    timeout_s = options.timeout
    print(f"milliseconds, MiB; porcupine.core is {core}; given up after {timeout_s:g} s")
    print(
        "| operations x clients, unknown, kind | Porcupine | ms | MiB | here | ms | MiB | times |"
    )
    print("|---|---|---|---|---|---|---|---|")
    factors: list[float] = []
    here_all: list[Said] = []
    beyond = 0
    with tempfile.TemporaryDirectory() as folder:
        program, path = Path(folder) / "compare", Path(folder) / "history.tsv"
        if not options.alone:
            build(program)
        for cell, seed in product(wanted, range(options.seeds)):
            history = drawn(cell, random.Random(f"{cell} {seed}"), timeout_s)
            if history is None:
                print(f"| {cell}: legal in each of {DRAWS_MAX} draws | | | | | | | |", flush=True)
                continue
            path.write_text("\n".join(written("register", o) for o in history))
            here = asked([sys.executable, __file__, "--child", path, str(timeout_s)])
            here_all.append(here)
            theirs, times = " | | ", ""
            if not options.alone:
                go = asked([program, str(ROUNDS), "0", str(timeout_s), f"register:{path}"])
                if "unknown" not in (here.verdict, go.verdict):
                    assert here.verdict == go.verdict, (cell, seed)
                factor = go.took_ms / here.took_ms
                if go.verdict == "unknown":
                    beyond += 1
                else:
                    factors.append(factor)
                theirs = shown(go, timeout_s)
                times = f"{'over ' if go.verdict == 'unknown' else ''}{factor:.0f}"
            print(f"| {cell} | {theirs} | {shown(here, timeout_s)} | {times} |", flush=True)
    if factors:
        print(
            f"{len(factors)} that Porcupine decides: geometric mean {geometric_mean(factors):.1f} times, "
            f"least {min(factors):.1f}; {beyond} that it does not"
        )
    undecided = sum(said.verdict == "unknown" for said in here_all)
    slowest_ms = max((said.took_ms for said in here_all), default=0.0)
    print(
        f"here: {len(here_all)} histories, {undecided} not decided, the slowest {slowest_ms:.0f} ms"
    )


if __name__ == "__main__":
    main()
