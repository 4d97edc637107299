"""Schedules for the bugs of transfer, of leases and rounds as they age, and of the read-only mode."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Failed, Options
from node.raft.messages import AppendEntries, AppendEntriesReply, Message, RequestVote, TimeoutNow
from tests.node.raft.bed import Bed, Violation
from tests.node.raft.schedules.common import MANUAL, Scripts, observed, until_leading

QUICK = Options(election_tick_ms=5)


def lease_flag_by_timer(bugs: Sequence[str]) -> Bed:
    """13: the leader is stopped for longer than any promise, and is asked before its timers are looked after."""
    bed = Bed(3, QUICK, bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    stopped = bed.members["n1"].core
    bed.members["n1"].core = None
    bed.run_until(lambda: bed.leader() is not None, 3000)
    bed.members["n1"].core = stopped
    bed.read("n1", "lease")
    return bed


def dies_after_its_answer(bugs: Sequence[str]) -> Bed:
    """The leader acknowledges a write and dies before anybody else knows that it is committed; n2 leads."""
    bed = Bed(3, Options(elections=False), bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    token = bed.propose("n1")
    bed.run_until(lambda: token in bed.answers, 100)
    bed.crash("n1")
    bed.run(700)
    until_leading(bed, "n2")
    return bed


def lease_ready_early(bugs: Sequence[str]) -> Bed:
    """17: a lease read at the new leader, at once."""
    bed = dies_after_its_answer(bugs)
    bed.read("n2", "lease")
    return bed


def readindex_no_noop(bugs: Sequence[str]) -> Bed:
    """27: a readindex read at the new leader whose first entry nobody has."""
    bed = dies_after_its_answer(bugs)
    bed.rule = lambda _source, _to, m: isinstance(m, AppendEntries) and bool(m.entries)
    bed.read("n2", "readindex")
    bed.run(50)
    return bed


def disrupted_unchecked(bugs: Sequence[str]) -> Bed:
    """21: the requests with the proof of a transfer come once more when their sender leads, with more in its log."""
    bed = Bed(5, QUICK, bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    token = bed.transfer("n1", "n2")
    bed.run_until(lambda: bed.leader() == "n2", 200)
    bed.run(700)
    assert not bed.admin[token].error
    proven = [
        (to, message)
        for _, source, to, message in bed.sent
        if source == "n2" and isinstance(message, RequestVote) and message.disrupted_leader
    ]
    assert proven, "the others voted without the proof"
    request = proven[0][1]
    bed.isolate("n2")
    for voter in ("n3", "n4", "n5"):
        bed.cuts.discard(("n2", voter))
        bed.deliver("n2", voter, request)
        bed.cuts.add(("n2", voter))
    return observed(bed, "n2", 450)


def proof_without_stepdown(bugs: Sequence[str]) -> Bed:
    """22: TimeoutNow comes when the leader has long given up to hand over and reads under its lease again."""
    bed = Bed(3, Options(elections=False), bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    bed.rule = lambda _source, _to, m: isinstance(m, TimeoutNow)
    bed.transfer("n1", "n2")
    bed.run(600)
    assert bed.core("n1").state == "leader"
    held, bed.held, bed.rule = bed.held, [], None
    for source, to, message in held:
        bed.deliver(source, to, message)
    bed.isolate("n1")
    return observed(bed, "n1", 450)


def transfer_keeps_lease(bugs: Sequence[str]) -> Bed:
    """23: TimeoutNow leaves, then the leader that hands over is cut off and asked."""
    bed = Bed(3, Options(elections=False), bugs=bugs)
    bed.elect("n1")
    bed.run(700)
    bed.transfer("n1", "n2")
    bed.cuts = {("n2", "n1"), ("n3", "n1")}
    bed.run(5)
    bed.isolate("n1")
    return observed(bed, "n1", 450)


def readindex_old_acks(bugs: Sequence[str]) -> Bed:
    """26: answers that were held up arrive when another leader has written."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)

    def answers(_source: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = answers
    bed.run(60)
    held, bed.held, bed.rule = bed.held, [], None
    assert held
    bed.isolate("n1")
    bed.elect("n2")
    bed.propose("n2")
    bed.run(100)
    bed.read("n1", "readindex")
    bed.heal()
    for source, to, message in held:
        bed.deliver(source, to, message)
    return bed


def readindex_no_wait(bugs: Sequence[str]) -> Bed:
    """28: a follower whose appends are held up asks its leader, and is told of an index it does not have."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.rule = lambda _source, to, m: to == "n3" and isinstance(m, AppendEntries)
    bed.propose("n1")
    bed.run(20)
    token = bed.read("n3", "readindex")
    bed.run(20)
    assert token not in bed.answers
    bed.release()
    bed.run(20)
    return bed


def readonly_ignored(bugs: Sequence[str]) -> Bed:
    """61: two of three are read-only, so a write must be refused definitely."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    for name in ("n2", "n3"):
        bed.set_readonly(name, True)
    bed.run(100)
    token = bed.propose("n1")
    bed.run(100)
    answer = bed.answers.get(token)
    if answer != Failed(token, "readonly", True, "n1"):
        raise Violation("contract", f"a write in a group that is read-only got {answer}")
    return bed


SCRIPTS: Scripts = {
    "lease_flag_by_timer": (lease_flag_by_timer, "P-LX"),
    "lease_ready_early": (lease_ready_early, "P-LIN"),
    "disrupted_unchecked": (disrupted_unchecked, "P-LX"),
    "proof_without_stepdown": (proof_without_stepdown, "P-LX"),
    "transfer_keeps_lease": (transfer_keeps_lease, "P-LX"),
    "readindex_old_acks": (readindex_old_acks, "P-LIN"),
    "readindex_no_noop": (readindex_no_noop, "P-LIN"),
    "readindex_no_wait": (readindex_no_wait, "P-LIN"),
    "readonly_ignored": (readonly_ignored, "contract"),
}
