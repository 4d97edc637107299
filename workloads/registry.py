"""Workloads by name; those from outside come in by the entry point group "driftline.workloads"."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from random import Random
from typing import Any, Protocol

import msgspec

from checkers.records.schema import WorkloadHeader
from workloads import append, counter, register
from workloads.generator import Generator, Op


class WorkloadError(Exception):
    """No such workload, or parameters that it does not take."""


class Workload(Protocol):
    """What a run needs of a workload."""

    name: str
    params: dict[str, Any]
    operations: list[str]
    read_modes: list[str]

    def header(self) -> WorkloadHeader: ...

    def generator(self, client: int, clients: int, random: Random) -> Generator: ...

    def final_ops(self) -> list[Op]: ...


BUILT_IN: dict[str, Callable[[dict[str, Any]], Workload]] = {
    "register": register.Register,
    "counter": counter.Counter,
    "append": append.Append,
}


def load(name: str, params: dict[str, Any]) -> Workload:
    """A new workload of this name; WorkloadError says what is wrong with name or parameters."""
    make = BUILT_IN.get(name)
    if make is None:
        found = [point for point in entry_points(group="driftline.workloads") if point.name == name]
        if not found:
            raise WorkloadError(f"no workload {name!r}: there are {', '.join(BUILT_IN)}")
        make = found[0].load()
    try:
        return make(params)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise WorkloadError(f"workload {name!r} cannot take {params}: {error}") from error
