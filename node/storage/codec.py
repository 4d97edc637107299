"""The journal's bytes: one append-only sequence of records that holds log, truncations, term and vote. Pure.

A record is a little-endian u32 length, a little-endian u32 crc32, and that many bytes of payload: one letter for its kind and
a msgpack body. A length of zero ends the journal (the file is filled with zeros ahead). The first record names the format,
group and member. Replaying a prefix of the records gives a state the member may have had: this is why a batch may be torn
anywhere, and why the vote of a batch is written before its entries (a term above the log's is always sound, one below is not).

Whether bytes that do not parse are a torn tail or damage is decided by the synced length: below it everything was durable, so
nothing there may be broken; above it nothing was promised, so everything from the first broken record on is cut.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from node.raft.effects import HardState, Persist
from node.raft.messages import Entry

FORMAT: Final = "driftline-node-journal"
VERSION: Final = 1
RECORD: Final = struct.Struct("<II")
RECORD_BYTES_MAX: Final = 16 * 1024 * 1024

_IDENTITY: Final = b"I"
_ENTRY: Final = b"E"
_TRUNCATE: Final = b"T"
_HARD_STATE: Final = b"H"


class StorageError(Exception):
    """The data folder cannot be used; the message is one line."""


class Foreign(StorageError):
    """The folder belongs to another member or group, was written by a newer format, or is in use."""


class Corrupt(StorageError):
    """Bytes that were durable are broken or gone."""


class Identity(msgspec.Struct, frozen=True):
    format: str
    version: int
    group: str
    node: str


class Replayed(msgspec.Struct):
    """What the records say. `end` is the offset behind the last whole record, `torn` whether anything but zeros follows."""

    identity: Identity
    hard_state: HardState
    entries: list[Entry]
    end: int
    torn: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_identity: Final = msgspec.msgpack.Decoder(Identity).decode
_decode_entry: Final = msgspec.msgpack.Decoder(Entry).decode
_decode_hard_state: Final = msgspec.msgpack.Decoder(HardState).decode
_decode_index: Final = msgspec.msgpack.Decoder(int).decode


def _record(kind: bytes, body: bytes) -> bytes:
    payload = kind + body
    return RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def identity_record(group: str, node: str) -> bytes:
    return _record(_IDENTITY, _encode(Identity(FORMAT, VERSION, group, node)))


def hard_state_record(hard_state: HardState) -> bytes:
    return _record(_HARD_STATE, _encode(hard_state))


def persist_records(persist: Persist) -> list[bytes]:
    """The records of one Persist, its vote first."""
    records: list[bytes] = []
    if persist.hard_state is not None:
        records.append(hard_state_record(persist.hard_state))
    if persist.truncate_from:
        records.append(_record(_TRUNCATE, _encode(persist.truncate_from)))
    pack = RECORD.pack
    crc32 = zlib.crc32
    for entry in persist.entries:
        payload = _ENTRY + _encode(entry)
        records.append(pack(len(payload), crc32(payload)) + payload)
    return records


def check_identity(identity: Identity, group: str, node: str) -> None:
    """Raises Foreign unless the journal is this member's, of this group, in a format this code reads."""
    if identity.format != FORMAT:
        raise Foreign(f"format is {identity.format!r}, this node reads {FORMAT!r}")
    if identity.version > VERSION:
        raise Foreign(
            f"written by format version {identity.version}, this node reads up to {VERSION}"
        )
    if identity.node != node:
        raise Foreign(f"belongs to node {identity.node!r}, this is {node!r}")
    if identity.group != group:
        raise Foreign(f"belongs to group {identity.group!r}, this is {group!r}")


def replay(data: bytes, synced: int) -> Replayed:
    """What a journal file says of which the first `synced` bytes are known to be durable (0: not known); raises Corrupt."""
    identity: Identity | None = None
    hard_state = HardState()
    entries: list[Entry] = []
    at = 0
    size = len(data)
    broken = ""
    while at + RECORD.size <= size:
        length, crc = RECORD.unpack_from(data, at)
        if length == 0:
            break
        start = at + RECORD.size
        if length > RECORD_BYTES_MAX or start + length > size:
            broken = f"record of {length} bytes does not fit"
            break
        payload = data[start : start + length]
        if zlib.crc32(payload) != crc:
            broken = "checksum does not match"
            break
        kind, body = payload[:1], payload[1:]
        try:
            if identity is None:
                if kind != _IDENTITY:
                    raise Corrupt("byte 0: the first record is not an identity")
                identity = _decode_identity(body)
            elif kind == _ENTRY:
                _append(entries, _decode_entry(body), at)
            elif kind == _HARD_STATE:
                hard_state = _decode_hard_state(body)
            elif kind == _TRUNCATE:
                del entries[max(_decode_index(body) - 1, 0) :]
            else:
                raise Corrupt(f"byte {at}: record of unknown kind {kind!r}")
        except msgspec.DecodeError as error:
            raise Corrupt(f"byte {at}: whole record that does not decode: {error}") from None
        at = start + length
    if identity is None:
        raise Corrupt(f"byte 0: no identity ({broken or 'the file is empty'})")
    if at < synced:
        raise Corrupt(f"byte {at}: {broken or 'the journal ends'}, yet {synced} bytes were durable")
    return Replayed(identity, hard_state, entries, at, torn=data.count(0, at) != size - at)


def _append(entries: list[Entry], entry: Entry, at: int) -> None:
    if entry.index != len(entries) + 1:
        raise Corrupt(f"byte {at}: entry {entry.index} follows entry {len(entries)}")
    if entry.crc != zlib.crc32(entry.data):
        raise Corrupt(f"byte {at}: data of entry {entry.index} does not match its crc32")
    entries.append(entry)
