"""Commands and ReadIndex reads that come one by one leave together: the loop's turns by hand, and a clock that stands."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import wire
from node.api import NodeConfig, Options
from node.clock import NodeClock
from node.gathering import WAIT_NS
from node.kv import encode_write
from node.raft.election import LEADER
from node.server import Server

MS = 1_000_000


class Hand:
    """The leader of a group of one, and one connection of clients to it."""

    def __init__(self, folder: Path) -> None:
        config = NodeConfig(
            name="n1",
            data_dir=str(folder / "data"),
            events_dir=str(folder),
            peer_listen=("127.0.0.1", 0),
            client_listen=("127.0.0.1", 0),
            admin_socket=str(folder / "socket"),
            peers={},
            members=("n1",),
            group="test",
            options=Options(),
            seed="00" * 16,
            origin_ns=0,
        )
        self.true_ns = 1_000 * MS
        self.server = Server(config, 1, 1.0, 0)
        self.server.clock = NodeClock(lambda: self.true_ns, 0)
        self.server.open()
        while self.server.raft.state != LEADER or not self.server.raft.commit:
            self.true_ns += 10 * MS
            self.turn()
        listener = self.server._listeners[1]
        self.socket = socket.create_connection(listener.getsockname())
        self.reader = wire.FrameReader()
        self.asked = 0

    def turn(self) -> None:
        """One turn of the loop."""
        for fd, mask in self.server.poller.epoll.poll(0):
            self.server.poller.handlers[fd](mask)
        self.server._turn()

    def ask(self, *modes: str) -> set[int]:
        """One request by each of `modes` ("write" or that of a read) in one turn; the numbers of those that it answers."""
        frames: list[bytes] = []
        for mode in modes:
            self.asked += 1
            request: wire.Submit | wire.Get
            if mode == "write":
                command = encode_write("c", self.asked, "x", self.asked)
                request = wire.Submit(self.asked, 1000, "c", command)
            else:
                request = wire.Get(self.asked, 1000, "c", "x", mode)
            frames.append(wire.frame(wire.encode(request)))
        arrived = self.server.traffic.frames_in + len(modes)
        self.socket.sendall(b"".join(frames))
        while self.server.traffic.frames_in < arrived:
            self.turn()
        return self.answered()

    def answered(self) -> set[int]:
        """The numbers of those that have an answer now."""
        done: set[int] = set()
        self.socket.setblocking(False)
        try:
            for payload in self.reader.feed(self.socket.recv(65_536)):
                answer = wire.decode_server(payload)
                assert isinstance(answer, wire.Done)
                done.add(answer.id)
        except BlockingIOError:
            pass
        finally:
            self.socket.setblocking(True)
        return done

    def close(self) -> None:
        server = self.server
        self.socket.close()
        for connection in list(server._connections.values()):
            connection.close()
        for listener in server._listeners:
            listener.close()
        for fd in (server.syncer.fd, server.snapshots.fd):
            os.close(fd)
        server.poller.close()
        server.log.close()
        server.disk.close()


@pytest.fixture
def hand() -> Iterator[Hand]:
    # Names of unix sockets are short, so pytest's own folders will not do.
    with tempfile.TemporaryDirectory(prefix="dl") as folder:
        hand = Hand(Path(folder))
        yield hand
        hand.close()


@pytest.mark.parametrize("mode", ["write", "readindex"])
def test_who_asks_again_waits_for_those_who_were_answered_with_it(mode: str, hand: Hand) -> None:
    assert hand.ask(mode, mode) == {1, 2}
    assert hand.ask(mode) == set()
    assert hand.ask(mode) == {3, 4}


def test_commands_and_rounds_leave_together(hand: Hand) -> None:
    assert hand.ask("write", "readindex", "write") == {1, 2, 3}
    batches = hand.server.journal.batches
    assert hand.ask("readindex") == set()
    assert hand.ask("write") == set()
    assert hand.ask("write") == {4, 5, 6}
    assert hand.server.journal.batches == batches + 1


@pytest.mark.parametrize("mode", ["write", "readindex"])
def test_whoever_does_not_come_back_is_waited_for_once_and_not_for_long(
    mode: str, hand: Hand
) -> None:
    assert hand.ask(mode, mode, mode) == {1, 2, 3}
    assert hand.ask(mode) == set()
    assert 0 < hand.server._wait_s() <= WAIT_NS / 1e9
    hand.true_ns += WAIT_NS
    hand.turn()
    assert hand.answered() == {4}
    assert hand.ask(mode) == {5}


def test_nobody_waits_for_a_client_that_stands_in_for_another(hand: Hand) -> None:
    assert hand.ask("write") == {1}
    assert hand.ask("write") == {2}


def test_lease_reads_wait_for_nobody_and_nobody_for_them(hand: Hand) -> None:
    assert hand.ask("write", "write") == {1, 2}
    assert hand.ask("lease", "lease", "lease") == {3, 4, 5}
    assert hand.ask("write") == {6}
