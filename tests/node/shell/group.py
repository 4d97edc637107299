"""A group of real processes, `python -P -m node` each, for the tests of the shell."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import trio

from checkers.records import events
from node.api import AdminClient, Client, NodeConfig, Options
from node.raft.effects import HardState
from node.raft.messages import Entry
from node.storage import codec, names

ROOT = Path(__file__).parents[3]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    socks = [socket.socket() for _ in range(count)]
    try:
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]
    finally:
        for sock in socks:
            sock.close()


class Group:
    """Members n1..; use it as a context manager: what was started is killed and its files go."""

    def __init__(
        self,
        size: int = 3,
        members: Sequence[str] | None = None,
        witnesses: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """`members` begin the group (None: all); the others know of none until they are added."""
        # Names of unix sockets are short, so pytest's own folders will not do.
        self.folder = Path(tempfile.mkdtemp(prefix="dl"))
        self.origin_ns = time.monotonic_ns()
        self.names = [f"n{i + 1}" for i in range(size)]
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.boots = dict.fromkeys(self.names, 0)
        ports = free_ports(2 * size)
        self.peer_ports = dict(zip(self.names, ports[:size], strict=True))
        self.client_ports = dict(zip(self.names, ports[size:], strict=True))
        for name in self.names:
            home = self.folder / name
            home.mkdir()
            config = NodeConfig(
                name=name,
                data_dir=str(home / "data"),
                events_dir=str(home),
                peer_listen=("127.0.0.1", self.peer_ports[name]),
                client_listen=("127.0.0.1", self.client_ports[name]),
                admin_socket=str(home / "admin"),
                peers={p: ("127.0.0.1", self.peer_ports[p]) for p in self.names if p != name},
                members=None if members is None else tuple(members) if name in members else (),
                witnesses=tuple(witnesses) if name in (members or self.names) else (),
                group="test",
                options=Options(**options),
                seed="00" * 8,
                origin_ns=self.origin_ns,
            )
            (home / "config.json").write_bytes(msgspec.json.encode(config))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        shutil.rmtree(self.folder)

    # ---- processes -------------------------------------------------------------------------------

    def start(self, name: str, *flags: str, under: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The next life of `name`, maybe `under` another command."""
        self.boots[name] += 1
        config = str(self.folder / name / "config.json")
        command = [sys.executable, "-P", "-m", "node", config, "--boot", str(self.boots[name])]
        self.processes[name] = subprocess.Popen(
            [*under, *command, *flags],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.processes[name]

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def signal(self, name: str, number: int) -> None:
        """To the whole process group, whatever the node runs under."""
        os.killpg(self.processes[name].pid, number)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    async def ended(self, name: str) -> tuple[int, str]:
        """Exit code and stderr, once the process has ended by itself."""
        process = self.processes.pop(name)
        _, said = await trio.to_thread.run_sync(process.communicate)
        return process.returncode, said

    # ---- asking ----------------------------------------------------------------------------------

    async def status(self, name: str) -> dict[str, Any]:
        async with AdminClient(str(self.folder / name / "admin")) as admin:
            return await admin.status()

    @asynccontextmanager
    async def admin(self, name: str) -> AsyncIterator[AdminClient]:
        async with AdminClient(str(self.folder / name / "admin")) as admin:
            yield admin

    def client(self, name: str, session: str = "s") -> Client:
        return Client(("127.0.0.1", self.client_ports[name]), session)

    async def until(
        self, name: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 10
    ) -> dict[str, Any]:
        """The first status of `name` that meets `condition`; an unreachable node meets none."""
        last: object = None
        with trio.move_on_after(seconds):
            while True:
                try:
                    status = await self.status(name)
                    last = status
                    if condition(status):
                        return status
                except OSError as error:
                    last = error
                await trio.sleep(0.01)
        raise AssertionError(f"{name} not within {seconds} s, last was {last}")

    async def leader(self, among: Sequence[str] = ()) -> str:
        """A leader that has committed in its own term, and that all of `among` follow."""
        with trio.fail_after(15):
            while True:
                found = []
                for name in among or self.names:
                    try:
                        found.append(await self.status(name))
                    except OSError:
                        break
                leaders = {status["leader_id"] for status in found}
                if len(found) == len(among or self.names) and len(leaders) == 1:
                    (leader,) = leaders
                    leading = [s for s in found if s["name"] == leader and s["state"] == "leader"]
                    if leading and leading[0]["commit"] > 0:
                        return str(leader)
                await trio.sleep(0.02)

    def others(self, leader: str) -> list[str]:
        return [name for name in self.names if name != leader]

    # ---- what is on disk -------------------------------------------------------------------------

    def events(self, name: str, boot: int = 1) -> list[events.Event]:
        """A life's events, every whole line through the checkers' own decoder."""
        data = (self.folder / name / f"events.{boot}.jsonl").read_bytes()
        return [events.decode(line) for line in data.split(b"\n")[1:-1]]

    def stored(self, name: str) -> tuple[HardState, list[Entry]]:
        """Vote and log in the journal of a dead member."""
        log = codec.Replayed()
        for segment in self.segments(name):
            data = segment.read_bytes()
            _, at = codec.read_segment_header(data, "test", name)
            codec.replay(data, at, 0, log)
        return log.hard_state, log.entries

    def segments(self, name: str) -> list[Path]:
        """The files of a member's journal, oldest first."""
        folder = self.folder / name / "data"
        return [folder / names.segment(n) for n in names.segments(p.name for p in folder.iterdir())]
