"""A small world to cut: an echo server behind links, and ways to ask whether bytes pass."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import trio

from harness.links.server import Kind, LinkSet, find_toxiproxy_server
from harness.links.table import Address, Link
from harness.processes import Warden, open_warden

# A loopback address of this process' own, ports below the ephemeral range: nobody else's.
HOST = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.1"
PORTS = count(20_000)
SILENCE_S = 0.25


def address() -> Address:
    return HOST, next(PORTS)


@dataclass
class World:
    warden: Warden
    links: LinkSet
    nursery: trio.Nursery
    upstream: Address
    api: dict[str, Address]

    async def connect(self, link: str) -> trio.SocketStream:
        host, port = self.links.table.links[link].listen
        return await trio.open_tcp_stream(host, port)

    async def echo_ms(self, stream: trio.SocketStream, data: bytes = b"x") -> float | None:
        """Milliseconds of one echo on an open connection; None if nothing comes."""
        begin = time.monotonic()
        with trio.move_on_after(SILENCE_S):
            try:
                await stream.send_all(data)
                got = b""
                while len(got) < len(data):
                    more = await stream.receive_some()
                    if not more:
                        return None
                    got += more
            except trio.BrokenResourceError:
                return None
            assert got == data
            return (time.monotonic() - begin) * 1e3
        return None

    async def passes(self, link: str) -> bool:
        """Does a new connection connect, and do bytes pass on it?"""
        async with await self.connect(link) as stream:
            return await self.echo_ms(stream) is not None


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            while data := await stream.receive_some(1 << 18):
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass


@asynccontextmanager
async def open_world(
    kind: Kind,
    folder: Path,
    *,
    links: int = 3,
    servers: int = 1,
    framer: str | None = None,
) -> AsyncIterator[World]:
    if kind == "toxiproxy":
        find_toxiproxy_server()  # raises: set-up builds it, and a suite that skipped it would prove nothing
    upstream = address()
    names = [f"s{n}" for n in range(servers)]
    api = {name: address() for name in names}
    listeners = await trio.open_tcp_listeners(upstream[1], host=upstream[0])
    table = [
        Link(
            name=f"l{n}",
            source="a",
            target="b",
            server=names[n % servers],
            listen=address(),
            upstream=upstream,
            framed=framer is not None,
        )
        for n in range(links)
    ]
    async with (
        trio.open_nursery() as nursery,
        open_warden(proof_path=folder / "proof.json") as warden,
    ):
        nursery.start_soon(partial(trio.serve_listeners, echo, listeners))
        link_set = LinkSet(warden, kind, api=api, log_folder=folder, framer=framer)
        await link_set.start(table)
        yield World(warden, link_set, nursery, upstream, api)
        await link_set.stop()
        nursery.cancel_scope.cancel()
