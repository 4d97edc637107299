"""What the compiled core does before it searches: python checkers/porcupine-py/benchmarks/preparation.py [operations]

Histories of one register of five values, legal, 5, 10 and 20 clients, with and without compare-and-set, one operation
in a hundred of unknown outcome; the zones are not asked. Shown are nanoseconds for each operation, the best of
three: from Python's objects to columns, from columns to what the search goes by, and the search itself.
"""

from __future__ import annotations

import random
import sys

from compare import generated

from porcupine import Operation, models
from porcupine.engine import compiled

ROUNDS = 3


def register_alone(history: list[Operation]) -> list[Operation]:
    """The same instants and values without compare-and-set: one that swapped is a write, any other is left out."""
    found: list[Operation] = []
    for operation in history:
        name, *arguments = operation.input
        if name == "cas" and operation.output is not True:
            continue
        if name == "cas":
            operation.input, operation.output = ("write", arguments[1]), None
        found.append(operation)
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if compiled is None:
        raise SystemExit(
            "asked for the compiled core's times, found none; install porcupine-py where cargo is"
        )
    print("| histories | operations | objects to columns, ns | preparation, ns | search, ns |")
    print("|---|---|---|---|---|")
    for clients in (5, 10, 20):
        for model in (models.cas_register(), models.register()):
            history = generated(random.Random(f"{clients}"), count, clients, 0.00001, False)
            if model.name == "register":
                history = register_alone(history)
            found = compiled._bench(history, model.compiled, False, ROUNDS)
            shown = " | ".join(f"{1e9 * seconds / len(history):.0f}" for seconds in found)
            print(f"| {model.name}, {clients} clients | {len(history)} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
