"""Who belongs to the group, and what a majority of it is, in joint consensus too (Raft thesis 4.3).

The one rule: every question of the kind "do enough agree?" is put to a Configuration, which asks the new and, while a change
is in its joint stage, also the old members. Nobody else counts heads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

Suffice = Callable[[int], int]
"""How many of so many members are enough; None stands for the smallest majority."""


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The members by name, sorted. While `old` is not empty, both sets must agree (joint consensus).

    `witnesses` are members that vote and acknowledge but hold no data.
    """

    members: tuple[str, ...]
    old: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()

    @property
    def joint(self) -> bool:
        return bool(self.old)

    @property
    def everyone(self) -> tuple[str, ...]:
        """All who take part in either set, sorted."""
        return tuple(sorted({*self.members, *self.old})) if self.old else self.members

    def agrees(self, names: Collection[str], suffice: Suffice | None = None) -> bool:
        """Do `names` hold a majority of the members, and of the old ones?"""
        if not _agree(self.members, names, suffice):
            return False
        return not self.old or _agree(self.old, names, suffice)

    def quorum_value(self, values: Mapping[str, int], suffice: Suffice | None = None) -> int:
        """The largest v such that a quorum has a value of at least v; who is not in `values` has 0.

        With acknowledged indices it is what may be committed, with send times it is since when a quorum is known to have
        accepted the leader. A leader that is no member is not in its own quorum, so it needs one answer more.
        """
        value = _quorum_value(self.members, values, suffice)
        return min(value, _quorum_value(self.old, values, suffice)) if self.old else value


def senseless(members: Sequence[str], witnesses: Sequence[str], may_lead: bool) -> str:
    """Why such a group would not work, "" if it would. `may_lead`: of witnesses, which then hold the data too.

    Otherwise a witness could be the only one of every quorum that has some entry, refuse its vote to all who lack it, and not
    lead itself: for ever.
    """
    data, quorum = len(members) - len(witnesses), len(members) // 2 + 1
    if witnesses and ((data < quorum and not may_lead) or not data):
        return f"members with data must be a quorum by themselves: {data} of {len(members)} hold data, {quorum} are a quorum"
    return ""


def of(members: Sequence[str], witnesses: Sequence[str] = ()) -> Configuration:
    """A configuration of these members; ValueError when a name stands twice or a witness is no member."""
    if len(set(members)) != len(members):
        raise ValueError(f"a member stands twice: {list(members)}")
    if not set(witnesses) <= set(members):
        raise ValueError(f"witnesses must be members: {sorted(set(witnesses) - set(members))}")
    return Configuration(tuple(sorted(members)), (), tuple(sorted(witnesses)))


def _agree(members: Sequence[str], names: Collection[str], suffice: Suffice | None) -> bool:
    needed = len(members) // 2 + 1 if suffice is None else suffice(len(members))
    return len([member for member in members if member in names]) >= needed


def _quorum_value(
    members: Sequence[str], values: Mapping[str, int], suffice: Suffice | None
) -> int:
    if not members:
        return 0
    found = [values.get(member, 0) for member in members]
    found.sort()
    return found[-(len(members) // 2 + 1 if suffice is None else suffice(len(members)))]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Configuration).decode


def encode(configuration: Configuration) -> bytes:
    """The data of a log entry that carries `configuration`."""
    return _encode(configuration)


def decode(data: bytes) -> Configuration:
    """What encode made; raises ValueError for anything else."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a configuration: {error}") from None
