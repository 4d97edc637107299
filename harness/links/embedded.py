"""An embedded link server: toxiproxy's HTTP API over our own relay, plus what TCP proxies lack.

    python -P -m harness.links.embedded --api HOST:PORT [--framer MODULE:NAME]

It speaks toxiproxy 2.12's API as far as we and toxiproxy-python use it (toxics: timeout, latency;
toxicity 1.0 only), and on top:

    POST   /driftline/apply      {"links": {NAME: {"cut", "latency_ms", "enabled"}}}, all at once
    POST   /driftline/rules      a frame rule (rules.py); GET shows all, with their counters
    DELETE /driftline/rules/ID   takes it away and releases what it held, in order

The framer is a callable of the system's adapter: payload -> kind of message, or None. Where it
differs from toxiproxy, it is gentler: one direction may close before the other, and lifting a
latency does not close connections. One trio task moves the bytes (relay.py), one serves each API
connection; a request is handled without a checkpoint, so it happens between two bytes.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import time
from functools import partial
from typing import Any, Final, NoReturn
from urllib.parse import unquote

import h11
import msgspec
import trio

from harness.errors import HarnessError
from harness.links.relay import Peek, Proxy, Relay
from harness.links.rules import FrameRule
from harness.links.shapes import Proxy as ShownProxy
from harness.links.shapes import Toxic
from harness.links.table import LinkState, format_address, parse_address

VERSION: Final = "2.12.0+embedded"
BODY_BYTES_MAX: Final = 8 << 20
POLLS_IN_A_ROW: Final = 8  # before the API gets its turn
TOXICS: Final = ("timeout", "latency")


class Refused(HarnessError):
    """A request that gets an error status; in toxiproxy's own words where it has some."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Change(msgspec.Struct):
    cut: bool | None = None
    latency_ms: int | None = None
    enabled: bool | None = None


class _Apply(msgspec.Struct):
    links: dict[str, _Change]


class _Creation(msgspec.Struct):
    name: str = ""
    listen: str = ""
    upstream: str = ""
    enabled: bool = True
    framed: bool = False


class _Update(msgspec.Struct):
    listen: str | None = None
    upstream: str | None = None
    enabled: bool | None = None


class _ToxicBody(msgspec.Struct):
    type: str = ""
    name: str = ""
    stream: str = "downstream"
    toxicity: float = 1.0
    attributes: dict[str, int] = {}


