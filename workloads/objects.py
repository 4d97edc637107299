"""What the workloads of one changing operation share: a client that changes or reads, over keys that retire."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from workloads.generator import Completion, Context, Next, Op, Weights
from workloads.keys import Keys

MODES: Final = ("lease", "readindex", "local")


class ObjectParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of such a workload, as a plan gives them."""

    keys: int = 3
    """Keys in use at a time."""
    changes: int = 60
    """Of a hundred operations so many change the object, the others read it."""
    read_modes: tuple[str, ...] = ("lease", "readindex")
    readers: int = 2
    """Every `readers`-th client, from client 0 on, only reads, by the first of `read_modes`; 0: none does."""
    ops_per_key: int = 500
    infos_per_key: int = 24

    def __post_init__(self) -> None:
        if self.keys < 1 or self.ops_per_key < 1 or self.infos_per_key < 1:
            raise ValueError("keys, ops_per_key and infos_per_key must be at least 1")
        if not 0 <= self.changes <= 100 or self.readers < 0:
            raise ValueError("changes is from 0 to 100, and readers cannot be negative")
        if not self.read_modes or set(self.read_modes) - set(MODES):
            raise ValueError(f"read_modes are one or more of {', '.join(MODES)}")


class ObjectClient:
    """One client's operations. Four draws each, needed or not: kind, key, mode, argument."""

    def __init__(
        self,
        params: ObjectParams,
        keys: Keys,
        client: int,
        random: Random,
        change: Callable[[str, int, float], Op],
    ) -> None:
        """`change(key, count, draw)` makes the client's `count`-th change."""
        self._keys = keys
        self._random = random
        self._change = change
        self._count = 0
        reader = params.readers > 0 and client % params.readers == 0 and params.changes < 100
        self._modes = params.read_modes[:1] if reader else params.read_modes
        changes = 0 if reader else params.changes
        self._kinds = Weights({"change": changes, "read": 100 - changes})

    def next(self, context: Context) -> Next:
        draw = self._random.random
        kind, slot, mode, argument = draw(), draw(), draw(), draw()
        key = self._keys.take(int(slot * self._keys.count))
        if self._kinds.pick(kind) == "read":
            return Op("read", key, None, self._modes[int(mode * len(self._modes))])
        self._count += 1
        return self._change(key, self._count, argument)

    def update(self, completion: Completion) -> None:
        self._keys.update(completion)


def final_reads(params: ObjectParams, keys: Keys) -> list[Op]:
    """Every key that was used, by every mode, and locally."""
    modes = [*params.read_modes, *(() if "local" in params.read_modes else ("local",))]
    return [Op("read", key, None, mode) for key in keys.used for mode in modes]


def names(params: ObjectParams, change: str) -> tuple[list[str], list[str]]:
    """(operations, read modes) that the workload uses."""
    operations = [
        *([change] if params.changes else []),
        *(["read"] if params.changes < 100 else []),
    ]
    return operations, list(params.read_modes) if "read" in operations else []


def converted(params: dict[str, Any], defaults: ObjectParams) -> ObjectParams:
    """`params` over `defaults`; ValueError (msgspec's is one) for what the workload does not take."""
    return msgspec.convert({**msgspec.to_builtins(defaults), **params}, ObjectParams, strict=False)
