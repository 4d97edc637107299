"""A member's snapshots outside the core: saved by a thread of their own, served piece by piece, pulled from a leader, loaded.

What takes long (dumping, checking, loading, syncing) runs in the thread, on a frozen copy of the state, so that heartbeats keep
their pace; the loop itself only moves pieces between disk and sockets. The one rule: nothing here decides what is saved or
loaded, the core does (node.raft.snapshotting), and it is told of a snapshot only when that is durable.

A download is pulled over the follower's own link to the leader, one piece at a time. It survives broken connections and
restarts, since the store keeps what came; it is given up when the leader has not said a word for as long as a promise lasts.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import Final

import msgspec

from node.kv import BadState, KeyValue
from node.raft.bugs import Seeded
from node.raft.effects import (
    Download,
    Downloaded,
    Options,
    SaveSnapshot,
    SnapshotSaved,
)
from node.raft.messages import FetchSnapshot, FetchSnapshotReply, SnapshotMeta
from node.storage.codec import Corrupt
from node.storage.snapshots import Partial, Snapshots

PIECE_BYTES: Final = 128 * 1024
"""As braft reads."""
_MS: Final = 1_000_000
_SWITCH_S: Final = 0.0005
"""How long the thread may keep the interpreter from the loop; Python's own 5 ms would be felt at every system call."""
_HELD_S: Final = 0.5
"""How long the bug that cuts the log early leaves the snapshot unwritten."""


class Saved(msgspec.Struct, frozen=True):
    """The thread saved a snapshot; None: there is a newer one."""

    meta: SnapshotMeta | None


class Ready(msgspec.Struct, frozen=True):
    """The thread made what was pulled durable, and loaded it beside the state; `kv` None: it is not what it should be."""

    meta: SnapshotMeta
    kv: KeyValue | None


class Pull:
    """The download in progress. Times are true ns."""

    __slots__ = ("call", "due", "heard", "leader", "meta", "partial")

    def __init__(self, asked: Download, partial: Partial, now: int) -> None:
        self.leader = asked.leader
        self.meta = asked.meta
        self.partial = partial
        self.call = 0
        """Of the piece that was asked for last."""
        self.heard = now
        """When the leader last answered."""
        self.due: int | None = now
        """When to ask (again); None while the thread works on the whole."""


