"""What the picture is drawn from: a history, its orders and notes as columns of small numbers and one list of texts.

Its rule is that the page stays of a size a browser can open, whatever it is given. Orders that begin alike share
their beginning (they are a tree), texts are kept once and cut, and what does not fit is left out in the order
of its worth, and counted: legal parts before illegal ones, what is far from the first error before what
is near, short orders before long ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from porcupine.history import UNKNOWN, Operation
from porcupine.linearization import LinearizationInfo
from porcupine.model import Model
from porcupine.result import Cause, Verdict, Witness
from porcupine.visualization.orders import Orders, first_unexplained

OUTCOME_LETTERS: Final = {"ok": "o", "fail": "f", "info": "i"}
RANK: Final[dict[Verdict, int]] = {"illegal": 0, "unknown": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a page may hold; with all of it, some 30 MB."""

    operations: int = 200_000
    operations_of_part: int = 100_000
    annotations: int = 20_000
    parts: int = 20_000
    steps: int = 200_000
    """Nodes of all trees of orders together."""
    replayed_steps: int = 1_000_000
    """Steps of the model, to find what the states are."""
    operation_characters: int = 300
    state_characters: int = 240
    detail_characters: int = 2_000
    characters: int = 24_000_000
    """Past this many in all, texts are cut to `short_characters`."""
    short_characters: int = 60


class Texts:
    """Texts by number, each kept once, and cut in the middle where it is too long."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._number: dict[str, int] = {}
        self.all: list[str] = []
        self._characters = 0

    def number(self, text: str, most: int) -> int:
        if self._characters > self._bounds.characters:
            most = min(most, self._bounds.short_characters)
        text = cut(text, most)
        found = self._number.setdefault(text, len(self.all))
        if found == len(self.all):
            self.all.append(text)
            self._characters += len(text)
        return found


def cut(text: str, most: int) -> str:
    """The text, or its beginning and its end, which of a state that only grows says more."""
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]} … {text[len(text) - (most - head - 3) :]}"


@dataclass(slots=True)
class Part:
    """One part as it is shown: `kept` are the places of its operations that are drawn, in order of call."""

    key: Hashable
    operations: Sequence[Operation]
    orders: Sequence[Sequence[int]]
    verdict: Verdict
    cause: Cause | None
    witness: Witness | None
    stuck: int | None
    kept: list[int] = field(default_factory=list)

    @property
    def error_time(self) -> float:
        """When its first error is seen; infinite when it has none."""
        if self.verdict != "illegal" or self.stuck is None:
            return float("inf")
        back = self.operations[self.stuck].return_time
        return float("inf") if back is None else back


def parts_of(model: Model, info: LinearizationInfo) -> list[Part]:
    """The parts, illegal ones first by the time of their error, then undecided ones, then the rest."""
    found: list[Part] = []
    for place, operations in enumerate(info.history):
        orders = info.orders[place] if place < len(info.orders) else []
        longest = max(orders, key=len, default=[])
        beyond = first_unexplained(model, operations, longest)
        verdict: Verdict = "ok" if beyond is None and (orders or not operations) else "unknown"
        if place < len(info.verdicts):
            verdict = info.verdicts[place]
        witness = info.witnesses[place] if place < len(info.witnesses) else None
        stuck = beyond if verdict != "ok" else None
        if witness is not None and witness.stuck_at is not None:
            stuck = witness.stuck_at
        found.append(
            Part(
                info.keys[place] if place < len(info.keys) else place,
                operations,
                orders,
                verdict,
                info.causes[place] if place < len(info.causes) else None,
                witness,
                stuck,
            )
        )
    found.sort(key=lambda part: (RANK[part.verdict], part.error_time))
    return found


def choose(parts: Sequence[Part], bounds: Bounds) -> None:
    """Fill `kept`: all operations, as long as there is room, of a large part those around its first error."""
    room = bounds.operations
    for part in parts[: bounds.parts]:
        operations = part.operations
        by_call = sorted(range(len(operations)), key=lambda index: operations[index].call)
        most = min(room, bounds.operations_of_part)
        if len(by_call) > most:
            middle = 0
            if part.stuck is not None:
                middle = by_call.index(part.stuck)
            begin = max(0, min(middle - (4 * most) // 5, len(by_call) - most))
            by_call = by_call[begin : begin + most]
        part.kept = by_call
        room -= len(by_call)


def page_data(
    model: Model, info: LinearizationInfo, parts: Sequence[Part], bounds: Bounds
) -> dict[str, Any]:
    """All that the page's script is given, ready for JSON. `parts` are those of `parts_of`, after `choose`."""
    texts = Texts(bounds)
    shown = parts[: bounds.parts]
    notes = sorted(info.annotations, key=lambda note: note.start)[: bounds.annotations]
    clients: dict[Hashable, int] = {}
    instants: set[Any] = set()
    for part in shown:
        for index in part.kept:
            operation = part.operations[index]
            clients.setdefault(operation.client_id, 0)
            instants.add(operation.call)
            back = _end(operation)
            if back is not None:
                instants.add(back)
    for note in notes:
        if note.client_id is not None and not note.tag:
            clients.setdefault(note.client_id, 0)
        instants.add(note.start)
        if note.end is not None and note.end > note.start:
            instants.add(note.end)
    times = sorted(instants)
    rank = {time: place for place, time in enumerate(times)}
    for place, client in enumerate(sorted(clients, key=_client_order)):
        clients[client] = place
    trees = Orders(
        model, texts.number, bounds.steps, bounds.replayed_steps, bounds.state_characters
    )
    encoded: list[dict[str, Any]] = [
        _encode(model, part, rank, clients, texts, trees, bounds) for part in shown
    ]
    tags = sorted({note.tag for note in notes if note.tag})
    if any(not note.tag and note.client_id is None for note in notes):
        tags.append("")
    return {
        "clients": [cut(str(client), 60) for client in clients_in_order(clients)],
        "tags": [cut(tag, 60) for tag in tags],
        "times": _times(times),
        "parts": encoded,
        "partsLeftOut": len(parts) - len(shown),
        "notes": [
            {
                "client": -1 if note.tag or note.client_id is None else clients[note.client_id],
                "tag": tags.index(note.tag) if note.tag or note.client_id is None else -1,
                "begin": rank[note.start],
                "end": rank[note.end] if note.end is not None and note.end > note.start else -1,
                "text": texts.number(note.description, bounds.operation_characters),
                "details": texts.number(note.details, bounds.detail_characters),
                "ink": note.text_color[:40],
                "paper": note.background_color[:40],
            }
            for note in notes
        ],
        "notesLeftOut": max(0, len(info.annotations) - len(notes)),
        "texts": texts.all,
    }


