"""What links cost, by `python -m tests.harness.links.measure`: start, cuts, round trips, bytes."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import get_args

import trio

from harness.links.server import Kind
from harness.links.table import Cut
from tests.harness.links.world import World, open_world

ROUND_TRIPS = 3_000
BYTES = 200 << 20


async def measure_round_trips(world: World) -> str:
    async def one(stream: trio.SocketStream) -> int:
        begin = time.perf_counter_ns()
        await stream.send_all(b"x" * 100)
        await stream.receive_some()
        return time.perf_counter_ns() - begin

    told = []
    for link in ("", "l0"):
        host, port = world.links.table.links[link].listen if link else world.upstream
        async with await trio.open_tcp_stream(host, port) as stream:
            took = sorted([await one(stream) for _ in range(ROUND_TRIPS)])
            p50, p99 = statistics.median(took) / 1e3, took[len(took) * 99 // 100] / 1e3
            told.append(f"{link or 'direct'} p50 {p50:.0f} us p99 {p99:.0f} us")
    return ", ".join(told)


async def measure_throughput(world: World) -> str:
    begin, left = time.perf_counter(), BYTES
    async with await world.connect("l1") as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, bytes(BYTES))
        while left:
            left -= len(await stream.receive_some(1 << 20))
    return f"{BYTES / (time.perf_counter() - begin) / 1e6:.0f} MB/s each way, echoed"


async def measure(kind: Kind, servers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        async with open_world(kind, Path(folder), links=70, servers=servers) as world:
            print(
                f"{kind}: {servers} servers with 70 links up in {time.perf_counter() - begin:.3f} s"
            )
            for link in range(20, 60):
                assert await world.passes(f"l{link}")
            cuts, heals = [], []
            for n in range(5):
                names = [f"l{link}" for link in range(20, 40)]
                cut = await world.links.apply(f"f{n}", dict.fromkeys(names, Cut()))
                heal = await world.links.lift(f"f{n}")
                assert not cut.indeterminate
                assert not heal.indeterminate
                cuts.append((cut.time_end_ns - cut.time_begin_ns) / 1e6)
                heals.append((heal.time_end_ns - heal.time_begin_ns) / 1e6)
            print(f"  cut of 20 links: median {statistics.median(cuts):.1f} ms", end=", ")
            print(f"worst {max(cuts):.1f} ms; heal: median {statistics.median(heals):.1f} ms")
            print(f"  {await measure_round_trips(world)}; {await measure_throughput(world)}")


async def main() -> None:
    for kind in get_args(Kind):
        await measure(kind, 10)
    await measure("embedded", 1)


if __name__ == "__main__":
    trio.run(main)
