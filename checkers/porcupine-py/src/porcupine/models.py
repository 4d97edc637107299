"""Ready models: registers, stores, collections, counters and locks.

Inputs are tuples whose first element names the operation. A register: ("read",) gives the value,
("write", v) gives None, ("cas", a, b) gives True (swapped), False (did not swap, for the value was not a) or
Saw(v) (did not swap, for the value was v). UNKNOWN as output is accepted everywhere. An operation that may
have been refused says so by True or False; any other output says nothing about it.

Each model's step is what it means. `compiled` names its twin in the compiled core, which is tested against it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from porcupine.errors import ModelError
from porcupine.gates import (
    check_appends,
    check_counter,
    check_lists,
    check_priority_queue,
    check_queue,
    check_set,
    check_stack,
)
from porcupine.history import EMPTY, UNKNOWN, Operation
from porcupine.model import Gate, Model, Twin
from porcupine.result import GateResult
from porcupine.zones import Saw, check_register

__all__ = [
    "EMPTY",
    "Saw",
    "append_kv",
    "cas_register",
    "counter",
    "kv",
    "list_append",
    "multi_register",
    "mutex",
    "priority_queue",
    "queue",
    "register",
    "semaphore",
    "set_of_values",
    "stack",
]


def register(initial: Hashable = None) -> Model:
    """A register with ("read",) and ("write", v), decided by zones where the values seen are unique."""
    return _register("register", initial, frozenset({"read", "write"}), keyed=False)


def cas_register(initial: Hashable = None) -> Model:
    """A register that also has ("cas", a, b); see the module for its outputs."""
    return _register("cas-register", initial, frozenset({"read", "write", "cas"}), keyed=False)


def kv(initial: Hashable = None) -> Model:
    """A store of compare-and-set registers, one for each key, judged key by key.

    Inputs: ("read", key), ("write", key, v), ("cas", key, a, b). Every key begins with `initial`.
    """
    return _register("kv", initial, frozenset({"read", "write", "cas"}), keyed=True)


def append_kv(initial: str = "") -> Model:
    """A store of strings, judged key by key: ("get", key) gives the string, ("put", key, s), ("append", key, s)."""

    def step(state: str, given: Any, output: Any) -> tuple[bool, str]:
        kind = given[0]
        if kind == "get":
            return output is UNKNOWN or output == state, state
        if kind == "put":
            return True, given[2]
        if kind == "append":
            return True, state + given[2]
        raise _no_meaning("append-kv", given)

    gate = partial(check_appends, initial=initial)
    return Model(
        lambda: initial,
        step,
        partition=_by_key,
        readonly=lambda given, output: bool(given[0] == "get"),
        describe_operation=_describe,
        gate=gate,
        name="append-kv",
        compiled=Twin("append", step, initial, 1, _by_key, gate),
    )


def list_append() -> Model:
    """Lists, judged key by key: ("append", key, v), and ("read", key) gives a list or tuple of all there is."""

    def step(state: tuple[Any, ...], given: Any, output: Any) -> tuple[bool, tuple[Any, ...]]:
        kind = given[0]
        if kind == "read":
            return output is UNKNOWN or tuple(output) == state, state
        if kind == "append":
            return True, (*state, given[2])
        raise _no_meaning("list-append", given)

    return Model(
        tuple,
        step,
        partition=_by_key,
        readonly=lambda given, output: bool(given[0] == "read"),
        describe_operation=_describe,
        gate=check_lists,
        name="list-append",
        compiled=Twin("list", step, None, 1, _by_key, check_lists),
    )


def counter(initial: int = 0) -> Model:
    """A counter: ("add", d), ("read",) gives the value, ("add_and_get", d) gives the value after it."""

    def step(state: int, given: Any, output: Any) -> tuple[bool, int]:
        kind = given[0]
        if kind == "read":
            return output is UNKNOWN or output == state, state
        if kind == "add":
            return True, state + given[1]
        if kind == "add_and_get":
            after = state + given[1]
            return output is UNKNOWN or output == after, after
        raise _no_meaning("counter", given)

    gate = partial(check_counter, initial=initial)
    return Model(
        lambda: initial,
        step,
        readonly=lambda given, output: bool(given[0] == "read"),
        describe_operation=_describe,
        gate=gate,
        name="counter",
        compiled=Twin("counter", step, initial, gate=gate),
    )


def set_of_values() -> Model:
    """A set, empty at first: ("add", v), ("remove", v), ("contains", v) and ("read",).

    "add" and "remove" may give True (it changed the set) or False (it did not); "contains" gives True or
    False, "read" the elements as a set, frozenset, list or tuple.
    """

    def step(state: frozenset[Any], given: Any, output: Any) -> tuple[bool, frozenset[Any]]:
        kind = given[0]
        if kind == "read":
            return output is UNKNOWN or frozenset(output) == state, state
        inside = given[1] in state
        if kind == "contains":
            return output is UNKNOWN or output is inside, state
        if kind == "add":
            fits = output is not inside if type(output) is bool else True
            return fits, state | {given[1]}
        if kind == "remove":
            fits = output is inside if type(output) is bool else True
            return fits, state - {given[1]}
        raise _no_meaning("set", given)

    def readonly(given: Any, output: Any) -> bool:
        return given[0] in ("read", "contains") or output is False

    return Model(
        frozenset,
        step,
        readonly=readonly,
        describe_operation=_describe,
        gate=check_set,
        name="set",
        compiled=Twin("set", step, gate=check_set),
    )


def queue() -> Model:
    """A first-in first-out queue: ("enqueue", v), and ("dequeue",) and ("peek",) give a value or EMPTY."""
    return _collection("queue", "enqueue", "dequeue", lambda state, v: (*state, v), 0, check_queue)


def stack() -> Model:
    """A stack: ("push", v), and ("pop",) and ("peek",) give the value pushed last, or EMPTY."""
    return _collection("stack", "push", "pop", lambda state, v: (*state, v), -1, check_stack)


def priority_queue() -> Model:
    """A priority queue: ("push", v), and ("pop",) and ("peek",) give the smallest value, or EMPTY."""

    def put(state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        members = list(state)
        insort(members, value)
        return tuple(members)

    return _collection("priority", "push", "pop", put, 0, check_priority_queue)


def mutex() -> Model:
    """A lock, free at first: ("acquire",) and ("release",).

    Either may give False: then the lock was not free to be acquired, or not held to be released. One of
    unknown outcome that could not have succeeded did not take effect.
    """
    return _semaphore("mutex", 1)


def semaphore(permits: int) -> Model:
    """As many permits, all free at first: ("acquire", n) and ("release", n), or without n for one.

    Either may give False: then fewer than n were free, or fewer than n were taken.
    """
    return _semaphore("semaphore", permits)


def multi_register(initial: Hashable = None) -> Model:
    """Registers read and written together, each `initial` at first: ("txn", (("r", key), ("w", key, v), ...)).

    The output is a list or tuple of what the reads saw, in their order; UNKNOWN may stand for any of them. Not
    judged key by key: a transaction takes effect at one instant.
    """

    def step(state: frozenset[Any], given: Any, output: Any) -> tuple[bool, frozenset[Any]]:
        if given[0] != "txn":
            raise _no_meaning("multi-register", given)
        values = dict(state)
        reads: list[Any] = []
        for name, key, *written in given[1]:
            if name == "w":
                values[key] = written[0]
            elif name == "r":
                reads.append(values.get(key, initial))
            else:
                raise _no_meaning("multi-register", given)
        after = frozenset(item for item in values.items() if item[1] != initial)
        if output is UNKNOWN:
            return True, after
        fits = len(output) == len(reads) and all(
            seen is UNKNOWN or seen == value for seen, value in zip(output, reads, strict=True)
        )
        return fits, after

    def readonly(given: Any, output: Any) -> bool:
        return all(part[0] == "r" for part in given[1])

    return Model(
        frozenset,
        step,
        readonly=readonly,
        describe_operation=_describe,
        name="multi-register",
        compiled=Twin("registers", step, initial),
    )


def _collection(
    name: str,
    into: str,
    out: str,
    put: Callable[[tuple[Any, ...], Any], tuple[Any, ...]],
    at: int,
    gate: Gate,
) -> Model:
    """A collection whose element at `at` is the one to leave first."""

    def step(state: tuple[Any, ...], given: Any, output: Any) -> tuple[bool, tuple[Any, ...]]:
        kind = given[0]
        if kind == into:
            return True, put(state, given[1])
        if kind not in (out, "peek"):
            raise _no_meaning(name, given)
        if not state:
            return output is EMPTY or output is UNKNOWN, state
        fits = output is UNKNOWN or (output is not EMPTY and output == state[at])
        if kind == "peek" or not fits:
            return fits, state
        return True, state[1:] if at == 0 else state[:-1]

    def readonly(given: Any, output: Any) -> bool:
        return given[0] == "peek" or (given[0] == out and output is EMPTY)

    return Model(
        tuple,
        step,
        readonly=readonly,
        gate=gate,
        describe_operation=_describe,
        name=name,
        compiled=Twin(name, step, gate=gate),
    )


def _semaphore(name: str, permits: int) -> Model:
    def step(state: int, given: Any, output: Any) -> tuple[bool, int]:
        kind = given[0]
        count = given[1] if len(given) > 1 else 1
        if kind not in ("acquire", "release"):
            raise _no_meaning(name, given)
        after = state - count if kind == "acquire" else state + count
        possible = 0 <= after <= permits
        if output is False:
            return not possible, state
        return possible, after if possible else state

    return Model(
        lambda: permits,
        step,
        readonly=lambda given, output: output is False,
        describe_operation=_describe,
        name=name,
        compiled=Twin("semaphore", step, permits),
    )


def _register(name: str, initial: Hashable, vocabulary: frozenset[str], *, keyed: bool) -> Model:
    skip = 1 if keyed else 0
    at = 1 + skip
    partition = _by_key if keyed else None

    def step(state: Any, given: Any, output: Any) -> tuple[bool, Any]:
        kind = given[0]
        if kind == "read":
            return output is UNKNOWN or output == state, state
        if kind == "write":
            return True, given[at]
        if kind != "cas" or kind not in vocabulary:
            raise _no_meaning(name, given)
        expected = given[at]
        if output is True:
            return (True, given[at + 1]) if state == expected else (False, state)
        if output is False:
            return state != expected, state
        if output is UNKNOWN:
            return True, given[at + 1] if state == expected else state
        if type(output) is Saw:
            return output.value == state and state != expected, state
        raise ModelError(
            f"{name}: {given!r} has the output {output!r}; it must be True, False, Saw(value) or UNKNOWN"
        )

    def readonly(given: Any, output: Any) -> bool:
        kind = given[0]
        return kind == "read" or (kind == "cas" and (output is False or type(output) is Saw))

    def gate(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
        return check_register(operations, initial, skip, deadline, swaps="cas" in vocabulary)

    return Model(
        lambda: initial,
        step,
        partition=partition,
        readonly=readonly,
        gate=gate,
        describe_operation=_describe,
        name=name,
        compiled=Twin(
            "register" if name == "register" else "cas-register",
            step,
            initial,
            skip,
            partition,
            gate,
        ),
    )


def _by_key(operations: Sequence[Operation]) -> dict[Hashable, list[Operation]]:
    parts: dict[Hashable, list[Operation]] = {}
    for operation in operations:
        key = operation.input[1]
        part = parts.get(key)
        if part is None:
            part = parts[key] = []
        part.append(operation)
    return parts


def _describe(given: Any, output: Any) -> str:
    name, *arguments = given
    text = f"{name}({', '.join(repr(argument) for argument in arguments)})"
    if output is UNKNOWN:
        return f"{text} -> unknown"
    return text if output is None and name not in ("read", "get") else f"{text} -> {output!r}"


def _no_meaning(name: str, given: Any) -> ModelError:
    return ModelError(
        f"{name}: no meaning for the input {given!r}; see porcupine.models for those it has"
    )
