"""Acknowledged operations per second of recorded clients, through toxiproxy, fsync on, beside a plain echo on the same path.

python -m benchmarks.throughput [--nodes 3] [--clients 20] [--seconds 5] [--runs 3]

Each run measures, in one start of the cluster: half writes and half ReadIndex reads, half writes and half lease reads, and the
echo (a ping answered by the same node through the same toxiproxy, same framing), so that ratios hold within the run. Syncs are
counted by the nodes themselves before and after.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.bed import Bed, open_bed
from benchmarks.machine import STEAL_MAX, Steal, describe, quantile, spread
from checkers.records.schema import HistoryEvent
from harness.systems.raft import ping_forever


def mix(mode: str) -> dict[str, Any]:
    return {
        "weights": {"write": 50, "cas": 0, "read": 50},
        "read_modes": [mode],
        "keys": 16,
        "readers": 0,
    }


async def measured(bed: Bed, name: str, params: dict[str, Any], count: int, seconds: float) -> Any:
    """(ops per second, p99 in ms, syncs per acknowledged write) of `count` clients."""
    recorder = bed.open_recorder(name, params)
    clients = [bed.client(number, recorder, params, count) for number in range(count)]
    before = await bed.cluster.statuses()
    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run)
        await trio.sleep(seconds)
        for client in clients:
            client.stop = True
    span = time.perf_counter() - begin
    after = await bed.cluster.statuses()
    ok = recorder.counts["ok"]
    recorder.close()
    waits, writes = latencies(bed.folder / f"{name}.jsonl")
    syncs = {
        node: after[node]["counters"]["syncs"] - before[node]["counters"]["syncs"] for node in after
    }
    return {
        "rate": ok / span,
        "p50": quantile(waits, 0.5),
        "p99": quantile(waits, 0.99),
        "writes": writes,
        "syncs": syncs,
        "other": recorder.counts["fail"] + recorder.counts["info"],
    }


def latencies(path: Path) -> tuple[list[float], int]:
    """Milliseconds from invoke to ok, and the number of acknowledged writes."""
    decoder = msgspec.json.Decoder(HistoryEvent)
    started: dict[int, int] = {}
    waits: list[float] = []
    writes = 0
    with path.open("rb") as file:
        next(file)
        for line in file:
            event = decoder.decode(line)
            if event.type == "invoke":
                started[event.op] = event.time
            elif event.type == "ok":
                waits.append((event.time - started[event.op]) / 1e6)
                writes += event.f == "write"
    return waits, writes


async def echo(bed: Bed, count: int, seconds: float) -> float:
    """Round trips per second of pings to the leader through the clients' links."""
    totals = [0] * count

    async def one(number: int) -> None:
        async with aclosing(
            ping_forever(bed.links[f"c{number}-{bed.cluster.leader}"])
        ) as round_trips:
            async for _ in round_trips:
                totals[number] += 1

    begin = time.perf_counter()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
    return sum(totals) / (time.perf_counter() - begin)


async def once(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with open_bed(
            Path(folder), nodes=arguments.nodes, clients=arguments.clients, kind=arguments.links
        ) as bed:
            await bed.ready()
            await bed.write_once()
            count, seconds = arguments.clients, arguments.seconds
            await measured(bed, "warm", mix("lease"), count, 1.0)
            return {
                "echo": await echo(bed, count, min(2.0, seconds)),
                "readindex": await measured(bed, "readindex", mix("readindex"), count, seconds),
                "lease": await measured(bed, "lease", mix("lease"), count, seconds),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--links", default="toxiproxy")
    arguments = parser.parse_args()
    print(describe())
    runs = []
    for number in range(arguments.runs * 3):
        steal = Steal()
        run = trio.run(once, arguments)
        share = steal.share()
        void = share > STEAL_MAX
        print(
            f"run {number}: steal {share:.1%}{' (void)' if void else ''}, echo {run['echo']:,.0f}/s"
        )
        for name in ("readindex", "lease"):
            part = run[name]
            print(
                f"  half {name}: {part['rate']:,.0f} op/s, p50 {part['p50']:.2f} ms, "
                f"p99 {part['p99']:.2f} ms, {part['writes']} writes, syncs {part['syncs']}, "
                f"fail or info {part['other']}"
            )
        if not void:
            runs.append(run)
        if len(runs) == arguments.runs:
            break
    if not runs:
        print("every run was void")
        return
    for name in ("readindex", "lease"):
        rates = [run[name]["rate"] for run in runs]
        print(
            f"half {name}: {spread(rates)} op/s, "
            f"p99 {spread([run[name]['p99'] for run in runs], ' ms', 1)}, "
            f"{spread([run[name]['rate'] / run['echo'] for run in runs], '', 3)} of the echo"
        )


if __name__ == "__main__":
    main()
