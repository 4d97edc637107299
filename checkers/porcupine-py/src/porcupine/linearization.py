"""What a verbose check leaves for a picture: parts, their orders, and notes laid beside them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

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


Orders = list[list[int]]
WorkOut = Callable[[], tuple[Witness | None, Orders]]


class LinearizationInfo:
    """Per part: its key, its operations, and the orders found, as places in that part's list.

    When a part is ok there is one full order. Otherwise there are partial ones, longest first, such that the
    longest known order with any given operation in it is among them. `verdicts`, `causes` and `witnesses` go
    with the parts, and may be left empty by who makes one of these by hand. A witness says with `stuck_at`
    where the part's orders end, and with `partials` how they come there; its operations too are places in the
    part's list.

    What a check leaves here works its orders and witnesses out when one of them is first asked for.
    """

    __slots__ = (
        "_orders",
        "_pending",
        "_witnesses",
        "annotations",
        "causes",
        "history",
        "keys",
        "verdicts",
    )

    def __init__(
        self,
        keys: Iterable[Hashable] = (),
        history: Iterable[list[Operation]] = (),
        orders: Iterable[Orders] = (),
        annotations: Iterable[Annotation] = (),
        verdicts: Iterable[Verdict] = (),
        causes: Iterable[Cause | None] = (),
        witnesses: Iterable[Witness | None] = (),
    ) -> None:
        self.keys: list[Hashable] = list(keys)
        self.history: list[list[Operation]] = list(history)
        self.annotations: list[Annotation] = list(annotations)
        self.verdicts: list[Verdict] = list(verdicts)
        self.causes: list[Cause | None] = list(causes)
        self._orders: list[Orders] = list(orders)
        self._witnesses: list[Witness | None] = list(witnesses)
        self._pending: list[WorkOut] = []

    def __repr__(self) -> str:
        counts = (len(operations) for operations in self.history)
        return f"LinearizationInfo({len(self.history)} parts, {sum(counts)} operations)"

    def add_part(
        self,
        key: Hashable,
        operations: list[Operation],
        verdict: Verdict,
        cause: Cause | None,
        work_out: WorkOut,
    ) -> None:
        """A further part, and what works out its witness and its orders."""
        self.keys.append(key)
        self.history.append(operations)
        self.verdicts.append(verdict)
        self.causes.append(cause)
        self._pending.append(work_out)

    def _work_out(self) -> None:
        pending, self._pending = self._pending, []
        for work_out in pending:
            witness, orders = work_out()
            self._witnesses.append(witness)
            self._orders.append(orders)

    @property
    def orders(self) -> list[Orders]:
        """Part -> orders -> places in the part's list of operations."""
        self._work_out()
        return self._orders

    @orders.setter
    def orders(self, orders: list[Orders]) -> None:
        self._work_out()
        self._orders = orders

    @property
    def witnesses(self) -> list[Witness | None]:
        """Part -> why it is illegal; None for one that is not."""
        self._work_out()
        return self._witnesses

    @witnesses.setter
    def witnesses(self, witnesses: list[Witness | None]) -> None:
        self._work_out()
        self._witnesses = witnesses

    def partial_linearizations(self) -> list[Orders]:
        """Part -> orders -> places in the part's list of operations, as a copy."""
        return [[list(order) for order in orders] for orders in self.orders]

    def partial_linearizations_operations(self) -> list[list[list[Operation]]]:
        """Part -> orders -> operations."""
        return [
            [[operations[place] for place in order] for order in orders]
            for operations, orders in zip(self.history, self.orders, strict=True)
        ]

    def add_annotations(self, annotations: Iterable[Annotation]) -> None:
        self.annotations.extend(annotations)
