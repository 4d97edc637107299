"""Registers: read, write and compare-and-set over several keys, reads by leader lease and by ReadIndex.

Every written value is unique in the run, which makes the check n log n (Gibbons and Korach 1997). A key
retires after a bounded number of operations and of unknown outcomes, so that no part of the history
grows without bound. The old value of a compare-and-set is the newest that any client is known to
have seen there, so that about half of them swap. Every second client (those that a plan pins to a
node) only reads, and by the first read mode: a client that waits for a write or a ReadIndex round at
a cut-off leader cannot look at its lease meanwhile.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from checkers.records.schema import WorkloadHeader
from checkers.registers import RegisterJudge
from workloads.generator import Completion, Context, Next, Op, Weights
from workloads.keys import Keys

MODES: Final = ("lease", "readindex", "local")
VALUE_STRIDE: Final = 1000
"""The n-th value of client c is n * 1000 + c."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of the workload, as a plan gives them."""

    keys: int = 5
    """Keys in use at a time."""
    weights: dict[str, int] = msgspec.field(
        default_factory=lambda: {"write": 30, "cas": 30, "read": 40}
    )
    read_modes: tuple[str, ...] = ("lease", "readindex")
    readers: int = 2
    """Every `readers`-th client, from client 0 on, only reads, by the first of `read_modes`; 0: none does."""
    ops_per_key: int = 500
    infos_per_key: int = 24

    def __post_init__(self) -> None:
        if self.keys < 1 or self.ops_per_key < 1 or self.infos_per_key < 1:
            raise ValueError("keys, ops_per_key and infos_per_key must be at least 1")
        if set(self.weights) - {"write", "cas", "read"} or sum(self.weights.values()) <= 0:
            raise ValueError("weights name write, cas and read, and one of them is positive")
        if min(self.weights.values()) < 0 or self.readers < 0:
            raise ValueError("weights and readers cannot be negative")
        if not self.read_modes or set(self.read_modes) - set(MODES):
            raise ValueError(f"read_modes are one or more of {', '.join(MODES)}")


class Values(Keys):
    """The keys, and the newest value that any client is known to have seen at each."""

    def __init__(self, params: Params) -> None:
        super().__init__(params.keys, params.ops_per_key, params.infos_per_key)
        self.newest: dict[str, Any] = {}

    def update(self, completion: Completion) -> None:
        super().update(completion)
        op, key = completion.op, completion.op.key
        assert key is not None
        if completion.kind == "ok":
            if op.f == "write":
                self.newest[key] = op.value
            elif op.f == "read":
                if op.mode != "local":
                    self.newest[key] = completion.value
            else:
                value = completion.value
                self.newest[key] = value["to"] if value["swapped"] else value["saw"]


class Client:
    """One client's operations. Three draws each, needed or not: kind, key, mode."""

    def __init__(
        self, params: Params, keys: Values, client: int, stride: int, random: Random
    ) -> None:
        self._keys = keys
        self._params = params
        self._client = client
        self._stride = stride
        self._random = random
        self._count = 0
        reader = (
            params.readers > 0 and client % params.readers == 0 and bool(params.weights.get("read"))
        )
        self._modes = params.read_modes[:1] if reader else params.read_modes
        self._kinds = Weights({"read": 1} if reader else params.weights)

    def next(self, context: Context) -> Next:
        draw = self._random.random
        kind, slot, mode = draw(), draw(), draw()
        f = self._kinds.pick(kind)
        key = self._keys.take(int(slot * self._params.keys))
        if f == "read":
            return Op("read", key, None, self._modes[int(mode * len(self._modes))])
        self._count += 1
        value = self._count * self._stride + self._client
        if f == "cas":
            old = self._keys.newest.get(key)
            return Op("cas", key, {"from": old, "to": value})
        return Op("write", key, value)

    def update(self, completion: Completion) -> None:
        self._keys.update(completion)


class Register:
    """The workload; make a new one for each run."""

    name = "register"

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = msgspec.convert(params, Params, strict=False)
        self._keys = Values(self._params)
        self.params = msgspec.to_builtins(self._params)
        self.operations = [f for f, weight in self._params.weights.items() if weight]
        self.read_modes = list(self._params.read_modes) if "read" in self.operations else []

    def header(self) -> WorkloadHeader:
        return WorkloadHeader(self.name, "workloads.register:model", self.params)

    def generator(self, client: int, clients: int, random: Random) -> Client:
        """`clients` is the run's number of clients: values are unique among them."""
        # A round number, so that values say whose they are and one more client changes nobody else's.
        stride = VALUE_STRIDE
        while stride < max(clients, client + 1):
            stride *= 10
        return Client(self._params, self._keys, client, stride, random)

    def final_ops(self) -> list[Op]:
        """Every key that was used, by every mode, and locally."""
        modes = [
            *self._params.read_modes,
            *(() if "local" in self._params.read_modes else ("local",)),
        ]
        return [Op("read", key, None, mode) for key in self._keys.used for mode in modes]


def model(params: dict[str, Any]) -> RegisterJudge:
    """The judge that the header names; ValueError (msgspec's is one) for parameters that the workload does not take."""
    msgspec.convert(params, Params, strict=False)
    return RegisterJudge()
