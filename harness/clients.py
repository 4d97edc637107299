"""The clients' loop: each client asks for its next operation, sends it, and records what became of it.

Half of the clients are pinned and keep asking their node while it is cut or paused; the others follow the leader's hints.
A session belongs to a process and goes with it from node to node: were its numbers to begin anew, a member would take a new
write for an old one. After an unknown outcome the process ends and the client goes on under process + stride, with a new
session on a new connection. Nothing is retried unless the plan says so; then one operation is one interval, whatever it takes.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import trio

from harness.plan import ClientStream
from harness.recorder import Recorder, monotonic_ns
from harness.seeds import Stream, stream
from harness.systems.raft import Call, Outcome, RaftSystem
from workloads.generator import DONE, PENDING, Completion, Context, Generator, Op

IDLE_S = 0.005
AVOID_S = 1.0
"""So long a client that follows hints stays away from a node that did not answer: followers of a cut-off leader go on naming
it until their promise ends."""
YIELD_EVERY = 32
"""Operations after which the others get their turn, also if the system answers without a wait: deadlines pass only then."""
ATTEMPTS = 4
"""With retry = "session" an attempt that nobody answers is given up after this part of the operation's time."""
RETRY_PAUSE_S = 0.01


class _Asked:
    """One operation under way: its newest outcome (None: none came), and the first reason for doubt over all attempts."""

    __slots__ = ("deadline", "doubtful", "final", "newest", "number", "op")

    def __init__(self, number: int, op: Op, final: bool, deadline: float) -> None:
        self.number = number
        self.op = op
        self.final = final
        self.deadline = deadline
        self.newest: Outcome | None = None
        self.doubtful = ""


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
    ) -> None:
        self.plan = plan
        self.generator = generator
        self.system = system
        self.recorder = recorder
        self.addresses = addresses
        self.process = plan.client
        self._context = Context(client=plan.client, process=plan.client)
        self.stride = stride
        self.run_id = run
        self.rate = rate
        self.op_timeout_ms = op_timeout_ms
        self._slack_s = op_timeout_ms / 1000 / 64
        self.retry = retry
        self.stop = False
        self.ended = trio.Event()
        self.newest = ""
        """What became of the newest operation: ok, fail, info."""
        self.write_ns = 0
        """When the newest write was acknowledged, ns of CLOCK_MONOTONIC."""
        self._pace: Stream = stream(seed, f"pace/{plan.client}")
        nodes = list(addresses)
        self.node = plan.pinned or nodes[plan.client % len(nodes)]
        self._connection: Any = None
        self._avoided: dict[str, float] = {}
        self._refused: set[str] = set()
        """Nodes that did not do what was asked since the newest answer that did."""

    async def run(self) -> None:
        """Operations come at the plan's rate; one that is late is followed at once, but none are made up for."""
        try:
            while await self._until_unanswered():
                pass
        finally:
            self.close()
            self.ended.set()

    async def _until_unanswered(self) -> bool:
        """Operations under one cancel scope, whose deadline moves on with each; True when one of them ran out of time.

        A scope for each would cost as much as all the rest of the loop.
        """
        due = trio.current_time()
        turns = 0
        with trio.CancelScope() as scope:
            while not self.stop:
                if self.rate > 0:
                    scope.deadline = math.inf
                    due = max(due + self._pace.uniform(0.5, 1.5) / self.rate, trio.current_time())
                    await trio.sleep_until(due)
                op = self.generator.next(self._context)
                if op is DONE:
                    return False
                if op is PENDING:
                    scope.deadline = math.inf
                    await trio.sleep(IDLE_S)
                    continue
                assert isinstance(op, Op)
                if self.rate == 0 and self.retry == "none":
                    await self._stream(op, scope)
                else:
                    await self._perform(op, False, scope)
                if scope.cancel_called:
                    return True  # answered at the last moment: what comes next needs a scope of its own
                turns += 1
                if turns % YIELD_EVERY == 0:
                    await trio.lowlevel.checkpoint()
        return not self.stop

    def close(self) -> None:
        """Close the connection; a further operation opens a new one."""
        if self._connection is not None:
            self._connection.close()

    async def perform(self, op: Op, final: bool = False) -> str:
        """Carry out one operation; returns its outcome's type."""
        with trio.CancelScope() as scope:
            await self._perform(op, final, scope)
        return self.newest

    async def _perform(self, op: Op, final: bool, scope: trio.CancelScope) -> None:
        """Under `scope`, whose deadline is the operation's from here on; `newest` is its outcome's type then.

        The deadline moves on in steps of a sixty-fourth of the operation's time: to move it costs as much as to record.
        """
        asked = self._begin(op, final, scope)
        try:
            await self._ask(op, asked)
        finally:
            # Also when cancelled with a request perhaps on its way: then nobody knows.
            self._end(asked)

    async def _stream(self, op: Op, scope: trio.CancelScope) -> None:
        """Operations back to back until one of them is not ok: each begins when the one before is answered, in the task that
        has read the answer. As with _perform, the deadline of `scope` is always that of the operation under way. All records of
        the clients that are answered at once are one write, before any of them sends its next request.
        """
        asked = self._begin(op, False, scope)
        open_ = True

        def answered(outcome: Outcome) -> Call | None:
            nonlocal asked, open_
            asked.newest = outcome
            if outcome.kind != "ok":
                return None
            open_ = False
            self._end(asked, hold=True)
            op = None if self.stop else self.generator.next(self._context)
            if not isinstance(op, Op):
                self.recorder.flush()
                return None
            asked = self._begin(op, False, scope, hold=True)
            open_ = True
            return op.f, op.key or "", op.value, op.mode, self.op_timeout_ms

        call = op.f, op.key or "", op.value, op.mode, self.op_timeout_ms
        try:
            await self._connection.calls(call, answered, self.recorder.flush)
        finally:
            if open_:
                self._end(asked)

    def _begin(self, op: Op, final: bool, scope: trio.CancelScope, hold: bool = False) -> _Asked:
        """Record that `op` is asked for, on the session's connection, and give `scope` its deadline."""
        if self._connection is None:
            session = f"{self.run_id}/{self.process}"
            self._connection = self.system.client(self.addresses[self.node], session)
        number = self.recorder.invoke(
            self.process, op.f, op.key, op.value, self.node, op.mode, final, hold
        )
        asked = _Asked(number, op, final, trio.current_time() + self.op_timeout_ms / 1000)
        if not 0 <= asked.deadline - scope.deadline < self._slack_s:
            scope.deadline = asked.deadline
        return asked

    def _end(self, asked: _Asked, hold: bool = False) -> None:
        """Record what became of it, and choose where to go on. `hold`: what follows at once is written with it."""
        outcome = asked.newest
        if outcome is None and self._connection.sent:
            asked.doubtful = asked.doubtful or "timeout"
        elif outcome is not None and outcome.kind == "info":
            asked.doubtful = asked.doubtful or outcome.error or "unknown"
        kind = self.newest = self._record(asked, hold)
        if outcome is None:
            self._avoided[self.node] = trio.current_time() + AVOID_S
        if kind != "ok":
            self._elsewhere(outcome.leader if outcome is not None else "")

    async def _ask(self, op: Op, asked: _Asked) -> None:
        """Once; with retry = "session" again, under the same number, until somebody says ok. The deadline is the caller's."""
        connection = self._connection
        call = connection.call
        while True:
            left_ms = max(1, round(1000 * (asked.deadline - trio.current_time())))
            asked.newest = None
            if self.retry == "none":
                asked.newest = await call(op.f, op.key, op.value, op.mode, left_ms)
            else:
                with trio.move_on_after(self.op_timeout_ms / 1000 / ATTEMPTS):
                    asked.newest = await call(op.f, op.key, op.value, op.mode, left_ms)
            outcome = asked.newest
            if outcome is None and connection.sent:
                asked.doubtful = asked.doubtful or "timeout"
            elif outcome is not None and outcome.kind == "info":
                asked.doubtful = asked.doubtful or outcome.error or "unknown"
            if self.retry == "none" or (outcome is not None and outcome.kind == "ok"):
                return
            if outcome is None:
                self._avoided[self.node] = trio.current_time() + AVOID_S
            self._elsewhere(outcome.leader if outcome is not None else "")
            await trio.sleep(RETRY_PAUSE_S)
            call = connection.retry

    def _record(self, asked: _Asked, hold: bool) -> str:
        """ok if an attempt said so; info if any attempt is in doubt; else the definite failure. info ends the process."""
        outcome = asked.newest
        if outcome is not None and outcome.kind == "ok":
            self._finish(asked, "ok", outcome.value, outcome.term, outcome.log_index, None, hold)
            self._refused.clear()
            return "ok"
        kind: Literal["fail", "info"] = "info" if asked.doubtful else "fail"
        error = asked.doubtful
        if not error:
            error = "timeout before anything was sent" if outcome is None else outcome.error or ""
        self._finish(asked, kind, asked.op.value, None, None, error, False)
        if kind == "info" or outcome is None:
            self.close()
        return kind

    def _finish(
        self,
        asked: _Asked,
        kind: Literal["ok", "fail", "info"],
        value: Any,
        term: int | None,
        log_index: int | None,
        error: str | None,
        hold: bool,
    ) -> None:
        op = asked.op
        self.recorder.complete(
            asked.number,
            kind,
            self.process,
            op.f,
            op.key,
            value,
            self.node,
            op.mode,
            term,
            log_index,
            error,
            asked.final,
            hold,
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
            self._context = Context(client=self.plan.client, process=self.process)
            self.close()
            self._connection = None

    def _elsewhere(self, hint: str) -> None:
        """A client that is not pinned goes where the leader is said to be, else round robin."""
        if self.plan.pinned:
            return
        nodes = list(self.addresses)
        now = trio.current_time()
        self._refused.add(self.node)
        here = nodes.index(self.node)
        ring = nodes[here + 1 :] + nodes[:here]
        answering = [node for node in ring if self._avoided.get(node, 0.0) <= now]
        # Two nodes that were removed may each go on naming the other: a hint to who has refused leads nowhere new.
        fresh = [node for node in answering if node not in self._refused]
        if not fresh:
            self._refused.clear()
            fresh = answering
        target = hint if hint in fresh else (fresh or ring or nodes)[0]
        if target != self.node:
            self.node = target
            if self._connection is not None:
                self._connection.move(self.addresses[target])
