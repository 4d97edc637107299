"""The trio side of the warden: start processes, wait for them, signal them.

The children are the warden's, not ours: only it can wait, so their ends come as events. The
harness itself never forks without exec (a forked copy would hold the life pipe), and starts one
process only, the warden. Theory and protocol stand in warden.py.

Cancellation: a cancelled `spawn` has either started the process, which is then in
`Warden.processes`, or not; a cancelled `wait` leaves nothing behind. Leaving `open_warden` closes
the warden even when the scope is cancelled.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from harness.errors import SpawnError, WardenError

# The warden kills within milliseconds; past this it is itself stuck, and is killed in its turn.
CLOSE_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: an exit code or a signal, never both; `time_ns` on CLOCK_MONOTONIC."""

    code: int | None
    signal: int | None
    time_ns: int

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        try:
            return signal.Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"


def _absolute(path: str | os.PathLike[str]) -> str:
    """The warden has a working folder of its own."""
    return os.path.abspath(path)


def _read_stat(pid: int | str) -> list[bytes]:
    """Fields of /proc/PID/stat from the third (state) on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


class Process:
    """A child of the warden, leader of its own process group. Signals go to the whole group."""

    def __init__(self, warden: Warden, name: str, pid: int, started_ns: int) -> None:
        self.name = name
        self.pid = pid
        self.started_ns = started_ns
        self._warden = warden
        self._status: ExitStatus | None = None
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<Process {self.name} pid={self.pid} {self._status or 'running'}>"

    @property
    def status(self) -> ExitStatus | None:
        """None while it runs."""
        return self._status

    async def wait(self) -> ExitStatus:
        """Return when the process has ended; raise WardenError when the warden is gone."""
        await self._ended.wait()
        if self._status is None:
            raise WardenError(f"the end of {self.name} ({self.pid}) is unknown: the warden is gone")
        return self._status

    async def signal(self, signum: int) -> None:
        """Signal the whole group. To a process that has ended: nothing happens."""
        if self._status is not None:
            return
        try:
            await self._warden._ask(do="signal", pid=self.pid, signum=int(signum))
        except WardenError:
            # It may have ended while the request was under way; its exit event came first.
            if self._status is None:
                raise

    async def kill(self) -> ExitStatus:
        """SIGKILL the group, a stopped one too, and wait for the end."""
        await self.signal(signal.SIGKILL)
        return await self.wait()

    def state(self) -> str:
        """The leader's letter in /proc/PID/stat (R, S, D, T, t, Z), or X once it is gone."""
        stat = _read_stat(self.pid) if self._status is None else []
        return stat[0].decode() if stat else "X"

    def group_states(self) -> dict[int, str]:
        """pid to letter of every process of the group (a tracer and its tracee, say)."""
        states = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (stat := _read_stat(entry)) and int(stat[2]) == self.pid:
                states[int(entry)] = stat[0].decode()
        return states


@dataclass(slots=True)
class _Request:
    spawns: str | None  # the name of the process that this request starts
    answered: trio.Event = field(default_factory=trio.Event)
    answer: dict[str, Any] | None = None  # None once answered: the warden is gone
    process: Process | None = None


