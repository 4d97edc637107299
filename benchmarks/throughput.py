"""Acknowledged operations per second with fsync on, and where the CPU goes: recorded clients through toxiproxy, and without it.

python -m benchmarks.throughput [--nodes 3] [--clients 20] [--seconds 5] [--runs 3] [--mix half-readindex --mix half-lease]
python -m benchmarks.throughput --direct --plain --clients 50 --mix writes --mix lease

Each run measures, in one start of the cluster, each mix, and beside them an echo (a ping answered by the same node on the
same way, same framing), so that ratios hold within the run. `--direct` leaves the link servers out. `--plain` has clients
that record nothing, in a process of their own (benchmarks.load). Syncs, records and messages are counted by the nodes
themselves; CPU time is that of /proc.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.bed import Bed, open_bed
from benchmarks.load import KEYS, MIXES, Load
from benchmarks.machine import STEAL_MAX, Steal, describe, quantile, spread
from benchmarks.processes import ROLES, CpuTimes
from checkers.records.schema import HistoryEvent
from harness.systems.raft import ping_forever

COUNTERS = ("syncs", "records", "frames_in", "frames_out", "sends", "turns", "events")


def params(mix: str) -> dict[str, Any]:
    writes, mode = MIXES[mix]
    return {
        "weights": {"write": round(100 * writes), "cas": 0, "read": round(100 * (1 - writes))},
        "read_modes": [mode],
        "keys": KEYS,
        "readers": 0,
    }


class Measured(msgspec.Struct):
    """One mix: `cpu` is microseconds of user and system time an operation by role, of all processes of the role together;
    `counters` are the nodes' own by role, a follower's the mean of all.
    """

    load: Load
    cpu: dict[str, float]
    counters: dict[str, dict[str, float]]

    @property
    def cpu_us(self) -> float:
        """Of all processes."""
        return sum(self.cpu.values())

    def lines(self, mix: str) -> list[str]:
        load = self.load
        split = ", ".join(f"{role} {self.cpu[role]:.0f}" for role in ROLES)
        lines = [
            f"  {mix}: {load.rate:,.0f} op/s, p50 {load.p50:.2f} ms, p99 {load.p99:.2f} ms, "
            f"{load.writes} writes, fail or info {load.other}",
            f"    us of CPU an operation: {split}, all {self.cpu_us:.0f}",
        ]
        operations = max(1.0, load.rate * load.span_s)
        for role in ("leader", "follower"):
            found = self.counters[role]
            per = found["records"] / found["syncs"] if found["syncs"] else 0.0
            each = ", ".join(
                f"{name} {found[name] / operations:.2f}" for name in COUNTERS if name != "records"
            )
            lines.append(f"    {role}: {per:.1f} records a sync; an operation: {each}")
        return lines


async def measured(
    bed: Bed, mix: str, count: int, seconds: float, plain: bool, name: str = ""
) -> Measured:
    """`name` stands for these clients' sessions: none is used twice."""
    name = name or mix
    before = await bed.cluster.statuses()
    cpu = CpuTimes(bed)
    if plain:
        load = await unrecorded(bed, mix, count, seconds, name)
        spent = {**cpu.spent(), "clients": load.cpu_s}
    else:
        path, load = await recorded(bed, mix, count, seconds, name)
        spent = cpu.spent()
        waits, load.writes = latencies(path)
        path.unlink()
        load.p50, load.p99 = quantile(waits, 0.5), quantile(waits, 0.99)
    after = await bed.cluster.statuses()
    operations = max(1.0, load.rate * load.span_s)
    counters: dict[str, dict[str, float]] = {}
    for role in ("leader", "follower"):
        names = [n for n in after if (n == bed.cluster.leader) == (role == "leader")]
        counters[role] = {
            name: sum(after[n]["counters"][name] - before[n]["counters"][name] for n in names)
            / max(1, len(names))
            for name in COUNTERS
        }
    return Measured(load, {role: spent[role] / operations * 1e6 for role in ROLES}, counters)


async def recorded(bed: Bed, mix: str, count: int, seconds: float, name: str) -> tuple[Path, Load]:
    """`count` clients of the harness; their history, and what they did without what stands in that."""
    recorder = bed.open_recorder(mix, params(mix))
    clients = [
        bed.client(number, recorder, params(mix), count, run=name) for number in range(count)
    ]
    begin, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run)
        await trio.sleep(seconds)
        for client in clients:
            client.stop = True
    span, cpu = time.perf_counter() - begin, time.process_time() - cpu
    counts = recorder.counts
    recorder.close()
    other = counts["fail"] + counts["info"]
    return bed.folder / f"{mix}.jsonl", Load(counts["ok"] / span, span, cpu, 0.0, 0.0, 0, other)


async def unrecorded(bed: Bed, mix: str, count: int, seconds: float, name: str) -> Load:
    """`count` clients that record nothing, in a process of their own."""
    host, port = bed.links[f"c0-{bed.cluster.leader}"]
    command = [sys.executable, "-m", "benchmarks.load", host, str(port)]
    command += ["--clients", str(count), "--seconds", str(seconds), "--mix", mix, "--name", name]
    done = await trio.run_process(command, capture_stdout=True)
    return msgspec.json.decode(done.stdout, type=Load)


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


async def once(arguments: argparse.Namespace) -> tuple[float, dict[str, Measured]]:
    """Echoes a second, and each mix."""
    kind = "direct" if arguments.direct else arguments.links
    count, seconds, plain = arguments.clients, arguments.seconds, arguments.plain
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with open_bed(Path(folder), nodes=arguments.nodes, clients=count, kind=kind) as bed:
            await bed.ready()
            await bed.write_once()
            await measured(bed, arguments.mix[0], count, 1.0, plain, "warm")
            echoes = await echo(bed, count, min(2.0, seconds))
            found = {}
            for mix in arguments.mix:
                found[mix] = await measured(bed, mix, count, seconds, plain)
            return echoes, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--links", default="toxiproxy")
    parser.add_argument("--direct", action="store_true", help="no link servers")
    parser.add_argument("--plain", action="store_true", help="clients that record nothing")
    parser.add_argument("--mix", action="append", choices=list(MIXES))
    arguments = parser.parse_args()
    arguments.mix = arguments.mix or ["half-readindex", "half-lease"]
    print(describe())
    runs: list[tuple[float, dict[str, Measured]]] = []
    for number in range(arguments.runs * 3):
        steal = Steal()
        echoes, found = trio.run(once, arguments)
        share = steal.share()
        void = share > STEAL_MAX
        print(f"run {number}: steal {share:.1%}{' (void)' if void else ''}, echo {echoes:,.0f}/s")
        for mix, part in found.items():
            print("\n".join(part.lines(mix)), flush=True)
        if not void:
            runs.append((echoes, found))
        if len(runs) == arguments.runs:
            break
    if not runs:
        print("every run was void")
        return
    for mix in arguments.mix:
        parts = [found[mix] for _, found in runs]
        ratios = [found[mix].load.rate / echoes for echoes, found in runs]
        print(
            f"{mix}: {spread([part.load.rate for part in parts])} op/s, "
            f"p99 {spread([part.load.p99 for part in parts], ' ms', 1)}, "
            f"{spread([part.cpu_us for part in parts])} us of CPU an operation, "
            f"{spread(ratios, '', 3)} of the echo"
        )


if __name__ == "__main__":
    main()
