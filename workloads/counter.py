"""Counters: add and read over several keys.

Each add answers with the counter after it, and every summand is positive, so the answers show the order of all acknowledged
adds: an add that took effect twice, or not at all, cannot hide.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from checkers.counters import CounterJudge
from checkers.records.schema import WorkloadHeader
from workloads.generator import Op
from workloads.keys import Keys
from workloads.objects import ObjectClient, ObjectParams, converted, final_reads, names

SUMMANDS: Final = 5
DEFAULTS: Final = ObjectParams()


class Counter:
    """The workload; make a new one for each run."""

    name = "counter"

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = converted(params, DEFAULTS)
        self._keys = Keys(self._params.keys, self._params.ops_per_key, self._params.infos_per_key)
        self.params = msgspec.to_builtins(self._params)
        self.operations, self.read_modes = names(self._params, "add")

    def header(self) -> WorkloadHeader:
        return WorkloadHeader(self.name, "workloads.counter:model", self.params)

    def generator(self, client: int, clients: int, random: Random) -> ObjectClient:
        """`clients` is not looked at: summands need not say whose they are."""
        return ObjectClient(self._params, self._keys, client, random, _add)

    def final_ops(self) -> list[Op]:
        return final_reads(self._params, self._keys)


def _add(key: str, count: int, draw: float) -> Op:
    return Op("add", key, 1 + int(draw * SUMMANDS))


def model(params: dict[str, Any]) -> CounterJudge:
    """The judge that the header names; ValueError for parameters that the workload does not take."""
    converted(params, DEFAULTS)
    return CounterJudge()
