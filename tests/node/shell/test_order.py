"""What leaves a node, and when: the order contract as the kernel sees it (node/raft/effects.py).

The proof is by strace: bytes written to the journal, syncs and sends, each with the host's time.
"""

from __future__ import annotations

import codecs
import re
import shutil
import socket

import msgspec
import pytest
import trio

from node import wire
from node.raft.effects import HardState
from node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    RequestVote,
    RequestVoteReply,
)
from node.storage.codec import RECORD
from node.transport import Connection, Poller, Traffic
from tests.node.shell.group import Group

CALL = re.compile(
    r"^(\d+) +(\d+\.\d+) (\w+)\((\d+)<(.*?)>"
    r'(?:, "((?:[^"\\]|\\.)*)"(?:\.\.\.)?)?.*\) += (-?\d+).*<(\d+\.\d+)>$'
)
SEGMENT = re.compile(r"/journal\.\d+$")
RESUMED = re.compile(r"^(\d+) +(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)$")


class Traced:
    """One node's life as strace saw it."""

    def __init__(self, text: str) -> None:
        self.synced: list[tuple[float, int, HardState]] = []
        """(when a sync had returned, newest entry, newest vote) that it made durable."""
        self.sent: list[tuple[float, object]] = []
        """(when the send began, message)."""
        self.fdatasyncs = 0
        self.evented: list[tuple[float, bytes]] = []
        readers: dict[str, wire.FrameReader] = {}
        index, hard = 0, HardState()
        for when, took, call, path, data in calls(text):
            if call == "pwrite64" and SEGMENT.search(path):
                index, hard = newest(data, index, hard)
            elif call == "fdatasync" and SEGMENT.search(path):
                self.fdatasyncs += 1
                self.synced.append((when + took, index, hard))
            elif call == "write" and path.endswith(".jsonl"):
                self.evented.append((when + took, data))
            elif call == "sendto":
                for payload in readers.setdefault(path, wire.FrameReader()).feed(data):
                    for decode in (wire.decode_peer, wire.decode_server):
                        try:
                            self.sent.append((when, decode(payload)))
                        except wire.Malformed:
                            continue
                        break

    def told(self, event: str, before: float, term: int) -> int:
        """The newest index in such events that were in the kernel's hands by then; -1: no event."""
        found = [-1]
        for when, data in self.evented:
            for line in data.splitlines() if when <= before else []:
                fields = msgspec.json.decode(line)
                if fields.get("event") == event and fields["term"] == term:
                    found.append(fields.get("index", fields.get("last_index", 0)))
        return max(found)

    def first_sent(self, index: int) -> float:
        """When an append first carried the entry at `index`."""
        return min(
            when
            for when, m in self.sent
            if isinstance(m, AppendEntries) and index in [entry.index for entry in m.entries]
        )

    def durable(self, index: int) -> float:
        """When the entry at `index` was on this disk."""
        return min((when for when, newest, _ in self.synced if newest >= index), default=1e18)


