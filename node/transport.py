"""Sockets of one process under one epoll: raw, non-blocking, one send per connection and turn of the loop.

A Connection carries frames both ways. A PeerLink is the way to one other member: it dials, says hello, and dials again when
the connection breaks. Requests a member makes travel on its own link and are answered on it; hence each direction between
two members can be cut by itself. Nothing is queued for a link that is down: Raft sends again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Final

from node.wire import FrameReader, WireError, frame

READ_BYTES: Final = 256 * 1024
BACKLOG_BYTES_MAX: Final = 4 * 1024 * 1024
"""Beyond this much unsent, a connection is not given more."""
CONNECT_NS_MAX: Final = 300_000_000
RECONNECT_NS: Final = 50_000_000

_BROKEN: Final = select.EPOLLERR | select.EPOLLHUP


class ConnectionClosed(Exception):
    """The other side closed, or the kernel gave the connection up."""


class Traffic:
    """Counts over all connections of one process."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "dropped",
        "frames_in",
        "frames_out",
        "malformed",
        "sends",
        "strangers",
    )

    def __init__(self) -> None:
        self.frames_in = 0
        self.frames_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.sends = 0
        self.dropped = 0
        self.malformed = 0
        self.strangers = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Poller:
    """One epoll and who is to be told about which descriptor."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, handler: Callable[[int], None], mask: int = select.EPOLLIN) -> None:
        self.handlers[fd] = handler
        self.epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        self.epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def close(self) -> None:
        self.epoll.close()


class Connection:
    """Frames over one stream socket. Closed once `closed` is true; sending to a closed one does nothing."""

    __slots__ = (
        "_blocked",
        "_out",
        "_out_bytes",
        "_poller",
        "_reader",
        "_sock",
        "_traffic",
        "closed",
        "fd",
        "label",
        "member",
    )

    def __init__(self, sock: socket.socket, poller: Poller, traffic: Traffic, label: str) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._poller = poller
        self._traffic = traffic
        self._reader = FrameReader()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._blocked = False
        self.fd = sock.fileno()
        self.label = label
        self.member = ""
        """Who said hello here."""
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "blocked" if self._blocked else "open"
        return f"<Connection {self.label} {state} out={self._out_bytes}>"

    def receive(self) -> list[bytes]:
        """Whole payloads that have arrived; raises ConnectionClosed or WireError."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ConnectionClosed(str(error)) from None
        if not data:
            raise ConnectionClosed("end of stream")
        payloads = self._reader.feed(data)
        traffic = self._traffic
        traffic.bytes_in += len(data)
        traffic.frames_in += len(payloads)
        return payloads

    def queue(self, payload: bytes) -> bool:
        """Frame `payload` for the next flush; False when it was dropped since too much is unsent already."""
        if self.closed or self._out_bytes > BACKLOG_BYTES_MAX:
            self._traffic.dropped += 1
            return False
        data = frame(payload)
        self._out.append(data)
        self._out_bytes += len(data)
        self._traffic.frames_out += 1
        return True

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it; raises ConnectionClosed."""
        out = self._out
        if self._blocked or self.closed or not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ConnectionClosed(str(error)) from None
        traffic = self._traffic
        traffic.sends += 1
        traffic.bytes_out += sent
        out.clear()
        if sent == len(data):
            self._out_bytes = 0
            return
        out.append(data[sent:])
        self._out_bytes = len(data) - sent
        self._blocked = True
        self._poller.change(self.fd, select.EPOLLIN | select.EPOLLOUT)

    def writable(self) -> None:
        """The kernel takes more again. The rest leaves with the next flush, not here: what was queued behind it in this
        turn may rest on events that are not written yet.
        """
        if self._blocked:
            self._blocked = False
            self._poller.change(self.fd, select.EPOLLIN)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._poller.forget(self.fd)
            self._sock.close()
            self._out.clear()


def listen_tcp(address: tuple[str, int]) -> socket.socket:
    """A listening socket that a restarted process can open at once; OSError names the address."""
    sock = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: {address[0]}:{address[1]}") from None
    return sock


def listen_unix(path: str) -> socket.socket:
    """A listening unix socket at `path`, in place of one that a dead process left there."""
    sock = socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    try:
        sock.bind(path)
        sock.listen(64)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: {path}") from None
    return sock


def accept(listener: socket.socket) -> socket.socket | None:
    """The next connection that waits; None when there is none."""
    try:
        sock, _ = listener.accept()
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
            return None
        raise
    return sock


class PeerLink:
    """The way to one other member.

    `deadline` is the true time at which `tick` wants to be called, None when nothing is due. `on_frames` gets what comes
    back, `on_up` is called when a connection stands (hello is queued by then), `on_down` when one broke.
    """

    def __init__(
        self,
        peer: str,
        address: tuple[str, int],
        hello: bytes,
        poller: Poller,
        traffic: Traffic,
        *,
        on_frames: Callable[[str, list[bytes]], None],
        on_down: Callable[[str], None],
    ) -> None:
        self.peer = peer
        self.address = address
        self._hello = hello
        self._poller = poller
        self._traffic = traffic
        self._on_frames = on_frames
        self._on_down = on_down
        self._connecting: socket.socket | None = None
        self._connection: Connection | None = None
        self._missed = False
        self._dialled = 0
        self.deadline: int | None = 0
        self.connects = 0

    def __repr__(self) -> str:
        return f"<PeerLink to {self.peer} {self.state}>"

    @property
    def state(self) -> str:
        if self._connection is not None:
            return "up"
        return "connecting" if self._connecting is not None else "down"

    def tick(self, now: int) -> None:
        """Dial if it is time to, or give up a dial that takes too long."""
        if self.deadline is None or now < self.deadline:
            return
        if self._connecting is not None:
            self._abandon(now)
            return
        sock = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._dialled = now
        code = sock.connect_ex(self.address)
        self._connecting = sock
        if code not in (0, errno.EINPROGRESS):
            self._abandon(now, watched=False)
            return
        self.deadline = now + CONNECT_NS_MAX
        self._poller.watch(sock.fileno(), lambda mask: self._connected(now), select.EPOLLOUT)

    def _abandon(self, now: int, *, watched: bool = True) -> None:
        sock = self._connecting
        self._connecting = None
        if sock is not None:
            if watched:
                self._poller.forget(sock.fileno())
            sock.close()
        self.deadline = now + RECONNECT_NS

    def _connected(self, since: int) -> None:
        sock = self._connecting
        if sock is None:
            return
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self._abandon(since)
            return
        self._poller.forget(sock.fileno())
        self._connecting = None
        self.deadline = None
        self.connects += 1
        connection = Connection(sock, self._poller, self._traffic, f"to {self.peer}")
        self._connection = connection
        self._poller.watch(connection.fd, self._ready)
        connection.queue(self._hello)
        try:
            connection.flush()
        except ConnectionClosed:
            self._lost()
            return
        if self._missed:
            # What was asked while there was no connection will not be answered: say so now that asking again helps.
            self._missed = False
            self._on_down(self.peer)

    def _ready(self, mask: int) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            if mask & select.EPOLLOUT:
                connection.writable()
            payloads = connection.receive() if mask & ~select.EPOLLOUT else []
        except WireError:
            self._traffic.malformed += 1
            self._lost()
            return
        except ConnectionClosed:
            self._lost()
            return
        if payloads:
            self._on_frames(self.peer, payloads)

    def _lost(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            # A proxy whose upstream is dead accepts and hangs up: dialling again at once would never end.
            self.deadline = self._dialled + RECONNECT_NS
            self._on_down(self.peer)

    def queue(self, payload: bytes) -> None:
        """One request for the next flush; dropped while no connection stands."""
        if self._connection is None:
            self._missed = True
            self._traffic.dropped += 1
        else:
            self._connection.queue(payload)

    def flush(self) -> None:
        if self._connection is not None:
            try:
                self._connection.flush()
            except ConnectionClosed:
                self._lost()

    def reset(self) -> None:
        """Give the connection up, as if it had broken."""
        self._lost()

    def close(self) -> None:
        if self._connecting is not None:
            self._abandon(0)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
