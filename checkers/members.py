"""Who belonged to the group and when, by the configurations that nodes told as committed: the ground of quorums over time.

A configuration counts from the first time that any node told of its commit. Before the first one it is what the earliest boot
named. Systems that tell of none leave it open.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from checkers.monitor import Handler
from checkers.records.events import Boot, ConfChange


class Group(msgspec.Struct, frozen=True):
    """One configuration; while `old` is not empty, both sets must agree."""

    members: tuple[str, ...]
    old: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()

    def agrees(self, names: Collection[str]) -> bool:
        """Do `names` hold a majority of the members, and of the old ones?"""
        sets = [self.members, self.old] if self.old else [self.members]
        return all(sum(one in names for one in those) > len(those) // 2 for those in sets)


class Members:
    """A fold that others hold: give its handlers the records, ask at the end."""

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {Boot: self.boot, ConfChange: self.change}
        self._first: Boot | None = None
        self._committed: dict[int, ConfChange] = {}

    def boot(self, _: str, event: Boot) -> None:
        if event.members and (self._first is None or event.t0 < self._first.t0):
            self._first = event

    def change(self, _: str, event: ConfChange) -> None:
        if event.stage == "commit":
            known = self._committed.get(event.index)
            if known is None or event.t0 < known.t0:
                self._committed[event.index] = event

    def at(self, time: int) -> Group | None:
        """The newest one that was known to be committed at `time`."""
        told = [index for index, event in self._committed.items() if event.t0 <= time]
        found = self._committed[max(told)] if told else self._first
        return None if found is None else Group(found.members, found.old, found.witnesses)

    def changes(self) -> int:
        """How often the group became another one: joint stages are on the way, a leader's repetition is none."""
        before = None if self._first is None else set(self._first.members)
        count = 0
        for _, event in sorted(self._committed.items()):
            if not event.old:
                now = set(event.members)
                count += before is not None and now != before
                before = now
        return count
