"""The link servers of a run, and the reconciling of each with the desired state.

One server process per group of links (Link.server), so that one that hangs freezes its group only.
What a server carries is believed from what we told it, never read back. A server that is dead, does
not answer within the API's deadline, or refuses a call is killed, started again, and filled from
the table; the fault that met this is reported as indeterminate, and `on_incident` hears of every
restart. A heal deletes the proxy and creates it again on the same port: its connections close.

With kind "embedded" the links of one server change at once, and frame rules can be set: put all
links on one server where cuts must be atomic. With "toxiproxy" a cut takes two calls per link.

Cancellation: a cancelled call leaves the table changed and the servers possibly behind it; the next
call on the same server, or the watcher, catches up.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import trio

from harness.errors import (
    HarnessError,
    LinkApiError,
    LinkError,
    LinkServerError,
    LinkUnsupportedError,
)
from harness.links.rules import FrameRule, RuleState
from harness.links.table import Address, Ask, Link, LinkState, LinkTable, format_address
from harness.links.toxiproxy import (
    ApiClient,
    Call,
    call_list,
    call_populate,
    call_version,
    change_calls,
    new_proxy,
    populate_calls,
)
from harness.processes import Process, Warden

TOXIPROXY_VERSION: Final = "2.12.0"  # as in tools/toxiproxy/go.mod
POLL_S: Final = 0.3
# GET /version answers even when the rest of the API is deadlocked: every so often ask for more.
DEEP_POLL_EVERY: Final = 4
# A toxiproxy-server listens after some 20 ms, an embedded one after 200, and at a load of 18 on two cores after more than 10 s.
STARTUP_S: Final = 30.0
STARTUP_POLL_S: Final = 0.01
RESTARTS_MAX: Final = 3

Kind = Literal["toxiproxy", "embedded"]
OnIncident = Callable[[str, str, int, int], None]


class ApplyReport(msgspec.Struct, frozen=True, kw_only=True):
    """When a change began and ended (CLOCK_MONOTONIC), and whether all of it surely took effect.

    `links` are those whose state changed. `indeterminate`: a server had to be restarted meanwhile.
    """

    time_begin_ns: int
    time_end_ns: int
    indeterminate: bool = False
    because: str | None = None
    links: tuple[str, ...] = ()


def cache_path() -> Path:
    """Where tools/toxiproxy/build.py puts the server."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    folder = f"toxiproxy-{TOXIPROXY_VERSION}-{sys.platform}-{arch}"
    return cache / "driftline" / folder / "toxiproxy-server"


def find_toxiproxy_server() -> Path:
    """DRIFTLINE_TOXIPROXY_SERVER, else the one built by `make setup`. Raises LinkServerError."""
    named = os.environ.get("DRIFTLINE_TOXIPROXY_SERVER")
    path = Path(named) if named else cache_path()
    if not os.access(path, os.X_OK):
        said = " (DRIFTLINE_TOXIPROXY_SERVER)" if named else ""
        raise LinkServerError(f"no toxiproxy-server at {path}{said}: run `make setup`")
    return path


class LinkServer:
    """One server process, its API, and what we believe it carries."""

    def __init__(
        self, name: str, address: Address, argv: list[str], env: dict[str, str], log: Path
    ) -> None:
        self.name = name
        self.address = address
        self.process: Process | None = None
        self.version: str | None = None
        self.restarts = 0
        # None: a change was under way when something failed, so only re-creation is safe.
        self.installed: dict[str, LinkState | None] = {}
        self.up = False  # False: must be launched and filled before it is trusted
        self.lock = trio.Lock()
        self._argv = argv
        self._env = env
        self._log = log
        self._api: ApiClient | None = None

    def __repr__(self) -> str:
        where = format_address(self.address)
        return f"<LinkServer {self.name} {where} {self.process} restarts={self.restarts}>"

    @property
    def api(self) -> ApiClient:
        assert self._api is not None, f"link server {self.name} was not launched"
        return self._api

    async def launch(self, warden: Warden) -> None:
        """Start the process and wait for its API. Raises LinkServerError."""
        await self.kill()
        self._api = ApiClient(self.address)
        self.process = await warden.spawn(
            f"links:{self.name}", self._argv, env=self._env, stdout=self._log, stderr=self._log
        )
        with trio.move_on_after(STARTUP_S):
            while self.process.status is None:
                try:
                    self.version = await self.api.version()
                except LinkApiError:
                    await trio.sleep(STARTUP_POLL_S)
                else:
                    return
        found = f"ended with {self.process.status}" if self.process.status else "does not answer"
        raise LinkServerError(
            f"link server {self.name} ({format_address(self.address)}) {found} after its start: "
            f"see {self._log}, and whether another process has the address"
        )

    async def kill(self) -> None:
        """SIGKILL, also when stopped, and wait for the end."""
        self.up = False
        if self.process is not None:
            await self.process.kill()
        if self._api is not None:
            await self._api.aclose()
            self._api = None


