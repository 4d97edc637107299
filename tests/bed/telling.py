"""A schedule that fails, told so that a person can see why: how to play it, made smaller, with what its nodes did."""

from __future__ import annotations

from tests.bed.schedule import Schedule, play, shrink
from tests.bed.surviving import survive
from tests.node.raft.bed import Bed, Violation
from tests.node.raft.transcript import narrow, transcript

TRIES = 200
"""Schedules played at most to make one smaller."""


def fails(schedule: Schedule) -> str:
    """The property that breaks while the schedule is played or once it is healed, "" if none."""
    try:
        survive(play(schedule))
    except Violation as broken:
        return broken.name
    return ""


def failure(schedule: Schedule) -> str:
    """What a person needs to know of it, "" if it breaks nothing. Any other exception has a note that says how to play it."""
    try:
        broken = fails(schedule)
    except Exception as error:
        error.add_note(command(schedule))
        raise
    return f"{command(schedule)}\n{told(shrink(schedule, broken, TRIES, fails))}" if broken else ""


def command(schedule: Schedule) -> str:
    """What plays a schedule as it was drawn."""
    bugs = f" --bugs {','.join(schedule.bugs)}" if schedule.bugs else ""
    return f"python -m tests.bed play {schedule.seed} --nodes {schedule.nodes}{bugs}"


def told(schedule: Schedule) -> str:
    """The schedule, what it breaks, and what its nodes did."""
    bed: Bed | None = None
    said = "nothing"
    try:
        bed = world = play(schedule, keeping=True)
        survive(world)
    except Violation as broken:
        bed, said = broken.bed or bed, str(broken)
    assert bed is not None
    return narrow(f"{said}\n{schedule}\n\n{transcript(bed)}*** {said}\n")
