"""Handing the leadership over, and waking a successor (Raft thesis 3.10; braft src/braft/node.cpp).

A transfer stops the lease and new writes, waits until the target has everything, and then has it stand for election without
waiting for its promise. The old leader goes on leading until the target's request for its vote arrives; if none does within E
it takes up its leadership again, in the same term. The one rule: nobody is told that a promise is void before the leader it was
given to leads no more. A plain transfer gives no such proof, the target gets it from the old leader's own vote; only a leader
that has stepped down already, for good, sends it along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft import election, events, membership
from node.raft.effects import AdminDone, Shutdown, Transfer
from node.raft.election import FOLLOWER, LEADER, LEADING, TRANSFERRING
from node.raft.messages import TimeoutNow, TimeoutNowReply

if TYPE_CHECKING:
    from node.raft.raft import Raft


class Handover:
    """A transfer in progress, for the operator's request `token`."""

    __slots__ = ("due", "index", "sent", "to", "token")

    def __init__(self, token: int, to: str, index: int, due_ns: int) -> None:
        self.token = token
        self.to = to
        self.index = index
        """What the target must have on its disk first: our last index when the transfer began."""
        self.due = due_ns
        self.sent = False
        """The target was told to stand for election."""

    def __repr__(self) -> str:
        return f"Handover(to={self.to}, index={self.index}, sent={self.sent})"


# ---- the leader ----------------------------------------------------------------------------------


def on_transfer(raft: Raft, asked: Transfer) -> None:
    """Begin to hand over, or say why not: not_leader, busy, invalid, unreachable. To itself is done at once."""
    error = refusal(raft, asked.to)
    to = asked.to or furthest(raft)
    if not error and not to:
        error = "unreachable: no other member answers"
    if error or to == raft.name:
        raft.out.admin.append(AdminDone(asked.token, error))
        return
    due = raft.now + raft.election_timeout_ns
    raft.state = TRANSFERRING
    raft.handover = Handover(asked.token, to, raft.log.last_index, due)
    raft.wake_at(due)
    raft.out.events.append(events.transfer(raft.term, to, "start"))
    on_progress(raft)


def refusal(raft: Raft, to: str) -> str:
    """Why the leadership cannot be handed to `to` ("": to anybody); "" if it can."""
    if raft.state not in LEADING:
        return "not_leader"
    if raft.handover is not None:
        return f"busy: the leadership is being handed to {raft.handover.to}"
    if raft.change is not None or raft.conf_due != membership.NEVER:
        return "busy: a change of members is running, or a configuration not committed yet"
    if to in ("", raft.name):
        return ""
    if to not in raft.conf.members:
        return f"invalid: {to} is no member"
    if to in raft.conf.witnesses and not raft.options.witness_may_lead:
        return f"invalid: {to} is a witness, which may not lead"
    return f"unreachable: {to} does not answer" if raft.peers[to].errors else ""


def furthest(raft: Raft) -> str:
    """The member that answers and has most of the log on its disk, "" if none answers; no witness. One of several at random."""
    conf = raft.conf
    fit = [
        peer
        for name, peer in raft.peers.items()
        if name in conf.members and name not in conf.witnesses and not peer.errors
    ]
    if not fit:
        return ""
    most = max(peer.match for peer in fit)
    return raft.rng.choice([peer.name for peer in fit if peer.match == most])


def on_progress(raft: Raft) -> None:
    """A peer acknowledged something: once the target has everything it is told to stand for election, once."""
    handover = raft.handover
    if handover is None or handover.sent or raft.peers[handover.to].match < handover.index:
        return
    handover.sent = True
    raft.out.events.append(events.transfer(raft.term, handover.to, "timeout_now"))
    proof = raft.bugs.breaks("proof_without_stepdown") or raft.bugs.breaks("transfer_keeps_lease")
    raft.out.messages.append((handover.to, TimeoutNow(raft.term, raft.next_call(), proof)))


def expire(raft: Raft) -> None:
    """The target did not take over within E: lead on, with a lease of a new epoch.

    Everything committed is applied within the step that commits it, so nothing has to be waited for before lease reads.
    """
    handover = raft.handover
    assert handover is not None
    raft.handover = None
    raft.state = LEADER
    raft.epoch += 1
    raft.out.events.append(events.transfer(raft.term, handover.to, "expired"))
    if raft.options.leader_lease:
        raft.out.events.append(events.lease_ready(raft.term, raft.epoch))
    raft.out.admin.append(AdminDone(handover.token, f"expired: {handover.to} did not take over"))


def ended(raft: Raft, why: str) -> None:
    """The leadership that was being handed over is over."""
    handover = raft.handover
    assert handover is not None
    raft.handover = None
    if why == "transfer":
        raft.out.events.append(events.transfer(raft.term, handover.to, "done"))
        done = AdminDone(handover.token, "", (raft.name,), (handover.to,))
    else:
        done = AdminDone(handover.token, f"stepped_down: {why}, the outcome is not known")
    raft.out.admin.append(done)


def on_timeout_now_reply(raft: Raft, sender: str, m: TimeoutNowReply) -> None:
    """Only a higher term counts (leases are off, or the target is there already); else its request for our vote will tell."""
    if m.term > raft.term:
        raft.yield_to(sender, m.term, "higher_term_response")


# ---- waking a successor --------------------------------------------------------------------------


def retire(raft: Raft, why: str) -> None:
    """Step down of this leader's own accord, and have the member that is furthest take over at once.

    The proof is honest here: this leader is none any more when the message leaves.
    """
    to, term = furthest(raft), raft.term
    raft.step_down(term, why)
    if to:
        raft.out.messages.append((to, TimeoutNow(term, raft.next_call(), True)))


def on_shutdown(raft: Raft, asked: Shutdown) -> None:
    """This member is about to stop: it stands for no election any more, and whoever waits for it is told."""
    raft.leaving = True
    if raft.state in LEADING:
        retire(raft, asked.reason)
    else:
        raft.step_down(raft.term, asked.reason)


# ---- the target ----------------------------------------------------------------------------------


def on_timeout_now(raft: Raft, sender: str, m: TimeoutNow) -> None:
    """Stand for election now, without a pre-vote, if this is a follower in the leader's term.

    With leases the answer leaves first, in the old term: the leader steps down only when it grants its vote, which is the proof
    that the others need. Without, the new term in the answer deposes it.
    """
    if m.term > raft.term:
        raft.step_down(m.term, "higher_term_request")
    fit = m.term == raft.term and raft.state == FOLLOWER and election.may_stand(raft)
    if not fit:
        raft.reply(sender, TimeoutNowReply(raft.term, m.call, False))
        return
    if raft.options.leader_lease:
        raft.reply(sender, TimeoutNowReply(raft.term, m.call, True))
    election.elect_self(raft, (sender, m.term) if m.stepped_down else None)
    if not raft.options.leader_lease:
        raft.reply(sender, TimeoutNowReply(raft.term, m.call, True))
