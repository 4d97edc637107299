"""Changes of members (Raft thesis 4)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from node.raft.effects import Options
from node.raft.messages import (
    DATA,
    METADATA,
    AppendEntries,
    AppendEntriesReply,
    PreVote,
    RequestVote,
)
from tests.node.raft.bed import MS, Bed
from tests.node.raft.schedules.common import MANUAL, until_leading

ALL = ("n1", "n2", "n3", "n4", "n5")


def bed_of(members: Sequence[str], options: Options = MANUAL, size: int = 5) -> Bed:
    """Some of `size` nodes are the group, led by the first of them; the others are passive."""
    bed = Bed(size, options, members=members)
    bed.elect(members[0])
    return bed


def done(bed: Bed, token: int, ms: float = 3000) -> str:
    """The error of the change, once it is over."""
    bed.run_until(lambda: token in bed.admin, ms)
    return bed.admin[token].error


def stages(bed: Bed, name: str) -> list[object]:
    return [event.fields["stage"] for event in bed.named("change_stage", name)]


# ---- the leader's change -------------------------------------------------------------------------


def test_one_member_is_added_in_a_single_step() -> None:
    """3.9: NONE, CATCHING_UP, STABLE, NONE; the answer tells who was and who is a member."""
    bed = bed_of(("n1",))
    token = bed.change("n1", ("n1", "n2"))
    assert done(bed, token) == ""
    assert (bed.admin[token].old, bed.admin[token].new) == (("n1",), ("n1", "n2"))
    assert stages(bed, "n1") == ["catching_up", "stable", "none"]
    bed.run(100)
    assert bed.core("n2").conf.members == ("n1", "n2")
    assert bed.core("n2").commit == bed.core("n1").commit


def test_several_members_change_by_way_of_a_joint_configuration() -> None:
    """3.9: JOINT if additions and removals are more than one."""
    bed = bed_of(("n1", "n2", "n3"))
    token = bed.change("n1", ("n1", "n4", "n5"))
    assert done(bed, token) == ""
    assert stages(bed, "n1") == ["catching_up", "joint", "stable", "none"]
    bed.run(100)
    for name in ("n1", "n4", "n5"):
        assert bed.core(name).conf.members == ("n1", "n4", "n5")
        assert not bed.core(name).conf.joint
    assert set(bed.core("n1").peers) == {"n4", "n5"}


def test_a_member_is_removed_without_catching_up() -> None:
    bed = bed_of(("n1", "n2", "n3"))
    assert done(bed, bed.change("n1", ("n1", "n2"))) == ""
    assert stages(bed, "n1") == ["stable", "none"]
    assert set(bed.core("n1").peers) == {"n2"}


def test_who_is_the_group_already_is_answered_at_once() -> None:
    bed = bed_of(("n1", "n2"))
    token = bed.change("n1", ("n2", "n1"))
    assert bed.admin[token].error == ""
    assert bed.admin[token].new == ("n1", "n2")
    assert bed.core("n1").log.last_index == 1


BY_THEMSELVES = "invalid: members with data must be a quorum by themselves: "


@pytest.mark.parametrize(
    ("members", "witnesses", "error"),
    [
        ((), (), "invalid: a group needs members"),
        (("n1", "n1"), (), "invalid: a member stands twice"),
        (("n1", "n2"), ("n3",), "invalid: witnesses must be members"),
        (("n4",), ("n4",), f"{BY_THEMSELVES}0 of 1 hold data, 1 are a quorum"),
        (("n1", "n4"), ("n4",), f"{BY_THEMSELVES}1 of 2 hold data, 2 are a quorum"),
        (
            ("n1", "n2", "n4", "n5"),
            ("n4", "n5"),
            f"{BY_THEMSELVES}2 of 4 hold data, 3 are a quorum",
        ),
        (("n1", "n2", "n3"), ("n3",), "invalid: \\['n3'\\] would turn"),
    ],
)
def test_senseless_members_are_refused(
    members: tuple[str, ...], witnesses: tuple[str, ...], error: str
) -> None:
    bed = bed_of(("n1", "n2", "n3"))
    token = bed.change("n1", members, witnesses)
    with pytest.raises(AssertionError, match=error):
        assert not bed.admin[token].error, bed.admin[token].error


def test_only_a_leader_changes_members() -> None:
    bed = bed_of(("n1", "n2", "n3"))
    assert bed.admin[bed.change("n2", ("n1", "n2"))].error == "not_leader"


def test_one_change_at_a_time() -> None:
    """3.9: busy while another change runs, in each of its stages."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.isolate("n4")
    bed.change("n1", ("n1", "n2", "n3", "n4"))
    assert bed.admin[bed.change("n1", ("n1", "n2"))].error.startswith("busy")
    bed.heal()
    bed.run_until(lambda: bed.core("n1").change is None, 2000)
    bed.cut(["n1"], ["n2", "n3", "n4"])
    bed.change("n1", ("n1", "n2"))
    assert bed.admin[bed.change("n1", ("n1",))].error.startswith("busy")


