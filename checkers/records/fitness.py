"""Can these records be what they say they are? Well-formed lines that cannot be are unfit: nobody may judge by them.

A history is a set of processes, each strictly sequential (Herlihy and Wing 1990, "well-formed"): a process calls,
gets its answer, calls again; after an unknown outcome it never speaks again. Time does not go back, and no line
is missing. A breach is always a fault of the recording, never of the system: it comes before every verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from checkers.records.reading import NodeLife
from checkers.records.schema import ClockSample, FaultRecord, HistoryEvent, OutcomeType, RunFact

TIME_MAX: Final = 1 << 62
"""No clock that counts from a run's origin comes to this many ns: 146 years."""
REASONS_MAX: Final = 10
"""As many reasons are told; the rest is counted."""


class Operation(msgspec.Struct, frozen=True, gc=False):
    """An invoke and its completion; without one, nobody knows what became of it."""

    invoke: HistoryEvent
    completion: HistoryEvent | None

    @property
    def outcome(self) -> OutcomeType:
        completion = self.completion
        if completion is None or completion.type == "invoke":
            return "info"
        return completion.type


def operations(events: Iterable[HistoryEvent]) -> list[Operation]:
    """Invokes with their completions, in the order of the invokes. Of unfit records, what can be paired."""
    events = list(events)
    completions = {event.op: event for event in events if event.type != "invoke"}
    get = completions.get
    return [Operation(event, get(event.op)) for event in events if event.type == "invoke"]


def unfit_reasons(events: Sequence[HistoryEvent]) -> list[str]:
    """Why these cannot be a history, one line each; empty if they can."""
    reasons: list[str] = []
    invoked: dict[int, HistoryEvent] = {}
    completed: dict[int, HistoryEvent] = {}
    open_: dict[int, HistoryEvent] = {}
    ended: dict[int, HistoryEvent] = {}
    due = 0
    time = 0
    for event in events:
        if event.index != due:
            reasons.append(_gap("history.jsonl", "index", due, event.index))
        due = event.index + 1
        if event.time < time:
            reasons.append(
                f"history.jsonl: time goes back at index {event.index}: from {time} to {event.time} ns"
            )
        time = event.time
        process, op = event.process, event.op
        if event.type == "invoke":
            if op in invoked:
                reasons.append(
                    f"history.jsonl: operation {op} is invoked twice, at index {invoked[op].index} "
                    f"and {event.index}"
                )
            if process in open_:
                reasons.append(
                    f"history.jsonl: process {process} invokes operation {op} at index {event.index} "
                    f"while its operation {open_[process].op} is not completed: operations overlap"
                )
            elif process in ended:
                reasons.append(
                    f"history.jsonl: process {process} goes on at index {event.index} after its outcome "
                    f"was unknown at index {ended[process].index}"
                )
            invoked[op] = event
            open_[process] = event
            continue
        call = invoked.get(op)
        if call is None:
            reasons.append(
                f"history.jsonl: operation {op} is completed at index {event.index} without an invoke"
            )
            continue
        if op in completed:
            reasons.append(
                f"history.jsonl: operation {op} is completed twice, at index {completed[op].index} and "
                f"{event.index}"
            )
            continue
        if call.process != process or call.f != event.f or call.key != event.key:
            reasons.append(
                f"history.jsonl: index {event.index} completes operation {op} as {event.f} "
                f"{event.key} of process {process}, but index {call.index} invoked {call.f} "
                f"{call.key} of process {call.process}"
            )
        completed[op] = event
        current = open_.get(call.process)
        if current is not None and current.op == op:
            del open_[call.process]
        if event.type == "info":
            ended[call.process] = event
    if time > TIME_MAX:
        reasons.append(f"history.jsonl: no run comes to {time} ns")
    return _bounded(reasons)


def unfit_life(life: NodeLife) -> list[str]:
    """Why the events of a file cannot be one life of this node, one line each."""
    file = f"nodes/{life.node}/events.{life.boot}.jsonl"
    reasons: list[str] = []
    header = life.header
    if header is not None and (header.node != life.node or header.boot != life.boot):
        reasons.append(
            f"{file}: its header says {header.node}, boot {header.boot}: not the life its name says"
        )
    boot = life.boot
    due = 0
    time = 0
    for event in life.events:
        if (
            event.seq == due
            and event.boot == boot
            and time <= event.t1 <= TIME_MAX
            and -TIME_MAX <= event.t0 <= event.t1
            and -TIME_MAX <= event.clock <= TIME_MAX
        ):
            due += 1
            time = event.t1
            continue
        if event.seq != due:
            reasons.append(_gap(file, "seq", due, event.seq))
        if event.boot != boot:
            reasons.append(f"{file}: seq {event.seq} is an event of boot {event.boot}")
        if event.t1 < time:
            reasons.append(
                f"{file}: time goes back at seq {event.seq}: from {time} to {event.t1} ns"
            )
        if event.t0 > event.t1:
            reasons.append(
                f"{file}: seq {event.seq} ends at {event.t1} ns before it begins at {event.t0} ns"
            )
        if max(abs(event.t0), abs(event.t1), abs(event.clock)) > TIME_MAX:
            reasons.append(f"{file}: no clock comes to the times of seq {event.seq}")
        due = event.seq + 1
        time = max(time, event.t1)
    return _bounded(reasons)


def unfit_faults(records: Sequence[FaultRecord]) -> list[str]:
    """Why these cannot be the faults of one run, one line each."""
    reasons: list[str] = []
    for due, record in enumerate(records):
        if record.index != due:
            reasons.append(_gap("faults.jsonl", "index", due, record.index))
            break
    reasons += [
        f"faults.jsonl: index {record.index} ends before it begins"
        for record in records
        if record.time_end < record.time_begin
    ]
    reasons += [
        f"faults.jsonl: no run comes to the times of index {record.index}"
        for record in records
        if max(abs(record.time_begin), abs(record.time_end)) > TIME_MAX
    ]
    return _bounded(reasons)


def unfit_facts(facts: Sequence[RunFact]) -> list[str]:
    """Why these cannot be the facts of one run, one line each."""
    reasons: list[str] = []
    time = 0
    for due, fact in enumerate(facts):
        if fact.index != due:
            reasons.append(_gap("run.jsonl", "index", due, fact.index))
            break
        if fact.time < time:
            reasons.append(
                f"run.jsonl: time goes back at index {fact.index}: from {time} to {fact.time} ns"
            )
        times = [fact.time]
        if isinstance(fact, ClockSample):
            times += [fact.before, fact.clock, fact.after]
        if max(map(abs, times)) > TIME_MAX:
            reasons.append(f"run.jsonl: no clock comes to the times of index {fact.index}")
        time = fact.time
    return _bounded(reasons)


def _gap(file: str, name: str, due: int, found: int) -> str:
    return f"{file}: a gap in {name}: {found} stands where {due} is due"


def _bounded(reasons: list[str]) -> list[str]:
    more = len(reasons) - REASONS_MAX
    return reasons if more <= 0 else [*reasons[:REASONS_MAX], f"and {more} more like these"]
