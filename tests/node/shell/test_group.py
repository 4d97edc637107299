"""Three real processes: they elect, commit, answer and refuse."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import trio

from checkers.records import events
from node.api import AdminError, Outcome, cut_to_synced, read_synced
from tests.node.shell.group import Group


@pytest.fixture
def group() -> Iterator[Group]:
    with Group() as group:
        group.start_all()
        yield group


async def test_a_group_elects_and_every_kind_of_operation_is_answered(group: Group) -> None:
    """Writes tell index and term, a cas what it saw, reads by every mode the newest value."""
    leader = await group.leader()
    term = (await group.status(leader))["term"]
    client = group.client(leader)
    with trio.fail_after(10):
        wrote = await client.call("write", "x", 1, None, 1000)
        assert (wrote.kind, wrote.value, wrote.term) == ("ok", 1, term)
        swapped = await client.call("cas", "x", {"from": 1, "to": 2}, None, 1000)
        assert swapped.value == {"from": 1, "to": 2, "swapped": True}
        assert wrote.log_index is not None
        assert swapped.log_index == wrote.log_index + 1
        refused = await client.call("cas", "x", {"from": 9, "to": 3}, None, 1000)
        assert refused.value == {"from": 9, "to": 3, "swapped": False, "saw": 2}
        for mode in ("lease", "readindex", "local"):
            read = await client.call("read", "x", None, mode, 1000)
            assert (read.kind, read.value, read.term) == ("ok", 2, term)
        assert (await client.call("read", "never", None, "lease", 1000)).value is None
        wrong = await client.call("read", "x", None, "no_such", 1000)
        assert wrong == Outcome("fail", error="bad_read_mode", leader=leader)
    client.close()


async def test_a_follower_refuses_definitely_and_names_the_leader(group: Group) -> None:
    """Q8: a follower takes no writes and has no lease; nothing was done, so every refusal is definite."""
    leader = await group.leader()
    refusal = Outcome("fail", error="not_leader", leader=leader)
    writer = group.client(leader)
    done = await writer.call("write", "x", 5, None, 1000)
    for follower in group.others(leader):
        client = group.client(follower)
        assert await client.call("read", "x", None, "lease", 1000) == refusal
        assert await client.call("write", "x", 1, None, 1000) == refusal
        await group.until(follower, lambda status: status["applied"] >= (done.log_index or 0))
        assert (await client.call("read", "x", None, "local", 1000)).value == 5
        client.close()
    writer.close()


async def test_a_write_whose_leader_steps_down_is_unknown_and_a_late_answer_is_not_given(
    group: Group,
) -> None:
    """3.9: pending at step-down is indefinite; deadlines are remaining milliseconds."""
    leader = await group.leader()
    for follower in group.others(leader):
        group.signal(follower, signal.SIGSTOP)
    patient, hasty = group.client(leader, "a"), group.client(leader, "b")
    outcomes: list[Outcome] = []

    async def write_patiently() -> None:
        outcomes.append(await patient.call("write", "x", 1, None, 5000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_patiently)
        with trio.move_on_after(2.5) as scope:
            await hasty.call("write", "y", 1, None, 50)
        assert scope.cancelled_caught
        assert not hasty.connected
    assert outcomes == [Outcome("info", error="stepped_down", leader="")]
    read = group.client(leader, "c")
    refused = await read.call("read", "x", None, "readindex", 1000)
    assert (refused.kind, refused.error) == ("fail", "not_leader")
    for follower in group.others(leader):
        group.signal(follower, signal.SIGCONT)
    await group.leader()
    for client in (patient, read):
        client.close()


async def test_errors_before_the_first_byte_are_definite_and_after_it_unknown(
    group: Group,
) -> None:
    """Nobody listens: fail. The node dies with the request: info."""
    leader = await group.leader()
    for follower in group.others(leader):
        group.signal(follower, signal.SIGSTOP)
    client = group.client(leader)
    outcomes: list[Outcome] = []

    async def write() -> None:
        outcomes.append(await client.call("write", "x", 1, None, 5000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await group.until(leader, lambda status: status["pending"] == 1)
        group.kill(leader)
    assert (outcomes[0].kind, client.sent) == ("info", True)
    nobody = await client.call("write", "x", 2, None, 1000)
    assert (nobody.kind, client.sent) == ("fail", False)


async def test_status_tells_everything_that_section_4_asks_for(group: Group) -> None:
    """Section 4: state, term, log, timers, lease, replicators, stamps and counters."""
    leader = await group.leader()
    client = group.client(leader)
    for value in range(20):
        assert (await client.call("write", "x", value, None, 1000)).kind == "ok"
    last = 21
    follower = group.others(leader)[0]
    await group.until(follower, lambda status: status["commit"] == last)
    await trio.sleep(0.1)
    lead, follow = await group.status(leader), await group.status(follower)
    for status in (lead, follow):
        assert (status["commit"], status["applied"], status["last_log_id"]) == (
            last,
            last,
            [last, lead["term"]],
        )
        assert status["term"] == lead["term"]
        assert status["leader_id"] == leader
        counters = status["counters"]
        assert counters["syncs"] == counters["batches"] > 1
        assert counters["records"] >= last
        assert counters["bytes_written"] > 100
        assert status["storage"]["synced"] == read_synced(status["storage"]["folder"])
        assert status["storage"]["waiting_bytes"] == 0
        assert status["clock"] == {"rate": 1.0, "offset_ns": 0}
        assert (status["boot"], status["keys"], status["sessions"]) == (1, 1, 1)
        assert set(status["links"].values()) == {"up"}
        assert status["bugs"] == {}
    assert (lead["state"], follow["state"]) == ("leader", "follower")
    assert lead["timers"]["election"] is None
    assert 0 <= lead["timers"]["step_down"] <= 500
    assert lead["lease"]["state"] == "valid"
    assert 0 < lead["lease"]["remaining_ns"] <= 500_000_000
    assert lead["lease"]["epoch"] == 1
    assert set(lead["peers"]) == set(group.others(leader))
    for peer in lead["peers"].values():
        assert (peer["next_index"], peer["match"], peer["inflight"]) == (last + 1, last, 0)
        assert peer["state"] == "idle"
        assert peer["appends"] > 0
        assert peer["heartbeats"] > 0
        assert 0 <= peer["last_rpc_send_age_ns"] < 500_000_000
        assert 0 <= peer["heartbeat_remaining_ms"] <= 50
    assert follow["peers"] == {}
    assert 0 <= follow["timers"]["election"] <= 100
    assert follow["timers"]["step_down"] is None
    assert follow["lease"]["state"] == "expired"
    assert 0 < follow["votable_ns"] <= 625_000_000
    assert follow["last_received"][leader] > 0
    assert set(lead["last_answered"]) == set(group.others(leader))
    async with group.admin(follower) as admin:
        _, now, _ = await admin.clock()
    assert 0 < now - follow["last_received"][leader] < 1_000_000_000
    client.close()


async def test_what_was_acknowledged_survives_power_loss_of_all(group: Group) -> None:
    """P-DU: SIGKILL, files cut to what was synced, restart; a retried session stays one write."""
    leader = await group.leader()
    client = group.client(leader)
    for value in range(50):
        assert (await client.call("write", "x", value, None, 1000)).kind == "ok"
    client.close()
    for name in group.names:
        group.signal(name, signal.SIGKILL)
    for name in group.names:
        assert (await group.ended(name))[0] == -signal.SIGKILL
        assert list(cut_to_synced(group.folder / name / "data")) == ["journal.00000001"]
    stored = {name: len(group.stored(name)[1]) for name in group.names}
    assert sum(length >= 51 for length in stored.values()) >= 2
    group.start_all()
    leader = await group.leader()
    reader = group.client(leader, "r")
    assert (await reader.call("read", "x", None, "readindex", 1000)).value == 49
    reader.close()
    for name in group.names:
        boot = group.events(name, 2)[0]
        assert isinstance(boot, events.Boot)
        assert (boot.boot, boot.first_boot, boot.last_index) == (2, False, stored[name])


async def test_a_retry_under_its_number_is_applied_once(group: Group) -> None:
    """Sessions: the second application answers with the first one's result and index."""
    leader = await group.leader()
    client = group.client(leader)
    first = await client.call("cas", "x", {"from": None, "to": 1}, None, 1000)
    assert await client.retry("cas", "x", {"from": None, "to": 1}, None, 1000) == first
    assert (await client.call("read", "x", None, "lease", 1000)).value == 1
    client.close()


