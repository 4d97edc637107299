"""The warden: the one parent of every process of a run, and the proof that none is left.

    python -P -m harness.warden --control FD --life FD --harness-pid PID --proof FILE
                                [--cleanup FOLDER]...

It lives in a session of its own, so that Ctrl-C in the terminal does not reach it, and is a child
subreaper, so that an orphaned grandchild becomes its child instead of init's. It ends when it is
told to, when the life pipe (whose only write end the harness has) reaches end-of-file, or when
the harness' pidfd fires; whichever comes first, it then kills every descendant, reaps until the
kernel says there is none, and writes the proof. A subreaper without children has no descendants:
ECHILD is the proof, not a list that we kept.

Requests and events are JSON lines over a stream socket:

    {"do": "spawn", "id", "name", "argv", "env", "cwd", "stdout", "stderr"}
    {"do": "signal", "id", "pid", "signum"}        {"do": "close", "id"}
    {"event": "done", "id", ...}                   {"event": "failed", "id", "error"}
    {"event": "exit", "pid", "code" | "signal", "time_ns"}

One thread, no locks, standard library only: it starts in some 30 ms, and nothing of ours that
may break is in it. The rule: only the warden waits for children, and only it forks.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

PR_SET_CHILD_SUBREAPER: Final = 36
PIDFD_SIGNAL_PROCESS_GROUP: Final = 4  # Linux 6.9
SWEEP_PAUSE_S: Final = 0.002
# A process in an uninterruptible sleep outlives SIGKILL: after this the proof names it as left.
SWEEP_LIMIT_S: Final = 10.0
TERMINAL_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Python ignores these two in itself; a child must not inherit that.
RESET_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, *TERMINAL_SIGNALS)


@dataclass(slots=True)
class Child:
    """One process started on request; it leads its own group."""

    name: str
    pid: int
    argv: list[str]
    pidfd: int
    started_ns: int
    ended_ns: int | None = None
    code: int | None = None
    signal: int | None = None
    ended_by_warden: bool = False

    def record(self) -> dict[str, object]:
        return {
            "name": self.name,
            "pid": self.pid,
            "argv": self.argv,
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "code": self.code,
            "signal": self.signal,
            "ended_by_warden": self.ended_by_warden,
        }


def descendants(ancestor: int) -> dict[int, str]:
    """Every living or zombie process below `ancestor`, with its command name."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue  # it ended between the listing and the reading
        command, _, rest = stat.rpartition(b")")
        parents[int(entry)] = (
            int(rest.split()[1]),
            command.partition(b"(")[2].decode(errors="replace"),
        )
    found: dict[int, str] = {}
    for pid in parents:
        seen = pid
        while seen in parents and seen != ancestor:
            seen = parents[seen][0]
        if seen == ancestor and pid != ancestor:
            found[pid] = parents[pid][1]
    return found


def signal_group(child: Child, signum: int) -> str:
    """Signal the child's whole group; says by which of the two ways. Safe against reused pids:
    the child is unreaped (its number cannot be given away) whenever this is called."""
    try:
        signal.pidfd_send_signal(child.pidfd, signum, None, PIDFD_SIGNAL_PROCESS_GROUP)
        return "pidfd group"
    except OSError:  # EINVAL before Linux 6.9
        os.killpg(child.pid, signum)
        return "killpg"


