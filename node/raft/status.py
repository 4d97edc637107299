"""How a member stands, as plain values (as braft's page /raft_stat).

The one rule: looking changes nothing. Ages and remaining times are as of `raft.now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from node.raft import membership, reads, snapshotting
from node.raft.election import CANDIDATE, LEADING

if TYPE_CHECKING:
    from node.raft.raft import Raft
    from node.raft.replication import Replicator

_MS: Final = 1_000_000


def of(raft: Raft) -> dict[str, Any]:
    """Everything there is to see of `raft`."""
    now = raft.now
    lease, until = reads.lease_state(raft)
    heard = raft.last_leader_message
    return {
        "name": raft.name,
        "members": list(raft.conf.members),
        "old_members": list(raft.conf.old),
        "witnesses": list(raft.conf.witnesses),
        "witness": raft.witness,
        "conf_index": raft.conf_index,
        "conf_committed": raft.conf_due == membership.NEVER,
        "change": membership.status(raft),
        "state": raft.state,
        "term": raft.term,
        "voted_for": raft.voted_for,
        "leader_id": raft.leader_id,
        "commit": raft.commit,
        "applied": raft.applied,
        "first_index": raft.log.first_index,
        "last_log_id": [raft.log.last_index, raft.log.last_term],
        "last_index": raft.log.last_index,
        "last_term": raft.log.last_term,
        "disk_index": raft.log.flushed,
        "snapshot": snapshotting.status(raft),
        "pending": len(raft.pending),
        "reads_waiting": len(raft.rounds.open) + len(raft.rounds.waiting) + len(raft.asks),
        "readonly": raft.readonly,
        "readonly_peers": sorted(raft.readonly_peers),
        "transfer_to": None if raft.handover is None else raft.handover.to,
        "election_timeout_ms": raft.election_timeout_ns // _MS,
        "max_clock_drift_ms": raft.drift_ns // _MS,
        "lease": {
            "state": lease,
            "epoch": raft.epoch,
            "remaining_ns": max(0, until - now),
        },
        "timers": timers(raft),
        "votable_ns": raft.promise.remaining(now) if raft.options.leader_lease else 0,
        "last_leader_message_age_ns": None if heard is None else now - heard,
        "peers": {peer.name: replicator(raft, peer) for peer in raft.peers.values()},
        "counters": dict(raft.counters),
        "bugs": dict(raft.bugs.hits),
    }


def replicator(raft: Raft, peer: Replicator) -> dict[str, Any]:
    """`catching_up` is True for a learner: it gets entries and has no vote yet; `lag` counts what it lacks."""
    now = raft.now
    return {
        "next_index": peer.next_index,
        "heartbeat_remaining_ms": _remaining_ms(peer.heartbeat_due, now),
        "deadline_remaining_ms": _remaining_ms(peer.due, now),
        "match": peer.match,
        "lag": raft.log.last_index - peer.match,
        "inflight": len(peer.inflight),
        "state": peer.state,
        "catching_up": membership.is_learner(raft, peer.name),
        "witness": peer.witness,
        "errors": peer.errors,
        "heartbeats": peer.heartbeats,
        "appends": peer.appends,
        "installs": peer.installs,
        "last_rpc_send_age_ns": now - peer.last_rpc_send,
    }


def timers(raft: Raft) -> dict[str, int | None]:
    """Remaining ms of each timer, None while it does not run."""
    leading, standing = raft.state in LEADING, raft.state == CANDIDATE
    ticking = not leading and not standing and (raft.options.elections or raft.triggered)
    dues = {
        "election": raft.election_due if ticking else None,
        "vote": raft.vote_due if standing else None,
        "grant_self": raft.grant_due,
        "transfer": None if raft.handover is None else raft.handover.due,
        "step_down": raft.check_due if leading else None,
        "snapshot": raft.snapshots.due,
        "catch_up": membership.catch_up_due(raft),
    }
    return {name: _remaining_ms(due, raft.now) for name, due in dues.items()}


def _remaining_ms(due: int | None, now: int) -> int | None:
    return None if due is None else max(0, due - now) // _MS
