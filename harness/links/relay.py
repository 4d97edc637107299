"""The data path of the embedded links: synchronous, one epoll, no trio inside.

Everything happens in `Relay.poll` or in a plain method call between two polls, so a change of many
links is atomic: no byte moves while it is made. The shell (embedded.py) waits for `Relay.fileno`
to become readable or for `next_due_ns`, and polls. Clock: time.monotonic_ns, in the shell's hands.

A stream is followed frame by frame only as far as needed: without a rule on it, the frames'
lengths are skipped over and the bytes go on as they came; with one, whole frames are taken apart.
A frame that had begun to pass when a rule came passes to its end.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from harness.links.rules import FrameRule, RuleState
from harness.links.shapes import Toxic
from harness.links.table import Address, LinkState

RECEIVE_BYTES: Final = 256 * 1024
PENDING_BYTES_MAX: Final = 32 << 20  # beyond it a stream's source is not read
FRAME_BYTES_MAX: Final = 64 << 20  # a longer one is no frame: the stream is passed on raw
HEADER: Final = struct.Struct("<II")  # length and crc32 of the payload
BACKLOG: Final = 4096
SENDS_PER_POLL: Final = 64

Peek = Callable[[bytes], str | None]
STREAM_OF: Final = {"request": "upstream", "response": "downstream"}


class Side:
    """One socket of a connection: source of one stream, sink of the other."""

    def __init__(self, relay: Relay, sock: socket.socket) -> None:
        self.relay = relay
        self.sock = sock
        self.fd = sock.fileno()
        self.mask = 0
        self.reads: Stream  # the stream whose source this is
        self.writes: Stream  # the stream whose sink this is

    def watch(self) -> None:
        """Ask epoll for what the two streams need now."""
        if not self.reads.connection.alive:
            return
        mask = 0
        if not self.reads.ended and self.reads.pending_bytes <= PENDING_BYTES_MAX:
            mask |= select.EPOLLIN
        if self.writes.out:
            mask |= select.EPOLLOUT
        if mask != self.mask:
            self.relay.register(self.fd, self.mask, mask, self.on_event)
            self.mask = mask

    def on_event(self, mask: int) -> None:
        connection = self.reads.connection
        if mask & select.EPOLLOUT:
            self.writes.flush()
        if connection.alive and mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            try:
                data = self.sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                connection.close()
                return
            if data:
                self.reads.feed(data)
            else:
                self.reads.end()


class Stream:
    """One direction of one connection: framing, rules, black hole, delay, and what is unsent."""

    def __init__(self, connection: Connection, direction: str, source: Side, sink: Side) -> None:
        self.connection = connection
        self.direction = direction
        self.source = source
        self.sink = sink
        self.out: deque[memoryview] = deque()
        self.delayed: deque[tuple[int, bytes]] = deque()
        self.pending_bytes = 0
        self.ended = False
        self.finished = False
        self.drops = False
        self.delay_ns = 0
        self.framed = connection.proxy.framed and connection.proxy.relay.peek is not None
        self.frames_passed = 0
        self.inserts: deque[bytes] = deque()  # frames to go out at the next boundary
        self._raw_left = 0  # bytes of the frame that is passing
        self._raw_head = bytearray()  # the part of its header that has passed
        self._whole = bytearray()  # not yet passed: the beginning of a frame to be judged
        source.reads = self
        sink.writes = self

    # -- in -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        if self.drops:
            return
        if not self.framed:
            self.emit(data)
            return
        rules = self.connection.proxy.rules[self.direction]
        if not rules and not self.inserts and not self._whole:
            self._skip_over(data)
            self.emit(data)
            return
        passed = bytearray()
        if self._raw_left or self._raw_head:
            used = self._skip_over(data, one_frame=True)
            passed += data[:used]
            data = data[used:]
        self._whole += data
        if self.framed:
            self._take_apart(passed, rules)
        if not self.framed or not (rules or self.inserts):
            rest, self._whole = bytes(self._whole), bytearray()
            if self.framed:
                self._skip_over(rest)
            passed += rest
        if passed:
            self.emit(bytes(passed))

    def _skip_over(self, data: bytes, *, one_frame: bool = False) -> int:
        """Follow the frames' boundaries through bytes that pass; how many bytes that took."""
        position, end = 0, len(data)
        while position < end:
            if self._raw_left:
                step = min(self._raw_left, end - position)
                self._raw_left -= step
                position += step
            else:
                step = min(HEADER.size - len(self._raw_head), end - position)
                self._raw_head += data[position : position + step]
                position += step
                if len(self._raw_head) < HEADER.size:
                    break
                self._raw_left = HEADER.unpack(self._raw_head)[0]
                self._raw_head.clear()
                if self._raw_left > FRAME_BYTES_MAX:
                    self.framed = False
                    return end
            if not self._raw_left and not self._raw_head:
                self.frames_passed += 1
                if one_frame:
                    break
        return position

    def _take_apart(self, passed: bytearray, rules: list[RuleState]) -> None:
        whole, position = self._whole, 0
        relay = self.connection.proxy.relay
        assert relay.peek is not None
        self._place_inserts(passed)
        while len(whole) - position >= HEADER.size:
            length = HEADER.unpack_from(whole, position)[0]
            if length > FRAME_BYTES_MAX:
                self.framed = False
                break
            end = position + HEADER.size + length
            if len(whole) < end:
                break
            frame = bytes(whole[position:end])
            position = end
            kind = relay.kind(frame[HEADER.size :]) if rules else None
            rule = next((rule for rule in rules if rule.takes(kind)), None)
            if rule is None or relay.act(rule, self, frame):
                passed += frame
                self.frames_passed += 1
            if rule is not None and rule.rule.action == "duplicate" and not rule.rule.delay_ms:
                passed += frame
            self._place_inserts(passed)
        del whole[:position]

    def _place_inserts(self, passed: bytearray) -> None:
        if not self._raw_left and not self._raw_head and self.frames_passed:
            while self.inserts:
                passed += self.inserts.popleft()

    def insert(self, frame: bytes) -> None:
        """Send a whole frame between two others, never before the first (a greeting, mostly)."""
        if self._raw_left or self._raw_head or not self.frames_passed:
            self.inserts.append(frame)
        else:
            self.emit(frame)

    def end(self) -> None:
        """The source has ended: what is pending goes out, then the sink learns of it."""
        if self._whole:
            self.emit(bytes(self._whole))
            self._whole.clear()
        self.ended = True
        self.source.watch()
        self._finish_if_empty()

    # -- out ----------------------------------------------------------------------------------

    def emit(self, data: bytes) -> None:
        if self.drops or self.ended:
            return
        if self.delay_ns:
            due_ns = time.monotonic_ns() + self.delay_ns
            self.delayed.append((due_ns, data))
            self.pending_bytes += len(data)
            self.connection.proxy.relay.at(due_ns, self.release_due)
            self.source.watch()
        else:
            self.write(data)

    def release_due(self) -> None:
        now_ns = time.monotonic_ns()
        while self.delayed and (self.delayed[0][0] <= now_ns or not self.delay_ns):
            data = self.delayed.popleft()[1]
            self.pending_bytes -= len(data)
            self.write(data)
        self._finish_if_empty()

    def write(self, data: bytes) -> None:
        if not self.connection.alive:
            return
        sent = 0
        if not self.out:
            try:
                sent = self.sink.sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self.connection.close()
                return
            if sent == len(data):
                return
        self.out.append(memoryview(data)[sent:])
        self.pending_bytes += len(data) - sent
        self.sink.watch()
        self.source.watch()

    def flush(self) -> None:
        try:
            while self.out:
                sent = self.sink.sock.send(self.out[0])
                self.pending_bytes -= sent
                if sent < len(self.out[0]):
                    self.out[0] = self.out[0][sent:]
                else:
                    self.out.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.connection.close()
            return
        self.sink.watch()
        self.source.watch()
        self._finish_if_empty()

    def _finish_if_empty(self) -> None:
        empty = not self.out and not self.delayed
        if self.connection.alive and self.ended and empty and not self.finished:
            self.finished = True
            with contextlib.suppress(OSError):
                self.sink.sock.shutdown(socket.SHUT_WR)
            self.connection.close_if_finished()


