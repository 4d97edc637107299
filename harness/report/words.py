"""What the records mean, in words: properties, faults, values, lengths of time. Pure; the terminal and the HTML both use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from checkers.records.schema import FaultRecord

VERDICTS: Final[dict[str, str]] = {
    "valid": "Every checker was satisfied, and the run exercised what its plan promised.",
    "invalid": "A property of the system under test is violated; the events that prove it are named below.",
    "unknown": "A checker ran out of time or memory before it could decide.",
    "insufficient coverage": "Nothing wrong was seen, but the run did not exercise what its plan promised.",
    "harness error": "Our own machinery failed, or the records are unfit: nothing is said about the system.",
}

PROPERTIES: Final[dict[str, tuple[str, str]]] = {
    "P-LIN": (
        "linearizability",
        "No order of the operations, in which each takes effect at one instant between its call and its return, explains "
        "the results that the clients saw. A typical cause is a read that missed a write acknowledged before it began, or a "
        "write that was acknowledged and lost.",
    ),
    "P-EL": (
        "election safety",
        "Two nodes led in the same term, or one node voted for two candidates in one term. Raft allows one leader a term.",
    ),
    "P-LX": (
        "lease exclusivity",
        "A leader said its lease was valid when another node already led a later term. A read under that lease can be stale.",
    ),
    "P-LM": (
        "log matching",
        "Two logs hold different entries under the same index and term, or different entries before it.",
    ),
    "P-LC": (
        "leader completeness",
        "A node became leader without an entry that was already committed: that entry can be overwritten.",
    ),
    "P-SM": (
        "state machine safety",
        "Two nodes applied different entries at the same index, one node applied entries twice or out of order, or two "
        "snapshots of the same index hold different states.",
    ),
    "P-ORD": (
        "order of a node's indices",
        "A node went back in what it had committed or applied, applied what was not committed, or cut off a part of its "
        "log that it still needed.",
    ),
    "P-CONF": (
        "changes of members",
        "The group went from one set of members to another in a step that lets two majorities decide apart from each other, or "
        "nodes do not agree on who the members are.",
    ),
    "P-DU": ("durability", "An acknowledged operation did not survive the crashes of the run."),
    "P-LV": (
        "liveness",
        "With the cluster healed, no leader or no successful write came within the promised bound.",
    ),
    "P-CRASH": ("no crash", "A node ended by itself: an exit that the harness did not ask for."),
}
"""Code of a property -> its short name, and what a violation means."""


FAULT_MAX: Final = 160


def property_name(code: str, title: str = "") -> str:
    """'P-LIN linearizability'; an unknown code keeps the checker's own title."""
    name = PROPERTIES.get(code, (title, ""))[0]
    return f"{code} {name}".strip()


def explanation(code: str) -> str:
    return PROPERTIES.get(code, ("", "This property of the system does not hold in this run."))[1]


def seconds(time_ns: int | float, digits: int = 3) -> str:
    return f"{time_ns / 1e9:.{digits}f} s"


def length(time_ns: int | float) -> str:
    """A length of time with a unit that fits: 812 us, 3.42 ms, 1.20 s."""
    if abs(time_ns) < 1e6:
        return f"{time_ns / 1e3:.0f} us"
    if abs(time_ns) < 1e9:
        return f"{time_ns / 1e6:.3g} ms"
    return f"{time_ns / 1e9:.2f} s"


_VALUES: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def value(item: Any, limit: int = 60) -> str:
    """A value of an operation on one line."""
    text = str(item) if type(item) is int else _VALUES.encode(item)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def links(pairs: list[Any]) -> str:
    """Directed links in words: where both directions are cut 'n1 | n2 n3', else 'n1 -> n2'."""
    directed = {
        (str(pair[0]), str(pair[1]))
        for pair in pairs
        if isinstance(pair, list | tuple) and len(pair) == 2
    }
    both: dict[str, set[str]] = {}
    oneway: dict[str, list[str]] = {}
    for source, target in sorted(directed):
        if (target, source) in directed:
            both.setdefault(source, set()).add(target)
        else:
            oneway.setdefault(source, []).append(target)
    sides: dict[frozenset[str], list[str]] = {}
    for name, others in both.items():
        sides.setdefault(frozenset(others), []).append(name)
    parts: list[str] = []
    told: set[tuple[str, str]] = set()
    for others_of, names in sorted(sides.items(), key=lambda item: (len(item[1]), item[1])):
        new = {(name, other) for name in names for other in others_of} - told
        if new:
            far = sorted({other for _, other in new})
            near = sorted({name for name, _ in new})
            parts.append(f"{' '.join(near)} | {' '.join(far)}")
            told |= new | {(other, name) for name, other in new}
    sources: dict[tuple[str, ...], list[str]] = {}
    for source, far_side in oneway.items():
        sources.setdefault(tuple(far_side), []).append(source)
    parts += [f"{' '.join(names)} -> {' '.join(far_side)}" for far_side, names in sources.items()]
    return ", ".join(parts)


def fault(kind: str, asked: Mapping[str, Any], targets: Mapping[str, Any]) -> str:
    """A fault step in one line: kind, shape or amount, and whom it hit."""
    words = [kind.replace("_", " ")]
    inner = asked.get("args")
    args = {**asked, **inner} if isinstance(inner, dict) else dict(asked)
    if shape := args.get("shape"):
        words.append(str(shape).replace("_", " "))
    rates = targets.get("rates") or args.get("rates")
    if isinstance(rates, dict):
        words.append(" ".join(f"{name} x{_number(rate)}" for name, rate in rates.items()))
    for name, unit in (("offset_ms", "ms"), ("ms", "ms"), ("latency_ms", "ms")):
        if isinstance(args.get(name), int | float):
            words.append(f"{_number(args[name])} {unit}")
    cut = targets.get("links")
    nodes = targets.get("nodes")
    if isinstance(cut, list) and cut:
        words.append(links(cut))
    elif isinstance(nodes, list) and not isinstance(rates, dict):
        words.append(" ".join(map(str, nodes)))
    elif not isinstance(rates, dict) and isinstance(args.get("targets"), list):
        words.append(" ".join(map(str, args["targets"])))
    text = " ".join(word for word in words if word)
    return text if len(text) <= FAULT_MAX else text[: FAULT_MAX - 1] + "…"


def _number(item: Any) -> str:
    return f"{item:.4g}" if isinstance(item, int | float) else str(item)


def evidence(fields: Mapping[str, Any], limit: int = 120) -> str:
    """Measured evidence on one line: 'state=T group=3'."""
    parts: list[str] = []
    for name, item in fields.items():
        if isinstance(item, float):
            shown = _number(item)
        elif isinstance(item, str | int | bool) or item is None:
            shown = str(item)
        else:
            shown = value(item, 40)
        parts.append(f"{name}={shown}")
    text = " ".join(parts)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def outcome(record: FaultRecord | None) -> str:
    """'installed', or 'skipped: because' for what a step came to."""
    if record is None or record.outcome is None:
        return "asked"
    return f"{record.outcome}: {record.because}" if record.because else record.outcome
