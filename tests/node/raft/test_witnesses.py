"""Witnesses: voters without data."""

from __future__ import annotations

import msgspec
import pytest

from node.raft.effects import Failed, Options
from node.raft.messages import CONFIGURATION, DATA, METADATA
from tests.node.raft.bed import Bed
from tests.node.raft.schedules.common import MANUAL

MAY_LEAD = msgspec.structs.replace(MANUAL, witness_may_lead=True)


def bed_of(options: Options) -> Bed:
    """n1 leads n2 and the witness n3."""
    bed = Bed(3, options, witnesses=("n3",))
    bed.elect("n1")
    return bed


def test_a_witness_gets_what_is_there_and_not_what_it_says() -> None:
    """Entries of kind METADATA, with the crc of the command; configurations are whole."""
    bed = bed_of(MANUAL)
    bed.propose("n1")
    bed.run(50)
    whole, bare = bed.core("n2").log.entries, bed.core("n3").log.entries
    assert [entry.kind for entry in whole] == [CONFIGURATION, DATA]
    assert [entry.kind for entry in bare] == [CONFIGURATION, METADATA]
    assert (bare[1].data, bare[1].crc) == (b"", whole[1].crc)
    assert bare[0] == whole[0]
    assert bed.core("n3").conf == bed.core("n1").conf
    bed.match_logs()


def test_a_witness_makes_a_quorum() -> None:
    """It acknowledges, and it votes."""
    bed = bed_of(MANUAL)
    bed.crash("n2")
    token = bed.propose("n1")
    bed.run(50)
    assert token in bed.answers
    bed.start("n2")
    bed.run(300)
    bed.crash("n1")
    bed.elect("n2")
    assert bed.core("n3").voted_for == "n2"


def test_a_witness_never_stands_and_refuses_reads() -> None:
    bed = bed_of(Options())
    bed.crash("n1")
    bed.crash("n2")
    bed.run(5000)
    bed.vote("n3")
    bed.run(500)
    assert (bed.core("n3").state, bed.core("n3").term) == ("follower", 2)
    for mode in ("local", "readindex", "lease"):
        answer = bed.answers[bed.read("n3", mode)]
        assert isinstance(answer, Failed)
        assert (answer.code, answer.definite) == ("witness", True)


def test_a_witness_promises_for_twice_as_long() -> None:
    """3.6: 2E + D instead of E + D, and that from the configuration that makes it a witness."""
    bed = Bed(3, Options(), members=("n1", "n2"))
    bed.elect("n1")
    token = bed.change("n1", ("n1", "n2", "n3"), ("n3",))
    bed.run_until(lambda: token in bed.admin, 1000)
    bed.run(100)
    assert bed.core("n3").witness
    assert 1000 < bed.core("n3").promise.remaining(bed.now) / 1e6 <= 1125
    assert bed.core("n2").promise.remaining(bed.now) / 1e6 <= 625
    bed.restart("n3")
    assert bed.core("n3").promise.remaining(bed.now) / 1e6 == 1125


def test_a_witness_that_may_lead_has_the_data_and_steps_down_at_its_next_check() -> None:
    """3.7.7: reason witness; meanwhile it takes no commands and answers no reads."""
    bed = bed_of(MAY_LEAD)
    token = bed.propose("n1")
    bed.run(50)
    assert [entry.kind for entry in bed.core("n3").log.entries] == [CONFIGURATION, DATA]
    bed.crash("n1")
    bed.crash("n2")
    bed.start("n2")
    bed.elect("n3")
    answer = bed.answers[bed.propose("n3")]
    assert isinstance(answer, Failed)
    assert (answer.code, answer.definite) == ("witness", True)
    bed.run(50)
    assert bed.core("n2").log.entries[1].data == b"command %d" % token
    bed.run(600)
    assert bed.core("n3").state == "follower"
    assert bed.named("step_down", "n3")[-1].fields["reason"] == "witness"
    bed.elect("n2")


def test_a_witness_may_lead_only_where_the_option_says_so() -> None:
    """Its timers are twice as long, so that whoever holds the data is first."""
    options = Options(election_jitter=False, witness_may_lead=True)
    bed = Bed(3, options, witnesses=("n3",))
    assert bed.core("n3").election_due == 2 * bed.core("n1").election_due


