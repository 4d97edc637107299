"""A node's own account of one life: events.BOOT.jsonl, one event a line, in the kernel's hands before anything leaves.

`t0` is true time when the node's clock was read for the step that made the event, or before, `clock` that reading, `t1` true
time after the step (at the writing). Lines are collected over one turn of the loop and written by one call. The file is made
exclusively: a boot number is used once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from node.raft.effects import Event, Options

FORMAT: Final = "driftline-node-events"
VERSION: Final = 1

_encode: Final = msgspec.json.Encoder().encode


def file_name(boot: int) -> str:
    return f"events.{boot}.jsonl"


def header(*, node: str, boot: int, origin_ns: int, group: str, options: Options) -> bytes:
    """The first line of an event file."""
    return (
        _encode(
            {
                "format": FORMAT,
                "version": VERSION,
                "node": node,
                "boot": boot,
                "origin_ns": origin_ns,
                "group": group,
                "election_timeout_ms": options.election_timeout_ms,
                "max_clock_drift_ms": options.max_clock_drift_ms,
                "leader_lease": options.leader_lease,
                "bugs": list(options.bugs),
            }
        )
        + b"\n"
    )


class EventLog:
    """Collects events with `add`, hands them to the kernel with `flush`. `count` is the number of events so far."""

    def __init__(
        self,
        folder: str,
        *,
        node: str,
        boot: int,
        origin_ns: int,
        group: str,
        options: Options,
        true: Callable[[], int],
    ) -> None:
        """Makes the folder and the file; FileExistsError when this boot has one already."""
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, file_name(boot))
        self._fd = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._boot = boot
        self._true = true
        self._waiting: list[tuple[int, int, Event]] = []
        self.count = 0
        _write_all(
            self._fd,
            header(node=node, boot=boot, origin_ns=origin_ns, group=group, options=options),
        )

    def __repr__(self) -> str:
        return f"<EventLog {self.path} count={self.count} waiting={len(self._waiting)}>"

    def add(self, t0: int, clock: int, events: Iterable[Event]) -> None:
        """Events of one step, whose clock reading `clock` was taken at true time `t0` or after."""
        for event in events:
            self._waiting.append((t0, clock, event))

    def flush(self) -> None:
        """Everything added is in the kernel's hands when this returns. OSError when it cannot be."""
        if not self._waiting:
            return
        t1 = self._true()
        boot = self._boot
        seq = self.count
        lines: list[bytes] = []
        for t0, clock, event in self._waiting:
            lines.append(
                _encode(
                    {
                        "seq": seq,
                        "t0": t0,
                        "t1": t1,
                        "clock": clock,
                        "boot": boot,
                        "term": event.term,
                        "event": event.name,
                        **event.fields,
                    }
                )
            )
            seq += 1
        lines.append(b"")
        self._waiting.clear()
        self.count = seq
        _write_all(self._fd, b"\n".join(lines))

    def close(self) -> None:
        os.close(self._fd)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])
