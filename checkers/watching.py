"""A run is checked while it goes on, by a process of its own: records that still grow in, the first violation out.

It reads what is appended to history.jsonl, feeds each part to an online checker (porcupine.online), and ends with the
first event that nothing explains; and it reads what is appended to the nodes' events, and ends with the first finding of
their monitors (watching_nodes.py). It only watches: the verdict on a run is made afterwards, from all its records. So
whatever it cannot do (a limit met, records that it cannot read) makes it stop watching, and it says why.

    python -P -m checkers.watching HISTORY OUT --memory-bytes 1073741824 --nodes NODES

Exit 0: OUT holds what it found. It goes on until then, or until it is killed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

import msgspec

import porcupine
from checkers.growing import Growing
from checkers.judge import params_of
from checkers.judging import Judge, resolve
from checkers.monitor import describe
from checkers.records.fitness import Operation
from checkers.records.reading import RecordsError, read_plan_facts
from checkers.records.schema import HistoryEvent, HistoryHeader
from checkers.watching_nodes import NodesWatch

FORMAT: Final = "driftline-watch"
VERSION: Final = 1
LOOK_EVERY_S: Final = 0.02
"""How long it waits for more at the end of the file."""
EVENT_S: Final = 2.0
"""For one event; then it has fallen behind too far to be of use."""
NICENESS: Final = 5
"""The nodes and the clients come first."""


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a watch found of which property. `event` is the index in history.jsonl at which it ended."""

    format: str = FORMAT
    version: int = VERSION
    verdict: Literal["illegal", "unknown"]
    event: int
    because: str
    property: str = "P-LIN"
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


class _History:
    """history.jsonl as it grows. RecordsError for one without a usable header."""

    def __init__(self, path: Path, wait: Callable[[], None]) -> None:
        self._file = Growing(path)
        while not (lines := self._file.more()):
            wait()
        first, _, rest = lines.partition(b"\n")
        try:
            self.header = msgspec.json.decode(first, type=HistoryHeader)
        except msgspec.DecodeError as error:
            raise RecordsError(
                f"{path}: its first line is no header of a history: {error}"
            ) from error
        self._first = rest

    def more(self) -> list[bytes]:
        """The lines that came since."""
        came, self._first = self._first, b""
        return (came or self._file.more()).splitlines()


def watch(
    history: Path, memory_bytes: int, wait: Callable[[], None], nodes: Path | None = None
) -> Watched:
    """Watch a run until something in it is illegal, or cannot be watched on; `wait` is called when there is nothing new.

    `nodes` is the folder of the nodes' events, None to watch the history alone. RecordsError for a history without a usable
    header.
    """
    growing = _History(history, wait)
    header = growing.header
    watching = Watch(resolve(header.workload.model, header.workload.params), memory_bytes)
    decoder = msgspec.json.Decoder(HistoryEvent)
    raft = None if nodes is None else _nodes_watch(history.parent, nodes, header)
    begin, waited_s, last = monotonic(), 0.0, -1

    def ended(found: Watched) -> Watched:
        return msgspec.structs.replace(found, busy_s=round(monotonic() - begin - waited_s, 3))

    while True:
        lines = growing.more()
        for line in lines:
            try:
                event = decoder.decode(line)
            except msgspec.DecodeError as error:
                return ended(
                    Watched(verdict="unknown", event=last, because=f"the line after it: {error}")
                )
            last = event.index
            found = watching.feed(event)
            if found is not None:
                return ended(found)
        read = 0
        if raft is not None:
            before = raft.read
            told = _look(raft, last, memory_bytes)
            if told is not None:
                return ended(told)
            read = raft.read - before
        if not lines and not read:
            idle = monotonic()
            wait()
            waited_s += monotonic() - idle


def _nodes_watch(run: Path, nodes: Path, header: HistoryHeader) -> NodesWatch:
    """What findings count: those that a plan with a seeded bug expects, else all."""
    path = run / "plan-facts.json"
    facts = read_plan_facts(path) if path.exists() else None
    wanted = facts.expect if facts is not None and facts.bugs else None
    ends = run / "run.jsonl"
    return NodesWatch(
        nodes, params_of(header, facts), wanted or None, ends if ends.exists() else None
    )


def _look(raft: NodesWatch, last: int, memory_bytes: int) -> Watched | None:
    try:
        finding = raft.look()
    except (OSError, ValueError) as error:
        because = " ".join(f"the records: {type(error).__name__}: {error}".split())
        return Watched(verdict="unknown", event=last, because=because)
    if finding is not None:
        return Watched(
            verdict="illegal", event=last, because=finding.text, property=finding.property
        )
    if _resident_bytes() > memory_bytes:
        because = "it holds more memory than is allowed"
        return Watched(verdict="unknown", event=last, because=because)
    return None


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def command(history: Path, out: Path, memory_bytes: int, nodes: Path | None = None) -> list[str]:
    """The command line of the child. Paths are made absolute: it may be started in any folder."""
    argv = [sys.executable, "-P", "-m", "checkers.watching"]
    argv += [os.path.abspath(history), os.path.abspath(out), "--memory-bytes", str(memory_bytes)]
    return argv if nodes is None else [*argv, "--nodes", os.path.abspath(nodes)]


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
    parser.add_argument("--nodes", type=Path, default=None)
    asked = parser.parse_args(argv)
    os.nice(NICENESS)
    # What stays is old soon: a collection need not look at it again and again.
    gc.freeze()
    try:
        found = watch(
            asked.history, asked.memory_bytes, lambda: sleep(LOOK_EVERY_S), nodes=asked.nodes
        )
    except RecordsError as error:
        found = Watched(verdict="unknown", event=-1, because=" ".join(str(error).split()))
    temporary = asked.out.with_name(f".{asked.out.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    temporary.replace(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
