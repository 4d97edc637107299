"""How fast files are read: python checkers/porcupine-py/benchmarks/reading.py [operations]

One history of a compare-and-set register, unique values, in every format; from text to operations, best of three.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from time import perf_counter

from porcupine.formats import read

ROUNDS = 3


def events(count: int) -> Iterator[tuple[int, str, str, int, int]]:
    """(process, type, f, value, expected) of operations one after the other."""
    rng = random.Random(1)
    state = 0
    for number in range(1, count + 1):
        process, f = number % 10, rng.choice(["read", "write", "cas"])
        value, expected = (state if f == "read" else number), state
        yield process, "invoke", f, value, expected
        yield process, "ok", f, value, expected
        state = value


def shown(kind: str, f: str, value: int, expected: int) -> str:
    if f == "cas":
        return f"[{expected} {value}]"
    return "nil" if f == "read" and (kind == "invoke" or value == 0) else str(value)


def edn_lines(count: int, more: str = "") -> list[str]:
    return [
        f"{{:process {p}, :type :{kind}, :f :{f}, :value {shown(kind, f, v, e)}, :time {1000 * i}, :index {i}{more}}}"
        for i, (p, kind, f, v, e) in enumerate(events(count))
    ]


def txt_lines(count: int) -> list[str]:
    return [f"{p}\t:{kind}\t:{f}\t{shown(kind, f, v, e)}" for p, kind, f, v, e in events(count)]


def driftline_lines(count: int) -> Iterator[str]:
    yield '{"format":"driftline-history","version":1}'
    for i, (p, kind, f, v, e) in enumerate(events(count)):
        value: object = v if f != "read" or kind == "ok" else None
        if f == "cas":
            value = {"from": e, "to": v, **({"swapped": True} if kind == "ok" else {})}
        row = {
            "index": i,
            "time": i,
            "type": kind,
            "process": p,
            "op": i // 2,
            "f": f,
            "key": "k",
            "value": value,
        }
        yield json.dumps(row)


def json_lines(count: int) -> Iterator[str]:
    for i, (p, kind, f, v, e) in enumerate(events(count)):
        if kind == "ok":
            given = [f, e, v] if f == "cas" else [f] if f == "read" else [f, v]
            output = True if f == "cas" else v if f == "read" else None
            row = {"client": p, "input": given, "call": i - 1, "return": i, "output": output}
            yield json.dumps(row)


def texts(count: int) -> Iterator[tuple[str, str]]:
    yield "jepsen-edn", "\n".join(edn_lines(count)) + "\n"
    yield "jepsen-edn, deep", "\n".join(edn_lines(count, ", :x {:a {:b {:c 1}}}")) + "\n"
    yield "knossos", "[" + "\n ".join(edn_lines(count)) + "]\n"
    yield "jepsen-txt", "\n".join(txt_lines(count)) + "\n"
    yield "etcd", "\n".join(f"INFO  jepsen.util - {line}" for line in txt_lines(count)) + "\n"
    yield "driftline", "\n".join(driftline_lines(count)) + "\n"
    yield "json", "\n".join(json_lines(count)) + "\n"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{count} operations, from text to operations, seconds:")
    for name, text in texts(count):
        best = float("inf")
        for _ in range(ROUNDS):
            started = perf_counter()
            history = read(text, "cas-register")
            best = min(best, perf_counter() - started)
            assert len(history.operations) == count
            assert history.format == name.partition(",")[0]
        print(f"  {name:18} {best:6.2f}   ({len(text) / 1e6:.1f} MB)", flush=True)


if __name__ == "__main__":
    main()
