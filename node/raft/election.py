"""Elections: pre-vote, vote, and a node's own vote under its own promise (braft src/braft/node.cpp;
Raft thesis 9.6).

The one rule: a vote speaks only when it is on disk. Requests, replies and events about it come out
of the step that is told so. The functions act on a `Raft`; its state is in raft.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from node.raft import events, quorums, witnesses
from node.raft.effects import AdminDone, ResetElectionTimeout
from node.raft.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply

if TYPE_CHECKING:
    from node.raft.raft import Raft

FOLLOWER: Final = "follower"
CANDIDATE: Final = "candidate"
LEADER: Final = "leader"
TRANSFERRING: Final = "transferring"
"""A leader that is handing over: no lease, no new writes, everything else goes on."""
LEADING: Final = (LEADER, TRANSFERRING)

_MS: Final = 1_000_000
SPREAD_NS_MAX: Final = 1_000_000_000
"""How much a vote timer is spread at most (2.2)."""


def draw(raft: Raft, base_ns: int, spread_ns: int) -> int:
    """A delay in [base, base + spread], exactly base without jitter."""
    if not raft.options.election_jitter or (raft.bugs.active and raft.bugs.breaks("no_jitter")):
        return base_ns
    # What randint does, without its calls: this is asked at every election tick.
    bits, take = (spread_ns + 1).bit_length(), raft.rng.getrandbits
    drawn = take(bits)
    while drawn > spread_ns:
        drawn = take(bits)
    return base_ns + drawn


class Ballot:
    """The count of one pre-vote or vote. Answers are matched by call, grants counted once per
    member.
    """

    __slots__ = (
        "calls",
        "disrupted",
        "grants",
        "last_index",
        "last_leader",
        "last_term",
        "pre",
        "proven",
        "reserved",
        "started_ns",
        "triggered",
    )

    def __init__(
        self, pre: bool, last_leader: str, last_index: int, last_term: int, now_ns: int
    ) -> None:
        self.pre = pre
        self.last_leader = last_leader
        """The holder of this node's own promise: its grant is its consent to end that promise."""
        self.last_index = last_index
        self.last_term = last_term
        self.started_ns = now_ns
        self.calls: dict[int, str] = {}
        self.grants: set[str] = set()
        self.triggered = False
        """An admin vote began it: leases that refuse it may be waived by the leader's consent."""
        self.reserved: set[str] = set()
        """Who refused by lease alone."""
        self.proven: set[str] = set()
        """Who was asked with the proof: a second refusal by lease is final, or the two would go on
        asking and refusing as fast as the link lets them.
        """
        self.disrupted: tuple[str, int] | None = None
        """(leader, term): a leader that would step down (pre-vote) or has (vote)."""

    def __repr__(self) -> str:
        return f"Ballot({'pre-vote' if self.pre else 'vote'}, grants={sorted(self.grants)})"


def log_ok(raft: Raft, last_term: int, last_index: int) -> bool:
    """Is the candidate's last id at least our own? Only entries on our disk count: no others were
    ever acknowledged.
    """
    log = raft.log
    if (last_term, last_index) >= (log.flushed_term, log.flushed):
        return True
    if last_index >= log.flushed and raft.bugs.breaks("log_check_index_only"):
        return True
    return raft.bugs.breaks("no_log_check")


def votable_time(raft: Raft) -> int:
    """How long this node's promise still forbids to vote; nothing without leader leases."""
    return raft.promise.remaining(raft.now) if raft.options.leader_lease else 0


def sticks(raft: Raft, candidate: str) -> bool:
    """Option leader_sticky: a leader whom a quorum accepted within E helps to elect nobody, but whom it hands over to."""
    if not raft.options.leader_sticky or raft.state not in LEADING:
        return False
    if raft.handover is not None and raft.handover.to == candidate:
        return False
    return raft.now < quorums.stamp(raft) + raft.election_timeout_ns


# ---- timers --------------------------------------------------------------------------------------


