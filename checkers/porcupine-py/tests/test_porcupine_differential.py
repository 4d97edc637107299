"""Zones, search and plain oracle agree on every history, and whatever they show holds.

The quick runs are seeded; `-m fuzz` runs the long ones.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from porcupine import UNKNOWN, Model, Operation, Result, check
from porcupine.models import cas_register, register


def agree(lab: Any, model: Model, history: Sequence[Operation], count: Counter[str]) -> None:
    """Judge one history three ways and hold each answer to its word."""
    truth = lab.oracle(model, history)
    for prefer in ("gate", "search"):
        result = check(history, model, prefer=prefer)
        if result.cause == "not applicable":
            count["not applicable"] += 1
            continue
        told = (prefer, history, str(result))
        assert result.verdict == ("ok" if truth else "illegal"), told
        count[f"{prefer} {result.verdict}"] += 1
        if truth:
            assert lab.objection(model, history, result.linearization[0]) is None, told
        else:
            hold_witness(lab, model, history, result)


def hold_witness(lab: Any, model: Model, history: Sequence[Operation], result: Result) -> None:
    witness = result.witness
    assert witness is not None
    told = (history, str(result))
    if witness.closed:
        assert len(witness.operations) >= 1, told
        alone = [history[index] for index in (*witness.operations, *witness.support)]
        assert not lab.oracle(model, alone), told
        return
    assert witness.stuck_at is not None
    assert lab.oracle(model, *lab.prefix(history, witness.stuck_at, inclusive=False)), told
    assert not lab.oracle(model, *lab.prefix(history, witness.stuck_at, inclusive=True)), told
    assert witness.partials, told
    for order in witness.partials:
        assert lab.objection(model, history, order, full=False) is None, told


def unique_histories(lab: Any, seed: int, count: int, most: int) -> Iterator[list[Operation]]:
    """Histories with one value a write: legal ones, and as many with something changed."""
    rng = random.Random(seed)
    for number in range(count):
        history = lab.history(
            rng,
            rng.randint(1, most),
            spread=rng.randint(0, 6),
            grain=rng.randint(1, 3),
            info=rng.choice([0, 0.2, 0.5]),
            failing=rng.choice([0, 0.2]),
        )
        for _ in range((0, 1, 3, 5)[number % 4]):
            history = lab.spoilt(rng, history)
        yield history


def repeating_histories(lab: Any, seed: int, count: int, most: int) -> Iterator[list[Operation]]:
    """Histories of few values, with compare-and-sets that failed and do not say what they saw."""
    rng = random.Random(seed)
    for number in range(count):
        history = lab.history(
            rng,
            rng.randint(1, most),
            spread=rng.randint(0, 6),
            grain=rng.randint(1, 3),
            info=rng.choice([0, 0.2, 0.5]),
            values=rng.randint(1, 4),
            saw=rng.random() < 0.5,
            doubtful=rng.choice([0, 0.3]),
        )
        for _ in range((0, 1, 3, 5)[number % 4]):
            history = lab.spoilt(rng, history)
        yield history


def crashing_histories(seed: int, count: int) -> Iterator[list[Operation]]:
    """Many operations of unknown outcome, a few of them alike, and observers that need some of them.

    Whether an early observer may use one up, or must leave it to a later one, is what decides here.
    """
    rng = random.Random(seed)
    for _ in range(count):
        values = rng.randint(2, 3)
        found: list[Operation] = []
        for client in range(rng.randint(2, 6)):
            asked: tuple[Any, ...] = ("write", rng.randrange(values))
            if rng.random() < 0.5:
                asked = ("cas", rng.randrange(values), rng.randrange(values))
            found.append(Operation(client, asked, rng.randint(0, 6), UNKNOWN, None, "info"))
        for client in range(10, 10 + rng.randint(2, 5)):
            call = rng.randint(0, 12)
            asked, output = ("read",), rng.randrange(values)
            if rng.random() < 0.3:
                asked, output = ("cas", output, rng.randrange(values)), True
            found.append(Operation(client, asked, call, output, call + rng.randint(0, 3)))
        yield found


def without_hints(model: Model) -> Model:
    """The same object, for a search that is told nothing."""
    return Model(model.init, model.step)


def run(lab: Any, seed: int, count: int, most: int) -> Counter[str]:
    found: Counter[str] = Counter()
    model = cas_register()
    for history in unique_histories(lab, seed, count, most):
        agree(lab, model, history, found)
    return found


def test_zones_search_and_oracle_agree_on_unique_values(lab: Any) -> None:
    found = run(lab, seed=1, count=3_000, most=9)
    # The run is of use only if it met each case often.
    assert min(found["gate ok"], found["gate illegal"]) > 700, found
    assert found["not applicable"] < 300, found


def test_search_and_oracle_agree_on_repeated_values(lab: Any) -> None:
    found: Counter[str] = Counter()
    model = cas_register()
    for history in repeating_histories(lab, 2, 2_000, 8):
        agree(lab, model, history, found)
    assert min(found["search ok"], found["search illegal"]) > 350, found


def test_search_and_oracle_agree_on_many_unknown_outcomes(lab: Any) -> None:
    found: Counter[str] = Counter()
    for history in crashing_histories(5, 2_000):
        agree(lab, cas_register(0), history, found)
    assert min(found["search ok"], found["search illegal"]) > 300, found


def test_a_search_without_hints_agrees(lab: Any) -> None:
    found: Counter[str] = Counter()
    model = without_hints(cas_register())
    for history in repeating_histories(lab, 3, 1_000, 8):
        agree(lab, model, history, found)
    assert min(found["search ok"], found["search illegal"]) > 150, found


def test_a_plain_register_agrees(lab: Any) -> None:
    rng = random.Random(4)
    found: Counter[str] = Counter()
    model = register(initial=0)
    for number in range(500):
        history = lab.history(rng, rng.randint(1, 9), cas=False, initial=0)
        for _ in range((0, 3)[number % 2]):
            history = lab.spoilt(rng, history)
        agree(lab, model, history, found)
    assert min(found["gate ok"], found["gate illegal"]) > 50, found


@pytest.mark.parametrize("seed", range(4))
def test_zones_and_search_agree_on_longer_histories(lab: Any, seed: int) -> None:
    rng = random.Random(f"longer {seed}")
    model = cas_register()
    for _ in range(10):
        history = lab.history(rng, 150, spread=8, grain=3)
        for _ in range(rng.randrange(3)):
            history = lab.spoilt(rng, history)
        by_zones = check(history, model, prefer="gate")
        by_search = check(history, model, prefer="search", step_limit=200_000)
        if "unknown" not in (by_zones.verdict, by_search.verdict):
            assert by_zones.verdict == by_search.verdict, history
        for result in (by_zones, by_search):
            if result.verdict == "ok":
                assert lab.objection(model, history, result.linearization[0]) is None


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(10))
def test_fuzz_unique_values(lab: Any, seed: int) -> None:
    found = run(lab, seed=1000 + seed, count=10_000, most=10)
    print(found)
    assert min(found["gate ok"], found["gate illegal"]) > 2_000, found


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(5))
def test_fuzz_repeated_values(lab: Any, seed: int) -> None:
    found: Counter[str] = Counter()
    hinted, bare = cas_register(), without_hints(cas_register())
    for number, history in enumerate(repeating_histories(lab, 2000 + seed, 10_000, 9)):
        agree(lab, bare if number % 4 == 0 else hinted, history, found)
    print(found)
    assert min(found["search ok"], found["search illegal"]) > 1_500, found


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(3))
def test_fuzz_many_unknown_outcomes(lab: Any, seed: int) -> None:
    found: Counter[str] = Counter()
    hinted, bare = cas_register(0), without_hints(cas_register(0))
    for number, history in enumerate(crashing_histories(3000 + seed, 10_000)):
        agree(lab, bare if number % 4 == 0 else hinted, history, found)
    print(found)
    assert min(found["search ok"], found["search illegal"]) > 1_500, found
