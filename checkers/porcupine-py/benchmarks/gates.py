"""How long the gates take on columns: python checkers/porcupine-py/benchmarks/gates.py [operations] [gate ...]

Linearizable histories of distinct values, 20 clients; making them is not counted. Registers are read as often as they
are written. Queues, stacks and priority queues are filled and emptied by turns to a depth of some hundred, with peeks;
of a set's elements each is added, asked for, removed and asked for. Each is judged five times in one process, and the
least and the greatest time are shown, with the most memory the process ever had. Name one gate to see its own.
"""

from __future__ import annotations

import random
import resource
import sys
from array import array
from bisect import insort
from time import perf_counter

from porcupine import CollectionColumns, RegisterColumns, check_columns
from porcupine.columns import ABSENT, ADD, NOTHING, PEEK, PRESENT, PUT, READ, REMOVE, TAKE, WRITE

CLIENTS = 20
DEPTH = 200
GATES = ("register", "queue", "stack", "priority_queue", "set")


def columns(name: str, count: int, rng: random.Random) -> RegisterColumns | CollectionColumns:
    kinds, calls, backs, values = array("B"), array("q"), array("q"), array("q")
    held: list[int] = []
    first = 0  # of a queue, the place of its head
    state = 0
    for number in range(count):
        calls.append(10 * number - rng.randrange(10 * CLIENTS))
        backs.append(10 * number + rng.randrange(10 * CLIENTS))
        if name == "register":
            kind = rng.choice((READ, WRITE))
            state = number + 1 if kind == WRITE else state
            kinds.append(kind)
            values.append(state)
            continue
        if name == "set":
            kinds.append((ADD, PRESENT, REMOVE, ABSENT)[number // DEPTH % 4])
            values.append(number // (4 * DEPTH) * DEPTH + number % DEPTH)
            continue
        filling = number // DEPTH % 2 == 0
        kind = PUT if rng.random() < (0.6 if filling else 0.4) else TAKE
        if rng.random() < 0.1:
            kind = PEEK
        kinds.append(kind)
        if kind == PUT:
            value = rng.randrange(2**40) * 2**20 + number if name == "priority_queue" else number
            if name == "priority_queue":
                insort(held, -value)
            else:
                held.append(value)
            values.append(value)
        elif len(held) == first:
            values.append(NOTHING)
        else:
            at = first if name == "queue" else -1
            values.append(-held[at] if name == "priority_queue" else held[at])
            if kind == TAKE and name == "queue":
                first += 1
            elif kind == TAKE:
                held.pop()
    if name == "register":
        return RegisterColumns(kinds, calls, backs, values, array("q", bytes(8 * count)))
    return CollectionColumns(name, kinds, calls, backs, values)  # type: ignore[arg-type]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{count} operations")
    for name in sys.argv[2:] or GATES:
        history = columns(name, count, random.Random(name))
        seconds: list[float] = []
        for _ in range(5):
            since = perf_counter()
            result = check_columns(history, timeout_s=60)
            seconds.append(perf_counter() - since)
            assert result.verdict == "ok", result
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{name:14} {min(seconds):7.3f} to {max(seconds):7.3f} s, {most} MiB at most",
            flush=True,
        )


if __name__ == "__main__":
    main()
