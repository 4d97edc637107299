"""The replicated state machine: a key-value register store with client sessions.

Pure and deterministic: the same commands in the same order give the same state and the same results
on every member, whatever the bytes are. A command is a msgpack array `[session, seq, op, key,
args...]`, with op "write" (args: value), "cas" (args: old, new), "add" (args: an integer, to a counter
that begins at 0) or "append" (args: an element, to a list that begins empty). A value is an integer, a
string, None, or a list of these; a key never written holds None.

Each session numbers its commands from 1. A retry of the newest number gets the result of the first
application (with the index and term of *that* entry) and changes nothing; an older number is
answered "stale" (Raft thesis 6.3).
"""

from __future__ import annotations

import zlib
from typing import Final, Literal

import msgspec

Scalar = int | str | None
Value = Scalar | list[Scalar]

STALE: Final = "stale"
INVALID: Final = "invalid"


class Command(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`value` is a write's value, a cas's expected one, an add's summand or an append's element; `new` is a cas's only."""

    session: str
    seq: int
    op: Literal["write", "cas", "add", "append"]
    key: str
    value: Scalar
    new: Scalar | msgspec.UnsetType = msgspec.UNSET


class Result(msgspec.Struct, frozen=True):
    """What the client is told. `error` is "", "stale" or "invalid"; `value` is then empty.

    `value` is {"ok": True} for a write or an append, {"swapped": bool, "saw": value} for a cas and
    {"now": value} for an add; index and term are those of the entry that took effect.
    """

    value: dict[str, Value]
    index: int
    term: int
    error: str = ""


_decoder: Final = msgspec.msgpack.Decoder(Command)
_encoder: Final = msgspec.msgpack.Encoder()


def encode_write(session: str, seq: int, key: str, value: Scalar) -> bytes:
    """The bytes of a write."""
    return _encoder.encode((session, seq, "write", key, value))


def encode_cas(session: str, seq: int, key: str, old: Scalar, new: Scalar) -> bytes:
    """The bytes of a compare-and-set."""
    return _encoder.encode((session, seq, "cas", key, old, new))


def encode_add(session: str, seq: int, key: str, summand: int) -> bytes:
    """The bytes of an addition to a counter."""
    return _encoder.encode((session, seq, "add", key, summand))


def encode_append(session: str, seq: int, key: str, element: Scalar) -> bytes:
    """The bytes of an append to a list."""
    return _encoder.encode((session, seq, "append", key, element))


class KeyValue:
    """The state: registers by key, and per session its newest number with that command's result."""

    def __init__(self) -> None:
        self.registers: dict[str, Value] = {}
        self.sessions: dict[str, tuple[int, Result]] = {}

    def __repr__(self) -> str:
        return f"KeyValue({len(self.registers)} keys, {len(self.sessions)} sessions)"

    def read(self, key: str) -> Value:
        """The value of `key`, None if it was never written."""
        return self.registers.get(key)

    def apply(self, data: bytes, index: int, term: int) -> Result:
        """Apply the committed command `data` of entry (index, term). Never raises: bad bytes give
        an error result.
        """
        try:
            command = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Result({}, index, term, INVALID)
        if command.seq < 1 or (command.op == "cas") != (command.new is not msgspec.UNSET):
            return Result({}, index, term, INVALID)
        known = self.sessions.get(command.session)
        if known is not None and command.seq <= known[0]:
            return known[1] if command.seq == known[0] else Result({}, index, term, STALE)
        changed = self._change(command)
        if changed is None:
            return Result({}, index, term, INVALID)
        result = Result(changed, index, term)
        self.sessions[command.session] = (command.seq, result)
        return result

    def _change(self, command: Command) -> dict[str, Value] | None:
        """None: what is there is of another type, so nothing was changed."""
        if command.op == "write":
            self.registers[command.key] = command.value
            return {"ok": True}
        if command.op == "add":
            return self._add(command.key, command.value)
        if command.op == "append":
            return self._append(command.key, command.value)
        assert not isinstance(command.new, msgspec.UnsetType)
        saw = self.registers.get(command.key)
        swapped = saw == command.value
        if swapped:
            self.registers[command.key] = command.new
        return {"swapped": swapped, "saw": saw}

    def _add(self, key: str, summand: Scalar) -> dict[str, Value] | None:
        now = self.registers.get(key)
        if not isinstance(summand, int) or not (now is None or isinstance(now, int)):
            return None
        total = (now or 0) + summand
        if not -(2**63) <= total < 2**63:
            return None
        self.registers[key] = total
        return {"now": total}

    def _append(self, key: str, element: Scalar) -> dict[str, Value] | None:
        held = self.registers.get(key)
        if not (held is None or isinstance(held, list)):
            return None
        if held is None:
            self.registers[key] = [element]
        else:
            held.append(element)
        return {"ok": True}

    def digest(self) -> int:
        """crc32 of the whole state, sessions included: equal on members that applied the same
        entries.
        """
        registers = sorted(self.registers.items())
        sessions = sorted((name, seq, result) for name, (seq, result) in self.sessions.items())
        return zlib.crc32(_encoder.encode((registers, sessions)))
