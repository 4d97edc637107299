"""Leases and reads (Raft thesis 6.4)."""

from __future__ import annotations

import pytest

from node.raft.bugs import Seeded
from node.raft.effects import Failed, Options, ReadReady, Shutdown
from node.raft.lease import FollowerLease
from node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
from tests.node.raft.bed import MS, Bed, Violation

MANUAL = Options(elections=False)


def led(options: Options = MANUAL, size: int = 3) -> Bed:
    bed = Bed(size, options)
    bed.elect("n1")
    bed.propose("n1")
    bed.run(100)
    return bed


# ---- the formulae --------------------------------------------------------------------------------


def test_a_promise_lasts_e_plus_d_from_its_last_renewal() -> None:
    """3.6: votable_time = max(0, last + E + D - now)."""
    promise = FollowerLease(500, 125, Seeded(()))
    assert promise.remaining(0) == 0
    promise.renew("n2", 1000)
    assert [promise.remaining(now) for now in (1000, 1500, 1624, 1625, 9999)] == [625, 125, 1, 0, 0]
    promise.reset()
    assert promise.remaining(1000) == 0


# ---- the leader lease ----------------------------------------------------------------------------


def test_a_lease_read_needs_no_messages() -> None:
    """Q7: a valid lease answers at once from local state."""
    bed = led()
    sent = len(bed.sent)
    token = bed.read("n1", "lease")
    assert bed.answers[token] == ReadReady(token, 2, bed.core("n1").term)
    assert len(bed.sent) == sent
    assert bed.named("lease")[-1].fields["state"] == "valid"


def test_the_lease_is_not_ready_before_the_first_own_entry_is_applied() -> None:
    """3.5: refused definitely until then, and lease_ready says when."""
    bed = Bed(3, MANUAL)
    bed.run_until(lambda: _leads(bed, "n1"), 3000)
    token = bed.read("n1", "lease")
    assert bed.answers[token] == Failed(token, "lease_not_ready", True, "n1")
    assert bed.observe("n1") == "not_ready"
    bed.run(20)
    assert [event.fields["epoch"] for event in bed.named("lease_ready")] == [1]
    assert bed.observe("n1") == "valid"


def _leads(bed: Bed, name: str) -> bool:
    bed.vote_anew(name)
    return bed.core(name).state == "leader"


def test_the_lease_ends_e_after_the_newest_answered_send_and_the_query_deposes() -> None:
    """3.6: stamp is the send time; a query that finds it expired steps down (3.7.4)."""
    bed = led(Options(elections=False, check_quorum=False))
    bed.delay = lambda _from, _to: 20 * MS
    bed.run(500)
    sends = [
        when for when, source, _, m in bed.sent if source == "n1" and isinstance(m, AppendEntries)
    ]
    answered = max(when for when in sends if when <= bed.now - 40 * MS)
    bed.isolate("n1")
    while bed.now < answered + 499 * MS:
        bed.run(1)
    assert bed.observe("n1") == "valid"
    bed.run(2)
    assert bed.observe("n1") == "expired"
    assert bed.core("n1").state == "leader", "who merely watches changes nothing"
    token = bed.read("n1", "lease")
    assert bed.answers[token] == Failed(token, "not_leader", True, "")
    assert [event.fields["reason"] for event in bed.named("step_down")] == ["lease_expired"]
    assert bed.core("n1").state == "follower"


def test_without_leases_a_lease_read_is_refused_definitely() -> None:
    """Q10: the flag off means DISABLED always."""
    bed = led(Options(elections=False, leader_lease=False))
    token = bed.read("n1", "lease")
    assert bed.answers[token] == Failed(token, "lease_disabled", True, "n1")
    assert bed.observe("n1") == "disabled"


