"""The public face of the node: configuration, client, admin client, names of bugs, and a framer that peeks at message kinds.

Nothing else of this package is for outside. Deadlines belong to the callers: every call here may be cancelled; a client's call
that was cancelled has closed its connection, since an answer that is still under way must not be taken for a later call's.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

import msgspec
import trio

from node import wire
from node.client import Address, Call, Client, Outcome, connect
from node.config import ConfigError, NodeConfig
from node.raft.bugs import CATALOGUE
from node.raft.effects import Options
from node.storage.powerloss import cut_to_synced, read_synced
from node.wire import peek_kind

__all__ = [
    "CATALOGUE",
    "AdminClient",
    "AdminError",
    "Call",
    "Client",
    "ConfigError",
    "NodeConfig",
    "Options",
    "Outcome",
    "cut_to_synced",
    "peek_kind",
    "ping",
    "ping_forever",
    "read_synced",
]

_READ_BYTES: Final = 65_536
_wait_readable = trio.lowlevel.wait_readable


class AdminError(OSError):
    """The node refused an admin request; the message is its own."""


async def _send_all(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive_one(sock: socket.socket, reader: wire.FrameReader) -> bytes:
    while True:
        await _wait_readable(sock)
        data = sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("closed by the other side")
        for payload in reader.feed(data):
            return payload


async def ping(address: Address) -> bool:
    """True when a node answers a ping on a new connection to `address`; OSError if the connection fails."""
    sock = await connect(address)
    try:
        await _round_trip(sock, wire.FrameReader(), 1)
    finally:
        sock.close()
    return True


async def ping_forever(address: Address) -> AsyncIterator[int]:
    """Round trips on one connection, numbered: the plain echo of the clients' and members' ports.

    Close it (contextlib.aclosing) when it is left before its end.
    """
    sock = await connect(address)
    reader = wire.FrameReader()
    try:
        nonce = 0
        while True:
            nonce += 1
            await _round_trip(sock, reader, nonce)
            yield nonce
    finally:
        sock.close()


async def _round_trip(sock: socket.socket, reader: wire.FrameReader, nonce: int) -> None:
    try:
        await _send_all(sock, wire.frame(wire.encode(wire.Ping(nonce))))
        answer = wire.decode_server(await _receive_one(sock, reader))
    except wire.WireError as error:
        raise ConnectionAbortedError(str(error)) from error
    if not isinstance(answer, wire.Pong) or answer.nonce != nonce:
        raise ConnectionAbortedError(f"a ping was answered by {answer!r}")


class AdminClient:
    """An operator's connection: `async with AdminClient(path) as admin`. OSError when the node is not there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None
        self._reader = wire.FrameReader()

    async def __aenter__(self) -> Self:
        self._sock = await connect(self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def _ask(self, what: str, **fields: Any) -> dict[str, Any]:
        assert self._sock is not None, "use it as a context manager"
        await _send_all(self._sock, wire.frame(msgspec.msgpack.encode({"do": what, **fields})))
        payload = await _receive_one(self._sock, self._reader)
        answer = msgspec.msgpack.decode(payload, type=dict[str, Any])
        if not answer.get("ok"):
            raise AdminError(f"{what}: {answer.get('error')}")
        return answer

    async def status(self) -> dict[str, Any]:
        """How the member stands: node.server.Server.status."""
        status: dict[str, Any] = (await self._ask("status"))["status"]
        return status

    async def clock(self) -> tuple[int, int, int]:
        """One bracketed reading in ns: true time from the origin, own time, true time."""
        answer = await self._ask("clock")
        return answer["before"], answer["clock"], answer["after"]

    async def set_clock(
        self, rate: float | None = None, offset_ns: int | None = None
    ) -> dict[str, Any]:
        """Go on at `rate` (own per true time), jump forward by `offset_ns`; bracketed readings of before and after."""
        return await self._ask("set_clock", rate=rate, offset_ns=offset_ns or 0)

    async def vote(self, election_timeout_ms: int) -> None:
        """Have a follower stand for election at its next tick, at most `election_timeout_ms` away."""
        await self._ask("vote", election_timeout_ms=election_timeout_ms)

    async def snapshot(self) -> None:
        """Have what is applied saved as a snapshot; returns when it is durable, or at once when nothing is new."""
        await self._ask("snapshot")

    async def change_members(
        self, members: Sequence[str], witnesses: Sequence[str] = (), remaining_ms: int = 60_000
    ) -> tuple[list[str], list[str]]:
        """Make `members` (`witnesses` among them) the group, at its leader; who was and who is a member, once it is committed.

        AdminError says not_leader, busy, invalid or catchup_timeout when nothing was changed. The outcome is not known after
        stepped_down, or when it took longer than `remaining_ms`.
        """
        fields = {"members": list(members), "witnesses": list(witnesses)}
        done = await self._ask("change_members", **fields, remaining_ms=remaining_ms)
        return done["old"], done["new"]

    async def reset_members(self, members: Sequence[str]) -> None:
        """Override what this one node takes for the group. Unsafe: two groups may come of it."""
        await self._ask("reset_members", members=list(members))

    async def get_leader(self) -> str:
        """Whom this node takes for the leader, "" when it knows none."""
        return str((await self._ask("get_leader"))["leader"])

    async def transfer(self, to: str = "", remaining_ms: int = 60_000) -> str:
        """Have the leader hand over to `to`, or to whoever is furthest; who leads now ("" if it was the leader itself).

        AdminError says not_leader, busy, invalid, unreachable or expired when it leads on, or that the outcome is not known.
        """
        done = await self._ask("transfer", to=to, remaining_ms=remaining_ms)
        return str(done["new"][0]) if done["new"] else ""

    async def readonly(self, readonly: bool) -> None:
        """Have this node enter or leave the read-only mode."""
        await self._ask("readonly", readonly=readonly)

    async def reset_election_timeout(
        self, election_timeout_ms: int, max_clock_drift_ms: int | None = None
    ) -> None:
        """Set E at this node, and D (None: E + D stays as it is). AdminError says what is invalid."""
        fields = {
            "election_timeout_ms": election_timeout_ms,
            "max_clock_drift_ms": max_clock_drift_ms,
        }
        await self._ask("reset_election_timeout", **fields)
