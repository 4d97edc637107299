"""How many events a second the online check takes, on one compare-and-set register of ten clients.

    python checkers/porcupine-py/benchmarks/online.py [events]

The register is simulated: each operation takes effect at an instant between its call and its return, so the run is
legal, and all of it is judged. Per line: how many of the completed operations are of unknown outcome (half of those
took effect), how values are chosen, events a second, the slowest event, and what is held at the end. An event that
takes more than two seconds ends a line's run as unknown, and the line says at which event.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from porcupine import OnlineChecker
from porcupine.models import cas_register

CLIENTS = 10
Told = tuple[str, int, Any]  # what, client, the input or the output


def run(seed: int, events: int, unknown: float, values: int | None) -> Iterator[Told]:
    """A legal run. Values are of `values` in all, or each write's own."""
    rng = random.Random(seed)
    state: Any = None
    # For each client its operation: None, or (input, output or None while it did not take effect, will it be lost).
    at_work: list[tuple[tuple[Any, ...], list[Any], bool] | None] = [None] * CLIENTS
    written = 0
    for _ in range(events):
        client = rng.randrange(CLIENTS)
        work = at_work[client]
        if work is None:
            written += 1
            value = written if values is None else rng.randrange(values)
            kind = rng.randrange(4)
            given: tuple[Any, ...] = ("read",)
            if kind == 2:
                given = ("write", value)
            elif kind == 3:
                given = ("cas", state if values is None else rng.randrange(values), value)
            at_work[client] = (given, [], rng.random() < unknown)
            yield "invoke", client, given
            # Some of those at work take effect now.
            late = [each for each in at_work if each is not None and not each[1]]
            for asked, found, _ in rng.sample(late, len(late) // 3):
                state = take(state, asked, found)
            continue
        given, output, lost = work
        at_work[client] = None
        if lost:
            yield "info", client, None
            continue
        if not output:
            state = take(state, given, output)
        yield "ok", client, output[0]


def take(state: Any, given: tuple[Any, ...], found: list[Any]) -> Any:
    """Let an operation take effect: its output goes to `found`, the state after it comes back."""
    if given[0] == "read":
        found.append(state)
    elif given[0] == "write":
        found.append(None)
        return given[1]
    else:
        found.append(state == given[1])
        if found[0]:
            return given[2]
    return state


def measure(events: int, unknown: float, values: int | None) -> str:
    told = list(run(1, events, unknown, values))
    checker = OnlineChecker(cas_register(), timeout_s=2.0)
    ids = [0] * CLIENTS
    slowest = 0.0
    begin = last = perf_counter()
    for what, client, value in told:
        if what == "invoke":
            ids[client] = checker.invoke(client, value)
        elif what == "ok":
            checker.ok(ids[client], value)
        else:
            checker.info(ids[client])
        now = perf_counter()
        slowest = max(slowest, now - last)
        last = now
        if checker.verdict != "ok":
            break
    seconds = last - begin
    kept = checker.statistics()
    verdict = (
        checker.verdict if checker.verdict == "ok" else f"{checker.verdict} at {checker.events}"
    )
    chosen = "unique values" if values is None else f"{values} values"
    return (
        f"{100 * unknown:3.0f} % unknown, {chosen:13}: {verdict}, {checker.events / seconds:8.0f} events/s, "
        f"{kept.steps / checker.events:5.1f} steps an event, slowest {1000 * slowest:5.1f} ms, "
        f"{kept.kept_operations} operations, {kept.configurations} configurations, {kept.memory_bytes / 1e6:.2f} MB"
    )


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for values in (5, None):
        for unknown in (0.0, 0.01):
            print(measure(events, unknown, values), flush=True)


if __name__ == "__main__":
    main()
