"""Known verdicts, data set by data set: python checkers/porcupine-py/benchmarks/verdicts.py FOLDER

FOLDER holds any of: jepsen/etcd_*.log and kv/*.txt (Porcupine's test data), and <model>/good/*.edn and <model>/bad/*.edn
(Knossos' data). Each file is judged as the command line would, by its content and its tool's own conventions. What
was expected and is not found is listed; the exit status is how many these are, at most 100.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from porcupine import check, core
from porcupine.cli import MODELS
from porcupine.formats import load

# Of Porcupine's 102 etcd logs; the tests have the same list.
LINEARIZABLE = frozenset(
    (Path(__file__).parents[1] / "tests/data/etcd/linearizable.txt").read_text("ascii").split()
)
TIMEOUT_S = 60


class Case(NamedTuple):
    """A file, the set it belongs to, the model and the verdict that is known."""

    data: str
    path: Path
    model: str
    known: str


def cases(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.rglob("jepsen/etcd_*.log")):
        if path.stat().st_size:  # one of Porcupine's is empty
            known = "ok" if path.stem.removeprefix("etcd_") in LINEARIZABLE else "illegal"
            yield Case("etcd logs", path, "cas-register", known)
    for path in sorted(folder.rglob("kv/*.txt")):
        known = "ok" if path.stem.endswith("ok") else "illegal"
        yield Case("kv logs", path, "append-kv", known)
    for name, known in (("good", "ok"), ("bad", "illegal")):
        for path in sorted(folder.rglob(f"{name}/*.edn")):
            model = path.parent.parent.name
            if path.stat().st_size and model in MODELS:
                yield Case(f"knossos {model}", path, model, known)


def judged(case: Case) -> tuple[str, float]:
    """The verdict, and the seconds it took from file to verdict."""
    started = perf_counter()
    history = load(case.path, case.model)
    # Knossos tests its registers with either of these at first.
    initials = (None, 0) if case.data.startswith("knossos") and "register" in case.model else ()
    verdict = "illegal"
    for arguments in [(initial,) for initial in initials] or [()]:
        verdict = check(
            history.operations, MODELS[case.model](*arguments), timeout_s=TIMEOUT_S
        ).verdict
        if verdict != "illegal":
            break
    return verdict, perf_counter() - started


def judge_all(folder: Path) -> tuple[Counter[tuple[str, str, str]], list[str], dict[str, float]]:
    """How many by (data set, known, found), what differs, and seconds by data set."""
    counts: Counter[tuple[str, str, str]] = Counter()
    seconds: dict[str, float] = {}
    wrong: list[str] = []
    for case in cases(folder):
        found, took = judged(case)
        counts[case.data, case.known, found] += 1
        seconds[case.data] = seconds.get(case.data, 0.0) + took
        if found != case.known:
            wrong.append(f"{case.path}: known to be {case.known}, found {found}")
    return counts, wrong, seconds


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 64
    counts, wrong, seconds = judge_all(Path(sys.argv[1]))
    for data, took in seconds.items():
        rows = [f"{n} {found}" for (d, _, found), n in sorted(counts.items()) if d == data]
        print(f"{data:24} {', '.join(rows):28} {1000 * took:8.1f} ms ({core})")
    print("\n".join(wrong) if wrong else "all as known")
    return min(len(wrong), 100)


if __name__ == "__main__":
    raise SystemExit(main())
