"""Clients that record nothing, in a process of their own: what the nodes do when the harness is not in their way.

python -m benchmarks.load HOST PORT --clients 50 --seconds 5 --mix writes

Each client has a connection and a session of its own, and one operation under way at a time. One loop under one epoll serves
them all, so that this process takes less CPU than the leader. The result is one line of JSON.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from benchmarks.machine import quantile
from harness.seeds import stream
from node import wire
from node.kv import encode_write

MIXES = {
    "half-readindex": (0.5, "readindex"),
    "half-lease": (0.5, "lease"),
    "writes": (1.0, "lease"),
    "readindex": (0.0, "readindex"),
    "lease": (0.0, "lease"),
}
"""Name of a mix: share of writes, and how the others read."""
KEYS = 16


class Load(msgspec.Struct):
    """`p50` and `p99` are ms from the send to the answer; `cpu_s` is this process' user and system time over `span_s`;
    `other` counts refusals.
    """

    rate: float
    span_s: float
    cpu_s: float
    p50: float
    p99: float
    writes: int
    other: int


class Session:
    """One client's connection, and what it has under way."""

    __slots__ = ("began", "fd", "name", "number", "reader", "sock", "write")

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        self.reader = wire.FrameReader()
        self.name = name
        self.number = 0
        self.began = 0
        self.write = False

    def ask(self, writes: float, mode: str, draw: Callable[[], float]) -> None:
        self.number += 1
        key = f"k{int(draw() * KEYS)}"
        self.write = draw() < writes
        request: wire.Submit | wire.Get
        if self.write:
            command = encode_write(self.name, self.number, key, self.number)
            request = wire.Submit(self.number, 2000, self.name, command)
        else:
            request = wire.Get(self.number, 2000, self.name, key, mode)
        self.began = time.perf_counter_ns()
        self.sock.send(wire.frame(wire.encode(request)))


def run(address: tuple[str, int], clients: int, seconds: float, mix: str, name: str) -> Load:
    """Raises ConnectionError when the node hangs up."""
    writes, mode = MIXES[mix]
    draw = stream(1, name).random
    epoll = select.epoll()
    sessions: dict[int, Session] = {}
    for number in range(clients):
        session = Session(address, f"{name}/{number}")
        sessions[session.fd] = session
        epoll.register(session.fd, select.EPOLLIN)
    waits: list[int] = []
    wrote = other = 0
    cpu = time.process_time()
    begin = time.perf_counter_ns()
    end = begin + int(seconds * 1e9)
    for session in sessions.values():
        session.ask(writes, mode, draw)
    while (now := time.perf_counter_ns()) < end:
        for fd, _ in epoll.poll(0.1, clients):
            session = sessions[fd]
            data = session.sock.recv(65_536)
            if not data:
                raise ConnectionResetError("the node closed the connection")
            for payload in session.reader.feed(data):
                if isinstance(wire.decode_server(payload), wire.Done):
                    waits.append(time.perf_counter_ns() - session.began)
                    wrote += session.write
                else:
                    other += 1
                session.ask(writes, mode, draw)
    cpu = time.process_time() - cpu
    span = (now - begin) / 1e9
    ms = [wait / 1e6 for wait in waits] or [0.0]
    return Load(len(waits) / span, span, cpu, quantile(ms, 0.5), quantile(ms, 0.99), wrote, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mix", choices=list(MIXES), default="writes")
    parser.add_argument("--name", default="load", help="what its sessions are called")
    arguments = parser.parse_args()
    address = (arguments.host, arguments.port)
    load = run(address, arguments.clients, arguments.seconds, arguments.mix, arguments.name)
    sys.stdout.buffer.write(msgspec.json.encode(load) + b"\n")


if __name__ == "__main__":
    main()
