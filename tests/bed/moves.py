"""A move of a schedule: a word with up to three whole numbers."""

from __future__ import annotations

import msgspec

LEADER = -1
"""As a node's number: whoever leads the newest term."""
OLD = -2
"""As a node's number: whoever was cut off or marked last."""
_ROLES = {LEADER: "leader", OLD: "old"}


class Move(msgspec.Struct, frozen=True, array_like=True):
    """The methods of playing.Player say what the numbers mean."""

    what: str
    a: int = 0
    b: int = 0
    c: int = 0

    def __str__(self) -> str:
        numbers = [self.a, self.b, self.c]
        while numbers and not numbers[-1]:
            numbers.pop()
        return " ".join([self.what, *(_ROLES.get(n, str(n)) for n in numbers)])
