"""What a node's disk must hold when it starts again: the part of P-DU that its own events show (Raft paper, figure 2).

A log that append_ack named to a leader is there at the next boot, less what the node itself cut off since then; so is the
newest snapshot it told of. What a cut or an installed snapshot takes may be gone from the disk a moment before the node says
so, and it may be killed in that moment. Hence a log that ends early is excused where its last entry is of a later term than
the acknowledgement (a later leader overwrote it), or where it begins at a snapshot that was loaded since.
"""

from __future__ import annotations

import msgspec

from checkers.monitor import FILE_SYSTEM, Completeness, Handler, Params, Result, conclude, pointer
from checkers.records.events import (
    AppendAck,
    Boot,
    LogReset,
    SnapshotLoaded,
    SnapshotSaved,
    Truncate,
)
from checkers.records.schema import Finding


class Promise(msgspec.Struct):
    """Of one node, over all its lives. `index` is what is left of what `ack` named, 0 before any."""

    index: int = 0
    ack: AppendAck | None = None
    snapshot: SnapshotSaved | SnapshotLoaded | None = None
    installed: int = 0
    """A snapshot that was loaded since the last acknowledgement: the log may have been reset to it."""


class Promises:
    """A monitor by itself where no client takes part (inprocess.py); a part of Durability elsewhere."""

    property = "P-DU"
    title = "durability"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            AppendAck: self._ack,
            Truncate: self._truncate,
            LogReset: self._reset,
            SnapshotSaved: self._saved,
            SnapshotLoaded: self.loaded,
            Boot: self.boot,
        }
        self.findings: list[Finding] = []
        self._promises: dict[str, Promise] = {}

    def start(self, params: Params) -> None:
        """Nothing depends on the parameters."""

    def made(self) -> bool:
        """Was anything acknowledged?"""
        return any(promise.ack is not None for promise in self._promises.values())

    def _promise(self, node: str) -> Promise:
        promise = self._promises.get(node)
        if promise is None:
            promise = self._promises[node] = Promise()
        return promise

    def _ack(self, node: str, event: AppendAck) -> None:
        promise = self._promises.get(node)
        if promise is None:
            promise = self._promise(node)
        promise.installed = 0
        if event.last_index >= promise.index:
            promise.index = event.last_index
            promise.ack = event

    def _truncate(self, node: str, event: Truncate) -> None:
        promise = self._promise(node)
        promise.index = min(promise.index, event.first - 1)

    def _reset(self, node: str, event: LogReset) -> None:
        promise = self._promise(node)
        promise.index = min(promise.index, event.first - 1)

    def _saved(self, node: str, event: SnapshotSaved) -> None:
        promise = self._promise(node)
        if promise.snapshot is None or event.index >= promise.snapshot.index:
            promise.snapshot = event

    def loaded(self, node: str, event: SnapshotLoaded) -> None:
        promise = self._promise(node)
        if event.source != "boot":
            promise.installed = event.index
        if promise.snapshot is None or event.index >= promise.snapshot.index:
            promise.snapshot = event

    def boot(self, node: str, event: Boot) -> None:
        promise = self._promise(node)
        ack, last = promise.ack, event.last_index
        if ack is not None and last < promise.index:
            overwritten = event.last_term > ack.term
            reset = promise.installed > 0 and last == promise.installed == event.snapshot_index
            if not overwritten and not reset:
                self._find(
                    f"{node} had acknowledged its log up to index {promise.index} (term {ack.term}) to "
                    f"{ack.leader} and started again with a log that ends at {last} "
                    f"(term {event.last_term})",
                    node,
                    ack,
                    f"{node} acknowledges up to {ack.last_index}",
                    event,
                    f"{node} starts with last index {last}",
                    promise.index,
                )
            promise.index = last
        snapshot = promise.snapshot
        if snapshot is not None and 0 <= event.snapshot_index < snapshot.index:
            self._find(
                f"{node} had a snapshot at index {snapshot.index} and started again with one at "
                f"{event.snapshot_index}",
                node,
                snapshot,
                f"{node}: snapshot at {snapshot.index}",
                event,
                f"{node} starts with a snapshot at {event.snapshot_index}",
                snapshot.index,
            )
            promise.snapshot = None

    def _find(
        self,
        text: str,
        node: str,
        before: AppendAck | SnapshotSaved | SnapshotLoaded,
        was: str,
        event: Boot,
        is_: str,
        index: int,
    ) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[pointer(node, before, was), pointer(node, event, is_)],
                time=event.t0,
                rests_on=[FILE_SYSTEM],
                details={"node": node, "index": index},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        made = self.made()
        return conclude(self.findings, {}, made, "" if made else "nothing was acknowledged")
