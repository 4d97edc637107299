"""The seeded bugs: rules of the core that can be switched off by name, one at a time, to see who
notices.

The one rule: a bug is one condition at the place of the rule it breaks, and `Seeded.breaks` is
asked only where the answer changes the outcome, so its counter says how often the bug really bit.
Numbers are those of raft-node.md section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec


class Bug(msgspec.Struct, frozen=True):
    """`where` is the function that asks; `violates` names the properties that then fail."""

    name: str
    broken: str
    fault: str
    violates: tuple[str, ...]
    where: str


_BUGS: Final = (
    Bug(
        "vote_not_persisted",
        "a vote is kept in memory only",
        "kill a voter after its grant, restart it, a second candidate asks in the same term",
        ("P-EL",),
        "election.cast_vote",
    ),
    Bug(
        "double_vote",
        "voted_for is not tested before a vote is granted",
        "rival candidates in one term (leader kill, no jitter, slow links)",
        ("P-EL",),
        "election.on_request_vote",
    ),
    Bug(
        "no_log_check",
        "the candidate's log is not compared with the voter's",
        "isolate a follower under writes, heal, cut the leader",
        ("P-LC", "P-SM", "P-LIN"),
        "election.log_ok",
    ),
    Bug(
        "lease_no_drift",
        "a voter's promise lasts E instead of E+D",
        "slow leader clock and fast voters within the configured drift, cut the leader",
        ("P-LX", "P-LIN"),
        "lease.FollowerLease.remaining",
    ),
    Bug(
        "lease_from_response",
        "the leader stamps its lease when the answer arrives, not when the request left",
        "delay answers to the leader by more than D, then cut it off",
        ("P-LX", "P-LIN"),
        "replication.on_append_reply",
    ),
    Bug(
        "read_no_check",
        "a leader answers lease and readindex reads from local state without lease or quorum",
        "cut the leader off, elect another, clients on both sides; or stop and continue the leader",
        ("P-LIN",),
        "reads.on_index_read, on_lease_read",
    ),
    Bug(
        "readindex_no_round",
        "a readindex read is answered at the commit index without a round of acknowledgements",
        "cut the leader off, elect another, read at the old one",
        ("P-LIN",),
        "reads.on_index_read",
    ),
    Bug(
        "follower_local_read",
        "a follower answers lease and readindex reads from local state",
        "lag or cut a follower and read there",
        ("P-LIN",),
        "reads.on_read",
    ),
    Bug(
        "ack_before_fsync",
        "a follower acknowledges entries before they are on its disk",
        "power loss of a majority right after an acknowledgement",
        ("P-DU", "P-LC"),
        "following.acknowledge",
    ),
    Bug(
        "leader_counts_self_early",
        "a leader counts its own copy before it is on its disk",
        "slow leader disk, power loss of the leader, cut the follower that had the entry",
        ("P-DU", "P-LC"),
        "replication.advance_commit",
    ),
    Bug(
        "commit_old_term",
        "entries of earlier terms are committed by counting replicas",
        "the schedule of figure 8 of the Raft paper",
        ("P-LC", "P-SM"),
        "replication.advance_commit",
    ),
    Bug(
        "fail_for_unknown",
        "at step-down pending commands are told a definite failure",
        "cut the leader after it sent an entry that a successor then commits",
        ("P-LIN",),
        "raft.Raft._stop_leading",
    ),
)

CATALOGUE: Final[dict[str, Bug]] = {bug.name: bug for bug in _BUGS}


class Seeded:
    """The bugs of one node, with a count of how often each changed an outcome."""

    __slots__ = ("active", "hits")

    def __init__(self, names: Sequence[str]) -> None:
        unknown = sorted(set(names) - CATALOGUE.keys())
        if unknown:
            raise ValueError(f"unknown bugs {unknown}; known are {sorted(CATALOGUE)}")
        self.active = frozenset(names)
        self.hits: dict[str, int] = dict.fromkeys(names, 0)

    def breaks(self, name: str) -> bool:
        """Is bug `name` seeded? Ask only where yes changes the outcome: a yes is counted."""
        if name not in self.active:
            return False
        self.hits[name] += 1
        return True
