"""How fast the recorder writes, alone and inside the clients' loop with a system that answers at once.

python -m benchmarks.recorder [--seconds 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

from benchmarks.machine import Steal, describe, spread
from checkers.records import schema
from harness.clients import Client
from harness.plan import ClientStream
from harness.recorder import Recorder, monotonic_ns
from harness.seeds import stream
from workloads import registry

TURNS = 32
"""Operations of one client after which the others get theirs."""


def header() -> schema.HistoryHeader:
    return schema.HistoryHeader(
        run="bench",
        boot_id="-",
        origin_ns=monotonic_ns(),
        workload=registry.load("register", {}).header(),
        nodes=["n1"],
        clients=20,
        election_timeout_ms=500,
        max_clock_drift_ms=125,
        lease=True,
    )


def alone(seconds: float) -> float:
    """Events per second: invoke and ok in turn, one os.write each."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        recorder = Recorder(Path(folder) / "history.jsonl", header())
        begin = time.perf_counter()
        count = 0
        while time.perf_counter() - begin < seconds:
            for _ in range(1000):
                op = recorder.invoke(3, "write", "k1", 7, "n1")
                recorder.complete(op, "ok", 3, "write", "k1", 7, "n1", None, 4, 812)
            count += 2000
        span = time.perf_counter() - begin
        recorder.close()
    return count / span


class Outcome:
    kind = "ok"
    term = 1
    log_index = 1
    error = None
    leader = ""

    def __init__(self, value: Any) -> None:
        self.value = value


class Instant:
    """A connection that answers at once."""

    sent = True
    connected = True

    async def call(self, f: str, key: str, value: Any, mode: str | None, ms: int) -> Outcome:
        return Outcome({**value, "swapped": True} if f == "cas" else value)

    async def calls(self, first: Any, then: Any, settle: Any) -> None:
        turns, call = 0, first
        while call is not None:
            turns += 1
            call = then(await self.call(*call))
            settle()
            if turns % TURNS == 0:
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        pass


class System:
    def client(self, address: tuple[str, int], session: str) -> Instant:
        return Instant()


async def loop(seconds: float) -> float:
    """Operations per second of 20 clients in one trio loop, generator and recorder included."""
    workload = registry.load("register", {})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        recorder = Recorder(Path(folder) / "history.jsonl", header())
        system: Any = System()
        clients = [
            Client(
                ClientStream(client=number, stream=f"client/{number}", pinned=""),
                workload.generator(number, 20, stream(1, f"client/{number}")),
                system,
                recorder,
                {"n1": ("127.0.0.1", 1)},
                20,
                "bench",
                1,
                0.0,
                400,
            )
            for number in range(20)
        ]
        begin = time.perf_counter()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.run)
        span = time.perf_counter() - begin
        done = recorder.counts["ok"]
        recorder.close()
    return done / span


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    steal = Steal()
    events = [alone(arguments.seconds) for _ in range(arguments.runs)]
    operations = [trio.run(loop, arguments.seconds) for _ in range(arguments.runs)]
    print(f"{describe()}, steal {steal.share():.1%}")
    print(f"recorder alone:      {spread(events)} events/s")
    print(f"in the clients' loop: {spread(operations)} op/s")


if __name__ == "__main__":
    main()
