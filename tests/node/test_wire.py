"""Frames and what is in them: any split of the bytes, any broken byte (node/wire.py)."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import wire
from node.raft.messages import DATA, AppendEntries, AppendEntriesReply, Entry, PreVote, RequestVote
from node.wire import (
    HEADER,
    PAYLOAD_BYTES_MAX,
    BadChecksum,
    FrameReader,
    FrameTooLong,
    Malformed,
    WireError,
    frame,
)

PEER = [
    AppendEntries(3, 1, 1, 2, 1, 4, [Entry(2, 3, DATA, b"a", zlib.crc32(b"a"))]),
    AppendEntries(3, 2, 0, 0, 0, 0, []),
    AppendEntriesReply(3, 1, True, 2, 2, 1, 4),
    PreVote(2, 1, 0, 0),
    RequestVote(2, 1, 0, 0),
    wire.Hello("g", "n1", "n2", 1),
    wire.Ping(7),
    wire.Pong(7, "n1", 2),
]


def fed(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    reader = FrameReader()
    found: list[bytes] = []
    at = 0
    for end in [*sorted(cuts), len(data)]:
        found += reader.feed(data[at:end])
        at = end
    assert reader.buffered == 0
    return found


def test_a_frame_is_length_crc_and_payload() -> None:
    """The format: u32 length, u32 crc32, both little-endian, then the payload."""
    payload = b"abc"
    assert frame(payload) == b"\x03\0\0\0" + zlib.crc32(payload).to_bytes(4, "little") + payload


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=6), st.data())
def test_any_split_gives_the_same_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    """Byte by byte, all at once, or anything between."""
    stream = b"".join(map(frame, payloads))
    cuts = data.draw(st.lists(st.integers(0, len(stream))))
    assert fed(stream, cuts) == fed(stream, range(len(stream))) == payloads


def test_every_message_survives_being_fed_byte_by_byte() -> None:
    """Both sides agree on every kind of message between members."""
    stream = b"".join(frame(wire.encode(message)) for message in PEER)
    assert [wire.decode_peer(p) for p in fed(stream, range(len(stream)))] == PEER


def test_a_frame_beyond_the_bound_is_refused_from_its_header_alone() -> None:
    """A broken peer cannot make a node allocate without end."""
    reader = FrameReader()
    with pytest.raises(FrameTooLong):
        reader.feed(HEADER.pack(PAYLOAD_BYTES_MAX + 1, 0))
    with pytest.raises(FrameTooLong):
        reader.feed(b"")
    with pytest.raises(FrameTooLong):
        frame(bytes(PAYLOAD_BYTES_MAX + 1))
    assert len(FrameReader().feed(frame(bytes(PAYLOAD_BYTES_MAX)))) == 1


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_flipped_bit_never_gives_another_payload(payload: bytes, data: st.DataObject) -> None:
    """Refused, or still waiting for more; never delivered."""
    broken = bytearray(frame(payload))
    bit = data.draw(st.integers(0, 8 * len(broken) - 1))
    broken[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(WireError):
        # A length that became smaller may end in the right checksum only by a crc32 collision.
        assert FrameReader().feed(bytes(broken)) == []


def test_a_reader_that_has_raised_is_finished() -> None:
    """Nothing after a broken frame can be trusted."""
    reader = FrameReader()
    with pytest.raises(BadChecksum):
        reader.feed(HEADER.pack(1, 0) + b"x")
    with pytest.raises(BadChecksum):
        reader.feed(frame(b"good"))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_random_bytes_give_payloads_or_a_wire_error_and_nothing_else(chunks: list[bytes]) -> None:
    """Whatever arrives on a port, the reader stays within its own exceptions."""
    reader = FrameReader()
    with contextlib.suppress(WireError):
        for chunk in chunks:
            for payload in reader.feed(chunk):
                wire.decode_peer(payload)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_random_payloads_are_malformed_or_messages(payload: bytes) -> None:
    """Every decoder and the peeker take any bytes."""
    wire.peek_kind(payload)
    for decode in (wire.decode_peer, wire.decode_client, wire.decode_server):
        with contextlib.suppress(Malformed):
            decode(payload)


DEEP = b"\x91" * 100_000


@pytest.mark.parametrize(
    "payload",
    [b"\x93\xa4ping\x01" + DEEP, b"\x98\xa2ok\x01" + DEEP, b"\x96\xa6submit\x01\x01\xa1s" + DEEP],
)
def test_nesting_without_end_is_malformed(payload: bytes) -> None:
    """Decoders recurse; a payload must not take the process down."""
    for decode in (wire.decode_peer, wire.decode_client, wire.decode_server):
        with pytest.raises(Malformed):
            decode(payload)


@pytest.mark.parametrize(
    "message",
    [
        AppendEntries(3, 1, -1, 2, 1, 4, []),
        AppendEntries(-3, 1, 1, 2, 1, 4, []),
        AppendEntries(3, 1, 1, 2, -1, 4, []),
        AppendEntries(3, 1, 1, 2, 1, 4, [Entry(3, 3, DATA, b"", 0)]),
        AppendEntries(3, 1, 1, 2, 1, 4, [Entry(2, 3, DATA, b"", 0), Entry(2, 3, DATA, b"", 0)]),
        AppendEntries(3, 1, 1, 2, 1, 4, [Entry(2, 4, DATA, b"", 0)]),
        AppendEntriesReply(3, 1, True, -2, 2, 1, 4),
        RequestVote(-1, 1, 0, 0),
        PreVote(1, 1, -1, 0),
    ],
)
def test_numbers_that_no_member_can_mean_are_malformed(message: object) -> None:
    """The core indexes its log by these: below zero, with a gap, or of a later term is nonsense."""
    with pytest.raises(Malformed):
        wire.decode_peer(wire.encode(message))


@pytest.mark.parametrize("message", PEER)
def test_a_message_of_the_wrong_port_is_malformed(message: msgspec.Struct) -> None:
    """Clients and members do not speak each other's messages."""
    if not isinstance(message, wire.Ping):
        with pytest.raises(Malformed):
            wire.decode_client(wire.encode(message))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (PEER[0], "append_entries"),
        (PEER[1], "heartbeat"),
        (PEER[2], "append_entries_reply"),
        (AppendEntries(2**40, 2**48, 2**20, 2**9, 200, 300, []), "heartbeat"),
        (AppendEntries(2**40, 2**48, 2**20, 2**9, 200, 300, PEER[0].entries), "append_entries"),  # type: ignore[attr-defined]
        (PreVote(1, 1, 1, 1), "pre_vote"),
        (wire.Hello("g", "n1", "n2", 1), "hello"),
        (wire.Get(1, 100, "s", "k", "lease"), "read"),
    ],
)
def test_kinds_can_be_seen_without_decoding(message: object, kind: str) -> None:
    """The harness' frame rules tell heartbeats from appends, for integers of any size."""
    assert wire.peek_kind(wire.encode(message)) == kind
    for length in range(3):
        wire.peek_kind(wire.encode(message)[:length])