EVERY_THREE = msgspec.structs.replace(MANUAL, snapshot_interval_entries=3)


def busy(bed: Bed, leader: str = "n1", count: int = 20) -> None:
    for _ in range(count):
        bed.propose(leader)
        bed.run(5)
    bed.run(100)


def test_a_witness_saves_nothing_but_how_far_it_is_and_cuts_its_log() -> None:
    """braft: its snapshot is the meta alone. What it does not have it need not keep."""
    bed = bed_of(EVERY_THREE)
    busy(bed)
    core = bed.core("n3")
    assert core.snapshot is not None
    assert core.snapshot.bare
    assert core.log.first_index > 10
    assert bed.core("n2").snapshot is not None
    assert not bed.core("n2").snapshot.bare
    bed.restart("n3")
    bed.crash("n2")
    busy(bed)
    assert bed.core("n1").commit == bed.core("n1").log.last_index


def test_a_witness_that_may_lead_keeps_its_log() -> None:
    """It may have to feed others, and has no state to feed them."""
    bed = bed_of(msgspec.structs.replace(MAY_LEAD, snapshot_interval_entries=3))
    busy(bed)
    assert bed.named("snapshot_saved", "n2")
    assert not bed.named("snapshot_saved", "n3")
    assert bed.core("n3").log.first_index == 1


def test_a_witness_far_behind_is_told_how_far_the_group_is_and_pulls_no_state() -> None:
    bed = bed_of(EVERY_THREE)
    bed.isolate("n3")
    busy(bed)
    assert bed.core("n1").log.first_index > 10
    bed.heal()
    bed.run_until(lambda: bed.core("n3").commit == bed.core("n1").commit, 2000)
    loaded = bed.named("snapshot_loaded", "n3")
    assert [event.fields["digest"] for event in loaded] == [None]
    assert bed.core("n3").snapshot is not None
    assert bed.core("n3").snapshot.size == 0
    bed.crash("n2")
    busy(bed)
    assert bed.core("n1").commit == bed.core("n1").log.last_index


def test_a_witness_that_had_data_when_the_snapshot_was_taken_is_offered_the_state() -> None:
    """With that configuration in force, and no state, it could not go on."""
    bed = Bed(3, EVERY_THREE)
    bed.elect("n1")
    bed.crash("n3")
    busy(bed)
    token = bed.change("n1", ("n1", "n2"))
    bed.run_until(lambda: token in bed.admin, 1000)
    bed.change("n1", ("n1", "n2", "n3"), ("n3",))
    bed.start("n3")
    bed.run_until(lambda: bed.core("n3").witness, 2000)
    assert bed.named("snapshot_loaded", "n3")[0].fields["digest"] is not None
    busy(bed)
    assert not bed.unusable
    assert bed.core("n3").commit == bed.core("n1").commit


def test_a_witness_gets_what_is_on_the_leaders_disk() -> None:
    """Were it the only one left with an entry, nobody whom it may vote for could ever lead again."""
    bed = bed_of(MANUAL)
    last = bed.core("n1").log.last_index
    bed.members["n1"].disk.delay_ns = None
    bed.propose("n1")
    bed.run(30)
    assert bed.core("n2").log.last_index == last + 1
    assert bed.core("n3").log.last_index == last
    bed.sync("n1")
    bed.run(5)
    assert bed.core("n3").log.last_index == last + 1


def test_a_witness_leads_nobody_when_its_removal_is_not_known_to_be_committed() -> None:
    """A10 lets others stand then; it would replicate what it does not have. Found by a random schedule."""
    bed = Bed(4, MANUAL, witnesses=("n3",))
    bed.elect("n1")
    busy(bed, count=3)
    bed.cut(["n1"], ["n2", "n4"])
    bed.change("n1", ("n1", "n2", "n4"))
    bed.run_until(lambda: bed.core("n3").conf.members == ("n1", "n2", "n4"), 1000)
    bed.isolate("n1")
    bed.run(1000)
    bed.vote("n3")
    bed.run(1000)
    assert not bed.named("become_candidate", "n3")
    # Those who lack its last entry need its vote no more, since those with data are a quorum.
    bed.heal()
    bed.elect("n1")


