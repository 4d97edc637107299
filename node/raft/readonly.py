"""Read-only mode: an operator has a member take no more user entries (braft src/braft/node.cpp).

The member says so in every answer to its leader. The leader sends it no user entry above its last index of that moment, and
takes no writes itself while it is read-only or too few members are writable. Reads and changes of members go on. The one rule:
a write is refused before it is in the log, so the refusal is definite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft import events, quorums, replication
from node.raft.effects import AdminDone, SetReadonly
from node.raft.messages import CONFIGURATION, Entry

if TYPE_CHECKING:
    from node.raft.raft import Raft
    from node.raft.replication import Replicator


def on_set(raft: Raft, asked: SetReadonly) -> None:
    """Enter or leave the mode; a restarted member is writable."""
    if asked.readonly != raft.readonly:
        raft.readonly = asked.readonly
        raft.out.events.append(events.readonly(raft.term, asked.readonly, raft.log.last_index))
    raft.out.admin.append(AdminDone(asked.token))


def on_report(raft: Raft, peer: Replicator, readonly: bool) -> None:
    """A follower's answer says that its mode is another one now."""
    peer.readonly = readonly
    peer.readonly_index = raft.log.last_index
    if readonly:
        raft.readonly_peers.add(peer.name)
        return
    raft.readonly_peers.discard(peer.name)
    if not peer.probing:
        replication.fill(raft, peer)


def refuses_writes(raft: Raft) -> bool:
    """Is this leader read-only, or are the writable members no quorum? Asked only while somebody is read-only."""
    writable = [name for name in raft.conf.everyone if name not in raft.readonly_peers]
    if not raft.readonly and quorums.agrees(raft, writable):
        return False
    return not raft.bugs.breaks("readonly_ignored")


def allowed(entries: list[Entry], above: int) -> list[Entry]:
    """Those before the first user entry above index `above`: a log has no gaps, so what follows one has to wait with it."""
    for position, entry in enumerate(entries):
        if entry.index > above and entry.kind != CONFIGURATION:
            return entries[:position]
    return entries
