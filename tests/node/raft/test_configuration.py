"""Majorities, single and joint (Raft thesis 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.raft import configuration
from node.raft.configuration import Configuration
from node.raft.quorums import half, one_short

NAMES = ("n1", "n2", "n3", "n4", "n5", "n6", "n7")
members = st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: tuple(sorted(names)))


def majority(names: tuple[str, ...], those: set[str]) -> bool:
    return len(those & set(names)) * 2 > len(names)


@given(members, st.just(()) | members, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20)))
def test_the_quorum_value_is_the_largest_that_a_quorum_shares(
    new: tuple[str, ...], old: tuple[str, ...], values: dict[str, int]
) -> None:
    """Q5, in both sets while joint; a leader outside of the members is simply not among the values that count."""
    conf = Configuration(new, old)
    shared = []
    for value in range(21):
        those = {name for name in NAMES if values.get(name, 0) >= value}
        if majority(new, those) and (not old or majority(old, those)):
            shared.append(value)
    assert conf.quorum_value(values) == max(shared)


@given(members, st.just(()) | members, st.sets(st.sampled_from(NAMES)))
def test_both_sets_must_agree_while_joint(
    new: tuple[str, ...], old: tuple[str, ...], those: set[str]
) -> None:
    """3.9: a ballot is granted when q of conf and q of old_conf are for it."""
    expected = majority(new, those) and (not old or majority(old, those))
    assert Configuration(new, old).agrees(those) == expected


@given(members, st.just(()) | members, st.sets(st.sampled_from(NAMES)))
def test_what_is_to_suffice_can_be_handed_in(
    new: tuple[str, ...], old: tuple[str, ...], those: set[str]
) -> None:
    """Seeded bugs count otherwise; the same answer for sets of names and for values."""
    conf = Configuration(new, old)
    for suffice in (half, one_short, len_of):
        enough = all(len(those & set(part)) >= suffice(len(part)) for part in (new, old) if part)
        assert conf.agrees(those, suffice) == enough
        assert conf.quorum_value(dict.fromkeys(those, 1), suffice) == int(enough)


def len_of(members: int) -> int:
    """All of them."""
    return members


def test_half_and_one_short_differ_from_a_majority_where_they_should() -> None:
    """Bugs 5 and 14: an even number's half, and one too few of any but a single member."""
    assert [half(n) for n in range(1, 7)] == [1, 1, 2, 2, 3, 3]
    assert [one_short(n) for n in range(1, 7)] == [1, 1, 1, 2, 2, 3]


def test_a_removed_leader_needs_one_answer_more() -> None:
    """A4: of three members without the leader two must have answered, not one."""
    conf = configuration.of(("n2", "n3", "n4"))
    assert conf.quorum_value({"n1": 100, "n2": 90, "n3": 50}) == 50


def test_a_group_without_members_agrees_to_nothing() -> None:
    """A passive member counts nobody, itself neither."""
    assert not Configuration(()).agrees({"n1"})
    assert Configuration(()).quorum_value({"n1": 7}) == 0


@given(members, members)
def test_its_bytes_read_back(new: tuple[str, ...], old: tuple[str, ...]) -> None:
    conf = Configuration(new, old, new[:1])
    assert configuration.decode(configuration.encode(conf)) == conf


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 9, b"\x93\x01\x02\x03"])
def test_other_bytes_are_no_configuration(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a configuration"):
        configuration.decode(data)


def test_a_name_stands_once_and_a_witness_is_a_member() -> None:
    with pytest.raises(ValueError, match="twice"):
        configuration.of(("n1", "n1"))
    with pytest.raises(ValueError, match="n4"):
        configuration.of(("n1", "n2"), ("n4",))
