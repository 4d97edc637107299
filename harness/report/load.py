"""A run as its folder tells it, for people to look at.

Its rule: whatever is there is shown and whatever is not is named in `notes`. Judging is the checkers' work and is strict; a
page about a broken run must still come up, so that reading here never raises for what a file holds.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from checkers.records.schema import (
    FAULTS,
    HISTORY,
    NODE_EVENTS,
    RUN_FACTS,
    FaultRecord,
    HistoryEvent,
    HistoryHeader,
    NodeEvent,
    PlanFacts,
    RunFact,
    RunFactsHeader,
    Verdict,
)

T = TypeVar("T")

WITHOUT_HEAL: Final = frozenset({"vote", "clock_offset"})
"""Kinds that are over once they happened."""

NODE_EVENT_FIELDS: Final = frozenset({"node", "seq", "t0", "t1", "clock", "boot", "term", "event"})


class Operation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An invoke and its completion; `end` is None and `outcome` "info" where none was recorded. Times in ns."""

    op: int
    process: int
    f: str
    key: str | None
    value: Any
    node: str | None
    mode: str | None
    begin: int
    end: int | None
    outcome: Literal["ok", "fail", "info"]
    result: Any
    error: str | None
    term: int | None
    log_index: int | None
    final: bool
    invoke_index: int
    complete_index: int | None


class FaultStep(msgspec.Struct, kw_only=True):
    """One step of the schedule with its three records."""

    step: str
    kind: str
    asked: FaultRecord | None = None
    installed: FaultRecord | None = None
    healed: FaultRecord | None = None

    @property
    def outcome(self) -> str:
        return (self.installed.outcome if self.installed else None) or "asked"

    @property
    def begin(self) -> int:
        first = self.installed or self.asked or self.healed
        return first.time_begin if first else 0

    def in_force(self, end_of_run: int) -> tuple[int, int] | None:
        """From the install to the end of the heal; None for a step that did nothing."""
        if self.installed is None or self.installed.outcome == "skipped":
            return None
        if self.healed is not None:
            return self.installed.time_begin, self.healed.time_end
        end = self.installed.time_end if self.kind in WITHOUT_HEAL else end_of_run
        return self.installed.time_begin, end

    @property
    def unhealed(self) -> bool:
        return self.healed is None and self.kind not in WITHOUT_HEAL

    def merged(self) -> tuple[dict[str, Any], dict[str, Any]]:
        asked: dict[str, Any] = {}
        targets: dict[str, Any] = {}
        for record in (self.asked, self.installed):
            if record is not None:
                asked |= record.asked
                targets |= record.targets
        return asked, targets


class LoadedRun(msgspec.Struct, kw_only=True):
    directory: Path
    verdict: Verdict | None = None
    header: HistoryHeader | None = None
    facts_header: RunFactsHeader | None = None
    plan_facts: PlanFacts | None = None
    plan: dict[str, Any] = {}
    operations: list[Operation] = []
    steps: list[FaultStep] = []
    facts: list[RunFact] = []
    node_events: dict[str, list[NodeEvent]] = {}
    notes: list[str] = []

    @property
    def name(self) -> str:
        return self.header.run if self.header else self.directory.name

    @property
    def end_ns(self) -> int:
        times = [0, *(op.begin if op.end is None else op.end for op in self.operations[-500:])]
        times += [op.begin for op in self.operations[-1:]]
        times += [fact.time for fact in self.facts]
        times += [events[-1].t1 for events in self.node_events.values() if events]
        return max(times)

    @property
    def nodes(self) -> list[str]:
        if self.header:
            return self.header.nodes
        return sorted(self.node_events)


def load(directory: Path) -> LoadedRun:
    """Read what the folder holds. Raises nothing for damaged or missing files: see `notes`."""
    run = LoadedRun(directory=directory)
    run.verdict = _document(run, directory / "verdict.json", Verdict)
    run.plan_facts = _document(run, directory / "plan-facts.json", PlanFacts)
    expanded = _document(run, directory / "expanded.json", dict[str, Any])
    if expanded and isinstance(expanded.get("plan"), dict):
        run.plan = expanded["plan"]
    for path in sorted(directory.glob("*.jsonl")):
        lines = _lines(run, path)
        if lines:
            _take(run, path, lines)
    for path in sorted(directory.glob("nodes/*/events.*.jsonl"), key=_boot_of):
        lines = _lines(run, path)
        if lines:
            _take_node_events(run, path, lines)
    for events in run.node_events.values():
        events.sort(key=lambda event: (event.t0, event.boot, event.seq))
    if run.header is None:
        run.notes.append("history.jsonl: none that can be read")
    return run


