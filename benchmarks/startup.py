"""From nothing to a group of five whose links all pass and which has committed a write; and the teardown.

python -m benchmarks.startup [--count 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.bed import open_bed
from benchmarks.machine import Steal, describe, spread


async def once(nodes: int) -> tuple[float, float]:
    """(seconds to ready and a write acknowledged, seconds of teardown)"""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        begin = time.perf_counter()
        async with open_bed(Path(folder), nodes=nodes, clients=10) as bed:
            await bed.ready()
            await bed.write_once()
            ready = time.perf_counter()
        end = time.perf_counter()
    return ready - begin, end - ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=5)
    arguments = parser.parse_args()
    steal = Steal()
    ups, downs = [], []
    for _ in range(arguments.count):
        up, down = trio.run(once, arguments.nodes)
        ups.append(up)
        downs.append(down)
    print(f"{describe()}, steal {steal.share():.1%}, {arguments.count} times")
    print(f"up, {arguments.nodes} nodes: {spread(ups, ' s', 2)}")
    print(f"teardown:    {spread(downs, ' s', 2)}")


if __name__ == "__main__":
    main()
