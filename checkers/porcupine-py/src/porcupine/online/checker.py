"""A check that keeps pace with a run: events go in as they happen, and at each moment the verdict is known.

After every event the verdict is that of `porcupine.check` on all events so far, with open operations as ones of unknown
outcome. The history itself is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from porcupine.errors import HistoryError, ModelError, PorcupineError
from porcupine.history import UNKNOWN, Event, EventKind, Operation
from porcupine.limits import DEFAULT_MEMORY, MemoryLimit, memory_limit_bytes
from porcupine.model import Model
from porcupine.online.limits import Budget, LimitMet
from porcupine.online.violation import Violation, violation_of
from porcupine.online.window import Window
from porcupine.result import Cause, PartResult, Progress, Result, Verdict, Witness

ENGINE = "online"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a checker holds at a moment. `memory_bytes` is the estimate that its limit bounds."""

    events: int
    parts: int
    open_operations: int
    kept_operations: int
    configurations: int
    memory_bytes: int
    steps: int


@dataclass(slots=True)
class _Open:
    operation: Operation
    window: Window | None  # None for an operation that the model's partition leaves out
    name: Hashable  # what the caller's events call it


class OnlineChecker:
    """Judges a history while it happens.

    Operations are told by `invoke`, and then by one of `ok`, `fail` and `info`, or by `feed` as porcupine's events.
    Events are in the order of time: of two at one instant a call comes before a return. `verdict` is "ok" as long as
    all so far can be explained. "illegal" is final, and `violation` says what happened. "unknown" is final too, but
    that another part (another key) may still prove illegal: a limit was met (see `cause`), or the model raised an
    exception (cause "error").

    A model's partition is asked about each operation by itself when it is called, without its output, and must give
    a mapping with its key; `key(input)` takes its place. An operation that is in no part is not judged.

    memory_bytes bounds what all parts hold, by an estimate; unless told as for `check`. step_limit bounds the
    transitions tried for one event, timeout_s the seconds for it; None means no limit.
    An operation that stays open holds all returns since its call in memory: tell `info` when its client gives up.

    Methods raise HistoryError for events that cannot be a history, ModelError for a model that breaks its contract,
    and whatever the model raises, with the event named in the message or in a note. A refused event is not counted.
    """

    def __init__(
        self,
        model: Model,
        *,
        memory_bytes: MemoryLimit = DEFAULT_MEMORY,
        step_limit: int | None = None,
        timeout_s: float | None = None,
        key: Callable[[Any], Hashable] | None = None,
    ) -> None:
        self.model = model
        self.events = 0
        """How many were told so far."""
        self._key = key
        self._budget = Budget(memory_limit_bytes(memory_bytes), step_limit, timeout_s or None)
        self._windows: dict[Hashable, Window] = {}
        self._bytes: dict[Hashable, int] = {}
        self._total_bytes = 0
        self._open: dict[int, _Open] = {}
        self._busy: dict[Hashable, int] = {}
        self._ids: dict[Hashable, int] = {}  # of open operations that were told by events
        self._next_id = 0
        self._cause: Cause | None = None
        self._illegal: Window | None = None
        self._illegal_at = (0, 0)  # the event, and the operation that it completes
        self._violation: Violation | None = None
        self._started = monotonic()
        if model.partition is None and key is None:
            self._window(None)

    # --- what is known ----------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict:
        """Of all events so far."""
        if self._illegal is not None:
            return "illegal"
        return "ok" if self._cause is None else "unknown"

    @property
    def cause(self) -> Cause | None:
        """Why the verdict is "unknown"; None when it is not."""
        return None if self._illegal is not None else self._cause

    @property
    def violation(self) -> Violation | None:
        """The first event that nothing explains; None unless the verdict is "illegal". Worked out when first asked."""
        if self._violation is None and self._illegal is not None:
            self._violation = violation_of(self._illegal, self.model, *self._illegal_at)
        return self._violation

    @property
    def held_bytes(self) -> int:
        """An estimate of what is held, which `memory_bytes` bounds."""
        return self._total_bytes

    def result(self) -> Result:
        """The verdict as `porcupine.check` gives it. Numbers of operations are ids, in the order of their calls.

        Orders are not kept: `linearizations` are empty, and so are the witness's `partials`.
        """
        parts = tuple(self._part_result(window) for window in self._windows.values())
        decided = sum(part.verdict != "unknown" for part in parts)
        most = max((part.operations for part in parts if part.verdict == "ok"), default=0)
        seconds = monotonic() - self._started
        progress = Progress(decided, len(parts), most)
        return Result(self.verdict, self.cause, progress, parts, self._budget.steps, seconds)

    def statistics(self) -> Statistics:
        """What is held at this moment."""
        kept = [window.kept() for window in self._windows.values()]
        return Statistics(
            self.events,
            len(self._windows),
            len(self._open),
            sum(operations for operations, _ in kept),
            sum(configurations for _, configurations in kept),
            self._total_bytes,
            self._budget.steps,
        )

    # --- what happens -----------------------------------------------------------------------------

    def invoke(self, process: Hashable, input: Any, *, metadata: Any = None) -> int:
        """A process calls an operation. Its id, to be told with its completion; ids count from 0."""
        return self._invoke(process, input, metadata, None, None)

    def ok(self, id: int, output: Any = None, *, metadata: Any = None) -> Verdict:
        """It took effect, and gave this output. The verdict after that."""
        opened = self._close(id, "ok")
        operation = opened.operation
        operation.outcome, operation.output, operation.return_time = "ok", output, self.events
        return self._complete(id, opened, metadata, "ok")

    def fail(self, id: int, output: Any = UNKNOWN, *, metadata: Any = None) -> Verdict:
        """It did not happen; a model that sees failures judges it by its output. The verdict after that."""
        opened = self._close(id, "fail")
        operation = opened.operation
        operation.outcome, operation.output, operation.return_time = "fail", output, self.events
        if self.model.sees_failures:
            return self._complete(id, opened, metadata, "fail")
        return self._judge(id, opened.window, "fail", operation, lambda window: window.drop(id))

    def info(self, id: int) -> Verdict:
        """Nobody knows, and nobody will: it may take effect at any time from its call on, or never. The verdict."""
        opened = self._close(id, "info")
        return self._judge(
            id, opened.window, "info", opened.operation, lambda window: window.give_up(id)
        )

    def feed(self, event: Event) -> int:
        """A call or a return. The id of its operation here, for `info`.

        An event's own id may be used again once its operation has returned.
        """
        try:
            id = self._ids.get(event.id)
        except TypeError as error:
            raise HistoryError(f"event {self.events} has an id without a hash: {error}") from None
        if event.kind is EventKind.CALL:
            if id is not None:
                raise HistoryError(
                    f"event {self.events} calls id {event.id!r}, which is open already; give each operation an id "
                    "of its own"
                )
            return self._invoke(event.client_id, event.value, event.metadata, event.id, event)
        if id is None:
            raise HistoryError(
                f"event {self.events} returns id {event.id!r}, which is not open: it was never called, or it has "
                "returned already"
            )
        self.ok(id, event.value, metadata=event.metadata)
        return id

    # --- how it is told to the parts --------------------------------------------------------------

    def _invoke(
        self, process: Hashable, given: Any, metadata: Any, name: Hashable, event: Event | None
    ) -> int:
        operation = Operation(process, given, self.events, UNKNOWN, None, "info", metadata)
        try:
            busy = self._busy.get(process)
        except TypeError as error:
            raise HistoryError(
                f"event {self.events} (invoke) is of a process without a hash: {error}"
            ) from None
        if busy is not None:
            raise HistoryError(
                f"event {self.events} (invoke): process {process!r} calls {given!r} while its operation {busy} is open: "
                f"{self._open[busy].operation.input!r}; complete that one first, or tell info"
            )
        with self._naming("invoke", operation):
            window = self._window_of(operation, event)
        id = self._next_id
        self._next_id += 1
        self._open[id] = _Open(operation, window, name)
        self._busy[process] = id
        if event is not None:
            self._ids[name] = id
        self._judge(id, window, "invoke", operation, lambda window: window.invoke(id, operation))
        return id

    def _close(self, id: int, what: str) -> _Open:
        try:
            opened = self._open.pop(id, None)
        except TypeError as error:
            raise HistoryError(
                f"event {self.events} ({what}) has an id without a hash: {error}"
            ) from None
        if opened is None:
            known = isinstance(id, int) and 0 <= id < self._next_id
            raise HistoryError(
                f"event {self.events} ({what}) completes operation {id!r}, which "
                + ("is completed already" if known else "was never called; call invoke first")
            )
        del self._busy[opened.operation.client_id]
        self._ids.pop(opened.name, None)
        return opened

    def _complete(self, id: int, opened: _Open, metadata: Any, what: str) -> Verdict:
        if metadata is not None:
            opened.operation.metadata = metadata
        return self._judge(
            id, opened.window, what, opened.operation, lambda window: window.complete(id)
        )

    def _judge(
        self,
        id: int,
        window: Window | None,
        what: str,
        operation: Operation,
        change: Callable[[Window], bool],
    ) -> Verdict:
        """Let a part know of an event, unless all is decided for it or for the whole."""
        event = self.events
        self.events += 1
        if window is None or window.verdict != "ok" or self._illegal is not None:
            return self.verdict
        budget = self._budget
        started, steps = monotonic(), budget.steps
        budget.begin()
        budget.others_bytes = self._total_bytes - self._bytes[window.key]
        window.tables.until(budget.deadline)
        try:
            with self._naming(what, operation, event):
                if legal := change(window):
                    budget.look(window.held_bytes())
        except LimitMet as limit:
            self._give_up(window, limit.cause)
        except BaseException:
            # What the part knows may be half of the truth now.
            self._give_up(window, "error")
            raise
        else:
            if not legal:
                self._illegal = window
                self._illegal_at = event, id
                window.tables.until(None)
        window.steps += budget.steps - steps
        window.seconds += monotonic() - started
        self._weigh(window)
        return self.verdict

    def _give_up(self, window: Window, cause: Cause) -> None:
        window.stop(cause)
        self._weigh(window)
        if self._cause is None:
            self._cause = cause

    def _weigh(self, window: Window) -> None:
        held = window.held_bytes()
        self._total_bytes += held - self._bytes[window.key]
        self._bytes[window.key] = held

    @contextmanager
    def _naming(self, what: str, operation: Operation, event: int | None = None) -> Iterator[None]:
        """Whatever is raised inside names the event."""
        number = self.events if event is None else event
        named = (
            f"event {number} ({what} of process {operation.client_id!r}, {operation.input!r:.200})"
        )
        try:
            yield
        except LimitMet:
            raise
        except PorcupineError as error:
            raise type(error)(f"{named}: {error}") from error
        except Exception as error:
            error.add_note(f"while porcupine judged {named}")
            raise

    def _window_of(self, operation: Operation, event: Event | None) -> Window | None:
        """The part that an operation belongs to."""
        model = self.model
        if self._key is not None:
            return self._window(self._key(operation.input))
        if event is not None and model.partition_event is not None:
            parts: Any = model.partition_event([event])
        elif model.partition is not None:
            parts = model.partition([operation])
        else:
            return self._window(None)
        if not isinstance(parts, Mapping) or len(parts) > 1:
            raise ModelError(
                f"model {model.name!r}: its partition gave {parts!r:.80} for one operation; to be judged online it must "
                "give a mapping with its key, or key=... must be given"
            )
        return next((self._window(key) for key in parts), None)

    def _window(self, key: Hashable) -> Window:
        try:
            window = self._windows.get(key)
        except TypeError as error:
            raise ModelError(f"the key {key!r:.80} has no hash: {error}") from None
        if window is None:
            window = self._windows[key] = Window(key, self.model, self._budget)
            self._bytes[key] = held = window.held_bytes()
            self._total_bytes += held
        return window

    def _witness(self) -> Witness:
        assert self.violation is not None
        return self.violation.witness

    def _part_result(self, window: Window) -> PartResult:
        witness = self._witness if window is self._illegal else None
        return PartResult(
            window.key,
            window.verdict,
            ENGINE,
            window.operations,
            window.steps,
            window.seconds,
            window.cause,
            witness,
        )
