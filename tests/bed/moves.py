"""A move of a schedule: a word with up to three whole numbers."""

from __future__ import annotations

import msgspec

LEADER = -1
"""As a node's number: whoever leads the newest term."""
OLD = -2
"""As a node's number: whoever was cut off or marked last."""
_ROLES = {LEADER: "leader", OLD: "old"}

READS = ("local", "readindex", "lease")

# A and B are nodes, a and b are numbers as they are, M is the set of nodes whose bits are set in a.
_TOLD = {
    "run": "run {a} ms",
    "heal": "heal",
    "heal_links": "heal links",
    "start": "start",
    "cut": "cut {A} to {B}",
    "transfer": "transfer {A} to {B}",
    "disconnect": "disconnect {A} from {B}",
    "change": "change to {M}",
    "split": "split off {M}",
    "disk": "disk {A} {b} us",
    "lag": "lag {A} {b} ms",
    "pause": "pause {A} {b} ms",
    "wall": "wall {A} {b} ms",
    "vote": "vote {A} {b} ms",
    "timeout": "timeout {A} {b} ms",
    "burst": "burst {A} {b}",
    "readonly": "readonly {A} {b}",
}


class Move(msgspec.Struct, frozen=True, array_like=True):
    """The methods of playing.Player say what the numbers mean."""

    what: str
    a: int = 0
    b: int = 0
    c: int = 0

    def __str__(self) -> str:
        if self.what == "read":
            return f"read {_node(self.a)} {READS[self.b]}"
        told = _TOLD.get(self.what, self.what + " {A}")
        if self.what == "cut" and self.c:
            told = "cut {A} and {B}"
        some = [_node(n) for n in range(max(0, self.a).bit_length()) if self.a >> n & 1]
        return told.format(A=_node(self.a), B=_node(self.b), M=",".join(some), a=self.a, b=self.b)


def _node(number: int) -> str:
    return _ROLES.get(number, f"n{number + 1}")
