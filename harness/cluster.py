"""The members of one run and their links: starting, killing, pausing, restarting, asking.

Desired state is a set of fault ids per member: a process runs only if nobody keeps it down, and runs on only if nobody pauses
it. Healing removes one id and nothing else.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import trio

from harness.errors import HarnessError
from harness.links.server import LinkSet
from harness.processes import ExitStatus, Process, Warden
from harness.recorder import FactLog
from harness.systems.raft import RaftSystem

STATUS_DEADLINE_S = 0.25
EXIT_DEADLINE_S = 2.0
CLOCK_DEADLINE_S = 0.5


class Member:
    """One node: its lives, and who keeps it down or paused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.boot = 0
        self.process: Process | None = None
        self.exit: ExitStatus | None = None
        self.exit_asked = False
        self.exited = trio.Event()
        self.starting = trio.Lock()
        """Held while a life begins: whoever starts or kills it meanwhile waits to see the process."""
        self.down: set[str] = set()
        self.paused: set[str] = set()
        self.clock_owner = ""
        self.rate = 1.0
        self.offset_ns = 0
        self.crashed = False

    def __repr__(self) -> str:
        state = "up" if self.process else "down"
        return (
            f"<Member {self.name} boot {self.boot} {state} down={self.down} paused={self.paused}>"
        )

    @property
    def running(self) -> bool:
        """The process lives and nobody pauses it."""
        return self.process is not None and not self.paused


class Cluster:
    """All members behind their links. Methods may be cancelled between actions; desired state is set first."""

    def __init__(
        self,
        warden: Warden,
        links: LinkSet,
        system: RaftSystem,
        names: list[str],
        facts: FactLog,
        logs: Path,
        nursery: trio.Nursery,
    ) -> None:
        self.warden = warden
        self.links = links
        self.system = system
        self.names = names
        self.facts = facts
        self.logs = logs
        self.members = {name: Member(name) for name in names}
        self.closing = False
        self._nursery = nursery
        self.leader = ""
        self.term = 0

    async def start(self, name: str) -> None:
        """Start the next life of `name`, if it has no process, with its desired clock, before any of its sockets opens."""
        member = self.members[name]
        async with member.starting:
            if member.process is None:
                await self._begin(member)

    async def _begin(self, member: Member) -> None:
        """The next life; `member.starting` is held, or a second process would find the data folder in use."""
        name = member.name
        member.boot += 1
        boot = member.boot
        log = self.logs / name
        log.mkdir(parents=True, exist_ok=True)
        process = await self.warden.spawn(
            f"{name}.{boot}",
            self.system.command(name, boot, member.rate, member.offset_ns),
            cwd=log,
            stdout=log / f"out.{boot}.log",
            stderr=log / f"err.{boot}.log",
        )
        member.process = process
        member.exit = None
        member.exit_asked = False
        member.exited = trio.Event()
        self.facts.started(name, boot, process.pid)
        self._nursery.start_soon(self._watch, member, process, boot)

    async def _watch(self, member: Member, process: Process, boot: int) -> None:
        status = await process.wait()
        if member.process is process:
            member.process = None
        member.exit = status
        asked = member.exit_asked or self.closing
        member.crashed = member.crashed or not asked
        stderr = "" if asked else _tail(self.logs / member.name / f"err.{boot}.log")
        self.facts.exited(member.name, boot, status.code, status.signal, asked, stderr)
        member.exited.set()

    async def kill(self, name: str, holder: str) -> ExitStatus | None:
        """SIGKILL `name` and keep it down for `holder`; the exit status is None if it was already down."""
        member = self.members[name]
        member.down.add(holder)
        async with member.starting:
            process = member.process
        if process is None:
            return None
        member.exit_asked = True
        exited = member.exited
        await process.signal(signal.SIGKILL)
        with trio.move_on_after(EXIT_DEADLINE_S):
            await exited.wait()
        return member.exit

    async def release(self, name: str, holder: str) -> bool:
        """`holder` no longer keeps `name` down; started if nobody else does. True if this started it."""
        member = self.members[name]
        member.down.discard(holder)
        async with member.starting:
            if member.down or member.process is not None:
                return False
            member.paused.clear()
            await self._begin(member)
        return True

    async def pause(self, name: str, holder: str) -> bool:
        """SIGSTOP the group of `name` for `holder`; False if there is no process."""
        member = self.members[name]
        process = member.process
        if process is None:
            return False
        member.paused.add(holder)
        await process.signal(signal.SIGSTOP)
        return True

    async def resume(self, name: str, holder: str) -> bool:
        """`holder` no longer pauses `name`; True if it runs on now."""
        member = self.members[name]
        member.paused.discard(holder)
        if member.paused or member.process is None:
            return False
        await member.process.signal(signal.SIGCONT)
        # Its clock may have been asked to change while it could not hear.
        # If it is dying, the next life gets the rate on its command line.
        with (
            trio.move_on_after(CLOCK_DEADLINE_S),
            contextlib.suppress(OSError, HarnessError),
        ):
            await self.system.set_clock(name, rate=member.rate)
        return True

    async def status(self, name: str) -> dict[str, Any] | None:
        """The member's own status, or None if it does not answer in time."""
        if not self.members[name].running:
            return None
        with trio.move_on_after(STATUS_DEADLINE_S):
            try:
                return await self.system.status(name)
            except (OSError, HarnessError):
                return None
        return None

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """The status of everyone who answers, asked at once; refreshes `leader` and `term`."""
        found: dict[str, dict[str, Any]] = {}

        async def ask(name: str) -> None:
            status = await self.status(name)
            if status is not None:
                found[name] = status

        async with trio.open_nursery() as nursery:
            for name in self.names:
                nursery.start_soon(ask, name)
        leaders = [
            (status["term"], name)
            for name, status in found.items()
            if status["state"] == "leader" and self.members[name].running
        ]
        if leaders:
            self.term, self.leader = max(leaders)
        return found

    async def current_leader(self) -> str:
        """The leader of the highest term, or the last one known if there is none now."""
        await self.statuses()
        return self.leader

    async def wait_boot(self, name: str, boot: int) -> dict[str, Any] | None:
        """Wait until `name` answers with at least this boot; None if it dies instead. The caller owns the deadline."""
        while True:
            status = await self.status(name)
            if status is not None and status["boot"] >= boot:
                return status
            if self.members[name].process is None:
                return None
            await trio.sleep(0.02)


def _tail(path: Path, bytes_max: int = 4000) -> str:
    try:
        data = path.read_bytes()[-bytes_max:]
    except OSError:
        return ""
    return data.decode("utf-8", "replace")