def test_no_change_before_the_terms_first_entry_is_committed() -> None:
    """3.9: the known bug of single-server changes."""
    bed = Bed(3, MANUAL)
    bed.rule = lambda _from, _to, message: isinstance(message, AppendEntries)
    bed.vote("n1")
    bed.run_until(lambda: bed.core("n1").state == "leader", 1000)
    assert bed.admin[bed.change("n1", ("n1", "n2"))].error.startswith("busy")


def test_a_new_member_has_no_vote_until_it_has_caught_up() -> None:
    """3.9: acknowledged >= last_log_index - catchup_margin, and the status shows how far it is."""
    options = Options(
        elections=False, leader_lease=False, check_quorum=False, catchup_margin=3,
        max_entries_per_append=1, max_inflight_appends=1,
    )  # fmt: skip
    bed = bed_of(("n1",), options)
    for _ in range(20):
        bed.propose("n1")
    bed.run(10)
    token = bed.change("n1", ("n1", "n2"))
    bed.run(10)
    peer = bed.core("n1").status()["peers"]["n2"]
    assert peer["catching_up"]
    assert 3 < peer["lag"] <= 21
    assert bed.core("n1").status()["change"]["stage"] == "catching_up"
    assert bed.core("n1").conf.members == ("n1",)
    bed.run_until(lambda: bed.core("n1").conf.members == ("n1", "n2"), 1000)
    assert bed.core("n1").peers["n2"].match >= 21 - 3
    assert done(bed, token) == ""
    assert not bed.core("n1").status()["peers"]["n2"]["catching_up"]


