"""The follower's side of replication (Raft thesis 3.5; braft src/braft/node.cpp).

The one rule: an acknowledgement covers only what is on this node's disk and was checked against the
leader's log by that very message; nothing past it is committed because of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft import election, events, witnesses
from node.raft.election import FOLLOWER
from node.raft.messages import AppendEntries, AppendEntriesReply

if TYPE_CHECKING:
    from node.raft.raft import Raft


def on_append(raft: Raft, sender: str, m: AppendEntries) -> None:
    """An append, heartbeat or probe from a leader of m.term."""
    if m.term < raft.term:
        if raft.state == FOLLOWER and raft.bugs.breaks("lease_renew_any"):
            raft.promise.renew(sender, raft.now)
        refuse(raft, sender, m)
        return
    known = raft.leader_id == sender and m.term == raft.term and raft.state == FOLLOWER
    if not known and not follow(raft, sender, m.term):
        refuse(raft, sender, m)
        return
    raft.promise.renew(sender, raft.now)
    raft.last_leader_message = raft.now
    log, entries = raft.log, m.entries
    if not log.matches(m.prev_index, m.prev_term) and not (
        m.prev_index <= log.last_index and raft.bugs.breaks("no_prev_check")
    ):
        refuse(raft, sender, m, log.last_possible_match(m.prev_index))
    elif entries:
        if store(raft, m):
            acknowledge(raft, sender, m, entries[-1].index)
    elif log.flushed < log.last_index and raft.bugs.breaks("heartbeat_behind_data"):
        raft.when_durable(speak, (raft, sender, m, min(m.prev_index, log.flushed)))
    else:
        # A heartbeat must not wait for the disk: it speaks of what is there already.
        acknowledge(raft, sender, m, m.prev_index if m.prev_index < log.flushed else log.flushed)


def follow(raft: Raft, sender: str, term: int) -> bool:
    """Be a follower of `sender`, who leads `term` (ours or a later one).

    False: this member follows another leader of the same term already, and has moved on to the next (3.7.11).
    A pre-vote that an operator asked for outlives a word of the leader that it is to replace: no silence began
    it, and a heartbeat that was on its way would undo it otherwise.
    """
    if term == raft.term and raft.leader_id and raft.state == FOLLOWER:
        raft.step_down(raft.term + 1, "leader_conflict")
        return False
    asked = election.asked_for(raft, sender) if term == raft.term else None
    raft.step_down(term, "new_leader")
    raft.ballot = asked
    raft.leader_id = sender
    raft.report(events.following(raft.term, sender))
    return True


def refuse(raft: Raft, sender: str, m: AppendEntries, last_index: int | None = None) -> None:
    last = raft.log.last_index if last_index is None else last_index
    reply = AppendEntriesReply(
        raft.term, m.call, False, 0, last, m.prev_index, m.round, raft.readonly
    )
    raft.reply(sender, reply)


def store(raft: Raft, m: AppendEntries) -> bool:
    """Append what is new; cut only from the first entry that differs. False: an invariant is
    broken, or these entries cannot stand beside what is there.
    """
    log, entries = raft.log, m.entries
    if m.prev_index < log.last_index:
        known = log.first_difference(entries)
        if known == len(entries):
            after = max(entries[-1].index, raft.commit) + 1
            if after <= log.last_index and raft.bugs.breaks("truncate_always"):
                cut(raft, after)
            return True
        entries = entries[known:]
        first = entries[0].index
        if first <= log.last_index:
            if first <= raft.commit and raft.bugs.breaks("truncate_committed"):
                raft.commit = first - 1
            if first <= raft.commit:
                raft.out.fatal = (
                    f"{raft.name} must cut its log from {first}, committed are {raft.commit}: "
                    f"the leader of term {m.term} sends term {entries[0].term} where term "
                    f"{log.term_at(first)} is committed"
                )
                return False
            cut(raft, first)
    if not witnesses.takes(raft, entries):
        return False
    log.extend(entries)
    raft.fresh.extend(entries)
    if raft.conf is not log.configuration:
        raft.configured()
    return not raft.out.unusable


def cut(raft: Raft, first: int) -> None:
    """Forget the entries from `first` on, here and on the disk."""
    raft.log.truncate(first)
    raft.configured()
    raft.counters["truncations"] += 1
    raft.cut = min(raft.cut, first) if raft.cut else first
    raft.report(events.truncate(raft.term, first))


def acknowledge(raft: Raft, sender: str, m: AppendEntries, match: int) -> None:
    """Answer once everything up to `match`, and our term, is on disk."""
    safe = match <= raft.log.flushed
    early = not safe and raft.bugs.breaks("ack_before_fsync")
    if early or (safe and not raft.hard_pending):
        speak(raft, sender, m, match)
    else:
        raft.when_durable(speak, (raft, sender, m, match))


def speak(raft: Raft, sender: str, m: AppendEntries, match: int) -> None:
    """The acknowledgement leaves, unless the term has moved on while the disk worked."""
    term = raft.term
    if term != m.term:
        if not raft.bugs.breaks("ack_after_term_change"):
            refuse(raft, sender, m)
            return
        term = m.term
    out = raft.out
    if match > raft.acked or term != raft.acked_term:
        raft.acked = match
        raft.acked_term = term
        out.events.append(events.append_ack(term, sender, match))
    out.messages.append(
        (
            sender,
            AppendEntriesReply(
                term,
                m.call,
                True,
                match,
                raft.log.last_index,
                m.prev_index,
                m.round,
                raft.readonly,
            ),
        )
    )
    commit = m.commit if m.commit < match else match
    if commit < m.commit and match < raft.log.last_index:
        unverified = min(m.commit, raft.log.last_index)
        if unverified > raft.commit and raft.bugs.breaks("commit_unverified"):
            commit = unverified
    if commit > raft.commit:
        raft.advance_commit(commit)
