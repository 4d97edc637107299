"""Leases and reads (raft-node.md Q5, Q7 to Q10, 3.6; Raft thesis 6.4)."""

from __future__ import annotations

import pytest

from node.raft.bugs import Seeded
from node.raft.effects import Failed, Options, ReadReady
from node.raft.lease import FollowerLease
from node.raft.messages import AppendEntries, AppendEntriesReply, Message
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
    core = bed.core(name)
    if core.state == "follower" and not core.triggered and core.ballot is None:
        bed.vote(name)
    return core.state == "leader"


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