def test_who_never_answered_has_not_caught_up_with_a_short_log() -> None:
    """3.9: within the margin of nothing is still not an answer; silent for E, the change is given up."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.isolate("n4")
    token = bed.change("n1", ("n1", "n2", "n3", "n4"))
    bed.run(490)
    assert token not in bed.admin
    bed.run(600)
    assert bed.admin[token].error == "catchup_timeout"
    assert bed.core("n1").conf.members == ("n1", "n2", "n3")
    assert set(bed.core("n1").peers) == {"n2", "n3"}
    assert stages(bed, "n1") == ["catching_up", "none"]


def test_catching_up_goes_on_while_the_new_member_answers() -> None:
    """3.9: the timeout of E is renewed, however long it takes."""
    options = Options(
        elections=False, leader_lease=False, check_quorum=False, catchup_margin=0,
        max_entries_per_append=1, max_inflight_appends=1,
    )  # fmt: skip
    bed = bed_of(("n1",), options)
    for _ in range(60):
        bed.propose("n1")
    bed.delay = lambda _from, to: (20 if to == "n2" else 1) * MS
    token = bed.change("n1", ("n1", "n2"))
    bed.run(1000)
    assert token not in bed.admin
    assert done(bed, token) == ""


def test_a_new_member_that_needs_a_snapshot_has_not_caught_up_before_it_is_loaded() -> None:
    """3.9: not behind a snapshot, whatever the margin."""
    bed = bed_of(("n1",), msgspec.structs.replace(MANUAL, snapshot_interval_entries=3))
    for _ in range(20):
        bed.propose("n1")
        bed.run(5)
    assert bed.core("n1").log.base > 0
    bed.members["n2"].disk.fetch_ns = 300 * MS
    token = bed.change("n1", ("n1", "n2"))
    bed.run(200)
    assert bed.core("n1").status()["peers"]["n2"]["state"] == "installing"
    assert bed.core("n1").conf.members == ("n1",)
    assert done(bed, token) == ""
    assert bed.core("n2").snapshot is not None
    bed.run(100)
    told = [(e.fields["members"], e.fields["stage"]) for e in bed.named("conf_change", "n2")]
    assert told[:2] == [(("n1",), "append"), (("n1",), "commit")], "what the snapshot brought"
    assert told[2:] == [(("n1", "n2"), "append"), (("n1", "n2"), "commit")]


def test_a_leader_that_steps_down_knows_no_outcome() -> None:
    """2.3: step_down aborts the change."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.isolate("n1")
    token = bed.change("n1", ("n1", "n2"))
    bed.elect("n2")
    bed.heal()
    assert done(bed, token).startswith("stepped_down")
    assert stages(bed, "n1")[-1] == "none"
    assert bed.core("n1").change is None


def test_a_new_leader_ends_a_change_that_it_finds_in_its_joint_stage() -> None:
    """3.9: leader change, and it goes on from JOINT."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.rule = lambda _from, to, message: (
        to == "n1" and isinstance(message, AppendEntriesReply) and message.match > 1
    )
    bed.change("n1", ("n1", "n4", "n5"))
    bed.run(50)
    assert bed.core("n1").conf.joint
    bed.isolate("n1")
    bed.elect("n4")
    bed.run(300)
    assert bed.core("n4").conf.members == ("n1", "n4", "n5")
    assert not bed.core("n4").conf.joint
    bed.heal()
    bed.run(300)
    assert bed.core("n1").conf == bed.core("n4").conf


# ---- the configuration in force ------------------------------------------------------------------


def test_a_configuration_is_in_force_from_its_append_and_goes_with_its_entry() -> None:
    """3.9: append, rollback and commit are told, at the leader and at followers."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.isolate("n1")
    bed.change("n1", ("n1", "n2"))
    assert bed.core("n1").conf.members == ("n1", "n2")
    bed.elect("n2")
    bed.heal()
    bed.run(300)
    assert bed.core("n1").conf.members == ("n1", "n2", "n3")
    told = [(e.fields["index"], e.fields["stage"]) for e in bed.named("conf_change", "n1")]
    assert told == [(1, "append"), (1, "commit"), (2, "append"), (1, "rollback"), (2, "append"), (2, "commit")]  # fmt: skip


def test_the_configuration_survives_a_restart() -> None:
    """2.1: conf is the last one in the log."""
    bed = bed_of(("n1", "n2", "n3"))
    done(bed, bed.change("n1", ("n1", "n2", "n4")))
    bed.run(100)
    for name in ("n1", "n2", "n4"):
        bed.restart(name)
        assert bed.core(name).conf.members == ("n1", "n2", "n4")


def test_a_passive_member_follows_and_never_stands() -> None:
    """2.1: empty configuration: passive until a leader contacts it."""
    bed = Bed(4, Options(), members=("n1", "n2", "n3"))
    bed.run(5000)
    assert bed.core("n4").term == 1
    assert not [who for _, who, to, _ in bed.sent if "n4" in (who, to)]
    leader = bed.leader()
    assert leader is not None
    assert done(bed, bed.change(leader, ("n1", "n2", "n3", "n4"))) == ""
    bed.run(200)
    assert bed.core("n4").leader_id == leader


