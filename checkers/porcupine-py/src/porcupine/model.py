"""Models: what a correct object would do, as a pure function from one state to the next.

A history is judged against a model. `step` says whether, in a given state, an input may lead to an output,
and to which state. For an operation of unknown outcome the output is UNKNOWN, and the step must say what
taking effect would do; the checker itself sees to the case that it never did.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from time import monotonic
from typing import Any

from porcupine.errors import ModelError
from porcupine.history import Event, Operation
from porcupine.result import GateResult


@dataclass(frozen=True, slots=True)
class StepContext:
    """Handed to `step_context`, so that a long step can give up; its answer is then ignored."""

    deadline: float | None
    """On the clock of time.monotonic, in seconds."""

    def cancelled(self) -> bool:
        return self.deadline is not None and monotonic() >= self.deadline


Step = Callable[[Any, Any, Any], tuple[bool, Any]]
ContextStep = Callable[[StepContext, Any, Any, Any], tuple[bool, Any]]
Gate = Callable[[Sequence[Operation], float | None], GateResult | None]
Parts = Mapping[Hashable, Sequence[Operation]] | Iterable[Sequence[Operation]]
EventParts = Mapping[Hashable, Sequence[Event]] | Iterable[Sequence[Event]]


@dataclass(frozen=True, slots=True)
class Twin:
    """Names the compiled core's own version of a ready model, and the step it is a version of."""

    kind: str
    step: Step
    initial: Any = None
    skip: int = 0
    """How many elements stand between an input's name and its arguments: 1 where a key does."""
    partition: Callable[[Sequence[Operation]], Parts] | None = None
    """The model's partition: by the second element of an input, if there is one."""
    gate: Gate | None = None
    """The model's gate."""


@dataclass(frozen=True, slots=True)
class Model:
    """A sequential specification.

    init() -> state; step(state, input, output) -> (ok, next state). Both are pure: a state is never changed.
    step_context(context, state, input, output) is used in place of step when both are given.
    States are compared by == and hash(); a model whose states have neither gives `equal`, and `hash` too if
    it is to be fast.
    partition(operations) -> {key: operations} or a list of lists, made of the very objects it was given; a
    history must be linearizable exactly if each part is. partition_event does so for events.
    readonly(input, output) -> true for operations that no state lets change the state. A claim that proves
    false raises ModelError.
    gate(operations, deadline) -> the decision for one part, or None where it does not apply; `deadline` is a
    time.monotonic() value or None.
    sees_failures: operations with outcome "fail" are kept, and judged like "ok" ones by their output.
    compiled: for ready models, what the compiled core knows them by; with another step it is not looked at.
    """

    init: Callable[[], Any]
    step: Step | None = None
    _: KW_ONLY
    step_context: ContextStep | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    partition: Callable[[Sequence[Operation]], Parts] | None = None
    partition_event: Callable[[Sequence[Event]], EventParts] | None = None
    describe_operation: Callable[[Any, Any], str] | None = None
    describe_state: Callable[[Any], str] | None = None
    describe_operation_metadata: Callable[[Any], str] | None = None
    readonly: Callable[[Any, Any], bool] | None = None
    gate: Gate | None = None
    sees_failures: bool = False
    name: str = ""
    compiled: Twin | None = None

    def __post_init__(self) -> None:
        if self.step is None and self.step_context is None:
            raise ModelError(f"model {self.name!r} has neither step nor step_context; give it one")

    def twin(self) -> Twin | None:
        """The compiled version of this model, if it is one of it still."""
        twin = self.compiled
        if twin is None or twin.step is not self.step or self.step_context is not None:
            return None
        return twin if self.equal is None and self.hash is None else None

    def stepper(self, context: StepContext) -> Step:
        """The step to use, with the context bound to it if it wants one."""
        if self.step_context is not None:
            with_context = self.step_context
            return lambda state, given, output: with_context(context, state, given, output)
        assert self.step is not None
        return self.step

    def answer(self, answer: Any) -> tuple[Any, Any]:
        """What a step gave, as whether the operation fits and the state after it. ModelError if it is no pair."""
        try:
            fits, after = answer
        except (TypeError, ValueError):
            raise ModelError(
                f"model {self.name!r}: a step gave {answer!r}; it must give (whether it fits, the state after)"
            ) from None
        return fits, after

    def operation_text(self, given: Any, output: Any) -> str:
        if self.describe_operation is not None:
            return self.describe_operation(given, output)
        return f"{given!r} -> {output!r}"

    def state_text(self, state: Any) -> str:
        return repr(state) if self.describe_state is None else self.describe_state(state)

    def metadata_text(self, metadata: Any) -> str:
        if self.describe_operation_metadata is not None:
            return self.describe_operation_metadata(metadata)
        return "" if metadata is None else str(metadata)


