"""Random schedules of whole members break no property, and those of members with a bug are found, shrunk and told."""

from __future__ import annotations

import msgspec
import pytest

from node.raft.effects import Options, SetReadonly
from tests.bed.moves import Move
from tests.bed.schedule import Schedule, breaks, delete, draw, play, shrink
from tests.bed.world import JournalDisk, World
from tests.node.raft.bed import MS, Bed, Violation
from tests.node.raft.transcript import narrow, transcript

SCHEDULES = 64
FUZZED = 10_000
PARTS = 8


def survive(world: World) -> None:
    """Heal everything: a leader, a write, and equal states at all members, within the bound of liveness."""
    for name in list(world.stopped):
        world.resume(world.members[name], world.members[name].life)
    world.heal()
    world.drop = world.duplicate = 0.0
    world.slow_ns = MS
    for name, member in world.members.items():
        disk = member.disk
        assert isinstance(disk, JournalDisk)
        disk.delay_ns = disk.fetch_ns = disk.save_ns = MS
        disk.fails = False
        if member.core is None:
            world.start(name)
    world.run(100)
    for name in world.names:
        world.step(name, SetReadonly(world.next_token(), False))

    # An operator stops who is no member any more: without pre-vote it would go on standing, not having heard of its removal.
    if not world.options.prevote:
        for name in removed(world):
            world.crash(name)

    def written() -> bool:
        leader = world.leader()
        if leader is None or world.core(leader).commit < world.core(leader).term_start:
            return False
        token = world.propose(leader)
        world.run(30)
        return getattr(world.answers.get(token), "entry", None) is not None

    world.run_until(written, 6000)
    world.run(3000)
    leader = world.leader()
    assert leader is not None
    members = [n for n in world.core(leader).conf.everyone if world.members[n].core is not None]
    assert len({world.members[name].state for name in members}) == 1
    assert len({world.machines[name].dump() for name in members}) == 1


def removed(world: World) -> set[str]:
    """Who is in no configuration that may yet be the group's: one in force at a member that knows most to be committed."""
    cores = [world.core(name) for name in world.names]
    known = max(core.commit for core in cores)
    members = {name for core in cores if core.commit == known for name in core.conf.everyone}
    return set(world.names) - members


def checked(schedule: Schedule) -> None:
    """Play it and survive; a failure is told as the schedule made smaller, with its transcript."""
    try:
        survive(play(schedule))
    except Violation as broken:
        small = shrink(schedule, broken.name)
        pytest.fail(told(small))


def told(schedule: Schedule) -> str:
    """The schedule, what it breaks, and what its nodes did."""
    said = "nothing"
    try:
        bed: Bed | None = play(schedule, keeping=True)
    except Violation as broken:
        bed, said = broken.bed, str(broken)
    assert bed is not None
    return narrow(f"{said}\n{schedule}\n\n{transcript(bed)}*** {said}\n")


@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_breaks_a_property(part: int) -> None:
    for seed in range(part, SCHEDULES, PARTS):
        checked(draw(seed))


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(PARTS))
def test_fuzz_no_schedule_of_five_nodes_breaks_a_property(part: int) -> None:
    for seed in range(SCHEDULES + part, SCHEDULES + FUZZED, PARTS):
        checked(draw(seed, nodes=5))


def test_who_is_in_a_configuration_not_yet_committed_is_not_removed() -> None:
    """Its entry is at the leader alone, so another member that knows as much to be committed has not heard of it."""
    world = World(2, Options(prevote=False, leader_lease=False))
    world.elect("n2")
    world.change("n2", ("n2",))
    world.run(200)
    assert removed(world) == {"n1"}
    world.slow_ns = 20 * MS
    world.change("n2", ("n1", "n2"))
    world.run_until(lambda: world.core("n2").conf.members == ("n1", "n2"), 500)
    assert world.core("n1").conf.members == ("n2",)
    assert removed(world) == set()


def test_a_schedule_is_a_function_of_its_seed() -> None:
    first, second = play(draw(7), keeping=True), play(draw(7), keeping=True)
    assert transcript(first) == transcript(second)


def test_a_schedule_that_breaks_something_is_made_smaller_and_told() -> None:
    """Few of a hundred moves are needed to find a follower that answers reads without asking."""
    drawn = (draw(seed, bugs=("follower_local_read",)) for seed in range(100))
    schedule, broken = next((each, name) for each in drawn if (name := breaks(each)))
    small = shrink(schedule, broken)
    assert breaks(small) == broken
    assert len(small.moves) < len(schedule.moves) / 4
    text = told(small)
    assert text.startswith(broken)
    assert "--- read" in text
    assert text.endswith(f"*** {text.splitlines()[0]}\n")
    assert max(map(len, text.splitlines())) <= 80


def test_no_move_of_a_shrunk_schedule_can_be_left_out() -> None:
    """The last pass of the deletion takes single moves."""
    wanted = (Move("write"), Move("heal"), Move("write"))
    schedule = draw(3)
    kept = [move for move in schedule.moves if move.what not in ("write", "heal")]
    mixed = [*kept[:20], wanted[0], *kept[20:40], wanted[1], *kept[40:50], wanted[2]]

    def still(candidate: Schedule) -> bool:
        return [move for move in candidate.moves if move.what in ("write", "heal")] == list(wanted)

    small = delete(msgspec.structs.replace(schedule, moves=tuple(mixed)), still, 400)
    assert small.moves == wanted
