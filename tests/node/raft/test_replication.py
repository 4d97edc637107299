"""Replication, commit and durability (Raft paper 5.3 and 5.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.raft.configuration import Configuration
from node.raft.effects import (
    Committed,
    Disconnected,
    Failed,
    HardState,
    Options,
    Persisted,
    Propose,
    Read,
    Received,
    Tick,
)
from node.raft.log import Log
from node.raft.messages import (
    CONFIGURATION,
    DATA,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    Message,
)
from node.raft.raft import Raft
from tests.node.raft.bed import MS, Bed

MANUAL = Options(elections=False, leader_lease=False, check_quorum=False)
SECOND = 1000 * MS
NOBODY = Configuration(())


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, DATA, b"", 0)


def entries(*terms: int) -> list[Entry]:
    return [entry(index, term) for index, term in enumerate(terms, 1)]


def follower(*terms: int, term: int = 9) -> Raft:
    log = entries(*terms)
    return Raft("n1", ["n1", "n2", "n3"], MANUAL, HardState(term), log, False, b"", 0)


def append(prev: int, prev_term: int, new: list[Entry], commit: int = 0, term: int = 9) -> Received:
    return Received("n2", AppendEntries(term, 7, prev, prev_term, commit, 0, new))


def terms(raft: Raft) -> list[int]:
    return [item.term for item in raft.log.entries]


def appends(bed: Bed, to: str) -> list[AppendEntries]:
    return [m for _, _, who, m in bed.sent if who == to and isinstance(m, AppendEntries)]


# ---- the follower --------------------------------------------------------------------------------


def test_an_append_is_acknowledged_when_it_is_on_disk_and_commits_no_further() -> None:
    """3.9: reply after disk; commit = min(leader commit, prev + count)."""
    raft = follower(1)
    out = raft.step(append(1, 1, [entry(2, 9), entry(3, 9)], commit=50), MS)
    assert not out.messages
    out = raft.step(Persisted(out.persist[0].token), 2 * MS)
    assert out.messages == [("n2", AppendEntriesReply(9, 7, True, 3, 3, 1, 0))]
    assert [event.name for event in out.events] == ["append_ack", "commit", "apply"]
    assert raft.commit == 3


def test_a_heartbeat_answers_at_once_with_what_is_on_disk() -> None:
    """3.9: a heartbeat does not wait behind a slow disk, and acknowledges nothing that is not on
    it.
    """
    raft = follower(1)
    token = raft.step(append(1, 1, [entry(2, 9)]), MS).persist[0].token
    out = raft.step(append(2, 9, [], commit=2), 2 * MS)
    assert out.messages == [("n2", AppendEntriesReply(9, 7, True, 1, 2, 2, 0))]
    assert raft.commit == 1
    raft.step(Persisted(token), 3 * MS)
    raft.step(append(2, 9, [], commit=2), 4 * MS)
    assert raft.commit == 2


def test_an_answer_waits_for_the_term_that_it_speaks_of() -> None:
    """2.1 and section 5 row 9: an adopted term is durable before anybody hears of it."""
    raft = follower(1, term=3)
    out = raft.step(append(1, 1, []), MS)
    assert not out.messages
    assert out.persist[0].hard_state == HardState(9, "")
    out = raft.step(Persisted(out.persist[0].token), 2 * MS)
    assert [message.term for _, message in out.messages] == [9]


def test_an_append_whose_term_has_passed_while_the_disk_worked_is_refused() -> None:
    """3.9: T is rechecked after the disk write."""
    raft = follower(1)
    first = raft.step(append(1, 1, [entry(2, 9)]), MS).persist[0].token
    newer = Received("n3", AppendEntries(10, 8, 1, 1, 0, 0, []))
    second = raft.step(newer, 2 * MS).persist[0].token
    raft.step(Persisted(first), 3 * MS)
    out = raft.step(Persisted(second), 4 * MS)
    answers = [m for to, m in out.messages if to == "n2" and isinstance(m, AppendEntriesReply)]
    assert [(answer.term, answer.success) for answer in answers] == [(10, False)]


@pytest.mark.parametrize(
    ("have", "prev", "prev_term", "new", "after", "cut"),
    [
        ((1, 1, 2), 3, 2, (3,), (1, 1, 2, 3), 0),
        ((1, 1, 2), 1, 1, (1, 2), (1, 1, 2), 0),
        ((1, 1, 2), 1, 1, (1,), (1, 1, 2), 0),
        ((1, 1, 2), 1, 1, (1, 3), (1, 1, 3), 3),
        ((1, 1, 2), 0, 0, (1, 3), (1, 3), 2),
        ((1, 1, 2), 2, 1, (2, 3), (1, 1, 2, 3), 0),
        ((), 0, 0, (1,), (1,), 0),
    ],
)
def test_only_what_differs_is_cut(
    have: tuple[int, ...],
    prev: int,
    prev_term: int,
    new: tuple[int, ...],
    after: tuple[int, ...],
    cut: int,
) -> None:
    """3.9 conflict rule: skip equal entries, cut from the first that differs, append the rest."""
    raft = follower(*have)
    added = [entry(prev + 1 + offset, term) for offset, term in enumerate(new)]
    out = raft.step(append(prev, prev_term, added), MS)
    assert tuple(terms(raft)) == after
    assert "truncate" not in [event.name for event in out.events], "the cut is not on disk yet"
    told = raft.step(Persisted(raft.token), 2 * MS)
    assert [event.fields["from"] for event in told.events if event.name == "truncate"] == (
        [cut] if cut else []
    )
    assert [persist.truncate_from for persist in out.persist if persist.entries] == (
        [cut] if len(after) != len(have) or cut else []
    )


def test_a_cut_below_commit_is_fatal() -> None:
    """3.9: truncating below applied breaks an invariant; the log is left alone."""
    raft = follower(1, 1)
    raft.step(append(2, 1, [], commit=2), MS)
    out = raft.step(append(1, 1, [entry(2, 9)]), 2 * MS)
    assert "must cut its log from 2" in out.fatal
    assert terms(raft) == [1, 1]


@pytest.mark.parametrize(
    ("have", "prev", "prev_term", "hint"),
    [((1, 1), 5, 9, 2), ((1, 1, 2, 2, 2), 5, 9, 2), ((1, 1), 2, 9, 0), ((), 1, 9, 0)],
)
def test_a_refusal_echoes_prev_and_says_where_the_logs_may_still_agree(
    have: tuple[int, ...], prev: int, prev_term: int, hint: int
) -> None:
    """3.9: term at prev must be equal; the hint skips the whole run of the conflicting term."""
    out = follower(*have).step(append(prev, prev_term, []), MS)
    assert out.messages == [("n2", AppendEntriesReply(9, 7, False, 0, hint, prev, 0))]


def test_a_refusal_for_the_log_still_renews_the_promise_but_an_old_term_does_not() -> None:
    """3.6: renewed on everything accepted as from the current leader, before log matching."""
    raft = follower(1)
    raft.step(append(5, 9, []), 100 * MS)
    raft.step(append(1, 1, [], term=8), 200 * MS)
    assert raft.promise.stamp_ns == 100 * MS


def test_a_sync_of_cut_entries_does_not_count_for_their_successors() -> None:
    """3.1: what is flushed is told by token, and a truncation takes it back."""
    log = Log(entries(1, 1), NOBODY)
    log.append(entry(3, 1))
    log.handed_over(1)
    log.truncate(3)
    log.extend([entry(3, 2), entry(4, 2)])
    log.handed_over(2)
    log.persisted(1)
    assert log.flushed == 2
    log.persisted(2)
    assert log.flushed == 4


# ---- the leader ----------------------------------------------------------------------------------


def test_a_leader_starts_with_an_entry_of_its_own_term_and_empty_probes() -> None:
    """3.5: probes at the end of the old log, then the first entry of the term."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    raft = bed.core("n1")
    first = raft.log.entries[raft.term_start - 1]
    assert (first.term, first.kind) == (raft.term, CONFIGURATION)
    assert [message.entries for message in appends(bed, "n2")[:2]] == [[], [first]]
    assert [event.fields["last_index"] for event in bed.named("become_leader")] == [first.index - 1]