class Snapshotter:
    """`fd` becomes readable when the thread is done with something (`finished`); `deadline` is the true time of the next
    `tick`, None when nothing is due.
    """

    def __init__(
        self,
        store: Snapshots,
        options: Options,
        bugs: Seeded,
        true: Callable[[], int],
        ask: Callable[[str, FetchSnapshot], None],
        report: Callable[[SnapshotSaved | Downloaded], object],
    ) -> None:
        """`ask` sends a request to a member, `report` takes an input to the core: never from within a step of the core."""
        self._store = store
        self._bugs = bugs
        self._true = true
        self._ask = ask
        self._report = report
        self._bytes_per_s = options.snapshot_bytes_per_s
        self._again_ns = options.heartbeat_ms * _MS
        self._piece_ns = options.append_timeout_ms * _MS
        self._silence_ns = (options.election_timeout_ms + options.max_clock_drift_ms) * _MS
        self._free_at = 0
        """When the next piece may be served."""
        self._pull: Pull | None = None
        self._wanted: Download | None = None
        """What to pull as soon as the thread has let go of the one before."""
        self._finishing = False
        self._ready: Ready | None = None
        self._call = 0
        self._jobs: queue.SimpleQueue[Callable[[], Saved | Ready]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Saved | Ready | Exception] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.saved = 0
        self.served_bytes = 0
        self.pulled_bytes = 0
        self.longest_freeze_ns = 0

    def __repr__(self) -> str:
        return f"<Snapshotter pull={self._pull and self._pull.partial} of {self._store!r}>"

    def counters(self) -> dict[str, int]:
        return {
            "snapshots_saved": self.saved,
            "snapshot_bytes_served": self.served_bytes,
            "snapshot_bytes_pulled": self.pulled_bytes,
            "longest_freeze_ns": self.longest_freeze_ns,
        }

    @property
    def have(self) -> int:
        """Bytes of the download in progress that are here."""
        return self._pull.partial.have if self._pull is not None else 0

    # ---- saving ---------------------------------------------------------------------------------------------------

    def save(self, asked: SaveSnapshot, kv: KeyValue) -> None:
        """Have `kv` as it is now saved, unless the snapshot is to be of nothing."""
        began = self._true()
        frozen = kv.frozen()
        self.longest_freeze_ns = max(self.longest_freeze_ns, self._true() - began)
        if frozen.sessions and self._bugs.breaks("snap_no_sessions"):
            frozen.sessions = {}
        held_s = _HELD_S if "snap_cut_before_durable" in self._bugs.active else 0.0
        self._start(lambda: self._saved(asked, frozen, held_s))

    def _saved(self, asked: SaveSnapshot, frozen: KeyValue, held_s: float) -> Saved:
        size = crc = 0
        parts = []
        for part in () if asked.bare else frozen.parts():
            parts.append(part)
            size += len(part)
            crc = zlib.crc32(part, crc)
        time.sleep(held_s)
        meta = SnapshotMeta(asked.index, asked.term, asked.configuration, size, crc, asked.bare)
        if not self._store.is_new(meta):
            return Saved(None)
        self._store.save(meta, parts)
        return Saved(meta)

    # ---- serving --------------------------------------------------------------------------------------------------

    def serve(self, m: FetchSnapshot) -> FetchSnapshotReply:
        """One piece, or why not: "busy" (faster than this member serves; ask again later) or "gone" (ask for the newest)."""
        true = self._true()
        if true < self._free_at:
            return FetchSnapshotReply(m.call, m.index, m.offset, b"", "busy")
        length = min(m.length, PIECE_BYTES)
        data = self._store.read_piece(m.index, m.snapshot_term, m.offset, length)
        if data is None:
            return FetchSnapshotReply(m.call, m.index, m.offset, b"", "gone")
        if self._bytes_per_s > 0:
            self._free_at = true + len(data) * 1_000_000_000 // self._bytes_per_s
        self.served_bytes += len(data)
        return FetchSnapshotReply(m.call, m.index, m.offset, data)

    # ---- pulling --------------------------------------------------------------------------------------------------

    def download(self, asked: Download) -> None:
        """Pull a snapshot, in place of any other; what came of it before is used."""
        self._pull = None
        self._wanted = asked

    def cancel(self) -> None:
        self._pull = self._wanted = None

    @property
    def deadline(self) -> int | None:
        if self._wanted is not None:
            return None if self._finishing else 0
        return self._pull.due if self._pull is not None else None

    def tick(self, now: int) -> None:
        """Begin what is wanted, ask for the next piece or once more for one, or give up."""
        if self._wanted is not None:
            if not self._finishing:
                self._begin(self._wanted, now)
            return
        pull = self._pull
        if pull is None or pull.due is None or now < pull.due:
            return
        if now - pull.heard >= self._silence_ns:
            self._give_up(pull)
        else:
            self._next(pull, now)

    def _begin(self, asked: Download, now: int) -> None:
        self._wanted = None
        if not self._store.is_new(asked.meta):
            # It had been pulled whole when the download was cancelled, or the member died: only the core does not know.
            self._finishing = True
            self._start(self._loaded)
            return
        self._pull = Pull(asked, self._store.receive(asked.meta), now)
        self._next(self._pull, now)

    def _next(self, pull: Pull, now: int) -> None:
        partial, meta = pull.partial, pull.meta
        if partial.have >= meta.size:
            pull.due = None
            self._finishing = True
            self._start(lambda: self._finished(partial))
            return
        self._call = pull.call = self._call + 1
        pull.due = now + self._piece_ns
        length = min(PIECE_BYTES, meta.size - partial.have)
        self._ask(
            pull.leader, FetchSnapshot(pull.call, meta.index, meta.term, partial.have, length)
        )

    def answered(self, peer: str, m: FetchSnapshotReply) -> None:
        """A piece, or why there is none; what was not asked for last is left."""
        pull = self._pull
        if pull is None or pull.due is None or peer != pull.leader or m.call != pull.call:
            return
        now = self._true()
        if m.error == "busy":
            pull.heard = now
            pull.due = now + self._again_ns
        elif m.error or not m.data or not pull.partial.write(m.offset, m.data):
            self._give_up(pull)
        else:
            pull.heard = now
            self.pulled_bytes += len(m.data)
            self._next(pull, now)

    def _give_up(self, pull: Pull) -> None:
        self._pull = None
        self._report(Downloaded(pull.meta, False))

    def _finished(self, partial: Partial) -> Ready:
        """Loaded before it is made durable: a life must never begin with a state that it cannot read."""
        kv = None
        if (state := partial.state()) is not None:
            try:
                kv = _state_of(partial.meta, state)
            except BadState:
                return Ready(partial.meta, None)
        return Ready(partial.meta, kv if partial.finish() else None)

    def _loaded(self) -> Ready:
        """The newest snapshot of the store as a state."""
        meta = self._store.latest()
        assert meta is not None, "only asked when there is one"
        return Ready(meta, load(self._store))

    def take(self, meta: SnapshotMeta) -> KeyValue:
        """The state that LoadSnapshot(meta) asks for."""
        ready = self._ready
        assert ready is not None
        assert ready.meta == meta
        assert ready.kv is not None
        return ready.kv

    def _ended(self, ready: Ready) -> None:
        self._finishing = False
        self._pull = None
        wanted = self._wanted
        if ready.kv is None:
            if wanted is None:
                self._report(Downloaded(ready.meta, False))
            return
        if wanted is not None and wanted.meta.index <= ready.meta.index:
            self._wanted = None
        self._ready = ready
        self._report(Downloaded(ready.meta, True))
        self._ready = None

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _start(self, job: Callable[[], Saved | Ready]) -> None:
        if self._thread is None:
            sys.setswitchinterval(_SWITCH_S)
            self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            outcome: Saved | Ready | Exception
            try:
                outcome = self._jobs.get()()
            except Exception as caught:
                # Raised again in the loop: a thread that died silently would leave the core waiting for ever.
                outcome = caught
            self._done.put(outcome)
            os.eventfd_write(self.fd, 1)

    def finished(self) -> None:
        """Take what the thread has done to the core. Raises what the thread met, OSError and Corrupt among it."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
        while not self._done.empty():
            outcome = self._done.get()
            if isinstance(outcome, Saved):
                self.saved += outcome.meta is not None
                self._report(SnapshotSaved(outcome.meta))
            elif isinstance(outcome, Ready):
                self._ended(outcome)
            else:
                raise outcome


def _state_of(meta: SnapshotMeta, state: bytes) -> KeyValue:
    """What a snapshot is of; nothing, if it is a witness's. Raises BadState."""
    return KeyValue() if meta.bare else KeyValue.load(state)


def load(store: Snapshots) -> KeyValue:
    """The state a life begins with. Raises Corrupt, OSError."""
    meta = store.latest()
    if meta is None:
        return KeyValue()
    try:
        return _state_of(meta, store.load())
    except BadState as error:
        raise Corrupt(f"newest snapshot: {error}") from None
