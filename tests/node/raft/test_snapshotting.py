"""Snapshots in the core: saving, cutting the log, installing (Raft paper 7)."""

from __future__ import annotations

import pytest

from node.raft import configuration, election, snapshotting
from node.raft.configuration import Configuration
from node.raft.effects import (
    AdminDone,
    CancelDownload,
    Disconnected,
    Download,
    Downloaded,
    Effects,
    HardState,
    LoadSnapshot,
    Options,
    Persisted,
    Received,
    SaveSnapshot,
    SnapshotSaved,
    TakeSnapshot,
    Tick,
)
from node.raft.log import Log
from node.raft.messages import (
    CONFIGURATION,
    DATA,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    InstallSnapshot,
    InstallSnapshotReply,
    RequestVote,
    SnapshotMeta,
)
from node.raft.raft import Raft
from tests.node.raft.bed import MS, Bed
from tests.node.raft.schedules.snapshots import NO_SNAPSHOTS, cut_log, saved

MEMBERS = ("n1", "n2", "n3")
GROUP = Configuration(MEMBERS)
SECOND = 1000 * MS


def meta(index: int, term: int, in_force: Configuration = GROUP) -> SnapshotMeta:
    return SnapshotMeta(index, term, in_force, 8, index)


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, DATA, b"", 0)


def member(
    *terms: int,
    options: Options = NO_SNAPSHOTS,
    base: tuple[int, int] = (0, 0),
    snapshot: SnapshotMeta | None = None,
) -> Raft:
    """n1 in term 9, with a log of these terms after `base`."""
    log = [entry(base[0] + number, term) for number, term in enumerate(terms, 1)]
    return Raft(
        "n1",
        MEMBERS,
        options,
        HardState(9),
        log,
        False,
        b"",
        0,
        base=base,
        snapshot=snapshot,
    )


def install(raft: Raft, offered: SnapshotMeta, call: int = 7, term: int = 9) -> Effects:
    """n2, which leads `term`, offers a snapshot."""
    return raft.step(Received("n2", InstallSnapshot(term, call, offered)), 0)


def replies(out: Effects) -> list[tuple[int, str]]:
    """(call, error) of each answer to an install; "" is success."""
    return [(m.call, m.error) for _, m in out.messages if isinstance(m, InstallSnapshotReply)]


def far_behind() -> Bed:
    """n3 is cut off, and lacks what the leader n1 has cut from its log."""
    bed = Bed(3, NO_SNAPSHOTS)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(50)
    cut_log(bed, "n1")
    assert bed.core("n3").log.last_index < bed.core("n1").log.base
    return bed


def installs(bed: Bed, to: str) -> list[tuple[int, InstallSnapshot]]:
    return [
        (when, m)
        for when, _, target, m in bed.sent
        if target == to and isinstance(m, InstallSnapshot)
    ]


# ---- saving --------------------------------------------------------------------------------------


def test_a_save_is_of_all_that_its_step_applies_with_the_configuration_in_force_there() -> None:
    """3.10: (index, term, configuration at that index, old members too); entries not yet committed have no part in it."""
    joint = Configuration(("n1", "n2"), MEMBERS)
    data = configuration.encode(joint)
    raft = member(options=Options(snapshot_interval_entries=3))
    log = [
        entry(1, 9),
        Entry(2, 9, CONFIGURATION, data, 0),
        entry(3, 9),
        entry(4, 9),
        Entry(5, 9, CONFIGURATION, configuration.encode(Configuration(("n1", "n2"))), 0),
    ]
    raft.step(Received("n2", AppendEntries(9, 1, 0, 0, 3, 0, log[:3])), 0)
    raft.step(Received("n2", AppendEntries(9, 2, 3, 9, 4, 0, log[3:])), 0)
    out = raft.step(Persisted(raft.token), 0)
    assert [committed.entry.index for committed in out.apply] == [1, 2, 3, 4]
    assert out.snapshots == [SaveSnapshot(4, 9, joint)]


def test_a_snapshot_is_due_when_so_many_entries_were_applied_since_the_last() -> None:
    """Option snapshot_interval_entries; 0 turns it off."""
    bed = Bed(1, Options(snapshot_interval_entries=5))
    bed.elect("n1")
    for _ in range(20):
        bed.propose("n1")
        bed.run(2)
    assert [event.fields["index"] for event in bed.named("snapshot_saved")] == [5, 10, 15, 20]
    assert [event.fields["first"] for event in bed.named("log_cut")] == [6, 11, 16]
    off = Bed(1, Options(snapshot_interval_entries=0))
    off.elect("n1")
    for _ in range(20):
        off.propose("n1")
    assert off.named("snapshot_saved") == []