def _boot_of(path: Path) -> tuple[str, int]:
    boot = path.name.split(".")[1]
    return path.parent.name, int(boot) if boot.isdigit() else 0


def _document(run: LoadedRun, path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        if path.name != "expanded.json":
            run.notes.append(f"{path.name}: missing")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        run.notes.append(f"{path.name}: cannot be read ({error})")
    return None


def _lines(run: LoadedRun, path: Path) -> list[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        run.notes.append(f"{path.relative_to(run.directory)}: cannot be read ({error.strerror})")
        return []
    lines = data.split(b"\n")
    if lines.pop():
        run.notes.append(f"{path.relative_to(run.directory)}: its torn last line is left out")
    return lines


def _decode_all(
    run: LoadedRun, path: Path, lines: list[bytes], decoder: msgspec.json.Decoder[T]
) -> list[T]:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        whole: list[T] = decoder.decode_lines(b"\n".join(lines))
        if len(whole) == len(lines):
            return whole
    items: list[T] = []
    for number, line in enumerate(lines, start=2):
        try:
            items.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            run.notes.append(
                f"{path.relative_to(run.directory)}: line {number} and the rest are left out ({error})"
            )
            break
    return items


def _take(run: LoadedRun, path: Path, lines: list[bytes]) -> None:
    """A file is what its header line says it is."""
    try:
        header = msgspec.json.decode(lines[0])
        kind = header.get("format") if isinstance(header, dict) else None
        if kind == HISTORY:
            run.header = msgspec.convert(header, HistoryHeader)
            events = _decode_all(run, path, lines[1:], msgspec.json.Decoder(HistoryEvent))
            run.operations = pair(events)
        elif kind == FAULTS:
            records = _decode_all(run, path, lines[1:], msgspec.json.Decoder(FaultRecord))
            run.steps = by_step(records)
        elif kind == RUN_FACTS:
            run.facts_header = msgspec.convert(header, RunFactsHeader)
            decoder: msgspec.json.Decoder[RunFact] = msgspec.json.Decoder(RunFact)
            run.facts = _decode_all(run, path, lines[1:], decoder)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        run.notes.append(f"{path.name}: its header cannot be read ({error})")


def _take_node_events(run: LoadedRun, path: Path, lines: list[bytes]) -> None:
    try:
        header = msgspec.json.decode(lines[0])
    except msgspec.DecodeError:
        header = None
    if not isinstance(header, dict) or header.get("format") != NODE_EVENTS:
        run.notes.append(f"{path.relative_to(run.directory)}: its header cannot be read")
        return
    node, boot = str(header.get("node", path.parent.name)), int(header.get("boot", 0))
    decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
    events = run.node_events.setdefault(node, [])
    for number, line in enumerate(_decode_all(run, path, lines[1:], decoder)):
        fields = line.get("fields")
        events.append(
            NodeEvent(
                node=node,
                seq=line.get("seq", number),
                t0=line.get("t0", 0),
                t1=line.get("t1", line.get("t0", 0)),
                clock=line.get("clock", 0),
                boot=line.get("boot", boot),
                term=line.get("term", 0),
                event=str(line.get("event", "")),
                fields=fields
                if isinstance(fields, dict)
                else {name: item for name, item in line.items() if name not in NODE_EVENT_FIELDS},
            )
        )


def pair(events: list[HistoryEvent]) -> list[Operation]:
    """Invokes with their completions, in the order of the invokes; completions without an invoke are left out."""
    completions = {event.op: event for event in events if event.type != "invoke"}
    operations: list[Operation] = []
    for event in events:
        if event.type != "invoke":
            continue
        done = completions.get(event.op)
        operations.append(
            Operation(
                op=event.op,
                process=event.process,
                f=event.f,
                key=event.key,
                value=event.value,
                node=(done.node if done and done.node else event.node),
                mode=event.mode or (done.mode if done else None),
                begin=event.time,
                end=done.time if done else None,
                outcome="info" if done is None or done.type == "invoke" else done.type,
                result=done.value if done else None,
                error=done.error if done else "no completion recorded",
                term=done.term if done else None,
                log_index=done.log_index if done else None,
                final=event.final,
                invoke_index=event.index,
                complete_index=done.index if done else None,
            )
        )
    return operations


def by_step(records: list[FaultRecord]) -> list[FaultStep]:
    """The records of each step together; a step that repeats (asked again) begins a new row."""
    steps: list[FaultStep] = []
    latest: dict[str, FaultStep] = {}
    for record in records:
        step = latest.get(record.step)
        if step is None or (record.action == "asked" and step.asked is not None):
            step = FaultStep(step=record.step, kind=record.kind)
            latest[record.step] = step
            steps.append(step)
        setattr(step, record.action, record)
    return steps
