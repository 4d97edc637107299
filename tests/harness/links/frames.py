"""Frames for the tests: the kind is the payload up to the first colon."""

from __future__ import annotations

import struct
import zlib


def frame(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def peek(payload: bytes) -> str | None:
    kind, colon, _ = payload.partition(b":")
    return kind.decode() if colon else None