@pytest.mark.parametrize(("leader_rate", "voter_rate"), [(900, 1110), (1000, 1000), (1110, 900)])
def test_the_old_lease_ends_before_the_next_leader_within_the_drift_bound(
    leader_rate: int, voter_rate: int
) -> None:
    """Q9: safe while rate(voter) / rate(leader) <= 1 + D / E = 1.25; the bed checks P-LX."""
    options = Options(election_tick_ms=5)
    bed = Bed(3, options, rates=(leader_rate, voter_rate, voter_rate))
    bed.elect("n1")
    bed.run(300)
    bed.isolate("n1")
    for _ in range(1500):
        bed.observe("n1")
        bed.run(1)
    assert bed.leader() in ("n2", "n3")


def test_the_drift_bound_is_tight() -> None:
    """Q9: at a ratio far above 1 + D / E two leaders' leases do overlap."""
    bed = Bed(3, Options(election_tick_ms=5), rates=(400, 1600, 1600))
    bed.elect("n1")
    bed.run(300)
    bed.isolate("n1")

    def watch() -> None:
        for _ in range(3000):
            bed.observe("n1")
            bed.run(1)

    with pytest.raises(Violation, match="P-LX"):
        watch()


# ---- read index ----------------------------------------------------------------------------------


def test_a_readindex_read_waits_for_a_quorum_asked_after_it() -> None:
    """Q8: one round of heartbeats; an event tells index and count."""
    bed = led()
    token = bed.read("n1", "readindex")
    assert token not in bed.answers
    bed.run(5)
    assert bed.answers[token] == ReadReady(token, 2, bed.core("n1").term)
    assert [event.fields for event in bed.named("readindex")] == [{"index": 2, "count": 1}]


def test_one_round_serves_all_that_waited_at_its_start_and_later_ones_the_next() -> None:
    """Thesis 6.4: reads share a round, but never one that began before them."""
    bed = led()
    for _ in range(5):
        bed.read("n1", "readindex")
    bed.run(20)
    assert [event.fields["count"] for event in bed.named("readindex")] == [1, 4]


def test_what_comes_together_leaves_together() -> None:
    """One append a member carries the commands and the round that serves all reads."""
    bed = led()
    sent = len(bed.sent)
    proposed, asked = bed.request("n1", 3, 2)
    appends = [m for _, _, _, m in bed.sent[sent:] if isinstance(m, AppendEntries)]
    number = bed.core("n1").rounds.number
    assert [(len(m.entries), m.round) for m in appends] == [(3, number), (3, number)]
    bed.run(20)
    assert all(bed.answers[token] for token in proposed)
    assert all(isinstance(bed.answers[token], ReadReady) for token in asked)
    assert [event.fields["count"] for event in bed.named("readindex")] == [2]


def test_reads_that_are_held_begin_with_the_commands_that_carry_their_round() -> None:
    """The end of the round before does not begin theirs, which would cost heartbeats of its own."""
    bed = led()
    bed.read("n1", "readindex")
    _, asked = bed.request("n1", 0, 2, begin=False)
    bed.run(20)
    assert [event.fields["count"] for event in bed.named("readindex")] == [1]
    sent = len(bed.sent)
    bed.request("n1", 1, 0)
    appends = [m for _, _, _, m in bed.sent[sent:] if isinstance(m, AppendEntries)]
    assert [len(m.entries) for m in appends] == [1, 1]
    bed.run(20)
    assert all(isinstance(bed.answers[token], ReadReady) for token in asked)
    assert [event.fields["count"] for event in bed.named("readindex")] == [1, 2]


def test_reads_that_came_with_commands_wait_for_no_slow_disk() -> None:
    """The answers to the entries are held up; the next heartbeats carry the round too."""
    bed = led()
    for name in ("n2", "n3"):
        bed.members[name].disk.delay_ns = 300 * MS
    proposed, asked = bed.request("n1", 1, 1)
    bed.run(bed.options.heartbeat_ms + 5)
    assert isinstance(bed.answers[asked[0]], ReadReady)
    assert proposed[0] not in bed.answers


