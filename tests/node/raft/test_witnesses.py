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


def test_a_witness_saves_no_snapshot() -> None:
    """It has applied nothing: what it saved would be no state of the group."""
    bed = bed_of(msgspec.structs.replace(MANUAL, snapshot_interval_entries=3))
    for _ in range(20):
        bed.propose("n1")
        bed.run(5)
    bed.run(100)
    assert bed.named("snapshot_saved", "n2")
    assert not bed.named("snapshot_saved", "n3")
    assert bed.core("n3").log.first_index == 1


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
