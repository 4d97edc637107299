"""Real processes whose group grows and shrinks under writes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import pytest
import trio

from checkers.records import events
from node.api import AdminError
from tests.node.shell.group import Group


class Writer:
    """Appends the numbers 0, 1, ... to a list, wherever the leader is, until it is cancelled."""

    def __init__(self, group: Group, at: str) -> None:
        self.group = group
        self.client = group.client(at, "writer")
        self.acknowledged: list[int] = []
        self.enough = 0
        self.reached = trio.Event()

    async def run(self) -> None:
        for number in range(10_000_000):
            outcome = await self.client.call("append", "list", number, None, 1000)
            if outcome.kind == "ok":
                self.acknowledged.append(number)
                if len(self.acknowledged) >= self.enough:
                    self.reached.set()
                await trio.sleep(0.001)
            else:
                await self.move(outcome.leader)

    async def move(self, hint: str) -> None:
        """To the leader of the hint, or else to whoever says that it leads."""
        for name in [hint] if hint else self.group.names:
            try:
                if hint or (await self.group.status(name))["state"] == "leader":
                    self.client.move(("127.0.0.1", self.group.client_ports[name]))
            except OSError:
                continue
        await trio.sleep(0.02)

    async def more(self) -> None:
        """Wait until some more writes are acknowledged."""
        self.enough = len(self.acknowledged) + 20
        self.reached = trio.Event()
        await self.reached.wait()


async def leads(group: Group, members: Sequence[str]) -> str:
    """The leader of `members`, who all know by now that they are the group."""
    while True:
        leader = await group.leader(members)
        statuses = [await group.status(name) for name in members]
        if all(status["members"] == sorted(members) for status in statuses):
            return leader
        await trio.sleep(0.02)


async def change(group: Group, members: Sequence[str], to: Sequence[str]) -> None:
    """Ask the leader until the change is done; it may lose its office on this slow machine, with the change done or not."""
    while True:
        found = [await group.status(name) for name in {*members, *to}]
        for status in found:
            if status["state"] != "leader" or not status["conf_committed"]:
                continue
            if status["members"] == sorted(to):
                return
            async with group.admin(status["name"]) as admin:
                try:
                    done = await admin.change_members(to)
                except AdminError:
                    continue
            assert done == (sorted(members), sorted(to))
            return
        await trio.sleep(0.02)


async def test_a_group_grows_and_shrinks_and_loses_nothing_that_was_acknowledged() -> None:
    """1 to 3 to 5, back to 3, then without its leader: one writer goes on all the time."""
    with Group(5, members=("n1",)) as group:
        group.start_all()
        for name in group.names:
            await group.until(name, lambda status: status["pid"] > 0)
        writer = Writer(group, await group.leader(("n1",)))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                now: list[str] = ["n1"]
                for to in (["n1", "n2", "n3"], group.names, ["n2", "n3", "n4"]):
                    await writer.more()
                    await change(group, now, to)
                    now = to
                await writer.more()
                leader = await leads(group, now)
                rest = [name for name in now if name != leader]
                await change(group, now, rest)
                await group.until(leader, lambda status: status["state"] == "follower")
                last = await leads(group, rest)
                await writer.more()
                nursery.cancel_scope.cancel()
            reader = group.client(last, "reader")
            found = (await reader.call("read", "list", None, "readindex", 1000)).value
            reader.close()
        writer.client.close()
        assert len(set(found)) == len(found)
        assert not set(writer.acknowledged) - set(found)
        reasons = {e.reason for e in group.events(leader) if isinstance(e, events.StepDown)}
        assert "leader_removed" in reasons
        term = (await group.status(last))["term"]
        await trio.sleep(1.5)
        assert (await group.status(last))["term"] == term, "who was removed disturbs the group"


async def test_a_witness_votes_and_holds_no_data() -> None:
    """3.9: two members and a witness go on without one of the two; the witness answers nobody."""
    with Group(3, witnesses=("n3",)) as group:
        group.start_all()
        leader = await group.leader()
        assert leader != "n3"
        client = group.client(leader)
        other = next(name for name in ("n1", "n2") if name != leader)
        with trio.fail_after(20):
            for value in range(20):
                assert (await client.call("write", "x", value, None, 1000)).kind == "ok"
            await group.until(other, lambda status: status["commit"] >= 21)
            group.kill(other)
            assert (await client.call("write", "x", 20, None, 2000)).kind == "ok"
            status = await group.until("n3", lambda status: status["commit"] >= 22)
            assert status["keys"] == 0
            asker = group.client("n3", "asker")
            refused = await asker.call("read", "x", None, "local", 1000)
            assert (refused.kind, refused.error) == ("fail", "witness")
            asker.close()
            group.kill("n3")
            group.start("n3")
            await group.until("n3", lambda status: status["commit"] >= 22)
        client.close()
        group.kill("n3")
        _, entries = group.stored("n3")
        assert not [entry for entry in entries if entry.data and b"write" in entry.data]
        assert {entry.kind for entry in entries} == {2, 3}
        group.kill(leader)
        whole = group.stored(leader)[1]
        assert [(e.term, e.crc) for e in entries] == [
            (e.term, e.crc) for e in whole[: len(entries)]
        ]


async def test_the_only_survivor_goes_on_alone_when_told_to() -> None:
    """3.7.6: reset_peers."""
    with Group(3) as group:
        group.start_all()
        leader = await group.leader()
        for name in group.others(leader):
            group.kill(name)
        with trio.fail_after(20):
            async with group.admin(leader) as admin:
                await admin.reset_members([leader])
            assert await group.leader((leader,)) == leader
            client = group.client(leader)
            await group.until(leader, lambda status: status["state"] == "leader")
            assert (await client.call("write", "x", 1, None, 1000)).kind == "ok"
            client.close()


async def test_a_change_that_cannot_be_is_refused_in_one_line() -> None:
    """Unknown names, senseless groups, the wrong node, and a deadline that passes."""
    with Group(3, members=("n1",)) as group:
        group.start_all()
        for name in group.names:
            await group.until(name, lambda status: status["pid"] > 0)
        await group.leader(("n1",))
        async with group.admin("n1") as admin:
            for members, error in (
                (["n1", "n9"], "no address for \\['n9'\\]"),
                ([], "invalid"),
                (["n1", "n1"], "invalid"),
            ):
                with pytest.raises(AdminError, match=error):
                    await admin.change_members(members)
            group.kill("n2")
            with pytest.raises(AdminError, match="not known"):
                await admin.change_members(["n1", "n2"], remaining_ms=1)
            await group.until("n1", lambda status: status["change"]["stage"] == "none")
            with pytest.raises(AdminError, match="catchup_timeout"):
                await admin.change_members(["n1", "n2"])
        async with group.admin("n3") as admin:
            with pytest.raises(AdminError, match="not_leader"):
                await admin.change_members(["n1"])


async def test_a_witness_cuts_its_log_and_its_folder_never_serves_with_data() -> None:
    """3.9: its snapshots are of nothing. To be a member with data it says what to do, exit 65, and an empty folder helps."""
    with Group(3, witnesses=("n3",), snapshot_interval_entries=20) as group:
        group.start_all()
        leader = await group.leader()
        client = group.client(leader)
        with trio.fail_after(40):
            for value in range(60):
                assert (await client.call("write", "x", value, None, 1000)).kind == "ok"
            status = await group.until("n3", lambda status: status["first_index"] > 20)
            assert status["keys"] == 0
            group.kill("n3")
            group.start("n3")
            await group.until("n3", lambda status: status["commit"] >= 60)
            async with group.admin(leader) as admin:
                await admin.change_members(["n1", "n2"])
                await admin.change_members(["n1", "n2", "n3"])
            code, said = await group.ended("n3")
            assert (code, said.count("\n")) == (65, 1)
            assert "n3 was a witness" in said
            shutil.rmtree(group.folder / "n3" / "data")
            group.start("n3")
            await group.until("n3", lambda status: status["keys"] == 1 and not status["witness"])
        client.close()
