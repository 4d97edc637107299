"""A bed's steps as text that a person can review: what went into each core, and what came out.

Heartbeats that changed nothing and timers that did nothing are left out, or nobody could see the rest.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from node.raft import configuration
from node.raft.effects import Effects, Input, Persist, Persisted, Received, Tick
from node.raft.messages import CONFIGURATION, AppendEntries, AppendEntriesReply, Entry
from tests.node.raft.bed import MS, Bed

_HIDDEN = {"call", "crc", "token"}
"""Numbers that say nothing to a reader and change with every draw."""
_UNLESS_SET = {
    "disrupted",
    "disrupted_term",
    "previous_term",
    "readonly",
    "rejected_by_lease",
    "round",
}
"""What most messages have at zero."""


def transcript(bed: Bed) -> str:
    """All steps of the bed, a block each."""
    lines: list[str] = []
    for now, name, given, out in bed.trace:
        if isinstance(given, str):
            lines.append(f"--- {given}")
        elif out is not None and not _quiet(given, out):
            lines.append(f"{now / MS:.3f} ms {name}: {_input(given)}")
            lines.extend(f"    {line}" for line in _effects(out))
    return "\n".join(lines) + "\n"


def narrow(text: str, width: int = 80) -> str:
    """The same with long lines broken, their rest indented."""
    lines: list[str] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines) + "\n"


def _quiet(given: Input, out: Effects) -> bool:
    """Only heartbeats came or went."""
    if out.events or out.failed or out.apply or out.reads or out.persist or out.fatal:
        return False
    if out.admin or out.snapshots:
        return False
    beats = all(
        (isinstance(m, AppendEntries) and not m.entries)
        or (isinstance(m, AppendEntriesReply) and m.success)
        for _, m in out.messages
    )
    if isinstance(given, Received):
        message = given.message
        beat = isinstance(message, AppendEntries) and not message.entries
        return beats and (beat or (isinstance(message, AppendEntriesReply) and message.success))
    return isinstance(given, Tick) and beats


def _input(given: Input) -> str:
    if isinstance(given, Received):
        return f"<- {given.sender} {_value(given.message)}"
    if isinstance(given, Persisted):
        return "synced"
    return _value(given)


def _effects(out: Effects) -> Iterator[str]:
    for event in out.events:
        fields = " ".join(f"{name}={_value(value)}" for name, value in event.fields.items())
        yield f"event {event.name} term={event.term} {fields}".rstrip()
    for to, message in out.messages:
        yield f"-> {to} {_value(message)}"
    for failure in out.failed:
        kind = "fails" if failure.definite else "is unknown"
        yield f"a client's request {kind}: {failure.code} (leader {failure.leader or 'unknown'})"
    for committed in out.apply:
        told = "" if committed.token is None else ", its client is told"
        yield f"applies {_value(committed.entry)}{told}"
    for read in out.reads:
        yield f"a read is answered from index {read.index}"
    for persist in out.persist:
        yield _persist(persist)
    for done in out.admin:
        yield f"the operator is told: {done.error or 'done'}"
    for request in out.snapshots:
        yield _value(request)
    if out.fatal:
        yield f"FATAL {out.fatal}"


def _persist(persist: Persist) -> str:
    words = ["to disk:"]
    if persist.reset is not None:
        words.append(f"log begins after {persist.reset[0]}@{persist.reset[1]}")
    if persist.truncate_from:
        words.append(f"cut from {persist.truncate_from}")
    if persist.entries:
        words.append(" ".join(_value(entry) for entry in persist.entries))
    if persist.hard_state is not None:
        vote = persist.hard_state.voted_for or "nobody"
        words.append(f"term {persist.hard_state.term}, vote {vote}")
    if persist.cut_to:
        words.append(f"log up to {persist.cut_to} not needed")
    return " ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, Entry):
        what = ""
        if value.kind == CONFIGURATION:
            what = f" {_value(configuration.decode(value.data))}"
        return f"{value.index}@{value.term}{what}"
    if isinstance(value, configuration.Configuration):
        old = f" from {','.join(value.old)}" if value.old else ""
        return f"[{','.join(value.members)}{old}]"
    fields = getattr(value, "__struct_fields__", None)
    if fields is not None:
        shown = (
            f"{name}={_value(getattr(value, name))}"
            for name in fields
            if name not in _HIDDEN
            and getattr(value, name) not in ("", (), [], None, b"")
            and (name not in _UNLESS_SET or getattr(value, name))
        )
        return f"{type(value).__name__} {' '.join(shown)}".rstrip()
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_value, value))}]"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value)