class Connection:
    """A client's socket, the upstream's socket, and the two streams between them."""

    def __init__(self, proxy: Proxy, serial: int, client: socket.socket) -> None:
        self.proxy = proxy
        self.serial = serial
        self.alive = True
        upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.client = Side(proxy.relay, client)
        self.upstream = Side(proxy.relay, upstream)
        self.streams = (
            Stream(self, "request", self.client, self.upstream),
            Stream(self, "response", self.upstream, self.client),
        )
        for sock in (client, upstream):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if upstream.connect_ex(proxy.upstream) not in (0, errno.EINPROGRESS):
            self.close()
            return
        self.upstream.mask = select.EPOLLOUT
        proxy.relay.register(self.upstream.fd, 0, select.EPOLLOUT, self._on_connected)

    def _on_connected(self, _mask: int) -> None:
        if self.upstream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            return
        self.proxy.relay.register(self.upstream.fd, self.upstream.mask, 0, self._on_connected)
        self.upstream.mask = 0
        for side in (self.client, self.upstream):
            side.watch()

    def close_if_finished(self) -> None:
        if all(stream.finished for stream in self.streams):
            self.close()

    def close(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self.proxy.connections.pop(self.serial, None)
        for side in (self.client, self.upstream):
            self.proxy.relay.register(side.fd, side.mask, 0, side.on_event)
            side.mask = 0
            side.sock.close()


class Proxy:
    """One link: a listener, its toxics, its desired state, its connections."""

    def __init__(
        self, relay: Relay, name: str, listen: Address, upstream: Address, framed: bool
    ) -> None:
        self.relay = relay
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.framed = framed
        self.state = LinkState()
        self.toxics: dict[str, Toxic] = {}
        self.connections: dict[int, Connection] = {}
        self.rules: dict[str, list[RuleState]] = {"request": [], "response": []}
        # Frames for a newer connection than the one they were held on: serial, stream, frame.
        self.stale: list[tuple[int, str, bytes]] = []
        self._listener: socket.socket | None = None

    @property
    def enabled(self) -> bool:
        return self._listener is not None

    def enable(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self.listen)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self.listen = listener.getsockname()
        self.relay.register(listener.fileno(), 0, select.EPOLLIN, self._on_accept)

    def disable(self) -> None:
        """Close the listener and all connections."""
        if self._listener is not None:
            self.relay.register(self._listener.fileno(), select.EPOLLIN, 0, self._on_accept)
            self._listener.close()
            self._listener = None
        self.close_connections()

    def close_connections(self) -> None:
        for connection in list(self.connections.values()):
            connection.close()

    def _on_accept(self, _mask: int) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        serial = self.relay.next_serial()
        connection = Connection(self, serial, client)
        if not connection.alive:
            return
        self.connections[serial] = connection
        for stream in connection.streams:
            self._shape(stream)
            stream.inserts.extend(f for _, where, f in self.stale if where == stream.direction)
        self.stale.clear()
        for toxic in self.toxics.values():
            self._close_later(toxic, [connection])

    def _shape(self, stream: Stream) -> None:
        """Bring one stream to what state and toxics ask of it now."""
        name = STREAM_OF[stream.direction]
        toxics = [toxic for toxic in self.toxics.values() if toxic.stream == name]
        drops = self.state.cut or any(toxic.type == "timeout" for toxic in toxics)
        delay_ms = self.state.latency_ms + sum(t.attributes.get("latency", 0) for t in toxics)
        if stream.drops and not drops:
            # Bytes are missing in the middle of it: no peer may read on.
            stream.connection.close()
            return
        if drops:
            stream.delayed.clear()
            stream.pending_bytes = sum(map(len, stream.out))
        stream.drops = drops
        flush = delay_ms * 1_000_000 < stream.delay_ns
        stream.delay_ns = delay_ms * 1_000_000
        if flush:
            now_ns = time.monotonic_ns()
            due = [(min(at_ns, now_ns), data) for at_ns, data in stream.delayed]
            stream.delayed = deque(due)
            stream.release_due()

    def reshape(self) -> None:
        for connection in list(self.connections.values()):
            for stream in connection.streams:
                if connection.alive:
                    self._shape(stream)

    def set_state(self, state: LinkState) -> None:
        self.state = state
        self.reshape()

    def add_toxic(self, toxic: Toxic) -> None:
        self.toxics[toxic.name] = toxic
        self.reshape()
        self._close_later(toxic, list(self.connections.values()))

    def remove_toxic(self, name: str) -> None:
        del self.toxics[name]
        self.reshape()

    def _close_later(self, toxic: Toxic, connections: list[Connection]) -> None:
        after_ms = toxic.attributes.get("timeout", 0) if toxic.type == "timeout" else 0
        if after_ms > 0:
            due_ns = time.monotonic_ns() + after_ms * 1_000_000
            for connection in connections:
                self.relay.at(due_ns, connection.close)

    def deliver_to_newer(self, serial: int, direction: str, frame: bytes) -> None:
        """Send a frame of an older connection on the newest one, or on the next to come."""
        newest = max(self.connections, default=0)
        if newest > serial:
            for stream in self.connections[newest].streams:
                if stream.direction == direction:
                    stream.insert(frame)
        else:
            self.stale.append((serial, direction, frame))


class Relay:
    """All proxies, rules and timers of one embedded server."""

    def __init__(self, peek: Peek | None = None) -> None:
        self.peek = peek
        self.proxies: dict[str, Proxy] = {}
        self.rules: dict[str, RuleState] = {}
        self._held: dict[str, list[tuple[Stream, bytes]]] = {}
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        # Wakes the shell when a timer was set from outside of `poll`.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.register(self._wake, 0, select.EPOLLIN, lambda _: self._unwake())

    def fileno(self) -> int:
        """Readable when `poll` has work to do."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close all sockets and descriptors."""
        for proxy in self.proxies.values():
            proxy.disable()
        os.close(self._wake)
        self._epoll.close()

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def register(self, fd: int, old: int, new: int, handler: Callable[[int], None]) -> None:
        """Change what is watched on a descriptor from `old` to `new` (0: nothing)."""
        if new == 0:
            self._handlers.pop(fd, None)
            if old:
                self._epoll.unregister(fd)
            return
        self._handlers[fd] = handler
        if old:
            self._epoll.modify(fd, new)
        else:
            self._epoll.register(fd, new)

    # -- time ---------------------------------------------------------------------------------

    def at(self, due_ns: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (due_ns, self.next_serial(), do))
        if self._timers[0][0] == due_ns:
            os.eventfd_write(self._wake, 1)

    def _unwake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    @property
    def next_due_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    def poll(self) -> bool:
        """Do what is ready; False when nothing was."""
        events = self._epoll.poll(0, SENDS_PER_POLL)
        for fd, mask in events:
            # An earlier event of this batch may have closed it.
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(mask)
        now_ns = time.monotonic_ns()
        fired = False
        while self._timers and self._timers[0][0] <= now_ns:
            heapq.heappop(self._timers)[2]()
            fired = True
        return fired or bool(events)

    # -- rules --------------------------------------------------------------------------------

    def add_rule(self, rule: FrameRule) -> RuleState:
        """Set a rule; one of the same id goes first, with what it held."""
        self.remove_rule(rule.id)
        self.rules[rule.id] = state = RuleState(rule=rule)
        self._held[rule.id] = []
        self.share_rules()
        return state

    def remove_rule(self, rule_id: str) -> RuleState | None:
        """Take a rule away and release what it held, in order."""
        state = self.rules.pop(rule_id, None)
        if state is not None:
            self.share_rules()
            for stream, frame in self._held.pop(rule_id):
                self._send_late(state, stream, frame)
        return state

    def share_rules(self) -> None:
        """Tell every proxy which rules look at its streams."""
        for proxy in self.proxies.values():
            for direction in proxy.rules:
                proxy.rules[direction] = [
                    state for state in self.rules.values() if state.covers(proxy.name, direction)
                ]

    def kind(self, payload: bytes) -> str | None:
        """The kind of a message; None if the framer cannot say."""
        assert self.peek is not None
        try:
            return self.peek(payload)
        except Exception:  # a framer is foreign code, and a payload may be anything
            return None

    def act(self, state: RuleState, stream: Stream, frame: bytes) -> bool:
        """Do to a frame what the rule says; True if it passes now as well."""
        rule = state.rule
        match rule.action:
            case "drop":
                state.dropped += 1
                return False
            case "hold":
                state.held += 1
                self._held[rule.id].append((stream, frame))
                return False
            case "delay":
                state.delayed += 1
            case "duplicate":
                state.duplicated += 1
                if not rule.delay_ms:
                    return True
        due_ns = time.monotonic_ns() + rule.delay_ms * 1_000_000
        self.at(due_ns, lambda: self._send_late(state, stream, frame))
        return rule.action == "duplicate"

    def _send_late(self, state: RuleState, stream: Stream, frame: bytes) -> None:
        connection = stream.connection
        if connection.alive:
            state.released += 1
            stream.insert(frame)
        elif state.rule.deliver == "new":
            state.released += 1
            connection.proxy.deliver_to_newer(connection.serial, stream.direction, frame)
        else:
            state.discarded += 1
