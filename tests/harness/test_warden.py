"""The warden leaves nothing behind, whatever becomes of the harness, and proves it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from harness.errors import SpawnError, WardenError
from harness.processes import ExitStatus, Process, open_warden

# A session of its own by Python, and not by setsid(1), which not every machine has.
OWN_SESSION = "import os, sys; os.setsid(); os.execlp('sleep', 'sleep', sys.argv[1])"

# Starts a plain child, a stopped one, one with a grandchild in a session of its own, and one that
# ignores SIGTERM; prints "ready" and sleeps. `fork` adds a copy of the harness without exec.
HARNESS = """
import os, signal, sys, time, trio
from harness.processes import open_warden

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored

async def main():
    async with open_warden(proof_path=sys.argv[1], cleanup=[sys.argv[2]]) as warden:
        await warden.spawn("plain", ["sleep", sys.argv[3]])
        stopped = await warden.spawn("stopped", ["sleep", sys.argv[3]])
        await stopped.signal(19)
        await warden.spawn("family", ["sh", "-c", '"$0" -c "$1" "$2" & wait', sys.executable, sys.argv[5], sys.argv[3]])
        await warden.spawn("stubborn", ["sh", "-c", f"trap '' TERM INT HUP; sleep {sys.argv[3]}"])
        while stopped.state() != "T":
            await trio.sleep(0.005)
        if sys.argv[4] == "fork" and os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        print("ready", warden.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def wait_until(true: Callable[[], Any], deadline_s: float = 3.0) -> float:
    """Seconds until it was true."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < deadline_s, "not true within the deadline"
        time.sleep(0.005)
    return time.monotonic() - begin


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leaving a Popen waits for the process, which must not keep a failed test for ever."""
    try:
        yield
    finally:
        process.kill()


def sleepers(mark: str) -> list[str]:
    """The pids of all processes whose command line has the mark, wherever they hang in the tree."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep" and mark.encode() in words:
            found.append(entry.name)
    return found


@pytest.mark.parametrize(
    ("signum", "to_group", "extra"),
    [
        (signal.SIGKILL, False, ""),
        (signal.SIGKILL, False, "fork"),  # the copy holds the life pipe, and must not matter
        (signal.SIGHUP, True, ""),  # a closed terminal: the whole group, the warden is not in it
    ],
    ids=["kill -9", "kill -9 with a forked copy", "hang-up of the group"],
)
def test_nothing_outlives_the_harness(
    signum: signal.Signals, to_group: bool, extra: str, tmp_path: Path
) -> None:
    """Within 2 s: plain, stopped, grandchild of another session, deaf to signals; and the proof."""
    proof, sockets = tmp_path / "proof.json", tmp_path / "sockets"
    sockets.mkdir()
    (sockets / "n1.sock").touch()
    mark = f"{100_000 + os.getpid()}.{time.monotonic_ns() % 1_000_000}"
    argv = [sys.executable, "-c", HARNESS, str(proof), str(sockets), mark, extra, OWN_SESSION]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, process_group=0) as harness,
        killed_at_the_end(harness),
    ):
        assert harness.stdout is not None
        assert harness.stdout.readline().startswith("ready")
        wait_until(lambda: len(sleepers(mark)) == 4)
        if to_group:
            os.killpg(harness.pid, signum)
        else:
            harness.send_signal(signum)
        wait_until(proof.exists, 2.0)
        assert sleepers(mark) == []
        if extra == "fork":
            os.killpg(harness.pid, signal.SIGKILL)
    told = json.loads(proof.read_text())
    assert told["nothing_left"] is True
    assert told["left"] == []
    assert {p["name"]: p["signal"] for p in told["processes"]} == dict.fromkeys(
        ["plain", "stopped", "family", "stubborn"], signal.SIGKILL
    )
    assert all(process["ended_by_warden"] for process in told["processes"])
    assert told["removed"] == [str(sockets)]
    assert not sockets.exists()


async def test_ends_are_told_as_codes_and_signals(tmp_path: Path) -> None:
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        code = await warden.spawn("code", ["sh", "-c", "exit 3"])
        assert await code.wait() == ExitStatus(3, None, code.status.time_ns if code.status else 0)
        killed = await warden.spawn("killed", ["sleep", "60"])
        assert killed.status is None
        assert (await killed.kill()).signal == signal.SIGKILL
        assert str(killed.status) == "SIGKILL"
        assert killed.state() == "X"
        await killed.signal(signal.SIGCONT)  # to a process that has ended: nothing
        with pytest.raises(SpawnError, match=r"missing was not started .*FileNotFound"):
            await warden.spawn("missing", ["/no/such/program"])
    assert warden.proof is not None
    assert warden.proof["because"] == "asked to close"
    assert [(p["code"], p["signal"]) for p in warden.proof["processes"]] == [(3, None), (None, 9)]
    assert json.loads((tmp_path / "proof.json").read_text()) == warden.proof
    with pytest.raises(WardenError, match="gone"):
        await warden.spawn("late", ["true"])


async def test_a_child_gets_its_folder_environment_and_files(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    out.write_text("before\n")
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        script = 'pwd; echo "$GREETING"; echo wrong >&2; cat; kill -TERM $$'
        child = await warden.spawn(
            "child",
            ["sh", "-c", script],
            env={"GREETING": "grüße", "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            stdout=out,
            stderr=err,
        )
        # The warden handles SIGTERM itself; its children must not inherit that.
        assert (await child.wait()).signal == signal.SIGTERM
    assert out.read_text() == f"before\n{tmp_path}\ngrüße\n"
    assert err.read_text() == "wrong\n"


async def test_children_do_not_take_the_processor_from_whoever_wakes_them(tmp_path: Path) -> None:
    """Nor is the harness itself moved: it must note answers when they come."""
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        child = await warden.spawn("child", ["sleep", "60"])
        assert os.sched_getscheduler(child.pid) == os.SCHED_BATCH
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


async def until(process: Process, letter: str, count: int) -> None:
    while True:
        if list(process.group_states().values()) == [letter] * count:
            return
        await trio.sleep(0.002)


async def test_signals_reach_the_whole_group(tmp_path: Path) -> None:
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        family = await warden.spawn("family", ["sh", "-c", "sleep 60 & sleep 60 & wait"])
        with trio.fail_after(2):
            await until(family, "S", 3)
            await family.signal(signal.SIGSTOP)
            await until(family, "T", 3)
            assert family.state() == "T"
            await family.signal(signal.SIGCONT)
            await until(family, "S", 3)
            await family.signal(signal.SIGSTOP)
            await family.kill()  # stopped or not
            await until(family, "", 0)


async def test_the_rest_of_a_group_ends_with_its_leader(tmp_path: Path) -> None:
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        family = await warden.spawn("family", ["sh", "-c", "sleep 60 & exit 0"])
        assert (await family.wait()).code == 0
        with trio.fail_after(2):
            await until(family, "", 0)


async def test_closing_takes_less_than_two_seconds_and_survives_cancellation(
    tmp_path: Path,
) -> None:
    begin = time.monotonic()
    with trio.move_on_after(0.3) as scope:
        async with open_warden(proof_path=tmp_path / "proof.json") as warden:
            for n in range(15):
                await warden.spawn(f"p{n}", ["sh", "-c", "sleep 60 & sleep 60"])
            for n in range(15, 20):
                script = '"$0" -c "$1" 60 & sleep 60'
                await warden.spawn(f"p{n}", ["sh", "-c", script, sys.executable, OWN_SESSION])
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert time.monotonic() - begin < 2.3
    assert warden.proof is not None
    assert warden.proof["nothing_left"]
    assert len(warden.proof["processes"]) == 20
    assert all(process.status is not None for process in warden.processes)


async def test_a_killed_warden_is_told_and_its_children_are_killed(tmp_path: Path) -> None:
    children = []

    async def lose_the_warden() -> None:
        async with open_warden(proof_path=tmp_path / "proof.json") as warden:
            children.append(await warden.spawn("child", ["sleep", "60"]))
            os.kill(warden.pid, signal.SIGKILL)
            with pytest.raises(WardenError, match="the warden is gone"):
                await children[0].wait()
            assert children[0].state() == "S"

    with pytest.raises(WardenError, match="gave no proof"):
        await lose_the_warden()
    with trio.fail_after(2):
        await until(children[0], "", 0)
