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
CLIENTS = 3


class Hand:
    """The leader of a group of one, and clients with a connection each, numbered from 0."""

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
        address = self.server._listeners[1].getsockname()
        self.sockets = [socket.create_connection(address) for _ in range(CLIENTS)]
        self.asked = 0

    def look(self) -> None:
        """Take what has arrived."""
        for fd, mask in self.server.poller.epoll.poll(0):
            self.server.poller.handlers[fd](mask)

    def turn(self) -> None:
        """One turn of the loop."""
        self.look()
        self.server._turn()

    def pass_ns(self, ns: int) -> set[int]:
        """Let time pass, and turn; who is answered then."""
        self.true_ns += ns
        self.turn()
        return self.answered()

    def ask(self, **modes: str) -> set[int]:
        """Clients c0, c1, ... ask in one turn, each by its mode: "write", or that of a read. Gives who has an answer then."""
        arrived = self.server.traffic.frames_in + len(modes)
        for name, mode in modes.items():
            self.asked += 1
            request: wire.Submit | wire.Get
            if mode == "write":
                command = encode_write(name, self.asked, "x", self.asked)
                request = wire.Submit(self.asked, 1000, name, command)
            else:
                request = wire.Get(self.asked, 1000, name, "x", mode)
            self.sockets[int(name[1:])].sendall(wire.frame(wire.encode(request)))
        while self.server.traffic.frames_in < arrived:
            self.look()
        self.server._turn()
        return self.answered()

    def answered(self) -> set[int]:
        """The clients to whom an answer came since this was asked last."""
        done: set[int] = set()
        for number, sock in enumerate(self.sockets):
            try:
                (payload,) = wire.FrameReader().feed(sock.recv(65_536, socket.MSG_DONTWAIT))
            except BlockingIOError:
                continue
            assert isinstance(wire.decode_server(payload), wire.Done)
            done.add(number)
        return done

    def close(self) -> None:
        server = self.server
        for sock in self.sockets:
            sock.close()
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
def test_who_asks_waits_for_those_who_ask_again_at_once(mode: str, hand: Hand) -> None:
    for _ in range(2):
        assert hand.ask(c0=mode, c1=mode) == {0, 1}
    assert hand.ask(c0=mode) == set()
    assert hand.ask(c1=mode) == {0, 1}


@pytest.mark.parametrize("mode", ["write", "readindex"])
def test_nobody_waits_for_those_who_take_their_time(mode: str, hand: Hand) -> None:
    for _ in range(3):
        assert hand.ask(c0=mode, c1=mode) == {0, 1}
        hand.true_ns += WAIT_NS + 1
    for client in ("c0", "c1", "c0"):
        assert len(hand.ask(**{client: mode})) == 1


def test_nobody_waits_for_a_stranger_or_for_those_who_went(hand: Hand) -> None:
    assert hand.ask(c0="write", c1="write", c2="write") == {0, 1, 2}
    assert hand.ask(c0="write") == {0}
    assert hand.ask(c0="write", c1="write") == {0, 1}
    hand.sockets.pop().close()
    hand.sockets.pop().close()
    assert hand.ask(c0="write") == {0}


def test_commands_and_the_round_of_reads_leave_together(hand: Hand) -> None:
    for _ in range(2):
        assert hand.ask(c0="write", c1="readindex", c2="write") == {0, 1, 2}
    batches = hand.server.journal.batches
    assert hand.ask(c1="readindex") == set()
    assert hand.ask(c0="write") == set()
    assert hand.ask(c2="write") == {0, 1, 2}
    assert hand.server.journal.batches == batches + 1


@pytest.mark.parametrize("mode", ["write", "readindex"])
def test_whoever_does_not_come_back_is_waited_for_once_and_not_for_long(
    mode: str, hand: Hand
) -> None:
    for _ in range(2):
        assert hand.ask(c0=mode, c1=mode, c2=mode) == {0, 1, 2}
    assert hand.ask(c0=mode) == set()
    assert 0 < hand.server._wait_s() <= WAIT_NS / 1e9
    assert hand.pass_ns(WAIT_NS - 1) == set()
    assert hand.pass_ns(1) == {0}
    assert hand.ask(c0=mode) == {0}


def test_lease_reads_wait_for_nobody_and_nobody_for_them(hand: Hand) -> None:
    for _ in range(2):
        assert hand.ask(c0="write", c1="write") == {0, 1}
    assert hand.ask(c0="lease", c1="lease", c2="lease") == {0, 1, 2}
    assert hand.ask(c0="write") == {0}
