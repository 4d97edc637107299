"""The questions that a member puts to its configuration: do these agree, and what does a quorum share?

The one rule: rules ask here, never a set of names or a Configuration itself, so that the seeded bugs of counting
(5, 14 to 16 and 43 of bugs.py) have one place. Configurations stay pure: what is to suffice instead of a majority is
handed to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from node.raft.configuration import Configuration

if TYPE_CHECKING:
    from node.raft.raft import Raft


def half(members: int) -> int:
    """As many as a majority of an odd number, one too few of an even one."""
    return (members + 1) // 2


def one_short(members: int) -> int:
    """One fewer than a majority, but at least one."""
    return max(1, members // 2)


def agrees(raft: Raft, names: Collection[str]) -> bool:
    """Do `names` make a quorum of the configuration in force?"""
    conf = raft.conf
    if conf.agrees(names):
        return True
    if not raft.bugs.active:
        return False
    if conf.agrees(names, half) and raft.bugs.breaks("quorum_half"):
        return True
    return any(part.agrees(names) for part in parts(conf)) and raft.bugs.breaks(
        "joint_one_majority"
    )


def shared(raft: Raft, conf: Configuration, values: Mapping[str, int]) -> int:
    """The newest index that a quorum of `conf` holds, asked only where bugs are seeded: this is the path of every answer."""
    found = conf.quorum_value(values)
    if (more := conf.quorum_value(values, half)) > found and raft.bugs.breaks("quorum_half"):
        return more
    more = max((part.quorum_value(values) for part in parts(conf)), default=0)
    if more > found and raft.bugs.breaks("joint_one_majority"):
        return more
    return found


def stamp(raft: Raft) -> int:
    """The newest instant by which a quorum, the leader itself included if it is a member, is known to have accepted this
    leader (Q5, A4).
    """
    stamps = {name: peer.last_rpc_send for name, peer in raft.peers.items()}
    stamps[raft.name] = raft.now
    conf = raft.conf
    found = conf.quorum_value(stamps)
    if not raft.bugs.active:
        return found
    early = conf.quorum_value(stamps, one_short)
    if early > found and raft.bugs.breaks("lease_minority"):
        return early
    stranger = raft.name not in conf.members and not conf.joint
    if stranger and early > found and raft.bugs.breaks("lease_nonmember_self"):
        return early
    if conf.joint:
        early = Configuration(conf.members).quorum_value(stamps)
        if early > found and raft.bugs.breaks("lease_joint_new_only"):
            return early
    return found


def parts(conf: Configuration) -> tuple[Configuration, ...]:
    """The two sets of a joint configuration, each for itself; nothing of another."""
    return (Configuration(conf.members), Configuration(conf.old)) if conf.joint else ()
