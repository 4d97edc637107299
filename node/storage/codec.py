"""The bytes of the data folder's files: checksummed records, and what the journal's records say. Pure.

A record is a little-endian u32 length, a little-endian u32 crc32, and that many bytes of payload: one letter for its kind and
a msgpack body. A length of zero ends a file (it is filled with zeros ahead). The first record of every file names its format,
group and member, and never changes its shape, so that any version can name any other.

The journal is one sequence of records (log, truncations, term and vote) in segment files. A segment's second record says where
the log ends and what the vote is as it begins: older segments can go whole, and the rest still replays. Replaying a prefix of
the records gives a state the member may have had: this is why a batch may be torn anywhere, and why the vote of a batch is
written before its entries (a term above the log's is always sound, one below is not).

Whether bytes that do not parse are a torn tail or damage is decided by the synced length: below it everything was durable, so
nothing there may be broken; above it nothing was promised, so everything from the first broken record on is cut.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from node.raft.effects import HardState, Persist
from node.raft.messages import METADATA, Entry, Number, SnapshotMeta

JOURNAL_FORMAT: Final = "driftline-node-journal"
JOURNAL_VERSION: Final = 2
SNAPSHOT_FORMAT: Final = "driftline-node-snapshot"
SNAPSHOT_VERSION: Final = 1
RECORD: Final = struct.Struct("<II")
RECORD_BYTES_MAX: Final = 16 * 1024 * 1024
HEADER_BYTES_MAX: Final = 64 * 1024
"""Of a file's first two records: names and a configuration of some hundred members fit many times."""

_IDENTITY: Final = b"I"
_START: Final = b"S"
_ENTRY: Final = b"E"
_TRUNCATE: Final = b"T"
_HARD_STATE: Final = b"H"
_META: Final = b"M"
_ENTRY_CRC: Final = zlib.crc32(_ENTRY)


class StorageError(Exception):
    """The data folder cannot be used; the message is one line."""


class Foreign(StorageError):
    """The folder belongs to another member or group, was written by another format, or is in use."""


class Corrupt(StorageError):
    """Bytes that were durable are broken or gone; the message names file and offset."""


class Identity(msgspec.Struct, frozen=True):
    format: str
    version: int
    group: str
    node: str


class Start(msgspec.Struct, frozen=True, array_like=True):
    """What holds as a segment begins: the log's end at (index, term), and the vote.

    `segment` is its number. `previous_end` is the length in bytes of the one before. `reset`: the log was forgotten here and
    begins after (index, term); what older segments say of it does not count.
    """

    segment: Number
    index: Number
    term: Number
    hard_state: HardState
    previous_end: Number
    reset: bool = False


class Replayed:
    """What the records so far say: the vote, and the log's entries after `base` = (index, term)."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base = (0, 0)
        self.entries: list[Entry] = []

    @property
    def last(self) -> tuple[int, int]:
        """(index, term) of the log's end."""
        if not self.entries:
            return self.base
        return self.entries[-1].index, self.entries[-1].term


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_identity: Final = msgspec.msgpack.Decoder(Identity).decode
_decode_start: Final = msgspec.msgpack.Decoder(Start).decode
_decode_entry: Final = msgspec.msgpack.Decoder(Entry).decode
_decode_hard_state: Final = msgspec.msgpack.Decoder(HardState).decode
_decode_truncate: Final = msgspec.msgpack.Decoder(tuple[Number, Number]).decode
_decode_meta: Final = msgspec.msgpack.Decoder(SnapshotMeta).decode


def _record(kind: bytes, body: bytes) -> bytes:
    payload = kind + body
    return RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def segment_header(group: str, node: str, start: Start) -> bytes:
    """The first records of a segment."""
    identity = Identity(JOURNAL_FORMAT, JOURNAL_VERSION, group, node)
    return _record(_IDENTITY, _encode(identity)) + _record(_START, _encode(start))


def snapshot_header(group: str, node: str, meta: SnapshotMeta) -> bytes:
    """The first records of a snapshot; the state's bytes follow as they are."""
    identity = Identity(SNAPSHOT_FORMAT, SNAPSHOT_VERSION, group, node)
    return _record(_IDENTITY, _encode(identity)) + _record(_META, _encode(meta))


def hard_state_record(hard_state: HardState) -> bytes:
    return _record(_HARD_STATE, _encode(hard_state))


def persist_records(persist: Persist, term_before: int) -> list[bytes]:
    """The records of one Persist, its vote first; its reset is not among them, being the start of a segment.

    `term_before` is that of the entry before `truncate_from`: a replay that begins later may not have seen it.
    """
    records: list[bytes] = []
    if persist.hard_state is not None:
        records.append(hard_state_record(persist.hard_state))
    if persist.truncate_from:
        records.append(_record(_TRUNCATE, _encode((persist.truncate_from, term_before))))
    pack = RECORD.pack
    crc32 = zlib.crc32
    for entry in persist.entries:
        payload = _ENTRY + _encode(entry)
        records.append(pack(len(payload), crc32(payload)) + payload)
    return records


def read_segment_header(data: bytes, group: str, node: str) -> tuple[Start, int]:
    """What a segment begins with, and the offset behind it; raises Foreign, Corrupt."""
    at = _check_identity(data, JOURNAL_FORMAT, JOURNAL_VERSION, group, node)
    body, end = _must_be(data, at, _START)
    try:
        return _decode_start(body), end
    except msgspec.DecodeError as error:
        raise Corrupt(f"byte {at}: start that does not decode: {error}") from None


