"""The loop around the core: sockets, clock, storage and event log of one member, in one thread under one epoll.

One turn: everything that has arrived goes through the core, one clock reading per input; then the events are written, then what
may leave leaves (one send per connection), and only then does the turn's one sync block, after which the core is told and what
rested on the bytes leaves the same way. While syncs are slow they run in a thread, so that heartbeats keep their pace.

This is a plain loop rather than trio tasks: a turn costs two system calls less and the start 100 ms less (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from node import admin, snapshots, wire
from node.clock import NodeClock, true_clock
from node.config import NodeConfig
from node.eventlog import EventLog
from node.gathering import Gathering
from node.kv import STALE, KeyValue
from node.raft import events
from node.raft.bugs import Seeded
from node.raft.effects import (
    Disconnected,
    Download,
    Effects,
    Event,
    Input,
    LoadSnapshot,
    ManualVote,
    ObserveLease,
    Persist,
    Persisted,
    Propose,
    Read,
    Received,
    SaveSnapshot,
    Shutdown,
    Tick,
)
from node.raft.election import LEADER, LEADING
from node.raft.messages import (
    DATA,
    REPLIES,
    AppendEntries,
    FetchSnapshot,
    FetchSnapshotReply,
    InstallSnapshot,
    PreVote,
    ReadIndex,
    RequestVote,
    TimeoutNow,
    TimeoutNowReply,
)
from node.raft.raft import Raft
from node.storage.codec import Corrupt, StorageError
from node.storage.disk import FolderDisk
from node.storage.journal import Batch, Journal
from node.storage.snapshots import Snapshots
from node.storage.syncer import Syncer
from node.transport import (
    Connection,
    ConnectionClosed,
    PeerLink,
    Poller,
    Traffic,
    accept,
    listen_tcp,
    listen_unix,
)

EXIT_DATA: Final = 65
EXIT_FATAL: Final = 70
EXIT_DISK: Final = 74
HELD_NS: Final = 500_000_000
"""How long the bugs that acknowledge early keep the bytes in user space."""
_REQUESTS: Final = (AppendEntries, PreVote, RequestVote, InstallSnapshot, TimeoutNow, ReadIndex)


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Who gets the answer to a token, and until when (true ns) it is worth giving. `gathered`: it waits for others first."""

    connection: Connection
    id: int
    deadline: int
    key: str | None
    gathered: bool


class Operator(msgspec.Struct, frozen=True, gc=False):
    """Who gets the answer to an operator's request, and until when (true ns) it may take."""

    connection: Connection
    deadline: int


