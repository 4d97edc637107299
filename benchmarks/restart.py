"""A long life: memory and data folder of one member while entries pass, and how soon its next life answers and leads.

python -m benchmarks.restart [--entries 1000000] [--keys 100000] [--interval 50000] [--restarts 5]

Every restart is a SIGKILL. Leading takes an election timeout of 500 to 1,000 ms after the first answer, since the member waits
for promises that its last life may have given.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.bed import Bed, open_bed
from benchmarks.machine import Steal, describe, spread
from benchmarks.processes import cpu_seconds
from node import wire
from node.kv import encode_write

WINDOW = 500
"""Writes under way at a time, on one connection."""
LOOK_S = 0.005
REPORTS = 20


async def fill(bed: Bed, name: str, session: str, count: int, keys: int) -> None:
    """`count` writes of 50 bytes over `keys` keys, acknowledged; raises ConnectionError."""
    stream = await trio.open_tcp_stream(*bed.links[f"c0-{name}"])
    reader = wire.FrameReader()
    sent = answered = 0
    async with stream:
        while answered < count:
            frames = []
            while sent < count and sent - answered < WINDOW:
                sent += 1
                command = encode_write(session, sent, f"key{sent % keys}", f"{sent:050}")
                frames.append(wire.frame(wire.encode(wire.Submit(sent, 60_000, session, command))))
            if frames:
                await stream.send_all(b"".join(frames))
            data = await stream.receive_some(1 << 20)
            if not data:
                raise ConnectionResetError("the node closed the connection")
            for payload in reader.feed(data):
                answer = wire.decode_server(payload)
                if not isinstance(answer, wire.Done):
                    raise ConnectionAbortedError(f"a write was answered by {answer!r}")
                answered += 1


async def restart(bed: Bed, name: str, applied: int) -> tuple[float, float, float]:
    """Seconds from the start of the next life to its first answer, and until it leads with `applied` entries applied; and of
    CPU until then.
    """
    await bed.cluster.kill(name, "restart")
    begin = time.perf_counter()
    await bed.cluster.release(name, "restart")
    answers = None
    with trio.fail_after(60):
        while True:
            status = await bed.cluster.status(name)
            if status is not None:
                answers = answers or time.perf_counter() - begin
                if status["state"] == "leader" and status["applied"] > applied:
                    leads = time.perf_counter() - begin
                    return answers, leads, cpu_seconds(status["pid"])
            await trio.sleep(LOOK_S)


def memory_mib(pid: int) -> float:
    """Resident memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


async def measure(arguments: argparse.Namespace) -> None:
    options = {"snapshot_interval_entries": arguments.interval}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with open_bed(
            Path(folder), nodes=1, clients=1, kind="direct", options=options
        ) as bed:
            await bed.ready()
            (name,) = bed.cluster.names
            process = bed.cluster.members[name].process
            assert process is not None
            begin, part = time.perf_counter(), arguments.entries // REPORTS
            for number in range(REPORTS):
                await fill(bed, name, f"fill{number}", part, arguments.keys)
                data = bed.cluster.system.data_dir(name)
                size = sum(path.stat().st_size for path in data.iterdir()) / 1e6
                print(
                    f"{(number + 1) * part:>9,} entries, {time.perf_counter() - begin:6.1f} s: "
                    f"resident {memory_mib(process.pid):5.1f} MiB, data folder {size:4.1f} MB",
                    flush=True,
                )
            found = []
            for _ in range(arguments.restarts):
                status = await bed.cluster.status(name)
                assert status is not None, "the member does not answer"
                found.append(await restart(bed, name, status["applied"]))
            answers, leads, cpu = zip(*found, strict=True)
            print(f"answers after {spread(answers, ' s', 2)}")
            print(f"leads with all applied after {spread(leads, ' s', 2)}")
            print(f"CPU time until then {spread(cpu, ' s', 2)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--interval", type=int, default=50_000)
    parser.add_argument("--restarts", type=int, default=5)
    arguments = parser.parse_args()
    steal = Steal()
    print(describe())
    trio.run(measure, arguments)
    print(f"steal {steal.share():.1%}")


if __name__ == "__main__":
    main()
