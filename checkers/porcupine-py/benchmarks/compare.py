"""Side by side with Porcupine: python checkers/porcupine-py/benchmarks/compare.py [FOLDER OF ITS TEST DATA]

Builds the Go program beside this file (module github.com/anishathalye/porcupine, pinned in go/go.mod) and gives
both the same histories: Porcupine's 102 etcd logs and its kv files, where their folder is given, and generated
ones of a compare-and-set register of five values. Times are of the check alone: from a list of operations to a
verdict, each in its own language; the best of twenty checks, and of as many as a quarter of a second holds, since
what takes microseconds begins with cold caches. One history is judged by one side right after the other, in
processes that do nothing else. What runs for five seconds is given up.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any

from porcupine import UNKNOWN, Model, Operation, check, core
from porcupine.engine import compiled
from porcupine.formats import read_etcd_log, read_kv_log
from porcupine.models import append_kv, cas_register
from porcupine.partitioning import undivided

HERE = Path(__file__).parent
ROUNDS, LEAST_S = 20, 0.25
TIMEOUT_S = 5.0
LONG_S = 1.0  # what takes longer is not repeated
Row = tuple[str, str, list[Operation]]


def generated(
    rng: random.Random, count: int, clients: int, lost: float, spoilt: bool
) -> list[Operation]:
    """Each client calls one operation after the other; each takes effect at some instant of its own."""
    free = [rng.uniform(0, 1) for _ in range(clients)]
    drafts: list[tuple[float, float, float, int]] = []
    for _ in range(count):
        client = min(range(clients), key=free.__getitem__)
        call = free[client]
        instant = call + rng.expovariate(1)
        back = instant + rng.expovariate(1)
        free[client] = back + rng.uniform(0, 0.1)
        drafts.append((instant, call, back, client))
    drafts.sort()
    found: list[Operation] = []
    state: int | None = None
    for _, call, back, client in drafts:
        kind = rng.choice(["read", "write", "cas"])
        value, expected = rng.randrange(5), rng.randrange(5)
        given: tuple[Any, ...] = ("read",)
        output: Any = state
        if kind == "write":
            given, output, state = ("write", value), None, value
        elif kind == "cas":
            given, output = ("cas", expected, value), state == expected
            state = value if output else state
        begin, end = round(1e6 * call), round(1e6 * back)
        if rng.random() < lost:
            found.append(Operation(client, given, begin, UNKNOWN, None, "info"))
        else:
            found.append(Operation(client, given, begin, output, end))
    if spoilt:
        reads = [o for o in found if o.input == ("read",) and o.outcome == "ok"]
        late = rng.choice(reads[len(reads) // 2 :])
        late.output = (late.output or 0) + 1 if late.output != 4 else 0
    found.sort(key=lambda o: o.call)
    return found


def rows(data: Path | None) -> Iterator[Row]:
    if data is not None:
        for path in sorted((data / "jepsen").glob("*.log")):
            if path.stat().st_size:
                yield "etcd logs", "register", read_etcd_log(path.read_text())
        for path in sorted((data / "kv").glob("*.txt")):
            yield f"kv {path.stem}", "store", read_kv_log(path.read_text())
        for path in sorted((data / "kv").glob("c[01][01]*.txt")):
            yield f"kv {path.stem}, all keys together", "whole", read_kv_log(path.read_text())
    for count, clients in ((1_000, 5), (5_000, 5), (5_000, 10), (5_000, 20)):
        for seed in range(2):
            rng = random.Random(f"{count} {clients} {seed}")
            yield (
                f"generated, {count} by {clients}",
                "register",
                generated(rng, count, clients, 0.01, False),
            )
    for clients in (5, 10, 20):
        for seed in range(2):
            rng = random.Random(f"spoilt {clients} {seed}")
            yield (
                f"spoilt, 1000 by {clients}",
                "register",
                generated(rng, 1_000, clients, 0.0, True),
            )


def written(kind: str, operation: Operation) -> str:
    back = -1 if operation.outcome == "info" else operation.return_time
    name, *arguments = operation.input
    fields = (operation.client_id, operation.call, back, name, *[*arguments, "", ""][:2])
    return "\t".join(map(str, (*fields, operation.output)))


def build(program: Path) -> None:
    """The Go program, where go is on the PATH or tools/setup.py put one into .venv."""
    go = shutil.which("go") or next(
        Path(sys.prefix).glob("lib/python*/site-packages/**/bin/go"), None
    )
    if go is None:
        raise SystemExit("asked for go to build Porcupine with, found none; put one on the PATH")
    subprocess.run([go, "build", "-o", program, "."], cwd=HERE / "go", check=True)


def ours(model: Model, history: list[Operation]) -> tuple[str, float]:
    best, verdict, rounds = float("inf"), "", 0
    begun = perf_counter()
    while rounds < ROUNDS or perf_counter() - begun < LEAST_S:
        started = perf_counter()
        verdict = check(history, model, timeout_s=TIMEOUT_S).verdict
        took = perf_counter() - started
        best = min(best, took)
        rounds += 1
        if took > LONG_S:
            break
    return verdict, 1_000 * best


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    models = {
        "register": cas_register(),
        "store": append_kv(),
        "whole": undivided(append_kv()),
    }
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "compare"
        build(program)
        cases = list(rows(data))
        path = Path(folder) / "history.tsv"
        table: dict[str, list[tuple[float, float]]] = {}
        given_up: dict[str, int] = {}
        for name, kind, history in cases:
            kept = [o for o in history if o.outcome != "fail"]
            path.write_text("\n".join(written(kind, o) for o in kept))
            command = [program, str(ROUNDS), str(LEAST_S), str(TIMEOUT_S), f"{kind}:{path}"]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            said, took = ran.stdout.split("\t")[1:3]
            verdict, mine = ours(models[kind], history)
            if "unknown" not in (verdict, said.lower()):
                assert verdict == said.lower(), (name, verdict, said)
            given_up[name] = given_up.get(name, 0) + (said == "Unknown")
            table.setdefault(name, []).append((float(took), mine))
    print(f"milliseconds; porcupine.core is {core}")
    print(
        "| histories | Porcupine: sum, median, worst | here: sum, median, worst | times: sum, median |"
    )
    print("|---|---|---|---|")
    for name, times in table.items():
        go, here = [t[0] for t in times], [t[1] for t in times]
        note = f" ({given_up[name]} given up)" if given_up[name] else ""
        shown = [f"{sum(side):.2f}, {median(side):.3f}, {max(side):.2f}" for side in (go, here)]
        factors = f"{sum(go) / sum(here):.1f}, {median(g / h for g, h in times):.1f}"
        print(f"| {len(times)} x {name} | {shown[0]}{note} | {shown[1]} | {factors} |")
    for title, wanted in (("key-value", "kv c"), ("all together", "all keys together")):
        factors_of = [
            times[0][0] / times[0][1]
            for name, times in table.items()
            if wanted in name and ("together" in name) == ("together" in wanted)
        ]
        if factors_of:
            print(
                f"{title}: geometric mean {geometric_mean(factors_of):.1f}, least {min(factors_of):.1f}"
            )
    if compiled is not None:
        for title, kind, wanted in (
            ("etcd logs", "register", "etcd"),
            ("key-value", "store", "kv c"),
        ):
            alone(title, models[kind], wanted, cases, table)


def alone(
    title: str,
    model: Model,
    wanted: str,
    cases: list[Row],
    table: dict[str, list[tuple[float, float]]],
) -> None:
    """What the core takes from parsed columns to a verdict, part after part: without the reading of Python's objects."""
    go: list[float] = []
    here: list[float] = []
    for name in table:
        if wanted not in name or "together" in name:
            continue
        histories = [history for case, _, history in cases if case == name]
        go.extend(took for took, _ in table[name])
        for history in histories:
            keyed = model.partition is not None
            best, begun = float("inf"), perf_counter()
            while perf_counter() - begun < LEAST_S:
                best = min(best, compiled._bench_alone(history, model.compiled, keyed, ROUNDS))
            here.append(1_000 * best)
    if here:
        factors = [g / h for g, h in zip(go, here, strict=True)]
        print(
            f"{title} from columns, in the core alone: sum {sum(here):.3f} ms, {sum(go) / sum(here):.0f} times; "
            f"median {median(factors):.1f}, geometric mean {geometric_mean(factors):.1f}, least {min(factors):.1f}"
        )


if __name__ == "__main__":
    main()
