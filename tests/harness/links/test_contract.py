"""Both kinds of links keep the same contract; what we rest on of toxiproxy has a test."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from harness.faults.base import until
from harness.links.server import Kind
from harness.links.shapes import NewProxy
from harness.links.table import Cut, Latency
from harness.links.toxiproxy import API_DEADLINE_S, ApiClient
from harness.processes import Process
from tests.harness.links.world import open_world

KINDS = pytest.mark.parametrize("kind", ["toxiproxy", "embedded"])


@KINDS
async def test_bytes_pass_in_order_and_in_full(kind: Kind, tmp_path: Path) -> None:
    async with open_world(kind, tmp_path, links=1) as world:
        async with await world.connect("l0") as stream:
            data = bytes(range(256)) * 40_000
            got = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                while len(got) < len(data):
                    got += await stream.receive_some(1 << 18)
            assert got == data
        assert world.links.versions["s0"] is not None
        assert world.links.versions["s0"].startswith("2.12.0")


@KINDS
async def test_a_cut_is_a_black_hole_and_its_heal_restores(kind: Kind, tmp_path: Path) -> None:
    async with open_world(kind, tmp_path) as world, await world.connect("l0") as old:
        assert await world.echo_ms(old) is not None
        report = await world.links.apply("f1", {"l0": Cut()})
        assert not report.indeterminate
        assert report.links == ("l0",)
        assert report.time_begin_ns < report.time_end_ns
        assert await world.echo_ms(old) is None
        assert not await world.passes("l0")  # `connect` inside raises if it were refused
        assert await world.passes("l1")
        assert not (await world.links.lift("f1")).indeterminate
        assert await world.passes("l0")
        with trio.fail_after(1):  # the old connection has a hole in it: it must not go on
            assert await old.receive_some() == b""


@KINDS
async def test_latency_delays_each_direction(kind: Kind, tmp_path: Path) -> None:
    async with open_world(kind, tmp_path) as world:
        await world.links.apply("f1", {"l0": Latency(40)})
        async with await world.connect("l0") as stream:
            slow = await world.echo_ms(stream)
            assert slow is not None
            assert 80 <= slow < 200
        await world.links.lift("f1")
        async with await world.connect("l0") as stream:
            fast = await world.echo_ms(stream)
            assert fast is not None
            assert fast < 80


@KINDS
async def test_lifting_one_of_two_faults_leaves_the_other(kind: Kind, tmp_path: Path) -> None:
    async with open_world(kind, tmp_path) as world:
        await world.links.apply("f1", {"l0": Cut(), "l1": Cut()})
        await world.links.apply("f2", {"l0": Cut(), "l2": Latency(30)})
        assert (await world.links.lift("f1")).links == ("l1",)
        assert not await world.passes("l0")
        assert await world.passes("l1")
        await world.links.apply("f3", {"l2": Cut()})
        assert not await world.passes("l2")
        await world.links.lift("f3")
        async with await world.connect("l2") as stream:
            assert (await world.echo_ms(stream) or 0) >= 60
        await world.links.lift("f2")
        assert await world.passes("l0")


@KINDS
async def test_cuts_and_heals_under_traffic_never_corrupt(kind: Kind, tmp_path: Path) -> None:
    """Whatever a client reads is a prefix of what it sent, through 6 cuts and heals."""
    echoes = 0

    async def talk() -> None:
        nonlocal echoes
        while True:
            try:
                async with await world.connect("l0") as stream:
                    for n in range(1_000_000):
                        sent = b"%08d" % n
                        await stream.send_all(sent)
                        got = b""
                        while len(got) < 8 and (more := await stream.receive_some()):
                            got += more
                        assert sent.startswith(got)
                        if len(got) < 8:
                            break
                        echoes += 1
            except OSError:  # refused in the instant between deletion and re-creation
                await trio.sleep(0.001)
            except trio.BrokenResourceError:
                pass

    async with open_world(kind, tmp_path) as world, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(talk)
        for n in range(6):
            await trio.sleep(0.05)
            assert not (await world.links.apply(f"f{n}", {"l0": Cut()})).indeterminate
            before = echoes
            await trio.sleep(0.02)
            assert echoes - before <= 4  # what was in flight
            assert not (await world.links.lift(f"f{n}")).indeterminate
        before = echoes
        await trio.sleep(0.1)
        assert echoes > before
        nursery.cancel_scope.cancel()


async def strike(process: Process, signum: signal.Signals) -> None:
    """Signal it, and wait until no thread of it runs: one that has not stopped yet may answer once more."""

    def letters() -> set[str]:
        found = set()
        for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            with suppress(OSError):  # a thread that ended meanwhile
                found.add(stat.read_text().rpartition(") ")[2][0])
        return found

    await process.signal(signum)
    assert await until(lambda: not letters() - set("TZX"), 5, 0.001)


@KINDS
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_hung_server_makes_a_fault_indeterminate(
    kind: Kind, signum: signal.Signals, tmp_path: Path
) -> None:
    """The server is started again with the desired state of all its links, old cuts included."""
    async with open_world(kind, tmp_path) as world:
        await world.links.apply("old", {"l1": Cut()})
        process = world.links.servers["s0"].process
        assert process is not None
        await strike(process, signum)
        begin = time.monotonic()
        report = await world.links.apply("new", {"l0": Cut()})
        assert time.monotonic() - begin < API_DEADLINE_S + 2
        assert report.indeterminate
        assert "s0 was restarted" in (report.because or "")
        assert world.links.servers["s0"].process is not process
        assert process.state() == "X"
        assert [await world.passes(f"l{n}") for n in range(3)] == [False, False, True]


@KINDS
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_watcher_restarts_a_dead_or_hung_server(
    kind: Kind, signum: signal.Signals, tmp_path: Path
) -> None:
    send, incidents = trio.open_memory_channel[tuple[str, str, int, int]](10)
    async with open_world(kind, tmp_path, servers=2) as world, trio.open_nursery() as nursery:
        await world.links.apply("f", {"l0": Cut()})
        await nursery.start(world.links.watch, lambda *told: send.send_nowait(told))
        process = world.links.servers["s0"].process
        assert process is not None
        await strike(process, signum)
        with trio.fail_after(API_DEADLINE_S + 3):
            server, _, begin_ns, end_ns = await incidents.receive()
        assert server == "s0"
        assert begin_ns < end_ns
        assert [await world.passes(f"l{n}") for n in range(3)] == [False, True, True]
        assert world.links.servers["s1"].restarts == 0
        nursery.cancel_scope.cancel()


@KINDS
async def test_an_independent_client_drives_it(kind: Kind, tmp_path: Path) -> None:
    """toxiproxy-python creates, poisons, disables and destroys a proxy; we see the same."""
    toxiproxy: Any = pytest.importorskip("toxiproxy")
    async with open_world(kind, tmp_path) as world, ApiClient(world.api["s0"]) as ours:

        def other(do: Any) -> Any:
            return trio.to_thread.run_sync(do)

        client = toxiproxy.Toxiproxy()
        client.update_api_consumer(*world.api["s0"])
        assert await other(client.running)
        upstream = "{}:{}".format(*world.upstream)
        proxy = await other(lambda: client.create(upstream=upstream, name="theirs"))
        seen = (await ours.proxies())["theirs"]
        assert (seen.enabled, seen.upstream, seen.listen) == (True, upstream, proxy.listen)
        host, _, port = seen.listen.rpartition(":")

        async def passes() -> bool:
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                return await world.echo_ms(stream) is not None

        assert await passes()
        for stream in ("upstream", "downstream"):
            toxic = {"type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
            await other(lambda toxic=toxic: proxy.add_toxic(**toxic))
        assert not await passes()
        assert set(await other(proxy.toxics)) == {"timeout_upstream", "timeout_downstream"}
        await other(lambda: proxy.destroy_toxic("timeout_upstream"))
        await other(lambda: proxy.destroy_toxic("timeout_downstream"))
        assert await passes()
        with pytest.raises(toxiproxy.exceptions.InvalidToxic):
            await other(lambda: proxy.add_toxic(type="no such"))
        await other(proxy.disable)
        with pytest.raises(OSError, match="attempts to connect"):
            await passes()
        await other(proxy.enable)
        assert await passes()
        # Populating leaves a proxy that exists as it is, its toxics too.
        toxic = {"type": "timeout", "attributes": {"timeout": 0}}
        await other(lambda: proxy.add_toxic(**toxic))
        await ours.populate([NewProxy("theirs", seen.listen, upstream, enabled=False)])
        assert list(await ours.populate([])) == []
        seen = (await ours.proxies())["theirs"]
        assert (seen.enabled, len(seen.toxics)) == (True, 1)
        await other(proxy.destroy)
        assert sorted(await ours.proxies()) == ["l0", "l1", "l2"]
