"""Frames and the messages in them, sans-IO: bytes in, payloads out; nothing here opens a socket.

A frame is a little-endian u32 length, a little-endian u32 crc32 of the payload, and the payload: one msgpack array whose
first element names its kind. The rule of this file: a reader that has raised is finished, since nothing after a broken
frame can be trusted. Lengths are bounded, so that a broken peer cannot make a node allocate without end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from node.raft import configuration
from node.raft.messages import (
    CONFIGURATION,
    AppendEntries,
    AppendEntriesReply,
    FetchSnapshot,
    FetchSnapshotReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Number,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)

HEADER: Final = struct.Struct("<II")
HEADER_BYTES: Final = HEADER.size
PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024
COMMAND_BYTES_MAX: Final = 1024 * 1024
"""A command must fit into an append beside others, or no frame could ever carry it to a follower."""


class WireError(Exception):
    """The bytes on a connection are not what this protocol allows; the connection must be closed."""


class FrameTooLong(WireError):
    """A header announced more than PAYLOAD_BYTES_MAX."""


class BadChecksum(WireError):
    """A payload does not have the crc32 its header announced."""


class Malformed(WireError):
    """A payload is well framed but is not a message of this port."""


def frame(payload: bytes) -> bytes:
    """One frame around `payload`; raises FrameTooLong beyond the bound."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise FrameTooLong(f"payload of {len(payload)} bytes, allowed are {PAYLOAD_BYTES_MAX}")
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into payloads, however the bytes are split on their way."""

    __slots__ = ("_chunks", "_error", "_have", "_need")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = HEADER_BYTES
        self._error: WireError | None = None

    def __repr__(self) -> str:
        return f"<FrameReader buffered={self._have} error={self._error!r}>"

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame."""
        return self._have

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, oldest first.

        Raises FrameTooLong or BadChecksum, now and at each later call. Payloads that precede the broken frame in the same
        `data` are lost with it: a connection with one broken frame has no trustworthy neighbours.
        """
        if self._error is not None:
            raise self._error
        if self._have:
            # Pieces of a long frame are joined once, when enough of them are there.
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        payloads: list[bytes] = []
        at = 0
        end = len(data)
        need = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            length, crc = HEADER.unpack_from(data, at)
            if length > PAYLOAD_BYTES_MAX:
                self._error = FrameTooLong(
                    f"frame of {length} bytes announced, allowed are {PAYLOAD_BYTES_MAX}"
                )
                raise self._error
            start = at + HEADER_BYTES
            if end - start < length:
                need = HEADER_BYTES + length
                break
            payload = data[start : start + length]
            if zlib.crc32(payload) != crc:
                self._error = BadChecksum(
                    f"payload of {length} bytes: crc32 {zlib.crc32(payload):#010x}, "
                    f"announced {crc:#010x}"
                )
                raise self._error
            payloads.append(payload)
            at = start + length
        self._have = end - at
        self._need = need
        if at < end:
            self._chunks.append(data[at:] if at else data)
        return payloads


# ---- between members ----------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="hello", array_like=True):
    """The first frame of whoever opens a connection to a member: which group, who asks, whom, in which life."""

    group: str
    sender: str
    to: str
    boot: int


class Ping(msgspec.Struct, frozen=True, tag="ping", array_like=True):
    """Anybody may ask, on any port and without a hello; it is nobody's request."""

    nonce: int


class Pong(msgspec.Struct, frozen=True, tag="pong", array_like=True):
    nonce: int
    name: str
    boot: int


PeerFrame = (
    AppendEntries
    | AppendEntriesReply
    | PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | InstallSnapshot
    | InstallSnapshotReply
    | FetchSnapshot
    | FetchSnapshotReply
    | TimeoutNow
    | TimeoutNowReply
    | ReadIndex
    | ReadIndexReply
    | Hello
    | Ping
    | Pong
)

# ---- between client and member ------------------------------------------------------------------------------------------


Session = Annotated[str, msgspec.Meta(max_length=256)]


class Submit(msgspec.Struct, frozen=True, tag="submit", array_like=True, gc=False):
    """A command for the state machine; `command` is the log entry's data as it will be stored (node.kv's encoding)."""

    id: int
    remaining_ms: Number
    session: Session
    command: bytes


