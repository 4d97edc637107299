"""Schedules for the bugs of replication, commit and durability (30 to 41)."""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.effects import Options
from node.raft.messages import AppendEntries, AppendEntriesReply, Message
from tests.node.raft.bed import MS, Bed
from tests.node.raft.schedules.common import MANUAL, Scripts, until_leading


def ack_before_fsync(bugs: Sequence[str]) -> Bed:
    """Both followers lose power before their sync; what they acknowledged is gone."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    for name in ("n2", "n3"):
        bed.members[name].disk.delay_ns = None
    bed.propose("n1")
    bed.run(20)
    for name in ("n2", "n3"):
        bed.restart(name)
        bed.members[name].disk.delay_ns = 0
    bed.isolate("n1")
    bed.elect("n2")
    return bed


def leader_counts_self_early(bugs: Sequence[str]) -> Bed:
    """The leader loses power before its sync; the one follower with the entry is then cut off."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    bed.members["n1"].disk.delay_ns = None
    bed.propose("n1")
    bed.run(20)
    bed.restart("n1")
    bed.members["n1"].disk.delay_ns = 0
    bed.heal()
    bed.isolate("n2")
    bed.elect("n3")
    return bed


def commit_old_term(bugs: Sequence[str]) -> Bed:
    """Figure 8: an entry of term 2 on three of five is overwritten by one of term 3."""
    options = Options(
        elections=False, leader_lease=False, check_quorum=False, max_entries_per_append=1
    )
    bed = Bed(5, options, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.cut(["n1"], ["n3", "n4", "n5"])
    bed.propose("n1")
    bed.run(20)
    k = bed.core("n1").log.last_index
    assert bed.core("n2").log.last_index == k
    bed.crash("n1")
    bed.heal()
    bed.cut(["n5"], ["n2"])

    def appends_of_n5(source: str, _to: str, message: Message) -> bool:
        return source == "n5" and isinstance(message, AppendEntries)

    bed.rule = appends_of_n5
    until_leading(bed, "n5")
    bed.run(5)
    assert bed.core("n5").log.entries[k - 1].term == bed.core("n5").term
    bed.crash("n5")
    bed.heal()
    bed.held.clear()

    def beyond_k(source: str, to: str, message: Message) -> bool:
        if source != "n1" or not isinstance(message, AppendEntries):
            return False
        return to == "n4" or (bool(message.entries) and message.prev_index >= k)

    bed.rule = beyond_k
    bed.start("n1")
    until_leading(bed, "n1")
    bed.run(100)
    assert bed.core("n3").log.last_index == k
    bed.crash("n1")
    bed.held.clear()
    bed.rule = None
    bed.start("n5")
    bed.elect("n5")
    return bed


def apply_before_commit(bugs: Sequence[str]) -> Bed:
    """A leader in the minority writes; the majority commits something else there."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    bed.propose("n1")
    bed.run(20)
    bed.elect("n2")
    bed.heal()
    bed.run(200)
    return bed


def diverged(bugs: Sequence[str], leader: str = "n2") -> Bed:
    """n3 shares three entries with a leader that was cut off; the others have committed others at the same indices."""
    bed = Bed(5, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.cut(["n1", "n3"], ["n2", "n4", "n5"])
    for _ in range(3):
        bed.propose("n1")
    bed.run(20)
    bed.elect("n2")
    for _ in range(2):
        bed.propose("n2")
    bed.run(100)
    bed.elect(leader)
    bed.heal()
    bed.isolate("n1")
    return bed


def commit_unverified(bugs: Sequence[str]) -> Bed:
    """The new leader's heartbeat tells its commit index to a follower whose tail is another."""
    bed = diverged(bugs)
    bed.run(300)
    return bed


def no_prev_check(bugs: Sequence[str]) -> Bed:
    """The new leader's probe stands on an entry that is of another term at the follower."""
    bed = diverged(bugs, "n4")
    bed.run(600)
    return bed


def truncate_always(bugs: Sequence[str]) -> Bed:
    """An old append comes a second time, after a later entry was acknowledged and committed by it."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    bed.propose("n1")
    first = bed.sent[-1] if bed.sent[-1][2] == "n2" else bed.sent[-2]
    assert first[1:3] == ("n1", "n2")
    bed.run(10)
    bed.propose("n1")
    bed.run(5)
    bed.deliver("n1", "n2", first[3])
    bed.run(5)
    bed.crash("n1")
    bed.heal()
    bed.elect("n2")
    return bed


def ack_after_term_change(bugs: Sequence[str]) -> Bed:
    """A follower's disk is slow; between an append and its sync it votes for another leader."""
    bed = Bed(3, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(200)
    bed.isolate("n3")
    bed.members["n2"].disk.delay_ns = None
    bed.propose("n1")
    bed.run(10)
    bed.heal()
    bed.cut(["n1"], ["n3"])
    bed.delay = lambda _from, to: (40 if to == "n3" else 1) * MS
    bed.vote("n3")
    bed.run(120)
    bed.sync("n2")
    bed.run(20)
    bed.isolate("n1")
    bed.members["n2"].disk.delay_ns = 0
    bed.sync("n2")
    bed.run(500)
    return bed


def stale_append_reply(bugs: Sequence[str]) -> Bed:
    """An acknowledgement from two terms ago names indices that now hold other entries."""
    bed = Bed(5, MANUAL, bugs=bugs)
    bed.elect("n1")
    bed.run(100)
    bed.cut(["n1", "n2"], ["n3", "n4", "n5"])
    bed.rule = lambda _from, to, message: to == "n1" and isinstance(message, AppendEntriesReply)
    for _ in range(3):
        bed.propose("n1")
    bed.run(10)
    late = list(bed.held)
    # The successor overwrites them on both, and nobody else gets its entry.
    bed.rule = lambda source, to, message: (
        source == "n3" and to in ("n4", "n5") and isinstance(message, AppendEntries)
    )
    until_leading(bed, "n3")
    bed.heal()
    bed.run(600)
    assert bed.core("n1").log.last_term == bed.core("n2").log.last_term == bed.core("n3").term
    bed.crash("n3")
    bed.held.clear()
    bed.rule = None
    bed.cut(["n2"], ["n1", "n4", "n5"])
    bed.cut(["n5"], ["n2", "n4"])
    until_leading(bed, "n1")
    bed.cut(["n5"], ["n1"])
    bed.propose("n1")
    for source, to, message in late:
        bed.cuts.discard((source, to))
        bed.deliver(source, to, message)
        bed.cuts.add((source, to))
    bed.run(100)
    bed.crash("n1")
    bed.start("n3")
    bed.heal()
    bed.isolate("n4")
    bed.elect("n2")
    return bed


SCRIPTS: Scripts = {
    "apply_before_commit": (apply_before_commit, "P-LC"),
    "ack_before_fsync": (ack_before_fsync, "P-LC"),
    "leader_counts_self_early": (leader_counts_self_early, "P-LC"),
    "commit_old_term": (commit_old_term, "P-LC"),
    "commit_unverified": (commit_unverified, "P-SM"),
    "no_prev_check": (no_prev_check, "P-SM"),
    "truncate_always": (truncate_always, "P-LC"),
    "ack_after_term_change": (ack_after_term_change, "P-LC"),
    "stale_append_reply": (stale_append_reply, "P-LC"),
}