def test_a_command_is_answered_by_its_own_entry() -> None:
    """3.9 client closure: the token comes with the entry that the command became."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    tokens = [bed.propose("n1") for _ in range(20)]
    bed.run(50)
    answers = [bed.answers[token] for token in tokens]
    assert [a.entry.data for a in answers if isinstance(a, Committed)] == [
        f"command {token}".encode() for token in tokens
    ]
    bed.run(100)
    assert {bed.core(name).commit for name in bed.names} == {bed.core("n1").log.last_index}


def test_only_a_leader_takes_commands() -> None:
    """3.9: elsewhere a definite failure with the leader's name."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    token = bed.propose("n2")
    assert bed.answers[token] == Failed(token, "not_leader", True, "n1")


def test_a_deposed_leader_knows_nothing_of_its_pending_commands() -> None:
    """3.9 and section 5 row 53: stepped down is indefinite for commands."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.isolate("n1")
    token = bed.propose("n1")
    bed.elect("n2")
    bed.heal()
    bed.run(200)
    assert bed.answers[token] == Failed(token, "stepped_down", False, "")


def test_the_leaders_own_copy_counts_only_from_disk_yet_appends_leave_before() -> None:
    """3.9: own acknowledgement after the disk write; a quorum of others does without it."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    bed.members["n1"].disk.delay_ns = None
    bed.isolate("n3")
    before = bed.core("n1").commit
    bed.propose("n1")
    bed.run(50)
    assert bed.core("n2").log.flushed == before + 1
    assert bed.core("n1").commit == before
    bed.heal()
    bed.run(300)
    assert bed.core("n1").commit == before + 1
    assert bed.core("n1").log.flushed == before
    bed.isolate("n3")
    bed.propose("n1")
    bed.run(50)
    bed.sync("n1")
    assert bed.core("n1").commit == before + 2


