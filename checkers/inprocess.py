"""All monitors of node events beside cores that run in the same process: an event goes in, the findings it made come out.

For a test bed that drives cores directly. It needs no files and no clients, so what only these show (linearizability, what
clients were promised, liveness after heals, crashes) is not asked here. An event that no monitor wants costs one look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from checkers.monitor import Completeness, Handler, Monitor, Params, Result
from checkers.promises import Promises
from checkers.raft_monitors import raft_monitors
from checkers.records.events import (
    KINDS,
    AppendAck,
    Apply,
    Commit,
    Lease,
    Line,
    TermChange,
    Truncate,
)
from checkers.records.schema import Finding

NOTHING: Final[tuple[Finding, ...]] = ()

Make = Callable[[int, int, int, int, int, Mapping[str, Any]], Line]
"""(seq, t0, t1, boot, term, fields) -> the event."""


class Monitors:
    """Feed `event` with all that the nodes tell, in the order in which it happens; `finish` at the end.

    Every life begins with its `boot` event, which shells emit, not cores. `log` is for a leader's whole log, at best right
    after its `become_leader`, and for all logs at the end.
    """

    def __init__(self, params: Params) -> None:
        self.monitors: list[Monitor] = [*raft_monitors(), Promises()]
        for monitor in self.monitors:
            monitor.start(params)
        self._seq: dict[str, int] = {}
        self._told = [0] * len(self.monitors)
        self._wanted: dict[str, tuple[Make, tuple[tuple[Handler, list[Finding]], ...]]] = {}
        for name, kind in KINDS.items():
            handlers = tuple(
                (monitor.handlers[kind], monitor.findings)
                for monitor in self.monitors
                if kind in monitor.handlers
            )
            if handlers:
                self._wanted[name] = (_maker(kind), handlers)

    def event(
        self,
        node: str,
        boot: int,
        t0: int,
        t1: int,
        name: str,
        term: int,
        fields: Mapping[str, Any],
    ) -> Sequence[Finding]:
        """The findings that this event made, nearly always none.

        `t0`, `t1`: true time in ns before the node's clock was read for the step, and after the step. A finding's evidence
        names the event by its number in the node's life, counted from the boot.
        """
        seqs = self._seq
        seq = seqs[node] = 0 if name == "boot" else seqs.get(node, -1) + 1
        wanted = self._wanted.get(name)
        if wanted is None:
            return NOTHING
        make, handlers = wanted
        event = make(seq, t0, t1, boot, term, fields)
        found = False
        for handler, findings in handlers:
            handler(node, event)
            if findings:
                found = True
        return self._news() if found else NOTHING

    def log(
        self,
        node: str,
        boot: int,
        t0: int,
        term: int,
        first: int,
        entries: Sequence[tuple[int, int]],
    ) -> Sequence[Finding]:
        """The whole log of `node` in `term`, as (term, crc) of each entry from index `first` on."""
        return self.event(
            node, boot, t0, t0, "log_dump", term, {"first": first, "entries": entries}
        )

    def _news(self) -> Sequence[Finding]:
        news: list[Finding] = []
        for number, monitor in enumerate(self.monitors):
            if len(monitor.findings) > self._told[number]:
                news += monitor.findings[self._told[number] :]
                self._told[number] = len(monitor.findings)
        return news or NOTHING

    def finish(self) -> dict[str, Result]:
        """By property: the result over all that was fed."""
        whole = Completeness(whole=True)
        return {monitor.property: monitor.finish(whole) for monitor in self.monitors}


# ---- from fields to typed events -----------------------------------------------------------------
#
# The frequent ones by hand, which takes half the time; and those whose fields have other names here. The node's own clock is
# not known, and no monitor asks for it: true time stands in its place.


def _apply(seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]) -> Line:
    return Apply(seq, t0, t1, t0, boot, term, fields["first"], fields["entries"])


def _commit(seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]) -> Line:
    return Commit(seq, t0, t1, t0, boot, term, fields["index"])


def _append_ack(
    seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]
) -> Line:
    return AppendAck(seq, t0, t1, t0, boot, term, fields["leader"], fields["last_index"])


def _lease(seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]) -> Line:
    return Lease(seq, t0, t1, t0, boot, term, fields["state"])


def _truncate(seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]) -> Line:
    return Truncate(seq, t0, t1, t0, boot, term, fields["from"])


def _term_change(
    seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]
) -> Line:
    return TermChange(seq, t0, t1, t0, boot, term, fields["from"], fields["reason"])


_BY_HAND: Final[dict[type[Line], Make]] = {
    Apply: _apply,
    Commit: _commit,
    AppendAck: _append_ack,
    Lease: _lease,
    Truncate: _truncate,
    TermChange: _term_change,
}


def _maker(kind: type[Line]) -> Make:
    by_hand = _BY_HAND.get(kind)
    if by_hand is not None:
        return by_hand

    def make(seq: int, t0: int, t1: int, boot: int, term: int, fields: Mapping[str, Any]) -> Line:
        return kind(seq, t0, t1, t0, boot, term, **fields)

    return make
