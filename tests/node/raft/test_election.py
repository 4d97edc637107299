"""Elections: pre-vote, vote, timers, stepping down (Raft thesis 3.4 and 9.6)."""

from __future__ import annotations

import pytest

from node.raft import election
from node.raft.effects import (
    Effects,
    HardState,
    ManualVote,
    Options,
    Persisted,
    Received,
    Tick,
)
from node.raft.messages import (
    DATA,
    AppendEntries,
    Entry,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from node.raft.raft import STEP_DOWN_REASONS, Raft
from tests.node.raft.bed import MS, Bed

NO_LEASE = Options(leader_lease=False)
MANUAL = Options(elections=False)
MANUAL_NO_LEASE = Options(elections=False, leader_lease=False, check_quorum=False)


def replies(bed: Bed, kind: type[Message]) -> list[Message]:
    return [message for _, _, _, message in bed.sent if isinstance(message, kind)]


def core(options: Options = NO_LEASE, first_boot: bool = True, size: int = 3) -> Raft:
    names = [f"n{i + 1}" for i in range(size)]
    return Raft("n1", names, options, HardState(), [], first_boot, b"seed", 0)


def names(out: Effects) -> list[str]:
    return [event.name for event in out.events]


# ---- triggers and timers -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_fresh_group_elects_one_leader_soon(size: int) -> None:
    """2.1: a first boot holds no promise, so the first tick may elect at once."""
    bed = Bed(size, Options())
    bed.run_until(lambda: bed.leader() is not None, 100 + 1250)
    leader = bed.leader()
    bed.run(500)
    assert [bed.core(name).leader_id for name in bed.names] == [leader] * size


def test_after_a_restart_nobody_elects_before_the_longest_promise_ends() -> None:
    """2.1: restart forgets whom it promised what, so the follower lease starts anew."""
    bed = Bed(3, Options())
    bed.elect("n1")
    bed.crash("n1")
    for name in ("n2", "n3"):
        bed.restart(name)
    restarted = bed.now
    bed.run_until(lambda: bed.leader() is not None, 3 * 625 + 1000)
    assert bed.now - restarted >= 625 * MS


def test_the_tick_is_redrawn_between_one_and_two_ticks() -> None:
    """2.2: a uniform delay in [tick, 2 tick]; exactly the tick without jitter."""
    for jitter, allowed in (
        (True, range(50 * MS, 100 * MS + 1)),
        (False, range(50 * MS, 50 * MS + 1)),
    ):
        raft = core(Options(election_jitter=jitter, leader_lease=False), first_boot=False)
        for now in range(0, 500 * MS, MS):
            due = raft.next_deadline
            assert due is not None
            if now >= due:
                raft.step(Tick(), now)
                assert raft.next_deadline is not None
                assert raft.next_deadline - now in allowed


def test_leader_messages_leave_the_tick_alone_but_renew_the_promise() -> None:
    """2.2: the election timer is free-running."""
    raft = core(first_boot=False)
    due = raft.next_deadline
    raft.step(Received("n2", AppendEntries(1, 1, 0, 0, 0, 0, [])), 40 * MS)
    assert raft.next_deadline == due
    assert raft.promise.remaining(40 * MS) == 625 * MS


def test_a_vote_timeout_falls_back_to_prevote_in_the_same_term() -> None:
    """2.2 and Q13: after E+D to 2(E+D) the candidate is a follower again and asks for pre-votes."""
    raft = core()
    raft.step(Tick(), 100 * MS)
    call = next(iter(raft.ballot.calls)) if raft.ballot else 0
    sender = raft.ballot.calls[call] if raft.ballot else ""
    raft.step(Received(sender, PreVoteReply(1, call, True, False, False)), 101 * MS)
    assert (raft.state, raft.term) == ("candidate", 2)
    assert raft.vote_due is not None
    assert 625 * MS <= raft.vote_due - 101 * MS <= 1250 * MS
    raft.step(Persisted(raft.token), 102 * MS)
    out = raft.step(Tick(), raft.vote_due)
    assert (raft.state, raft.term) == ("follower", 2)
    assert [type(message) for _, message in out.messages] == [PreVote, PreVote]


def test_without_elections_only_a_manual_vote_starts_one() -> None:
    """3.6 manual vote, under the option elections=False."""
    bed = Bed(3, MANUAL)
    bed.run(5000)
    assert bed.leader() is None
    assert bed.core("n1").next_deadline is None
    bed.vote("n2")
    bed.run(100)
    assert bed.leader() == "n2"


def test_a_heartbeat_between_a_manual_vote_and_its_answers_does_not_undo_it() -> None:
    """3.6: the leader is alive when an operator asks for another, so its heartbeats say nothing against the request."""
    raft = core(MANUAL, first_boot=False)
    heartbeat = Received("n2", AppendEntries(1, 1, 0, 0, 0, 0, []))
    raft.step(heartbeat, 0)
    raft.step(ManualVote(0), 1 * MS)
    out = raft.step(Tick(), 1 * MS)
    calls = {peer: message.call for peer, message in out.messages if isinstance(message, PreVote)}
    raft.step(heartbeat, 2 * MS)
    raft.step(Received("n2", PreVoteReply(1, calls["n2"], True, False, True)), 3 * MS)
    assert (raft.state, raft.term) == ("candidate", 2)


def test_a_manual_vote_that_found_no_quorum_does_not_outlive_the_election_timeout() -> None:
    """A pre-vote is continued for E at most: what comes later is not what the operator asked for."""
    raft = core(MANUAL, first_boot=False)
    heartbeat = Received("n2", AppendEntries(1, 1, 0, 0, 0, 0, []))
    raft.step(heartbeat, 0)
    raft.step(ManualVote(0), 1 * MS)
    raft.step(Tick(), 1 * MS)
    raft.step(heartbeat, 501 * MS)
    assert raft.ballot is None


def test_a_pre_vote_of_ones_own_ends_with_a_word_of_the_leader() -> None:
    """2.3: whoever suspected its leader hears that it is alive."""
    raft = core(Options(), first_boot=False)
    raft.step(Tick(), 2000 * MS)
    assert raft.ballot is not None
    raft.step(Received("n2", AppendEntries(1, 1, 0, 0, 0, 0, [])), 2001 * MS)
    assert raft.ballot is None


def test_a_manual_vote_longer_than_the_promise_or_not_at_a_follower_is_ignored() -> None:
    """3.6: FOLLOWER only, E' <= E+D."""
    bed = Bed(3, MANUAL)
    bed.vote("n1", 626)
    bed.run(1000)
    assert bed.leader() is None
    bed.elect("n1")
    term = bed.core("n1").term
    bed.vote("n1")
    bed.run(500)
    assert (bed.leader(), bed.core("n1").term) == ("n1", term)


# ---- pre-vote ------------------------------------------------------------------------------------


def test_a_prevote_changes_nothing_at_the_voter() -> None:
    """3.2: no term, no vote, no promise, no timer."""
    raft = core()
    before = (raft.term, raft.voted_for, raft.promise.stamp_ns, raft.next_deadline)
    out = raft.step(Received("n2", PreVote(9, 1, 0, 0)), MS)
    assert out.messages == [("n2", PreVoteReply(1, 1, True, False, False))]
    assert (raft.term, raft.voted_for, raft.promise.stamp_ns, raft.next_deadline) == before
    assert not out.persist


def test_an_isolated_node_keeps_its_term_with_prevote_and_the_group_its_leader() -> None:
    """Q3: with pre-vote a healed node just follows; without, it deposes the leader."""
    for prevote in (True, False):
        bed = Bed(3, Options(prevote=prevote, leader_lease=False))
        bed.elect("n1")
        term = bed.core("n1").term
        bed.isolate("n3")
        bed.propose("n1")
        bed.run(5000)
        assert (bed.core("n3").term == term) is prevote
        bed.heal()
        bed.run(2000)
        assert (bed.core("n1").term == term) is prevote
        assert bed.leader() is not None


def test_a_prevote_is_refused_by_a_live_promise_and_granted_by_the_leader() -> None:
    """3.2 and A1: followers are sticky, the leader is not, unless leader_sticky."""
    for sticky in (False, True):
        bed = Bed(3, Options(elections=False, leader_sticky=sticky))
        bed.elect("n1")
        bed.sent.clear()
        bed.deliver("n3", "n2", PreVote(9, 1, 9, 9))
        bed.deliver("n3", "n1", PreVote(9, 2, 9, 9))
        term = bed.core("n1").term
        follower, leader = replies(bed, PreVoteReply)
        assert follower == PreVoteReply(term, 1, False, True, False)
        assert leader == PreVoteReply(term, 2, not sticky, sticky, not sticky)


def test_prevotes_of_a_slow_link_are_counted_across_ticks() -> None:
    """3.2: a round younger than E goes on, so round trips longer than a tick still elect."""
    bed = Bed(3, Options(election_tick_ms=10))
    bed.delay = lambda _from, _to: 60 * MS
    bed.run(2500)
    assert bed.leader() is not None


def test_an_answer_to_an_old_ballot_is_not_counted() -> None:
    """Q15: answers are matched by call; a pre-vote grant is no vote, a copy no second one."""
    raft = core(size=5)
    raft.step(Tick(), 100 * MS)
    assert raft.ballot is not None
    calls = dict(raft.ballot.calls)
    first, second, third = list(calls.items())[:3]
    for _ in range(5):
        raft.step(Received(first[1], PreVoteReply(1, first[0], True, False, False)), 101 * MS)
    assert raft.state == "follower"
    raft.step(Received(second[1], PreVoteReply(1, second[0], True, False, False)), 102 * MS)
    assert raft.state == "candidate"
    raft.step(Persisted(raft.token), 103 * MS)
    for call, peer in (first, second, third):
        raft.step(Received(peer, PreVoteReply(1, call, True, False, False)), 104 * MS)
        raft.step(Received(peer, RequestVoteReply(2, call, True, False, False, 1)), 104 * MS)
    assert raft.state == "candidate"


# ---- votes ---------------------------------------------------------------------------------------


def test_a_vote_speaks_only_when_it_is_on_disk() -> None:
    """3.3: reply and event come out with Persisted; the record is (term, candidate)."""
    raft = core()
    out = raft.step(Received("n2", RequestVote(5, 1, 0, 0)), MS)
    assert not out.messages
    assert not out.events
    assert [persist.hard_state for persist in out.persist] == [HardState(5, "n2")]
    out = raft.step(Persisted(out.persist[0].token), 2 * MS)
    assert names(out) == ["term_change", "vote_granted"]
    assert out.messages == [("n2", RequestVoteReply(5, 1, True, False, False, 1))]


def test_events_of_a_term_wait_until_it_is_on_disk() -> None:
    """Decisions, order: following, vote_refused and prevote_granted name the term, so they wait too."""
    raft = core()
    out = raft.step(Received("n2", AppendEntries(5, 1, 0, 0, 0, 0, [])), MS)
    out_2 = raft.step(Received("n3", RequestVote(4, 2, 0, 0)), MS)
    out_3 = raft.step(Received("n3", PreVote(9, 3, 0, 0)), MS)
    assert [names(each) for each in (out, out_2, out_3)] == [[], [], []]
    out = raft.step(Persisted(raft.token), 2 * MS)
    assert names(out) == [
        "term_change",
        "following",
        "append_ack",
        "vote_refused",
        "prevote_granted",
    ]
    raft.step(Received("n3", RequestVote(7, 4, 0, 0)), 3 * MS)
    out = raft.step(Received("n2", RequestVote(7, 5, 0, 0)), 3 * MS)
    assert names(out) == []
    out = raft.step(Persisted(raft.token), 4 * MS)
    assert names(out) == ["term_change", "vote_granted", "vote_refused"]


def test_the_vote_timer_is_spread_over_its_own_base_up_to_a_second() -> None:
    """2.2: uniform in [base, base + min(base, 1000 ms)] with base E + D."""
    for options, spread_ms in (
        (Options(prevote=False, leader_lease=False), 625),
        (Options(prevote=False, leader_lease=False, election_timeout_ms=2000), 1000),
    ):
        base_ms = options.election_timeout_ms + options.max_clock_drift_ms
        drawn = []
        for seed in range(300):
            raft = Raft(
                "n1",
                ["n1", "n2", "n3"],
                options,
                HardState(),
                [],
                True,
                bytes([seed % 256, seed // 256]),
                0,
            )
            raft.step(Tick(), 10_000 * MS)
            assert raft.vote_due is not None
            drawn.append(raft.vote_due / MS - 10_000 - base_ms)
        assert 0 <= min(drawn) < spread_ms * 0.1
        assert spread_ms * 0.9 < max(drawn) <= spread_ms


def test_status_tells_which_timers_run_and_for_how_long() -> None:
    """Section 4: each timer stopped (None) or scheduled in so many ms, as of the clock handed in."""
    bed = Bed(3, Options(elections=False))
    assert bed.core("n1").status()["timers"] == dict.fromkeys(
        ("election", "vote", "grant_self", "step_down", "transfer", "catch_up", "snapshot")
    )
    bed.elect("n1")
    bed.run(60)
    timers = bed.core("n1").status(bed.now)["timers"]
    assert timers["election"] is None
    assert 0 < timers["step_down"] <= 500
    assert bed.core("n1").status(bed.now + 10**12)["timers"]["step_down"] == 0
    assert bed.core("n1").status(bed.now + 10**12)["lease"]["state"] == "expired"
    assert 0 <= bed.core("n1").status(bed.now)["peers"]["n2"]["heartbeat_remaining_ms"] <= 50
    raft = core(Options(prevote=False), first_boot=False)
    raft.step(Tick(), 700 * MS)
    raft.step(Persisted(raft.token), 700 * MS)
    timers = raft.status(701 * MS)["timers"]
    assert timers["election"] is None
    assert 624 <= timers["vote"] <= 1250


def test_a_candidacy_speaks_only_when_it_is_on_disk() -> None:
    """3.3 with A5 mended: vote requests and the own vote wait for the record."""
    raft = core(Options(prevote=False, leader_lease=False))
    out = raft.step(Tick(), 100 * MS)
    assert raft.state == "candidate"
    assert not out.messages
    assert not out.events
    assert out.persist[0].hard_state == HardState(2, "n1")
    out = raft.step(Persisted(out.persist[0].token), 101 * MS)
    assert names(out) == ["term_change", "become_candidate", "vote_granted"]
    assert [type(message) for _, message in out.messages] == [RequestVote, RequestVote]


def test_one_vote_a_term_survives_a_restart_and_may_be_repeated() -> None:
    """Q1: the second candidate is refused, also after a restart; the first is granted again."""
    bed = Bed(3, MANUAL_NO_LEASE)

    def granted(candidate: str) -> bool:
        bed.sent.clear()
        bed.deliver(candidate, "n1", RequestVote(5, 1, 0, 0))
        bed.run(1)
        reply = replies(bed, RequestVoteReply)[-1]
        assert isinstance(reply, RequestVoteReply)
        return reply.granted

    assert [granted("n2"), granted("n3")] == [True, False]
    bed.restart("n1")
    assert [granted("n3"), granted("n2")] == [False, True]


def test_a_vote_whose_term_has_passed_while_the_disk_worked_is_a_refusal() -> None:
    """3.3: T is rechecked after the disk write."""
    raft = core()
    first = raft.step(Received("n2", RequestVote(5, 1, 0, 0)), MS).persist[0].token
    second = raft.step(Received("n3", AppendEntries(6, 2, 0, 0, 0, 0, [])), 2 * MS).persist[0].token
    raft.step(Persisted(first), 3 * MS)
    out = raft.step(Persisted(second), 4 * MS)
    votes = [message for _, message in out.messages if isinstance(message, RequestVoteReply)]
    assert [(vote.granted, vote.term) for vote in votes] == [(False, 6)]


def test_the_log_check_counts_only_what_is_on_disk() -> None:
    """3.1: ids flushed to disk are compared; (term, index) lexicographically."""
    raft = core()
    raft.step(Received("n2", AppendEntries(2, 1, 0, 0, 0, 0, [Entry(1, 2, DATA, b"a", 1)])), MS)
    raft.now = MS
    assert election.log_ok(raft, 0, 0)
    raft.step(Persisted(raft.token), MS)
    checks = [(1, 9), (2, 0), (2, 1), (3, 1)]
    assert [election.log_ok(raft, *check) for check in checks] == [False, False, True, True]


def test_a_vote_refused_by_a_live_promise_leaves_the_term_alone() -> None:
    """3.3 step 4: T is not raised; rejected_by_lease says whether the log was good enough."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    term = bed.core("n2").term
    bed.sent.clear()
    bed.deliver("n3", "n2", RequestVote(term + 5, 1, 9, 9))
    bed.deliver("n3", "n2", RequestVote(term + 5, 2, 0, 0))
    votes = replies(bed, RequestVoteReply)
    assert [vote.rejected_by_lease for vote in votes if isinstance(vote, RequestVoteReply)] == [
        True,
        False,
    ]
    assert bed.core("n2").term == term


def test_granting_a_vote_renews_the_promise_and_a_retry_is_exempt() -> None:
    """A3 mended: a fresh voter does not depose a fresh leader; the same candidate may ask again."""
    raft = core(Options())
    for at in (10, 20):
        out = raft.step(Received("n2", RequestVote(5, at, 0, 0)), at * MS)
        if out.persist:
            out = raft.step(Persisted(raft.token), at * MS)
        reply = out.messages[0][1]
        assert isinstance(reply, RequestVoteReply)
        assert reply.granted
    assert raft.promise.remaining(20 * MS) == 625 * MS
    out = raft.step(Received("n3", RequestVote(6, 1, 0, 0)), 30 * MS)
    reply = out.messages[0][1]
    assert isinstance(reply, RequestVoteReply)
    assert (reply.granted, reply.rejected_by_lease, raft.term) == (False, True, 5)


def test_a_late_copy_of_a_granted_request_is_refused_once_the_leader_has_been_heard() -> None:
    """Decisions, A3: only the lease that this grant renewed is waived, not one renewed since."""
    raft = core(Options())
    raft.step(Received("n2", RequestVote(5, 1, 0, 0)), MS)
    raft.step(Persisted(raft.token), MS)
    raft.step(Received("n2", AppendEntries(5, 2, 0, 0, 0, 0, [])), 2 * MS)
    out = raft.step(Received("n2", RequestVote(5, 1, 0, 0)), 3 * MS)
    assert out.messages == [("n2", RequestVoteReply(5, 1, False, True, False, 5))]
    assert raft.promise.stamp_ns == 2 * MS


def test_the_own_vote_waits_for_the_own_promise() -> None:
    """3.4: a node that still promises counts its own grant only when the promise ends."""
    raft = core(Options(elections=False), first_boot=False)
    raft.triggered = True
    raft.step(Tick(), 100 * MS)
    assert raft.ballot is not None
    assert not raft.ballot.grants
    assert raft.next_deadline == 625 * MS
    raft.step(Tick(), 625 * MS)
    assert raft.ballot.grants == {"n1"}


def test_the_leaders_own_grant_ends_the_promise_made_to_it() -> None:
    """3.2 and 3.3: leader plus self elect under live leases; the leader has stepped down first."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(200)
    bed.vote("n2")
    bed.run(110)
    assert bed.leader() == "n2"
    assert [event.fields["reason"] for event in bed.named("step_down", "n1")] == [
        "higher_term_request"
    ]


@pytest.mark.parametrize("sticky", [False, True])
def test_a_triggered_election_wins_under_leases_by_the_old_leaders_consent(sticky: bool) -> None:
    """3.2 and 3.3 with five nodes: the reserve counts once the leader is disrupted, and those that
    refused by lease are asked again with the proof; a sticky leader gives no consent."""
    bed = Bed(5, Options(elections=False, leader_sticky=sticky))
    bed.elect("n1")
    bed.run(200)
    term = bed.core("n1").term
    bed.vote("n2")
    bed.run(120)
    if sticky:
        assert (bed.leader(), bed.core("n2").term) == ("n1", term)
        return
    assert bed.leader() == "n2"
    proofs = {
        (m.disrupted_leader, m.disrupted_term)
        for _, _, _, m in bed.sent
        if isinstance(m, RequestVote) and m.disrupted_leader
    }
    assert proofs == {("n1", term)}
    assert [event.fields["reason"] for event in bed.named("step_down", "n1")] == [
        "higher_term_request"
    ]


def test_an_election_that_nobody_triggered_makes_no_use_of_the_reserve() -> None:
    """3.2: rejected_by_lease is ignored unless the election was triggered by an admin vote."""
    for triggered in (False, True):
        raft = core(Options(), size=5)
        if triggered:
            raft.triggered = True
        raft.step(Tick(), 100 * MS)
        assert raft.ballot is not None
        for position, (call, peer) in enumerate(list(raft.ballot.calls.items())[:3]):
            reply = PreVoteReply(1, call, position == 0, position > 0, position == 0)
            raft.step(Received(peer, reply), 101 * MS)
        assert (raft.state == "candidate") is triggered


@pytest.mark.parametrize(
    ("leader", "term", "granted"), [("n2", 4, False), ("n3", 5, False), ("n2", 5, True)]
)
def test_a_voter_drops_its_promise_only_for_proof_about_its_own_leader_and_term(
    leader: str, term: int, granted: bool
) -> None:
    """3.3 step 1, section 5 row 21: the consent must be that of the very leader promised to."""
    raft = core(Options())
    raft.step(Received("n2", AppendEntries(5, 1, 0, 0, 0, 0, [])), MS)
    raft.step(Persisted(raft.token), 2 * MS)
    raft.step(Received("n3", RequestVote(6, 7, 0, 0, leader, term)), 3 * MS)
    assert (raft.voted_for == "n3") is granted
    assert raft.term == (6 if granted else 5)


def test_a_voter_that_the_proof_does_not_convince_is_asked_once_more_and_not_for_ever() -> None:
    """3.3: a refusal by lease is answered with the proof; the next one is final."""
    raft = core(Options(prevote=False), size=5)
    raft.step(Tick(), 100 * MS)
    out = raft.step(Persisted(raft.token), 100 * MS)
    first, second = out.messages[:2]
    assert isinstance(first[1], RequestVote)
    assert isinstance(second[1], RequestVote)
    raft.step(
        Received(first[0], RequestVoteReply(1, first[1].call, False, True, False, 1)), 101 * MS
    )
    yielded = RequestVoteReply(2, second[1].call, True, False, True, 1)
    out = raft.step(Received(second[0], yielded), 102 * MS)
    ((to, again),) = out.messages
    assert isinstance(again, RequestVote)
    assert (to, again.disrupted_leader, again.disrupted_term) == (first[0], second[0], 1)
    out = raft.step(Received(to, RequestVoteReply(1, again.call, False, True, False, 1)), 103 * MS)
    assert out.messages == []


def test_a_leader_that_stays_one_never_calls_itself_disrupted() -> None:
    """3.3 step 5: a rival's request of the same term does not depose, so it must not yield proof."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    term = bed.core("n1").term
    bed.sent.clear()
    bed.deliver("n3", "n1", RequestVote(term, 1, 9, 9))
    assert replies(bed, RequestVoteReply) == [RequestVoteReply(term, 1, False, False, False, term)]
    assert bed.core("n1").state == "leader"


def test_rivals_split_the_vote_without_jitter_and_jitter_resolves_it() -> None:
    """Q2: four equal nodes; the vote timeout leads to another pre-vote until somebody is first."""
    bed = Bed(4, Options(election_jitter=False))
    bed.run(4000)
    assert bed.leader() is None
    assert bed.core("n1").counters["elections"] >= 2
    bed = Bed(4, Options())
    bed.run(4000)
    assert bed.leader() is not None


@pytest.mark.parametrize("prevote", [True, False])
def test_without_prevote_a_deposed_candidate_pauses_for_e(prevote: bool) -> None:
    """Q3: each candidacy without pre-vote takes a term, so rivals must not repeat it every tick."""
    raft = core(Options(prevote=False))
    raft.step(Tick(), 100 * MS)
    assert raft.state == "candidate"
    raft.options = Options(prevote=prevote)
    raft.step(Received("n2", RequestVote(9, 1, 0, 0)), 110 * MS)
    assert raft.state == "follower"
    pause_ms = (raft.election_due - 110 * MS) / MS
    assert 50 <= pause_ms <= 100 if prevote else 500 <= pause_ms <= 1000


# ---- stepping down -------------------------------------------------------------------------------


def test_a_leader_without_answers_steps_down_within_two_election_timeouts() -> None:
    """3.7.3: the dead-node check runs every E and counts answers younger than E."""
    for check, expected in ((True, ["dead_nodes"]), (False, [])):
        bed = Bed(3, Options(elections=False, check_quorum=check))
        bed.elect("n1")
        bed.isolate("n1")
        bed.run(1050)
        assert [event.fields["reason"] for event in bed.named("step_down")] == expected


def test_a_higher_term_in_an_answer_deposes() -> None:
    """3.7.1, and 2.3: the answer's term is adopted and the vote cleared."""
    bed = Bed(3, MANUAL_NO_LEASE)
    bed.elect("n1")
    bed.isolate("n3")
    bed.deliver("n3", "n3", RequestVote(9, 1, 0, 0))
    bed.step("n3", Received("n2", RequestVote(9, 1, 9, 9)))
    bed.run(5)
    bed.heal()
    bed.run(100)
    assert bed.core("n1").term == 9
    assert [event.fields["reason"] for event in bed.named("step_down")] == ["higher_term_response"]


def test_a_new_leaders_append_deposes_the_old_one() -> None:
    """3.7.2 and 2.3: follow the sender of a higher term at once."""
    bed = Bed(3, MANUAL_NO_LEASE)
    bed.elect("n1")
    bed.step("n1", Received("n2", AppendEntries(9, 1, 0, 0, 0, 0, [])))
    assert (bed.core("n1").leader_id, bed.core("n1").term) == ("n2", 9)
    assert [event.fields["reason"] for event in bed.named("step_down")] == ["new_leader"]
    assert "new_leader" in STEP_DOWN_REASONS


def test_two_leaders_in_one_term_are_answered_with_the_next_term() -> None:
    """3.7.11: a damage limiter that never fires in a sound group."""
    raft = core()
    raft.step(Received("n2", AppendEntries(1, 1, 0, 0, 0, 0, [])), MS)
    raft.step(Received("n3", AppendEntries(1, 2, 0, 0, 0, 0, [])), 2 * MS)
    out = raft.step(Persisted(raft.token), 3 * MS)
    assert raft.term == 2
    assert [getattr(message, "term", 0) for _, message in out.messages] == [2]


def test_a_lost_term_record_is_taken_for_a_given_vote() -> None:
    """2.1: term below the last log term becomes last log term + 1, and is written with the first
    step.
    """
    log = [Entry(1, 7, DATA, b"", 0)]
    raft = Raft("n1", ["n1", "n2", "n3"], NO_LEASE, HardState(3, "n2"), log, False, b"", 0)
    out = raft.step(Tick(), 0)
    assert [persist.hard_state for persist in out.persist] == [HardState(8, "")]


def test_the_same_seed_gives_the_same_life() -> None:
    """A life of the core is the list of its inputs."""
    lives = []
    for _ in range(2):
        bed = Bed(5, Options(), seed=3)
        bed.run(2000)
        lives.append([(when, who, event) for when, who, event in bed.events])
    assert lives[0] == lives[1]


def test_a_draw_stays_in_its_range() -> None:
    """2.2: [base, base + spread], exactly the base without jitter."""
    assert {election.draw(core(Options()), 10, 0) for _ in range(20)} == {10}
    drawing = core(Options())
    assert {election.draw(drawing, 10, 3) for _ in range(200)} == {10, 11, 12, 13}
    assert election.draw(core(Options(election_jitter=False)), 10, 3) == 10
    assert election.draw(core(Options(bugs=("no_jitter",))), 10, 3) == 10
