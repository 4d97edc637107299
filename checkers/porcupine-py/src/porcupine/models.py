"""Ready models: registers, a store of registers, and the store of strings Porcupine's own data is about.

Inputs are tuples whose first element names the operation. A register: ("read",) gives the value,
("write", v) gives None, ("cas", a, b) gives True (swapped), False (did not swap, for the value was not a) or
Saw(v) (did not swap, for the value was v). UNKNOWN as output is accepted everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from porcupine.errors import ModelError
from porcupine.history import UNKNOWN, Operation
from porcupine.model import Model
from porcupine.result import GateResult
from porcupine.zones import Saw, check_register

__all__ = ["Saw", "append_kv", "cas_register", "kv", "register"]


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

    return Model(
        lambda: initial,
        step,
        partition=_by_key,
        readonly=lambda given, output: bool(given[0] == "get"),
        describe_operation=_describe,
        name="append-kv",
    )


def _register(name: str, initial: Hashable, vocabulary: frozenset[str], *, keyed: bool) -> Model:
    skip = 1 if keyed else 0
    at = 1 + skip

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
        partition=_by_key if keyed else None,
        readonly=readonly,
        gate=gate,
        describe_operation=_describe,
        name=name,
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