def clients_in_order(clients: dict[Hashable, int]) -> list[Hashable]:
    return sorted(clients, key=clients.__getitem__)


def _client_order(client: Hashable) -> tuple[int, float, str]:
    """Numbers by their size, everything else by its text."""
    if isinstance(client, int | float):
        return 0, client, ""
    return 1, 0, str(client)


def _end(operation: Operation) -> Any:
    """Where its box ends, if anywhere: one of unknown outcome may say when it was given up."""
    back = operation.return_time
    return None if back is None or back < operation.call else back


def _times(times: Sequence[Any]) -> list[Any]:
    """Instants as numbers where a browser can tell them apart, else as texts."""
    if all(type(time) is int and abs(time) < 1 << 53 for time in times):
        return _steps(times)
    return [str(time) for time in times]


def _steps(numbers: Iterable[int]) -> list[int]:
    """Each number as its distance from the one before: few digits."""
    found: list[int] = []
    last = 0
    for number in numbers:
        found.append(number - last)
        last = number
    return found


def _encode(
    model: Model,
    part: Part,
    rank: dict[Any, int],
    clients: dict[Hashable, int],
    texts: Texts,
    trees: Orders,
    bounds: Bounds,
) -> dict[str, Any]:
    operations = part.operations
    begins: list[int] = []
    lengths: list[int] = []
    words: list[int] = []
    remarks: list[int] = []
    letters: list[str] = []
    rows: list[int] = []
    place_of: dict[int, int] = {}
    for index in part.kept:
        operation = operations[index]
        place_of[index] = len(rows)
        rows.append(clients[operation.client_id])
        begins.append(rank[operation.call])
        back = _end(operation)
        lengths.append(-1 if back is None else rank[back] - rank[operation.call])
        output = UNKNOWN if operation.outcome == "info" else operation.output
        said = model.operation_text(operation.input, output)
        words.append(texts.number(said, bounds.operation_characters))
        remark = "" if operation.metadata is None else model.metadata_text(operation.metadata)
        remarks.append(texts.number(remark, bounds.detail_characters))
        letters.append(OUTCOME_LETTERS[operation.outcome])
    ways = part.witness.partials if part.witness is not None else ()
    wanted = [*sorted(ways, key=len, reverse=True), *sorted(part.orders, key=len, reverse=True)]
    tree = trees.tree(operations, wanted, place_of, stops=part.verdict != "ok", ways=len(ways))
    witness: dict[str, Any] | None = None
    if part.witness is not None:
        witness = {
            "text": texts.number(part.witness.text, 4 * bounds.detail_characters),
            "closed": part.witness.closed,
            "operations": _known(part.witness.operations, place_of),
            "support": _known(part.witness.support, place_of),
        }
    return {
        "key": "" if part.key is None else cut(str(part.key), 120),
        "verdict": part.verdict,
        "cause": part.cause or "",
        "count": len(operations),
        "client": rows,
        "begin": _steps(begins),
        "length": lengths,
        "text": words,
        "remark": remarks if any(texts.all[remark] for remark in set(remarks)) else [],
        "outcome": "".join(letters),
        "stuck": -1 if part.stuck is None else place_of.get(part.stuck, -1),
        "witness": witness,
        **tree,
    }


def _known(indices: Sequence[int], place_of: dict[int, int]) -> list[int]:
    return [place_of[index] for index in indices if index in place_of]
