"""Who a fault strikes: roles of a plan become names when the step runs. Pure; draws come from the step's own stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness.errors import HarnessError
from harness.seeds import Stream

TWO_SIDED = ("halves", "one", "minority_with_leader", "bridge")


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a step runs. `leader` may be "" (none known); `nodes` are the members, `spares` all others."""

    nodes: Sequence[str]
    leader: str
    old_leader: str = ""
    bound: Mapping[str, Sequence[str]] = {}
    taken: frozenset[str] = frozenset()
    """Nodes that "follower", "one" and "spare" must not draw."""
    spares: Sequence[str] = ()


def resolve(role: str, cast: Cast, random: Stream) -> list[str]:
    """The nodes that `role` names now; empty if the role has nobody (no leader is known)."""
    nodes = list(cast.nodes)
    others = [node for node in nodes if node != cast.leader]
    minority = (len(nodes) - 1) // 2
    if role in nodes or role in cast.spares:
        return [role]
    if role == "spares":
        return list(cast.spares)
    if role == "spare":
        free = [node for node in cast.spares if node not in cast.taken]
        return [random.choice(free)] if free else []
    if role == "leader":
        return [cast.leader] if cast.leader else []
    if role == "old_leader":
        return [cast.old_leader] if cast.old_leader else []
    if role == "followers":
        return others
    if role == "follower":
        free = [node for node in others if node not in cast.taken]
        return [random.choice(free)] if free else []
    if role == "one":
        free = [node for node in nodes if node not in cast.taken]
        return [random.choice(free)] if free else []
    if role == "rest":
        named = {node for names in cast.bound.values() for node in names} | cast.taken
        return [node for node in (*nodes, *cast.spares) if node not in named]
    if role == "all":
        return [*nodes, *cast.spares]
    if role == "minority":
        return sorted(random.sample(nodes, max(1, minority)))
    if role == "majority":
        return sorted(random.sample(nodes, len(nodes) - minority))
    if role.startswith("$"):
        return list(cast.bound.get(role[1:], ()))
    raise HarnessError(f"unknown role {role!r}")


class Cut(msgspec.Struct, frozen=True):
    """Directed node links to cut, and the two sides if there are two (clients are split with them)."""

    links: list[tuple[str, str]]
    sides: tuple[list[str], list[str]] | None = None


def between(left: Sequence[str], right: Sequence[str]) -> list[tuple[str, str]]:
    """Both directions between every node of one side and every node of the other."""
    pairs = [(a, b) for a in left for b in right if a != b]
    return [*pairs, *((b, a) for a, b in pairs)]


def shape(name: str, cast: Cast, random: Stream) -> Cut:
    """The directed cuts that a named partition makes of these nodes."""
    nodes = list(cast.nodes)
    order = random.sample(nodes, len(nodes))
    minority = max(1, (len(nodes) - 1) // 2)
    if name == "halves":
        left = order[: len(order) // 2]
    elif name == "one":
        left = order[:1]
    elif name == "minority_with_leader":
        if not cast.leader:
            return Cut([])
        rest = [node for node in order if node != cast.leader]
        left = [cast.leader, *rest[: random.randint(0, minority - 1)]]
    elif name == "bridge":
        bridge, rest = order[0], order[1:]
        left, right = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        return Cut(between(left, right), ([*left], [*right, bridge]))
    elif name == "majorities_ring":
        return Cut(_ring(order))
    elif name == "one_way":
        source = random.choice([cast.leader, *order]) or order[0]
        others = [node for node in order if node != source]
        struck = others if random.random() < 0.5 else others[:1]
        return Cut([(source, target) for target in struck])
    else:
        raise HarnessError(f"unknown partition {name!r}")
    right = [node for node in (*nodes, *cast.spares) if node not in left]
    return Cut(between(left, right), (left, right))


def _ring(order: list[str]) -> list[tuple[str, str]]:
    """Every node keeps a majority, and no two nodes the same one (three nodes: one pair is cut)."""
    count = len(order)
    if count <= 3:
        return between(order[:1], order[-1:])
    reach = -(-(count // 2) // 2)
    return [
        (order[i], order[j])
        for i in range(count)
        for j in range(count)
        if i != j and min((i - j) % count, (j - i) % count) > reach
    ]
