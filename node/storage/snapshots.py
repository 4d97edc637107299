"""Snapshots of the state machine in the data folder: the newest, whole or not at all, and a download that is resumed.

A file holds who it belongs to, what it covers, and the state's bytes, which mean nothing here. It is written beside its place,
synced, checked against its meta, renamed, and the folder synced; only then does an older one go.
(braft's snapshot.cpp does so too, but does not sync the folder.)
The one before the newest stays until there is another, or the member starts anew: the log still goes on from it, so whoever is
pulling it may go on too, however often snapshots are saved.

For the shell:
- Open the store before the journal, which wants `latest`; at a boot with a snapshot, `load` the state before the first step.
- SaveSnapshot: take the state's bytes at once (the state machine goes on), `save` them, maybe in a thread, then step
  SnapshotSaved(meta). The core cuts the log by a later Persist's `cut_to`, which rests on `save` having returned.
- FetchSnapshot: `read_piece`; None means that it is gone, and the member has to ask anew.
- Download: `receive(meta)`, ask the leader for the piece at `have`, `write` it, and so on; when `have` is meta.size, `finish`,
  then step Downloaded(meta, ok). LoadSnapshot: `load`. CancelDownload: just forget the object; what came is resumed.
One thread may save or finish while another reads pieces. After an OSError the store must not be used again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from node.raft.messages import SnapshotMeta
from node.storage import codec, names
from node.storage.codec import Corrupt, Foreign
from node.storage.disk import Disk


class Snapshots:
    """The newest durable snapshot of one member."""

    def __init__(self, disk: Disk, group: str, node: str) -> None:
        """Finds the newest snapshot, checks its header and size, and removes what crashes left.

        The state itself is checked by `load`. Raises Foreign, Corrupt, OSError.
        """
        self._disk = disk
        self._group = group
        self._node = node
        self._newest: tuple[SnapshotMeta, int] | None = None
        """With the offset of its state: one reference, so that a reader in another thread sees both or neither."""
        self._previous: tuple[SnapshotMeta, int] | None = None
        files = disk.names()
        there = names.snapshots(files)
        if there:
            name = names.snapshot(*there[-1])
            meta, offset = self.header(name)
            if (meta.index, meta.term) != there[-1]:
                raise Corrupt(
                    f"{name}: byte 0: is of entry {meta.index} of term {meta.term} under another's name"
                )
            size = disk.size(name) - offset
            if size != meta.size:
                raise Corrupt(
                    f"{name}: byte {offset}: state of {size} bytes, {meta.size} were durable"
                )
            self._newest = meta, offset
        for index, term in there[:-1]:
            disk.unlink(names.snapshot(index, term))
        if names.NEW_SNAPSHOT in files:
            disk.unlink(names.NEW_SNAPSHOT)

    def __repr__(self) -> str:
        meta = self.latest()
        return f"<Snapshots {names.snapshot(meta.index, meta.term) if meta else 'none'}>"

    def latest(self) -> SnapshotMeta | None:
        """The newest durable snapshot; None: there is none."""
        return self._newest[0] if self._newest else None

    def load(self) -> bytes:
        """The newest snapshot's state, checked. Raises Corrupt, and KeyError when there is none."""
        if self._newest is None:
            raise KeyError("there is no snapshot")
        meta, offset = self._newest
        name = names.snapshot(meta.index, meta.term)
        state = self._disk.read(name, offset)
        found = zlib.crc32(state)
        if (len(state), found) != (meta.size, meta.crc):
            raise Corrupt(
                f"{name}: byte {offset}: state of {len(state)} bytes has crc32 {found:08x},"
                f" {meta.size} bytes with {meta.crc:08x} were durable"
            )
        return state

    def save(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> None:
        """Make `chunks` the newest snapshot, durable when this returns.

        Raises ValueError when it is not newer than the newest, or the chunks are not of meta's size and crc; OSError.
        """
        if not self.is_new(meta):
            raise ValueError(
                f"snapshot of entry {meta.index} is not newer than the newest, {self!r}"
            )
        disk, name = self._disk, names.NEW_SNAPSHOT
        disk.unlink(name)
        header = codec.snapshot_header(self._group, self._node, meta)
        disk.write(name, 0, header)
        at, crc = len(header), 0
        for chunk in chunks:
            disk.write(name, at, chunk)
            at += len(chunk)
            crc = zlib.crc32(chunk, crc)
        if (at - len(header), crc) != (meta.size, meta.crc):
            disk.unlink(name)
            raise ValueError(
                f"state of {at - len(header)} bytes with crc32 {crc:08x}, meta says {meta.size} with {meta.crc:08x}"
            )
        self.put(name, meta, len(header))

    def is_new(self, meta: SnapshotMeta) -> bool:
        """A snapshot never gives way to one of no later entry."""
        return self._newest is None or meta.index > self._newest[0].index

    def put(self, name: str, meta: SnapshotMeta, offset: int) -> None:
        """Make the whole file `name`, whose state begins at `offset`, the newest snapshot."""
        disk, old = self._disk, self._previous
        disk.sync(name)
        disk.rename(name, names.snapshot(meta.index, meta.term))
        disk.sync_folder()
        self._previous = self._newest
        self._newest = meta, offset
        if old is not None:
            disk.unlink(names.snapshot(old[0].index, old[0].term))

    def read_piece(self, index: int, term: int, offset: int, length: int) -> bytes | None:
        """At most `length` of the state's bytes from `offset` on; None when snapshot (index, term) is gone."""
        for kept in (self._newest, self._previous):
            if kept is None or (kept[0].index, kept[0].term) != (index, term):
                continue
            try:
                return self._disk.read(names.snapshot(index, term), kept[1] + offset, length)
            except FileNotFoundError:
                break
        return None

    def receive(self, meta: SnapshotMeta) -> Partial:
        """The download of `meta`, resumed if the one that was begun last is of the same, else begun anew. Raises OSError."""
        return Partial(self, self._disk, codec.snapshot_header(self._group, self._node, meta), meta)

    def header(self, name: str) -> tuple[SnapshotMeta, int]:
        """What a file says it covers, and the offset of its state. Raises Foreign, Corrupt, OSError."""
        data = self._disk.read(name, 0, codec.HEADER_BYTES_MAX)
        try:
            return codec.read_snapshot_header(data, self._group, self._node)
        except Corrupt as error:
            raise Corrupt(f"{name}: {error}") from None
        except Foreign as error:
            raise Foreign(f"{name}: {error}") from None


class Partial:
    """A download: the first `have` bytes of meta's state are here, though not synced before `finish`."""

    def __init__(self, store: Snapshots, disk: Disk, header: bytes, meta: SnapshotMeta) -> None:
        self.meta = meta
        self.have = 0
        self._store = store
        self._disk = disk
        self._header = header
        self._crc = 0
        name = names.PARTIAL_SNAPSHOT
        if name in disk.names() and disk.read(name, 0, len(header)) == header:
            state = disk.read(name, len(header), meta.size)
            self.have, self._crc = len(state), zlib.crc32(state)
        else:
            self._discard()

    def __repr__(self) -> str:
        return f"<Partial {self.have} of {self.meta.size} bytes of entry {self.meta.index}>"

    def _discard(self) -> None:
        self.have = self._crc = 0
        self._disk.unlink(names.PARTIAL_SNAPSHOT)
        self._disk.write(names.PARTIAL_SNAPSHOT, 0, self._header)

    def write(self, offset: int, data: bytes) -> bool:
        """Take the piece that begins at `have`; any other, and one past the end, is left (False). Raises OSError."""
        if offset != self.have or offset + len(data) > self.meta.size:
            return False
        self._disk.write(names.PARTIAL_SNAPSHOT, len(self._header) + offset, data)
        self._crc = zlib.crc32(data, self._crc)
        self.have += len(data)
        return True

    def state(self) -> bytes | None:
        """All of the state; None when it is not whole, or not what meta says. Raises OSError."""
        if (self.have, self._crc) != (self.meta.size, self.meta.crc):
            return None
        return self._disk.read(names.PARTIAL_SNAPSHOT, len(self._header), self.meta.size)

    def finish(self) -> bool:
        """Make it the newest snapshot, durable when this returns; the object is used up.

        False when it is not whole, or not newer than the newest; or when its bytes are not what meta says: then all of them are
        thrown away, to be pulled anew. Raises OSError.
        """
        if self.have != self.meta.size or not self._store.is_new(self.meta):
            return False
        if self._crc != self.meta.crc:
            self._discard()
            return False
        self._store.put(names.PARTIAL_SNAPSHOT, self.meta, len(self._header))
        return True