def test_a_group_of_one_leads_at_once() -> None:
    """2.1: conf == {self}: elect_self immediately."""
    bed = Bed(1, Options())
    bed.run(1)
    assert bed.leader() == "n1"


def test_the_quorum_that_shrinks_commits_what_waits() -> None:
    """3.9: a removal may commit a later entry first; all before it go with it."""
    bed = bed_of(("n1", "n2", "n3", "n4"))
    bed.cut(["n1", "n2"], ["n3", "n4"])
    bed.propose("n1")
    bed.run(50)
    assert bed.core("n1").commit == 1
    bed.change("n1", ("n1", "n2", "n3"))
    bed.run(50)
    assert bed.core("n1").commit == 3


# ---- removal -------------------------------------------------------------------------------------


def test_a_removed_leader_steps_down_when_that_is_committed() -> None:
    """3.7.5: and only then; meanwhile it replicates without counting itself (A4)."""
    bed = bed_of(("n1", "n2", "n3"), Options(elections=False))
    bed.cut(["n1"], ["n3"])
    token = bed.change("n1", ("n2", "n3"))
    bed.run(50)
    assert bed.core("n1").state == "leader"
    assert bed.core("n1").commit == 1
    bed.heal()
    bed.run_until(lambda: bed.core("n1").state == "follower", 1000)
    assert bed.admin[token].error == ""
    assert [e.fields["reason"] for e in bed.named("step_down")] == ["leader_removed"]


def test_removed_members_leave_the_others_in_peace() -> None:
    """3.9: a member that knows that it is out does not stand, with or without pre-vote."""
    for prevote in (True, False):
        bed = Bed(4, Options(prevote=prevote, leader_lease=False))
        bed.elect("n1")
        bed.run(200)
        leader = bed.leader()
        assert leader is not None
        out = next(name for name in bed.names if name != leader)
        rest = [name for name in bed.names if name != out]
        assert done(bed, bed.change(leader, rest)) == ""
        bed.run(50)
        term = bed.core(leader).term
        bed.sent.clear()
        bed.run(5000)
        assert not [m for _, who, _, m in bed.sent if who == out and isinstance(m, PreVote | RequestVote)]  # fmt: skip
        assert bed.core(leader).term == term


def test_the_only_holder_of_its_own_removal_may_still_stand() -> None:
    """A10: the others lack the entry and cannot do without its vote."""
    bed = bed_of(("n1", "n2", "n3"))
    bed.cut(["n1"], ["n2"])
    bed.rule = lambda who, _to, _message: who == "n3"
    bed.change("n1", ("n1", "n2"))
    bed.run(50)
    bed.crash("n1")
    bed.rule, bed.held = None, []
    bed.heal()
    assert bed.core("n3").conf.members == ("n1", "n2")
    bed.start("n1")
    bed.isolate("n1")
    bed.vote("n2")
    bed.run(300)
    assert bed.core("n2").state != "leader"
    bed.heal()
    until_leading(bed, "n3")
    bed.run_until(lambda: bed.core("n3").state == "follower", 1000)
    assert bed.core("n3").commit == 3
    # Whom the old leader woke leads first: who is asked to stand meanwhile may lack its first entry.
    bed.run_until(lambda: bed.core("n2").commit == 4, 1000)
    bed.elect("n2")
    assert bed.core("n2").conf.members == ("n1", "n2")


def test_it_may_stand_again_when_its_own_leadership_repeated_the_removal() -> None:
    """A10: the first entry of each leadership repeats the configuration, so its removal stands in more entries than one."""
    bed = bed_of(("n1", "n2"))
    bed.elect("n2")
    bed.run(100)
    bed.rule = lambda who, _to, message: who == "n2" and isinstance(message, AppendEntries)
    bed.change("n2", ("n1",))
    bed.run(20)
    bed.restart("n2")
    until_leading(bed, "n2")
    bed.run(20)
    bed.restart("n2")
    bed.rule, bed.held = None, []
    assert [conf.members for _, conf in bed.core("n2").log.configurations[-2:]] == [("n1",)] * 2
    until_leading(bed, "n2")
    bed.run_until(lambda: bed.core("n1").conf.members == ("n1",), 1000)
    bed.elect("n1")


