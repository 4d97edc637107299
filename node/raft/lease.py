"""Leases: the follower's promise not to elect, and the leader's claim that rests on such promises
(braft src/braft/lease.cpp).

A promise starts when a leader's message arrives and lasts E + D; a claim starts when the quorum-th
newest answered message *left* and lasts E. A quorum of promises thus outlives the claim as long as
rate(follower) / rate(leader) <= 1 + D / E. The one rule: nothing here is a flag that a timer flips.
Every answer is computed from a clock reading handed in.
"""

from __future__ import annotations

from typing import Final

from node.raft.bugs import Seeded

VALID: Final = "valid"
EXPIRED: Final = "expired"
NOT_READY: Final = "not_ready"
DISABLED: Final = "disabled"


class FollowerLease:
    """The promise: until it ends this node votes for nobody, itself included."""

    __slots__ = (
        "_bugs",
        "_drift_ns",
        "_length_ns",
        "_stamp_skew_ns",
        "by_vote",
        "holder",
        "stamp_ns",
        "wall_skew_ns",
    )

    def __init__(self, election_timeout_ns: int, drift_ns: int, bugs: Seeded) -> None:
        self._length_ns = election_timeout_ns + drift_ns
        self._drift_ns = drift_ns
        self._bugs = bugs
        self.stamp_ns: int | None = None
        self.holder = ""
        """Whose consent ends the promise early; "" after a restart, which forgot whom it promised.
        """
        self.wall_skew_ns = 0
        """How far the host's wall clock was set forward in this life; no lease may depend on it."""
        self._stamp_skew_ns = 0
        self.by_vote = False
        """The promise came with a vote; a retry of the same candidate is exempt from it."""

    def __repr__(self) -> str:
        return (
            f"FollowerLease(stamp={self.stamp_ns}, holder={self.holder!r}, by_vote={self.by_vote})"
        )

    def set_length(self, election_timeout_ns: int, drift_ns: int) -> None:
        """Promises last E + D from now on, those in force too."""
        self._length_ns = election_timeout_ns + drift_ns
        self._drift_ns = drift_ns

    def renew(self, holder: str, now_ns: int, by_vote: bool = False) -> None:
        self.stamp_ns = now_ns
        self._stamp_skew_ns = self.wall_skew_ns
        self.holder = holder
        self.by_vote = by_vote

    def reset(self) -> None:
        """No promise is in force."""
        self.stamp_ns = None
        self.holder = ""
        self.by_vote = False

    def remaining(self, now_ns: int) -> int:
        """Nanoseconds until the promise ends, 0 if it has."""
        if self.stamp_ns is None:
            return 0
        left = self.stamp_ns + self._length_ns - now_ns
        skew = self.wall_skew_ns - self._stamp_skew_ns
        if skew and (left > 0) != (left > skew) and self._bugs.breaks("lease_wall_clock"):
            left -= skew
        if 0 < left <= self._drift_ns and self._bugs.breaks("lease_no_drift"):
            return 0
        return left if left > 0 else 0