async def test_a_retry_of_what_never_left_does_not_pass_for_an_earlier_command(
    group: Group,
) -> None:
    """A number is taken before anything can fail: another command's result must not come back."""
    leader = await group.leader()
    client = group.client(leader)
    first = await client.call("write", "x", 1, None, 1000)
    client.close()
    client._address = ("127.0.0.1", 1)
    assert (await client.call("write", "x", 2, None, 1000)).kind == "fail"
    client._address = ("127.0.0.1", group.client_ports[leader])
    again = await client.retry("write", "x", 2, None, 1000)
    assert again.log_index != first.log_index
    assert (await client.call("read", "x", None, "lease", 1000)).value == 2
    client.close()


async def test_an_admin_vote_moves_the_leadership(group: Group) -> None:
    """3.6: a follower's next tick stands for election without waiting for its promise."""
    leader = await group.leader()
    before = await group.status(leader)
    term, last = before["term"], before["last_index"]
    follower = group.others(leader)[0]
    # Who lacks the newest entry is refused, and the request is not repeated.
    await group.until(follower, lambda status: status["disk_index"] >= last, 5)
    async with group.admin(follower) as admin:
        await admin.vote(20)
    status = await group.until(follower, lambda status: status["state"] == "leader", 5)
    assert status["term"] > term
    reasons = [e.reason for e in group.events(leader) if isinstance(e, events.StepDown)]
    assert reasons == ["higher_term_request"]