def on_tick(raft: Raft) -> None:
    """Timers of a follower or candidate."""
    now = raft.now
    if raft.grant_due is not None and now >= raft.grant_due:
        raft.grant_due = None
        grant_self(raft)
    if raft.state == CANDIDATE and raft.vote_due is not None and now >= raft.vote_due:
        raft.step_down(raft.term, "vote_timeout")
        if raft.options.elections:
            campaign(raft)
    elif raft.state == FOLLOWER and now >= raft.election_due:
        arm(raft)
        triggered, raft.triggered = raft.triggered, False
        if triggered or (raft.options.elections and not raft.promise.remaining(now)):
            campaign(raft, triggered=triggered)


def arm(raft: Raft, *, after_candidacy: bool = False) -> None:
    """Set the free-running election tick; leader messages renew the promise, not the tick.

    Without pre-vote a candidacy costs the others a term each. One that ended is followed by a pause
    of E, or rivals with ticks far shorter than the promises would depose each other for ever.
    """
    length_ns = witnesses.lengthened(raft, raft.tick_ns)
    if after_candidacy and not raft.options.prevote:
        length_ns = raft.election_timeout_ns
    raft.election_due = raft.now + draw(raft, length_ns, length_ns)


def on_manual_vote(raft: Raft, election_timeout_ms: int) -> None:
    """Admin vote(E'): a follower's next tick, E' away at most, starts an election without waiting
    for the promise.

    All promises keep their lengths. Anything but a follower, and E' > E + D, is ignored.
    """
    length_ns = election_timeout_ms * 1_000_000
    if raft.state != FOLLOWER or not 0 <= length_ns <= raft.election_timeout_ns + raft.drift_ns:
        return
    raft.triggered = True
    raft.election_due = min(raft.election_due, raft.now + length_ns)


