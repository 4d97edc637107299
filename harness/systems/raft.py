"""Our own system under test: members of `node`, seen only through node.api.

Says how to start a member, how to ask it, and gives clients whose outcomes are already sorted into ok, fail and info.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, PlanError
from harness.layout import Layout
from harness.plan import Plan
from harness.seeds import derive
from node import api

__all__ = [
    "AdminClient",
    "AdminError",
    "Call",
    "Outcome",
    "RaftSystem",
    "bugs",
    "framer",
    "options",
    "ping",
    "ping_forever",
]

Outcome = api.Outcome
Call = api.Call
AdminClient = api.AdminClient
AdminError = api.AdminError

framer = "node.api:peek_kind"
"""What the embedded links use to tell the kinds of frames apart."""


def bugs() -> list[tuple[str, str, str, str]]:
    """(name, what is broken, the fault that exposes it, the property it violates) of every seeded bug."""
    return [
        (bug.name, bug.broken, bug.fault, ", ".join(bug.violates)) for bug in api.CATALOGUE.values()
    ]


async def ping(address: tuple[str, int]) -> bool:
    """True when a node answers a ping on a new connection to `address`; OSError if there is none."""
    return await api.ping(address)


ping_forever = api.ping_forever
"""Round trips on one connection: the plain echo that benchmarks compare with."""


def options(plan: Plan) -> api.Options:
    """The nodes' options of a plan; PlanError names a field that no node knows."""
    known = set(api.CATALOGUE)
    for name in plan.bugs:
        if name not in known:
            raise PlanError(f"bug {name!r} is not known: `driftline bugs` lists them")
    try:
        found = msgspec.convert({**plan.node, "bugs": tuple(plan.bugs)}, api.Options)
    except msgspec.ValidationError as error:
        raise PlanError(f"plan field node: {error}") from error
    for name in ("election_timeout_ms", "election_tick_ms", "heartbeat_ms", "append_timeout_ms"):
        if getattr(found, name) <= 0:
            raise PlanError(
                f"plan field node.{name}: found {getattr(found, name)}; give more than 0"
            )
    if found.max_clock_drift_ms < 0:
        raise PlanError("plan field node.max_clock_drift_ms: a time cannot be negative")
    return found


def admin_sockets(folder: Path) -> dict[str, str]:
    """The admin sockets of the nodes of a run in `folder`, by name; empty when there are no configurations in it."""
    found = {}
    for path in sorted(folder.glob("nodes/*/config.json")):
        config = msgspec.json.decode(path.read_bytes(), type=api.NodeConfig)
        found[config.name] = config.admin_socket
    return found


class RaftSystem:
    """One group of members of one run."""

    def __init__(
        self, plan: Plan, seed: int, run: str, layout: Layout, folder: Path, origin_ns: int
    ) -> None:
        self.options = options(plan)
        self.origin_ns = origin_ns
        self.names = [f"n{i + 1}" for i in range(plan.nodes)]
        self.first_members = self.names[: plan.members or plan.nodes]
        self._seed = seed
        self._run = run
        self._layout = layout
        self._folder = folder.resolve()

    def data_dir(self, name: str) -> Path:
        return self._folder / name / "data"

    def prepare(self, listens: dict[str, tuple[str, int]]) -> None:
        """Write every member's configuration; `listens` maps a link's name to the address to dial."""
        for name in self.names:
            home = self._folder / name
            home.mkdir(parents=True, exist_ok=True)
            config = api.NodeConfig(
                name=name,
                data_dir=str(self.data_dir(name)),
                events_dir=str(home),
                peer_listen=self._layout.peer_address(name),
                client_listen=self._layout.client_address(name),
                admin_socket=str(self._layout.admin_socket(name)),
                peers={peer: listens[f"{name}-{peer}"] for peer in self.names if peer != name},
                members=tuple(self.first_members) if name in self.first_members else (),
                group=self._run,
                options=self.options,
                seed=derive(self._seed, f"node/{name}").hex(),
                origin_ns=self.origin_ns,
            )
            (home / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)))

    def command(self, name: str, boot: int, rate: float, offset_ns: int) -> list[str]:
        """The command line of the next life of `name`."""
        return [
            sys.executable,
            "-P",
            "-m",
            "node",
            str(self._folder / name / "config.json"),
            "--boot",
            str(boot),
            "--clock-rate",
            repr(rate),
            "--clock-offset-ns",
            str(offset_ns),
        ]

    def _admin(self, name: str) -> api.AdminClient:
        return api.AdminClient(str(self._layout.admin_socket(name)))

    async def status(self, name: str) -> dict[str, Any]:
        """The member's status; HarnessError or OSError if it does not answer. The caller owns the deadline."""
        async with self._admin(name) as admin:
            return await admin.status()

    async def set_clock(
        self, name: str, rate: float | None = None, offset_ns: int | None = None
    ) -> None:
        async with self._admin(name) as admin:
            await admin.set_clock(rate=rate, offset_ns=offset_ns)

    async def read_clock(self, name: str) -> tuple[int, int, int]:
        """One bracketed reading in ns: true time from the origin, the node's clock, true time."""
        async with self._admin(name) as admin:
            return await admin.clock()

    async def vote(self, name: str, election_timeout_ms: int) -> None:
        async with self._admin(name) as admin:
            await admin.vote(election_timeout_ms)

    async def change_members(self, name: str, members: list[str]) -> None:
        """Ask the leader `name` for another group; HarnessError says why it was not done."""
        async with self._admin(name) as admin:
            await admin.change_members(members)

    async def transfer(self, name: str, to: str) -> None:
        """Ask the leader `name` to hand over to `to`, or to whoever is furthest ("")."""
        async with self._admin(name) as admin:
            await admin.transfer(to)

    async def snapshot(self, name: str) -> None:
        """Have `name` save a snapshot now; returns when it is durable."""
        async with self._admin(name) as admin:
            await admin.snapshot()

    def cut_to_synced(self, name: str) -> dict[str, Any]:
        """Cut the files of a dead member to what was synced: {file: {"cut": bytes, "unwritten": bytes}}."""
        try:
            return dict(api.cut_to_synced(self.data_dir(name)))
        except OSError as error:
            raise HarnessError(f"cannot cut the files of {name}: {error}") from error

    def client(self, address: tuple[str, int], session: str) -> api.Client:
        """A client with a connection of its own, which opens at its first call."""
        return api.Client(address, session)