def test_the_log_is_cut_when_the_next_snapshot_is_durable_and_only_up_to_the_one_before() -> None:
    """3.10: slow followers may still use the log; Persist tells the disk what may go."""
    raft = member(9, 9, 9, 9, 9, 9)
    raft.step(Received("n2", AppendEntries(9, 1, 6, 9, 3, 0, [])), 0)
    assert raft.step(TakeSnapshot(1), 0).snapshots == [SaveSnapshot(3, 9, GROUP)]
    first = raft.step(SnapshotSaved(meta(3, 9)), 0)
    assert (first.admin, first.persist, raft.log.base) == ([AdminDone(1)], [], 0)
    raft.step(Received("n2", AppendEntries(9, 2, 6, 9, 5, 0, [])), 0)
    assert raft.step(TakeSnapshot(2), 0).persist == []
    second = raft.step(SnapshotSaved(meta(5, 9)), 0)
    assert [persist.cut_to for persist in second.persist] == [3]
    assert raft.log.base == 3
    assert [event.name for event in second.events] == ["snapshot_saved", "log_cut"]


def test_nothing_new_is_not_saved_and_only_one_is_saved_at_a_time() -> None:
    """3.10: skipped below the least gap, excluded while one is saved or downloaded; an operator is told."""
    raft = member(9, 9, 9, 9, options=Options(snapshot_min_gap_entries=2))
    raft.step(Received("n2", AppendEntries(9, 1, 4, 9, 1, 0, [])), 0)
    out = raft.step(TakeSnapshot(1), 0)
    assert (out.snapshots, out.admin) == ([], [AdminDone(1)])
    raft.step(Received("n2", AppendEntries(9, 2, 4, 9, 2, 0, [])), 0)
    assert raft.step(TakeSnapshot(2), 0).snapshots == [SaveSnapshot(2, 9, GROUP)]
    assert raft.step(TakeSnapshot(3), 0).admin == [AdminDone(3, "busy: saving a snapshot")]
    assert raft.step(SnapshotSaved(None), 0).admin == [
        AdminDone(2, "the snapshot could not be saved")
    ]
    assert raft.snapshot is None
    install(raft, meta(50, 9))
    assert raft.step(TakeSnapshot(4), 0).admin == [AdminDone(4, "busy: downloading a snapshot")]


def test_the_interval_timer_is_spread_at_first_and_exact_later() -> None:
    """2.2, snapshot timer: first uniform in [1, interval], later exact; it runs where no election timer does."""
    firsts = []
    for seed in range(200):
        options = Options(elections=False, snapshot_interval_s=10)
        raft = Raft("n1", MEMBERS, options, HardState(), [], True, bytes([seed]), 0)
        due = raft.next_deadline
        assert due is not None
        firsts.append(due / SECOND)
        raft.step(Tick(), due)
        assert raft.next_deadline == due + 10 * SECOND
    assert 0 < min(firsts) < 0.5
    assert 9.5 < max(firsts) <= 10
    bed = Bed(1, Options(snapshot_interval_entries=0, snapshot_interval_s=1))
    bed.elect("n1")
    bed.run(1100)
    bed.run(3000)
    assert len(bed.named("snapshot_saved")) == 1, "nothing was applied since"
    bed.propose("n1")
    bed.run(1100)
    assert len(bed.named("snapshot_saved")) == 2


# ---- the leader ----------------------------------------------------------------------------------


def test_a_follower_far_behind_loads_a_snapshot_and_goes_on_from_it() -> None:
    """3.9: what was cut is not sent; after the install next_index is the snapshot's + 1."""
    bed = far_behind()
    bed.heal()
    bed.run(200)
    leader, follower = bed.core("n1"), bed.core("n3")
    assert follower.commit == leader.commit
    assert bed.members["n3"].state == bed.members["n1"].state
    assert follower.log.base == leader.snapshot.index if leader.snapshot else False
    (loaded,) = bed.named("snapshot_loaded", "n3")
    assert (loaded.fields["source"], loaded.fields["digest"]) == (
        "install",
        bed.members["n1"].disk.snapshots[-1][0].crc,
    )
    (reset,) = bed.named("log_reset", "n3")
    assert reset.fields["first"] == follower.log.base + 1
    assert leader.peers["n3"].state == "idle"
    bed.propose("n1")
    bed.run(100)
    assert follower.commit == leader.commit
    bed.restart("n3")
    bed.run(200)
    assert bed.core("n3").commit == leader.commit


