"""The picture in words, as HTML that needs no script: verdict, parts, and for each error what stands against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Final

from porcupine.model import Model, StepContext
from porcupine.visualization.data import Part, cut
from porcupine.visualization.orders import outputs_of

ERRORS_MAX: Final = 20
STEPS_MAX: Final = 12
PARTS_MAX: Final = 500
TEXT_CHARACTERS: Final = 6_000
LINE_CHARACTERS: Final = 300
ANSWER: Final = {
    "illegal": "not linearizable",
    "unknown": "not decided",
    "ok": "linearizable",
}


def verdict_of(parts: Sequence[Part]) -> str:
    """The verdict of all parts together."""
    found = {part.verdict for part in parts}
    return next((each for each in ("illegal", "unknown") if each in found), "ok")


def sentence(model: Model, parts: Sequence[Part]) -> str:
    """What came out, in a line."""
    verdict = verdict_of(parts)
    operations = sum(len(part.operations) for part in parts)
    size = f"{operations:,} operation{'' if operations == 1 else 's'}"
    if len(parts) > 1:
        counts = Counter(part.verdict for part in parts)
        told = ", ".join(
            f"{counts[each]:,} {ANSWER[each]}"
            for each in ("illegal", "unknown", "ok")
            if counts[each]
        )
        size += f" in {len(parts):,} parts ({told})"
    if verdict == "illegal":
        first = parts[0]
        if first.stuck is not None:
            where = "" if first.key is None or len(parts) == 1 else f" in part {first.key!s}"
            return f"{size}; no order gets past {line(model, first, first.stuck)}{where}."
    if verdict == "unknown":
        cause = next((part.cause for part in parts if part.cause is not None), None)
        return f"{size}; not decided{f' ({cause})' if cause else ''}."
    return f"{size}."


def line(model: Model, part: Part, index: int) -> str:
    """One operation: who, what, when."""
    operation = part.operations[index]
    text = model.operation_text(operation.input, outputs_of([operation])[0])
    back = "..." if operation.outcome == "info" else operation.return_time
    return cut(
        f"client {operation.client_id}: {text} in [{operation.call}, {back}]", LINE_CHARACTERS
    )


def summary(model: Model, parts: Sequence[Part]) -> str:
    """Sections of HTML: each illegal part's story, then a table of all parts."""
    found: list[str] = []
    illegal = [part for part in parts if part.verdict == "illegal"]
    for part in illegal[:ERRORS_MAX]:
        found.append(_story(model, part, alone=len(parts) == 1))
    if len(illegal) > ERRORS_MAX:
        found.append(
            f"<p>And {len(illegal) - ERRORS_MAX} more parts that are not linearizable.</p>"
        )
    if not illegal and len(parts) == 1 and parts[0].orders:
        found.append(
            f"<section><h3>{_heading(parts[0], alone=True)}</h3>{_tail(model, parts[0])}</section>"
        )
    if len(parts) > 1:
        found.append(_table(parts))
    return "".join(found)


def _heading(part: Part, *, alone: bool) -> str:
    name = "The history" if alone or part.key is None else f"Part {cut(str(part.key), 120)}"
    cause = f" ({part.cause})" if part.cause else ""
    return escape(f"{name}: {ANSWER[part.verdict]}{cause}")


def _story(model: Model, part: Part, *, alone: bool) -> str:
    body = f"<h3>{_heading(part, alone=alone)}</h3>"
    if part.stuck is not None:
        body += f"<p>No order gets past <code>{escape(line(model, part, part.stuck))}</code>.</p>"
    if part.witness is not None:
        body += f"<pre>{escape(cut(part.witness.text, TEXT_CHARACTERS))}</pre>"
    return f"<section>{body}{_tail(model, part)}</section>"


def _tail(model: Model, part: Part) -> str:
    """The end of the order that comes furthest, step by step."""
    ways = part.witness.partials if part.witness is not None else ()
    order = max(ways or part.orders, key=len, default=())
    if not order:
        return ""
    step = model.stepper(StepContext(None))
    outputs = outputs_of(part.operations)
    state = model.init()
    rows: list[str] = []
    for place, index in enumerate(order, start=1):
        fits, state = step(state, part.operations[index].input, outputs[index])
        if place > len(order) - STEPS_MAX or not fits:
            after = cut(model.state_text(state), LINE_CHARACTERS) if fits else "not possible"
            rows.append(
                f"<tr><td>{place}</td><td>{escape(line(model, part, index))}</td><td>{escape(after)}</td></tr>"
            )
        if not fits:
            break
    which = "An order of all" if part.verdict == "ok" else "The longest order that comes so far"
    return (
        f"<p>{which}, {len(order):,} step{'' if len(order) == 1 else 's'}"
        f"{'' if len(order) <= STEPS_MAX else f'; the last {STEPS_MAX}'}:</p><table><thead><tr>"
        "<th>step</th><th>operation</th><th>state after it</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _table(parts: Sequence[Part]) -> str:
    rows = [
        f"<tr><td>{escape(cut(str(part.key), 120))}</td><td>{ANSWER[part.verdict]}</td>"
        f"<td>{len(part.operations):,}</td><td>{escape(part.cause or '')}</td></tr>"
        for part in parts[:PARTS_MAX]
    ]
    more = len(parts) - PARTS_MAX
    tail = f"<p>And {more:,} more parts.</p>" if more > 0 else ""
    return (
        "<section><h3>Parts</h3><table><thead><tr><th>part</th><th>verdict</th><th>operations</th>"
        f"<th>why not decided</th></tr></thead><tbody>{''.join(rows)}</tbody></table>{tail}</section>"
    )