class Warden:
    """The harness' end of the control socket. Made by `open_warden`."""

    def __init__(
        self, proof_path: Path, stream: trio.SocketStream, pid: int, life: int | None
    ) -> None:
        self.proof_path = proof_path
        self.pid = pid
        self.processes: list[Process] = []
        self.proof: dict[str, Any] | None = None
        self._stream = stream
        self._life = life
        self._sending = trio.Lock()
        self._requests: dict[int, _Request] = {}
        self._next_id = 0
        self._running: dict[int, Process] = {}
        self._early_exits: dict[int, ExitStatus] = {}
        self._gone = trio.Event()

    def __repr__(self) -> str:
        return f"<Warden pid={self.pid} running={len(self._running)} of {len(self.processes)}>"

    async def spawn(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdout: str | os.PathLike[str] | None = None,
        stderr: str | os.PathLike[str] | None = None,
    ) -> Process:
        """Start a process in a group of its own.

        `env` replaces the environment (None: the harness' own); `stdout` and `stderr` are files to
        append to (None: /dev/null; the same path twice: one file). Raises SpawnError.
        """
        words = [os.fspath(word) for word in argv]
        try:
            started = await self._ask(
                do="spawn",
                name=name,
                argv=words,
                env=dict(os.environ if env is None else env),
                cwd=None if cwd is None else os.fspath(cwd),
                stdout=None if stdout is None else _absolute(stdout),
                stderr=None if stderr is None else _absolute(stderr),
            )
        except WardenError as error:
            raise SpawnError(f"{name} was not started ({' '.join(words)}): {error}") from error
        assert started.process is not None
        return started.process

    async def close(self) -> dict[str, Any]:
        """Kill everything, wait, have the proof written; idempotent; returns the proof."""
        if self.proof is None:
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True), suppress(WardenError):
                answer = (await self._ask(do="close")).answer
                self.proof = answer["proof"] if answer else None
            await self._release()
        if self.proof is None:
            raise WardenError(
                f"the warden ({self.pid}) gave no proof within {CLOSE_LIMIT_S} s; what it had "
                f"started was killed from here, but grandchildren may be left: look with `ps`"
            )
        return self.proof

    # -- underneath ---------------------------------------------------------------------------

    async def _ask(self, **asked: Any) -> _Request:
        if self._gone.is_set():
            raise WardenError(f"the warden ({self.pid}) is gone")
        self._next_id += 1
        request = self._requests[self._next_id] = _Request(asked.get("name"))
        line = json.dumps({**asked, "id": self._next_id}).encode() + b"\n"
        # Shielded by default: half a line would end the protocol, and an answer that nobody waits
        # for would leave a process without an owner. The warden answers within a millisecond.
        with trio.CancelScope(shield=asked["do"] != "close"):
            try:
                async with self._sending:
                    await self._stream.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._file_end()
            await request.answered.wait()
        if request.answer is None:
            raise WardenError(f"the warden ({self.pid}) is gone")
        if request.answer["event"] == "failed":
            raise WardenError(str(request.answer["error"]))
        return request

    async def _read(self) -> None:
        """The reader: a system task, so that ends are seen while the scope is being cancelled."""
        inbox = bytearray()
        try:
            while data := await self._stream.receive_some(1 << 16):
                inbox += data
                *lines, rest = inbox.split(b"\n")
                inbox = bytearray(rest)
                for line in lines:
                    self._file(json.loads(line))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._file_end()

    def _file(self, event: dict[str, Any]) -> None:
        if event["event"] == "exit":
            process = self._running.pop(event["pid"])
            process._status = ExitStatus(event["code"], event["signal"], event["time_ns"])
            process._ended.set()
            return
        request = self._requests.pop(event["id"])
        request.answer = event
        if request.spawns is not None and event["event"] == "done":
            # Filed here, not by the asker: the exit event may be in the next line.
            process = Process(self, request.spawns, event["pid"], event["time_ns"])
            request.process = self._running[process.pid] = process
            self.processes.append(process)
        request.answered.set()

    def _file_end(self) -> None:
        self._gone.set()
        for request in self._requests.values():
            request.answered.set()
        self._requests.clear()
        for process in self._running.values():
            process._ended.set()

    async def _release(self) -> None:
        """Let go of the warden. Whatever it left running (it was killed itself) dies here."""
        if self._life is not None:
            os.close(self._life)
            self._life = None
        await trio.aclose_forcefully(self._stream)
        if self.proof is None:
            for process in self._running.values():
                # Its number cannot have passed on yet: whoever reaps it now has only just become
                # its parent. Only a group that it leads counts.
                with suppress(ProcessLookupError):
                    if os.getpgid(process.pid) == process.pid:
                        os.killpg(process.pid, signal.SIGKILL)


def _start(proof: str, cleanup: Sequence[str]) -> tuple[subprocess.Popen[bytes], Warden]:
    """Exec the warden in a session of its own, and be the only one who holds its life pipe."""
    ours, theirs = socket.socketpair()
    life_read, life_write = os.pipe()
    argv = [sys.executable, "-P", "-m", "harness.warden"]
    argv += ["--control", str(theirs.fileno()), "--life", str(life_read)]
    argv += ["--harness-pid", str(os.getpid()), "--proof", proof]
    for folder in cleanup:
        argv += ["--cleanup", folder]
    path = [str(Path(__file__).resolve().parent.parent)]
    path += filter(None, [os.environ.get("PYTHONPATH")])
    try:
        started = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,
            pass_fds=(theirs.fileno(), life_read),
        )
    except BaseException:
        ours.close()
        os.close(life_write)
        raise
    finally:
        theirs.close()
        os.close(life_read)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    return started, Warden(Path(proof), stream, started.pid, life_write)


def _wait_or_kill(started: subprocess.Popen[bytes]) -> None:
    """The warden exits right after its proof; one that does not is stuck, and of no use."""
    try:
        started.wait(CLOSE_LIMIT_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


@asynccontextmanager
async def open_warden(
    *, proof_path: str | os.PathLike[str], cleanup: Sequence[str | os.PathLike[str]] = ()
) -> AsyncIterator[Warden]:
    """Start a warden; on leaving, kill all it started, wait, and have the proof written.

    `proof_path` gets the proof (JSON); the folders of `cleanup` are removed at the end, also when
    the harness was killed. Exceptions of the body pass unchanged.
    """
    started, warden = _start(_absolute(proof_path), [_absolute(folder) for folder in cleanup])
    trio.lowlevel.spawn_system_task(warden._read, name="warden reader")
    try:
        yield warden
    finally:
        try:
            await warden.close()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_wait_or_kill, started)
