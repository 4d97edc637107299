"""The read-only mode, and election timeouts that an operator changes."""

from __future__ import annotations

import pytest

from node.raft.effects import AdminDone, Failed, Options, ReadReady
from tests.node.raft.bed import Bed

MANUAL = Options(elections=False)


def led(size: int = 3) -> Bed:
    bed = Bed(size, MANUAL)
    bed.elect("n1")
    bed.propose("n1")
    bed.run(100)
    return bed


def written(bed: Bed, name: str = "n1") -> object:
    """What a write got within 100 ms: "ok", an error, or None."""
    token = bed.propose(name)
    bed.run(100)
    answer = bed.answers.get(token)
    return answer.code if isinstance(answer, Failed) else None if answer is None else "ok"


# ---- read-only mode ------------------------------------------------------------------------------


def test_a_read_only_leader_takes_no_writes_and_goes_on_reading() -> None:
    """3.11: EREADONLY before anything is in the log."""
    bed = led()
    token = bed.set_readonly("n1", True)
    assert bed.admin[token] == AdminDone(token)
    assert [event.fields for event in bed.named("readonly")] == [{"readonly": True, "index": 2}]
    assert written(bed) == "readonly"
    for mode in ("lease", "readindex"):
        read = bed.read("n1", mode)
        bed.run(20)
        assert isinstance(bed.answers[read], ReadReady)
    bed.set_readonly("n1", False)
    assert written(bed) == "ok"


def test_writes_need_a_quorum_of_writable_members() -> None:
    """3.11: one of three may be read-only, two may not."""
    bed = led()
    bed.set_readonly("n2", True)
    bed.run(100)
    assert written(bed) == "ok"
    bed.set_readonly("n3", True)
    bed.run(100)
    assert written(bed) == "readonly"
    bed.set_readonly("n2", False)
    bed.run(100)
    assert written(bed) == "ok"


def test_a_read_only_follower_gets_no_user_entry_above_the_leaders_last_of_that_moment() -> None:
    """3.11: and everything that it missed once it is writable again."""
    bed = led()
    bed.set_readonly("n2", True)
    bed.run(100)
    last = bed.core("n1").log.last_index
    for _ in range(3):
        assert written(bed) == "ok"
    assert bed.core("n2").log.last_index == last
    bed.set_readonly("n2", False)
    bed.run(100)
    assert bed.core("n2").log.last_index == last + 3


def test_configuration_entries_go_on() -> None:
    """3.11: members may change while most of them are read-only."""
    bed = led()
    for name in ("n1", "n2"):
        bed.set_readonly(name, True)
    bed.run(100)
    token = bed.change("n1", ["n1", "n2"])
    bed.run(100)
    assert bed.admin[token].error == ""
    assert bed.core("n2").conf.members == ("n1", "n2")


def test_a_new_leader_learns_who_is_read_only_by_the_first_answers() -> None:
    """3.11: the mode is each member's own and comes with its answers."""
    bed = led()
    for name in ("n1", "n3"):
        bed.set_readonly(name, True)
    bed.transfer("n1", "n2")
    bed.run_until(lambda: bed.leader() == "n2", 200)
    bed.run(100)
    assert bed.core("n2").status()["readonly_peers"] == ["n1", "n3"]
    assert written(bed, "n2") == "readonly"


def test_setting_what_is_set_changes_nothing() -> None:
    """An operator may repeat a request."""
    bed = led()
    for _ in range(2):
        bed.set_readonly("n2", True)
    assert len(bed.named("readonly")) == 1


# ---- election timeout ----------------------------------------------------------------------------


def test_a_new_election_timeout_keeps_the_sum_so_that_promises_keep_their_length() -> None:
    """2.2: D' = E + D - E', and both leases follow."""
    bed = led()
    token = bed.reset_timeout("n2", 200)
    assert bed.admin[token].error == ""
    core = bed.core("n2")
    assert (core.election_timeout_ns, core.drift_ns) == (200_000_000, 425_000_000)
    bed.run(60)
    heard = core.last_leader_message
    assert heard is not None
    assert core.promise.remaining(heard) == 625_000_000
    status = core.status()
    assert (status["election_timeout_ms"], status["max_clock_drift_ms"]) == (200, 425)
    assert bed.named("election_timeout")[-1].fields == {
        "election_timeout_ms": 200,
        "max_clock_drift_ms": 425,
    }


def test_a_drift_that_is_given_is_taken() -> None:
    """2.2 and section 4: reset_election_timeout_ms(E', D')."""
    bed = led()
    bed.reset_timeout("n2", 1000, 50)
    core = bed.core("n2")
    assert core.promise.remaining(core.last_leader_message or 0) == 1_050_000_000


def test_a_leaders_lease_has_the_new_length() -> None:
    """2.2: it re-arms both leases."""
    bed = led()
    bed.observe("n1")
    until = bed.named("lease")[-1].fields["until_ns"]
    bed.reset_timeout("n1", 300)
    bed.observe("n1")
    assert bed.named("lease")[-1].fields["until_ns"] == int(str(until)) - 200_000_000


@pytest.mark.parametrize(
    ("timeout_ms", "drift_ms", "error"),
    [
        (626, None, "invalid: the election timeout must not be above E + D (625 ms)"),
        (50, None, "invalid: the election timeout must be above the heartbeat (50 ms)"),
        (200, -1, "invalid: the clock drift must not be below 0"),
        (625, None, ""),
        (626, 0, ""),
    ],
)
def test_the_bounds_of_an_election_timeout(
    timeout_ms: int, drift_ms: int | None, error: str
) -> None:
    """2.2: E' > E + D is refused unless D comes with it."""
    bed = led()
    core = bed.core("n2")
    token = bed.reset_timeout("n2", timeout_ms, drift_ms)
    assert bed.admin[token].error == error
    assert (core.election_timeout_ns == timeout_ms * 1_000_000) == (error == "")
