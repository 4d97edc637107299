"""What embedded links do on top: changes of many links at once, and rules on whole frames."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from harness.errors import LinkUnsupportedError
from harness.links.relay import Proxy, Relay, Stream
from harness.links.rules import FrameRule
from harness.links.table import Cut
from tests.harness.links.frames import frame, peek
from tests.harness.links.world import World, open_world

FRAMER = "tests.harness.links.frames:peek"


async def send(stream: trio.SocketStream, *payloads: bytes) -> None:
    for payload in payloads:
        await stream.send_all(frame(payload))


async def receive(stream: trio.SocketStream, quiet_s: float = 0.12) -> list[bytes]:
    """Payloads that come until nothing comes for a while."""
    data = bytearray()
    while True:
        with trio.move_on_after(quiet_s):
            more = await stream.receive_some()
            if more:
                data += more
                continue
        break
    payloads = []
    while data:
        end = 8 + int.from_bytes(data[:4], "little")
        assert frame(bytes(data[8:end])) == data[:end]
        payloads.append(bytes(data[8:end]))
        del data[:end]
    return payloads


def rule(action: str, **fields: object) -> FrameRule:
    base = {"id": "r", "links": ["l0"], "direction": "request", "kinds": ["vote"]}
    return FrameRule(**{**base, "action": action, **fields})  # type: ignore[arg-type]


async def counters(world: World) -> tuple[int, int, int]:
    state = (await world.links.rules())["r"]
    return state.matched, state.released, state.discarded


async def test_held_frames_let_others_pass_and_go_out_in_order(tmp_path: Path) -> None:
    async with (
        open_world("embedded", tmp_path, framer=FRAMER) as world,
        await world.connect("l0") as stream,
    ):
        await send(stream, b"hello:")
        await world.links.add_rule(rule("hold"))
        await send(stream, b"vote:1", b"append:1", b"vote:2", b"append:2")
        assert await receive(stream) == [b"hello:", b"append:1", b"append:2"]
        assert await counters(world) == (2, 0, 0)
        await world.links.remove_rule("r")
        await send(stream, b"vote:3")
        assert await receive(stream) == [b"vote:1", b"vote:2", b"vote:3"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (rule("drop"), [b"hello:", b"append:"]),
        (rule("drop", after=1), [b"hello:", b"vote:1", b"append:"]),
        (rule("drop", count=1), [b"hello:", b"append:", b"vote:2"]),
        (rule("drop", links="*", kinds=["vote", "append"]), [b"hello:"]),
        (rule("drop", kinds=[], after=1), [b"hello:"]),
        (rule("drop", links=["l1"]), [b"hello:", b"vote:1", b"append:", b"vote:2"]),
        (rule("duplicate", count=1), [b"hello:", b"vote:1", b"vote:1", b"append:", b"vote:2"]),
        (rule("delay", count=1, delay_ms=40), [b"hello:", b"append:", b"vote:2", b"vote:1"]),
        (
            rule("duplicate", direction="response", count=1, delay_ms=40),
            [b"hello:", b"vote:1", b"append:", b"vote:2", b"vote:1"],
        ),
    ],
    ids=lambda value: f"{value.action}" if isinstance(value, FrameRule) else "",
)
async def test_frames_are_acted_on_by_kind_and_position(
    asked: FrameRule, expected: list[bytes], tmp_path: Path
) -> None:
    async with open_world("embedded", tmp_path, framer=FRAMER) as world:
        await world.links.add_rule(asked)
        async with await world.connect("l0") as stream:
            await send(stream, b"hello:", b"vote:1", b"append:", b"vote:2")
            assert await receive(stream) == expected
        acted = (await world.links.rules())["r"]
        expected_matches = {"*": 3, "l1": 0}.get(asked.links[0], 2 if asked.kinds else 4)
        assert acted.matched == expected_matches


@pytest.mark.parametrize("cut", range(1, 18))
def test_a_rule_that_comes_amid_a_frame_lets_it_pass(cut: int) -> None:
    """A rule set or removed at any byte of a frame breaks no frame. No sockets: `write` is ours."""
    first, second, third = frame(b"vote:first"), frame(b"vote:second"), frame(b"append:")
    relay, passed = Relay(peek), bytearray()
    proxy = relay.proxies["l0"] = Proxy(relay, "l0", ("127.0.0.1", 0), ("127.0.0.1", 1), True)
    connection: Any = SimpleNamespace(proxy=proxy, alive=True, serial=1)
    ends: Any = SimpleNamespace(), SimpleNamespace()
    stream = Stream(connection, "request", *ends)
    stream.write = passed.extend  # type: ignore[method-assign,assignment]
    stream.feed(first[:cut])
    relay.add_rule(rule("drop"))
    stream.feed(first[cut:] + second[: cut + 1])  # the first is passing, the second not yet judged
    relay.remove_rule("r")
    stream.feed(second[cut + 1 :] + third)
    assert passed == first + second + third
    relay.add_rule(rule("drop"))
    for byte in first + third + second:
        stream.feed(bytes([byte]))
    assert passed == first + second + third + third
    relay.close()


@pytest.mark.parametrize("deliver", ["same", "new"])
async def test_held_frames_of_a_dead_connection(deliver: str, tmp_path: Path) -> None:
    """They are discarded, or go out on a newer connection after its greeting: stale."""
    async with open_world("embedded", tmp_path, framer=FRAMER) as world:
        await world.links.add_rule(rule("hold", deliver=deliver))
        async with await world.connect("l0") as stream:
            await send(stream, b"hello:1", b"vote:old")
            assert await receive(stream) == [b"hello:1"]
        async with await world.connect("l0") as stream:
            await trio.sleep(0.05)
            await world.links.remove_rule("r")
            await send(stream, b"hello:2")
            stale = [b"vote:old"] if deliver == "new" else []
            assert await receive(stream) == [b"hello:2", *stale]


async def test_all_links_of_one_cut_change_at_once(tmp_path: Path) -> None:
    """Pings go round 30 links in turn: once one is cut, no later ping passes on any other."""
    names = [f"l{n}" for n in range(30)]
    async with open_world("embedded", tmp_path, links=30) as world, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await world.connect(n)) for n in names]
        passed: list[int] = []

        async def ping() -> None:
            for turn in range(100_000):
                await streams[turn % 30].send_all(b"x")
                if not await streams[turn % 30].receive_some():
                    return
                passed.append(turn)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            await trio.sleep(0.05)
            await world.links.apply("f", dict.fromkeys(names, Cut()))
            count = len(passed)
            await trio.sleep(0.1)
            assert len(passed) - count <= 1
            nursery.cancel_scope.cancel()


async def test_rules_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    async with open_world("embedded", tmp_path, framer=FRAMER) as world:
        await world.links.add_rule(rule("drop"))
        process = world.links.servers["s0"].process
        assert process is not None
        await process.kill()
        assert (await world.links.apply("f", {"l1": Cut()})).indeterminate
        async with await world.connect("l0") as stream:
            await send(stream, b"hello:", b"vote:")
            assert await receive(stream) == [b"hello:"]


async def test_a_rule_on_what_carries_no_frames_is_refused(tmp_path: Path) -> None:
    async with open_world("embedded", tmp_path, links=1) as world:
        with pytest.raises(LinkUnsupportedError, match="needs a framer"):
            await world.links.add_rule(rule("drop"))
    async with open_world("embedded", tmp_path, links=1, framer=FRAMER) as world:
        with pytest.raises(LinkUnsupportedError, match="framed=True"):
            await world.links.add_rule(rule("drop", links=["l0", "l9"]))
        assert await world.links.rules() == {}
        assert world.links.servers["s0"].restarts == 0


async def test_toxiproxy_refuses_frame_rules(tmp_path: Path) -> None:
    async with open_world("toxiproxy", tmp_path, links=1) as world:
        with pytest.raises(LinkUnsupportedError, match="embedded"):
            await world.links.add_rule(rule("drop"))
