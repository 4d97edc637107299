"""Evidence: what is measured, by another hand than the one that made the fault, to say that it took effect.

HTTP 200, an exit code 0 or "signal sent" is no evidence. While the harness' own loop lags, evidence is indeterminate.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import trio

from harness.recorder import monotonic_ns
from harness.systems import raft as probes

GRACE_NS = 100_000_000
LAG_NS_MAX = 250_000_000

Outcome = Literal["installed", "skipped", "indeterminate"]


class Evidence(msgspec.Struct, kw_only=True):
    """What became of one install or heal. `begin`, `end`: when the action itself ran, in ns of CLOCK_MONOTONIC."""

    outcome: Outcome
    because: str | None = None
    targets: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    begin: int = 0
    end: int = 0


def skipped(because: str, **targets: Any) -> Evidence:
    """Nothing was done."""
    now = monotonic_ns()
    return Evidence(outcome="skipped", because=because, targets=targets, begin=now, end=now)


class LagMeter:
    """How late the harness' own loop came lately: a probe that was late proves nothing."""

    def __init__(self) -> None:
        self._lags: list[tuple[int, int]] = []

    def note(self, at_ns: int, lag_ns: int) -> None:
        if lag_ns > LAG_NS_MAX:
            self._lags.append((at_ns, lag_ns))

    def lagged_since(self, begin_ns: int) -> bool:
        return any(at >= begin_ns for at, _ in self._lags[-50:])


async def answers(address: tuple[str, int], deadline_s: float) -> bool:
    """Does a ping on a new connection to this address get its answer within the deadline?"""
    with trio.move_on_after(deadline_s):
        try:
            return await probes.ping(address)
        except OSError:
            return False
    return False


async def probe_links(
    addresses: dict[str, tuple[str, int]], deadline_s: float
) -> tuple[set[str], set[str]]:
    """(links that pass a ping, links that do not), asked all at once."""
    passing: set[str] = set()
    silent: set[str] = set()

    async def ask(name: str) -> None:
        (passing if await answers(addresses[name], deadline_s) else silent).add(name)

    async with trio.open_nursery() as nursery:
        for name in addresses:
            nursery.start_soon(ask, name)
    return passing, silent