def test_the_leadership_is_not_handed_to_a_witness() -> None:
    bed = bed_of(MANUAL)
    token = bed.transfer("n1", "n3")
    assert bed.admin[token].error == "invalid: n3 is a witness, which may not lead"


def removed(options: Options = MANUAL) -> Bed:
    """n3 was a witness."""
    bed = bed_of(options)
    busy(bed, count=5)
    token = bed.change("n1", ("n1", "n2"))
    bed.run_until(lambda: token in bed.admin, 1000)
    busy(bed, count=5)
    return bed


def unusable(bed: Bed, name: str) -> str:
    """What `name` said when it could not go on."""
    bed.run_until(lambda: bed.unusable.get(name, "") != "", 2000)
    return bed.unusable.pop(name)


def test_a_witness_does_not_become_a_member_with_data_by_its_old_folder() -> None:
    """The commands that it never had would be missing for good: it says so before it acknowledges anything."""
    bed = removed()
    assert bed.core("n3").bare
    bed.change("n1", ("n1", "n2", "n3"))
    assert "start it with an empty data folder" in unusable(bed, "n3")
    assert bed.core("n1").peers["n3"].match < bed.core("n1").conf_index
    bed.restart("n3")
    assert "was a witness" in unusable(bed, "n3")
    bed.members["n3"].disk = bed.make_disk("n3")
    bed.start("n3")
    busy(bed)
    assert [entry.kind for entry in bed.core("n3").log.entries] == [
        entry.kind for entry in bed.core("n1").log.entries
    ]


def test_a_witness_that_never_heard_of_its_removal_does_not_either() -> None:
    """What it lacks comes with the configuration that makes it a member with data."""
    bed = bed_of(MANUAL)
    busy(bed, count=5)
    bed.crash("n3")
    token = bed.change("n1", ("n1", "n2"))
    bed.run_until(lambda: token in bed.admin, 1000)
    bed.change("n1", ("n1", "n2", "n3"))
    bed.run(50)
    bed.start("n3")
    assert "was a witness" in unusable(bed, "n3")
    assert bed.core("n1").peers["n3"].match < bed.core("n1").conf_index


def test_what_was_a_witness_may_be_one_again() -> None:
    bed = removed()
    token = bed.change("n1", ("n1", "n2", "n3"), ("n3",))
    bed.run_until(lambda: token in bed.admin, 2000)
    assert bed.core("n1").conf.witnesses == ("n3",)
    bed.crash("n2")
    busy(bed)
    assert bed.core("n1").commit == bed.core("n1").log.last_index


def test_a_snapshot_with_data_makes_up_for_what_a_witness_lacks() -> None:
    """Where the leader has cut its log, the state comes whole."""
    bed = bed_of(EVERY_THREE)
    busy(bed, count=5)
    bed.crash("n3")
    token = bed.change("n1", ("n1", "n2"))
    bed.run_until(lambda: token in bed.admin, 1000)
    busy(bed)
    bed.start("n3")
    token = bed.change("n1", ("n1", "n2", "n3"))
    bed.run_until(lambda: token in bed.admin, 2000)
    busy(bed)
    assert bed.admin[token].new == ("n1", "n2", "n3")
    assert not bed.core("n3").bare
    assert bed.members["n3"].state == bed.members["n1"].state


@pytest.mark.parametrize("seed", range(30))
def test_a_group_with_a_witness_keeps_the_properties(seed: int) -> None:
    """P-EL, P-LX, P-LC, P-SM and P-LM with a voter that has no data."""
    bed = Bed(3, Options(election_tick_ms=20), seed, witnesses=("n3",))
    rng = bed.rng
    bed.run(1500)
    for _ in range(30):
        match rng.randrange(5):
            case 0:
                bed.isolate(rng.choice(bed.names))
            case 1:
                bed.restart(rng.choice(bed.names))
            case _:
                bed.heal()
        for name in bed.names:
            bed.observe(name)
            bed.propose(name)
            bed.read(name, rng.choice(("lease", "readindex")))
        bed.run(rng.choice((5, 300, 900)))
        bed.match_logs()
    bed.heal()
    bed.run_until(lambda: bed.leader() not in (None, "n3"), 5000)
