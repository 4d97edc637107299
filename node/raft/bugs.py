"""The seeded bugs: rules of the core that can be switched off by name, one at a time, to see who
notices.

The one rule: a bug is one condition at the place of the rule it breaks, and `Seeded.breaks` is
asked only where the answer changes the outcome, so its counter says how often the bug really bit.
The numbers are names that stay.
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
    Bug(
        "vote_no_fsync",
        "a vote is answered before it is on disk",
        "power loss of a voter right after its answer, a second candidate of the term",
        ("P-EL", "P-DU"),
        "election.on_request_vote",
    ),
    Bug(
        "vote_dup_count",
        "the grant of one member counts twice",
        "duplicated answers to a candidate in the minority",
        ("P-EL",),
        "election.count",
    ),
    Bug(
        "stale_vote_reply",
        "an answer is not matched by its call: a pre-vote's grant counts as a vote",
        "late answers, repeated candidacies",
        ("P-EL",),
        "election.on_pre_vote_reply, on_request_vote_reply",
    ),
    Bug(
        "log_check_index_only",
        "the longer log wins, whatever the last terms",
        "a leader in the minority piles up entries, then heal and cut",
        ("P-LC",),
        "election.log_ok",
    ),
    Bug(
        "term_not_persisted",
        "an adopted term is kept in memory only, and a start does not lift it to the log's",
        "restart a follower that acknowledged entries of a new term, the old leader reaches it first",
        ("P-LC",),
        "raft.Raft.raise_term",
    ),
    Bug(
        "lease_wall_clock",
        "a promise is measured on the wall clock",
        "set the voters' wall clock ahead, cut the leader",
        ("P-LX",),
        "lease.FollowerLease.remaining",
    ),
    Bug(
        "follower_lease_ignored",
        "a voter grants under its promise",
        "cut the leader from one follower, the other sees both",
        ("P-LX",),
        "election.promised",
    ),
    Bug(
        "self_vote_ignores_lease",
        "a candidate's own vote counts under its own promise",
        "the other voter's promise has run out, then cut the leader and ask for a vote at once",
        ("P-LX",),
        "election.grant_self",
    ),
    Bug(
        "restart_forgets_lease",
        "a restarted node has promised nothing",
        "cut the leader, restart all followers well within the election timeout",
        ("P-LX",),
        "raft.Raft.__init__",
    ),
    Bug(
        "apply_before_commit",
        "a leader applies and answers once its own disk has the entry",
        "cut the leader off into the minority, heal",
        ("P-SM", "P-LIN", "P-LC"),
        "replication.advance_commit",
    ),
    Bug(
        "commit_unverified",
        "a follower commits what its leader has, unverified entries included",
        "another tail at a follower, a heartbeat of the new leader before its repair",
        ("P-SM",),
        "following.speak",
    ),
    Bug(
        "no_prev_check",
        "the term before the new entries is not compared",
        "other tails after changes of leader",
        ("P-SM", "P-LM"),
        "following.on_append",
    ),
    Bug(
        "truncate_always",
        "any append cuts what follows it, even where it matches",
        "an old append once more, then kill the leader",
        ("P-LC", "P-LIN"),
        "following.store",
    ),
    Bug(
        "truncate_committed",
        "a conflict may cut below what is applied",
        "with no_log_check, whose leaders ask for it",
        ("P-SM",),
        "following.store",
    ),
    Bug(
        "ack_after_term_change",
        "the term is not looked at again after the disk write",
        "a slow follower's disk during a change of leader",
        ("P-LC",),
        "following.speak",
    ),
    Bug(
        "stale_append_reply",
        "acknowledgements of another leadership or call count",
        "delay them across step-down and re-election",
        ("P-LC", "P-SM"),
        "replication.stale",
    ),
    Bug(
        "closure_by_index",
        "a pending command is answered ok when another entry lands on its index",
        "cut the leader with pending writes, heal",
        ("P-LIN",),
        "raft.Raft._stop_leading",
    ),
    Bug(
        "ok_on_stepdown",
        "at step-down pending commands are answered ok",
        "cut the leader with pending writes, heal",
        ("P-LIN", "P-DU"),
        "raft.Raft._stop_leading",
    ),
    Bug(
        "prevote_bumps_term",
        "a pre-vote raises the term",
        "isolate a node for five election timeouts, heal",
        ("P-LV",),
        "election.start_pre_vote",
    ),
    Bug(
        "prevote_no_lag_refusal",
        "a pre-vote is granted whatever log and promise say",
        "isolate a node under writes, heal one way",
        ("P-LV",),
        "election.on_pre_vote",
    ),
    Bug(
        "no_checkquorum",
        "a leader does not look whether a quorum still answers",
        "cut the leader off, clients stuck to it",
        ("P-LV", "P-LIN"),
        "replication.on_tick",
    ),
    Bug(
        "no_jitter",
        "all delays of elections are equal",
        "kill the leader of five with equal delays",
        ("P-LV",),
        "election.draw",
    ),
    Bug(
        "lease_renew_any",
        "messages of an old term renew a promise",
        "a deposed leader that hears nothing, its successor dies",
        ("P-LV",),
        "following.on_append, election.on_request_vote",
    ),
    Bug(
        "heartbeat_behind_data",
        "heartbeats wait behind appends and syncs",
        "big values, slow disks",
        ("P-LV",),
        "following.on_append, replication.on_tick",
    ),
    Bug(
        "snap_no_sessions",
        "a snapshot holds no client sessions",
        "lose an answer, snapshot and restart or install, the client retries",
        ("P-LIN",),
        "snapshots.Snapshots.save",
    ),
    Bug(
        "snap_no_conf",
        "a snapshot holds the first configuration instead of the one in force",
        "change the members, snapshot until the log is cut, restart all",
        ("P-LC", "P-EL"),
        "raft.snapshotting.save",
    ),
    Bug(
        "snap_off_by_one",
        "a snapshot claims one entry more than it holds",
        "restart after a snapshot under load",
        ("P-SM", "P-LIN"),
        "raft.snapshotting.save",
    ),
    Bug(
        "snap_regress",
        "an older snapshot is installed over a newer state",
        "delay or duplicate install requests",
        ("P-SM",),
        "raft.snapshotting.on_install, on_downloaded",
    ),
    Bug(
        "snap_cut_before_durable",
        "the log is cut before the snapshot that covers it is durable",
        "power loss between the two",
        ("P-DU",),
        "raft.snapshotting.save",
    ),
    Bug(
        "snap_keeps_conflict",
        "after an install the log's tail is kept though it conflicts with the snapshot",
        "install on a follower whose log diverges",
        ("P-LM",),
        "raft.snapshotting.load",
    ),
    Bug(
        "quorum_half",
        "half of an even number of members is a quorum",
        "cut four members two and two",
        ("P-EL", "P-LC", "P-SM", "P-LIN"),
        "quorums.agrees, shared",
    ),
    Bug(
        "lease_minority",
        "a lease needs one answer less than a quorum",
        "five members, cut the leader and one more off",
        ("P-LX",),
        "quorums.stamp",
    ),
    Bug(
        "lease_joint_new_only",
        "the lease of a leader counts only the new members while a change is in its joint stage",
        "cut the old members off before the joint entry reaches them",
        ("P-LX",),
        "quorums.stamp",
    ),
    Bug(
        "lease_nonmember_self",
        "a leader that removes itself still counts itself in its lease",
        "remove the leader of four, cut it off with one other while the answers of two are held",
        ("P-LX",),
        "quorums.stamp",
    ),
    Bug(
        "joint_skipped",
        "several members change in one step",
        "change {1,2,3} to {3,4,5} with 1 and 2 cut off at the append",
        ("P-LC", "P-SM", "P-LIN"),
        "membership.put",
    ),
    Bug(
        "joint_one_majority",
        "in the joint stage the majority of one set is enough",
        "change {1,2,3} to {3,4,5} with 1 and 2 cut off at the append",
        ("P-LC", "P-EL", "P-SM", "P-LIN"),
        "quorums.agrees, shared",
    ),
    Bug(
        "conf_no_rollback",
        "a configuration whose entry was cut off stays in force",
        "cut the leader off in mid-change, its successor overwrites it and changes the members again",
        ("P-LC", "P-EL"),
        "membership.configured",
    ),
    Bug(
        "conf_before_own_commit",
        "a change of members may begin before the first entry of the term is committed",
        "a leader cut off with its change, a successor that changes at once, then the first again",
        ("P-LC", "P-SM"),
        "membership.refusal",
    ),
    Bug(
        "lease_flag_by_timer",
        "a lease is valid when it was at the leader's last timer, whatever the clock says now",
        "stop the leader for longer than E + D, continue it with reads waiting",
        ("P-LX", "P-LIN"),
        "reads.lease_state",
    ),
    Bug(
        "lease_ready_early",
        "a lease is valid from the election on, before an entry of the term is applied",
        "kill the leader right after an acknowledged write, read at its successor at once",
        ("P-LIN",),
        "reads.lease_state",
    ),
    Bug(
        "disrupted_unchecked",
        "a voter takes any claim of a leader's consent for granted",
        "duplicates of the vote requests of a transfer, late, then cut the new leader off",
        ("P-LX",),
        "election.on_request_vote",
    ),
    Bug(
        "proof_without_stepdown",
        "a transfer tells its target that the leader has stepped down",
        "hold the message until the leader has resumed, cut it off, deliver the message",
        ("P-LX", "P-LIN"),
        "transfer.on_progress",
    ),
    Bug(
        "transfer_keeps_lease",
        "a leader that hands over goes on reading under its lease, while voters are told that it ended",
        "transfer, cut the old leader off, read there",
        ("P-LX", "P-LIN"),
        "reads.lease_state, transfer.on_progress",
    ),
    Bug(
        "readindex_old_acks",
        "answers to heartbeats that were sent before the read count for it",
        "delay them until another leader has written",
        ("P-LIN",),
        "reads.on_old_answer",
    ),
    Bug(
        "readindex_no_noop",
        "a new leader answers readindex reads before an entry of its term is committed",
        "kill the leader after an acknowledgement, before the followers learn of the commit",
        ("P-LIN",),
        "reads.start_round",
    ),
    Bug(
        "readindex_no_wait",
        "a follower reads before it has applied up to the index it was told",
        "a follower that lags asks its leader",
        ("P-LIN",),
        "reads.on_read_index_reply",
    ),
    Bug(
        "readonly_ignored",
        "a leader takes writes while most members are read-only",
        "make a majority read-only",
        ("contract",),
        "readonly.refuses_writes",
    ),
    Bug(
        "fsync_error_ignored",
        "a failed sync is taken for a success",
        "an error of fdatasync, then a power loss",
        ("P-DU", "P-LC"),
        "storage.journal.Journal._append",
    ),
    Bug(
        "torn_tail_kept",
        "what follows a half-written record stays in the journal",
        "power loss in the middle of a write, then a shorter life over the same place",
        ("P-LM", "P-DU"),
        "storage.journal.Journal.__init__",
    ),
)

CATALOGUE: Final[dict[str, Bug]] = {bug.name: bug for bug in _BUGS}


class Seeded:
    """The bugs of one node, with a count of how often each changed an outcome."""

    __slots__ = ("active", "hits")

    def __init__(self, names: Sequence[str]) -> None:
        unknown = sorted({name for name in names if name not in CATALOGUE})
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
