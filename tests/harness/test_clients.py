"""The clients' loop: what is recorded of an operation, where a client goes next, and what becomes of its session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from checkers.records.schema import HistoryHeader, WorkloadHeader
from harness.clients import Client
from harness.plan import ClientStream
from harness.recorder import Recorder
from harness.systems.raft import Outcome
from workloads.generator import Op
from workloads.register import Register

NODES = {"n1": ("127.0.0.1", 1), "n2": ("127.0.0.1", 2), "n3": ("127.0.0.1", 3)}
WRITE = Op("write", "k0.0", 7)
NOBODY = "nobody answers"
UNSENT = "cannot be sent"


class Connection:
    """Plays the answers of its system, and remembers who was asked what under which number."""

    connected = True

    def __init__(self, system: System, address: Any, session: str) -> None:
        self.system = system
        self.address = address
        self.session = session
        self.seq = 0
        self.sent = False

    async def call(self, f: str, key: Any, value: Any, mode: Any, ms: int) -> Outcome:
        self.seq += 1
        return await self._ask()

    async def calls(self, first: Any, then: Any, settle: Any) -> None:
        call = first
        while call is not None:
            call = then(await self.call(*call))
            settle()
            await trio.lowlevel.checkpoint()

    async def retry(self, f: str, key: Any, value: Any, mode: Any, ms: int) -> Outcome:
        return await self._ask()

    async def _ask(self) -> Outcome:
        self.system.asked.append((self.session, self.seq, self.address[1]))
        self.system.on_asked()
        answer = self.system.answers.pop(0) if self.system.answers else Outcome("ok", 7)
        self.sent = answer != UNSENT
        if isinstance(answer, str):
            await trio.sleep_forever()
        assert isinstance(answer, Outcome)
        return answer

    def move(self, address: Any) -> None:
        self.address = address

    def close(self) -> None:
        """There is no socket."""


class System:
    def __init__(self, answers: list[Outcome | str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int, int]] = []
        self.on_asked: Callable[[], None] = lambda: None

    def client(self, address: Any, session: str) -> Connection:
        return Connection(self, address, session)


def build(
    folder: Path, answers: list[Outcome | str], pinned: str = "", retry: str = "none"
) -> tuple[Client, System]:
    header = HistoryHeader(
        run="r",
        boot_id="-",
        origin_ns=0,
        workload=WorkloadHeader("register", "workloads.register:model"),
        nodes=list(NODES),
        clients=10,
        election_timeout_ms=500,
        max_clock_drift_ms=125,
        lease=True,
    )
    system = System(answers)
    client = Client(
        ClientStream(client=0, stream="client/0", pinned=pinned),
        Register({}).generator(0, 1, Random(1)),
        system,  # type: ignore[arg-type]
        Recorder(folder / "history.jsonl", header),
        NODES,
        10,
        "r",
        1,
        0.0,
        80,
        retry,
    )
    return client, system


def recorded(folder: Path) -> list[tuple[str, int, str | None]]:
    """(type, process, error) of every completion."""
    lines = (folder / "history.jsonl").read_text().splitlines()[1:]
    events = [json.loads(line) for line in lines]
    return [(e["type"], e["process"], e.get("error")) for e in events if e["type"] != "invoke"]


MOVED = Outcome("fail", error="not_leader", leader="n3")


async def test_a_session_goes_on_where_its_process_goes(tmp_path: Path) -> None:
    """Numbers that began anew at the next node would be taken for old ones: acknowledged, never applied."""
    client, system = build(tmp_path, [Outcome("ok", 7), MOVED, Outcome("ok", 7)])
    for _ in range(3):
        await client.perform(WRITE)
    assert system.asked == [("r/0", 1, 1), ("r/0", 2, 1), ("r/0", 3, 3)]


async def test_after_an_unknown_outcome_another_process_begins_with_a_new_session(
    tmp_path: Path,
) -> None:
    client, system = build(tmp_path, [Outcome("info", error="stepped_down")])
    await client.perform(WRITE)
    await client.perform(WRITE)
    assert recorded(tmp_path) == [("info", 0, "stepped_down"), ("ok", 10, None)]
    assert [asked[:2] for asked in system.asked] == [("r/0", 1), ("r/10", 1)]


@pytest.mark.parametrize(
    ("answer", "kind", "error"),
    [
        (NOBODY, "info", "timeout"),
        (UNSENT, "fail", "timeout before anything was sent"),
        (Outcome("fail", error="not_leader"), "fail", "not_leader"),
        (Outcome("info", error="reset"), "info", "reset"),
    ],
)
async def test_what_is_recorded_of_one_attempt(
    answer: Outcome | str, kind: str, error: str, tmp_path: Path
) -> None:
    client, _ = build(tmp_path, [answer])
    assert await client.perform(WRITE) == kind
    assert recorded(tmp_path) == [(kind, 0, error)]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([MOVED, Outcome("ok", 7)], "ok"),
        ([NOBODY, Outcome("ok", 7)], "ok"),
        ([NOBODY, MOVED, MOVED, *[MOVED] * 20], "info"),
        ([Outcome("info", error="reset"), *[MOVED] * 20], "info"),
        ([*[MOVED] * 20], "fail"),
    ],
)
async def test_a_retried_operation_is_one_operation_in_doubt_if_any_attempt_was(
    answers: list[Outcome | str], kind: str, tmp_path: Path
) -> None:
    client, system = build(tmp_path, answers, retry="session")
    assert await client.perform(WRITE) == kind
    assert [what for what, _, _ in recorded(tmp_path)] == [kind]
    assert {asked[:2] for asked in system.asked} == {("r/0", 1)}


async def test_a_client_that_follows_hints_stays_away_from_a_node_that_did_not_answer(
    tmp_path: Path,
) -> None:
    hint_back = Outcome("fail", error="not_leader", leader="n1")
    client, system = build(tmp_path, [NOBODY, hint_back, hint_back])
    for _ in range(4):
        await client.perform(WRITE)
    assert [node for _, _, node in system.asked] == [1, 2, 3, 2]


async def test_nodes_that_name_each_other_do_not_keep_a_client_between_them(tmp_path: Path) -> None:
    """Two nodes that were removed each took the other for the leader: no client of theirs wrote ever again."""
    answers = [Outcome("fail", error="not_leader", leader=name) for name in ("n2", "n1", "n1")]
    client, system = build(tmp_path, [*answers, Outcome("ok", 7)])
    for _ in range(5):
        await client.perform(WRITE)
    # Once all have refused, hints count again.
    assert [node for _, _, node in system.asked] == [1, 2, 3, 1, 1]


async def test_a_pinned_client_keeps_asking_its_node(tmp_path: Path) -> None:
    client, system = build(tmp_path, [NOBODY, MOVED, NOBODY], pinned="n2")
    for _ in range(3):
        await client.perform(WRITE)
    assert {node for _, _, node in system.asked} == {2}


async def test_cancelled_in_an_operation_it_is_recorded_as_unknown(tmp_path: Path) -> None:
    client, _ = build(tmp_path, [NOBODY])
    with trio.move_on_after(0.02):
        await client.perform(WRITE)
    assert recorded(tmp_path) == [("info", 0, "timeout")]


async def test_a_request_is_in_the_history_before_it_is_sent(tmp_path: Path) -> None:
    """Otherwise a harness that is killed would leave effects of operations that nobody asked for."""
    client, system = build(tmp_path, [])
    written: list[int] = []

    def asked() -> None:
        lines = (tmp_path / "history.jsonl").read_text().splitlines()[1:]
        written.append(sum(json.loads(line)["type"] == "invoke" for line in lines))
        client.stop = len(written) == 5

    system.on_asked = asked
    await client.run()
    assert written == [1, 2, 3, 4, 5]
    assert recorded(tmp_path) == [("ok", 0, None)] * 5


async def test_a_system_that_answers_at_once_does_not_keep_deadlines_from_passing(
    tmp_path: Path,
) -> None:
    """A client without a pace once filled the disk while everything else waited for its turn."""
    client, system = build(tmp_path, [])
    with trio.move_on_after(0.05) as scope:
        await client.run()
    assert scope.cancelled_caught
    assert system.asked
