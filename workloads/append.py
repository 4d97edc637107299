"""Lists: append and read over several keys.

Every element is unique in the run, and a read shows the whole list, so the reads show the order of all appends before them.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any, Final

import msgspec

from checkers.lists import ListJudge
from checkers.records.schema import WorkloadHeader
from workloads.generator import Op
from workloads.keys import Keys
from workloads.objects import ObjectClient, ObjectParams, converted, final_reads, names

DEFAULTS: Final = ObjectParams(ops_per_key=150, infos_per_key=16)
"""A key retires sooner than a register: each of its reads carries the whole list."""
ELEMENT_STRIDE: Final = 1000
"""The n-th element of client c is n * 1000 + c."""


class Append:
    """The workload; make a new one for each run."""

    name = "append"

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = converted(params, DEFAULTS)
        self._keys = Keys(self._params.keys, self._params.ops_per_key, self._params.infos_per_key)
        self.params = msgspec.to_builtins(self._params)
        self.operations, self.read_modes = names(self._params, "append")

    def header(self) -> WorkloadHeader:
        return WorkloadHeader(self.name, "workloads.append:model", self.params)

    def generator(self, client: int, clients: int, random: Random) -> ObjectClient:
        """`clients` is the run's number of clients: elements are unique among them."""
        stride = ELEMENT_STRIDE
        while stride < max(clients, client + 1):
            stride *= 10
        change = partial(_append, client, stride)
        return ObjectClient(self._params, self._keys, client, random, change)

    def final_ops(self) -> list[Op]:
        return final_reads(self._params, self._keys)


def _append(client: int, stride: int, key: str, count: int, draw: float) -> Op:
    return Op("append", key, count * stride + client)


def model(params: dict[str, Any]) -> ListJudge:
    """The judge that the header names; ValueError for parameters that the workload does not take."""
    converted(params, DEFAULTS)
    return ListJudge()
