"""Each tool that faults rest on, tried by using it: never by its name on the PATH alone.

A check says what was found, what will use it, and for what is missing the one command that mends it. `required` checks are
those that the default plan cannot do without; the rest is information.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

Status = Literal["yes", "no", "information"]

PIDFD_SIGNAL_PROCESS_GROUP: Final = 4
DEADLINE_S: Final = 10.0
HOST: Final = "127.0.0.1"
CLOSE_NS: Final = 2_000_000
"""Readings between two of ours that are so near say the rate to a hundredth in a quarter of a second."""
READINGS: Final = 20
ROOT: Final = Path(__file__).resolve().parent.parent


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`found` is what happened when it was tried; `uses` what rests on it; `mend` one command, for what is missing."""

    name: str
    status: Status
    found: str
    uses: str
    required: bool = False
    mend: str = ""


class _Missing(Exception):
    """The tool does not do its part: why, and the command that mends it."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(why)
        self.mend = mend


def fit(checks: list[Check]) -> bool:
    """Can the default plan run here?"""
    return all(check.status != "no" for check in checks if check.required)


async def examine(runs_dir: Path) -> list[Check]:
    """Try everything, one after the other (each is short and leaves nothing behind)."""
    import trio

    return await trio.to_thread.run_sync(_examine, runs_dir)


def _examine(runs_dir: Path) -> list[Check]:
    def try_it(
        name: str,
        attempt: Callable[[], str],
        *,
        uses: str,
        required: bool = False,
        information: bool = False,
    ) -> Check:
        try:
            found = attempt()
        except _Missing as error:
            status: Status = "information" if information else "no"
            return Check(
                name=name,
                status=status,
                found=str(error),
                uses=uses,
                required=required,
                mend=error.mend,
            )
        except Exception as error:
            return Check(
                name=name,
                status="information" if information else "no",
                found=f"{type(error).__name__}: {error}",
                uses=uses,
                required=required,
            )
        status = "information" if information else "yes"
        return Check(name=name, status=status, found=found, uses=uses, required=required)

    return [
        try_it("python", _python, uses="everything", required=True),
        try_it("loopback nets", _loopback, uses="several runs side by side", required=True),
        try_it("free ports", _ports, uses="nodes and links", required=True),
        try_it(
            "toxiproxy",
            _toxiproxy,
            uses='links = "toxiproxy" (the default): partition, latency',
            required=True,
        ),
        try_it(
            "embedded links", _embedded, uses='links = "embedded": frames, atomic cuts, partition'
        ),
        try_it("node clock", _node_clock, uses="clock_rate, clock_offset", required=True),
        try_it("stop and continue", _stop_state, uses="pause", required=True),
        try_it("signals to a group by pidfd", _pidfd_group, uses="pause, kill, power_loss"),
        try_it("sync", lambda: _sync(runs_dir), uses="power_loss, and the durability check"),
        try_it("checker core", _porcupine, uses="linearizability", required=True),
        try_it("libfaketime", _faketime, uses="clocks of other systems", information=True),
        try_it("strace", _strace, uses="slow and failing disks of others", information=True),
    ]


# ---- the attempts -------------------------------------------------------------------------------


def _python() -> str:
    return f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores"


def _loopback() -> str:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.77.1.2", 0))
        other.bind(("127.77.2.2", one.getsockname()[1]))
        one.listen(1)
        with socket.create_connection(one.getsockname(), timeout=2):
            pass
    return "127.x.y.0/24 can be bound; the same port on two of them"


def _ports() -> str:
    first, _last = map(
        int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    )
    ports = [7100, 7200, 7400, 8000, 8100]
    if first <= max(ports):
        raise _Missing(
            f"the ephemeral range begins at {first}, over the ports of the links",
            "sysctl -w net.ipv4.ip_local_port_range='32768 60999'",
        )
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.77.3.2", port))
    return f"fixed ports lie below the ephemeral range (from {first}) and are free"


def _toxiproxy() -> str:
    """Start the server that the links would start, make one proxy, pass one byte through it."""
    from harness.errors import HarnessError
    from harness.links.server import find_toxiproxy_server

    try:
        program = find_toxiproxy_server()
    except HarnessError as error:
        raise _Missing(str(error), "make setup") from error
    port = _free_port()
    version, taken_ms = _through_a_proxy([str(program), "-host", HOST, "-port", str(port)], port)
    return f"{version}: a byte went through and back in {taken_ms:.1f} ms ({program})"


def _embedded() -> str:
    port = _free_port()
    program = [sys.executable, "-P", "-m", "harness.links.embedded", "--api", f"{HOST}:{port}"]
    version, taken_ms = _through_a_proxy(program, port)
    return f"{version}: a byte went through and back in {taken_ms:.1f} ms"


def _through_a_proxy(program: list[str], port: int) -> tuple[str, float]:
    """Both kinds of links speak one API: the server's version, and how long a byte took (ms)."""
    import httpx

    listen = _free_port()
    address = f"http://{HOST}:{port}"
    with (
        _echo() as upstream,
        _child(program, ours=True),
        httpx.Client(base_url=address, trust_env=False, timeout=2) as api,
    ):
        version = _until(lambda: api.get("/version").text.strip(), httpx.HTTPError)
        body = {"name": "probe", "listen": f"{HOST}:{listen}", "upstream": f"{HOST}:{upstream}"}
        api.post("/proxies", json=body).raise_for_status()
        taken_ms = _pass_a_byte(listen)
    if version.startswith("{"):
        version = str(json.loads(version).get("version", "?"))
    return version, taken_ms


