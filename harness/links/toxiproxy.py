"""Toxiproxy's HTTP API, as far as we use it: shapes, and a typed client with a deadline.

The first half is sans-IO: which calls bring a proxy into a state. What it rests on was measured
(of toxiproxy 2.12): POST /populate leaves an existing proxy untouched; a connection can slip in between a
proxy's creation and its first toxic, so it is created disabled; removing a toxic can deadlock the
API, so a heal deletes the proxy and creates it again; POST /reset is never sent.

The one deadline in here is the API's own rule: a server that does not answer within API_DEADLINE_S
is taken for wedged, whatever the caller's deadline.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, Self, TypeVar

import httpx
import msgspec
import trio

from harness.errors import LinkApiError
from harness.links.shapes import NewProxy, Proxy, Toxic
from harness.links.table import HEALTHY, Address, Link, LinkState, format_address

API_DEADLINE_S: Final = 2.0
_T = TypeVar("_T")
STREAMS: Final = ("upstream", "downstream")


class _Version(msgspec.Struct):
    version: str


class _Populated(msgspec.Struct):
    proxies: list[Proxy] | None = None  # null when nothing was asked for


class Call(msgspec.Struct, frozen=True):
    """One request, before it is sent. `missing_ok`: 404 is as good as success."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    body: bytes = b""
    missing_ok: bool = False


def new_proxy(link: Link, *, enabled: bool) -> NewProxy:
    return NewProxy(
        name=link.name,
        listen=format_address(link.listen),
        upstream=format_address(link.upstream),
        enabled=enabled,
        framed=link.framed,
    )


def toxics_of(state: LinkState) -> list[Toxic]:
    """Latency before the black hole, each on both streams."""
    toxics = []
    if state.latency_ms:
        attributes = {"latency": state.latency_ms, "jitter": 0}
        toxics += [Toxic(f"latency_{s}", "latency", s, attributes) for s in STREAMS]
    if state.cut:
        toxics += [Toxic(f"cut_{s}", "timeout", s, {"timeout": 0}) for s in STREAMS]
    return toxics


def call_version() -> Call:
    return Call("GET", "/version")


def call_list() -> Call:
    return Call("GET", "/proxies")


def call_populate(proxies: Sequence[NewProxy]) -> Call:
    return Call("POST", "/populate", msgspec.json.encode(proxies))


def call_delete(name: str) -> Call:
    return Call("DELETE", f"/proxies/{name}", missing_ok=True)


def call_add_toxic(name: str, toxic: Toxic) -> Call:
    return Call("POST", f"/proxies/{name}/toxics", msgspec.json.encode(toxic))


def call_enable(name: str) -> Call:
    return Call("POST", f"/proxies/{name}", b'{"enabled":true}')


def populate_calls(links: Sequence[tuple[Link, LinkState]]) -> list[Call]:
    """Bring these links from nothing to their states; a link opens only with its toxics on."""
    if not links:
        return []
    calls = [call_populate([new_proxy(link, enabled=state == HEALTHY) for link, state in links])]
    for link, state in links:
        if state != HEALTHY:
            calls += [call_add_toxic(link.name, toxic) for toxic in toxics_of(state)]
            calls.append(call_enable(link.name))
    return calls


def change_calls(link: Link, before: LinkState | None, after: LinkState) -> list[Call]:
    """From `before` (None: unknown) to `after`. Toxics are only ever added; else re-create."""
    if before == after or (before is not None and before.cut and after.cut):
        return []  # under a black hole nothing is late: the new latency comes with the heal
    if before is not None:
        old, new = toxics_of(before), toxics_of(after)
        if new[: len(old)] == old:
            return [call_add_toxic(link.name, toxic) for toxic in new[len(old) :]]
    return [call_delete(link.name), *populate_calls([(link, after)])]


class _Body(httpx.AsyncByteStream):
    """A request's body. httpx' own is an async generator, and trio warns of one left half-read,
    which is what a cancelled call leaves."""

    def __init__(self, data: bytes) -> None:
        self._left = [data] if data else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class ApiClient:
    """Calls to one server's API. Close it with `aclose`, or use it as a context manager."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._http = httpx.AsyncClient(
            base_url=f"http://{format_address(address)}",
            trust_env=False,
            timeout=None,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used; spares 20 ms of loading
        )

    def __repr__(self) -> str:
        return f"<ApiClient {format_address(self.address)}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def call(self, call: Call) -> bytes:
        """Send one call; returns the body. Raises LinkApiError, also when the deadline passes."""
        asked = f"{call.method} {call.path} of {format_address(self.address)}"
        request = self._http.build_request(call.method, call.path, content=call.body)
        request.stream = _Body(call.body)
        response: httpx.Response | None = None
        with trio.move_on_after(API_DEADLINE_S):
            try:
                response = await self._http.send(request)
            except httpx.HTTPError as error:
                raise LinkApiError(f"{asked} broke off: {error!r}") from error
        if response is None:
            raise LinkApiError(f"{asked} did not answer within {API_DEADLINE_S} s")
        if response.is_success or (call.missing_ok and response.status_code == 404):
            return response.content
        raise LinkApiError(f"{asked} was refused: {response.status_code} {response.text.strip()}")

    async def calls(self, calls: Sequence[Call]) -> None:
        """Send calls one after the other; stops at the first that fails."""
        for call in calls:
            await self.call(call)

    async def version(self) -> str:
        return self._decode(await self.call(call_version()), _Version).version

    async def proxies(self) -> dict[str, Proxy]:
        return self._decode(await self.call(call_list()), dict[str, Proxy])

    async def populate(self, proxies: Sequence[NewProxy]) -> Sequence[Proxy]:
        return self._decode(await self.call(call_populate(proxies)), _Populated).proxies or []

    async def delete(self, name: str) -> None:
        """Delete a proxy; one that is not there is as good as deleted."""
        await self.call(call_delete(name))

    async def add_toxic(self, name: str, toxic: Toxic) -> None:
        await self.call(call_add_toxic(name, toxic))

    async def enable(self, name: str) -> None:
        await self.call(call_enable(name))

    def _decode(self, body: bytes, shape: type[_T]) -> _T:
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            where = format_address(self.address)
            raise LinkApiError(f"{where} answered what is no {shape}: {error}") from error
