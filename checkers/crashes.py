"""P-CRASH: no member ends by itself, or says that it failed.

An exit that the harness did not ask for is a finding with the tail of its stderr. So is a log that holds a
traceback, a failed assertion, a panic or an ERROR line, although the process went on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from checkers.monitor import Completeness, Handler, Params, Result, conclude
from checkers.records.schema import Evidence, Finding, ProcessExited, ProcessStarted

LOG_BYTES_MAX: Final = 4 << 20
"""Of each log the last so many are looked at: a member that floods its log must not hold up the verdict."""
TAIL_LINES: Final = 12
_BAD: Final = re.compile(
    rb"^Traceback \(most recent call last\)|\bAssertionError\b|\bpanic(ked)?\b|\bERROR\b|^Fatal Python error",
    re.MULTILINE,
)


class LogTrouble(msgspec.Struct, frozen=True):
    """A log of one life that should not say what it says. `file` is relative to the run folder."""

    node: str
    boot: int
    file: str
    line: int
    text: str


def scan_logs(run_dir: Path) -> Iterator[LogTrouble]:
    """The first trouble of each log: nodes/NAME/{err,out}.BOOT.log. Logs that cannot be read are passed over."""
    for path in sorted(
        [*run_dir.glob("nodes/*/err.*.log"), *run_dir.glob("nodes/*/out.*.log")],
    ):
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - LOG_BYTES_MAX))
                data = file.read()
        except OSError:
            continue
        found = _BAD.search(data)
        if found is None:
            continue
        begin = data.rfind(b"\n", 0, found.start()) + 1
        lines = data[begin:].decode("utf-8", "replace").splitlines()
        number = path.name.split(".")[1]
        yield LogTrouble(
            node=path.parent.name,
            boot=int(number) if number.isdecimal() else 0,
            file=path.relative_to(run_dir).as_posix(),
            line=data.count(b"\n", 0, begin) + 1,
            text="\n".join(lines[:TAIL_LINES]),
        )


class Crashes:
    property = "P-CRASH"
    title = "no crash"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            ProcessStarted: self._started,
            ProcessExited: self._exited,
            LogTrouble: self._trouble,
        }
        self.findings: list[Finding] = []
        self._lives = 0
        self._exits = 0
        self._crashed: set[tuple[str, int]] = set()
        self._troubles: list[LogTrouble] = []

    def start(self, params: Params) -> None:
        """Nothing depends on the parameters."""

    def _started(self, _: str, fact: ProcessStarted) -> None:
        self._lives += 1

    def _exited(self, _: str, fact: ProcessExited) -> None:
        self._exits += 1
        if fact.asked:
            return
        self._crashed.add((fact.node, fact.boot))
        how = f"by signal {fact.signal}" if fact.signal is not None else f"with status {fact.code}"
        last = next((line for line in reversed(fact.stderr.splitlines()) if line.strip()), "")
        self.findings.append(
            Finding(
                property=self.property,
                text=f"{fact.node} (boot {fact.boot}) ended {how}, and nobody had asked it to"
                + (f": {last.strip()}" if last else ""),
                evidence=[Evidence("run.jsonl", fact.index, fact.time, f"{fact.node} ended {how}")],
                time=fact.time,
                details={"node": fact.node, "boot": fact.boot, "stderr": fact.stderr},
            )
        )

    def _trouble(self, _: str, trouble: LogTrouble) -> None:
        self._troubles.append(trouble)

    def finish(self, completeness: Completeness) -> Result:
        for trouble in self._troubles:
            life = (trouble.node, trouble.boot)
            if life in self._crashed:
                continue  # Its exit tells it already.
            self._crashed.add(life)
            first = trouble.text.splitlines()[0].strip()
            last = trouble.text.splitlines()[-1].strip()
            said = first if first == last else f"{first} ... {last}"
            self.findings.append(
                Finding(
                    property=self.property,
                    text=f"{trouble.node} (boot {trouble.boot}) logged a failure: {said}",
                    evidence=[Evidence(trouble.file, trouble.line, 0, first)],
                    details={"node": trouble.node, "boot": trouble.boot, "log": trouble.text},
                )
            )
        statistics = {"lives": self._lives, "exits": self._exits}
        seen = self._lives > 0
        return conclude(self.findings, statistics, seen, "" if seen else "no process was recorded")
