"""Schedules for the bugs of votes and elections (1 to 9)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Options
from node.raft.messages import Message, PreVoteReply, RequestVote
from tests.node.raft.bed import Bed
from tests.node.raft.schedules.common import MANUAL, Scripts, ask, held_for, until_leading


def vote_not_persisted(bugs: Sequence[str]) -> Bed:
    """The voter loses power between two candidates of one term."""
    bed = Bed(3, MANUAL, bugs=bugs)
    ask(bed, "n2", "n1", 5)
    bed.restart("n1")
    ask(bed, "n3", "n1", 5)
    return bed


def own_vote_not_persisted(bugs: Sequence[str]) -> Bed:
    """A candidate votes for itself, loses power, and is asked by a rival of the same term."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.isolate("n1")
    bed.cuts -= {("n2", "n1"), ("n3", "n1")}
    bed.rule = lambda source, _to, message: source == "n1" and isinstance(message, RequestVote)
    bed.core("n1").options = Options(elections=False, leader_lease=False, prevote=False)
    bed.vote("n1")
    bed.run(100)
    term = bed.core("n1").term
    assert bed.core("n1").voted_for == "n1"
    bed.restart("n1")
    ask(bed, "n2", "n1", term)
    return bed


def double_vote(bugs: Sequence[str]) -> Bed:
    """Two candidates of one term ask the same voter."""
    bed = Bed(3, MANUAL, bugs=bugs)
    ask(bed, "n2", "n1", 5)
    ask(bed, "n3", "n1", 5)
    return bed


def no_log_check(bugs: Sequence[str]) -> Bed:
    """A follower misses writes and then asks for votes while the leader is cut off."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(20)
    bed.heal()
    bed.isolate("n1")
    for _ in range(5):
        bed.vote("n3")
        bed.run(200)
    return bed


def vote_no_fsync(bugs: Sequence[str]) -> Bed:
    """The voter answers, loses power before its sync, and a second candidate of the term asks."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.members["n1"].disk.delay_ns = None
    bed.deliver("n2", "n1", RequestVote(5, 500, 0, 0))
    bed.restart("n1")
    ask(bed, "n3", "n1", 5)
    return bed


def vote_dup_count(bugs: Sequence[str]) -> Bed:
    """A candidate in the minority gets each answer twice, while the majority elects in the same term."""
    bed = Bed(5, MANUAL, bugs=bugs)
    bed.duplicate = 1.0
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    bed.vote("n1")
    bed.vote("n3")
    bed.run(300)
    assert bed.core("n3").state == "leader"
    return bed


def stale_vote_reply(bugs: Sequence[str]) -> Bed:
    """Two pre-vote grants come late, when their candidate already waits for votes that never arrive."""
    bed = Bed(5, MANUAL, bugs=bugs)

    def late(source: str, to: str, message: Message) -> bool:
        if source == "n1":
            return isinstance(message, RequestVote)
        return to == "n1" and source in ("n4", "n5") and isinstance(message, PreVoteReply)

    bed.rule = late
    bed.vote("n1")
    bed.run(100)
    assert bed.core("n1").state == "candidate"
    bed.cut(["n1"], ["n2", "n3"])
    bed.vote("n2")
    bed.run(100)
    assert bed.core("n2").term == bed.core("n1").term
    held_for(bed, "n1", PreVoteReply)
    return bed


def log_check_index_only(bugs: Sequence[str]) -> Bed:
    """A minority leader piles up entries of an old term, then asks the one who has the committed newer one."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    for _ in range(5):
        bed.propose("n1")
    bed.elect("n2")
    bed.run(100)
    bed.heal()
    bed.isolate("n2")
    # Its answers would repair the log of n1, were they about appends of n2; there are none.
    bed.run(100)
    for _ in range(5):
        bed.vote("n1")
        bed.run(200)
    return bed


def term_not_persisted(bugs: Sequence[str]) -> Bed:
    """A follower that adopted a term with its entries restarts and lets the old leader overwrite them."""
    bed = Bed(5, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    bed.propose("n1")
    bed.rule = lambda _from, to, message: to == "n4" and isinstance(message, RequestVote)
    bed.cut(["n5"], ["n2", "n3", "n4"])
    bed.cuts -= {("n2", "n5"), ("n5", "n2")}
    until_leading(bed, "n2")
    bed.cut(["n2"], ["n5"])
    bed.run(100)
    assert bed.core("n2").commit >= bed.core("n2").term_start, "n2, n3 and n4 have committed"
    bed.restart("n4")
    bed.heal()
    bed.held.clear()
    bed.rule = None
    bed.cut(["n2", "n3"], ["n1", "n4", "n5"])
    bed.rule = lambda source, to, _m: (source, to) in {("n5", "n1"), ("n1", "n5")}
    bed.run(200)
    bed.rule = None
    bed.held.clear()
    for _ in range(5):
        bed.vote("n1")
        bed.run(200)
    return bed


SCRIPTS: Scripts = {
    "vote_not_persisted": (vote_not_persisted, "P-EL"),
    "vote_no_fsync": (vote_no_fsync, "P-EL"),
    "double_vote": (double_vote, "P-EL"),
    "vote_dup_count": (vote_dup_count, "P-EL"),
    "stale_vote_reply": (stale_vote_reply, "P-EL"),
    "no_log_check": (no_log_check, "P-LC"),
    "log_check_index_only": (log_check_index_only, "P-LC"),
    "term_not_persisted": (term_not_persisted, "P-LC"),
}
