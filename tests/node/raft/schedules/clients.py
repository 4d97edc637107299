"""Schedules for the bugs of what clients are told (52 to 54)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.messages import AppendEntriesReply, Message
from tests.node.raft.bed import Bed
from tests.node.raft.schedules.common import MANUAL, Scripts


def fail_for_unknown(bugs: Sequence[str]) -> Bed:
    """A leader is cut off after its entry left; the successor commits that entry."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)

    def acknowledgements(_from: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = acknowledgements
    bed.propose("n1")
    bed.run(20)
    bed.isolate("n1")
    bed.elect("n2")
    bed.rule = None
    bed.heal()
    bed.run(200)
    return bed


def overwritten(bugs: Sequence[str]) -> Bed:
    """A leader is cut off with five pending writes; its successor commits others at their indices; then all heals."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    for _ in range(5):
        bed.propose("n1")
    bed.run(20)
    bed.elect("n2")
    for _ in range(5):
        bed.propose("n2")
    bed.run(100)
    bed.heal()
    bed.run(300)
    return bed


SCRIPTS: Scripts = {
    "closure_by_index": (overwritten, "P-LIN"),
    "fail_for_unknown": (fail_for_unknown, "P-LIN"),
    "ok_on_stepdown": (overwritten, "P-LIN"),
}