def _node_clock() -> str:
    """A child whose clock runs at rate 2 by the node's own seam; its readings between two of ours."""
    script = (
        "import sys\n"
        "from node.clock import NodeClock, true_clock\n"
        "true = true_clock()\n"
        "clock = NodeClock(true, true(), rate=2.0)\n"
        "for _ in sys.stdin: print(clock.own(), flush=True)\n"
    )
    rate = _rate_of([sys.executable, "-P", "-c", script])
    if not 1.9 < rate < 2.1:
        raise _Missing(f"asked for rate 2.0, measured {rate:.3f}")
    return f"a child at rate 2.0 measured {rate:.3f}"


def _rate_of(command: list[str]) -> float:
    """How fast the clock of a child runs that answers each line with its reading in ns."""
    with _child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, ours=True) as child:

        def read() -> tuple[int, int, int]:
            assert child.stdin is not None
            assert child.stdout is not None
            before = time.monotonic_ns()
            child.stdin.write(b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                raise _Missing("the child with the clock ended by itself")
            return before, int(line), time.monotonic_ns()

        def close() -> tuple[int, int, int]:
            """The closest of some readings: a busy host may let the child wait between two of ours."""
            found = read()
            for _ in range(READINGS):
                if found[2] - found[0] <= CLOSE_NS:
                    break
                found = min(found, read(), key=lambda reading: reading[2] - reading[0])
            return found

        read()
        first = close()
        time.sleep(0.25)
        second = close()
    span = (second[0] + second[2] - first[0] - first[2]) / 2
    return (second[1] - first[1]) / span


def _stop_state() -> str:
    with _child([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        os.killpg(child.pid, signal.SIGSTOP)
        _until_state(child.pid, "T")
        os.killpg(child.pid, signal.SIGCONT)
        _until_state(child.pid, "S")
    return "SIGSTOP shows state T, SIGCONT ends it"


def _pidfd_group() -> str:
    """Both a child and its own child must stop."""
    script = (
        "import subprocess,sys,time\n"
        "p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(60)'])\n"
        "print(p.pid,flush=True); time.sleep(60)"
    )
    with _child([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        pidfd = os.pidfd_open(child.pid)
        try:
            result = ctypes.CDLL(None, use_errno=True).syscall(
                424, pidfd, int(signal.SIGSTOP), None, PIDFD_SIGNAL_PROCESS_GROUP
            )
            if result != 0:
                why = os.strerror(ctypes.get_errno())
                raise _Missing(f"not in this kernel ({why}); the warden's killpg serves instead")
            _until_state(child.pid, "T")
            _until_state(grandchild, "T")
        finally:
            os.close(pidfd)
    return "child and grandchild stopped by one pidfd"


def _sync(runs_dir: Path) -> str:
    folder = runs_dir
    while not folder.is_dir():
        folder = folder.parent
    from harness.store import file_system

    kind = file_system(folder)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".driftline-doctor-") as file:
        times_ms = []
        for _ in range(10):
            file.write(b"x" * 512)
            file.flush()
            begin = time.monotonic_ns()
            os.fdatasync(file.fileno())
            times_ms.append((time.monotonic_ns() - begin) / 1e6)
    middle_ms = sorted(times_ms)[5]
    if kind in ("tmpfs", "ramfs"):
        raise _Missing(
            f"{folder.resolve()} is on {kind}: nothing survives there, so durability is not judged",
            "driftline run --runs A_FOLDER_ON_A_DISK",
        )
    return f"fdatasync takes {middle_ms:.2f} ms on {kind} ({folder.resolve()})"


def _porcupine() -> str:
    """The name is free on the package index: a stranger of that name must not judge."""
    import importlib.metadata

    import porcupine

    where = Path(porcupine.__file__ or "?").parent
    try:
        version = importlib.metadata.version("porcupine-py")
    except importlib.metadata.PackageNotFoundError:
        raise _Missing(f"the module loaded from {where} is not ours", "make setup") from None
    return f"porcupine-py {version}, core in {porcupine.core}, from {where}"


def _faketime() -> str:
    program = shutil.which("faketime")
    if program is None:
        raise _Missing("not installed (our own node does not need it)", "apt-get install faketime")
    script = "import sys, time\nfor _ in sys.stdin: print(time.monotonic_ns(), flush=True)"
    rate = _rate_of([program, "-f", "+0 x2.0", sys.executable, "-c", script])
    if not 1.9 < rate < 2.1:
        raise _Missing(f"asked for rate 2.0, measured {rate:.3f} ({program})")
    return f"a child at rate 2.0 measured {rate:.3f} ({program})"


def _strace() -> str:
    program = shutil.which("strace")
    if program is None:
        raise _Missing("not installed", "apt-get install strace")
    done = subprocess.run(
        [program, "-f", "-e", "trace=fdatasync", "-o", "/dev/null", "true"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        raise _Missing(f"{program} may not trace: {done.stderr.strip()[:100]}")
    return f"{program}: traced a child"


# ---- their means --------------------------------------------------------------------------------


@contextmanager
def _child(
    command: list[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    ours: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, killed with the whole group at the end.

    `ours`: our packages are on its path, wherever it was started from.
    """
    child = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)} if ours else None,
    )
    try:
        yield child
    finally:
        # Not reaped yet, so the group's number is still its own.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


@contextmanager
def _echo() -> Iterator[int]:
    """A server that echoes, in a process of its own; its port."""
    script = (
        "import socket\n"
        "s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(8)\n"
        "print(s.getsockname()[1],flush=True)\n"
        "while True:\n"
        "    c,_=s.accept(); d=c.recv(16); c.sendall(d); c.close()\n"
    )
    with _child([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pass_a_byte(port: int) -> float:
    begin = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        link.sendall(b"d")
        if link.recv(1) != b"d":
            raise _Missing("the byte did not come back")
    return (time.monotonic_ns() - begin) / 1e6


def _until(attempt: Callable[[], str], refused: type[Exception]) -> str:
    deadline = time.monotonic() + 3
    while True:
        try:
            return attempt()
        except refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.03)


def _until_state(pid: int, wanted: str) -> None:
    deadline = time.monotonic() + 2
    while True:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        if state == wanted or (wanted == "S" and state in "RSD"):
            return
        if time.monotonic() > deadline:
            raise _Missing(f"process {pid} is in state {state}, not {wanted}")
        time.sleep(0.01)


# ---- telling ------------------------------------------------------------------------------------


def lines(checks: list[Check], *, color: bool = False) -> list[str]:
    """For a terminal: one check a paragraph, the mends, and whether the default plan can run."""
    from harness.show import paint

    out: list[str] = []
    codes = {"yes": "32", "no": "31", "information": "36"}
    marks = {"yes": "ok", "no": "no", "information": "i "}
    for check in checks:
        mark = paint(marks[check.status], codes[check.status], color)
        body = textwrap.wrap(check.found or "-", 76, break_long_words=False)
        out.append(f"{mark}  {check.name:<28} for {check.uses}")
        out += [f"    {line}" for line in body]
        if check.mend:
            out.append(f"    mend: {check.mend}")
    out.append("")
    missing = [check.name for check in checks if check.required and check.status == "no"]
    if missing:
        out.append(f"The default plan cannot run here: {', '.join(missing)}.")
        if missing == ["toxiproxy"]:
            out.append("Without it: driftline run --links embedded")
    else:
        out.append("The default plan can run here.")
    return out
