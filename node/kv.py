"""The replicated state machine: a key-value register store with client sessions.

Pure and deterministic: the same commands in the same order give the same state and the same results
on every member, whatever the bytes are. A command is a msgpack array `[session, seq, op, key,
args...]`, with op "write" (args: value), "cas" (args: old, new), "add" (args: an integer, to a counter
that begins at 0) or "append" (args: an element, to a list that begins empty). A value is an integer, a
string, None, or a list of these; a key never written holds None.

Each session numbers its commands from 1. A retry of the newest number gets the result of the first
application (with the index and term of *that* entry) and changes nothing; an older number is
answered "stale" (Raft thesis 6.3).

The whole state can be dumped to bytes and loaded from them. Equal states give equal bytes: keys and
sessions are dealt into small runs by crc32 and sorted within each, so that no single step of a dump
is long however large the state is. Each part is a little-endian u32 length and a msgpack array:
first format, version and counts, then runs of registers, then runs of sessions.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

Scalar = int | str | None
Value = Scalar | list[Scalar]

STALE: Final = "stale"
INVALID: Final = "invalid"

FORMAT: Final = "driftline-kv"
VERSION: Final = 1
_LENGTH: Final = struct.Struct("<I")
_RUN_LENGTH: Final = 512
"""About so many registers or sessions stand in one part of a dump."""


class BadState(ValueError):
    """Bytes that are no dump of a state, or one of a later version; the message says what is wrong with them."""


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
_Outcome = dict[str, bool | Value]
_Register = tuple[str, Value]
_Session = tuple[str, int, _Outcome, int, int]
"""name, newest number, and what that command came to: value, index, term."""
_decode_head: Final = msgspec.msgpack.Decoder(tuple[str, int, int, int]).decode
_decode_registers: Final = msgspec.msgpack.Decoder(list[_Register]).decode
_decode_sessions: Final = msgspec.msgpack.Decoder(list[_Session]).decode


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
        self._lists: set[str] = set()
        """Keys that held a list at some time: values that change in place."""

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
        held = self.registers.get(command.key)
        saw = list(held) if isinstance(held, list) else held
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
            self._lists.add(key)
        else:
            held.append(element)
        return {"ok": True}

    # ---- the state as bytes ----------------------------------------------------------------------

    def frozen(self) -> KeyValue:
        """A copy that later commands do not change: for a dump by another thread. Takes about 20 ns a key."""
        copy = KeyValue()
        copy.registers = self.registers.copy()
        for key in self._lists:
            held = copy.registers[key]
            if isinstance(held, list):
                copy.registers[key] = held.copy()
        copy.sessions = self.sessions.copy()
        return copy

    def dump(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """What dump gives, in small parts."""
        registers, sessions = self.registers, self.sessions
        yield _part((FORMAT, VERSION, len(registers), len(sessions)))
        for run in _runs(registers):
            yield _part([(key, registers[key]) for key in run])
        for run in _runs(sessions):
            found = [(name, *sessions[name]) for name in run]
            yield _part([(name, seq, r.value, r.index, r.term) for name, seq, r in found])

    @classmethod
    def load(cls, data: bytes) -> KeyValue:
        """The state that `data` is a dump of. Raises BadState."""
        kv = cls()
        parts = _parts(data)
        try:
            head = next(parts, None)
            if head is None:
                raise BadState("a state of 0 bytes")
            name, version, registers, sessions = _decode_head(head)
            if name != FORMAT:
                raise BadState(f"format is {name!r}, this node reads {FORMAT!r}")
            if version != VERSION:
                raise BadState(f"version {version} of {FORMAT}, this node reads {VERSION}")
            while len(kv.registers) < registers:
                run = _decode_registers(_next(parts))
                kv.registers.update(run)
                kv._lists.update(key for key, value in run if isinstance(value, list))
            while len(kv.sessions) < sessions:
                for session, seq, value, index, term in _decode_sessions(_next(parts)):
                    kv.sessions[session] = (seq, Result(value, index, term))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadState(f"a part that does not decode: {error}") from None
        if (len(kv.registers), len(kv.sessions)) != (registers, sessions) or any(
            True for _ in parts
        ):
            raise BadState(f"more than the {registers} registers and {sessions} sessions announced")
        return kv


def _part(items: object) -> bytes:
    data = _encoder.encode(items)
    return _LENGTH.pack(len(data)) + data


def _parts(data: bytes) -> Iterator[bytes]:
    at, end = 0, len(data)
    while at < end:
        if end - at < _LENGTH.size:
            raise BadState(f"{end - at} bytes at {at} are no part")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if end - at < length:
            raise BadState(f"a part of {length} bytes at {at}, there are {end - at}")
        yield data[at : at + length]
        at += length


def _next(parts: Iterator[bytes]) -> bytes:
    part = next(parts, None)
    if part is None:
        raise BadState("it ends before all that was announced")
    return part


def _runs(names: Iterable[str]) -> Iterator[list[str]]:
    """All of `names`, in an order that depends on nothing but what they are."""
    held = list(names)
    mask = (1 << max(0, (len(held) // _RUN_LENGTH).bit_length())) - 1
    runs: list[list[str]] = [[] for _ in range(mask + 1)]
    crc32 = zlib.crc32
    for name in held:
        runs[crc32(name.encode()) & mask].append(name)
    for run in runs:
        if run:
            run.sort()
            yield run