def removed_by_two(options: Options) -> Bed:
    """n4's removal is in the logs of n1, which is down, and n2, which has everybody's votes to come, and nowhere else."""
    bed = bed_of(("n1", "n2", "n3", "n4"), options, size=4)
    bed.rule = lambda who, to, _message: "n3" in (who, to) or "n4" in (who, to) or who == "n2"
    bed.change("n1", ("n1", "n2", "n3"))
    bed.run(20)
    bed.crash("n1")
    bed.rule, bed.held = None, []
    assert [bed.core(name).conf.members[-1] for name in ("n2", "n3", "n4")] == ["n3", "n4", "n4"]
    return bed


@pytest.mark.parametrize("prevote", [True, False])
def test_a_new_leader_feeds_a_member_whose_removal_is_not_committed(prevote: bool) -> None:
    """A10: that member may stand, so it must hear who leads, or it would depose a leader that needs long to commit."""
    bed = removed_by_two(Options(elections=False, prevote=prevote, leader_lease=False))
    bed.rule = lambda who, _to, message: who == "n3" and isinstance(message, AppendEntriesReply)
    until_leading(bed, "n2")
    bed.run(300)
    leader, heard = bed.core("n2"), bed.core("n4")
    assert (leader.state, leader.commit < leader.term_start) == ("leader", True)
    assert (heard.leader_id, heard.term) == ("n2", leader.term)
    assert heard.promise.remaining(bed.members["n4"].clock(bed.now)) > 0
    bed.rule, bed.held = None, []
    bed.run(500)
    assert heard.conf.members == ("n1", "n2", "n3")
    assert "n4" not in leader.peers


def test_a_witness_whose_removal_is_not_committed_is_still_sent_no_data() -> None:
    bed = Bed(4, MANUAL, witnesses=("n4",))
    bed.elect("n1")
    bed.rule = lambda who, to, _message: "n3" in (who, to) or "n4" in (who, to) or who == "n2"
    bed.change("n1", ("n1", "n2", "n3"))
    bed.propose("n1")
    bed.run(20)
    bed.crash("n1")
    bed.rule, bed.held = None, []
    until_leading(bed, "n2")
    bed.run(100)
    assert DATA not in {entry.kind for entry in bed.core("n4").log.entries}
    assert METADATA in {entry.kind for entry in bed.core("n4").log.entries}


# ---- overriding ----------------------------------------------------------------------------------


def test_members_are_overridden_in_a_new_term() -> None:
    """3.7.6: reset_peers at the only survivor of three makes it a group of its own."""
    bed = bed_of(("n1", "n2", "n3"), Options())
    bed.crash("n2")
    bed.crash("n3")
    term = bed.core("n1").term
    token = bed.reset_members("n1", ("n1",))
    bed.run(5)
    assert (bed.admin[token].error, bed.admin[token].new) == ("", ("n1",))
    assert bed.core("n1").term > term
    bed.run_until(lambda: bed.leader() == "n1", 3000)
    bed.run(50)
    bed.restart("n1")
    assert bed.core("n1").conf.members == ("n1",)
    assert "reset_peers" in [e.fields["reason"] for e in bed.named("step_down")]
    assert bed.admin[bed.reset_members("n1", ())].error.startswith("invalid")


