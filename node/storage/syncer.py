"""Decides where a sync runs: in the loop while the disk is quick, in a thread of its own while it is slow.

A sync in the loop spares a thread's hop, which costs more than a quick sync; but a slow one would silence heartbeats, and
followers would take a slow disk for a dead leader. One slow sync moves the next ones to the thread; a run of quick ones
brings them back. Batches are made durable one at a time and in order either way.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

from node.storage.journal import Batch, Journal

QUICK_SYNCS_TO_RETURN: Final = 16


class Syncer:
    """`slow` says where the next sync runs; `fd` becomes readable when one in the thread is done."""

    def __init__(
        self,
        journal: Journal,
        true: Callable[[], int],
        slow_ns: int,
        thread_true: Callable[[], int] | None = None,
    ) -> None:
        """`thread_true` is the thread's own reader of true time, since one reader must not serve two threads."""
        self._journal = journal
        self._true = true
        self._thread_true = thread_true or true
        self._slow_ns = slow_ns
        self._quick_in_row = 0
        self._jobs: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._outcome: tuple[Batch, int, Exception | None] | None = None
        self._thread: threading.Thread | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.slow = False
        self.in_flight = False
        self.last_ns = 0
        self.longest_ns = 0
        self.in_thread = 0

    def __repr__(self) -> str:
        return f"<Syncer {'slow' if self.slow else 'quick'} in_flight={self.in_flight} last_ns={self.last_ns}>"

    def here(self, batch: Batch) -> None:
        """Make `batch` durable before returning; raises OSError."""
        began = self._true()
        self._journal.write_and_sync(batch)
        self._measured(self._true() - began)

    def away(self, batch: Batch) -> None:
        """Have `batch` made durable by the thread; collect it with `finished` once `fd` is readable."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
            self._thread.start()
        self.in_flight = True
        self.in_thread += 1
        self._jobs.put(batch)

    def finished(self) -> Batch | None:
        """The batch that the thread made durable, None when it is not done; raises what it met."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return None
        assert self._outcome is not None
        batch, took, error = self._outcome
        self._outcome = None
        self.in_flight = False
        if error is not None:
            raise error
        self._measured(took)
        return batch

    def join(self) -> Batch | None:
        """Wait for the thread; the batch it made durable, None when it had none."""
        if not self.in_flight:
            return None
        while (batch := self.finished()) is None:
            select.select([self.fd], [], [])
        return batch

    def _measured(self, took: int) -> None:
        self.last_ns = took
        self.longest_ns = max(self.longest_ns, took)
        if took > self._slow_ns:
            self.slow = True
            self._quick_in_row = 0
        elif self.slow:
            self._quick_in_row = self._quick_in_row + 1 if took < self._slow_ns // 4 else 0
            self.slow = self._quick_in_row < QUICK_SYNCS_TO_RETURN

    def _work(self) -> None:
        while (batch := self._jobs.get()) is not None:
            began = self._thread_true()
            error: Exception | None = None
            try:
                self._journal.write_and_sync(batch)
            except Exception as caught:
                # Raised again in the loop: a thread that died silently would leave the node waiting for ever.
                error = caught
            self._outcome = (batch, self._thread_true() - began, error)
            os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