def calls(text: str) -> list[tuple[float, float, str, str, bytes]]:
    """(begun, seconds, name, path, bytes written) of each call, in the order they began."""
    found = []
    begun: dict[str, str] = {}
    for line in text.splitlines():
        if line.endswith(" <unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix(" <unfinished ...>")
            continue
        resumed = RESUMED.match(line)
        whole = begun.pop(resumed[1]) + resumed[4] if resumed else line
        match = CALL.match(whole)
        if match is None:
            continue
        _, when, name, _, path, data, result, took = match.groups()
        raw = codecs.decode(data or "", "unicode_escape").encode("latin1")
        length = int(result)
        assert name not in ("sendto", "write") or length <= len(raw), "strace cut a string"
        found.append((float(when), float(took), name, path, raw[: max(length, 0)] if raw else raw))
    return sorted(found)


def newest(data: bytes, index: int, hard: HardState) -> tuple[int, HardState]:
    """What the records in one write say of the log's end and the vote."""
    at = 0
    while at + RECORD.size <= len(data):
        length, _ = RECORD.unpack_from(data, at)
        payload = data[at + RECORD.size : at + RECORD.size + length]
        if payload[:1] == b"E":
            index = msgspec.msgpack.decode(payload[1:], type=Entry).index
        elif payload[:1] == b"H":
            hard = msgspec.msgpack.decode(payload[1:], type=HardState)
        elif payload[:1] == b"T":
            index = msgspec.msgpack.decode(payload[1:])[0] - 1
        at += RECORD.size + max(length, 1)
    return index, hard


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"
)
async def test_every_acknowledgement_left_after_the_syncs_it_rests_on() -> None:
    """Each ok to a client: its entry was synced on a quorum before. Each append or vote answered
    yes: synced on that node before. And the counter of syncs tells what the kernel saw."""
    with Group(3) as group:
        for name in group.names:
            trace = ["strace", "-f", "-qq", "-x", "-y", "-ttt", "-T", "-s", "100000"]
            trace += ["-e", "trace=pwrite64,fdatasync,sendto,write"]
            group.start(name, under=[*trace, "-o", str(group.folder / name / "strace")])
        leader = await group.leader()

        async def write(number: int) -> None:
            client = group.client(leader, f"s{number}")
            for value in range(12):
                assert (await client.call("write", f"k{number}", value, None, 5000)).kind == "ok"
            client.close()

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(write, number)
        await trio.sleep(0.2)
        counted = {name: (await group.status(name))["counters"] for name in group.names}
        for name in group.names:
            group.kill(name)
        lives = {
            name: Traced(await trio.Path(group.folder / name / "strace").read_text())
            for name in group.names
        }

    acknowledged = votes = 0
    for name, life in lives.items():
        assert life.fdatasyncs == counted[name]["syncs"] == counted[name]["batches"]
        for when, message in life.sent:
            if isinstance(message, AppendEntriesReply) and message.success and message.match:
                acknowledged += 1
                assert life.durable(message.match) <= when
                assert life.told("append_ack", when, message.term) >= message.match
            elif isinstance(message, RequestVoteReply) and message.granted:
                votes += 1
                terms = [hard.term for at, _, hard in life.synced if at <= when and hard.voted_for]
                assert message.term in terms
                assert life.told("vote_granted", when, message.term) >= 0
            elif isinstance(message, RequestVote):
                votes += 1
                own = HardState(message.term, name)
                assert own in [hard for at, _, hard in life.synced if at <= when]
                assert life.told("vote_granted", when, message.term) >= 0
    assert acknowledged > 20
    assert votes >= 2
    life = lives[leader]
    answered = [m for m in life.sent if isinstance(m[1], wire.Done)]
    assert len(answered) == 60
    early = 0
    for when, done in answered:
        assert isinstance(done, wire.Done)
        holders = [each for each, one in lives.items() if one.durable(done.log_index) <= when]
        assert len(holders) >= 2, f"entry {done.log_index} was acknowledged with {holders}"
        assert life.told("commit", when, done.term) >= done.log_index
        early += life.first_sent(done.log_index) < life.durable(done.log_index)
    # Appends leave before the leader's own sync blocks.
    assert early > 30


def test_what_is_queued_behind_a_full_socket_leaves_only_with_the_next_flush() -> None:
    """Events go to the kernel first: a socket that takes bytes again must not overtake them."""
    near, far = socket.socketpair()
    poller, traffic = Poller(), Traffic()
    connection = Connection(near, poller, traffic, "test")
    poller.watch(connection.fd, lambda _: None)
    connection.queue(bytes(1_000_000))
    connection.flush()
    sends = traffic.sends
    connection.queue(b"rests on an event that is not written yet")
    while len(far.recv(1 << 20)) == 1 << 20:
        pass
    connection.writable()
    assert traffic.sends == sends
    connection.flush()
    assert traffic.sends == sends + 1
    connection.close()
    poller.close()
    far.close()
