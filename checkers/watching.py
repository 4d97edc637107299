"""P-LIN while a run goes on, as a process of its own: a history file that still grows in, the first violation out.

It reads what is appended to history.jsonl, feeds each part to an online checker (porcupine.online), and ends with the
first event that nothing explains. It only watches: the verdict on a run is made afterwards, from the whole history. So
whatever it cannot do (a limit met, records that it cannot read) makes it stop watching, and it says why.

    python -P -m checkers.watching HISTORY OUT --memory-bytes 1073741824

Exit 0: OUT holds what it found. It goes on until then, or until it is killed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

import msgspec

import porcupine
from checkers.judging import Judge, resolve
from checkers.monitor import describe
from checkers.records.fitness import Operation
from checkers.records.reading import RecordsError
from checkers.records.schema import HistoryEvent, HistoryHeader

FORMAT: Final = "driftline-watch"
VERSION: Final = 1
LOOK_EVERY_S: Final = 0.02
"""How long it waits for more at the end of the file."""
EVENT_S: Final = 2.0
"""For one event; then it has fallen behind too far to be of use."""
NICENESS: Final = 5
"""The nodes and the clients come first."""


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a watch found. `event` is the index in history.jsonl at which it ended."""

    format: str = FORMAT
    version: int = VERSION
    verdict: Literal["illegal", "unknown"]
    event: int
    because: str
    busy_s: float = 0.0
    """Seconds spent on the events, without waiting for them."""


class Watch:
    """One history as it grows. A part is watched by the model that its judge gives."""

    def __init__(self, judge: Judge, memory_bytes: int | None = None) -> None:
        self._judge = judge
        self._memory_bytes = memory_bytes
        self._parts: dict[Hashable, porcupine.OnlineChecker] = {}
        self._held: dict[Hashable, int] = {}
        self._total = 0
        # By number: the invoke, its part and input, its id there. None for what stands aside.
        self._open: dict[int, tuple[HistoryEvent, Hashable, object, int] | None] = {}

    def feed(self, event: HistoryEvent) -> Watched | None:
        """Take the next event of the history. What was found, if that ends the watch."""
        try:
            if event.type == "invoke":
                self._invoke(event)
                return None
            return self._complete(event)
        except (ValueError, TypeError, KeyError, porcupine.PorcupineError) as error:
            return self._unknown(event, " ".join(f"{type(error).__name__}: {error}".split()))

    def _invoke(self, event: HistoryEvent) -> None:
        point = self._judge.point(Operation(event, None))
        if point is None:
            self._open[event.op] = None
            return
        checker = self._parts.get(point.part)
        if checker is None:
            checker = self._parts[point.part] = porcupine.OnlineChecker(
                self._judge.model(point.part), memory_bytes=self._memory_bytes, timeout_s=EVENT_S
            )
        id = checker.invoke(event.process, point.input)
        self._open[event.op] = (event, point.part, point.input, id)

    def _complete(self, event: HistoryEvent) -> Watched | None:
        opened = self._open.pop(event.op)
        if opened is None:
            return None
        invoke, part, given, id = opened
        checker = self._parts[part]
        point = self._judge.point(Operation(invoke, event))
        if point is None or point.part != part or point.input != given:
            raise ValueError(f"what operation {event.op} is can only be told after its end")
        if point.outcome == "ok":
            checker.ok(id, point.output)
        elif point.outcome == "fail":
            checker.fail(id)
        else:
            checker.info(id)
        if checker.verdict == "illegal":
            return Watched(
                verdict="illegal", event=event.index, because=describe(Operation(invoke, event))
            )
        if checker.verdict == "unknown":
            return self._unknown(event, f"part {part}: {checker.cause}")
        self._weigh(part, checker)
        return None

    def _weigh(self, part: Hashable, checker: porcupine.OnlineChecker) -> None:
        """All parts together may hold no more than one may."""
        held = checker.held_bytes
        self._total += held - self._held.get(part, 0)
        self._held[part] = held
        if self._memory_bytes is not None and self._total > self._memory_bytes:
            raise ValueError("all parts together hold more memory than is allowed")

    @staticmethod
    def _unknown(event: HistoryEvent, because: str) -> Watched:
        return Watched(verdict="unknown", event=event.index, because=because)


def grown(history: Path, wait: Callable[[], None]) -> Iterator[bytes]:
    """The whole lines of a file, as they come; `wait` is called at its end."""
    rest = b""
    with history.open("rb", buffering=0) as file:
        while True:
            chunk = file.read(1 << 16)
            if not chunk:
                wait()
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def watch(history: Path, memory_bytes: int, wait: Callable[[], None]) -> Watched:
    """Watch a history until it is illegal, or cannot be watched on. RecordsError for one without a usable header."""
    lines = grown(history, wait)
    try:
        header = msgspec.json.decode(next(lines), type=HistoryHeader)
    except msgspec.DecodeError as error:
        raise RecordsError(
            f"{history}: its first line is no header of a history: {error}"
        ) from error
    watching = Watch(resolve(header.workload.model, header.workload.params), memory_bytes)
    decoder = msgspec.json.Decoder(HistoryEvent)
    busy_s = 0.0
    last = -1
    for line in lines:
        begin = monotonic()
        try:
            event = decoder.decode(line)
        except msgspec.DecodeError as error:
            return Watched(verdict="unknown", event=last, because=f"the line after it: {error}")
        last = event.index
        found = watching.feed(event)
        busy_s += monotonic() - begin
        if found is not None:
            return msgspec.structs.replace(found, busy_s=round(busy_s, 3))
    raise AssertionError("a file that grows has no end")


def command(history: Path, out: Path, memory_bytes: int) -> list[str]:
    """The command line of the child. Paths are made absolute: it may be started in any folder."""
    argv = [sys.executable, "-P", "-m", "checkers.watching"]
    argv += [os.path.abspath(history), os.path.abspath(out)]
    return [*argv, "--memory-bytes", str(memory_bytes)]


def load(out: Path) -> Watched | None:
    """What a watch left behind; None if it left nothing that can be read."""
    try:
        return msgspec.json.decode(out.read_bytes(), type=Watched)
    except (OSError, msgspec.DecodeError):
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """The child: see the module."""
    parser = argparse.ArgumentParser(prog="python -m checkers.watching")
    parser.add_argument("history", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--memory-bytes", type=int, required=True)
    asked = parser.parse_args(argv)
    os.nice(NICENESS)
    # What stays is old soon: a collection need not look at it again and again.
    gc.freeze()
    try:
        found = watch(asked.history, asked.memory_bytes, lambda: sleep(LOOK_EVERY_S))
    except RecordsError as error:
        found = Watched(verdict="unknown", event=-1, because=" ".join(str(error).split()))
    temporary = asked.out.with_name(f".{asked.out.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    temporary.replace(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
