"""Leadership transfer, and waking a successor (Raft thesis 3.10)."""

from __future__ import annotations

import random

import pytest

from node.raft.effects import AdminDone, Failed, Options, Propose, ReadReady, Shutdown
from node.raft.messages import (
    AppendEntries,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from tests.bed.schedule import options_of
from tests.node.raft.bed import MS, Bed
from tests.node.raft.test_random import survive

MANUAL = Options(elections=False)


def led(options: Options = MANUAL, size: int = 3) -> Bed:
    bed = Bed(size, options)
    bed.elect("n1")
    bed.propose("n1")
    bed.run(200)
    return bed


def stages(bed: Bed) -> list[object]:
    return [event.fields["stage"] for event in bed.named("transfer")]


def reasons(bed: Bed) -> list[object]:
    return [event.fields["reason"] for event in bed.named("step_down")]


# ---- a transfer that succeeds --------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("leases", [True, False])
@pytest.mark.parametrize("sticky", [True, False])
def test_the_target_leads_the_next_term_well_within_e(
    size: int, leases: bool, sticky: bool
) -> None:
    """3.8, 3.3: the others' promises are waived by the old leader's own vote, which even a sticky leader gives its target."""
    options = Options(elections=False, leader_lease=leases, leader_sticky=sticky)
    bed = led(options, size)
    term = bed.core("n1").term
    token = bed.transfer("n1", "n2")
    bed.run_until(lambda: bed.leader() == "n2", 100)
    assert bed.core("n2").term == term + 1
    bed.run(50)
    assert bed.admin[token] == AdminDone(token, "", ("n1",), ("n2",))
    assert stages(bed) == ["start", "timeout_now", "done"]
    assert reasons(bed) == ["transfer"]
    assert bed.observe("n2") == ("valid" if leases else "disabled")


def test_nothing_acknowledged_is_lost_and_new_writes_are_refused_definitely() -> None:
    """3.8: replication goes on, new writes are busy, what was pending before is answered."""
    bed = led()
    bed.rule = lambda source, to, m: (source, to) == ("n1", "n2") and isinstance(m, AppendEntries)
    pending = bed.propose("n1")
    token = bed.transfer("n1", "n2")
    refused = bed.propose("n1")
    assert bed.answers[refused] == Failed(refused, "busy", True, "n1")
    bed.run(20)
    assert stages(bed) == ["start"], "the target lacks an entry: nobody may tell it to stand"
    assert getattr(bed.answers[pending], "token", None) == pending
    bed.release()
    bed.run_until(lambda: bed.leader() == "n2", 100)
    bed.run(20)
    assert not bed.admin[token].error


def test_leases_stop_at_once_and_rounds_go_on() -> None:
    """Q7, 3.8: no lease read while handing over (and no step-down by one), but reads by a round of answers."""
    bed = led()
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.transfer("n1", "n2")
    assert bed.core("n1").state == "transferring"
    assert bed.observe("n1") == "expired"
    lease, index = bed.read("n1", "lease"), bed.read("n1", "readindex")
    bed.run(20)
    assert bed.answers[lease] == Failed(lease, "lease_expired", True, "n1")
    assert isinstance(bed.answers[index], ReadReady)
    assert bed.core("n1").state == "transferring"


def test_other_voters_refuse_until_they_see_the_proof() -> None:
    """3.3: in a group of five the first refusals by lease are retried with the proof, each voter once."""
    bed = led(size=5)
    start = len(bed.sent)
    bed.transfer("n1", "n2")
    bed.run(100)
    replies = [m for _, _, to, m in bed.sent[start:] if to == "n2"]
    refusals = [m for m in replies if isinstance(m, RequestVoteReply) and m.rejected_by_lease]
    proven = [
        to
        for _, _, to, m in bed.sent[start:]
        if isinstance(m, RequestVote) and m.disrupted_leader == "n1"
    ]
    assert len(refusals) == 3
    assert sorted(proven) == ["n3", "n4", "n5"]
    assert bed.leader() == "n2"


def test_without_leases_the_answer_of_the_target_deposes_the_leader() -> None:
    """3.8, 3.7.10: TimeoutNow is answered with the next term."""
    bed = led(Options(elections=False, leader_lease=False))
    bed.rule = lambda _source, _to, m: isinstance(m, RequestVote)
    bed.transfer("n1", "n2")
    bed.run(20)
    answers = [m for _, _, _, m in bed.sent if isinstance(m, TimeoutNowReply)]
    assert [(m.term, m.success) for m in answers] == [(bed.core("n2").term, True)]
    assert bed.core("n1").state == "follower"
    assert reasons(bed) == ["transfer"]


def test_with_leases_the_answer_leaves_in_the_old_term() -> None:
    """3.8: the leader must go on until it has voted itself, for its vote is the proof."""
    bed = led()
    bed.rule = lambda _source, _to, m: isinstance(m, RequestVote)
    term = bed.core("n1").term
    bed.transfer("n1", "n2")
    bed.run(10)
    answers = [m for _, _, _, m in bed.sent if isinstance(m, TimeoutNowReply)]
    assert [(m.term, m.success) for m in answers] == [(term, True)]
    assert bed.core("n1").state == "transferring"


# ---- whom ------------------------------------------------------------------------------------------


def test_without_a_name_the_member_that_is_furthest_takes_over() -> None:
    """3.8, ANY_PEER: the most on its disk, whoever answers."""
    bed = led(size=5)
    bed.isolate("n3")
    bed.rule = lambda source, to, m: (
        source == "n1" and to in ("n2", "n4") and isinstance(m, AppendEntries) and bool(m.entries)
    )
    bed.propose("n1")
    bed.run(10)
    bed.transfer("n1")
    assert bed.named("transfer")[0].fields["to"] == "n5"


def test_transfers_that_cannot_begin_say_why() -> None:
    """3.8: EPERM, EINVAL, EBUSY, EHOSTUNREACH; to itself is a success and changes nothing."""
    bed = led()
    at = bed.admin

    def asked(name: str, to: str) -> str:
        return at[bed.transfer(name, to)].error

    assert asked("n2", "n1") == "not_leader"
    assert asked("n1", "n9") == "invalid: n9 is no member"
    assert asked("n1", "n1") == ""
    bed.disconnect("n1", "n3")
    assert asked("n1", "n3") == "unreachable: n3 does not answer"
    assert bed.core("n1").state == "leader"
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.transfer("n1", "n2")
    assert asked("n1", "n3") == "busy: the leadership is being handed to n2"
    change = bed.change("n1", ["n1", "n2"])
    assert at[change].error == "busy: the leadership is being handed to n2"
    assert stages(bed) == ["start", "timeout_now"]


def test_a_transfer_waits_for_the_first_entry_of_the_term() -> None:
    """3.8, 3.9: busy while a configuration is not committed, the one of the new leader's first entry too."""
    bed = Bed(3, MANUAL)
    bed.rule = lambda _source, _to, m: isinstance(m, AppendEntries) and bool(m.entries)
    bed.vote("n1")
    bed.run_until(lambda: bed.core("n1").state == "leader", 1000)
    error = bed.admin[bed.transfer("n1", "n2")].error
    assert error == "busy: a change of members is running, or a configuration not committed yet"


# ---- a transfer that fails -----------------------------------------------------------------------


def test_a_leader_whose_target_does_not_take_over_resumes_with_a_new_lease_epoch() -> None:
    """3.8: the same term, after E, and what was refused meanwhile is taken again."""
    bed = led()
    core = bed.core("n1")
    term, epoch = core.term, core.epoch
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    token = bed.transfer("n1", "n2")
    bed.run(499)
    assert core.state == "transferring"
    bed.run(2)
    assert (core.state, core.term, core.epoch) == ("leader", term, epoch + 1)
    assert bed.admin[token].error == "expired: n2 did not take over"
    assert stages(bed) == ["start", "timeout_now", "expired"]
    assert bed.named("lease_ready")[-1].fields["epoch"] == epoch + 1
    assert bed.observe("n1") == "valid"
    assert isinstance(bed.answers[bed.read("n1", "lease")], ReadReady)
    written = bed.propose("n1")
    bed.run(20)
    assert getattr(bed.answers[written], "token", None) == written


def test_a_late_timeout_now_is_harmless() -> None:
    """3.8: it moves the leadership, but waives nobody's promise without the old leader's own vote."""
    bed = led(size=5)
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.transfer("n1", "n2")
    bed.run(600)
    (held,) = [m for _, _, m in bed.held if isinstance(m, TimeoutNow)]
    bed.rule = None
    bed.held.clear()
    bed.cut(["n1"], ["n2"])
    bed.cuts.discard(("n1", "n2"))
    bed.deliver("n1", "n2", held)
    bed.run(300)
    assert bed.core("n2").state == "candidate", "the promises to n1 hold"
    assert bed.observe("n1") != "expired"


def test_timeout_now_of_another_term_or_to_no_follower_is_refused() -> None:
    """3.8: the target checks term and state."""
    bed = led()
    term = bed.core("n2").term
    for name, of in (("n2", term - 1), ("n1", term)):
        bed.deliver("n3", name, TimeoutNow(of, 77, False))
        assert bed.sent[-1][3] == TimeoutNowReply(term, 77, False)
    assert bed.core("n1").state == "leader"
    assert bed.core("n2").state == "follower"


def test_a_leader_deposed_by_somebody_else_cannot_tell_what_became_of_the_transfer() -> None:
    """3.7.2: another candidate's higher term."""
    bed = led()
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    token = bed.transfer("n1", "n2")
    bed.deliver("n3", "n1", RequestVote(bed.core("n1").term + 1, 5, 0, 0))
    said = "stepped_down: higher_term_request, the outcome is not known"
    assert bed.admin[token].error == said
    assert reasons(bed) == ["higher_term_request"]


# ---- waking a successor --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("reason", ["shutdown", "storage_error"])
def test_a_leader_that_stops_wakes_a_successor_within_e(size: int, reason: str) -> None:
    """3.8, 3.7.8 and 9: the proof goes with TimeoutNow, so that nobody waits for a promise to run out."""
    bed = led(size=size)
    bed.step("n1", Shutdown(reason))
    assert reasons(bed) == [reason]
    (woken,) = [m for _, _, _, m in bed.sent if isinstance(m, TimeoutNow)]
    assert woken.stepped_down
    bed.crash("n1")
    bed.run_until(lambda: bed.leader() is not None, 50)


def test_a_member_that_stops_stands_for_no_election() -> None:
    """2.1, SHUTTING: neither its tick nor a TimeoutNow makes a candidate of it."""
    bed = led(Options())
    bed.step("n2", Shutdown())
    bed.step("n1", Shutdown())
    bed.run(2000)
    assert bed.leader() == "n3"
    bed.transfer("n3", "n2")
    bed.run(100)
    assert bed.core("n2").state == "follower"


def test_a_removed_leader_wakes_a_successor() -> None:
    """3.7.5, 3.8: leader_removed."""
    bed = led()
    bed.change("n1", ["n2", "n3"])
    bed.run(100)
    assert reasons(bed) == ["leader_removed"]
    assert bed.leader() in ("n2", "n3")


def test_what_came_right_before_timeout_now_counts_for_the_target() -> None:
    """3.3: the last id is flushed before votes are asked for; a follower that has the same entry on its disk would refuse."""
    bed = led()
    bed.rule = lambda source, _to, _m: source in ("n2", "n3")
    for name in ("n2", "n3"):
        bed.members[name].disk.delay_ns = 5 * MS
    bed.propose("n1")
    bed.step("n1", Shutdown())
    bed.crash("n1")
    bed.run(6)
    assert bed.core("n2").log.flushed == bed.core("n3").log.flushed == 3
    bed.release()
    bed.run_until(lambda: bed.leader() is not None, 50)


# ---- every other cause of a step-down (3.7) ----------------------------------------------------------


def test_every_other_cause_of_a_step_down_has_its_reason() -> None:
    """3.7: 1 to 4 and 6; conflict, witness and removal are tested where their rules are."""
    bed = led()
    bed.core("n2").step_down(bed.core("n2").term + 1, "higher_term_request")
    bed.run(100)
    assert reasons(bed) == ["higher_term_response"]
    bed = led()
    bed.deliver("n2", "n1", RequestVote(bed.core("n1").term + 1, 5, 9, 9))
    assert reasons(bed) == ["higher_term_request"]
    bed = led()
    bed.deliver("n2", "n1", AppendEntries(bed.core("n1").term + 1, 5, 0, 0, 0, 0, []))
    assert reasons(bed) == ["new_leader"]
    bed = led()
    bed.isolate("n1")
    bed.run(1100)
    assert reasons(bed) == ["dead_nodes"]
    bed = led(Options(elections=False, check_quorum=False))
    bed.isolate("n1")
    bed.run(600)
    bed.read("n1", "lease")
    assert reasons(bed) == ["lease_expired"]
    bed = led()
    bed.reset_members("n1", ["n1"])
    assert reasons(bed) == ["reset_peers"]


# ---- random schedules ----------------------------------------------------------------------------

SCHEDULES = 20


def play(seed: int, moves: int = 40) -> Bed:
    """Transfers, stops and modes among cuts and restarts, under reads and writes everywhere."""
    rng = random.Random(seed)
    bed = Bed(rng.choice((2, 3, 3, 5)), options_of(rng), seed)
    names = bed.names
    bed.duplicate = rng.choice((0.0, 0.2))
    slow_ms = rng.choice((1, 5, 40))
    bed.delay = lambda _from, _to: rng.randint(0, slow_ms * MS)
    bed.run(600)
    for _ in range(moves):
        name = rng.choice(names)
        leader = bed.leader() or name
        match rng.randrange(9):
            case 0 | 1 | 2 if bed.members[leader].core is not None:
                bed.transfer(leader, rng.choice(["", *names]))
            case 3:
                bed.isolate(name)
            case 4:
                bed.heal()
            case 5 if bed.members[leader].core is not None:
                bed.step(leader, Shutdown())
                bed.run(rng.choice((0, 3)))
                bed.restart(leader)
            case 6 if bed.members[name].core is not None:
                bed.set_readonly(name, rng.random() < 0.3)
            case 7 if bed.members[name].core is not None:
                # The sum stays, so promises outlive leases whatever the others have.
                bed.reset_timeout(name, rng.choice((100, 200)))
            case _:
                bed.restart(name)
        bed.run(rng.choice((0, 5, 60, 300)))
        for each in names:
            if rng.random() < 0.5:
                bed.observe(each)
                bed.propose(each)
            if rng.random() < 0.6:
                bed.read(each, rng.choice(("readindex", "lease")))
        bed.match_logs()
    for name in names:
        bed.set_readonly(name, False)
    survive(bed)
    return bed


def test_no_transfer_breaks_a_property() -> None:
    """P-EL, P-LX, P-LC, P-SM and fresh reads, with the transfers that they come from."""
    seen: set[object] = set()
    for seed in range(SCHEDULES):
        seen |= set(stages(play(seed)))
    assert seen == {"start", "timeout_now", "done", "expired"}


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(10))
def test_fuzz_no_transfer_breaks_a_property(part: int) -> None:
    """The same for a thousand schedules more."""
    for seed in range(SCHEDULES + part, SCHEDULES + 1000, 10):
        play(seed)


def test_a_proposal_with_more_to_come_is_refused_like_any_other() -> None:
    """3.8: nothing is left behind of a batch that a transfer refuses."""
    bed = led()
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.transfer("n1", "n2")
    last = bed.core("n1").log.last_index
    out = bed.step("n1", Propose(9001, b"x", 0, True))
    assert out.failed == [Failed(9001, "busy", True, "n1")]
    assert bed.core("n1").log.last_index == last
