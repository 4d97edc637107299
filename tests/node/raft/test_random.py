"""Random schedules: whatever the network, the disks and the clocks do within the rules, no property
breaks, and afterwards the group lives."""

from __future__ import annotations

import random

import pytest

from tests.bed.schedule import options_of, rates_of
from tests.node.raft.bed import MS, Bed

SCHEDULES = 24


def play(seed: int, moves: int = 60) -> Bed:
    """One schedule: random faults under random load, then a heal and a check of liveness."""
    rng = random.Random(seed)
    size = rng.choice((1, 2, 3, 3, 4, 5, 5))
    options = options_of(rng)
    bed = Bed(size, options, seed, rates=rates_of(rng, options, size))
    bed.keeping = False
    names = bed.names
    slow_ms = rng.choice((1, 3, 15, 60))
    bed.delay = lambda _from, _to: rng.randint(0, slow_ms * MS)
    bed.drop = rng.choice((0.0, 0.02, 0.2))
    bed.duplicate = rng.choice((0.0, 0.02, 0.2))
    for name in names:
        disk = bed.members[name].disk
        disk.delay_ns = rng.choice((0, MS, 10 * MS, 60 * MS))
        disk.lazy = rng.random() < 0.5
        disk.save_ns = rng.choice((0, MS, 60 * MS))
        disk.fetch_ns = rng.choice((0, 5 * MS, 300 * MS))
        bed.members[name].offset_ns = rng.randint(-(10**12), 10**12)
        bed.restart(name)
    bed.run(rng.choice((0, 100, 600)))
    for _ in range(moves):
        living = [name for name in names if bed.members[name].core is not None]
        name = rng.choice(names)
        match rng.randrange(12):
            case 0:
                bed.isolate(name)
            case 1:
                bed.cuts |= {(name, rng.choice(names))}
            case 2 | 3:
                bed.heal()
            case 4:
                bed.crash(name)
            case 5 | 6:
                for each in names:
                    if bed.members[each].core is None and rng.random() < 0.6:
                        bed.start(each)
            case 7 if living:
                bed.vote(rng.choice(living), rng.choice((0, 50)))
            case 8 if living:
                one = rng.choice(living)
                bed.disconnect(one, rng.choice(names))
            case 9:
                bed.isolate(bed.leader() or name)
            case 10:
                for each in names:
                    bed.members[each].disk.delay_ns = rng.choice((0, MS, 10 * MS, 60 * MS))
            case _:
                bed.run(rng.choice((50, 250, 500)))
        for each in living:
            if bed.members[each].core is None:
                continue
            if rng.random() < 0.6:
                bed.observe(each)
            if rng.random() < 0.5:
                count = rng.choice((1, 1, 6))
                together = rng.random() < 0.5
                for number in range(count):
                    bed.propose(each, more=together and number < count - 1)
            if rng.random() < 0.6:
                bed.read(each, rng.choice(("local", "readindex", "lease")))
            if rng.random() < 0.2:
                bed.snapshot(each)
        bed.run(rng.choice((0, 1, 5, 30)))
        bed.match_logs()
    survive(bed)
    return bed


def survive(bed: Bed) -> None:
    """Heal everything: a leader within the bound, a write within a second more, and equal logs."""
    bed.heal()
    bed.drop = bed.duplicate = 0.0
    bed.delay = lambda _from, _to: MS
    for name in bed.names:
        bed.members[name].disk.delay_ns = MS
        bed.members[name].disk.fetch_ns = MS
        if bed.members[name].core is None:
            bed.start(name)
    bed.run(100)
    bed.run_until(lambda: bed.leader() is not None, 3 * 250 + 2 * 200 + 600)
    bed.run(300)

    def written() -> bool:
        leader = bed.leader()
        if leader is None:
            return False
        token = bed.propose(leader)
        bed.run(30)
        return getattr(bed.answers.get(token), "entry", None) is not None

    bed.run_until(written, 2000)
    bed.run(500)
    logs = [bed.core(name).log for name in bed.names]
    first = max(log.first_index for log in logs)
    tails = [log.between(first, log.last_index) for log in logs]
    assert all(tail == tails[0] for tail in tails)
    assert {bed.core(name).commit for name in bed.names} == {logs[0].last_index}
    assert len({bed.members[name].state for name in bed.names}) == 1


@pytest.mark.parametrize("part", range(8))
def test_no_schedule_breaks_a_property(part: int) -> None:
    """P-EL, P-LX, P-LC, P-SM P-LM and fresh reads hold under drops, delays, crashes and drift."""
    for seed in range(part, SCHEDULES, 8):
        play(seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(20))
def test_fuzz_no_schedule_breaks_a_property(part: int) -> None:
    """The same for two thousand schedules more."""
    for seed in range(SCHEDULES + part, SCHEDULES + 2000, 20):
        play(seed)
