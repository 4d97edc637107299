"""Named streams of the run's one seed: every random draw of a run comes from one of these.

A stream depends on the seed and its name alone (blake2b), so that adding a client or a fault leaves all others as they were.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

Stream = Random


def derive(seed: int, name: str) -> bytes:
    """32 bytes for `name`; `seed` is any 64-bit integer."""
    key = (seed & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big")
    return blake2b(name.encode(), key=key, digest_size=32).digest()


def stream(seed: int, name: str) -> Stream:
    """The generator of the stream `name`, at its start."""
    return Random(int.from_bytes(derive(seed, name), "big"))