async def test_events_decode_and_count_without_gaps(group: Group) -> None:
    """The event files keep the checkers' format: header, seq from 0, t0 before t1, known names."""
    leader = await group.leader()
    client = group.client(leader)
    for value in range(10):
        await client.call("write", "x", value, None, 1000)
        await client.call("read", "x", None, ("lease", "readindex")[value % 2], 1000)
    client.close()
    follower, last = group.others(leader)[0], (await group.status(leader))["last_index"]
    # Who lacks the newest entry is refused, and the request is not repeated.
    await group.until(follower, lambda status: status["disk_index"] >= last, 5)
    async with group.admin(follower) as admin:
        await admin.set_clock(rate=1.1, offset_ns=1000)
        await admin.vote(0)
    await group.until(leader, lambda status: status["state"] == "follower", 5)
    await group.leader()
    for name in group.names:
        group.signal(name, signal.SIGTERM)
        assert await group.ended(name) == (0, "")
        path = group.folder / name / "events.1.jsonl"
        head = json.loads(path.read_bytes().split(b"\n")[0])
        assert (head["format"], head["version"], head["node"], head["boot"]) == (
            "driftline-node-events",
            1,
            name,
            1,
        )
        assert (head["origin_ns"], head["group"]) == (group.origin_ns, "test")
        assert (head["election_timeout_ms"], head["max_clock_drift_ms"]) == (500, 125)
        found = group.events(name)
        assert isinstance(found[0], events.Boot)
        assert [event.seq for event in found] == list(range(len(found)))
        others = {event.event for event in found if isinstance(event, events.Other)}
        assert others <= {"progress", "conf_change"}
        assert all(event.t0 <= event.t1 and event.boot == 1 for event in found)
        assert all(a.t1 <= b.t1 for a, b in pairwise(found))
        applied = [e for e in found if isinstance(e, events.Apply)]
        indices = [e.first + i for e in applied for i in range(len(e.entries))]
        assert indices == list(range(1, len(indices) + 1))
    kinds = Counter(type(event) for event in group.events(leader))
    for kind in (events.Lease, events.LeaseReady, events.ReadIndex, events.Commit):
        assert kinds[kind] > 0


async def test_a_refused_admin_request_says_why(group: Group) -> None:
    """One line, and the node lives on."""
    leader = await group.leader()
    senseless: list[tuple[str, dict[str, Any]]] = [
        ("set_clock", {"rate": 0.0}),
        ("set_clock", {"rate": float("inf")}),
        ("set_clock", {"rate": "fast"}),
        ("set_clock", {"offset_ns": -1}),
        ("set_clock", {"offset_ns": 2**62}),
        ("vote", {}),
        ("no_such", {}),
    ]
    async with group.admin(leader) as admin:
        for what, fields in senseless:
            with pytest.raises(AdminError, match=f"{what}: "):
                await admin._ask(what, **fields)
        assert (await admin.status())["pid"] == group.processes[leader].pid
    assert group.processes[leader].poll() is None


async def test_commands_wait_for_earlier_ones_but_not_for_ever() -> None:
    """RFC 896, with a bound: nothing is committed while the followers stand still, yet every command gets into the log."""
    with Group(3, check_quorum=False) as stalled:
        stalled.start_all()
        leader = await stalled.leader()
        for name in stalled.others(leader):
            stalled.signal(name, signal.SIGSTOP)
        before = (await stalled.status(leader))["last_index"]
        clients = [stalled.client(leader, f"s{number}") for number in range(3)]
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients, 1):
                nursery.start_soon(client.call, "write", "x", number, None, 60_000)
                reached = before + number
                await stalled.until(leader, lambda s, to=reached: s["last_index"] == to)
            assert (await stalled.status(leader))["commit"] < before + 1
            nursery.cancel_scope.cancel()
