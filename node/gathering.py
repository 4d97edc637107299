"""What clients asked for and the core was not given yet: commands, and the ReadIndex reads that one round is to serve. Pure.

Commands wait while earlier ones are on their way to the quorum, as Nagle's algorithm has small segments wait (RFC 896), and
then until as many requests came as were answered: whoever is answered asks again. Without that second wait the clients of
a busy group fall into two halves, each of which asks while the other is served, and every append, sync and round is half as
full. Where commands wait, reads wait with them, since the append that is to come carries their round. The one rule: nobody
waits here for longer than WAIT_NS.
"""

from __future__ import annotations

from typing import Final

from node.raft.effects import Propose, Requests

WAIT_NS: Final = 10_000_000
"""Several times what a quorum, and then a client, takes on a host that is not busy."""


class Gathering:
    """Times are true ns. False while nothing waits."""

    __slots__ = ("_commands", "_commands_due", "_reads_due", "_returning")

    def __init__(self) -> None:
        self._commands: list[Propose] = []
        self._commands_due = 0
        self._reads_due: int | None = None
        """None while no reads wait."""
        self._returning = 0
        """Clients that were answered, and in place of whom nobody has asked anything since."""

    def __repr__(self) -> str:
        reads = "reads" if self._reads_due is not None else "no reads"
        return f"<Gathering {len(self._commands)} commands, {reads}, {self._returning} returning>"

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

    def asked(self) -> None:
        """Some client asked for something."""
        if self._returning:
            self._returning -= 1

    def answered(self) -> None:
        """Somebody who waited here got an answer."""
        self._returning += 1

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
        gathers = leads and self._returning > 0 and not late
        if late:
            # They do not come back, or not soon.
            self._returning = 0
        commands: list[Propose] = []
        if late or not (gathers or (leads and on_their_way)):
            commands, self._commands = self._commands, []
        begins = self._reads_due is not None and (
            late or not (gathers or round_open or self._commands)
        )
        if begins:
            self._reads_due = None
        return Requests(commands, begins) if commands or begins else None