def test_what_comes_together_at_a_follower_is_asked_together() -> None:
    """Commands are refused, reads share one request to the leader."""
    bed = led()
    proposed, asked = bed.request("n2", 1, 3)
    assert bed.answers[proposed[0]] == Failed(proposed[0], "not_leader", True, "n1")
    assert len(asks(bed)) == 1
    bed.run(20)
    assert all(isinstance(bed.answers[token], ReadReady) for token in asked)


def test_a_late_answer_to_the_previous_round_does_not_complete_this_one() -> None:
    """Section 5 row 26: n3's answer to the first round arrives after n1 was cut off and asked again."""
    bed = led()
    first = bed.read("n1", "readindex")

    def of_n3(source: str, to: str, message: Message) -> bool:
        return (source, to) == ("n3", "n1")

    bed.rule = of_n3
    bed.run(5)
    assert first in bed.answers
    bed.cut(["n1"], ["n2", "n3"])
    second = bed.read("n1", "readindex")
    bed.heal()
    bed.cuts = {("n1", "n2"), ("n1", "n3")}
    bed.release()
    assert second not in bed.answers
    bed.heal()
    bed.run(100)
    assert second in bed.answers


def test_a_readindex_read_waits_for_the_first_own_entry() -> None:
    """Section 5 row 27: the commit index may be behind what predecessors committed."""
    bed = Bed(3, MANUAL)
    bed.run_until(lambda: _leads(bed, "n1"), 3000)
    token = bed.read("n1", "readindex")
    assert bed.core("n1").commit == 0
    bed.run(20)
    assert isinstance(bed.answers[token], ReadReady)
    assert bed.core("n1").commit == 1


