"""What a verbose check leaves for a picture: parts, their orders, and notes laid beside them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from porcupine.history import Operation
from porcupine.result import Cause, Verdict, Witness


@dataclass(frozen=True, slots=True)
class Annotation:
    """A note on the time line: of a client, or under a tag. Without `end` it marks an instant."""

    start: int
    description: str
    end: int | None = None
    client_id: Hashable = None
    tag: str = ""
    details: str = ""
    text_color: str = ""
    background_color: str = ""


@dataclass(slots=True)
class LinearizationInfo:
    """Per part: its key, its operations, and the orders found, as places in that part's list.

    When a part is ok there is one full order. Otherwise there are partial ones, longest first, such that the
    longest known order with any given operation in it is among them. `verdicts`, `causes` and `witnesses` go
    with the parts, and may be left empty by who makes one of these by hand. A witness says with `stuck_at`
    where the part's orders end, and with `partials` how they come there; its operations too are places in the
    part's list.
    """

    keys: list[Hashable] = field(default_factory=list)
    history: list[list[Operation]] = field(default_factory=list)
    orders: list[list[list[int]]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    causes: list[Cause | None] = field(default_factory=list)
    witnesses: list[Witness | None] = field(default_factory=list)

    def partial_linearizations(self) -> list[list[list[int]]]:
        """Part -> orders -> places in the part's list of operations."""
        return [[list(order) for order in orders] for orders in self.orders]

    def partial_linearizations_operations(self) -> list[list[list[Operation]]]:
        """Part -> orders -> operations."""
        return [
            [[operations[place] for place in order] for order in orders]
            for operations, orders in zip(self.history, self.orders, strict=True)
        ]

    def add_annotations(self, annotations: Iterable[Annotation]) -> None:
        self.annotations.extend(annotations)
