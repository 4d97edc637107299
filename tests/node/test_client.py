"""A client's conversation: what follows an answer at once, and what becomes of it when the connection does not last."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from node import wire
from node.client import Call, Client, Outcome


class Served:
    """A member that answers every request with its number in the order of arrival, as long as it is told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address: tuple[str, int] = self.listener.getsockname()
        self.asked: list[wire.Submit | wire.Get] = []
        self.hang_up_at: set[int] = set()
        """Requests, by their number, that are not answered: the connection is closed."""
        self.silent = False
        self.idle_close = trio.Event()

    async def run(self) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self.listener))
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        reader = wire.FrameReader()
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._close_when_told, nursery.cancel_scope)
            async for data in stream:
                for payload in reader.feed(data):
                    request = wire.decode_client(payload)
                    assert isinstance(request, wire.Submit | wire.Get)
                    self.asked.append(request)
                    number = len(self.asked)
                    if number in self.hang_up_at:
                        return nursery.cancel_scope.cancel()
                    if not self.silent:
                        done = wire.Done(request.id, number, None, None, 1, number, "n1")
                        await stream.send_all(wire.frame(wire.encode(done)))
            nursery.cancel_scope.cancel()

    async def _close_when_told(self, scope: trio.CancelScope) -> None:
        await self.idle_close.wait()
        scope.cancel()


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    async with trio.open_nursery() as nursery:
        served = Served()
        nursery.start_soon(served.run)
        with trio.fail_after(5):
            yield served
        nursery.cancel_scope.cancel()


READ: Call = ("read", "x", None, "lease", 1000)


def reads(count: int, seen: list[Outcome]) -> Callable[[Outcome], Call | None]:
    """What asks for `count` reads, one after the other, whatever becomes of them."""

    def then(outcome: Outcome) -> Call | None:
        seen.append(outcome)
        return READ if len(seen) < count else None

    return then


async def test_calls_follow_each_other_on_one_connection() -> None:
    """What `then` says is asked as soon as the answer before is there."""
    async with serving() as served:
        client, seen = Client(served.address, "s"), list[Outcome]()
        await client.calls(READ, reads(5, seen))
        assert [outcome.value for outcome in seen] == [1, 2, 3, 4, 5]
        assert [request.id for request in served.asked] == [1, 2, 3, 4, 5]
        client.close()


async def test_what_follows_is_settled_before_it_is_sent() -> None:
    """A history has what was asked before the request can have any effect."""
    async with serving() as served:
        client, seen, sent = Client(served.address, "s"), list[Outcome](), list[bool]()
        await client.calls(READ, reads(3, seen), lambda: sent.append(client.sent))
        assert sent == [False, False]
        assert len(served.asked) == 3
        client.close()


async def test_what_cannot_be_settled_is_not_sent() -> None:
    """Nor does it pass for a connection that broke: a full disk is the caller's to tell."""

    def settle() -> None:
        raise OSError("disk full")

    async with serving() as served:
        client, seen = Client(served.address, "s"), list[Outcome]()
        with pytest.raises(OSError, match="disk full"):
            await client.calls(READ, reads(2, seen), settle)
        assert [(outcome.kind, outcome.value) for outcome in seen] == [("ok", 1)]
        assert len(served.asked) == 1
        assert not client.connected


async def test_what_the_caller_raises_over_an_answer_is_raised_to_the_caller() -> None:
    def then(_: Outcome) -> None:
        raise OSError("disk full")

    async with serving() as served:
        client = Client(served.address, "s")
        with pytest.raises(OSError, match="disk full"):
            await client.calls(READ, then)
        assert len(served.asked) == 1


async def test_many_clients_are_served_side_by_side() -> None:
    """One task reads for all of them, and each gets its own answers."""
    async with serving() as served, trio.open_nursery() as nursery:
        seen = {number: list[Outcome]() for number in range(20)}
        clients = [Client(served.address, f"s{number}") for number in seen]
        for number, client in enumerate(clients):
            nursery.start_soon(client.calls, READ, reads(10, seen[number]))
    assert sorted(o.value for found in seen.values() for o in found) == list(range(1, 201))
    for client in clients:
        client.close()


async def test_a_conversation_goes_on_over_a_new_connection() -> None:
    """Nobody knows what became of the request that was under way; what follows opens the connection again."""
    async with serving() as served:
        served.hang_up_at = {3}
        client, seen = Client(served.address, "s"), list[Outcome]()
        await client.calls(READ, reads(5, seen))
        assert [(outcome.kind, outcome.value) for outcome in seen] == [
            ("ok", 1),
            ("ok", 2),
            ("info", None),
            ("ok", 4),
            ("ok", 5),
        ]
        client.close()


async def test_a_connection_that_ended_while_idle_costs_no_call() -> None:
    """Nothing was asked on it, so nobody has to wonder what became of it."""
    async with serving() as served:
        client = Client(served.address, "s")
        assert (await client.call(*READ)).kind == "ok"
        served.idle_close.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        served.idle_close = trio.Event()
        assert (await client.call(*READ)).kind == "ok"
        assert len(served.asked) == 2
        client.close()


async def test_a_cancelled_call_closes_its_connection() -> None:
    """An answer that is still under way must not be taken for a later call's."""
    async with serving() as served:
        served.silent = True
        client = Client(served.address, "s")
        with trio.move_on_after(0.01) as scope:
            await client.call(*READ)
        assert scope.cancelled_caught
        assert client.sent
        assert not client.connected
        served.silent = False
        assert (await client.call(*READ)).value == 2
        client.close()


async def test_what_then_raises_is_the_callers() -> None:
    """It runs in the task that reads for everybody, which goes on."""

    def broken(outcome: Outcome) -> Call | None:
        raise RuntimeError(f"no use for {outcome.value}")

    async with serving() as served:
        client, other = Client(served.address, "s"), Client(served.address, "t")
        with pytest.raises(RuntimeError, match="no use for 1"):
            await client.calls(READ, broken)
        assert not client.connected
        assert (await other.call(*READ)).value == 2
        other.close()


async def test_a_request_longer_than_the_kernel_takes_at_once_is_sent_whole() -> None:
    """The rest leaves as the other side reads."""
    async with serving() as served:
        client, seen = Client(served.address, "s"), list[Outcome]()
        big: Call = ("write", "x", "y" * 4_000_000, None, 1000)

        def then(outcome: Outcome) -> Call | None:
            seen.append(outcome)
            return big if len(seen) < 3 else None

        await client.calls(big, then)
        assert [outcome.kind for outcome in seen] == ["ok", "ok", "ok"]
        client.close()
