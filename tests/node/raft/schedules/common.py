"""What the schedules share. A schedule takes the seeded bugs and returns the bed after its last move; a broken property raises
`Violation` on the way. The same schedule without bugs must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.raft.effects import Options
from node.raft.messages import Message, RequestVote
from tests.node.raft.bed import Bed, Violation

MANUAL = Options(elections=False, leader_lease=False, check_quorum=False)
"""Elections by admin vote alone, no leases: schedules about logs and votes."""

Script = Callable[[Sequence[str]], Bed]
Scripts = dict[str, tuple[Script, str]]
"""Name of the bug -> (schedule, the property that it breaks)."""


def ask(bed: Bed, candidate: str, voter: str, term: int) -> None:
    bed.deliver(candidate, voter, RequestVote(term, term * 100, 0, 0))
    bed.sync(voter)


def until_leading(bed: Bed, name: str) -> None:
    def leading() -> bool:
        core = bed.core(name)
        if core.state == "follower" and not core.triggered:
            bed.vote(name)
        return core.state == "leader"

    bed.run_until(leading, 5000)


def held_for(bed: Bed, to: str, kind: type[Message]) -> None:
    """Deliver the held messages of `kind` to `to`, in the order they were sent; keep the others."""
    held, bed.held = bed.held, []
    for source, target, message in held:
        if target == to and isinstance(message, kind):
            bed.deliver(source, target, message)
        else:
            bed.held.append((source, target, message))


def observed(bed: Bed, leader: str, ms: int) -> Bed:
    """Look at the lease of `leader` every millisecond."""
    for _ in range(ms):
        bed.observe(leader)
        bed.run(1)
    return bed


def lives(bed: Bed, what: str, alive: bool) -> None:
    """P-LV, as a schedule states it."""
    if not alive:
        raise Violation("P-LV", f"{what}: {[member.core for member in bed.members.values()]}")
