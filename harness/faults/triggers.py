"""Follows the nodes' own event files as they grow, for steps that start on an event ("on vote_granted at X: kill X")."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from harness.plan import Trigger

PACE_S = 0.004
"""A kill must come within a few milliseconds of what triggered it."""


class Happened(msgspec.Struct, frozen=True):
    """What started a step: a line of events.BOOT.jsonl of `node`. `time`: when it was made, ns from the run's origin."""

    node: str
    boot: int
    seq: int
    event: str
    time: int


class _Waiting:
    """One step that waits for the `left`-th match from now on."""

    def __init__(self, trigger: Trigger, names: Callable[[str], list[str]], after: int) -> None:
        self.trigger = trigger
        self.names = names
        self.after = after
        self.left = trigger.count
        self.event = trio.Event()
        self.happened: Happened | None = None

    def matches(self, node: str, event: dict[str, Any]) -> bool:
        trigger = self.trigger
        return (
            event["event"] == trigger.event
            and event["t0"] > self.after
            and node in self.names(trigger.node)
            and all(self._is(event.get(field), value) for field, value in trigger.where.items())
        )

    def _is(self, found: Any, wanted: Any) -> bool:
        if isinstance(wanted, str) and wanted.startswith("$"):
            return found in self.names(wanted)
        return bool(found == wanted)


class NodeEvents:
    """Tails nodes/NAME/events.BOOT.jsonl. `follow` runs only where a plan has triggers: it costs CPU."""

    def __init__(self, folder: Path, nodes: list[str]) -> None:
        self._folder = folder
        self._nodes = nodes
        self._waiting: list[_Waiting] = []
        self._files: dict[tuple[str, int], tuple[int, bytes]] = {}
        self._newest_ns = 0

    def now(self) -> int:
        """The newest true time (from origin) among the events seen so far."""
        return self._newest_ns

    async def wait(
        self, trigger: Trigger, names: Callable[[str], list[str]], after: int
    ) -> Happened:
        """The event newer than `after` that the trigger asks for; `names` tells who a role or "$NAME" is now."""
        waiting = _Waiting(trigger, names, max(after, self._newest_ns))
        self._waiting.append(waiting)
        try:
            await waiting.event.wait()
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        assert waiting.happened is not None
        return waiting.happened

    async def follow(self, boots: Callable[[str], int]) -> None:
        """Read what is new, for ever; `boots` tells each node's newest life."""
        decoder = msgspec.json.Decoder()
        try:
            while True:
                for node in self._nodes:
                    self._read(node, boots(node), decoder)
                await trio.sleep(PACE_S)
        finally:
            for fd, _ in self._files.values():
                os.close(fd)
            self._files.clear()

    def _read(self, node: str, boot: int, decoder: msgspec.json.Decoder[Any]) -> None:
        if (node, boot) not in self._files:
            path = self._folder / node / f"events.{boot}.jsonl"
            try:
                self._files[node, boot] = (os.open(path, os.O_RDONLY | os.O_CLOEXEC), b"")
            except FileNotFoundError:
                return
        fd, rest = self._files[node, boot]
        data = os.read(fd, 1 << 20)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        self._files[node, boot] = (fd, rest)
        for line in lines:
            event = decoder.decode(line)
            self._newest_ns = max(self._newest_ns, event.get("t0", 0))
            if self._waiting and "event" in event:
                self._match(node, event)

    def _match(self, node: str, event: dict[str, Any]) -> None:
        for waiting in list(self._waiting):
            if not waiting.matches(node, event):
                continue
            waiting.left -= 1
            if waiting.left == 0:
                self._waiting.remove(waiting)
                waiting.happened = Happened(
                    node, event["boot"], event["seq"], event["event"], event["t0"]
                )
                waiting.event.set()
