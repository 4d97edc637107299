"""A client of the group: one session, one connection, one operation at a time, its outcomes sorted for a history.

Theory of operation: all sockets of the clients of one trio run hang on one epoll, served by one system task (`_Hub`). A wait
for each socket by itself would cost a system call, a pass of trio's loop and a switch of tasks an answer, which is more than
all the rest of a client's work. What follows an answer, when it is known beforehand (`calls`), is done by that task at once:
all answers that are there, then what has to be settled before anything follows them, then all that follows them.
Deadlines belong to the callers: a call that was cancelled has closed its connection, since an answer that is still under way
must not be taken for a later call's.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import trio

from node import wire
from node.kv import encode_add, encode_append, encode_cas, encode_write

Address = tuple[str, int]
Call = tuple[str, str, Any, str | None, int]
"""What to ask: operation, key, value, read mode, and for how many ms the answer is of use."""
_READ_BYTES: Final = 65_536
_EVENTS_MAX: Final = 256
_PASSES: Final = 4
"""Looks at the epoll before others get their turn: what came meanwhile costs no pass of trio's loop."""


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


class _CallersError(Exception):
    """What a caller's `then` or `settle` raised (`cause`): no failure of the connection, though it may be an OSError."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


class _Hub:
    """The connections of all clients of one trio run. Its task ends with the run."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._asking: list[Client] = []
        """Who has a request to send once everything is settled."""
        self._settle: set[Callable[[], None]] = set()

    def watch(self, fd: int, client: Client) -> None:
        self._clients[fd] = client
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Before the descriptor is closed, or when there is nothing to be read from it any more."""
        if self._clients.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for _ in range(_PASSES):
                    found = self._epoll.poll(0, _EVENTS_MAX)
                    if not found:
                        break
                    for fd, _ in found:
                        client = self._clients.get(fd)
                        if client is not None:
                            client.arrived()
                    self._follow()
        finally:
            self._epoll.close()

    def follows(self, client: Client, settle: Callable[[], None] | None) -> None:
        """`client` has something to send as soon as `settle` was called."""
        self._asking.append(client)
        if settle is not None:
            self._settle.add(settle)

    def _follow(self) -> None:
        asking, self._asking = self._asking, []
        settle, self._settle = self._settle, set()
        try:
            for call in settle:
                call()
        except BaseException as error:
            for client in asking:
                client.broke(_CallersError(error))
            return
        for client in asking:
            client.follow()


_hub: Final[trio.lowlevel.RunVar[_Hub]] = trio.lowlevel.RunVar("hub")


def _the_hub() -> _Hub:
    try:
        return _hub.get()
    except LookupError:
        hub = _Hub()
        _hub.set(hub)
        trio.lowlevel.spawn_system_task(hub.run, name="node.client hub")
        return hub


class Client:
    """One session on one connection, one operation at a time; connects at its first call.

    `sent` tells whether a byte of the newest call was handed to the kernel, `connected` whether the connection stands.
    """

    __slots__ = (
        "_address",
        "_broken",
        "_call",
        "_fd",
        "_hub",
        "_id",
        "_next",
        "_reader",
        "_seq",
        "_session",
        "_settle",
        "_sock",
        "_task",
        "_unsent",
        "sent",
    )

    def __init__(self, address: Address, session: str) -> None:
        self._address = address
        self._session = session
        self._sock: socket.socket | None = None
        self._fd = -1
        self._hub: _Hub | None = None
        self._reader = wire.FrameReader()
        self._id = 0
        self._seq = 0
        self._call: Call | None = None
        """What is under way."""
        self._next: Callable[[Outcome], Call | None] | None = None
        self._settle: Callable[[], None] | None = None
        self._task: trio.lowlevel.Task | None = None
        """Who waits until nothing more is to be asked, or something went wrong."""
        self._unsent = b""
        self._broken: BaseException | None = None
        """What went wrong, until that task has it."""
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
        found: list[Outcome] = []
        await self.calls((f, key, value, mode, remaining_ms), found.append)
        return found[0]

    async def calls(
        self,
        first: Call,
        then: Callable[[Outcome], Call | None],
        settle: Callable[[], None] | None = None,
    ) -> None:
        """Carry out one call after another: `then` gets what became of each, and says what to ask next, None for nothing more.

        `then` runs in another task, and must neither wait nor cancel. What it says to ask is sent after a call of `settle`,
        one for all clients that give the same and were answered at once. After anything but an answer the connection is closed
        (as after a cancellation, of which `then` is not told), and opened again by what follows.
        What `then` or `settle` raises is raised here.
        """
        call: Call | None = first
        while call is not None:
            call = await self._converse(call, then, settle)
            if call is not None and settle is not None:
                settle()

    async def _converse(
        self,
        first: Call,
        then: Callable[[Outcome], Call | None],
        settle: Callable[[], None] | None,
    ) -> Call | None:
        """As long as one connection lasts; what is to be asked on the next one."""
        self.sent = False
        self._next = then
        self._settle = settle
        try:
            # Numbered before anything can fail: a retry then names this very operation, never an earlier one.
            self._seq += first[0] != "read"
            if self._broken is not None:
                # It ended while nothing was asked on it: a request sent there would be lost and count as unknown.
                self.close()
            if self._sock is None:
                await self._connect()
            self._ask(first)
            self._send()
            while self._call is not None and self._broken is None:
                if self._unsent:
                    await trio.lowlevel.wait_writable(self._fd)
                    self._send()
                else:
                    self._task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
            if self._broken is not None:
                raise self._broken
            return None
        except _CallersError as error:
            self.close()
            raise error.cause from None
        except (OSError, wire.WireError) as error:
            self.close()
            text = f"{type(error).__name__}: {error}"
            return then(Outcome("info" if self.sent else "fail", error=text))
        except BaseException:
            self.close()
            raise
        finally:
            self._next = self._settle = None
            self._call = None

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _ask(self, call: Call) -> None:
        """Make one request ready to be sent."""
        f, key, value, mode, remaining_ms = call
        self.sent = False
        self._call = call
        self._id += 1
        request: wire.Get | wire.Submit
        if f == "read":
            request = wire.Get(self._id, max(0, remaining_ms), self._session, key, mode or "lease")
        else:
            command = self._command(f, key, value)
            request = wire.Submit(self._id, max(0, remaining_ms), self._session, command)
        self._unsent = wire.frame(wire.encode(request))

    def _send(self) -> None:
        """What is ready, or a part of it; raises OSError."""
        assert self._sock is not None
        try:
            count = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        self.sent = True
        self._unsent = self._unsent[count:]

    def arrived(self) -> None:
        """The hub's word that something can be read. What goes wrong here is the waiting task's."""
        assert self._sock is not None
        try:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                raise ConnectionResetError("the node or a link closed the connection")
            for payload in self._reader.feed(data):
                answer = wire.decode_server(payload)
                if isinstance(answer, wire.Done | wire.Refused) and answer.id == self._id:
                    self._answered(answer)
        except BaseException as error:
            self.broke(error)

    def broke(self, error: BaseException) -> None:
        """`error` is the waiting task's."""
        self._broken = error
        if self._hub is not None:
            self._hub.forget(self._fd)
        self._wake()

    def follow(self) -> None:
        """The hub's word that what follows may be sent."""
        if self._broken is not None:
            return
        try:
            self._send()
        except OSError as error:
            self.broke(error)
        else:
            if self._unsent:
                self._wake()

    def _answered(self, answer: wire.Done | wire.Refused) -> None:
        call, then = self._call, self._next
        if call is None or then is None or self._unsent:
            return
        self._call = None
        try:
            following = then(self._outcome(call[0], call[2], answer))
        except BaseException as error:
            raise _CallersError(error) from error
        if following is None:
            self._wake()
            return
        assert self._hub is not None
        self._seq += following[0] != "read"
        self._ask(following)
        self._hub.follows(self, self._settle)

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

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
        self._sock = sock = await connect(self._address)
        self._fd = sock.fileno()
        self._reader = wire.FrameReader()
        self._broken = None
        self._hub = _the_hub()
        self._hub.watch(self._fd, self)

    def move(self, address: Address) -> None:
        """Go on at another member in the same session, whose numbers go on too."""
        if address != self._address:
            self.close()
            self._address = address

    def close(self) -> None:
        """Close the connection; the next call opens a new one (in the same session)."""
        if self._sock is not None:
            if self._hub is not None:
                self._hub.forget(self._fd)
            self._sock.close()
            self._sock = None
            self._unsent = b""
            self._broken = None


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