def read_snapshot_header(data: bytes, group: str, node: str) -> tuple[SnapshotMeta, int]:
    """What a snapshot covers, and the offset at which its state begins; raises Foreign, Corrupt."""
    at = _check_identity(data, SNAPSHOT_FORMAT, SNAPSHOT_VERSION, group, node)
    body, end = _must_be(data, at, _META)
    try:
        return _decode_meta(body), end
    except msgspec.DecodeError as error:
        raise Corrupt(f"byte {at}: meta that does not decode: {error}") from None


def _check_identity(data: bytes, format: str, version: int, group: str, node: str) -> int:
    """Raises Foreign unless the file is this member's, of this group, in a format this code reads."""
    body, end = _must_be(data, 0, _IDENTITY)
    try:
        found = _decode_identity(body)
    except msgspec.DecodeError as error:
        raise Corrupt(f"byte 0: identity that does not decode: {error}") from None
    if found.format != format:
        raise Foreign(f"format is {found.format!r}, this node reads {format!r}")
    if found.version != version:
        raise Foreign(
            f"written by format version {found.version}, this node reads version {version};"
            " start the release that wrote it"
        )
    if found.node != node:
        raise Foreign(f"belongs to node {found.node!r}, this is {node!r}")
    if found.group != group:
        raise Foreign(f"belongs to group {found.group!r}, this is {group!r}")
    return end


def _must_be(data: bytes, at: int, kind: bytes) -> tuple[bytes, int]:
    """The body of the record at `at`, which has to be whole and of `kind`, and the offset behind it."""
    payload, broken = _payload(data, at)
    if broken or not payload:
        raise Corrupt(f"byte {at}: {broken or 'the file ends'}, where its header should be")
    if payload[:1] != kind:
        raise Corrupt(f"byte {at}: record {payload[:1]!r} where {kind!r} should be")
    return payload[1:], at + RECORD.size + len(payload)


def _payload(data: bytes, at: int) -> tuple[bytes, str]:
    """(payload, "") of a whole record, (b"", "") at the end, (b"", what is wrong) otherwise."""
    size = len(data)
    if at + RECORD.size > size:
        return b"", ""
    length, crc = RECORD.unpack_from(data, at)
    if length == 0:
        return b"", ""
    start = at + RECORD.size
    if length > RECORD_BYTES_MAX or start + length > size:
        return b"", f"record of {length} bytes does not fit"
    payload = data[start : start + length]
    if zlib.crc32(payload) != crc:
        return b"", "checksum does not match"
    return payload, ""


def replay(data: bytes, at: int, synced: int, so_far: Replayed) -> int:
    """Add to `so_far` what a segment's records from `at` on say; the offset behind the last whole one.

    The first `synced` bytes are known to be durable (0: not known). Raises Corrupt.
    """
    append = so_far.entries.append
    expected = so_far.last[0] + 1
    crc32, decode_entry, unpack = zlib.crc32, _decode_entry, RECORD.unpack_from
    header_bytes, last_header = RECORD.size, len(data) - RECORD.size
    try:
        while at <= last_header:
            # Entries are nearly all there is, a million of them maybe: here, and without a copy or a call that can be spared.
            length, crc = unpack(data, at)
            body = at + header_bytes + 1
            end = body + length - 1
            if not length or data[body - 1 : body] != _ENTRY:
                payload, _ = _payload(data, at)
                if not payload:
                    break
                expected = _apply(payload, at, so_far)
                at = end
                continue
            encoded = data[body:end]
            if len(encoded) != length - 1 or crc32(encoded, _ENTRY_CRC) != crc:
                break
            entry = decode_entry(encoded)
            if entry.index != expected:
                raise Corrupt(f"byte {at}: entry {entry.index} follows entry {expected - 1}")
            if entry.crc != crc32(entry.data) and entry.kind != METADATA:
                raise Corrupt(f"byte {at}: data of entry {entry.index} does not match its crc32")
            append(entry)
            expected += 1
            at = end
    except msgspec.DecodeError as error:
        raise Corrupt(f"byte {at}: whole record that does not decode: {error}") from None
    if at < synced:
        broken = _payload(data, at)[1] or "the journal ends"
        raise Corrupt(f"byte {at}: {broken}, yet {synced} bytes were durable")
    return at


def _apply(payload: bytes, at: int, so_far: Replayed) -> int:
    """What a record says that is no entry; the index that the next entry must have."""
    if payload[:1] == _HARD_STATE:
        so_far.hard_state = _decode_hard_state(payload[1:])
    elif payload[:1] == _TRUNCATE:
        first, term = _decode_truncate(payload[1:])
        if first <= so_far.base[0]:
            # What it left was in an older segment, and is covered by a snapshot since.
            so_far.base = (first - 1, term)
        del so_far.entries[first - so_far.base[0] - 1 :]
        if first != so_far.last[0] + 1:
            raise Corrupt(
                f"byte {at}: cut from entry {first} on, which follows entry {so_far.last[0]}"
            )
    else:
        raise Corrupt(f"byte {at}: record of unknown kind {payload[:1]!r}")
    return so_far.last[0] + 1


def torn(data: bytes, end: int) -> bool:
    """Does anything but zeros follow the last whole record?"""
    return data.count(0, end) != len(data) - end