def test_a_slow_follower_still_uses_the_log_after_one_snapshot() -> None:
    """3.10: the log reaches back to the snapshot before the newest."""
    bed = Bed(3, NO_SNAPSHOTS)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(50)
    saved(bed, "n1")
    bed.heal()
    bed.run(300)
    assert bed.core("n3").commit == bed.core("n1").commit
    assert installs(bed, "n3") == []


def test_heartbeats_keep_their_pace_while_a_peer_installs() -> None:
    """3.9: a heartbeat whose prev was cut carries (0, 0); the install itself is no contact for lease and dead-node check."""
    bed = far_behind()
    bed.members["n3"].disk.fetch_ns = SECOND
    leader = bed.core("n1")
    bed.heal()
    bed.run(300)
    peer = leader.peers["n3"]
    assert peer.state == "installing"
    assert 0 < peer.match < leader.log.base
    before = peer.heartbeats
    bed.run(500)
    assert peer.heartbeats - before >= 9
    beats = [m for _, _, to, m in bed.sent if to == "n3" and isinstance(m, AppendEntries)]
    assert {(m.prev_index, m.prev_term) for m in beats[-9:]} == {(0, 0)}
    assert leader.now - peer.last_rpc_send < 100 * MS
    stamp = peer.last_rpc_send
    reply = InstallSnapshotReply(leader.term, peer.probe_call, True)
    bed.deliver("n3", "n1", reply)
    assert peer.state == "idle"
    assert peer.last_rpc_send == stamp


def test_an_install_that_failed_is_tried_again_a_heartbeat_later() -> None:
    """3.9 and 3.10: an error or a broken connection backs off; no answer within E asks again, for the same snapshot."""
    bed = far_behind()
    bed.members["n3"].disk.fetch_ns = 10 * SECOND
    leader = bed.core("n1")
    bed.heal()
    bed.run_until(lambda: leader.peers["n3"].state == "installing", 1000)
    peer = leader.peers["n3"]
    asked = peer.installing

    def again(within_ms: int) -> None:
        count = peer.installs
        bed.run(within_ms - 2)
        assert peer.installs == count
        bed.run(4)
        assert peer.installs == count + 1

    began = bed.now
    bed.run_until(lambda: peer.installs == 2, 600)
    assert 495 * MS <= bed.now - began <= 505 * MS
    bed.deliver("n3", "n1", InstallSnapshotReply(leader.term, peer.probe_call, False, "busy"))
    again(50)
    bed.step("n1", Disconnected("n3"))
    again(50)
    bed.propose("n1")
    bed.run(20)
    saved(bed, "n1")
    assert peer.installing == asked, "the log still goes on from the one that is being pulled"
    bed.run(600)
    assert peer.installing == asked
    bed.propose("n1")
    bed.run(20)
    saved(bed, "n1")
    bed.run(600)
    assert peer.installing == leader.snapshot != asked


def test_an_answer_to_an_install_raises_no_term_and_counts_once() -> None:
    """2.3: the exception of install_snapshot responses; other calls and terms are nobody's answer."""
    bed = far_behind()
    bed.members["n3"].disk.fetch_ns = SECOND
    leader = bed.core("n1")
    bed.heal()
    bed.run_until(lambda: leader.peers["n3"].state == "installing", 1000)
    peer, term = leader.peers["n3"], leader.term
    for answer in (
        InstallSnapshotReply(term + 5, peer.probe_call, False, "stale_term"),
        InstallSnapshotReply(term - 1, peer.probe_call, True),
        InstallSnapshotReply(term, peer.probe_call - 1, True),
    ):
        bed.deliver("n3", "n1", answer)
    assert (leader.state, leader.term, peer.state) == ("leader", term, "installing")
    assert peer.match < leader.log.base


# ---- the follower --------------------------------------------------------------------------------


def test_the_checks_of_an_install_come_in_order() -> None:
    """3.10: term; have it; saving; the same again; older; newer."""
    raft = member(9, 9, 9, 9)
    assert replies(install(raft, meta(50, 9), term=8)) == [(7, "stale_term")]
    raft.step(Received("n2", AppendEntries(9, 1, 4, 9, 3, 0, [])), 0)
    assert raft.leader_id == "n2"
    assert replies(install(raft, meta(3, 9), 1)) == [(1, "")]
    raft.step(TakeSnapshot(1), 0)
    assert replies(install(raft, meta(50, 9), 2)) == [(2, "busy")]
    raft.step(SnapshotSaved(meta(3, 9)), 0)
    out = install(raft, meta(50, 9), 3)
    assert (replies(out), out.snapshots) == ([], [Download("n2", meta(50, 9))])
    again = install(raft, meta(50, 9), 4)
    assert (replies(again), again.snapshots) == ([(3, "replaced")], [])
    assert replies(install(raft, meta(50, 9), 4)) == []
    assert replies(install(raft, meta(40, 9), 5)) == [(5, "invalid")]
    newer = install(raft, meta(60, 9), 6)
    assert (replies(newer), newer.snapshots) == ([(6, "busy")], [CancelDownload()])
    assert install(raft, meta(60, 9), 7).snapshots == [Download("n2", meta(60, 9))]


