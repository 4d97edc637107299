"""The only writers of a run's records. Plain synchronous objects: stamp and write are one step of one thread.

An event is in the kernel's hands before its call returns, unless it is to be held: then it is when `flush` returns. A client
sends nothing before its invocation is there, so a kill -9 of the harness loses nothing that had already been sent.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from checkers.records import schema


def monotonic_ns() -> int:
    """The host's CLOCK_MONOTONIC: the one clock that all records of a run share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Lines:
    """An append-only file of JSON lines, created new: an existing one is an error, never overwritten."""

    def __init__(self, path: Path, header: msgspec.Struct) -> None:
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._buffer = bytearray()
        self.write(header)

    def hold(self, record: msgspec.Struct) -> None:
        """Keep a record for the next write."""
        self._encoder.encode_into(record, self._buffer, -1)
        self._buffer += b"\n"

    def write(self, record: msgspec.Struct) -> None:
        self.hold(record)
        self.flush()

    def flush(self) -> None:
        """Everything held is in the kernel's hands when this returns."""
        # What was written is let go at once: after a full disk it must not be written a second time.
        while self._buffer:
            del self._buffer[: os.write(self._fd, self._buffer)]

    def close(self) -> None:
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1


class Recorder:
    """Writes history.jsonl. `invoke` returns the op's number, which its completion names."""

    def __init__(self, path: Path, header: schema.HistoryHeader) -> None:
        self._lines = Lines(path, header)
        self._origin = header.origin_ns
        self._index = 0
        self._op = 0
        self.counts: dict[str, int] = {"invoke": 0, "ok": 0, "fail": 0, "info": 0}

    def invoke(
        self,
        process: int,
        f: str,
        key: str | None,
        value: Any,
        node: str,
        mode: str | None = None,
        final: bool = False,
        hold: bool = False,
    ) -> int:
        """Record that an operation is asked for; returns its number. `hold`: the next record, or `flush`, writes it."""
        op = self._op
        self._op += 1
        index = self._index
        self._index += 1
        self.counts["invoke"] += 1
        write = self._lines.hold if hold else self._lines.write
        write(
            schema.HistoryEvent(
                index=index,
                time=time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._origin,
                type="invoke",
                process=process,
                op=op,
                f=f,
                key=key,
                value=value,
                node=node,
                mode=mode,
                final=final,
            )
        )
        return op

    def complete(
        self,
        op: int,
        type_: schema.OutcomeType,
        process: int,
        f: str,
        key: str | None,
        value: Any,
        node: str,
        mode: str | None = None,
        term: int | None = None,
        log_index: int | None = None,
        error: str | None = None,
        final: bool = False,
        hold: bool = False,
    ) -> int:
        """Record the completion of `op`; returns its time. `hold`: the next record, or `flush`, writes it."""
        index = self._index
        self._index += 1
        self.counts[type_] += 1
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._origin
        write = self._lines.hold if hold else self._lines.write
        write(
            schema.HistoryEvent(
                index=index,
                time=stamp,
                type=type_,
                process=process,
                op=op,
                f=f,
                key=key,
                value=value,
                node=node,
                mode=mode,
                term=term,
                log_index=log_index,
                error=error,
                final=final,
            )
        )
        return stamp

    def flush(self) -> None:
        """Write what is held."""
        self._lines.flush()

    def close(self) -> None:
        self._lines.close()


class FaultLog:
    """Writes faults.jsonl."""

    def __init__(self, path: Path, header: schema.FaultsHeader) -> None:
        self._lines = Lines(path, header)
        self._index = 0

    def write(self, **fields: Any) -> schema.FaultRecord:
        record = schema.FaultRecord(index=self._index, **fields)
        self._index += 1
        self._lines.write(record)
        return record

    def close(self) -> None:
        self._lines.close()


class FactLog:
    """Writes run.jsonl: phases, processes, clock samples, stalls, incidents."""

    def __init__(self, path: Path, header: schema.RunFactsHeader) -> None:
        self._lines = Lines(path, header)
        self._origin = header.origin_ns
        self._index = 0
        self.phases: list[schema.Phase] = []

    def now(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._origin

    def _next(self) -> dict[str, int]:
        index = self._index
        self._index += 1
        return {"index": index, "time": self.now()}

    def phase(self, name: str, proved: bool = True, nodes: list[str] | None = None) -> schema.Phase:
        fact = schema.Phase(**self._next(), name=name, proved=proved, nodes=nodes or [])
        self.phases.append(fact)
        self._lines.write(fact)
        return fact

    def started(self, node: str, boot: int, pid: int) -> None:
        self._lines.write(schema.ProcessStarted(**self._next(), node=node, boot=boot, pid=pid))

    def exited(
        self, node: str, boot: int, code: int | None, signal: int | None, asked: bool, stderr: str
    ) -> None:
        self._lines.write(
            schema.ProcessExited(
                **self._next(),
                node=node,
                boot=boot,
                code=code,
                signal=signal,
                asked=asked,
                stderr=stderr,
            )
        )

    def clock(self, node: str, boot: int, before: int, clock: int, after: int) -> None:
        self._lines.write(
            schema.ClockSample(
                **self._next(), node=node, boot=boot, before=before, clock=clock, after=after
            )
        )

    def stall(self, lag_ns: int) -> None:
        self._lines.write(schema.HostStall(**self._next(), lag_ns=lag_ns))

    def link_incident(self, server: str, because: str, begin: int, repaired: bool) -> None:
        self._lines.write(
            schema.LinkIncident(
                **self._next(), begin=begin, server=server, because=because, repaired=repaired
            )
        )

    def interrupted(self, by: str, harness_error: str | None = None) -> None:
        self._lines.write(schema.Interrupted(**self._next(), by=by, harness_error=harness_error))

    def watch_ended(
        self,
        verdict: Literal["illegal", "unknown"],
        event: int,
        because: str,
        stopped: bool,
        violated: str,
    ) -> None:
        self._lines.write(
            schema.WatchEnded(
                **self._next(),
                verdict=verdict,
                event=event,
                because=because,
                stopped=stopped,
                property=violated,
            )
        )

    def close(self) -> None:
        self._lines.close()
