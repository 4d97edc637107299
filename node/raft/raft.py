"""The Raft core of one member: a value that is stepped (Raft thesis 3 and 6; braft src/braft/node.cpp).

`Raft.step(input, now_ns) -> Effects` is the whole face. Time, randomness and data come in as
arguments, nothing else does, so a life of a member is the list of its inputs. This file holds the
state and what every part shares: terms, stepping down, becoming leader, and durability. The rules
live beside it: election.py, following.py, replication.py, reads.py, lease.py, log.py,
membership.py, quorums.py, witnesses.py, snapshotting.py.

The one rule of durability: what rests on bytes waits for them. Within one step, changes to the
term, the vote and the log are collected; at its end they leave as one Persist; `when_durable` keeps
what speaks of them until `Persisted` covers it.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from node.raft import (
    configuration,
    election,
    events,
    following,
    membership,
    readonly,
    reads,
    replication,
    snapshotting,
    status,
    transfer,
    witnesses,
)
from node.raft.bugs import Seeded
from node.raft.effects import (
    AdminDone,
    CancelDownload,
    ChangeMembers,
    Committed,
    Disconnected,
    Downloaded,
    Effects,
    Event,
    Failed,
    HardState,
    Input,
    ManualVote,
    ObserveLease,
    Options,
    Persist,
    Persisted,
    Propose,
    Read,
    Received,
    Requests,
    ResetElectionTimeout,
    ResetMembers,
    SetReadonly,
    Shutdown,
    SnapshotSaved,
    TakeSnapshot,
    Tick,
    Transfer,
    WallClock,
)
from node.raft.election import CANDIDATE, FOLLOWER, LEADER, LEADING, TRANSFERRING, Ballot
from node.raft.lease import FollowerLease
from node.raft.log import Log
from node.raft.messages import (
    CONFIGURATION,
    DATA,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    SnapshotMeta,
    TimeoutNow,
    TimeoutNowReply,
)

STEP_DOWN_REASONS: Final = (
    "higher_term_request",
    "higher_term_response",
    "new_leader",
    "dead_nodes",
    "lease_expired",
    "vote_for_candidate",
    "leader_conflict",
    "leader_removed",
    "reset_peers",
    "witness",
    "transfer",
    "shutdown",
    "storage_error",
)
"""Why a leader steps down (Raft thesis 6.2; braft src/braft/node.cpp); a candidate may also time out ("vote_timeout")."""

_MS: Final = 1_000_000


class Raft:
    """One member. `hard_state`, `log` (after `base`) and `snapshot` are what its disk holds, synced; `seed` makes all of its
    randomness. `members` is the group before any log or snapshot says otherwise; without any, the member is passive until
    a leader takes it in. Raises ValueError when entries between snapshot and log are missing.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        options: Options,
        hard_state: HardState,
        log: Sequence[Entry],
        first_boot: bool,
        seed: bytes,
        now_ns: int,
        *,
        witnesses: Sequence[str] = (),
        base: tuple[int, int] = (0, 0),
        snapshot: SnapshotMeta | None = None,
        bugs: Seeded | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.election_timeout_ns = options.election_timeout_ms * _MS
        self.drift_ns = options.max_clock_drift_ms * _MS
        self.tick_ns = options.election_tick_ms * _MS
        self.heartbeat_ns = options.heartbeat_ms * _MS
        self.append_timeout_ns = options.append_timeout_ms * _MS
        self.bugs = Seeded(options.bugs) if bugs is None else bugs
        self.rng = random.Random(hashlib.blake2b(seed, person=b"raft").digest())
        self._call = self.rng.getrandbits(48)

        self.now = now_ns
        self.out = Effects()

        # Durable, as this node holds it in memory.
        self.term = hard_state.term
        self.voted_for = hard_state.voted_for
        initial = configuration.of(members, witnesses)
        if snapshot is None:
            self.log = Log(log, initial, base)
        else:
            self.log = Log(log, snapshot.configuration, base, snapshot.index)
        self.snapshot = snapshot
        """The newest durable one, or the one that was installed."""
        self.commit = 0 if snapshot is None else snapshot.index
        self.conf_index, self.conf = self.log.configurations[-1]
        """The configuration in force: the newest in the log."""
        self.conf_due = membership.NEVER
        """The oldest configuration entry that is not known to be committed."""
        self.others: tuple[str, ...] = ()
        """Everyone in the configuration but this member."""
        self.witness = False
        """This member votes and acknowledges, but holds no data."""
        self.bare = False
        """Commands are missing from the log, or from what the snapshot covers."""
        self.change: membership.Change | None = None
        """The change of members that this leader carries out."""

        # Durability. `hard_dirty`, `cut`, `fresh`, `reset` and `purge` are what this step has changed so far.
        self.durable_vote = self.voted_for
        self.hard_dirty = False
        self.cut = 0
        self.fresh: list[Entry] = []
        self.reset: tuple[int, int] | None = None
        self.purge = 0
        """Up to where the log was cut in this step because a snapshot covers it."""
        self.token = 0
        self.persisted = 0
        self._hard_token = 0
        self._waiting: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self.snapshot_at = snapshotting.NEVER
        """The commit index at which the next automatic snapshot is due."""
        self.snapshots = snapshotting.boot(self, initial)
        if self.term < self.log.last_term and not self.bugs.breaks("term_not_persisted"):
            # The record of the term was lost after entries of it were written: assume that its vote
            # was given.
            self.term = self.log.last_term + 1
            self.voted_for = self.durable_vote = ""
            self.hard_dirty = True

        # Elections.
        self.state = FOLLOWER
        self.leader_id = ""
        self.last_leader_message: int | None = None
        self.ballot: Ballot | None = None
        self.triggered = False
        self.vote_due: int | None = None
        self.grant_due: int | None = None
        self.promise = FollowerLease(self.election_timeout_ns, self.drift_ns, self.bugs)
        if not first_boot and not self.bugs.breaks("restart_forgets_lease"):
            # Whatever was promised before the restart is forgotten: assume the longest promise.
            self.promise.renew("", now_ns)
        self.election_due = 0
        membership.boot(self)
        self.acked = 0
        self.acked_term = 0

        # Leadership.
        self.epoch = 0
        self.term_start = 0
        """Index of the first entry of this leadership."""
        self.peers: dict[str, replication.Replicator] = {}
        self.leader_due = 0
        self.check_due = 0
        self.pending: dict[int, int] = {}
        """index -> token of each client command appended in this leadership and not yet committed.
        """
        self.rounds = reads.Rounds()
        self.ticked = now_ns
        """When the leader's timers were last looked after."""
        self.handover: transfer.Handover | None = None
        self.readonly_peers: set[str] = set()

        self.asks = reads.Asks()
        """A follower's reads that wait for its leader."""
        self.readonly = False
        self.leaving = False
        """The shell is about to stop this member."""
        self._batch_key = (0, 0)
        self._batch: list[Entry] = []
        self._bare_key = (0, 0)
        self._bare: list[Entry] = []

        self.counters: dict[str, int] = dict.fromkeys(
            ("elections", "leaderships", "step_downs", "proposals", "committed", "truncations"), 0
        )

    def __repr__(self) -> str:
        return (
            f"Raft({self.name}, {self.state}, term={self.term}, leader={self.leader_id!r}, "
            f"commit={self.commit}, {self.log!r})"
        )

    # ---- the face --------------------------------------------------------------------------------

    def step(self, input: Input, now_ns: int) -> Effects:
        """Take one input at `now_ns` of the node's own clock, and say what is to be done."""
        out = self.out = Effects()
        self.now = now_ns
        if type(input) is Received:
            message = input.message
            _RECEIVED[type(message)](self, input.sender, message)
        else:
            _INPUTS[type(input)](self, input)
        if self.fresh or self.hard_dirty or self.cut or self.purge or self.reset is not None:
            self._hand_over()
        return out

    @property
    def next_deadline(self) -> int | None:
        """When a Tick is due next, on the node's own clock."""
        state = self.state
        if state == FOLLOWER:
            ticking = self.options.elections or self.triggered
            due = self.election_due if ticking else self.snapshots.due
            asked = self.asks.due
            if asked is not None and (due is None or asked < due):
                due = asked
        elif state == CANDIDATE:
            due = self.vote_due
        else:
            return self.leader_due
        if self.grant_due is not None and (due is None or self.grant_due < due):
            return self.grant_due
        return due

    @property
    def applied(self) -> int:
        """Every committed entry is in some Effects' `apply` already."""
        return self.commit

    def status(self, now_ns: int | None = None) -> dict[str, Any]:
        """How this member stands, as plain values; ages are as of `now_ns` or the last step."""
        if now_ns is not None:
            self.now = now_ns
        return status.of(self)

    # ---- terms and states ------------------------------------------------------------------------

    def raise_term(self, term: int) -> None:
        """A new term, with no vote in it, to be made durable with this step."""
        assert term > self.term
        self.term = term
        self.voted_for = self.durable_vote = ""
        if not self.bugs.breaks("term_not_persisted"):
            self.hard_dirty = True

    def step_down(self, term: int, reason: str) -> None:
        """Be a follower without a leader, in `term` (the current one or a later).

        Neither renews the own promise nor re-arms a follower's running tick.
        """
        if self.state in LEADING:
            self._stop_leading(reason)
        if self.state == CANDIDATE:
            self.state = FOLLOWER
            self.vote_due = None
            election.arm(self, after_candidacy=True)
        self.ballot = None
        self.grant_due = None
        self.lose_leader()
        self.interrupt_download()
        if term > self.term:
            previous = self.term
            self.raise_term(term)
            self.when_durable(_report_term, (self, term, previous, reason))

    def yield_to(self, sender: str, term: int, reason: str) -> None:
        """`sender` has a later term, and perhaps it was this leader that had it stand for election."""
        handover = self.handover
        asked_for = handover is not None and handover.to == sender
        self.step_down(term, "transfer" if asked_for else reason)

    def lose_leader(self) -> None:
        """No leader is known; reads that wait for one are told."""
        self.leader_id = ""
        if self.asks:
            reads.lose_leader(self)

    def interrupt_download(self) -> None:
        """Who stands for election or changes its leader loads nothing; a leader's next offer of it resumes the download."""
        if self.snapshots.downloading is not None:
            self.snapshots.downloading = None
            self.out.snapshots.append(CancelDownload())

    def retire(self, reason: str) -> None:
        """Step down of this leader's own accord, for somebody else to lead."""
        transfer.retire(self, reason)

    def _stop_leading(self, reason: str) -> None:
        self.state = FOLLOWER
        self.leader_id = ""
        self.counters["step_downs"] += 1
        self.out.events.append(events.step_down(self.term, reason))
        if self.handover is not None:
            transfer.ended(self, reason)
        self.peers = {}
        if self.change is not None:
            membership.abort(self)
        self.readonly_peers.clear()
        pending, self.pending = self.pending, {}
        if pending and self.bugs.breaks("closure_by_index"):
            self.pending, pending = pending, {}
        for token in pending.values():
            if self.bugs.breaks("ok_on_stepdown"):
                reads.ready(self, token)
                continue
            # Some successor may yet commit the entry, so nobody may say that it failed.
            self.fail(token, "stepped_down", self.bugs.breaks("fail_for_unknown"))
        reads.drop_rounds(self)
        election.arm(self)

    def become_leader(self) -> None:
        """A quorum voted for this node in this term."""
        log = self.log
        self.out.events.append(events.become_leader(self.term, log.last_index, log.last_term))
        self.counters["leaderships"] += 1
        self.state = LEADER
        self.leader_id = self.name
        self.vote_due = self.grant_due = None
        self.ballot = None
        self.promise.reset()
        self.epoch += 1
        self.term_start = log.last_index + 1
        self._batch_key = self._bare_key = (0, 0)
        self.check_due = self.now + self.election_timeout_ns
        self.leader_due = min(self.check_due, self.now + self.heartbeat_ns)
        replication.start(self)
        self.append_configuration(self.conf)

    # ---- configuration ---------------------------------------------------------------------------

    def configured(self) -> None:
        """The log's newest configuration may be another one now: it is in force at once."""
        membership.configured(self)

    def append_configuration(self, in_force: configuration.Configuration) -> int:
        """An entry that puts `in_force` in force from here on; gives its index."""
        data = configuration.encode(in_force)
        return self._append(CONFIGURATION, data, zlib.crc32(data))

    # ---- client commands -------------------------------------------------------------------------

    def _append(self, kind: int, data: bytes, crc: int, more: bool = False) -> int:
        index = self.log.last_index + 1
        entry = Entry(index, self.term, kind, data, crc)
        self.log.append(entry)
        self.fresh.append(entry)
        if kind == CONFIGURATION:
            self.configured()
        if not more:
            replication.fill_all(self)
        if self.bugs.active:
            replication.advance_commit(self)
        return index

    def on_propose(self, propose: Propose) -> None:
        if self.state != LEADER:
            code = "busy" if self.state == TRANSFERRING else "not_leader"
            self.fail(propose.token, code, True)
            return
        if (self.readonly or self.readonly_peers) and readonly.refuses_writes(self):
            self.fail(propose.token, "readonly", True)
            return
        if self.witness:
            self.fail(propose.token, "witness", True)
            return
        self.counters["proposals"] += 1
        self.pending[self.log.last_index + 1] = propose.token
        self._append(DATA, propose.data, propose.crc, propose.more)

    def on_requests(self, requests: Requests) -> None:
        for propose in requests.proposals:
            self.on_propose(propose)
        if self.state in LEADING:
            if requests.reads:
                self.rounds.held = False
                reads.start_round(self)
            replication.fill_all(self)
        elif self.asks:
            reads.ask(self)

    def out_admin(self, done: AdminDone) -> None:
        self.out.admin.append(done)

    def fail(self, token: int, code: str, definite: bool) -> None:
        self.out.failed.append(Failed(token, code, definite, self.leader_id))

    def advance_commit(self, index: int) -> None:
        """Everything up to `index` is committed, and leaves to be applied now."""
        first = self.commit + 1
        entries = self.log.between(first, index)
        self.commit = index
        self.counters["committed"] += len(entries)
        out = self.out
        out.events.append(events.commit(self.term, index))
        out.events.append(events.apply(self.term, first, entries))
        take = self.pending.pop
        if self.pending:
            out.apply.extend([Committed(entry, take(entry.index, None)) for entry in entries])
        else:
            out.apply.extend([Committed(entry, None) for entry in entries])
        if self.asks.applying:
            reads.on_applied(self)
        if self.state in LEADING and first <= self.term_start <= index:
            if self.options.leader_lease:
                out.events.append(events.lease_ready(self.term, self.epoch))
            reads.start_round(self)
        if index >= self.snapshot_at:
            snapshotting.on_reached(self)
        if index >= self.conf_due:
            membership.on_committed(self)

    # ---- sending ---------------------------------------------------------------------------------

    def next_call(self) -> int:
        self._call += 1
        return self._call

    def wake_at(self, due_ns: int) -> None:
        """A leader's timer was set: tick no later than this."""
        if due_ns < self.leader_due:
            self.leader_due = due_ns

    def batch(self, first: int) -> list[Entry]:
        """The entries of one append from `first` on; peers at the same place share one list."""
        key = (first, self.log.last_index)
        if key != self._batch_key:
            options = self.options
            self._batch = self.log.slice(
                first, options.max_entries_per_append, options.max_bytes_per_append
            )
            self._batch_key = key
        return self._batch

    def bare_batch(self, first: int) -> list[Entry]:
        """The same for a witness: what is on this leader's disk, without the commands themselves."""
        flushed = self.log.flushed
        key = (first, flushed)
        if key != self._bare_key:
            entries = self.batch(first)
            self._bare = [witnesses.bare(entry) for entry in entries if entry.index <= flushed]
            self._bare_key = key
        return self._bare

    def report(self, event: Event) -> None:
        """Say it once what it speaks of (the term, a cut) is on disk."""
        if self.hard_pending or self.cut or self.reset is not None:
            self.when_durable(_report, (self, event))
        else:
            self.out.events.append(event)

    def reply(self, to: str, message: Message) -> None:
        """Send once the term (and vote) it speaks of is on disk."""
        if self.hard_pending:
            self.when_durable(_send, (self, to, message))
        else:
            self.out.messages.append((to, message))

    # ---- durability ------------------------------------------------------------------------------

    @property
    def hard_pending(self) -> bool:
        """Is the current term or vote not known to be on disk?"""
        return self.hard_dirty or self._hard_token > self.persisted

    def when_durable(self, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Call `then(*arguments)` as soon as everything changed so far is on disk; at once if it
        is.
        """
        token = self.token + (1 if self.hard_dirty or self.fresh or self.cut or self.reset else 0)
        if token <= self.persisted:
            then(*arguments)
        else:
            self._waiting.append((token, then, arguments))

    def _hand_over(self) -> None:
        """What this step changed leaves as one Persist."""
        self.token = token = self.token + 1
        hard = None
        if self.hard_dirty:
            hard = HardState(self.term, self.durable_vote)
            self._hard_token = token
            self.hard_dirty = False
        if self.fresh:
            self.log.handed_over(token)
        self.out.persist.append(Persist(token, hard, self.cut, self.fresh, self.reset, self.purge))
        self.cut = self.purge = 0
        self.fresh = []
        self.reset = None

    def on_persisted(self, persisted: Persisted) -> None:
        token = persisted.token
        if token <= self.persisted:
            return
        self.persisted = token
        self.log.persisted(token)
        waiting = self._waiting
        while waiting and waiting[0][0] <= token:
            _, then, arguments = waiting.popleft()
            then(*arguments)
        if self.state in LEADING:
            if self.log.flushed > self.commit:
                replication.advance_commit(self)
            if self.conf.witnesses:
                replication.fill_all(self)

    # ---- the remaining inputs --------------------------------------------------------------------

    def on_tick(self, _: Tick) -> None:
        due = self.snapshots.due
        if due is not None and self.now >= due:
            snapshotting.on_interval(self)
        if self.state in LEADING:
            replication.on_tick(self)
        else:
            if self.asks.due is not None and self.now >= self.asks.due:
                reads.unanswered(self)
            election.on_tick(self)

    def on_disconnected(self, lost: Disconnected) -> None:
        replication.on_disconnected(self, lost.peer)
        if self.asks and lost.peer == self.leader_id:
            reads.unanswered(self)

    def on_read(self, read: Read) -> None:
        reads.on_read(self, read)

    def on_manual_vote(self, vote: ManualVote) -> None:
        election.on_manual_vote(self, vote.election_timeout_ms)

    def on_wall_clock(self, clock: WallClock) -> None:
        self.promise.wall_skew_ns = clock.skew_ns

    def on_observe_lease(self, _: ObserveLease) -> None:
        reads.observe_lease(self)


def _send(raft: Raft, to: str, message: Message) -> None:
    raft.out.messages.append((to, message))


def _report(raft: Raft, event: Event) -> None:
    raft.out.events.append(event)


def _report_term(raft: Raft, term: int, previous: int, reason: str) -> None:
    raft.out.events.append(events.term_change(term, previous, reason))


_INPUTS: Final[Mapping[type, Callable[[Raft, Any], None]]] = {
    Propose: Raft.on_propose,
    Read: Raft.on_read,
    Requests: Raft.on_requests,
    Persisted: Raft.on_persisted,
    Tick: Raft.on_tick,
    Disconnected: Raft.on_disconnected,
    ManualVote: Raft.on_manual_vote,
    ObserveLease: Raft.on_observe_lease,
    Transfer: transfer.on_transfer,
    Shutdown: transfer.on_shutdown,
    SetReadonly: readonly.on_set,
    ResetElectionTimeout: election.on_reset_timeout,
    TakeSnapshot: snapshotting.on_take,
    SnapshotSaved: snapshotting.on_saved,
    Downloaded: snapshotting.on_downloaded,
    WallClock: Raft.on_wall_clock,
    ChangeMembers: membership.on_change,
    ResetMembers: membership.on_reset,
}

_RECEIVED: Final[Mapping[type, Callable[[Raft, str, Any], None]]] = {
    AppendEntries: following.on_append,
    AppendEntriesReply: replication.on_append_reply,
    PreVote: election.on_pre_vote,
    PreVoteReply: election.on_pre_vote_reply,
    RequestVote: election.on_request_vote,
    RequestVoteReply: election.on_request_vote_reply,
    TimeoutNow: transfer.on_timeout_now,
    TimeoutNowReply: transfer.on_timeout_now_reply,
    ReadIndex: reads.on_read_index,
    ReadIndexReply: reads.on_read_index_reply,
    InstallSnapshot: snapshotting.on_install,
    InstallSnapshotReply: replication.on_install_reply,
}