def test_an_install_makes_its_sender_the_leader_but_renews_no_promise() -> None:
    """2.3 and 3.6: term >= T steps down and follows; the follower lease is renewed by appends alone."""
    raft = member()
    raft.promise.reset()
    out = install(raft, meta(5, 10), term=11)
    assert (raft.leader_id, raft.term) == ("n2", 11)
    assert raft.promise.remaining(0) == 0
    assert out.snapshots == [Download("n2", meta(5, 10))]


@pytest.mark.parametrize(
    ("terms", "offered", "kept", "reset"),
    [
        ((8, 9, 9, 9), meta(2, 9), [3, 4], None),
        ((8, 9), meta(2, 9), [], None),
        ((8, 8), meta(5, 9), [], (5, 9)),
        ((8, 8, 8, 8), meta(2, 9), [], (2, 9)),
        ((), meta(5, 9), [], (5, 9)),
    ],
    ids=["the rest fits", "it ends there", "too short", "another term", "empty"],
)
def test_what_becomes_of_the_log(
    terms: tuple[int, ...],
    offered: SnapshotMeta,
    kept: list[int],
    reset: tuple[int, int] | None,
) -> None:
    """3.10: term at last_included equal: keep the suffix; unknown: drop all; different: reset to last_included + 1."""
    raft = member(*terms)
    install(raft, offered)
    out = raft.step(Downloaded(offered, True), 0)
    assert out.snapshots == [LoadSnapshot(offered)]
    assert [each.index for each in raft.log.entries] == kept
    assert (raft.log.base, raft.log.base_term) == (offered.index, offered.term)
    assert (raft.commit, raft.snapshot) == (offered.index, offered)
    assert [(persist.reset, persist.cut_to) for persist in out.persist] == [
        (reset, 0 if reset else offered.index)
    ]
    names = [event.name for event in out.events if event.name != "conf_change"]
    if reset is None:
        assert names == ["snapshot_loaded", "log_cut"]
        assert replies(out) == [(7, "")]
        return
    assert (names, replies(out)) == (["snapshot_loaded"], []), "the reset is not durable yet"
    durable = raft.step(Persisted(raft.token), 0)
    assert [event.name for event in durable.events] == ["log_reset"]
    assert replies(durable) == [(7, "")]


def test_the_configuration_comes_with_the_snapshot() -> None:
    """2.1: configuration = the last one in log or snapshot; a change in the dropped log is forgotten."""
    joint = Configuration(("n1", "n4"), MEMBERS)
    raft = member(8, 8)
    offered = meta(5, 9, joint)
    install(raft, offered)
    raft.step(Downloaded(offered, True), 0)
    assert raft.conf == joint
    assert raft.others == ("n2", "n3", "n4")


def test_a_snapshot_behind_what_was_applied_is_not_loaded() -> None:
    """3.10, ESTALE: appends that were under way went further than the snapshot meanwhile."""
    raft = member(9, 9)
    install(raft, meta(3, 9))
    raft.step(Received("n2", AppendEntries(9, 1, 2, 9, 4, 0, [entry(3, 9), entry(4, 9)])), 0)
    raft.step(Persisted(raft.token), 0)
    assert raft.commit == 4
    out = raft.step(Downloaded(meta(3, 9), True), 0)
    assert (out.snapshots, replies(out), raft.commit) == ([], [(7, "stale")], 4)


def test_a_failed_download_is_answered_and_another_ones_end_ignored() -> None:
    """3.10: the leader tries again; who was cancelled is not heard any more."""
    raft = member()
    install(raft, meta(5, 9))
    assert raft.step(Downloaded(meta(4, 9), True), 0) == Effects()
    assert replies(raft.step(Downloaded(meta(5, 9), False), 0)) == [(7, "download_failed")]
    assert raft.step(Downloaded(meta(5, 9), True), 0) == Effects()


