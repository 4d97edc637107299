"""python -m tests.bed table [--schedules 400] [--bugs A,B] | speed [--schedules 300] | play SEED [--nodes N] [--bugs A,B]

table: for each seeded bug the property that its scripted schedule breaks, and after how many random schedules of three
and five nodes (in turns) which property breaks. speed: core steps a second of CPU, with faults and all monitors. play: the
schedule of one seed and what follows its healing, made smaller if it breaks something, with its transcript.
"""

from __future__ import annotations

import argparse
import time

from node.raft.bugs import CATALOGUE
from tests.bed.schedule import breaks, draw, play
from tests.bed.telling import failure, told
from tests.node.raft.bed import Violation
from tests.node.raft.schedules import SCRIPTS


def scripted(bug: str) -> str:
    """The property that the bug's own schedule breaks."""
    if bug not in SCRIPTS:
        return "-"
    try:
        SCRIPTS[bug][0]((bug,))
    except Violation as broken:
        return broken.name
    return "none"


def drawn(bug: str, schedules: int) -> str:
    """The property that the first breaking schedule breaks, and which one it was."""
    for seed in range(schedules):
        try:
            broken = breaks(draw(seed, nodes=5 if seed % 2 else 3, bugs=(bug,)))
        except AssertionError as error:
            broken = f"assertion: {error}"[:40]
        if broken:
            return f"{broken:<8} schedule {seed + 1}"
    return f"none of {schedules}"


def table(bugs: list[str], schedules: int) -> None:
    for bug in bugs:
        print(f"{bug:<28} scripted {scripted(bug):<6} random {drawn(bug, schedules)}", flush=True)


def speed(schedules: int) -> None:
    steps, begun = 0, time.process_time()
    for seed in range(schedules):
        steps += play(draw(seed, nodes=5)).steps
    spent = time.process_time() - begun
    print(
        f"{schedules} schedules of 5 nodes, {steps:,} core steps, {steps / spent:,.0f} a second of CPU"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bed", description=__doc__)
    parser.add_argument("what", choices=("table", "speed", "play"))
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--schedules", type=int, default=400)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--bugs", default="")
    asked = parser.parse_args()
    bugs = [bug for bug in asked.bugs.split(",") if bug]
    if asked.what == "table":
        table(bugs or list(CATALOGUE), asked.schedules)
    elif asked.what == "speed":
        speed(asked.schedules)
    else:
        schedule = draw(asked.seed, asked.nodes, bugs=bugs)
        print(failure(schedule) or told(schedule))


if __name__ == "__main__":
    main()