@dataclass(frozen=True, slots=True)
class LocalGate:
    """The gate of an object that is made of others: `judge` asks for each of these alone, by `model`."""

    model: Model
    judge: Gate

    def __call__(
        self, operations: Sequence[Operation], deadline: float | None
    ) -> GateResult | None:
        return self.judge(operations, deadline)


@dataclass(frozen=True, slots=True)
class NondeterministicModel:
    """A specification that allows several next states.

    init() -> the possible first states; step(state, input, output) -> the possible next states, none when
    the output is not possible. `to_model` turns it into a Model whose state is the tuple of all states
    possible so far (the power-set construction): exponentially many in the worst case.
    """

    init: Callable[[], Iterable[Any]]
    step: Callable[[Any, Any, Any], Iterable[Any]] | None = None
    _: KW_ONLY
    step_context: Callable[[StepContext, Any, Any, Any], Iterable[Any]] | None = None
    equal: Callable[[Any, Any], bool] | None = None
    hash: Callable[[Any], int] | None = None
    partition: Callable[[Sequence[Operation]], Parts] | None = None
    partition_event: Callable[[Sequence[Event]], EventParts] | None = None
    describe_operation: Callable[[Any, Any], str] | None = None
    describe_state: Callable[[Any], str] | None = None
    describe_operation_metadata: Callable[[Any], str] | None = None
    sees_failures: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if self.step is None and self.step_context is None:
            raise ModelError(f"model {self.name!r} has neither step nor step_context; give it one")

    def to_model(self) -> Model:
        same, digest = self.equal, self.hash
        describe = repr if self.describe_state is None else self.describe_state

        def merged(states: Iterable[Any]) -> tuple[Any, ...]:
            if same is None:
                states = list(states)
                try:
                    return tuple(dict.fromkeys(states))
                except TypeError:
                    pass  # Unhashable states: compared one by one.
            distinct: list[Any] = []
            for state in states:
                if not any(state == s if same is None else same(state, s) for s in distinct):
                    distinct.append(state)
            return tuple(distinct)

        def equal(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
            # Each side holds distinct states, so one direction of membership is enough.
            return len(left) == len(right) and all(
                any(a == b if same is None else same(a, b) for b in right) for a in left
            )

        def mixed(states: tuple[Any, ...]) -> int:
            value = len(states)
            for state in states:
                value ^= hash(state) if digest is None else digest(state)
            return value

        def following(
            context: StepContext | None, states: tuple[Any, ...], given: Any, output: Any
        ) -> tuple[bool, tuple[Any, ...]]:
            reached: list[Any] = []
            for state in states:
                if self.step_context is not None:
                    assert context is not None
                    if context.cancelled():
                        return False, ()
                    reached.extend(self.step_context(context, state, given, output))
                else:
                    assert self.step is not None
                    reached.extend(self.step(state, given, output))
            found = merged(reached)
            return bool(found), found

        with_context = self.step_context is not None
        return Model(
            init=lambda: merged(self.init()),
            step=None if with_context else lambda s, i, o: following(None, s, i, o),
            step_context=following if with_context else None,
            equal=equal,
            hash=None if same is not None and digest is None else mixed,
            partition=self.partition,
            partition_event=self.partition_event,
            describe_operation=self.describe_operation,
            describe_state=lambda states: "{" + ", ".join(describe(s) for s in states) + "}",
            describe_operation_metadata=self.describe_operation_metadata,
            sees_failures=self.sees_failures,
            name=self.name,
        )