class Server:
    """One member. `open` recovers and listens, `run` loops until SIGTERM and returns the exit code."""

    def __init__(self, config: NodeConfig, boot: int, rate: float, offset_ns: int) -> None:
        self.config = config
        self.boot = boot
        self.clock = NodeClock(true_clock(), config.origin_ns, rate=rate, offset_ns=offset_ns)
        self.kv = KeyValue()
        self.poller = Poller()
        self.traffic = Traffic()
        self.last_received: dict[str, int] = {}
        """True time of the newest request that each peer initiated and this node processed."""
        self.last_answered: dict[str, int] = {}
        """True time of the newest answer of each peer to what this node initiated."""
        self.last_client: dict[str, int] = {}
        self.stopping = False
        self.fatal = ""
        self.exit_status = 0
        """What to exit with for that."""
        bugs = set(config.options.bugs)
        self._holds_follower = "ack_before_fsync" in bugs
        self._holds_leader = "leader_counts_self_early" in bugs
        self._holds_votes = "vote_no_fsync" in bugs
        self._syncs_inline = "heartbeat_behind_data" in bugs
        self._held_since: int | None = None
        self._tokens: dict[int, Waiting] = {}
        self._operators: dict[int, Operator] = {}
        """Who gets the answer to an operator's request, by its token."""
        self._token = 0
        self._inbound: dict[str, Connection] = {}
        self._connections: dict[int, Connection] = {}
        self._listeners: list[socket.socket] = []
        self._dirty: set[Connection] = set()
        self._gathering = Gathering()
        self._until: int | None = None
        """True time at which a node that was told to stop stops in any case."""
        self._successor = ""
        """Whom this node woke as it stopped, until the answer comes."""
        self._observe_due = 0
        self._turns = 0

    # ---- start ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover from disk, then open the sockets. Raises StorageError, OSError, FileExistsError."""
        config = self.config
        self.disk = FolderDisk(config.data_dir)
        store = Snapshots(self.disk, config.group, config.name)
        meta = store.latest()
        self.kv = snapshots.load(store)
        bugs = Seeded(config.options.bugs)
        self.journal = Journal(self.disk, config.group, config.name, meta, bugs=bugs)
        found = self.journal.recovered
        self.log = EventLog(
            config.events_dir,
            node=config.name,
            boot=self.boot,
            origin_ns=config.origin_ns,
            group=config.group,
            options=config.options,
            true=self.clock.true,
        )
        t0 = self.clock.true()
        now = self.clock.own_at(self.clock.true())
        try:
            self.raft = Raft(
                config.name,
                config.initial,
                config.options,
                found.hard_state,
                found.entries,
                found.fresh,
                config.core_seed(self.boot),
                now,
                witnesses=config.witnesses,
                base=found.base,
                snapshot=meta,
                bugs=bugs,
            )
        except ValueError as error:
            raise Corrupt(str(error)) from None
        born = events.boot(found.hard_state, self.raft.log, meta, found.fresh)
        fields = {**born.fields, "rate": self.clock.rate, "offset_ns": self.clock.offset_ns}
        first = [Event(born.name, born.term, fields)]
        if meta is not None:
            first.append(events.snapshot_loaded(born.term, meta, "boot"))
        self.log.add(t0, now, first)
        self.log.flush()
        self.snapshots = snapshots.Snapshotter(
            store,
            config.options,
            self.raft.bugs,
            self.clock.true,
            ask=self._ask,
            report=self.step,
        )
        self.poller.watch(self.snapshots.fd, lambda _: self.snapshots.finished())
        self.syncer = Syncer(
            self.journal,
            self.clock.true,
            config.options.heartbeat_ms * 1_000_000 // 2,
            true_clock(),
        )
        self.poller.watch(self.syncer.fd, self._synced_away)
        self._listen(listen_tcp(config.peer_listen), self._serve_peer, "peer")
        self._listen(listen_tcp(config.client_listen), self._serve_client, "client")
        self._listen(listen_unix(config.admin_socket), self._serve_admin, "admin")
        hello = {
            peer: wire.encode(wire.Hello(config.group, config.name, peer, self.boot))
            for peer in config.peers
        }
        self.links = {
            peer: PeerLink(
                peer,
                address,
                hello[peer],
                self.poller,
                self.traffic,
                on_frames=self._on_answers,
                on_down=self._on_down,
            )
            for peer, address in config.peers.items()
        }

    def _listen(
        self,
        listener: socket.socket,
        serve: Callable[[Connection, bytes], None],
        label: str,
    ) -> None:
        def ready(_: int) -> None:
            while (sock := accept(listener)) is not None:
                connection = Connection(sock, self.poller, self.traffic, label)
                self._connections[connection.fd] = connection
                self.poller.watch(connection.fd, partial(self._ready, connection, serve))

        self.poller.watch(listener.fileno(), ready)
        self._listeners.append(listener)

    # ---- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Loop until SIGTERM (0), a broken invariant (70), data that cannot be used (65) or a failed disk (74)."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.poller.watch(reader.fileno(), lambda _: None)
        poll, handlers = self.poller.epoll.poll, self.poller.handlers
        try:
            while not self.stopping or self._is_wanted():
                for fd, mask in poll(self._wait_s(), 256):
                    handler = handlers.get(fd)
                    if handler is not None:
                        handler(mask)
                self._turn()
                if self.fatal:
                    self.log.flush()
                    print(
                        f"node {self.config.name}: fatal: {self.fatal}", file=sys.stderr, flush=True
                    )
                    return self.exit_status
        except OSError as error:
            print(
                f"node {self.config.name}: fatal: disk or event log: {error}",
                file=sys.stderr,
                flush=True,
            )
            self._give_way()
            return EXIT_DISK
        except StorageError as error:
            print(f"node {self.config.name}: fatal: {error}", file=sys.stderr, flush=True)
            self._give_way()
            return EXIT_DATA
        return 0

    def _is_wanted(self) -> bool:
        """SIGTERM came: step down, and stay until the successor that was woken has answered, E/2 at most."""
        true = self.clock.true()
        if self._until is None:
            out = self.step(Shutdown())
            self._leave()
            self._successor = next((to for to, m in out.messages if type(m) is TimeoutNow), "")
            self._until = true + self.raft.election_timeout_ns // 2
        link = self.links.get(self._successor)
        return link is not None and link.state == "up" and true < self._until

    def _give_way(self) -> None:
        """The disk failed: whoever is woken need not wait for the promises. What cannot be said any more is not."""
        with contextlib.suppress(OSError):
            self.step(Shutdown("storage_error"))
            self._leave()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _wait_s(self) -> float:
        """Seconds until something is due on the own clock, a dial, or a held sync."""
        true = self.clock.true()
        own = self.clock.own_at(true)
        due = self.raft.next_deadline
        wait = 1_000_000_000
        if due is not None:
            wait = min(wait, self.clock.true_until(due, own))
        for link in self.links.values():
            if link.deadline is not None:
                wait = min(wait, link.deadline - true)
        if self._until is not None:
            wait = min(wait, self._until - true)
        if self._held_since is not None:
            wait = min(wait, self._held_since + HELD_NS - true)
        if (gathered_due := self._gathering.due) is not None:
            wait = min(wait, gathered_due - true)
        for operator in self._operators.values():
            wait = min(wait, operator.deadline - true)
        if (piece_due := self.snapshots.deadline) is not None:
            wait = min(wait, piece_due - true)
        # epoll counts in milliseconds and rounds up; a tick that is early is harmless.
        return max(0.0, wait / 1e9)

    def _turn(self) -> None:
        """Timers, then everything that may leave, then the sync, then what rested on it."""
        self._turns += 1
        true = self.clock.true()
        if self._gathering:
            self._request(true)
        due = self.raft.next_deadline
        if due is not None and self.clock.own_at(true) >= due:
            self.step(Tick(), true)
        if true >= self._observe_due:
            self._observe_due = true + self.config.options.heartbeat_ms * 1_000_000
            self._observe(true)
        if self._operators:
            self._expire(true)
        if (piece_due := self.snapshots.deadline) is not None and true >= piece_due:
            self.snapshots.tick(true)
        for link in self.links.values():
            if link.deadline is not None and true >= link.deadline:
                link.tick(true)
        self._leave()
        while not self.fatal and not self.syncer.in_flight:
            batch = self._batch(true)
            if batch is None:
                break
            if self.syncer.slow and not self._syncs_inline:
                self.syncer.away(batch)
                break
            self.syncer.here(batch)
            self.step(Persisted(batch.token))
            self._leave()

    def _request(self, true: int) -> None:
        """Hand the core what clients asked for, if they need not wait for others."""
        raft = self.raft
        requests = self._gathering.take(
            true, raft.state == LEADER, raft.commit < raft.log.last_index, bool(raft.rounds.open)
        )
        if requests is not None:
            self.step(requests, true)

    def _observe(self, true: int) -> None:
        """Tell where this member stands, and how its lease does."""
        raft = self.raft
        covered = 0 if raft.snapshot is None else raft.snapshot.index
        log = raft.log
        progress = events.progress(
            raft.term, log.first_index, covered, raft.applied, raft.commit, log.last_index
        )
        self.log.add(true, self.clock.own_at(true), [progress])
        if raft.state in LEADING:
            self.step(ObserveLease())

    def _batch(self, true: int) -> Batch | None:
        """What is to be synced now; a seeded bug holds it back in user space."""
        journal = self.journal
        if self.raft.state in LEADING:
            holds = self._holds_leader
        else:
            holds = self._holds_follower or (self._holds_votes and self.raft.hard_pending)
        if holds:
            if not journal.waiting:
                self._held_since = None
            elif self._held_since is None:
                self._held_since = true
            if self._held_since is not None and true - self._held_since < HELD_NS:
                return None
        self._held_since = None
        return journal.take()

    def _synced_away(self, _: int) -> None:
        batch = self.syncer.finished()
        if batch is not None:
            self.step(Persisted(batch.token))

    def step(self, input: Input, true: int | None = None) -> Effects:
        """One input through the core at one reading of the clock; what comes out is queued in its order. `true`: the reading,
        if it was taken for this input, after everything before it.
        """
        if true is None:
            true = self.clock.true()
        now = self.clock.own_at(true)
        out = self.raft.step(input, now)
        if out.events:
            self.log.add(true, now, out.events)
        self._carry_out(out, true)
        return out

    def _carry_out(self, out: Effects, true: int) -> None:
        if out.fatal or out.unusable:
            self.fatal = out.fatal or out.unusable
            self.exit_status = EXIT_FATAL if out.fatal else EXIT_DATA
        for to, message in out.messages:
            payload = wire.encode(message)
            if isinstance(message, REPLIES):
                connection = self._inbound.get(to)
                if connection is not None:
                    connection.queue(payload)
                    self._dirty.add(connection)
            elif to in self.links:
                self.links[to].queue(payload)
        for failure in out.failed:
            if (waiting := self._due(failure.token, true)) is not None:
                answer = wire.Refused(waiting.id, failure.code, failure.definite, failure.leader)
                self._send(waiting.connection, answer)
        for asked in out.snapshots:
            if isinstance(asked, LoadSnapshot):
                self.kv = self.snapshots.take(asked.meta)
        name = self.config.name
        for committed in out.apply:
            entry = committed.entry
            if entry.kind != DATA:
                continue
            result = self.kv.apply(entry.data, entry.index, entry.term)
            if committed.token is None:
                continue
            if (waiting := self._due(committed.token, true)) is None:
                continue
            if result.error:
                refusal = wire.Refused(waiting.id, result.error, result.error != STALE, "")
                self._send(waiting.connection, refusal)
            else:
                swapped = result.value.get("swapped")
                done = wire.Done(
                    waiting.id,
                    result.value.get("now"),
                    swapped if isinstance(swapped, bool) else None,
                    result.value.get("saw"),
                    result.term,
                    result.index,
                    name,
                )
                self._send(waiting.connection, done)
        for ready in out.reads:
            if (waiting := self._due(ready.token, true)) is not None:
                value = self.kv.read(waiting.key or "")
                done = wire.Done(waiting.id, value, None, None, ready.term, ready.index, name)
                self._send(waiting.connection, done)
        for asked in out.snapshots:
            if isinstance(asked, SaveSnapshot):
                self.snapshots.save(asked, self.kv)
            elif isinstance(asked, Download):
                self.snapshots.download(asked)
            elif not isinstance(asked, LoadSnapshot):
                self.snapshots.cancel()
        for said in out.admin:
            if (operator := self._operators.pop(said.token, None)) is not None:
                self._answer(operator, admin.done(said))
        for persist in out.persist:
            if self._holds_leader if self.raft.state in LEADING else self._holds_follower:
                self._hold(persist)
            else:
                self.journal.add(persist)

    def _hold(self, persist: Persist) -> None:
        """For the bugs that keep entries in user space: the vote is honest, and made durable at once."""
        alone = self.journal.add_vote_first(persist)
        if alone is None:
            return
        done = self.syncer.join()
        self.syncer.here(alone)
        if not persist.entries and not persist.truncate_from and persist.reset is None:
            done = alone
        if done is not None:
            self.step(Persisted(done.token))

    def _due(self, token: int, true: int) -> Waiting | None:
        """Who still waits at `true` for the answer to `token`; it is given once."""
        waiting = self._tokens.pop(token, None)
        if waiting is None or waiting.connection.closed:
            return None
        if waiting.gathered:
            self._gathering.answered(waiting.connection, true)
        return None if true > waiting.deadline else waiting

    def _leave(self) -> None:
        """Events into the kernel's hands, then one send per connection."""
        self.log.flush()
        self.disk.mark_waiting(self.journal.waiting_bytes)
        for link in self.links.values():
            link.flush()
        if self._dirty:
            dirty, self._dirty = self._dirty, set()
            for connection in dirty:
                try:
                    connection.flush()
                except ConnectionClosed:
                    self._close(connection)

    # ---- connections ----------------------------------------------------------------------------------------------

    def _ready(
        self, connection: Connection, serve: Callable[[Connection, bytes], None], mask: int
    ) -> None:
        try:
            if mask & select.EPOLLOUT:
                connection.writable()
                self._dirty.add(connection)
            if mask & ~select.EPOLLOUT:
                for payload in connection.receive():
                    serve(connection, payload)
        except wire.WireError:
            self.traffic.malformed += 1
            self._close(connection)
        except ConnectionClosed:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        self._gathering.gone(connection)
        connection.close()
        for peer, inbound in list(self._inbound.items()):
            if inbound is connection:
                del self._inbound[peer]

    def _send(self, connection: Connection, message: Any) -> None:
        connection.queue(wire.encode(message))
        self._dirty.add(connection)

    def _pong(self, connection: Connection, ping: wire.Ping) -> None:
        self._send(connection, wire.Pong(ping.nonce, self.config.name, self.boot))

    def _serve_peer(self, connection: Connection, payload: bytes) -> None:
        message = wire.decode_peer(payload)
        if isinstance(message, wire.Ping):
            self._pong(connection, message)
        elif isinstance(message, wire.Hello):
            config = self.config
            known = message.sender in config.peers
            if message.group != config.group or message.to != config.name or not known:
                self.traffic.strangers += 1
                raise ConnectionClosed("a stranger")
            connection.member = message.sender
            connection.label = f"from {message.sender}"
            self._inbound[message.sender] = connection
        elif isinstance(message, _REQUESTS) and connection.member:
            peer = connection.member
            self._inbound[peer] = connection
            true = self.last_received[peer] = self.clock.true()
            self.step(Received(peer, message), true)
        elif isinstance(message, FetchSnapshot) and connection.member:
            self._send(connection, self.snapshots.serve(message))
        else:
            raise wire.Malformed(f"{type(message).__name__} is no request, or came before a hello")

    def _on_answers(self, peer: str, payloads: list[bytes]) -> None:
        for payload in payloads:
            try:
                message = wire.decode_peer(payload)
            except wire.WireError:
                self.traffic.malformed += 1
                self.links[peer].reset()
                return
            if isinstance(message, FetchSnapshotReply):
                self.snapshots.answered(peer, message)
            elif isinstance(message, REPLIES):
                true = self.last_answered[peer] = self.clock.true()
                if self._successor == peer and type(message) is TimeoutNowReply:
                    self._successor = ""
                self.step(Received(peer, message), true)

    def _ask(self, peer: str, message: FetchSnapshot) -> None:
        if peer in self.links:
            self.links[peer].queue(wire.encode(message))

    def _on_down(self, peer: str) -> None:
        self.step(Disconnected(peer))

    def _serve_client(self, connection: Connection, payload: bytes) -> None:
        request = wire.decode_client(payload)
        if isinstance(request, wire.Ping):
            self._pong(connection, request)
            return
        true = self.clock.true()
        self.last_client[request.session] = true
        if len(self.last_client) > 1024:
            del self.last_client[next(iter(self.last_client))]
        if isinstance(request, wire.Submit) and len(request.command) > wire.COMMAND_BYTES_MAX:
            self._send(connection, wire.Refused(request.id, "too_large", True, ""))
            return
        self._token = token = self._token + 1
        key, gathered = None, True
        if isinstance(request, wire.Get):
            key, gathered = request.key, request.mode == "readindex"
        deadline = true + request.remaining_ms * 1_000_000
        self._tokens[token] = Waiting(connection, request.id, deadline, key, gathered)
        self._gathering.asked(connection, true)
        if isinstance(request, wire.Get):
            if gathered:
                self._gathering.add_read(true)
            self.step(Read(token, request.mode, True), true)
        else:
            command = request.command
            self._gathering.add(Propose(token, command, zlib.crc32(command), True), true)

    # ---- admin ----------------------------------------------------------------------------------------------------

    def _serve_admin(self, connection: Connection, payload: bytes) -> None:
        answer = admin.serve(self, connection, payload)
        if answer is not None:
            self._send(connection, answer)

    def operate(
        self, connection: Connection, request: Callable[[int], Input], remaining_ms: int
    ) -> None:
        """Put an operator's request to the core, under a token; the core's AdminDone is the answer, if it comes in time."""
        self._token = token = self._token + 1
        deadline = self.clock.true() + remaining_ms * 1_000_000
        self._operators[token] = Operator(connection, deadline)
        self.step(request(token))

    def _answer(self, operator: Operator, answer: dict[str, Any]) -> None:
        if not operator.connection.closed:
            self._send(operator.connection, answer)

    def _expire(self, true: int) -> None:
        """Tell operators whose time is up that nobody knows yet."""
        for token, operator in list(self._operators.items()):
            if true >= operator.deadline:
                del self._operators[token]
                self._answer(operator, admin.LATE)

    def set_clock(self, rate: float | None, offset_ns: int) -> None:
        """Change the clock seam now; timers follow, since they are computed from it at every turn."""
        t0 = self.clock.true()
        self.clock.set(rate=rate, offset_ns=offset_ns)
        fields: dict[str, object] = {"rate": self.clock.rate, "offset_ns": self.clock.offset_ns}
        self.log.add(t0, self.clock.own(), [Event("clock_set", self.raft.term, fields)])

    def vote(self, election_timeout_ms: int) -> None:
        self.step(ManualVote(election_timeout_ms))

    def status(self) -> dict[str, Any]:
        """The core's status, and what only the shell knows."""
        journal, syncer = self.journal, self.syncer
        core = self.raft.status(self.clock.own())
        return {
            **core,
            "snapshot": {**core["snapshot"], "have": self.snapshots.have},
            "boot": self.boot,
            "pid": os.getpid(),
            "group": self.config.group,
            "clock": {"rate": self.clock.rate, "offset_ns": self.clock.offset_ns},
            "last_received": dict(self.last_received),
            "last_answered": dict(self.last_answered),
            "last_client": dict(self.last_client),
            "links": {peer: link.state for peer, link in self.links.items()},
            "storage": {
                "folder": str(self.disk.folder),
                "synced": {journal.name: journal.synced},
                "segments": journal.segments,
                "waiting_bytes": journal.waiting_bytes,
            },
            "counters": {
                **core["counters"],
                **self.traffic.as_dict(),
                **self.snapshots.counters(),
                "batches": journal.batches,
                "syncs": journal.syncs,
                "records": journal.records,
                "bytes_written": journal.bytes_written,
                "syncs_in_thread": syncer.in_thread,
                "last_sync_ns": syncer.last_ns,
                "longest_sync_ns": syncer.longest_ns,
                "events": self.log.count,
                "turns": self._turns,
            },
            "keys": len(self.kv.registers),
            "sessions": len(self.kv.sessions),
        }
