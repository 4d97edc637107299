"""How long the zone check takes, pass by pass: python checkers/porcupine-py/benchmarks/zones.py [operations]

One linearizable compare-and-set register, 20 clients, unique values: half reads, a quarter writes, a quarter
compare-and-sets, one operation in a hundred of unknown outcome. The best of five runs is shown.
"""

from __future__ import annotations

import random
import sys
from time import perf_counter

from porcupine import UNKNOWN, Operation, check
from porcupine.history import validate
from porcupine.models import cas_register
from porcupine.zones import Register

CLIENTS = 20
PASSES = ("collect", "attribute", "settle", "arrange", "compare", "order")


def history(count: int, rng: random.Random) -> list[Operation]:
    found: list[Operation] = []
    state: int | None = None
    for number in range(count):
        instant, kind = 10 * number, rng.random()
        call = instant - rng.randint(0, 10 * CLIENTS)
        back = instant + rng.randint(0, 10 * CLIENTS)
        given: tuple[object, ...] = ("read",)
        output: object = state
        if kind >= 0.75:
            given, output, state = ("cas", state, number), True, number
        elif kind >= 0.5:
            given, output, state = ("write", number), None, number
        client = number % CLIENTS
        if rng.random() < 0.01:
            found.append(Operation(client, given, call, UNKNOWN, None, "info"))
        else:
            found.append(Operation(client, given, call, output, back))
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    operations = history(count, random.Random(1))
    best: dict[str, float] = {}

    def note(name: str, since: float) -> None:
        best[name] = min(best.get(name, float("inf")), perf_counter() - since)

    for _ in range(5):
        since = perf_counter()
        result = check(operations, cas_register(), prefer="gate")
        note("check, whole", since)
        assert result.verdict == "ok", result
        since = perf_counter()
        validate(operations, False)
        note("validate", since)
        since = perf_counter()
        register = Register(operations, None, 0, None)
        note("set-up", since)
        for name in PASSES:
            since = perf_counter()
            getattr(register, name)()
            note(name, since)
    print(f"{count} operations")
    for name, seconds in best.items():
        print(f"{name:14} {1000 * seconds:8.1f} ms")


if __name__ == "__main__":
    main()
