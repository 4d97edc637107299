"""The nodes' events, and how their processes ended, while that is written: the first finding of the monitors of these.

Monitors are folds, so what they say of a beginning stands however it goes on. What also needs the clients' operations, faults
or the run's end (P-DU, P-LV, what logs say of failures) is not asked here.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from checkers.crashes import Crashes
from checkers.growing import Growing
from checkers.monitor import Handler, Monitor, Params
from checkers.raft_monitors import raft_monitors
from checkers.records import events
from checkers.records.schema import Finding, RunFact


class _Lives:
    """One node's event files, one after the other: the next life is read when all of this one was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = -1
        self._file: Growing | None = None
        self._headed = False

    def more(self) -> list[events.Event]:
        """What came since. ValueError for a line that is no event."""
        # Listed first: whoever writes a later life's file has ended, so what is read then is all of the life before.
        later = self._later()
        found = self._read()
        while not found and later:
            self._open(later.pop(0))
            found = self._read()
        return found

    def _later(self) -> list[int]:
        boots = (path.name.split(".")[1] for path in self._folder.glob("events.*.jsonl"))
        return sorted(int(boot) for boot in boots if boot.isdecimal() and int(boot) > self._boot)

    def _open(self, boot: int) -> None:
        self._file = Growing(self._folder / f"events.{boot}.jsonl")
        self._boot = boot
        self._headed = False

    def _read(self) -> list[events.Event]:
        if self._file is None or not (data := self._file.more()):
            return []
        if not self._headed:
            _, _, data = data.partition(b"\n")
            self._headed = True
        try:
            return events.decode_lines(data)
        except msgspec.ValidationError:
            return [events.decode(line) for line in data.splitlines()]


class _Facts:
    """What run.jsonl tells. ValueError for a line that is no fact of a run."""

    def __init__(self, path: Path) -> None:
        self._file = Growing(path)
        self._decoder: msgspec.json.Decoder[RunFact] = msgspec.json.Decoder(RunFact)
        self._headed = False

    def more(self) -> list[RunFact]:
        lines = self._file.more().splitlines()
        if lines and not self._headed:
            del lines[0]
            self._headed = True
        return [self._decoder.decode(line) for line in lines]


class NodesWatch:
    """`look` as often as you like: it reads what came since. `wanted` names the properties whose findings count (None: all)."""

    def __init__(
        self,
        folder: Path,
        params: Params,
        wanted: Collection[str] | None = None,
        facts: Path | None = None,
    ) -> None:
        """`folder` holds a folder of events for each node, `facts` is the run's run.jsonl."""
        self._monitors: list[Monitor] = [*raft_monitors(), Crashes()]
        self._handlers: dict[type, list[Handler]] = {}
        for monitor in self._monitors:
            monitor.start(params)
            for kind, handler in monitor.handlers.items():
                self._handlers.setdefault(kind, []).append(handler)
        self._counting = [m for m in self._monitors if wanted is None or m.property in wanted]
        self._sources: list[tuple[str, _Lives | _Facts]] = [
            (name, _Lives(folder / name)) for name in params.nodes
        ]
        if facts is not None:
            self._sources.append(("", _Facts(facts)))
        self.read = 0
        """Events and facts taken so far."""

    def look(self) -> Finding | None:
        """Take what came; the first finding. OSError and ValueError for files that cannot be read on."""
        nobody: list[Handler] = []
        for node, source in self._sources:
            came = source.more()
            self.read += len(came)
            for record in came:
                for handler in self._handlers.get(type(record), nobody):
                    handler(node, record)
        found = (monitor.findings for monitor in self._counting if monitor.findings)
        return min((findings[0] for findings in found), key=lambda one: one.time, default=None)