def test_appends_are_pipelined_up_to_the_window_and_batched_after_it() -> None:
    """3.9 window: max_inflight_appends unanswered, then everything that gathered goes as one."""
    options = Options(
        elections=False, max_inflight_appends=3, leader_lease=False, append_timeout_ms=1000
    )
    bed = Bed(2, options)
    bed.elect("n1")
    bed.run(100)
    bed.sent.clear()
    for _ in range(10):
        bed.propose("n1")
    assert [len(m.entries) for m in appends(bed, "n2")] == [1, 1, 1]
    bed.run(20)
    assert [len(m.entries) for m in appends(bed, "n2") if m.entries] == [1, 1, 1, 7]


def test_a_batch_keeps_to_its_bytes_but_always_moves() -> None:
    """3.9: the body limit is soft; one entry larger than it still goes."""
    log = Log([Entry(index, 1, DATA, b"x" * 10, 0) for index in range(1, 6)], NOBODY)
    assert [len(log.slice(1, *limits)) for limits in ((9, 1), (9, 25), (3, 999), (9, 999))] == [
        1,
        2,
        3,
        5,
    ]
    assert [item.index for item in log.slice(4, 9, 999)] == [4, 5]


def test_a_lost_append_is_probed_for_after_its_deadline() -> None:
    """A8 mended: an append has a deadline; then its peer, and only its peer, is probed anew."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)

    def to_n2_with_entries(_from: str, to: str, message: Message) -> bool:
        return to == "n2" and isinstance(message, AppendEntries) and bool(message.entries)

    bed.rule = to_n2_with_entries
    bed.propose("n1")
    bed.run(200)
    bed.rule = None
    assert bed.core("n1").peers["n2"].state == "appending"
    errors = bed.core("n1").peers["n3"].errors
    bed.run(60)
    assert bed.core("n2").log.last_index == bed.core("n1").log.last_index
    assert bed.core("n1").peers["n3"].errors == errors == 0


def test_one_refusal_makes_one_probe_to_that_peer_alone() -> None:
    """3.9: a rejected prev moves one replicator; a copy of the refusal moves nothing."""
    raft = Raft(
        "n1", ["n1", "n2", "n3"], MANUAL, HardState(3), entries(1, 2, 3), False, b"", 10 * SECOND
    )
    raft.triggered = True
    raft.promise.reset()
    raft.raise_term(4)
    raft.become_leader()
    probe = next(iter(raft.peers["n2"].sent))
    refusal = Received("n2", AppendEntriesReply(4, probe, False, 0, 1, 3, 0))
    out = raft.step(refusal, 11 * SECOND)
    assert [(to, m.prev_index) for to, m in out.messages if isinstance(m, AppendEntries)] == [
        ("n2", 1)
    ]
    assert not raft.step(refusal, 11 * SECOND).messages


def leading(options: Options = MANUAL) -> Raft:
    """n1 leads term 4 over the log (1, 2, 3) plus its first entry; n2's probe has been answered."""
    raft = Raft("n1", ["n1", "n2", "n3"], options, HardState(3), entries(1, 2, 3), False, b"", 0)
    raft.raise_term(4)
    raft.become_leader()
    probe = raft.peers["n2"].probe_call
    raft.step(Received("n2", AppendEntriesReply(4, probe, True, 3, 3, 3, 0)), MS)
    return raft