class Warden:
    """All state of the warden; `run` returns when nothing is left."""

    def __init__(
        self, control: socket.socket, life: int, harness_pid: int, proof: str, cleanup: list[str]
    ) -> None:
        self._control = control
        self._life = life
        self._harness_pid = harness_pid
        self._proof = proof
        self._cleanup = cleanup
        self._children: dict[int, Child] = {}  # running, by pid
        self._ended: list[Child] = []
        self._strays: list[dict[str, object]] = []
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._closing: str | None = None
        self._close_request: int | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: exec turns a handler back into the default, an ignored signal
        # would stay ignored in every child.
        for signum in (*TERMINAL_SIGNALS, signal.SIGCHLD):
            signal.signal(signum, lambda *_: None)
        self._control.setblocking(False)
        register = self._selector.register
        register(self._control, selectors.EVENT_READ, self._on_control)
        register(self._life, selectors.EVENT_READ, self._on_life)
        register(wake_read, selectors.EVENT_READ, lambda _: self._on_wake(wake_read))
        # A second witness: a forked copy of the harness that never ran exec would hold the pipe.
        with contextlib.suppress(OSError):
            harness = os.pidfd_open(self._harness_pid)
            register(harness, selectors.EVENT_READ, self._on_harness_end)
        if os.getppid() != self._harness_pid:
            self._closing = "the harness was gone at the start"
        while self._closing is None:
            for key, mask in self._selector.select():
                key.data(mask)
        self._finish(self._closing)

    # -- what wakes the loop ------------------------------------------------------------------

    def _on_life(self, _mask: int) -> None:
        if not os.read(self._life, 4096):
            self._closing = "end of file on the life pipe"

    def _on_harness_end(self, _mask: int) -> None:
        self._closing = "the harness ended"

    def _on_wake(self, wake_read: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake_read, 4096)
        self._reap()

    def _on_control(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = self._control.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._closing = "end of file on the control socket"
            return
        self._inbox += data
        *lines, rest = self._inbox.split(b"\n")
        self._inbox = bytearray(rest)
        for line in lines:
            self._serve(json.loads(line))

    def _serve(self, request: dict[str, Any]) -> None:
        try:
            match request["do"]:
                case "spawn":
                    answer = self._spawn(request)
                case "signal":
                    answer = self._signal(request["pid"], request["signum"])
                case "close":
                    self._closing, self._close_request = "asked to close", request["id"]
                    return
                case other:
                    raise ValueError(f"unknown request {other!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._say({"event": "failed", "id": request.get("id"), "error": f"{error!r}"})
        else:
            self._say({"event": "done", "id": request["id"], **answer})

    # -- children -----------------------------------------------------------------------------

    def _spawn(self, request: dict[str, Any]) -> dict[str, object]:
        argv, env, cwd = request["argv"], request["env"], request["cwd"]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, request["stdout"] or os.devnull, append, 0o644),
        ]
        if request["stderr"] == request["stdout"]:
            actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
        else:
            actions.append((os.POSIX_SPAWN_OPEN, 2, request["stderr"] or os.devnull, append, 0o644))
        # posix_spawn has no working folder; the only thread of this process lends its own.
        home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if cwd is not None:
                os.chdir(cwd)
            started_ns = time.monotonic_ns()
            pid = os.posix_spawnp(
                argv[0],
                argv,
                env,
                file_actions=actions,
                setpgroup=0,
                setsigmask=[],
                setsigdef=RESET_SIGNALS,
            )
        finally:
            os.fchdir(home)
            os.close(home)
        # The child is ours and unreaped: the number cannot have passed to another process.
        child = Child(request["name"], pid, argv, os.pidfd_open(pid), started_ns)
        self._children[pid] = child
        return {"pid": pid, "time_ns": started_ns}

    def _signal(self, pid: int, signum: int) -> dict[str, object]:
        child = self._children.get(pid)
        if child is None:
            raise ValueError(f"process {pid} has ended, or was never started here")
        return {"how": signal_group(child, signum), "time_ns": time.monotonic_ns()}

    def _reap(self) -> bool:
        """Take every ended child; False when the kernel says that there is no child at all."""
        while True:
            try:
                # First a look without reaping: while the leader is a zombie its number stays its
                # group's, so that what is left of the group can be killed without a doubt.
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if info is None:
                return True
            child = self._children.pop(info.si_pid, None)
            exited = info.si_code == os.CLD_EXITED
            if child is None:
                if not exited or self._closing is not None:
                    self._strays.append(
                        {"pid": info.si_pid, "code" if exited else "signal": info.si_status}
                    )
            else:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.ended_ns = time.monotonic_ns()
                child.code = info.si_status if exited else None
                child.signal = None if exited else info.si_status
                child.ended_by_warden = self._closing is not None
                os.close(child.pidfd)
                self._ended.append(child)
                self._say(
                    {
                        "event": "exit",
                        "pid": child.pid,
                        "code": child.code,
                        "signal": child.signal,
                        "time_ns": child.ended_ns,
                    }
                )
            os.waitid(os.P_PID, info.si_pid, os.WEXITED | os.WNOHANG)

    # -- the end ------------------------------------------------------------------------------

    def _finish(self, because: str) -> None:
        began_ns = time.monotonic_ns()
        limit_ns = began_ns + int(SWEEP_LIMIT_S * 1e9)
        for child in self._children.values():
            with contextlib.suppress(OSError):
                signal_group(child, signal.SIGKILL)
        while (some_left := self._reap()) and time.monotonic_ns() < limit_ns:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(SWEEP_PAUSE_S)
        left = descendants(os.getpid())
        if self._cleanup:
            import shutil

            for folder in self._cleanup:
                shutil.rmtree(folder, ignore_errors=True)
        proof = {
            "format": "driftline-warden-proof/1",
            "warden_pid": os.getpid(),
            "because": because,
            "began_ns": began_ns,
            "ended_ns": time.monotonic_ns(),
            "nothing_left": not some_left and not left,
            "left": [{"pid": pid, "command": command} for pid, command in left.items()],
            "processes": [c.record() for c in (*self._ended, *self._children.values())],
            "strays": self._strays,
            "removed": [folder for folder in self._cleanup if not os.path.lexists(folder)],
        }
        self._write_proof(proof)
        if self._close_request is not None:
            self._say({"event": "done", "id": self._close_request, "proof": proof})
            with contextlib.suppress(OSError):
                self._control.setblocking(True)
                self._control.settimeout(1.0)  # a stopped harness must not keep the warden
                self._control.sendall(self._outbox)

    def _write_proof(self, proof: dict[str, object]) -> None:
        temporary = f"{self._proof}.part"
        try:
            with open(temporary, "w") as file:
                json.dump(proof, file, indent=1)
                file.write("\n")
            os.replace(temporary, self._proof)
        except OSError as error:
            print(f"warden: the proof {self._proof} cannot be written: {error}", file=sys.stderr)

    def _say(self, event: dict[str, object]) -> None:
        self._outbox += json.dumps(event).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._outbox:
                del self._outbox[: self._control.send(self._outbox)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        self._selector.modify(self._control, wanted, self._on_control)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="harness.warden", description="parent of a run's processes"
    )
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--harness-pid", type=int, required=True)
    parser.add_argument("--proof", required=True)
    parser.add_argument("--cleanup", action="append", default=[])
    asked = parser.parse_args()
    # For all children. They wake each other up some ten times an operation: whoever is woken shall not take the processor from
    # whoever woke it, which is about to say more. Where it is refused a run is slower, and no less right.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER was refused")
    for fd in (asked.control, asked.life):
        os.set_inheritable(fd, False)
    control = socket.socket(fileno=asked.control)
    Warden(control, asked.life, asked.harness_pid, asked.proof, asked.cleanup).run()


if __name__ == "__main__":
    main()
