"""What every monitor is: a fold over records, `start(params)`, `feed(source, record)`, `finish(...)`.

Checking a file is the loop over it, checking online is the same loop. Records of one life of a node
come in its order and a node's lives in the order of their boots; beyond that a monitor does not care
how the nodes' records are interleaved. Each record costs amortised O(1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec

from checkers.records.events import Line
from checkers.records.fitness import Operation
from checkers.records.schema import Evidence, Finding, HistoryEvent

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
FINDINGS_MAX: Final = 20
"""As many findings of one monitor are told in full; the rest is counted."""

# Names of the assumptions that findings rest on (assumptions.py measures them).
CLOCK_BOUND: Final = "clock bound"
HOST_STALLS: Final = "no host stall"
FILE_SYSTEM: Final = "real file system"
LINKS: Final = "links under control"
HEALS: Final = "heals proved"
ONE_GROUP: Final = "one group"

NO_EVENTS: Final = "the system reports no events"

Handler = Callable[[str, Any], None]


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """What monitors know of the run beforehand; lengths in ns."""

    nodes: tuple[str, ...]
    election_timeout_ns: int
    drift_ns: int
    prevote: bool = True
    check_quorum: bool = True
    lease: bool = True
    node_events: bool = True


class Completeness(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the run was recorded: `whole` if it came to its end, else `because`."""

    whole: bool
    because: str = ""
    healed: bool = False
    """The last heal was proved complete, and all nodes ran."""
    events_lack: str = ""
    """Why the nodes' events are not all there, if they are not: nothing follows from what they do not say."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a monitor says at the end."""

    verdict: Literal["holds", "violated", "unknown", "not checked"]
    findings: list[Finding] = []
    because: str = ""
    statistics: dict[str, Any] = {}


class Monitor(Protocol):
    """One property. `handlers` says which records it wants, by their exact type."""

    property: str
    title: str
    handlers: dict[type, Handler]
    findings: list[Finding]

    def start(self, params: Params) -> None: ...

    def finish(self, completeness: Completeness) -> Result: ...


def feed(monitor: Monitor, source: str, record: object) -> list[Finding]:
    """Give one record to one monitor; the findings that it made. `source` is the node, or ""."""
    handler = monitor.handlers.get(type(record))
    if handler is None:
        return []
    before = len(monitor.findings)
    handler(source, record)
    return monitor.findings[before:]


def conclude(
    findings: list[Finding], statistics: dict[str, Any], checked: bool = True, because: str = ""
) -> Result:
    """Violated if there are findings, else it holds; "not checked" if there was nothing to look at."""
    if findings:
        more = len(findings) - FINDINGS_MAX
        return Result(
            verdict="violated",
            findings=findings[:FINDINGS_MAX],
            because=f"and {more} more findings like these" if more > 0 else "",
            statistics=statistics | {"findings": len(findings)},
        )
    return Result(
        verdict="holds" if checked else "not checked", because=because, statistics=statistics
    )


def pointer(node: str, event: Line, text: str) -> Evidence:
    """To one line of a node's events."""
    return Evidence(f"nodes/{node}/events.{event.boot}.jsonl", event.seq, event.t0, text)


def history_pointer(event: HistoryEvent, text: str) -> Evidence:
    """To one line of the history."""
    return Evidence("history.jsonl", event.index, event.time, text)


def describe(operation: Operation) -> str:
    """An operation in words: "read k1 by lease at n2 saw 7 (process 3)"."""
    invoke, completion = operation.invoke, operation.completion
    at = f" at {invoke.node}" if invoke.node else ""
    mode = f" by {invoke.mode}" if invoke.mode else ""
    key = f" {invoke.key}" if invoke.key is not None else ""
    outcome = operation.outcome
    value = completion.value if completion is not None and outcome == "ok" else invoke.value
    if invoke.f == "read":
        said = f"saw {_shown(value)}" if outcome == "ok" else _ending(outcome)
    elif invoke.f == "cas" and isinstance(value, dict):
        said = f"from {_shown(value.get('from'))} to {_shown(value.get('to'))}"
        if outcome == "ok":
            said += " swapped" if value.get("swapped") else f" saw {_shown(value.get('saw'))}"
        else:
            said += f" {_ending(outcome)}"
    else:
        said = f"{_shown(value)} {_ending(outcome)}"
    return f"{invoke.f}{key}{mode}{at} {said} (process {invoke.process})"


def _ending(outcome: str) -> str:
    return {"ok": "acknowledged", "fail": "failed"}.get(outcome, "with unknown outcome")


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)


def seconds(time_ns: int) -> str:
    return f"{time_ns / SECOND:.3f} s"