def test_refusals_of_a_whole_window_make_one_probe() -> None:
    """One rejected append must not end in a storm of resends."""
    raft = leading()
    for token in range(1, 4):
        raft.step(Propose(token, b"", 0), 2 * MS)
    calls = [call for call, _, _ in raft.peers["n2"].inflight]
    assert len(calls) == 4
    probes = []
    for offset, call in enumerate(calls):
        refusal = AppendEntriesReply(4, call, False, 0, 1, 3 + offset, 0)
        probes += raft.step(Received("n2", refusal), 3 * MS).messages
    assert [(to, m.prev_index) for to, m in probes if isinstance(m, AppendEntries)] == [("n2", 1)]


def test_a_refusal_because_of_the_log_still_says_that_the_leader_was_accepted() -> None:
    """3.6: log-mismatch answers count for the lease's stamp; so they do for a round of reads."""
    raft = leading(Options(elections=False))
    raft.step(
        Received("n2", AppendEntriesReply(4, next(iter(raft.peers["n2"].sent)), True, 4, 4, 3, 0)),
        MS,
    )
    raft.step(Persisted(raft.token), MS)
    assert raft.commit == 4
    out = raft.step(Read(9, "readindex"), 2 * MS)
    call = next(m.call for to, m in out.messages if to == "n3" and isinstance(m, AppendEntries))
    out = raft.step(Received("n3", AppendEntriesReply(4, call, False, 0, 0, 0, 1)), 5 * MS)
    assert [ready.token for ready in out.reads] == [9]
    assert raft.peers["n3"].last_rpc_send == 2 * MS
    higher = AppendEntriesReply(5, call, False, 0, 0, 0, 1)
    assert not raft.step(Received("n3", higher), 6 * MS).reads
    assert raft.state == "follower"


def test_a_long_conflicting_tail_is_found_with_one_refusal_a_term() -> None:
    """3.9 mismatch, with the hint of last_possible_match."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    for _ in range(200):
        bed.propose("n1")
    bed.elect("n2")
    for _ in range(300):
        bed.propose("n2")
    bed.run(100)
    bed.sent.clear()
    bed.heal()
    bed.run(400)
    assert bed.core("n1").commit == bed.core("n2").commit
    refused = [m for _, _, _, m in bed.sent if isinstance(m, AppendEntriesReply) and not m.success]
    assert len(refused) <= 6


def test_a_batch_of_an_earlier_leadership_is_not_sent_again() -> None:
    """Peers share one batch per place in the log; the next leadership may hold others there."""
    raft = Raft("n1", ["n1", "n2"], MANUAL, HardState(3), entries(1), False, b"", 0)
    raft.raise_term(4)
    raft.become_leader()
    raft.step(Propose(1, b"", 0), MS)
    assert [item.term for item in raft.batch(2)] == [4, 4]
    raft.step(append(1, 1, [entry(2, 5)], term=5), 2 * MS)
    raft.raise_term(6)
    raft.become_leader()
    assert terms(raft) == [1, 5, 6]
    assert [item.term for item in raft.batch(2)] == [5, 6]


def test_a_stale_answer_moves_nothing() -> None:
    """Section 5 row 41: answers are matched by call and term, each counts once."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    raft = bed.core("n1")
    match = raft.peers["n2"].match
    for call in (0, 1, raft.next_call()):
        reply = AppendEntriesReply(raft.term, call, True, 99, 99, 98, 99)
        bed.step("n1", Received("n2", reply))
    assert (raft.peers["n2"].match, raft.peers["n2"].acked_round) == (match, 0)


def test_a_lost_connection_is_probed_a_heartbeat_later() -> None:
    """3.9 errors: roll back over what was in flight, wait H, probe."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    bed.cuts = {("n1", "n2")}
    bed.propose("n1")
    bed.step("n1", Disconnected("n2"))
    peer = bed.core("n1").peers["n2"]
    assert (peer.state, peer.errors, len(peer.inflight)) == ("probing", 1, 0)
    bed.heal()
    bed.run(60)
    assert (peer.state, peer.errors, peer.match) == ("idle", 0, bed.core("n1").log.last_index)


def test_heartbeats_keep_their_pace_beside_appends() -> None:
    """2.2: H after the previous one, whatever else is sent, and with the known match as prev."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(500)
    before = bed.core("n1").peers["n2"].heartbeats
    for _ in range(500):
        bed.propose("n1")
        bed.run(2)
    assert 19 <= bed.core("n1").peers["n2"].heartbeats - before <= 20


