"""The journal as an object: recovers, collects records in user space, writes and syncs them in batches.

Its rule: a record reaches the kernel only in `write_and_sync`, immediately before the sync that makes it durable. A SIGKILL
therefore loses what a power loss would. The file is filled with zeros ahead, since a sync that need not record a new length
is a third cheaper.
"""

from __future__ import annotations

from typing import Final

import msgspec

from node.raft.effects import HardState, Persist
from node.raft.messages import Entry
from node.storage import codec
from node.storage.disk import Disk

FIRST_BYTES: Final = 4 * 1024 * 1024
GROW_BYTES: Final = 2 * 1024 * 1024
_ZEROS: Final = bytes(GROW_BYTES)


class Recovered(msgspec.Struct, frozen=True):
    """What a member knew when its last life ended. `torn`: a tail was cut."""

    hard_state: HardState
    entries: list[Entry]
    torn: bool


class Batch(msgspec.Struct, frozen=True):
    """Records to be made durable by one sync; `token` is the newest Persist's among them."""

    data: bytes
    token: int
    records: int


class Journal:
    """`synced` is the journal's durable length in bytes; `batches` counts what was given out to be synced, `syncs`, `records`
    and `bytes_written` what has been.
    """

    def __init__(self, disk: Disk, group: str, node: str) -> None:
        """Reads, checks and repairs the journal; everything it recovered is durable when this returns.

        Raises Foreign, Corrupt, OSError.
        """
        self._disk = disk
        data, synced = disk.read()
        replayed = codec.replay(data, synced)
        codec.check_identity(replayed.identity, group, node)
        self._end = replayed.end
        self._size = max(len(data), replayed.end)
        if replayed.torn or self._size < replayed.end + GROW_BYTES // 2:
            # Leftovers behind the end could become whole records again once others are written before them.
            self._size = max(FIRST_BYTES, replayed.end + GROW_BYTES)
            disk.cut(replayed.end, self._size)
        disk.sync()
        disk.mark_synced(replayed.end)
        self.recovered = Recovered(replayed.hard_state, replayed.entries, replayed.torn)
        self.synced = replayed.end
        self.batches = 0
        self.syncs = 0
        self.records = 0
        self.bytes_written = 0
        self._waiting: list[bytes] = []
        self._token = 0

    def __repr__(self) -> str:
        return f"<Journal synced={self.synced} waiting={len(self._waiting)} syncs={self.syncs}>"

    @property
    def waiting(self) -> int:
        """Records that are in user space only."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self._waiting))

    def add(self, persist: Persist) -> None:
        """Collect one Persist in user space."""
        self._waiting.extend(codec.persist_records(persist))
        self._token = persist.token

    def add_vote_first(self, persist: Persist) -> Batch | None:
        """Collect one Persist, but give its vote out as a batch of its own that overtakes what waits.

        Only for seeded bugs, which hold entries back while votes stay honest.
        """
        alone = None
        if persist.hard_state is not None:
            record = codec.hard_state_record(persist.hard_state)
            alone = Batch(record, persist.token, 1)
            self.batches += 1
            persist = Persist(persist.token, None, persist.truncate_from, persist.entries)
        self.add(persist)
        return alone

    def take(self) -> Batch | None:
        """All collected records as one batch, which the caller must write before any later one."""
        if not self._token:
            return None
        batch = Batch(b"".join(self._waiting), self._token, len(self._waiting))
        self._waiting.clear()
        self._token = 0
        self.batches += bool(batch.data)
        return batch

    def write_and_sync(self, batch: Batch) -> None:
        """Make one batch durable and say so in `synced`. Blocks; may run in another thread, one batch at a time.

        Raises OSError, after which the journal must not be used again.
        """
        if not batch.data:
            return
        end = self._end + len(batch.data)
        if end > self._size:
            size = end + GROW_BYTES
            self._disk.write(end, _ZEROS)
            self._size = size
        self._disk.write(self._end, batch.data)
        self._disk.sync()
        self._end = end
        self._disk.mark_synced(end)
        self.synced = end
        self.syncs += 1
        self.records += batch.records
        self.bytes_written += len(batch.data)
