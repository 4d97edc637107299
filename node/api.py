"""The public face of the node: configuration, client, admin client, names of bugs, and a framer that peeks at message kinds.

Nothing else of this package is for outside. Deadlines belong to the callers: every call here may be cancelled; a client's call
that was cancelled has closed its connection, since an answer that is still under way must not be taken for a later call's.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, Self

import msgspec
import trio

from node import wire
from node.config import ConfigError, NodeConfig
from node.kv import encode_add, encode_append, encode_cas, encode_write
from node.raft.bugs import CATALOGUE
from node.raft.effects import Options
from node.storage.powerloss import cut_to_synced, read_synced
from node.wire import peek_kind

__all__ = [
    "CATALOGUE",
    "AdminClient",
    "AdminError",
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

Address = tuple[str, int]
_READ_BYTES: Final = 65_536
_wait_readable = trio.lowlevel.wait_readable


class AdminError(OSError):
    """The node refused an admin request; the message is its own."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one operation, sorted the way a history needs it.

    ok: it happened, `value` is what was written, appended or read, {"from", "to", "swapped"[, "saw"]} of a cas, or
    {"add", "now"} of an add, with the counter after it; `term` and `log_index` are the entry's (for a read: of the state it
    saw). fail: it definitely did not happen. info: nobody knows. `leader` is a hint.
    """

    kind: Literal["ok", "fail", "info"]
    value: Any = None
    term: int | None = None
    log_index: int | None = None
    error: str | None = None
    leader: str = ""


class Client:
    """One session on one connection, one operation at a time; connects at its first call.

    `sent` tells whether a byte of the newest call was handed to the kernel, `connected` whether the connection stands.
    """

    __slots__ = ("_address", "_id", "_reader", "_seq", "_session", "_sock", "sent")

    def __init__(self, address: Address, session: str) -> None:
        self._address = address
        self._session = session
        self._sock: socket.socket | None = None
        self._reader = wire.FrameReader()
        self._id = 0
        self._seq = 0
        self.sent = False

    def __repr__(self) -> str:
        state = "connected" if self.connected else "closed"
        return f"<Client {self._session} to {self._address} {state}>"

    @property
    def connected(self) -> bool:
        return self._sock is not None

    async def call(
        self, f: str, key: str, value: Any, mode: str | None, remaining_ms: int
    ) -> Outcome:
        """Carry out "read" (with `mode`), "write" (`value`), "cas" (`value` = {"from", "to"}), "add" (`value` to a counter) or
        "append" (`value` to a list).

        Connecting and sending may fail before anything was sent: fail. After the first byte: info.
        """
        self.sent = False
        # Numbered before anything can fail: a retry then names this very operation, never an earlier one.
        self._seq += f != "read"
        try:
            if self._sock is None:
                await self._connect()
            self._id += 1
            if f == "read":
                request: wire.Get | wire.Submit = wire.Get(
                    self._id, max(0, remaining_ms), self._session, key, mode or "lease"
                )
            else:
                request = wire.Submit(
                    self._id, max(0, remaining_ms), self._session, self._command(f, key, value)
                )
            await self._send(wire.frame(wire.encode(request)))
            answer = await self._receive()
        except (OSError, wire.WireError) as error:
            self.close()
            text = f"{type(error).__name__}: {error}"
            return Outcome("info" if self.sent else "fail", error=text)
        except BaseException:
            self.close()
            raise
        return self._outcome(f, value, answer)

    def _command(self, f: str, key: str, value: Any) -> bytes:
        session, seq = self._session, self._seq
        if f == "write":
            return encode_write(session, seq, key, value)
        if f == "cas":
            return encode_cas(session, seq, key, value["from"], value["to"])
        if f == "add":
            return encode_add(session, seq, key, value)
        if f == "append":
            return encode_append(session, seq, key, value)
        raise ValueError(f"this system has read, write, cas, add and append, asked was {f!r}")

    async def retry(
        self, f: str, key: str, value: Any, mode: str | None, remaining_ms: int
    ) -> Outcome:
        """The newest write or cas once more, under the same sequence number: applied at most once."""
        if f != "read":
            self._seq -= 1
        return await self.call(f, key, value, mode, remaining_ms)

    def _outcome(self, f: str, value: Any, answer: wire.Done | wire.Refused) -> Outcome:
        if isinstance(answer, wire.Refused):
            kind: Literal["fail", "info"] = "fail" if answer.definite else "info"
            return Outcome(kind, error=answer.code, leader=answer.leader)
        if f == "read":
            found = answer.value
        elif f in ("write", "append"):
            found = value
        elif f == "add":
            found = {"add": value, "now": answer.value}
        elif answer.swapped:
            found = {"from": value["from"], "to": value["to"], "swapped": True}
        else:
            found = {
                "from": value["from"],
                "to": value["to"],
                "swapped": False,
                "saw": answer.saw,
            }
        return Outcome("ok", found, answer.term, answer.log_index)

    async def _connect(self) -> None:
        self._sock = await connect(self._address)
        self._reader = wire.FrameReader()

    async def _send(self, data: bytes) -> None:
        assert self._sock is not None
        while True:
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                count = 0
            if count:
                self.sent = True
            if count == len(data):
                return
            data = data[count:]
            await trio.lowlevel.wait_writable(self._sock)

    async def _receive(self) -> wire.Done | wire.Refused:
        sock = self._sock
        assert sock is not None
        while True:
            await _wait_readable(sock)
            try:
                data = sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionResetError("the node or a link closed the connection")
            for payload in self._reader.feed(data):
                answer = wire.decode_server(payload)
                if isinstance(answer, wire.Done | wire.Refused) and answer.id == self._id:
                    return answer

    def move(self, address: Address) -> None:
        """Go on at another member in the same session, whose numbers go on too."""
        if address != self._address:
            self.close()
            self._address = address

    def close(self) -> None:
        """Close the connection; the next call opens a new one (in the same session)."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


async def connect(address: Address | str) -> socket.socket:
    """A connected non-blocking socket (a string is a unix socket's path); OSError if nobody listens."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, f"cannot connect to {address}") from None
    except BaseException:
        sock.close()
        raise
    return sock


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
