"""What must hold once every fault of a schedule is over: a leader, a write, and equal states at all members."""

from __future__ import annotations

from collections.abc import Mapping

from node.raft.effects import SetReadonly
from node.raft.log import Log
from tests.bed.world import JournalDisk, World
from tests.node.raft.bed import MS, Violation

WRITTEN_MS = 6000
SETTLED_MS = 3000
TENDED_MS = 50
"""How often an operator looks who is to be stopped: about as often as they ask for votes."""


def survive(world: World) -> None:
    """Heal everything. Raises Violation "P-LV" if no write is done within WRITTEN_MS, or SETTLED_MS later nobody leads or
    two members differ.
    """
    heal(world)
    end = world.now + WRITTEN_MS * MS
    while not written(world):
        if world.now >= end:
            raise Violation("P-LV", f"no write within {WRITTEN_MS} ms of healing: {known(world)}")
        tend(world)
        world.run(1)
    for _ in range(SETTLED_MS // TENDED_MS):
        tend(world)
        world.run(TENDED_MS)
    leader = world.leader()
    if leader is None:
        raise Violation("P-LV", f"nobody leads {SETTLED_MS} ms after a write: {known(world)}")
    conf = world.core(leader).conf
    members = [
        name
        for name in conf.everyone
        if name not in conf.witnesses and world.members[name].core is not None
    ]
    if len({(world.members[n].state, world.machines[n].dump()) for n in members}) > 1:
        raise Violation("P-LV", f"not equal {SETTLED_MS} ms after a write: {known(world)}")


def heal(world: World) -> None:
    """No fault any more."""
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


def tend(world: World) -> None:
    """Without pre-vote, stop who is no member any more: it goes on standing, since it may not have heard of its removal, and
    each of its candidacies deposes the leader (Raft thesis 4.2.3).
    """
    if not world.options.prevote:
        for name in removed(world):
            if world.members[name].core is not None:
                world.crash(name)


def written(world: World) -> bool:
    """Is a command done that is given to the leader now?"""
    leader = world.leader()
    if leader is None or world.core(leader).commit < world.core(leader).term_start:
        return False
    token = world.propose(leader)
    world.run(30)
    return getattr(world.answers.get(token), "entry", None) is not None


def removed(world: World) -> set[str]:
    """Who is in no configuration that may yet be the group's: one in force at or after the last entry ever applied, in a log
    that has it. No other log is elected; commit indices say less, since a restart forgets them.
    """
    applied = max(world.properties.committed, default=0)
    members: set[str] = set()
    for name in world.names:
        core = world.members[name].core
        if core is None or not has(core.log, applied, world.properties.committed):
            continue
        for index, conf in reversed(core.log.configurations):
            members.update(conf.everyone)
            if index <= applied:
                break
    return set(world.names) - members


def has(log: Log, index: int, committed: Mapping[int, tuple[int, int]]) -> bool:
    """Does the log hold the committed entry at `index`, or what covers it?"""
    if index <= log.base:
        return True
    return index <= log.last_index and log.term_at(index) == committed[index][0]


def known(world: World) -> str:
    """Every member with what it takes for the group."""
    return "; ".join(
        f"{name} is down" if member.core is None else f"{member.core} in {member.core.conf}"
        for name, member in world.members.items()
    )