def test_stepping_down_interrupts_a_download_and_the_next_leader_has_it_resumed() -> None:
    """2.3: step_down interrupts the download; the same snapshot from another leader is asked for again."""
    raft = member()
    install(raft, meta(5, 9))
    out = raft.step(Received("n3", RequestVote(10, 1, 9, 9)), 2 * SECOND)
    assert out.snapshots == [CancelDownload()]
    offer = InstallSnapshot(11, 8, meta(5, 9))
    out = raft.step(Received("n3", offer), 2 * SECOND)
    assert out.snapshots == [Download("n3", meta(5, 9))]
    raft.step(Persisted(raft.token), 2 * SECOND)
    out = raft.step(Downloaded(meta(5, 9), True), 2 * SECOND)
    assert out.snapshots == [LoadSnapshot(meta(5, 9))]


def test_who_installs_a_snapshot_does_not_stand_for_election() -> None:
    """3.2: refused while installing, whoever asks for it; afterwards as ever."""
    raft = member(options=Options())
    install(raft, meta(5, 9))
    for second in range(1, 5):
        assert raft.step(Tick(), second * SECOND).messages == []
    raft.step(Downloaded(meta(5, 9), False), 5 * SECOND)
    assert len(raft.step(Tick(), 6 * SECOND).messages) == 2


def test_who_is_made_a_candidate_loads_nothing_any_more() -> None:
    """A leader must never load: what was being pulled is given up when a candidacy begins."""
    raft = member()
    install(raft, meta(5, 9))
    raft.out = Effects()
    election.elect_self(raft)
    assert raft.out.snapshots == [CancelDownload()]
    assert raft.snapshots.downloading is None


# ---- boot ----------------------------------------------------------------------------------------


def test_a_life_goes_on_from_snapshot_and_log() -> None:
    """2.1: what the snapshot covers is committed and applied, the rest of the log is not yet."""
    raft = member(9, 9, 9, base=(3, 9), snapshot=meta(4, 9))
    assert (raft.commit, raft.applied, raft.log.first_index, raft.log.last_index) == (4, 4, 4, 6)
    assert raft.step(Tick(), 0).persist == []


@pytest.mark.parametrize(
    ("terms", "snapshot"),
    [((9, 9), meta(7, 9)), ((8, 8, 8, 8, 8), meta(5, 9)), ((), meta(4, 9))],
    ids=["the log is shorter", "the log differs", "the log is empty"],
)
def test_a_death_between_install_and_reset_is_made_good(
    terms: tuple[int, ...], snapshot: SnapshotMeta
) -> None:
    """3.10: the snapshot was durable first; the log it replaced is forgotten with the first step."""
    raft = member(*terms, base=(2, 8), snapshot=snapshot)
    assert (raft.log.base, raft.log.last_index) == (snapshot.index, snapshot.index)
    out = raft.step(Tick(), 0)
    assert [persist.reset for persist in out.persist] == [(snapshot.index, 9)]
    assert "log_reset" in [e.name for e in raft.step(Persisted(raft.token), 0).events]


def test_a_gap_between_snapshot_and_log_is_refused() -> None:
    """2.1: check there is no gap."""
    with pytest.raises(ValueError, match="begins at 6, but the newest snapshot ends at 4"):
        member(9, base=(5, 9), snapshot=meta(4, 9))
    with pytest.raises(ValueError, match="begins at 6, but the newest snapshot ends at 0"):
        member(9, base=(5, 9))


# ---- the log -------------------------------------------------------------------------------------


def test_what_a_snapshot_covers_is_on_this_disk() -> None:
    """A cut may pass what was synced of the log; nothing may ask for a term below the base then."""
    log = Log([entry(1, 1)], GROUP)
    log.extend([entry(2, 1), entry(3, 2)])
    log.handed_over(1)
    log.cut_to(2)
    assert (log.flushed, log.flushed_term) == (2, 1)
    log.persisted(1)
    assert (log.flushed, log.flushed_term) == (3, 2)


def test_acknowledgements_that_waited_for_a_reset_log_are_true_or_not_given() -> None:
    """3.9: an append that waits for the disk while a snapshot replaces the log covers nothing beyond it."""
    raft = member(8)
    install(raft, meta(5, 9))
    raft.step(Received("n2", AppendEntries(9, 1, 1, 8, 0, 0, [entry(2, 8), entry(3, 8)])), 0)
    token = raft.token
    raft.step(Downloaded(meta(5, 9), True), 0)
    out = raft.step(Persisted(token), 0)
    (reply,) = [m for _, m in out.messages if isinstance(m, AppendEntriesReply)]
    assert (reply.success, reply.match) == (True, 3)
    assert raft.log.flushed == 5
    assert snapshotting.status(raft) == {"state": "idle", "index": 5, "term": 9, "size": 8}