def test_who_was_overridden_is_not_fed_by_the_new_leader() -> None:
    """3.7.6: the others may be a group of their own by now, which this one must not depose."""
    bed = bed_of(("n1", "n2", "n3"), MANUAL)
    bed.cut(["n1"], ["n2", "n3"])
    bed.change("n1", ("n1", "n2"))
    bed.run(20)
    assert bed.core("n1").conf_index > bed.core("n1").commit
    bed.reset_members("n1", ("n1",))
    bed.heal()
    bed.sent.clear()
    until_leading(bed, "n1")
    bed.run(100)
    assert bed.core("n1").commit == bed.core("n1").log.last_index
    assert [to for _, who, to, _ in bed.sent if who == "n1"] == []


# ---- random changes ------------------------------------------------------------------------------

SCHEDULES = 12


def play(seed: int) -> Bed:
    """Members come and go at random, under cuts, crashes and writes; afterwards the group lives."""
    rng = random.Random(seed)
    options = Options(
        election_timeout_ms=200, max_clock_drift_ms=50, election_tick_ms=20, heartbeat_ms=20,
        prevote=rng.random() < 0.8, leader_lease=rng.random() < 0.7,
        max_entries_per_append=rng.choice((1, 3, 256)), catchup_margin=rng.choice((0, 5, 1000)),
    )  # fmt: skip
    bed = Bed(5, options, seed, members=rng.choice((ALL[:1], ALL[:2], ALL[:3], ALL)))
    slow_ms = rng.choice((1, 5, 30))
    bed.delay = lambda _from, _to: rng.randint(0, slow_ms * MS)
    bed.keeping = False
    bed.drop, bed.duplicate = rng.choice(((0.0, 0.0), (0.02, 0.05)))
    bed.run(500)
    for _ in range(50):
        name = rng.choice(bed.names)
        match rng.randrange(8):
            case 0:
                bed.isolate(name)
            case 1:
                bed.crash(name)
            case 2:
                bed.cut(rng.sample(bed.names, 2), rng.sample(bed.names, 2))
            case 3 | 4:
                bed.heal()
                for each in bed.names:
                    if bed.members[each].core is None:
                        bed.start(each)
            case _:
                for each in bed.names:
                    core = bed.members[each].core
                    if core is not None and core.state == "leader":
                        size = rng.randint(1, 5)
                        near = set(core.conf.members) ^ {rng.choice(bed.names)}
                        wanted = rng.choice((sorted(near), rng.sample(bed.names, size)))
                        bed.change(each, wanted or [each])
        for each in bed.names:
            if bed.members[each].core is not None:
                bed.observe(each)
                bed.propose(each)
                bed.read(each, rng.choice(("lease", "readindex")))
        bed.run(rng.choice((0, 5, 50, 300)))
        bed.match_logs()
    bed.heal()
    bed.drop = bed.duplicate = 0.0
    bed.delay = lambda _from, _to: MS
    for each in bed.names:
        if bed.members[each].core is None:
            bed.start(each)

    def settled() -> bool:
        leader = bed.leader()
        if leader is None:
            return False
        core = bed.core(leader)
        token = bed.propose(leader)
        bed.run(50)
        written = getattr(bed.answers.get(token), "entry", None) is not None
        led = bed.leader() == leader and core.change is None
        return written and led and not core.conf.joint

    bed.run_until(settled, 8000)
    leader = bed.leader()
    assert leader is not None
    bed.run(300)
    for each in bed.core(leader).conf.members:
        assert bed.core(each).commit == bed.core(leader).commit
        assert bed.core(each).conf == bed.core(leader).conf
    return bed


@pytest.mark.parametrize("part", range(4))
def test_no_change_of_members_breaks_a_property(part: int) -> None:
    """P-EL, P-LX, P-LC, P-SM, P-LM and fresh reads hold while members change."""
    for seed in range(part, SCHEDULES, 4):
        play(seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(20))
def test_fuzz_no_change_of_members_breaks_a_property(part: int) -> None:
    """The same for two thousand schedules more."""
    for seed in range(SCHEDULES + part, SCHEDULES + 2000, 20):
        play(seed)
