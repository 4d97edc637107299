"""The monitors that rest on the nodes' events alone, in one place for whoever feeds them: files, files that grow, cores."""

from __future__ import annotations

from checkers.configurations import Configurations
from checkers.lease_exclusivity import LeaseExclusivity
from checkers.log_matching import LogMatching
from checkers.monitor import Monitor
from checkers.progress import NodeOrder
from checkers.raft_invariants import ElectionSafety, LeaderCompleteness
from checkers.state_machine import StateMachineSafety


def raft_monitors() -> list[Monitor]:
    """One of each, new and not started."""
    safety = StateMachineSafety()
    return [
        ElectionSafety(),
        LeaseExclusivity(),
        safety,
        LeaderCompleteness(safety.applied),
        LogMatching(),
        NodeOrder(),
        Configurations(),
    ]