class Get(msgspec.Struct, frozen=True, tag="read", array_like=True, gc=False):
    """`mode` is "lease", "readindex" or "local"."""

    id: int
    remaining_ms: Number
    session: Session
    key: str
    mode: str


ClientFrame = Submit | Get | Ping


class Done(msgspec.Struct, frozen=True, tag="ok", array_like=True, gc=False):
    """A command took effect, or a read was answered. `swapped` and `saw` speak of a compare-and-set, `value` of a read
    or of the counter after an add.
    """

    id: int
    value: Any
    swapped: bool | None
    saw: Any
    term: int
    log_index: int
    node: str


class Refused(msgspec.Struct, frozen=True, tag="error", array_like=True, gc=False):
    """`definite`: it did not and will never take effect. `leader` is a hint, "" when unknown."""

    id: int
    code: str
    definite: bool
    leader: str


ServerFrame = Done | Refused | Pong

encode: Final = msgspec.msgpack.Encoder().encode
_decode_peer: Final[Callable[[bytes], PeerFrame]] = msgspec.msgpack.Decoder(PeerFrame).decode
_decode_client: Final[Callable[[bytes], ClientFrame]] = msgspec.msgpack.Decoder(ClientFrame).decode
_decode_server: Final[Callable[[bytes], ServerFrame]] = msgspec.msgpack.Decoder(ServerFrame).decode


_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_peer(payload: bytes) -> PeerFrame:
    """What a member sent; raises Malformed."""
    try:
        message = _decode_peer(payload)
    except _UNDECODABLE as error:
        raise Malformed(f"not a message between members: {error}") from None
    if type(message) is AppendEntries and message.entries:
        index, term = message.prev_index, message.prev_term
        for entry in message.entries:
            index += 1
            if entry.index != index or not term <= entry.term <= message.term:
                raise Malformed(
                    f"entry {entry.index} of term {entry.term} where {index} must follow, "
                    f"of a term from {term} to {message.term}"
                )
            term = entry.term
            if entry.kind == CONFIGURATION:
                try:
                    configuration.decode(entry.data)
                except ValueError as error:
                    raise Malformed(f"entry {entry.index}: {error}") from None
    return message


def decode_client(payload: bytes) -> ClientFrame:
    """What a client sent; raises Malformed."""
    try:
        return _decode_client(payload)
    except _UNDECODABLE as error:
        raise Malformed(f"not a client's request: {error}") from None


def decode_server(payload: bytes) -> ServerFrame:
    """What a member answered to a client; raises Malformed."""
    try:
        return _decode_server(payload)
    except _UNDECODABLE as error:
        raise Malformed(f"not an answer to a client: {error}") from None


# ---- looking at a frame without decoding it ------------------------------------------------------------------------------

_INTEGER_BYTES: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_INTEGERS_BEFORE_ENTRIES: Final = 6
"""term, call, prev_index, prev_term, commit, round: the fields of AppendEntries that stand before its entries."""


def peek_kind(payload: bytes) -> str | None:
    """The kind of a payload, read from its first bytes; None when there is none to see.

    "append_entries" without entries is told apart as "heartbeat". Never raises.
    """
    if len(payload) < 3:
        return None
    first = payload[0]
    if first & 0xF0 == 0x90:
        at = 1
    elif first == 0xDC:
        at = 3
    else:
        return None
    if at >= len(payload):
        return None
    mark = payload[at]
    if mark & 0xE0 == 0xA0:
        length = mark & 0x1F
        at += 1
    elif mark == 0xD9 and at + 1 < len(payload):
        length = payload[at + 1]
        at += 2
    else:
        return None
    tag = payload[at : at + length]
    if len(tag) != length:
        return None
    at += length
    if tag == b"append_entries" and _empty_array_after_integers(payload, at):
        return "heartbeat"
    try:
        return tag.decode()
    except UnicodeDecodeError:
        return None


def _empty_array_after_integers(payload: bytes, at: int) -> bool:
    for _ in range(_INTEGERS_BEFORE_ENTRIES):
        if at >= len(payload):
            return False
        at += _INTEGER_BYTES.get(payload[at], 1)
    return at < len(payload) and payload[at] == 0x90