class Api:
    """Requests to answers, on a relay. No I/O of its own, no checkpoints."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """The status and the JSON value to answer with; None for an empty body."""
        try:
            return self._route(method, [unquote(part) for part in path.strip("/").split("/")], body)
        except Refused as refused:
            return refused.status, {"error": str(refused), "status": refused.status}
        except msgspec.MsgspecError as error:
            return 400, {"error": f"bad request body: {error}", "status": 400}
        except OSError as error:
            return 500, {"error": str(error), "status": 500}

    def _route(self, method: str, path: list[str], body: bytes) -> tuple[int, object]:
        match method, path:
            case "GET", ["version"]:
                return 200, {"version": VERSION}
            case "GET", ["proxies"]:
                return 200, {name: show(proxy) for name, proxy in self._relay.proxies.items()}
            case "POST", ["proxies"]:
                return 201, show(self._create(msgspec.json.decode(body, type=_Creation)))
            case "POST", ["populate"]:
                return 201, {"proxies": self._populate(body)}
            case "POST", ["reset"]:
                return self._reset()
            case "GET", ["proxies", name]:
                return 200, show(self._proxy(name))
            case "POST" | "PATCH", ["proxies", name]:
                return 200, show(self._update(name, msgspec.json.decode(body, type=_Update)))
            case "DELETE", ["proxies", name]:
                self._proxy(name).disable()
                del self._relay.proxies[name]
                return 204, None
            case "GET", ["proxies", name, "toxics"]:
                return 200, list(self._proxy(name).toxics.values())
            case "POST", ["proxies", name, "toxics"]:
                return 200, self._add_toxic(name, msgspec.json.decode(body, type=_ToxicBody))
            case "GET", ["proxies", name, "toxics", toxic]:
                return 200, self._toxic(name, toxic)
            case "POST" | "PATCH", ["proxies", name, "toxics", toxic]:
                return 200, self._update_toxic(name, toxic, body)
            case "DELETE", ["proxies", name, "toxics", toxic]:
                self._toxic(name, toxic)
                self._proxy(name).remove_toxic(toxic)
                return 204, None
            case "POST", ["driftline", "apply"]:
                return self._apply(msgspec.json.decode(body, type=_Apply))
            case "GET", ["driftline", "rules"]:
                return 200, list(self._relay.rules.values())
            case "POST", ["driftline", "rules"]:
                return 201, self._add_rule(msgspec.json.decode(body, type=FrameRule))
            case "DELETE", ["driftline", "rules", rule_id]:
                state = self._relay.remove_rule(rule_id)
                if state is None:
                    raise Refused(404, "rule not found")
                return 200, state
        raise Refused(404, "404 page not found")

    # -- proxies ------------------------------------------------------------------------------

    def _proxy(self, name: str) -> Proxy:
        proxy = self._relay.proxies.get(name)
        if proxy is None:
            raise Refused(404, "proxy not found")
        return proxy

    def _create(self, asked: _Creation) -> Proxy:
        for field in ("name", "upstream"):
            if not getattr(asked, field):
                raise Refused(400, f"missing required field: {field}")
        if asked.name in self._relay.proxies:
            raise Refused(409, "proxy already exists")
        listen, upstream = _address(asked.listen or "127.0.0.1:0"), _address(asked.upstream)
        proxy = Proxy(self._relay, asked.name, listen, upstream, asked.framed)
        if asked.enabled:
            proxy.enable()
        self._relay.proxies[asked.name] = proxy
        self._relay.share_rules()
        return proxy

    def _populate(self, body: bytes) -> list[dict[str, object]]:
        """As toxiproxy: a proxy that exists with the same addresses is left untouched."""
        shown = []
        for asked in msgspec.json.decode(body, type=list[_Creation]):
            old = self._relay.proxies.get(asked.name)
            if old is not None:
                if (old.listen, old.upstream) == (_address(asked.listen), _address(asked.upstream)):
                    shown.append(show(old))
                    continue
                old.disable()
                del self._relay.proxies[asked.name]
            shown.append(show(self._create(asked)))
        return shown

    def _update(self, name: str, asked: _Update) -> Proxy:
        proxy = self._proxy(name)
        listen = proxy.listen if asked.listen is None else _address(asked.listen)
        upstream = proxy.upstream if asked.upstream is None else _address(asked.upstream)
        enabled = proxy.enabled if asked.enabled is None else asked.enabled
        if (listen, upstream) != (proxy.listen, proxy.upstream):
            proxy.disable()
            proxy.listen, proxy.upstream = listen, upstream
        if enabled:
            proxy.enable()
        else:
            proxy.disable()
        return proxy

    def _reset(self) -> tuple[int, object]:
        for proxy in self._relay.proxies.values():
            proxy.enable()
            for name in list(proxy.toxics):
                proxy.remove_toxic(name)
        return 204, None

    # -- toxics -------------------------------------------------------------------------------

    def _toxic(self, name: str, toxic: str) -> Toxic:
        found = self._proxy(name).toxics.get(toxic)
        if found is None:
            raise Refused(404, "toxic not found")
        return found

    def _add_toxic(self, name: str, asked: _ToxicBody) -> Toxic:
        proxy = self._proxy(name)
        if asked.type not in TOXICS:
            raise Refused(400, f"invalid toxic type: embedded links know {', '.join(TOXICS)}")
        if asked.stream not in ("upstream", "downstream"):
            raise Refused(400, "stream was invalid, can be either upstream or downstream")
        if asked.toxicity != 1.0 or asked.attributes.get("jitter"):
            raise Refused(400, "embedded links roll no dice: toxicity must be 1.0, jitter 0")
        toxic = Toxic(
            name=asked.name or f"{asked.type}_{asked.stream}",
            type=asked.type,
            stream=asked.stream,
            attributes=asked.attributes,
        )
        if toxic.name in proxy.toxics:
            raise Refused(409, "toxic already exists")
        proxy.add_toxic(toxic)
        return toxic

    def _update_toxic(self, name: str, toxic: str, body: bytes) -> Toxic:
        old, asked = self._toxic(name, toxic), msgspec.json.decode(body, type=_ToxicBody)
        new = msgspec.structs.replace(old, attributes={**old.attributes, **asked.attributes})
        self._proxy(name).add_toxic(new)
        return new

    # -- what toxiproxy has not ---------------------------------------------------------------

    def _apply(self, asked: _Apply) -> tuple[int, object]:
        """All links change between two bytes, or none does."""
        proxies = {name: self._proxy(name) for name in asked.links}
        for name, change in asked.links.items():
            proxy, old = proxies[name], proxies[name].state
            proxy.set_state(
                LinkState(
                    cut=old.cut if change.cut is None else change.cut,
                    latency_ms=old.latency_ms if change.latency_ms is None else change.latency_ms,
                )
            )
        for name, change in asked.links.items():
            if change.enabled is True:
                proxies[name].enable()
            elif change.enabled is False:
                proxies[name].disable()
        return 200, {"links": len(asked.links), "time_ns": time.monotonic_ns()}

    def _add_rule(self, rule: FrameRule) -> object:
        if self._relay.peek is None:
            raise Refused(400, "frame rules need a framer: start with --framer MODULE:NAME")
        if rule.links != "*":
            for name in rule.links:
                if not self._proxy(name).framed:
                    raise Refused(400, f"link {name} carries no frames: create it with framed=true")
        return self._relay.add_rule(rule)


def show(proxy: Proxy) -> dict[str, object]:
    """A proxy as GET /proxies/NAME shows it."""
    shape = ShownProxy(
        name=proxy.name,
        listen=format_address(proxy.listen),
        upstream=format_address(proxy.upstream),
        enabled=proxy.enabled,
        toxics=list(proxy.toxics.values()),
    )
    shown: dict[str, object] = msgspec.to_builtins(shape)
    state = {"cut": proxy.state.cut, "latency_ms": proxy.state.latency_ms}
    return {**shown, "driftline": {**state, "connections": len(proxy.connections)}}


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError:
        raise Refused(400, f"not an address HOST:PORT: {text!r}") from None


async def read_request(
    http: h11.Connection, stream: trio.SocketStream
) -> tuple[str, str, bytes] | None:
    """Method, path and body of the next request; None when there is none to come."""
    method, path, body = "", "", bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(1 << 16))
        elif isinstance(event, h11.Request):
            method, path = event.method.decode(), event.target.decode().partition("?")[0]
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return method, path, bytes(body)
        else:  # the client has closed, or wants another protocol
            return None


def encode_answer(http: h11.Connection, status: int, value: object) -> bytes:
    headers, data = [], b""
    if value is not None:
        data = msgspec.json.encode(value)
        headers = [("content-type", "application/json"), ("content-length", str(len(data)))]
    parts = [http.send(h11.Response(status_code=status, headers=headers))]
    parts += [http.send(h11.Data(data=data)), http.send(h11.EndOfMessage())]
    return b"".join(part or b"" for part in parts)


async def serve_connection(api: Api, stream: trio.SocketStream) -> None:
    """One API connection, request after request; a broken one ends quietly."""
    http = h11.Connection(h11.SERVER)
    try:
        while (request := await read_request(http, stream)) is not None:
            await stream.send_all(encode_answer(http, *api.handle(*request)))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return
    finally:
        await trio.aclose_forcefully(stream)


async def move_bytes(relay: Relay) -> NoReturn:
    """Poll the relay whenever it has work, and let the API in between."""
    while True:
        due_ns = relay.next_due_ns
        wait_s = float("inf") if due_ns is None else max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
        with trio.move_on_after(wait_s):
            await trio.lowlevel.wait_readable(relay)
        for _ in range(POLLS_IN_A_ROW):
            if not relay.poll():
                break


def load_framer(name: str) -> Peek:
    """MODULE:NAME to the callable. Raises HarnessError."""
    module, _, attribute = name.partition(":")
    try:
        framer: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise HarnessError(f"--framer {name}: {error}; it must be MODULE:NAME") from error
    if not callable(framer):
        raise HarnessError(f"--framer {name} is {framer!r}: it must be a callable")
    peek: Peek = framer
    return peek


async def serve(address: tuple[str, int], relay: Relay) -> None:
    api = Api(relay)
    listeners = await trio.open_tcp_listeners(address[1], host=address[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(move_bytes, relay)
        await trio.serve_listeners(partial(serve_connection, api), listeners)


def main() -> None:
    parser = argparse.ArgumentParser(prog="harness.links.embedded", description="embedded links")
    parser.add_argument("--api", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--framer", type=load_framer, metavar="MODULE:NAME")
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two sockets per connection
    trio.run(serve, asked.api, Relay(asked.framer))


if __name__ == "__main__":
    main()