def test_answers_to_messages_sent_before_the_read_do_not_count() -> None:
    """Section 5 row 26: held acknowledgements of an earlier round, and copies, confirm nothing."""
    bed = led()

    def to_n1(_from: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = to_n1
    bed.run(200)
    assert bed.held
    bed.cut(["n1"], ["n2", "n3"])
    token = bed.read("n1", "readindex")
    held = list(bed.held)
    bed.heal()
    for source, to, message in held * 2:
        bed.deliver(source, to, message)
    assert token not in bed.answers


def test_reads_of_a_deposed_leader_fail_definitely() -> None:
    """A read has no effect, so its failure may always be called definite."""
    bed = led()
    bed.isolate("n1")
    tokens = [bed.read("n1", "readindex") for _ in range(3)]
    bed.run(1100)
    assert [bed.answers[token] for token in tokens] == [
        Failed(token, "not_leader", True, "") for token in tokens
    ]


def test_followers_refuse_lease_reads_and_name_the_leader() -> None:
    """Q8: a promise not to vote is no permission to read; local may be stale."""
    bed = led()
    local = bed.read("n2", "local")
    assert isinstance(bed.answers[local], ReadReady)
    token = bed.read("n2", "lease")
    assert bed.answers[token] == Failed(token, "not_leader", True, "n1")


def test_an_unknown_mode_is_refused() -> None:
    """The face takes local, readindex and lease."""
    bed = led()
    token = bed.read("n1", "stale")
    assert bed.answers[token] == Failed(token, "bad_read_mode", True, "n1")


def test_a_single_member_reads_by_itself() -> None:
    """A quorum of one needs no round and no stamps."""
    bed = led(size=1)
    for mode in ("lease", "readindex"):
        assert isinstance(bed.answers[bed.read("n1", mode)], ReadReady)


# ---- reads at followers --------------------------------------------------------------------------


def asks(bed: Bed) -> list[ReadIndex]:
    return [m for _, _, _, m in bed.sent if isinstance(m, ReadIndex)]


def test_a_follower_reads_what_its_leader_has_committed() -> None:
    """Q8: the leader notes its commit index, confirms itself by a round, the follower waits until it has applied that."""
    bed = led()
    bed.rule = lambda _source, to, m: to == "n3" and isinstance(m, AppendEntries)
    bed.propose("n1")
    bed.run(20)
    token = bed.read("n3", "readindex")
    bed.run(20)
    assert token not in bed.answers, "what it was told of is not applied yet"
    bed.release()
    bed.run(100)
    assert bed.answers[token] == ReadReady(token, 3, bed.core("n1").term)


def test_one_request_serves_all_that_wait_and_later_reads_take_the_next() -> None:
    """Q8: the index for a request in flight may have been taken before a later read came."""
    bed = led()
    tokens = [bed.read("n2", "readindex") for _ in range(4)]
    assert len(asks(bed)) == 1
    bed.run(100)
    assert len(asks(bed)) == 2
    assert all(isinstance(bed.answers[token], ReadReady) for token in tokens)
    assert not bed.core("n2").asks


def test_reads_at_a_follower_need_a_round_of_the_leader() -> None:
    """Q8 (c): a leader that is cut off answers nobody, though the asking follower reaches it."""
    bed = led(Options(elections=False, check_quorum=False), size=5)
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    token = bed.read("n2", "readindex")
    bed.run(240)
    assert token not in bed.answers
    bed.run(20)
    assert bed.answers[token] == Failed(token, "leader_lost", True, "n1")


def test_reads_at_a_follower_that_is_cut_off_fail_definitely() -> None:
    """Q8: never an answer, but a definite one, for a read has no effect."""
    bed = led()
    bed.isolate("n2")
    first = bed.read("n2", "readindex")
    second = bed.read("n2", "readindex")
    bed.run(260)
    assert bed.answers[first] == Failed(first, "leader_lost", True, "n1")
    assert bed.answers[second] == Failed(second, "leader_lost", True, "n1")


def test_a_lost_connection_fails_what_was_asked_over_it() -> None:
    """Q8: nobody will answer."""
    bed = led()
    token = bed.read("n2", "readindex")
    bed.disconnect("n2", "n3")
    assert token not in bed.answers
    bed.disconnect("n2", "n1")
    assert bed.answers[token] == Failed(token, "leader_lost", True, "n1")


def test_another_leader_fails_what_its_predecessor_was_asked() -> None:
    """Q8: those that wait to be applied too."""
    bed = led()
    bed.rule = lambda _source, to, m: to == "n3" and isinstance(m, AppendEntries)
    bed.propose("n1")
    bed.run(20)
    token = bed.read("n3", "readindex")
    bed.run(20)
    assert bed.core("n3").status()["reads_waiting"] == 1
    bed.deliver("n2", "n3", AppendEntries(bed.core("n1").term + 1, 5, 0, 0, 0, 0, []))
    assert bed.answers[token] == Failed(token, "leader_lost", True, "")


def test_a_follower_without_a_leader_refuses_at_once() -> None:
    """Q8: there is nobody to ask."""
    bed = Bed(3, MANUAL)
    token = bed.read("n2", "readindex")
    assert bed.answers[token] == Failed(token, "not_leader", True, "")


def test_who_leads_no_more_says_so_to_the_follower_that_asks() -> None:
    """Q8: a definite failure, not a wait for the timeout."""
    bed = led()
    bed.core("n1").step_down(bed.core("n1").term, "dead_nodes")
    token = bed.read("n2", "readindex")
    bed.run(10)
    assert bed.answers[token] == Failed(token, "not_leader", True, "n1")


def test_a_leader_that_steps_down_answers_the_followers_that_wait() -> None:
    """3.7: the round will not end."""
    bed = led(size=5)
    bed.cut(["n1"], ["n3", "n4", "n5"])
    token = bed.read("n2", "readindex")
    bed.run(10)
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.step("n1", Shutdown())
    bed.run(10)
    assert bed.answers[token] == Failed(token, "not_leader", True, "n1")


def test_an_answer_to_an_earlier_request_counts_for_nothing() -> None:
    """5, 26: requests are told apart by their call."""
    bed = led()
    bed.rule = lambda _source, _to, m: isinstance(m, ReadIndexReply)
    token = bed.read("n2", "readindex")
    bed.run(260)
    (old,) = [m for _, _, m in bed.held if isinstance(m, ReadIndexReply)]
    assert isinstance(bed.answers[token], Failed)
    again = bed.read("n2", "readindex")
    bed.deliver("n1", "n2", old)
    assert again not in bed.answers


# ---- the four states of a lease ------------------------------------------------------------------


def test_the_four_states_of_a_lease_and_its_epochs() -> None:
    """3.6: disabled, not_ready, valid, expired; each leadership of a life has an epoch of its own."""
    bed = led(Options(elections=False, leader_lease=False))
    assert bed.observe("n1") == "disabled"
    bed = Bed(3, Options(elections=False, check_quorum=False))
    assert bed.observe("n1") == "expired"
    bed.run_until(lambda: _leads(bed, "n1"), 3000)
    assert bed.observe("n1") == "not_ready"
    bed.run(100)
    assert bed.observe("n1") == "valid"
    bed.isolate("n1")
    bed.run(600)
    assert bed.observe("n1") == "expired"
    assert bed.core("n1").state == "leader", "who only looks changes nothing"
    bed.read("n1", "lease")
    assert bed.core("n1").state == "follower"
    bed.heal()
    bed.run(700)
    bed.elect("n1")
    bed.observe("n1")
    assert [event.fields["epoch"] for event in bed.named("lease_ready", "n1")] == [1, 2]
    assert bed.named("lease")[-1].fields["epoch"] == 2


def test_a_query_reads_the_clock_anew() -> None:
    """3.6: a leader that was stopped does not trust what it last knew."""
    bed = led(Options(elections=False, check_quorum=False))
    assert bed.observe("n1") == "valid"
    core, bed.members["n1"].core = bed.members["n1"].core, None
    bed.run(501)
    bed.members["n1"].core = core
    assert bed.observe("n1") == "expired"


# ---- stickiness (Q4, A1) -------------------------------------------------------------------------


def changes(bed: Bed) -> int:
    return len(bed.named("become_leader"))


@pytest.mark.parametrize(
    ("leases", "sticky", "size", "taken"),
    [
        (False, False, 3, True),
        (True, False, 3, True),
        (True, False, 5, False),
        (True, True, 3, False),
        (False, True, 5, True),
    ],
)
def test_q4_b_a_node_that_hears_nothing_takes_over_or_not(
    leases: bool, sticky: bool, size: int, taken: bool
) -> None:
    """Q4 b, A1: n1 does not reach n3, n3 reaches everybody; leases guard five members, stickiness three."""
    options = Options(leader_lease=leases, leader_sticky=sticky, elections=True)
    bed = Bed(size, options)
    bed.run_until(lambda: bed.leader() is not None, 3000)
    leader = bed.leader()
    assert leader is not None
    other = next(name for name in bed.names if name != leader)
    bed.run(700)
    bed.rule = lambda source, to, m: (
        (source, to) == (leader, other) and isinstance(m, AppendEntries)
    )
    bed.run(3000)
    assert (changes(bed) > 1) == taken


@pytest.mark.parametrize(("leases", "taken"), [(False, True), (True, False)])
def test_q4_a_the_triangle(leases: bool, taken: bool) -> None:
    """Q4 a: n1 and n3 do not see each other, n2 sees both; its promise decides."""
    bed = Bed(3, Options(leader_lease=leases))
    bed.elect("n1")
    bed.run(700)
    term = bed.core("n1").term
    bed.cut(["n1"], ["n3"])
    bed.run(2000)
    assert (changes(bed) > 1) == taken
    if not taken:
        assert bed.core("n3").term == term


def test_q4_c_healing_again_and_again_never_deposes_a_sticky_leader() -> None:
    """Q4 c: an isolated member comes back twenty times; nobody changes."""
    bed = Bed(3, Options(leader_sticky=True))
    bed.elect("n1")
    for _ in range(20):
        bed.isolate("n3")
        bed.run(1900)
        bed.heal()
        bed.run(100)
    assert changes(bed) == 1
