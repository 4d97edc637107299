"""Snapshots of real processes: saved under load, pulled and loaded, through kills, losses and pauses."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from node import wire
from node.api import AdminClient, AdminError, Outcome, cut_to_synced
from node.kv import encode_write
from tests.node.shell.group import Group

VALUE_BYTES = 10_000
KEYS = 200
STATE_BYTES = KEYS * VALUE_BYTES
"""Sixteen pieces: a download has a beginning, a middle and an end."""
RATE = 4_000_000
"""Bytes a second: a download then takes half a second."""

SESSIONS = itertools.count()
"""Each has its own name: a name that comes again would make its commands retries."""

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"
)


async def fill(group: Group, name: str, count: int, *, keys: int, size: int = 1) -> int:
    """So many writes at `name`, hundreds at a time; gives the last one's index. AssertionError if one is refused."""
    stream = await trio.open_tcp_stream("127.0.0.1", group.client_ports[name])
    reader = wire.FrameReader()
    session = f"s{next(SESSIONS)}"
    sent = answered = last = 0
    window = max(1, min(500, 2_000_000 // size))
    async with stream:
        while answered < count:
            frames = []
            while sent < count and sent - answered < window:
                sent += 1
                value = f"{sent} {'x' * size}"
                command = encode_write(session, sent, f"key{sent % keys}", value)
                frames.append(wire.frame(wire.encode(wire.Submit(sent, 60_000, session, command))))
            if frames:
                await stream.send_all(b"".join(frames))
            with trio.fail_after(20):
                data = await stream.receive_some(1 << 20)
            assert data, "the node closed the connection"
            for payload in reader.feed(data):
                answer = wire.decode_server(payload)
                assert isinstance(answer, wire.Done), answer
                answered += 1
                last = max(last, answer.log_index)
    return last


def told(group: Group, name: str, event: str) -> list[dict[str, Any]]:
    """What all lives of `name` said under this event name, oldest first."""
    found = []
    for boot in range(1, group.boots[name] + 1):
        path = group.folder / name / f"events.{boot}.jsonl"
        lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
        found += [line for line in map(msgspec.json.decode, lines) if line["event"] == event]
    return found


async def agree(group: Group) -> None:
    """All members have applied the same, and their states are the same bytes."""
    leader = await group.leader()
    done = await writes(group, leader, 1)
    digests = set()
    for name in group.names:
        await group.until(name, lambda status: status["applied"] >= done, 20)
        await saved_anew(group, name)
        saved = told(group, name, "snapshot_saved") + told(group, name, "snapshot_loaded")
        newest = max(saved, key=lambda event: event["index"])
        digests.add((newest["index"], newest["digest"]))
    assert len(digests) == 1, digests


async def saved_anew(group: Group, name: str) -> None:
    """Save a snapshot, once the one is done that the node may be saving by itself."""
    with trio.fail_after(20):
        async with group.admin(name) as admin:
            while True:
                try:
                    return await admin.snapshot()
                except AdminError as error:
                    if "busy" not in str(error):
                        raise
                await trio.sleep(0.02)


async def writes(group: Group, name: str, count: int) -> int:
    """A few writes one after the other; gives the last one's index."""
    client = group.client(name, f"s{next(SESSIONS)}")
    outcome = Outcome("info")
    for number in range(count):
        outcome = await client.call("write", f"few{number}", number, None, 5000)
        assert outcome.kind == "ok", outcome
    client.close()
    return outcome.log_index or 0


async def left_behind(group: Group) -> tuple[str, str]:
    """(leader, a follower that is dead and lacks what the leader has cut); the state is STATE_BYTES."""
    leader = await group.leader()
    away = group.others(leader)[0]
    group.kill(away)
    for _ in range(2):
        await fill(group, leader, KEYS, keys=KEYS, size=VALUE_BYTES)
        async with group.admin(leader) as admin:
            await admin.snapshot()
        await writes(group, leader, 1)
    status = await group.status(leader)
    assert status["first_index"] > 1
    assert status["snapshot"]["size"] > STATE_BYTES
    return leader, away


async def pulled(group: Group, name: str, share: float) -> dict[str, Any]:
    """Wait until so much of a snapshot is at `name`."""
    return await group.until(
        name, lambda status: status["snapshot"]["have"] >= share * STATE_BYTES, 20
    )


@pytest.fixture
def throttled() -> Iterator[Group]:
    with Group(3, snapshot_interval_entries=0, snapshot_bytes_per_s=RATE) as group:
        group.start_all()
        yield group


async def test_a_follower_that_was_away_over_two_snapshots_catches_up_under_load() -> None:
    """It loads one, goes on from the log, and then has the same state; nobody else notices."""
    with Group(3, snapshot_interval_entries=1000) as group:
        group.start_all()
        leader = await group.leader()
        away = group.others(leader)[0]
        group.kill(away)
        await fill(group, leader, 4000, keys=500)
        assert (await group.status(leader))["first_index"] > 1000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: fill(group, leader, 8000, keys=500))
            group.start(away)
        await agree(group)
        loaded = told(group, away, "snapshot_loaded")
        assert [event["source"] for event in loaded][:1] == ["install"]
        assert told(group, away, "log_reset")
        assert (await group.status(leader))["state"] == "leader"
        indices = [event["index"] for event in told(group, leader, "snapshot_saved")]
        assert len(indices) >= 10
        cuts = [event["first"] for event in told(group, leader, "log_cut")]
        assert cuts == [index + 1 for index in indices[: len(cuts)]]


@pytest.mark.parametrize("how", ["kill", "power loss", "pause"])
async def test_a_download_survives_what_befalls_the_follower(throttled: Group, how: str) -> None:
    """At beginning, middle and end: killed it resumes where it was, after a power loss it begins anew, paused it goes on."""
    group = throttled
    leader, away = await left_behind(group)
    for share in (0.05, 0.5, 0.9):
        group.start(away)
        await pulled(group, away, share)
        if how == "pause":
            group.signal(away, signal.SIGSTOP)
            await trio.sleep(0.7)
            group.signal(away, signal.SIGCONT)
        else:
            await lost(group, away, power=how == "power loss")
            group.start(away)
        last = (await group.status(leader))["commit"]
        status = await group.until(away, lambda status, last=last: status["applied"] >= last, 20)
        again = status["counters"]["snapshot_bytes_pulled"]
        assert (again < status["snapshot"]["size"]) is (how == "kill")
        await lost(group, away, power=False)
        shutil.rmtree(group.folder / away / "data")
    group.start(away)
    await agree(group)


async def lost(group: Group, name: str, *, power: bool) -> None:
    """SIGKILL, and what was not synced goes too if the power is lost."""
    group.signal(name, signal.SIGKILL)
    await group.ended(name)
    if power:
        cut_to_synced(group.folder / name / "data")


async def test_a_download_survives_the_death_of_its_leader(throttled: Group) -> None:
    """2.3: interrupted with the leader; the next one has its own snapshot pulled."""
    group = throttled
    leader, away = await left_behind(group)
    (other,) = [name for name in group.others(leader) if name != away]
    for _ in range(2):
        async with group.admin(other) as admin:
            await admin.snapshot()
        await writes(group, leader, 1)
        last = (await group.status(leader))["commit"]
        await group.until(other, lambda status, last=last: status["applied"] >= last)
    group.start(away)
    await pulled(group, away, 0.4)
    group.kill(leader)
    status = await group.until(away, lambda status: status["applied"] >= last, 20)
    assert status["leader_id"] == other
    group.start(leader)
    await agree(group)


async def test_a_leader_that_is_paused_while_it_serves_is_asked_again(throttled: Group) -> None:
    """The piece on its way is waited for; a follower that hears nothing for E + D gives up, and may elect."""
    group = throttled
    leader, away = await left_behind(group)
    group.start(away)
    await pulled(group, away, 0.3)
    group.signal(leader, signal.SIGSTOP)
    await trio.sleep(0.4)
    group.signal(leader, signal.SIGCONT)
    last = (await group.status(leader))["commit"]
    await group.until(away, lambda status: status["applied"] >= last, 20)
    await agree(group)


STEPS = [
    *[("pwrite64", when) for when in (1, 2)],
    *[("fdatasync", when) for when in (1, 2)],
    *[("rename", when) for when in (1, 2)],
    *[("fsync", when) for when in (1, 2, 3)],
    *[("unlink", when) for when in (1, 2)],
]


def killed_at(folder: Path, call: str, when: int) -> list[str]:
    """Kill the process at its so-many-th such call on snapshots."""
    data = folder / "data"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    for name in ("snapshot.new", "snapshot.part", ""):
        strace += ["-P", str(data / name) if name else str(data)]
    return [*strace, "-e", f"inject={call}:signal=KILL:when={when}"]


@needs_strace
@pytest.mark.parametrize(
    ("call", "when", "loss"),
    [
        ("rename", 1, True),
        ("fdatasync", 1, True),
        ("unlink", 1, False),
        *[
            pytest.param(call, when, loss, marks=pytest.mark.soak)
            for loss in (False, True)
            for call, when in STEPS
        ],
    ],
)
async def test_a_member_killed_at_any_step_of_saving_and_loading_recovers(
    call: str, when: int, loss: bool
) -> None:
    """P-DU, P-SM: whatever step was the last, the next life has all that was acknowledged, and the group one state."""
    with Group(3, snapshot_interval_entries=0) as group:
        group.start_all()
        leader = await group.leader()
        away = group.others(leader)[0]
        group.kill(away)
        for _ in range(2):
            await fill(group, leader, 50, keys=50, size=3000)
            async with group.admin(leader) as admin:
                await admin.snapshot()
        await writes(group, leader, 3)
        group.start(away, under=killed_at(group.folder / away, call, when))
        process = group.processes[away]
        with trio.move_on_after(4):
            while process.poll() is None:
                # It lives through the install if the call comes later: then let it save.
                try:
                    async with group.admin(away) as admin:
                        await writes(group, leader, 1)
                        await admin.snapshot()
                except OSError:
                    pass
                await trio.sleep(0.05)
        group.kill(away)
        if loss:
            cut_to_synced(group.folder / away / "data")
        group.start(away)
        await agree(group)


async def test_a_restart_goes_on_from_the_snapshot(throttled: Group) -> None:
    """2.1: it loads the newest, applies only what follows, and answers a retry of an older session as before."""
    group = throttled
    leader = await group.leader()
    client = group.client(leader, "old")
    first = await client.call("add", "sum", 5, None, 5000)
    assert first.kind == "ok"
    await writes(group, leader, 20)
    for name in group.names:
        async with group.admin(name) as admin:
            await admin.snapshot()
            await admin.snapshot()
    last = await writes(group, leader, 3)
    for name in group.names:
        group.kill(name)
    group.start_all()
    leader = await group.leader()
    (boot,) = [e for e in told(group, leader, "boot") if e["boot"] == 2]
    assert boot["snapshot_index"] > 20
    assert boot["last_index"] == last
    (loaded,) = [e for e in told(group, leader, "snapshot_loaded") if e["boot"] == 2]
    assert (loaded["source"], loaded["index"]) == ("boot", boot["snapshot_index"])
    client.close()
    client.move(("127.0.0.1", group.client_ports[leader]))
    again = await client.retry("add", "sum", 5, None, 5000)
    assert (again.value, again.log_index) == (first.value, first.log_index)
    # Only now: a new leader applies nothing before its term's first entry is committed.
    applied = [e["first"] for e in told(group, leader, "apply") if e["boot"] == 2]
    assert applied[0] == boot["snapshot_index"] + 1
    client.close()
    await agree(group)


def size_of(path: Path) -> int:
    """0 for a file that the node removed since the folder was listed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(
    ("entries", "interval"),
    [(40_000, 2_000), pytest.param(200_000, 10_000, marks=pytest.mark.soak)],
)
async def test_memory_and_data_folder_stay_bounded(entries: int, interval: int) -> None:
    """Twenty intervals: what is kept is the log of two, and the state."""
    with Group(1, snapshot_interval_entries=interval) as group:
        group.start_all()
        await group.leader()
        sizes, memory_kib = [], []
        for _ in range(10):
            await fill(group, "n1", entries // 10, keys=1000, size=50)
            data = group.folder / "n1" / "data"
            sizes.append(sum(map(size_of, data.iterdir())))
            seen = await trio.Path(f"/proc/{group.processes['n1'].pid}/status").read_text()
            memory_kib.append(int(seen.split("VmRSS:")[1].split()[0]))
        status = await group.status("n1")
        assert status["commit"] > entries
        assert status["last_index"] - status["first_index"] < 2.5 * interval
        # A segment of the journal goes whole: two full ones and what two intervals hold.
        assert max(sizes) < 20_000_000 + 2 * interval * 150
        assert max(memory_kib[5:]) < memory_kib[2] + 10_000, memory_kib


async def test_an_operator_is_told_why_there_is_no_snapshot(throttled: Group) -> None:
    """One line over the unix socket, as for every request."""
    leader = await throttled.leader()
    async with AdminClient(str(throttled.folder / leader / "admin")) as admin:
        await admin.snapshot()
        before = (await admin.status())["snapshot"]
        await admin.snapshot()
        assert (await admin.status())["snapshot"] == before
        assert before["index"] == 1


# ---- seeded bugs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bugs", [(), ("snap_no_sessions",)])
async def test_snap_no_sessions_applies_a_retry_twice(bugs: tuple[str, ...]) -> None:
    """Bug 46: a counter is asked to add once, is restarted from its snapshot, and asked again by the same number."""
    with Group(1, bugs=bugs) as group:
        group.start_all()
        await group.leader()
        client = group.client("n1")
        assert (await client.call("add", "sum", 5, None, 5000)).kind == "ok"
        async with group.admin("n1") as admin:
            await admin.snapshot()
        group.kill("n1")
        group.start("n1")
        await group.leader()
        await client.retry("add", "sum", 5, None, 5000)
        read = await client.call("read", "sum", None, "readindex", 5000)
        assert read.value == (10 if bugs else 5)
        client.close()


@pytest.mark.parametrize("bugs", [(), ("snap_cut_before_durable",)])
async def test_snap_cut_before_durable_cuts_what_nothing_covers(bugs: tuple[str, ...]) -> None:
    """Bug 50: power goes while the snapshot is written; the log that it would have covered has been cut already."""
    with Group(1, bugs=bugs, snapshot_interval_entries=0) as group:
        group.start_all()
        await group.leader()
        last = await writes(group, "n1", 5)

        async def ask() -> None:
            with contextlib.suppress(ConnectionError):
                async with group.admin("n1") as admin:
                    await admin.snapshot()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await group.until(
                "n1",
                lambda status: max(status["first_index"] - 1, status["snapshot"]["index"]) == last,
            )
            await lost(group, "n1", power=True)
        cut = [event["first"] - 1 for event in told(group, "n1", "log_cut")]
        covered = [event["index"] for event in told(group, "n1", "snapshot_saved")]
        assert (cut, covered) == (([last], []) if bugs else ([], [last]))