class LinkSet:
    """All links of a run. `watch` runs beside it for as long as it is started."""

    def __init__(
        self,
        warden: Warden,
        kind: Kind,
        *,
        api: Mapping[str, Address],
        log_folder: str | os.PathLike[str],
        framer: str | None = None,
    ) -> None:
        """`api`: the address of each server's API. `framer`: "module:name" for embedded links."""
        self.kind = kind
        self.table = LinkTable([])
        self.servers: dict[str, LinkServer] = {}
        self._warden = warden
        self._addresses = dict(api)
        self._log_folder = Path(log_folder)
        self._framer = framer
        self._rules: dict[str, FrameRule] = {}
        self._on_incident: OnIncident | None = None

    def __repr__(self) -> str:
        return f"<LinkSet {self.kind} servers={len(self.servers)} {self.table!r}>"

    @property
    def versions(self) -> dict[str, str | None]:
        """What each server says that it is."""
        return {name: server.version for name, server in self.servers.items()}

    # -- life ---------------------------------------------------------------------------------

    async def start(self, links: Iterable[Link]) -> ApplyReport:
        """Start all servers side by side and open all links, healthy."""
        begin_ns = time.monotonic_ns()
        self.table = LinkTable(links)
        self._log_folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(link.server for link in self.table.links.values()):
            if name not in self._addresses:
                raise LinkError(f"no API address was given for link server {name!r}")
            argv, env = self._command(self._addresses[name])
            log = self._log_folder / f"{name}.log"
            self.servers[name] = LinkServer(name, self._addresses[name], argv, env, log)

        async def open_one(server: LinkServer) -> str | None:
            async with server.lock:
                await self._launch_and_fill(server)
            return None

        await self._each(self.servers.values(), open_one)
        return ApplyReport(
            time_begin_ns=begin_ns, time_end_ns=time.monotonic_ns(), links=tuple(self.table.links)
        )

    async def stop(self) -> None:
        """Kill all servers. The table stays."""
        servers, self.servers = self.servers, {}

        async def stop_one(server: LinkServer) -> str | None:
            async with server.lock:
                await server.kill()
            return None

        await self._each(servers.values(), stop_one)

    async def watch(
        self,
        on_incident: OnIncident | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Restart servers that die or hang, until cancelled; returns when `stop` was called.

        `on_incident(server, what, time_begin_ns, time_end_ns)` is called after every restart, also
        after those that `apply` and `lift` met (which their reports tell as well).
        """
        self._on_incident = on_incident
        async with trio.open_nursery() as nursery:
            for server in self.servers.values():
                nursery.start_soon(self._watch_one, server)
            task_status.started()

    async def _watch_one(self, server: LinkServer) -> None:
        polls = 0
        while self.servers.get(server.name) is server:
            if server.process is not None and server.process.status is None:
                with trio.move_on_after(POLL_S):
                    await server.process.wait()
            else:
                await trio.sleep(POLL_S)
            polls += 1
            # Locked: a change or a restart is under way, which judges the server by itself.
            if server.lock.locked() or self.servers.get(server.name) is not server:
                continue
            process, what = server.process, None
            if process is None or process.status is not None:
                what = f"it ended ({process.status if process else 'never started'})"
            else:
                try:
                    await server.api.call(
                        call_list() if polls % DEEP_POLL_EVERY == 0 else call_version()
                    )
                except LinkApiError as error:
                    what = str(error)
            if what is None and server.up:
                continue
            async with server.lock:
                if self.servers.get(server.name) is server and server.process is process:
                    await self._restart(server, what or "a restart was cancelled")

    # -- faults -------------------------------------------------------------------------------

    async def apply(self, fault_id: str, asks: Mapping[str, Ask]) -> ApplyReport:
        """From now on `fault_id` asks for exactly this; returns when every server has it."""
        begin_ns = time.monotonic_ns()
        return await self._settle(begin_ns, self.table.add(fault_id, asks))

    async def lift(self, fault_id: str) -> ApplyReport:
        """`fault_id` asks for nothing any more. What other ids ask stays."""
        begin_ns = time.monotonic_ns()
        return await self._settle(begin_ns, self.table.remove(fault_id))

    async def _settle(self, begin_ns: int, changed: frozenset[str]) -> ApplyReport:
        names = {self.table.links[name].server for name in changed}
        # A call that was cancelled may have left a server behind the table: it catches up here.
        names |= {name for name, server in self.servers.items() if self._behind(server)}
        because = await self._each((self.servers[name] for name in sorted(names)), self._reconcile)
        return ApplyReport(
            time_begin_ns=begin_ns,
            time_end_ns=time.monotonic_ns(),
            indeterminate=bool(because),
            because="; ".join(because) or None,
            links=tuple(sorted(changed)),
        )

    # -- frame rules --------------------------------------------------------------------------

    async def add_rule(self, rule: FrameRule) -> ApplyReport:
        """Set a frame rule on every server. Embedded links only."""
        self._need_embedded(f"frame rule {rule.id!r}")
        if self._framer is None:
            raise LinkUnsupportedError(f"frame rule {rule.id!r} needs a framer: give LinkSet one")
        names = [link for link in self.table.links if rule.links == "*" or link in rule.links]
        framed = [name for name in names if self.table.links[name].framed]
        if not framed or (rule.links != "*" and set(framed) != set(rule.links)):
            raise LinkUnsupportedError(
                f"frame rule {rule.id!r} names {rule.links!r}, of which only {framed} are links "
                "that carry frames: declare them with Link(framed=True)"
            )
        self._rules[rule.id] = rule
        call = Call("POST", "/driftline/rules", msgspec.json.encode(rule))
        return await self._call_all(call)

    async def remove_rule(self, rule_id: str) -> ApplyReport:
        """Take a rule away; what it held is released in order."""
        self._need_embedded(f"frame rule {rule_id!r}")
        self._rules.pop(rule_id, None)
        return await self._call_all(Call("DELETE", f"/driftline/rules/{rule_id}", missing_ok=True))

    async def rules(self) -> dict[str, RuleState]:
        """All rules with their counters, summed over the servers.

        A server that does not answer is restarted, and its counters begin anew: too low, never
        too high.
        """
        self._need_embedded("frame rules")
        total = {rule.id: RuleState(rule=rule) for rule in self._rules.values()}
        counters = [name for name in RuleState.__struct_fields__ if name != "rule"]

        async def ask_one(server: LinkServer) -> str | None:
            async with server.lock:
                try:
                    body = await server.api.call(Call("GET", "/driftline/rules"))
                except LinkApiError as error:
                    await self._restart(server, str(error))
                    return None
            for state in msgspec.json.decode(body, type=list[RuleState]):
                if (old := total.get(state.rule.id)) is not None:
                    sums = {name: getattr(old, name) + getattr(state, name) for name in counters}
                    total[state.rule.id] = RuleState(rule=old.rule, **sums)
            return None

        await self._each(self.servers.values(), ask_one)
        return total

    async def _call_all(self, call: Call) -> ApplyReport:
        begin_ns = time.monotonic_ns()

        async def call_one(server: LinkServer) -> str | None:
            async with server.lock:
                return await self._try(server, [call])

        because = await self._each(self.servers.values(), call_one)
        return ApplyReport(
            time_begin_ns=begin_ns,
            time_end_ns=time.monotonic_ns(),
            indeterminate=bool(because),
            because="; ".join(because) or None,
            links=tuple(self.table.links),
        )

    def _need_embedded(self, what: str) -> None:
        if self.kind != "embedded":
            raise LinkUnsupportedError(
                f'{what} was asked for, but the links are {self.kind}: set links = "embedded"'
            )

    # -- one server ---------------------------------------------------------------------------

    async def _reconcile(self, server: LinkServer) -> str | None:
        """Bring one server to the desired state; why that is indeterminate, if it is."""
        async with server.lock:
            behind = self._behind(server)
            if self.kind == "embedded":
                states = {link.name: self.table.desired(link.name) for link in behind}
                return await self._try(server, [call_apply(states)], states)
            for link in behind:
                state = self.table.desired(link.name)
                calls = change_calls(link, server.installed.get(link.name), state)
                because = await self._try(server, calls, {link.name: state})
                if because is not None:
                    return because  # the restart has filled in the rest
            return None

    async def _try(
        self, server: LinkServer, calls: list[Call], states: Mapping[str, LinkState] | None = None
    ) -> str | None:
        states = states or {}
        server.installed.update(dict.fromkeys(states))
        process = server.process
        try:
            if not server.up or (process is not None and process.status is not None):
                raise LinkApiError(
                    f"it was not up ({process.status if process else 'not started'})"
                )
            await server.api.calls(calls)
        except LinkApiError as error:
            await self._restart(server, str(error))
            return f"link server {server.name} was restarted: {error}"
        server.installed.update(states)
        return None

    async def _restart(self, server: LinkServer, what: str) -> None:
        begin_ns = time.monotonic_ns()
        server.up = False
        server.restarts += 1
        for attempt in range(1, RESTARTS_MAX + 1):
            try:
                await self._launch_and_fill(server)
                break
            except LinkError:
                if attempt == RESTARTS_MAX:
                    raise
        if self._on_incident is not None:
            self._on_incident(server.name, what, begin_ns, time.monotonic_ns())

    async def _launch_and_fill(self, server: LinkServer) -> None:
        await server.launch(self._warden)
        states = {link.name: self.table.desired(link.name) for link in self._links_of(server)}
        try:
            await server.api.calls(self._fill_calls(states))
        except LinkApiError as error:
            raise LinkServerError(f"link server {server.name} cannot be filled: {error}") from error
        server.installed = dict(states)
        server.up = True

    def _fill_calls(self, states: Mapping[str, LinkState]) -> list[Call]:
        links = [(self.table.links[name], state) for name, state in states.items()]
        if self.kind == "toxiproxy":
            return populate_calls(links)
        calls = [call_populate([new_proxy(link, enabled=False) for link, _ in links])]
        for rule in self._rules.values():
            calls.append(Call("POST", "/driftline/rules", msgspec.json.encode(rule)))
        return [*calls, call_apply(states, enable=True)]

    def _behind(self, server: LinkServer) -> list[Link]:
        """Links that are not known to be in their desired state."""
        return [
            link
            for link in self._links_of(server)
            if server.installed.get(link.name) != self.table.desired(link.name)
        ]

    def _links_of(self, server: LinkServer) -> list[Link]:
        return [link for link in self.table.links.values() if link.server == server.name]

    def _command(self, address: Address) -> tuple[list[str], dict[str, str]]:
        host, port = address
        if self.kind == "toxiproxy":
            argv = [str(find_toxiproxy_server()), "-host", host, "-port", str(port)]
            # A server for each node, on a few cores: with a thread per core in each they wake each other up, which
            # costs every answer milliseconds (docs/measured.md).
            return argv, {"GOMAXPROCS": "1", **os.environ, "LOG_LEVEL": "warn"}
        argv = [sys.executable, "-P", "-m", "harness.links.embedded"]
        argv += ["--api", format_address(address)]
        if self._framer is not None:
            argv += ["--framer", self._framer]
        path = [str(Path(__file__).resolve().parents[2])]
        path += filter(None, [os.environ.get("PYTHONPATH")])
        return argv, {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    async def _each(
        self,
        servers: Iterable[LinkServer],
        do: Callable[[LinkServer], Awaitable[str | None]],
    ) -> list[str]:
        """Do it for all servers side by side; what they answered, or the first error."""
        answers: list[str] = []
        errors: list[HarnessError] = []

        async def one(server: LinkServer) -> None:
            try:
                answer = await do(server)
            except HarnessError as error:
                errors.append(error)
            else:
                answers.extend([answer] if answer else [])

        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(one, server)
        if errors:
            raise errors[0]
        return answers


def call_apply(states: Mapping[str, LinkState], *, enable: bool = False) -> Call:
    """All these links of an embedded server at once."""
    links: dict[str, dict[str, Any]] = {
        name: {"cut": state.cut, "latency_ms": state.latency_ms}
        | ({"enabled": True} if enable else {})
        for name, state in states.items()
    }
    return Call("POST", "/driftline/apply", msgspec.json.encode({"links": links}))
