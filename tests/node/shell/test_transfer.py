"""Transfers, stops and the operator's requests with real processes."""

from __future__ import annotations

import itertools
import signal
import time
from contextlib import closing

import pytest
import trio
import trio.lowlevel

from checkers.records.events import StepDown
from node.api import AdminError, Client, Outcome
from tests.node.shell.group import Group
from tests.node.shell.test_process import needs_strace

E_MS = 3000
"""Long, so that a successor within E cannot come from promises that ran out (E + D at the earliest)."""


class Load:
    """One client that appends 1, 2, .. to a list and one that reads it by lease, both at whoever leads."""

    def __init__(self, group: Group, leader: str) -> None:
        self.group = group
        self.leader = leader
        self.acknowledged: list[int] = []
        self.reads = 0
        self.wanted = (0, 0)
        self.reached = trio.Event()

    async def more(self, count: int) -> None:
        """Return when `count` more of each were answered."""
        self.wanted = (len(self.acknowledged) + count, self.reads + count)
        self.reached = trio.Event()
        await self.reached.wait()

    def _counted(self, client: Client, outcome: Outcome) -> None:
        if len(self.acknowledged) >= self.wanted[0] and self.reads >= self.wanted[1]:
            self.reached.set()
        if outcome.kind != "ok" and outcome.leader in self.group.names:
            client.move(("127.0.0.1", self.group.client_ports[outcome.leader]))

    async def write(self) -> None:
        with closing(self.group.client(self.leader, "w")) as client:
            for value in itertools.count(1):
                outcome = await client.call("append", "k", value, None, 1000)
                if outcome.kind == "ok":
                    self.acknowledged.append(value)
                self._counted(client, outcome)

    async def read(self) -> None:
        with closing(self.group.client(self.leader, "r")) as client:
            while True:
                before = self.acknowledged[-1:]
                outcome = await client.call("read", "k", None, "lease", 1000)
                if outcome.kind == "ok":
                    self.reads += 1
                    assert set(before) <= set(outcome.value or ()), "a stale read"
                self._counted(client, outcome)


async def test_a_transfer_under_load_loses_nothing_and_takes_less_than_e() -> None:
    """3.8: writes and lease reads go on at whoever leads; every acknowledged write is there afterwards."""
    with Group(3, election_timeout_ms=E_MS) as group:
        group.start_all()
        leader = await group.leader()
        target = group.others(leader)[0]
        load = Load(group, leader)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.write)
                nursery.start_soon(load.read)
                await load.more(50)
                async with group.admin(leader) as admin:
                    began = time.monotonic()
                    assert await admin.transfer(target) == target
                await group.until(target, lambda s: s["lease"]["state"] == "valid")
                took = time.monotonic() - began
                await load.more(50)
                nursery.cancel_scope.cancel()
        assert took < E_MS / 1000
        assert set(load.acknowledged) <= set((await asked(group, target, "lease")).value)


async def asked(group: Group, name: str, mode: str) -> Outcome:
    """One read of k by a client of its own."""
    with closing(group.client(name, "z")) as client:
        return await client.call("read", "k", None, mode, 2000)


async def put(group: Group, name: str, value: int) -> Outcome:
    """One write of k by a client of its own."""
    with closing(group.client(name, f"w{value}")) as client:
        return await client.call("write", "k", value, None, 2000)


async def test_a_leader_that_is_told_to_stop_is_succeeded_within_e() -> None:
    """3.8, 3.7.9: SIGTERM; step down, wake, and exit 0."""
    with Group(3, election_timeout_ms=E_MS) as group:
        group.start_all()
        leader = await group.leader()
        rest = group.others(leader)
        # Of two that have not answered it yet a leader cannot tell which one the other would vote for.
        await group.until(leader, lambda s: s["commit"] >= s["last_index"] >= 1)
        index = (await group.status(leader))["last_index"]
        for name in rest:
            await group.until(name, lambda s: s["leader_id"] == leader and s["commit"] >= index)
        began = time.monotonic()
        group.signal(leader, signal.SIGTERM)
        successor = await group.leader(rest)
        took = time.monotonic() - began
        assert await group.ended(leader) == (0, "")
        assert successor in rest
        assert took < E_MS / 1000
        assert reasons(group, leader) == ["shutdown"]


@needs_strace
async def test_a_leader_whose_disk_fails_wakes_a_successor() -> None:
    """3.7.8: exit 74, after storage_error; without elections of their own the others can only have been woken."""
    with Group(3, elections=False) as group:
        failing = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
        group.start("n1", under=[*failing, "-e", "inject=fdatasync:error=EIO:when=25+"])
        for name in ("n2", "n3"):
            group.start(name)
        for name in group.names:
            await group.until(name, lambda s: set(s["links"].values()) == {"up"})
        async with group.admin("n1") as admin:
            await admin.vote(50)
        await group.leader()
        code, said = None, ""
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_on, group, "n1")
                code, said = await group.ended("n1")
                nursery.cancel_scope.cancel()
        assert code == 74
        assert "fatal: disk" in said
        assert await group.leader(["n2", "n3"]) in ("n2", "n3")
        assert reasons(group, "n1") == ["storage_error"]


async def write_on(group: Group, name: str) -> None:
    """Writes to `name` for as long as it answers, and then in vain."""
    for value in itertools.count():
        await put(group, name, value)
        await trio.sleep(0.001)


def reasons(group: Group, name: str) -> list[str]:
    """Why the first life of `name` stopped leading."""
    return [event.reason for event in group.events(name) if isinstance(event, StepDown)]


async def test_all_members_may_be_told_to_stop_at_once() -> None:
    """A leader waits for its successor's answer only while that one is there."""
    with Group(3) as group:
        group.start_all()
        await group.leader()
        for name in group.names:
            group.signal(name, signal.SIGTERM)
        for name in group.names:
            assert await group.ended(name) == (0, "")


async def test_a_follower_reads_by_its_leaders_index() -> None:
    """Q8: an acknowledged write is seen at every member."""
    with Group(3) as group:
        group.start_all()
        leader = await group.leader()
        for value in range(20):
            assert (await put(group, leader, value)).kind == "ok"
            for name in group.others(leader):
                outcome = await asked(group, name, "readindex")
                assert (outcome.kind, outcome.value) == ("ok", value)


async def test_what_an_operator_asks_for_is_done_or_refused_in_a_line() -> None:
    """Section 4: readonly, reset_election_timeout, get_leader, transfer."""
    with Group(3) as group:
        group.start_all()
        leader = await group.leader()
        follower = group.others(leader)[0]
        async with group.admin(follower) as admin:
            assert await admin.get_leader() == leader
            await admin.reset_election_timeout(400)
            status = await admin.status()
            assert (status["election_timeout_ms"], status["max_clock_drift_ms"]) == (400, 225)
            with pytest.raises(AdminError, match="must not be above E \\+ D"):
                await admin.reset_election_timeout(5000)
            with pytest.raises(AdminError, match="not_leader"):
                await admin.transfer()
        async with group.admin(leader) as admin:
            with pytest.raises(AdminError, match="n9 is no member"):
                await admin.transfer("n9")
            await admin.readonly(True)
            outcome = await put(group, leader, 1)
            assert (outcome.kind, outcome.error) == ("fail", "readonly")
            await admin.readonly(False)
            outcome = await put(group, leader, 1)
            assert outcome.kind == "ok"
