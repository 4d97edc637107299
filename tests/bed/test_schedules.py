"""Random schedules of whole members break no property, and those of members with a bug are found, shrunk and told."""

from __future__ import annotations

import msgspec
import pytest

from node.raft.effects import Options
from tests.bed.moves import Move
from tests.bed.schedule import Schedule, breaks, delete, draw, play, shrink
from tests.bed.surviving import removed
from tests.bed.telling import failure, told
from tests.bed.world import World
from tests.node.raft.bed import MS
from tests.node.raft.transcript import transcript

SCHEDULES = 64
FUZZED = 10_000
PARTS = 8


def checked(schedule: Schedule) -> None:
    """Play it and heal it; a failure is told with its seed, as the schedule made smaller, with its transcript."""
    if broken := failure(schedule):
        pytest.fail(broken)


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


def test_who_was_added_is_not_removed_when_all_who_know_it_have_restarted() -> None:
    """The only member that knows anything to be committed is one that missed the change."""
    world = World(4, Options(prevote=False, leader_lease=False), members=("n1", "n2", "n3"))
    world.elect("n1")
    world.run(200)
    world.isolate("n3")
    world.change("n1", ("n1", "n2", "n3", "n4"))
    world.run_until(lambda: world.core("n2").commit == world.core("n1").log.last_index == 2, 500)
    for name in ("n1", "n2", "n4"):
        world.restart(name)
    assert [world.core(name).commit for name in world.names] == [0, 0, 1, 0]
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


def test_a_group_that_nobody_leads_after_its_healing_is_told_with_its_seed() -> None:
    schedule = draw(3, nodes=3)
    nobody_stands = msgspec.structs.replace(schedule.options, elections=False)
    text = failure(msgspec.structs.replace(schedule, options=nobody_stands))
    assert text.startswith("python -m tests.bed play 3 --nodes 3\nP-LV: no write within 6000 ms")


def test_an_error_of_the_bed_itself_is_told_with_its_seed() -> None:
    """A move that does not exist."""
    schedule = msgspec.structs.replace(draw(3, nodes=3), moves=(Move("nonsense"),))
    with pytest.raises(AttributeError) as error:
        failure(schedule)
    assert error.value.__notes__ == ["python -m tests.bed play 3 --nodes 3"]


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
