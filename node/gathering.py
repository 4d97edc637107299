"""What clients asked for and the core was not given yet: commands, and the ReadIndex reads that one round is to serve. Pure.

Commands wait while earlier ones are on their way to the quorum, as Nagle's algorithm has small segments wait (RFC 896), and
then for the clients that were answered and are used to ask again at once. Without that second wait the clients of a busy
group fall into two halves, each of which asks while the other is served, and every append, sync and round is half as full.
Where commands wait, reads wait with them, since the append that is to come carries their round. The one rule: nobody waits
here for longer than WAIT_NS.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from node.raft.effects import Propose, Requests

WAIT_NS: Final = 10_000_000
"""Several times what a quorum, and then a client, takes on a host that is not busy."""


class Gathering:
    """Times are true ns. A client is whoever has one connection. False while nothing waits."""

    __slots__ = ("_answered", "_commands", "_commands_due", "_quick", "_reads_due", "_returning")

    def __init__(self) -> None:
        self._commands: list[Propose] = []
        self._commands_due = 0
        self._reads_due: int | None = None
        """None while no reads wait."""
        self._answered: dict[Hashable, int] = {}
        """When each client was answered that has not asked since."""
        self._quick: set[Hashable] = set()
        """Clients that asked within WAIT_NS of their newest answer: they are likely to do so again."""
        self._returning: set[Hashable] = set()
        """Those of them that are waited for."""

    def __repr__(self) -> str:
        reads = "reads" if self._reads_due is not None else "no reads"
        return (
            f"<Gathering {len(self._commands)} commands, {reads}, {len(self._returning)} returning>"
        )

    def __bool__(self) -> bool:
        return bool(self._commands) or self._reads_due is not None

    @property
    def due(self) -> int | None:
        """When what waits has waited for long enough."""
        if not self._commands:
            return self._reads_due
        if self._reads_due is None:
            return self._commands_due
        return min(self._commands_due, self._reads_due)

    def asked(self, client: Hashable, true: int) -> None:
        """`client` asked for something, of whatever kind."""
        answered = self._answered.pop(client, None)
        if answered is None:
            return
        if true - answered <= WAIT_NS:
            self._quick.add(client)
        else:
            self._quick.discard(client)
        self._returning.discard(client)

    def answered(self, client: Hashable, true: int) -> None:
        """`client` got the answer to what waited here."""
        self._answered[client] = true
        if client in self._quick:
            self._returning.add(client)

    def gone(self, client: Hashable) -> None:
        """`client` will not ask any more."""
        self._answered.pop(client, None)
        self._quick.discard(client)
        self._returning.discard(client)

    def add(self, command: Propose, true: int) -> None:
        if not self._commands:
            self._commands_due = true + WAIT_NS
        self._commands.append(command)

    def add_read(self, true: int) -> None:
        """The core was given a read that waits for a round."""
        if self._reads_due is None:
            self._reads_due = true + WAIT_NS

    def take(self, true: int, leads: bool, on_their_way: bool, round_open: bool) -> Requests | None:
        """What the core is to be given now. `on_their_way`: commands that were given are not committed."""
        due = self.due
        if due is None:
            return None
        late = true >= due
        if late:
            # They do not come back, or not soon.
            self._returning.clear()
        gathers = leads and bool(self._returning)
        commands: list[Propose] = []
        if late or not (gathers or (leads and on_their_way)):
            commands, self._commands = self._commands, []
        begins = self._reads_due is not None and (
            late or not (gathers or round_open or self._commands)
        )
        if begins:
            self._reads_due = None
        return Requests(commands, begins) if commands or begins else None
