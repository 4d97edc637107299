"""Who watches a run at the terminal: a live panel, plain lines, or JSON lines. All three are Observers.

Their one rule: they are called from the run's own task, so they return at once and never raise. A terminal that went away
(a closed pipe) silences them and leaves the run alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import deque
from typing import Any, Final, TextIO

from harness.observer import Observer, Progress

PROGRESS_EVERY_S: Final = 1.0
NOTES_SHOWN: Final = 8
OUTCOMES: Final = ("ok", "fail", "info")


def choose(*, json_lines: bool, plain: bool, stream: TextIO | None = None) -> Observer:
    """The live panel only on a terminal that can move its cursor."""
    out = sys.stdout if stream is None else stream
    if json_lines:
        return JsonLines(out)
    if plain or not is_terminal(out):
        return PlainLines(out)
    return LivePanel(out)


def is_terminal(stream: TextIO) -> bool:
    import os

    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def close(observer: Observer) -> None:
    """Give the terminal back; only the live panel holds it."""
    if isinstance(observer, LivePanel):
        observer.close()


class _Clock:
    """Seconds since the run's start, for the lines only: nothing recorded rests on it."""

    def __init__(self) -> None:
        self._origin = time.monotonic()

    def restart(self) -> None:
        self._origin = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._origin


class _Changes:
    """Turns snapshots into news: a new phase, a new leader. `note` may have told a leader change already."""

    def __init__(self) -> None:
        self.phase = ""
        self.leader = ""
        self.term = 0

    def told(self, fields: dict[str, Any]) -> bool:
        """Is this note old news? Remembers what it tells of the phase and the leader."""
        old = False
        if phase := fields.get("phase"):
            old = phase == self.phase
            self.phase = str(phase)
        if "leader" in fields and "term" in fields:
            now = (str(fields["leader"]), int(fields["term"]))
            old = now == (self.leader, self.term)
            self.leader, self.term = now
        return old

    def of(self, progress: Progress) -> list[str]:
        news = []
        if progress.phase != self.phase:
            self.phase = progress.phase
            news.append(f"phase {progress.phase}")
        if progress.leader and (progress.leader, progress.term) != (self.leader, self.term):
            self.leader, self.term = progress.leader, progress.term
            news.append(f"{progress.leader} leads in term {progress.term}")
        return news


class PlainLines:
    """One line for each thing worth telling, with seconds since the start; a summary of rates every five seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._clock = _Clock()
        self._changes = _Changes()
        self._last_rates_s = 0.0

    def _line(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"{self._clock.seconds:7.2f}  {text}", file=self._out, flush=True)

    def started(self, run_dir: str, seed: int, plan_name: str) -> None:
        self._clock.restart()
        self._changes = _Changes()
        self._last_rates_s = 0.0
        self._line(f"run {run_dir}  plan {plan_name}  seed {seed}")

    def progress(self, progress: Progress) -> None:
        for news in self._changes.of(progress):
            self._line(news)
        if self._clock.seconds - self._last_rates_s >= 5.0 and progress.outcomes:
            self._last_rates_s = self._clock.seconds
            rates = "  ".join(f"{name} {progress.outcomes.get(name, 0):.0f}/s" for name in OUTCOMES)
            self._line(f"{rates}  {progress.seconds_left:.0f} s left in {progress.phase}")

    def note(self, text: str, fields: dict[str, Any]) -> None:
        # Phases and leaders come with the snapshots too; whichever is first tells it.
        if not self._changes.told(fields):
            self._line(text)


class JsonLines:
    """One JSON object a line, each with `what` and `at_s`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._clock = _Clock()
        self._last_progress_s = -PROGRESS_EVERY_S

    def emit(self, what: str, fields: dict[str, Any]) -> None:
        line = {**fields, "what": what, "at_s": round(self._clock.seconds, 3)}
        with contextlib.suppress(OSError, ValueError):
            print(json.dumps(line, default=str), file=self._out, flush=True)

    def started(self, run_dir: str, seed: int, plan_name: str) -> None:
        self._clock.restart()
        self._last_progress_s = -PROGRESS_EVERY_S
        self.emit("started", {"run_dir": run_dir, "seed": seed, "plan": plan_name})

    def progress(self, progress: Progress) -> None:
        if self._clock.seconds - self._last_progress_s >= PROGRESS_EVERY_S:
            self._last_progress_s = self._clock.seconds
            self.emit(
                "progress",
                {
                    "phase": progress.phase,
                    "seconds_left": round(progress.seconds_left, 2),
                    "outcomes": progress.outcomes,
                    "totals": progress.totals,
                    "leader": progress.leader,
                    "term": progress.term,
                    "faults": progress.faults,
                },
            )

    def note(self, text: str, fields: dict[str, Any]) -> None:
        self.emit("note", {"text": text, "fields": fields})


class LivePanel:
    """A panel of fixed height that is drawn over itself: phase, rates, leader, faults in force, the latest news."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._clock = _Clock()
        self._changes = _Changes()
        self._notes: deque[tuple[float, str]] = deque(maxlen=NOTES_SHOWN)
        self._rates: deque[float] = deque(maxlen=40)
        self._progress: Progress | None = None
        self._title = ""
        self._live = Live(
            console=Console(file=out),
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
        )

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()

    def started(self, run_dir: str, seed: int, plan_name: str) -> None:
        self._clock.restart()
        self._changes = _Changes()
        self._notes.clear()
        self._rates.clear()
        self._title = f"{plan_name}  seed {seed}"
        self._notes.append((0.0, run_dir))
        with contextlib.suppress(OSError, ValueError):
            self._live.start()
        self._draw()

    def progress(self, progress: Progress) -> None:
        self._progress = progress
        self._rates.append(sum(progress.outcomes.values()))
        for news in self._changes.of(progress):
            self._notes.append((self._clock.seconds, news))
        self._draw()

    def note(self, text: str, fields: dict[str, Any]) -> None:
        if self._changes.told(fields):
            return
        self._notes.append((self._clock.seconds, text))
        self._draw()

    def _draw(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._live.update(self._panel(), refresh=True)

    def _panel(self) -> Any:
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        now = self._progress or Progress(phase="up", seconds_left=0.0)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        left = f"   {now.seconds_left:.0f} s left" if now.seconds_left > 0 else ""
        grid.add_row("phase", Text.assemble((now.phase, "bold"), left))
        rates = Text()
        for name, style in zip(OUTCOMES, ("green", "yellow", "magenta"), strict=True):
            rates.append(f"{now.outcomes.get(name, 0):5.0f}/s ", style)
            rates.append(f"{name} ({now.totals.get(name, 0)})   ", "dim")
        grid.add_row("operations", rates)
        grid.add_row("", Text(_sparkline(self._rates), "green"))
        leader = f"{now.leader} in term {now.term}" if now.leader else "none"
        grid.add_row("leader", Text(leader, "bold cyan" if now.leader else "yellow"))
        faults = Text("\n".join(now.faults[:6]) or "none", "red" if now.faults else "dim")
        grid.add_row("faults", faults)
        notes = Text()
        for at_s, text in self._notes:
            notes.append(f"{at_s:6.1f}  ", "dim")
            notes.append(text + "\n")
        grid.add_row("", "")
        grid.add_row("news", notes)
        title = f"[bold]driftline[/]  {self._title}  {self._clock.seconds:.0f} s"
        return Panel(grid, title=title, title_align="left", border_style="dim", width=None)


def _sparkline(values: deque[float]) -> str:
    top = max(values, default=0.0)
    if top <= 0:
        return " "
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * item / top))] for item in values)
