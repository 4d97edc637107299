"""The clients' loop: each client asks for its next operation, sends it, and records what became of it.

Half of the clients are pinned and keep asking their node while it is cut or paused; the others follow the leader's hints.
After an unknown outcome the process ends and the client goes on under process + stride, with a new session on a new
connection. Nothing is retried unless the plan says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from harness.plan import ClientStream
from harness.recorder import Recorder, monotonic_ns
from harness.seeds import Stream, stream
from harness.systems.raft import RaftSystem
from workloads.generator import DONE, PENDING, Completion, Context, Generator, Op

IDLE_S = 0.005
AVOID_S = 1.0
"""So long a client that follows hints stays away from a node that did not answer: followers of a cut-off leader go on naming
it until their promise ends."""


class Client:
    """One client. `run` loops until `stop`; cancelled in an operation, it records that as info."""

    def __init__(
        self,
        plan: ClientStream,
        generator: Generator,
        system: RaftSystem,
        recorder: Recorder,
        addresses: dict[str, tuple[str, int]],
        stride: int,
        run: str,
        seed: int,
        rate: float,
        op_timeout_ms: int,
        retry: str = "none",
        leader: Callable[[], str] = lambda: "",
    ) -> None:
        self.plan = plan
        self.generator = generator
        self.system = system
        self.recorder = recorder
        self.addresses = addresses
        self.process = plan.client
        self.stride = stride
        self.run_id = run
        self.rate = rate
        self.op_timeout_ms = op_timeout_ms
        self.retry = retry
        self.stop = False
        self.ended = trio.Event()
        self.write_ns = 0
        """When the newest write was acknowledged, ns of CLOCK_MONOTONIC."""
        self._pace: Stream = stream(seed, f"pace/{plan.client}")
        nodes = list(addresses)
        self.node = plan.pinned or nodes[plan.client % len(nodes)]
        self._leader = leader
        self._connection: Any = None
        self._avoided: dict[str, float] = {}

    async def run(self) -> None:
        """Operations come at the plan's rate; one that is late is followed at once, but none are made up for."""
        try:
            due = trio.current_time()
            while not self.stop:
                if self.rate > 0:
                    due = max(due + self._pace.uniform(0.5, 1.5) / self.rate, trio.current_time())
                    await trio.sleep_until(due)
                op = self.generator.next(Context(process=self.process, client=self.plan.client))
                if op is DONE:
                    return
                if op is PENDING:
                    await trio.sleep(IDLE_S)
                    continue
                assert isinstance(op, Op)
                await self.perform(op)
                if self.rate <= 0:
                    await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            self.close()
            self.ended.set()

    def close(self) -> None:
        """Close the connection; a further operation opens a new one."""
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def perform(self, op: Op, final: bool = False) -> str:
        """Carry out one operation; returns its outcome's type."""
        connection = self._connection
        node = self.node
        if connection is None:
            session = f"{self.run_id}/{self.process}"
            connection = self._connection = self.system.client(self.addresses[node], session)
        number = self.recorder.invoke(
            self.process, op.f, op.key, op.value, node, op.mode, final=final
        )
        outcome = None
        try:
            with trio.move_on_after(self.op_timeout_ms / 1000):
                outcome = await connection.call(op.f, op.key, op.value, op.mode, self.op_timeout_ms)
        finally:
            if outcome is None:
                # Out of time, or cancelled with the request perhaps on its way: nobody knows.
                sent = connection.sent
                kind = "info" if sent else "fail"
                error = "timeout" if sent else "timeout before anything was sent"
                self._finish(number, kind, op, op.value, node, None, None, error, final)
                self._avoided[node] = trio.current_time() + AVOID_S
                self._drop()
        if outcome is None:
            self._elsewhere("")
            return kind
        self._finish(
            number,
            outcome.kind,
            op,
            outcome.value if outcome.kind == "ok" else op.value,
            node,
            outcome.term,
            outcome.log_index,
            outcome.error,
            final,
        )
        if outcome.kind != "ok":
            if outcome.kind == "info" or not connection.connected:
                self._drop()
            self._elsewhere(outcome.leader or "")
        return str(outcome.kind)

    def _finish(
        self,
        number: int,
        kind: Any,
        op: Op,
        value: Any,
        node: str,
        term: int | None,
        log_index: int | None,
        error: str | None,
        final: bool,
    ) -> None:
        self.recorder.complete(
            number,
            kind,
            self.process,
            op.f,
            op.key,
            value,
            node,
            op.mode,
            term,
            log_index,
            error,
            final,
        )
        if kind == "ok" and op.f != "read":
            self.write_ns = monotonic_ns()
        self.generator.update(
            Completion(
                client=self.plan.client,
                process=self.process,
                op=op,
                kind=kind,
                value=value if kind == "ok" else None,
            )
        )
        if kind == "info":
            self.process += self.stride

    def _elsewhere(self, hint: str) -> None:
        """A client that is not pinned goes where the leader is said to be, else round robin."""
        if self.plan.pinned:
            return
        nodes = list(self.addresses)
        now = trio.current_time()
        here = nodes.index(self.node)
        ring = nodes[here + 1 :] + nodes[:here]
        answering = [node for node in ring if self._avoided.get(node, 0.0) <= now]
        target = hint if hint in answering else (answering or ring or nodes)[0]
        if target != self.node:
            self.node = target
            self._drop()
