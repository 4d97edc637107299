"""Who a fault strikes: roles and the shapes of partitions."""

from __future__ import annotations

from random import Random

import pytest

from harness.faults.targets import Cast, Cut, resolve, shape
from harness.plan import PARTITIONS

NODES = [f"n{i + 1}" for i in range(5)]


def cast(count: int = 5, leader: str = "n2") -> Cast:
    return Cast(nodes=[f"n{i + 1}" for i in range(count)], leader=leader)


def sees(cut: Cut, node: str, nodes: list[str]) -> set[str]:
    """Whom `node` still exchanges RPCs with in both directions, itself included."""
    return {
        other
        for other in nodes
        if (node, other) not in cut.links and (other, node) not in cut.links
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_minority_with_the_leader_leaves_a_majority_without_it(seed: int) -> None:
    cut = shape("minority_with_leader", cast(), Random(seed))
    assert cut.sides is not None
    assert "n2" in cut.sides[0]
    assert len(cut.sides[0]) <= 2
    assert sees(cut, "n2", NODES) == set(cut.sides[0])


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_in_a_ring_of_majorities_everyone_sees_one(count: int) -> None:
    nodes = [f"n{i + 1}" for i in range(count)]
    cut = shape("majorities_ring", cast(count), Random(3))
    assert cut.links
    for node in nodes:
        assert len(sees(cut, node, nodes)) >= count // 2 + 1


def test_a_bridge_sees_both_halves_which_do_not_see_each_other() -> None:
    cut = shape("bridge", cast(), Random(5))
    views = sorted(len(sees(cut, node, NODES)) for node in NODES)
    assert views == [3, 3, 3, 3, 5]


def test_one_way_cuts_one_direction_only() -> None:
    for seed in range(20):
        links = shape("one_way", cast(), Random(seed)).links
        assert links
        assert all((b, a) not in links for a, b in links)


def test_no_shape_cuts_a_node_from_itself() -> None:
    for name in PARTITIONS:
        if name != "clients":
            for seed in range(10):
                assert all(a != b for a, b in shape(name, cast(), Random(seed)).links)


def test_without_a_leader_a_role_that_needs_one_names_nobody() -> None:
    assert resolve("leader", cast(leader=""), Random(1)) == []
    assert shape("minority_with_leader", cast(leader=""), Random(1)).links == []


def test_rest_is_whom_no_binding_names() -> None:
    bound = Cast(nodes=NODES[:3], leader="n1", bound={"L": ["n1"], "F": ["n3"]})
    assert resolve("rest", bound, Random(1)) == ["n2"]