def test_entries_of_earlier_terms_commit_only_with_one_of_the_own_term() -> None:
    """3.9 commit rule (Raft figure 8): counting starts at the leader's first entry."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    old = bed.core("n1").commit
    bed.isolate("n3")

    def acknowledgements(_from: str, to: str, message: Message) -> bool:
        return to == "n1" and isinstance(message, AppendEntriesReply)

    bed.rule = acknowledgements
    bed.propose("n1")
    bed.run(20)

    def own_entry(source: str, _to: str, message: Message) -> bool:
        return source == "n2" and isinstance(message, AppendEntries) and message.prev_index > old

    bed.rule = own_entry
    bed.isolate("n1")
    bed.cuts -= {("n2", "n3"), ("n3", "n2")}
    bed.run_until(lambda: _leading(bed, "n2"), 3000)
    bed.run(400)
    assert bed.core("n3").log.last_index >= old
    assert bed.core("n2").commit == old
    bed.rule = None
    bed.run(400)
    assert bed.core("n2").commit == old + 2


def _leading(bed: Bed, name: str) -> bool:
    if bed.core(name).state == "follower" and not bed.core(name).triggered:
        bed.vote(name)
    return bed.core(name).state == "leader"


def test_a_single_member_commits_with_its_own_disk() -> None:
    """3.9: a quorum of one."""
    bed = Bed(1, Options())
    bed.elect("n1")
    bed.members["n1"].disk.delay_ns = None
    token = bed.propose("n1")
    assert token not in bed.answers
    bed.sync("n1")
    assert isinstance(bed.answers[token], Committed)


def test_early_and_late_ticks_are_harmless() -> None:
    """The face: a tick before its deadline changes nothing, one long after it is one tick."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    for _ in range(10):
        assert not bed.step("n1", Tick()).messages
    sent = len(bed.step("n2", Tick()).messages)
    assert sent == 0


def test_status_lists_one_replicator_a_peer_and_none_after_stepping_down() -> None:
    """Q6 and section 4."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    status = bed.core("n1").status()
    assert (status["state"], status["leader_id"], status["commit"], status["applied"]) == (
        "leader",
        "n1",
        1,
        1,
    )
    assert set(status["peers"]) == {"n2", "n3"}
    assert status["peers"]["n2"]["state"] == "idle"
    assert status["lease"]["state"] == "disabled"
    bed.step("n1", Received("n2", AppendEntries(9, 1, 0, 0, 0, 0, [])))
    assert bed.core("n1").status()["peers"] == {}


def test_a_command_during_the_probe_follows_it() -> None:
    """3.9: nothing is sent blindly before both logs are known to agree."""
    raft = Raft("n1", ["n1", "n2"], MANUAL, HardState(3), [], False, b"", 0)
    raft.raise_term(4)
    raft.become_leader()
    assert not raft.step(Propose(1, b"", 0), MS).messages
    probe = raft.peers["n2"].probe_call
    out = raft.step(Received("n2", AppendEntriesReply(4, probe, True, 0, 0, 0, 0)), 2 * MS)
    assert [len(m.entries) for _, m in out.messages if isinstance(m, AppendEntries)] == [2]


@given(st.lists(st.integers(1, 4), max_size=12), st.integers(1, 12))
def test_the_hint_is_the_end_of_the_previous_term(raw: list[int], index: int) -> None:
    """Log.last_possible_match against a plain search."""
    log = Log(entries(*sorted(raw)), NOBODY)
    if index > log.last_index:
        assert log.last_possible_match(index) == log.last_index
    else:
        expected = index
        while expected and log.term_at(expected) == log.term_at(index):
            expected -= 1
        assert log.last_possible_match(index) == expected


def test_commands_that_come_together_leave_in_one_append() -> None:
    """3.9: batches; `more` holds the append back until the last of them."""
    bed = Bed(3, Options(elections=False))
    bed.elect("n1")
    bed.run(50)
    core = bed.core("n1")
    steps = [core.step(Propose(100 + i, b"", 0, more=i < 3), bed.now) for i in range(4)]
    appends = [
        [m for _, m in out.messages if isinstance(m, AppendEntries) and m.entries] for out in steps
    ]
    assert [len(sent) for sent in appends] == [0, 0, 0, 2]
    assert {len(m.entries) for m in appends[3]} == {4}
    assert [len(persist.entries) for out in steps for persist in out.persist] == [1, 1, 1, 1]