def on_reset_timeout(raft: Raft, asked: ResetElectionTimeout) -> None:
    """Set E, with E + D kept or D given; refuses what cannot work (2.2).

    Tick and promise follow at once, a running vote or step-down timer runs out as it is.
    """
    length_ns, drift_ms = asked.election_timeout_ms * _MS, asked.max_clock_drift_ms
    both_ns = raft.election_timeout_ns + raft.drift_ns
    drift_ns = both_ns - length_ns if drift_ms is None else drift_ms * _MS
    error = ""
    if length_ns <= raft.heartbeat_ns:
        error = f"invalid: the election timeout must be above the heartbeat ({raft.heartbeat_ns // _MS} ms)"
    elif drift_ms is None and drift_ns < 0:
        error = f"invalid: the election timeout must not be above E + D ({both_ns // _MS} ms)"
    elif drift_ns < 0:
        error = "invalid: the clock drift must not be below 0"
    if not error:
        raft.election_timeout_ns, raft.drift_ns = length_ns, drift_ns
        witnesses.promise(raft)
        if raft.state == FOLLOWER:
            arm(raft)
        event = events.election_timeout(raft.term, length_ns // _MS, drift_ns // _MS)
        raft.out.events.append(event)
    raft.out.admin.append(AdminDone(asked.token, error))


def may_stand(raft: Raft) -> bool:
    """Whoever is no member, or about to stop, stands for no election, and a witness only if it may lead.

    Nobody does with a bare log: what it lacks would soon be missing everywhere.

    One exception: while the entry that removes this member is not known to be committed, it may be the only one that has it,
    and the others cannot do without its vote (A10; Raft thesis 4.2.2). As leader it commits that entry and steps down.
    """
    if raft.leaving or raft.bare:
        return False
    if raft.witness:
        return raft.options.witness_may_lead
    # Its removal may stand in several entries, since each leadership begins with the configuration in force.
    for index, conf in reversed(raft.log.configurations):
        if raft.name in conf.members or raft.name in conf.old:
            return True
        if index <= raft.commit:
            return False
    return False


def campaign(raft: Raft, *, triggered: bool = False) -> None:
    """Start an election the way the options say; who may not, or installs a snapshot, does not stand (3.2)."""
    if not may_stand(raft) or raft.snapshots.downloading is not None:
        return
    raft.lose_leader()
    if raft.options.prevote:
        start_pre_vote(raft, triggered)
    else:
        elect_self(raft)


# ---- asking --------------------------------------------------------------------------------------


def start_pre_vote(raft: Raft, triggered: bool) -> None:
    """Ask who would vote for us in the next term; changes no term, no vote, no promise.

    A round younger than E over the same term and log is continued: links slower than a tick still
    get their answers counted.
    """
    log, old = raft.log, raft.ballot
    last_index, last_term = log.flushed, log.flushed_term
    if (
        old is None
        or not old.pre
        or (old.last_index, old.last_term) != (last_index, last_term)
        or raft.now - old.started_ns >= raft.election_timeout_ns
    ):
        if raft.bugs.breaks("prevote_bumps_term"):
            previous = raft.term
            raft.raise_term(previous + 1)
            raft.report(events.term_change(raft.term, previous, "pre_vote"))
        raft.ballot = Ballot(True, raft.promise.holder, last_index, last_term, raft.now)
    ballot = raft.ballot
    assert ballot is not None
    ballot.triggered = ballot.triggered or triggered
    for peer in raft.others:
        if peer not in ballot.grants:
            call = raft.next_call()
            ballot.calls[call] = peer
            raft.out.messages.append((peer, PreVote(raft.term + 1, call, last_index, last_term)))
    grant_self(raft)


def asked_for(raft: Raft, leader: str) -> Ballot | None:
    """The pre-vote that an admin vote began against `leader`, while it is young enough to be continued."""
    ballot = raft.ballot
    if ballot is None or not (ballot.pre and ballot.triggered) or ballot.last_leader != leader:
        return None
    return ballot if raft.now - ballot.started_ns < raft.election_timeout_ns else None


def elect_self(raft: Raft, proof: tuple[str, int] | None = None) -> None:
    """Become candidate in the next term; nothing is said before the term and the own vote are on
    disk.

    `proof` = (leader, term) is a leader that has stepped down for this: what was promised to it is void.
    """
    previous = raft.term
    raft.counters["elections"] += 1
    raft.state = CANDIDATE
    raft.lose_leader()
    raft.triggered = False
    raft.grant_due = None
    raft.interrupt_download()
    length_ns = witnesses.lengthened(raft, raft.election_timeout_ns) + raft.drift_ns
    raft.vote_due = raft.now + draw(raft, length_ns, min(length_ns, SPREAD_NS_MAX))
    raft.raise_term(raft.term + 1)
    cast_vote(raft, raft.name)
    log = raft.log
    ballot = Ballot(False, raft.promise.holder, log.flushed, log.flushed_term, raft.now)
    raft.ballot = ballot
    if proof is not None:
        ballot.disrupted = proof
        raft.promise.reset()
    raft.when_durable(announce, (raft, raft.term, previous))


def announce(raft: Raft, term: int, previous: int) -> None:
    """The candidacy is on disk: say so and ask for votes."""
    out = raft.out
    out.events.append(events.term_change(term, previous, "candidate"))
    out.events.append(events.become_candidate(term))
    out.events.append(events.vote_granted(term, raft.name))
    ballot = raft.ballot
    if raft.state != CANDIDATE or raft.term != term or ballot is None:
        return
    # What the leader sent right before it had us stand is on disk by now too, and the others may have it.
    ballot.last_index, ballot.last_term = raft.log.flushed, raft.log.flushed_term
    ask(raft, ballot, raft.others)
    grant_self(raft)


def ask(raft: Raft, ballot: Ballot, peers: Iterable[str]) -> None:
    """Request votes, with the proof of the old leader's consent once there is one."""
    leader, led = ballot.disrupted or ("", 0)
    for peer in peers:
        call = raft.next_call()
        ballot.calls[call] = peer
        request = RequestVote(raft.term, call, ballot.last_index, ballot.last_term, leader, led)
        raft.out.messages.append((peer, request))


def grant_self(raft: Raft) -> None:
    """Count the own grant, or wait for the end of the own promise (or for its holder's grant)."""
    remaining = votable_time(raft)
    if remaining and not raft.bugs.breaks("self_vote_ignores_lease"):
        raft.grant_due = raft.now + remaining
    else:
        count(raft, raft.name)


def count(raft: Raft, voter: str) -> None:
    """Add a grant."""
    ballot = raft.ballot
    if ballot is None:
        return
    if voter in ballot.grants and raft.bugs.breaks("vote_dup_count"):
        ballot.grants.add(next(name for name in raft.others if name not in ballot.grants))
    ballot.grants.add(voter)
    if voter == ballot.last_leader and voter != raft.name:
        ballot.grants.add(raft.name)
    if raft.name in ballot.grants:
        raft.grant_due = None
    tally(raft, ballot)


def tally(raft: Raft, ballot: Ballot) -> None:
    """A quorum of pre-votes starts the vote, a quorum of votes makes a leader.

    In a pre-vote, leases count as waived once the leader they were promised to would yield. In a
    vote they do not: whoever refused must be asked again, and judges the proof for itself.
    """
    grants = ballot.grants
    if ballot.pre and ballot.disrupted is not None:
        grants = grants | ballot.reserved
    if not quorums.agrees(raft, grants):
        return
    raft.ballot = None
    if ballot.pre:
        elect_self(raft)
    else:
        raft.become_leader()


# ---- voting --------------------------------------------------------------------------------------


def promised(raft: Raft) -> bool:
    """Does a promise forbid this node to vote for somebody else now?"""
    return votable_time(raft) > 0 and not raft.bugs.breaks("follower_lease_ignored")


def cast_vote(raft: Raft, candidate: str) -> None:
    """Vote for `candidate` in the current term, to be made durable with this step."""
    raft.voted_for = candidate
    if not raft.bugs.breaks("vote_not_persisted"):
        raft.durable_vote = candidate
        raft.hard_dirty = True


def on_pre_vote(raft: Raft, sender: str, m: PreVote) -> None:
    """Would this node vote for `sender`? Nothing changes here."""
    granted = by_lease = False
    if m.term >= raft.term and log_ok(raft, m.last_term, m.last_index):
        by_lease = promised(raft) or sticks(raft, sender)
        granted = not by_lease
    if not granted and m.term >= raft.term and raft.bugs.breaks("prevote_no_lag_refusal"):
        granted, by_lease = True, False
    if granted:
        raft.report(events.prevote_granted(raft.term, sender, m.term))
    disrupted = raft.state in LEADING and not sticks(raft, sender)
    raft.reply(sender, PreVoteReply(raft.term, m.call, granted, by_lease, disrupted))


def on_request_vote(raft: Raft, sender: str, m: RequestVote) -> None:
    """Grant or refuse; a refusal by lease leaves even the term alone."""
    previous = raft.term
    if raft.state == FOLLOWER and m.disrupted_leader:
        proven = (m.disrupted_leader, m.disrupted_term)
        if proven == (raft.leader_id, raft.term):
            # The leader that this node promised not to elect another has stepped down itself.
            raft.promise.reset()
        elif promised(raft) and raft.bugs.breaks("disrupted_unchecked"):
            raft.promise.reset()
    ok = log_ok(raft, m.last_term, m.last_index)
    again = m.term == raft.term and raft.voted_for == sender
    if m.term < raft.term:
        if raft.state == FOLLOWER and raft.bugs.breaks("lease_renew_any"):
            raft.promise.renew(sender, raft.now)
        refuse_vote(raft, sender, m, previous, by_lease=False, disrupted=False)
        return
    if (not (again and raft.promise.by_vote) and promised(raft)) or sticks(raft, sender):
        refuse_vote(raft, sender, m, previous, by_lease=ok, disrupted=False)
        return
    # A request of the leader's own term deposes nobody, so it must not yield proof of it.
    disrupted = raft.state in LEADING and m.term > raft.term
    if m.term > raft.term:
        raft.yield_to(sender, m.term, "higher_term_request")
    free = raft.voted_for in ("", sender)
    if ok and not free and raft.bugs.breaks("double_vote"):
        free, again = True, False
    if not (ok and free):
        refuse_vote(raft, sender, m, previous, by_lease=False, disrupted=disrupted)
        return
    if not again:
        raft.step_down(raft.term, "vote_for_candidate")
        cast_vote(raft, sender)
    raft.promise.renew(sender, raft.now, by_vote=True)
    if raft.hard_pending and raft.bugs.breaks("vote_no_fsync"):
        raft.out.events.append(events.vote_granted(raft.term, sender))
        reply = RequestVoteReply(raft.term, m.call, True, False, disrupted, previous)
        raft.out.messages.append((sender, reply))
        return
    raft.when_durable(speak_vote, (raft, sender, m, previous, disrupted, again))


def refuse_vote(
    raft: Raft, sender: str, m: RequestVote, previous: int, *, by_lease: bool, disrupted: bool
) -> None:
    raft.report(events.vote_refused(raft.term, sender, m.term, by_lease))
    reply = RequestVoteReply(raft.term, m.call, False, by_lease, disrupted, previous)
    raft.reply(sender, reply)


def speak_vote(
    raft: Raft, sender: str, m: RequestVote, previous: int, disrupted: bool, again: bool
) -> None:
    """The vote is on disk: say so, unless the term has moved on meanwhile."""
    granted = raft.term == m.term and raft.voted_for == sender
    if granted and not again:
        raft.out.events.append(events.vote_granted(raft.term, sender))
    reply = RequestVoteReply(raft.term, m.call, granted, False, disrupted, previous)
    raft.reply(sender, reply)


# ---- answers -------------------------------------------------------------------------------------


def on_pre_vote_reply(raft: Raft, sender: str, m: PreVoteReply) -> None:
    """Count a grant of the round in progress; a refusal by lease may count in a triggered one.

    Refusals are not retried before the next tick.
    """
    if m.term > raft.term:
        raft.step_down(m.term, "higher_term_response")
        return
    ballot = raft.ballot
    if ballot is None:
        return
    if not ballot.pre or ballot.calls.get(m.call) != sender:
        if m.granted and sender not in ballot.grants and raft.bugs.breaks("stale_vote_reply"):
            count(raft, sender)
        return
    if m.disrupted:
        ballot.disrupted = (sender, m.term)
    if m.granted:
        count(raft, sender)
    else:
        if m.rejected_by_lease and ballot.triggered:
            ballot.reserved.add(sender)
        tally(raft, ballot)


def on_request_vote_reply(raft: Raft, sender: str, m: RequestVoteReply) -> None:
    """Count a vote; it must answer a request of this very candidacy.

    Whoever refused by lease is asked again as soon as the old leader is known to have stepped down.
    """
    if m.term > raft.term:
        raft.step_down(m.term, "higher_term_response")
        return
    ballot = raft.ballot
    if ballot is None or ballot.pre:
        return
    if ballot.calls.get(m.call) != sender:
        if m.granted and sender not in ballot.grants and raft.bugs.breaks("stale_vote_reply"):
            count(raft, sender)
        return
    if m.disrupted:
        ballot.disrupted = (sender, m.previous_term)
    if m.granted and m.term == raft.term:
        count(raft, sender)
    elif m.rejected_by_lease and sender not in ballot.proven:
        ballot.reserved.add(sender)
    if raft.ballot is ballot and ballot.disrupted is not None and ballot.reserved:
        ask(raft, ballot, sorted(ballot.reserved))
        ballot.proven |= ballot.reserved
        ballot.reserved.clear()
