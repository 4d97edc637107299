"""What an operator asks of a running group, over the nodes' admin sockets: `driftline node-ctl` (as braft's cli.cpp).

The one rule: a request is repeated only when the answer says that nothing was done; one whose outcome is not known is reported
as that. The sockets are found in the folder of a run, or one is named.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from harness.systems import raft

T = TypeVar("T")

PAUSE_S: Final = 0.2
"""Between two attempts: a few heartbeats, so that a new leader is known by then."""
LEADING: Final = ("leader", "transferring")
TRANSIENT: Final = ("busy", "expired", "not_leader", "unreachable")
"""First words of the refusals after which asking again may help."""


class TargetError(Exception):
    """Whoever was named is not there; wrong usage."""


class OperatorError(Exception):
    """A node refused, or nobody answered in time; one line."""


class Operator:
    """One request to a group of nodes, `sockets` by name.

    `timeout_s` bounds everything, retries included; `retries` is how often a request that was refused for now is repeated.
    """

    def __init__(self, sockets: Mapping[str, str], timeout_s: float, retries: int) -> None:
        self.sockets = dict(sockets)
        self.timeout_s = timeout_s
        self.retries = retries

    # ---- whom to ask -----------------------------------------------------------------------------

    async def statuses(self) -> dict[str, dict[str, Any] | None]:
        """How each node stands, None for one that does not answer."""
        found: dict[str, dict[str, Any] | None] = dict.fromkeys(self.sockets)

        async def ask(name: str) -> None:
            try:
                async with raft.AdminClient(self.sockets[name]) as admin:
                    found[name] = await admin.status()
            except OSError:
                pass

        with trio.move_on_after(self.timeout_s / 2):
            async with trio.open_nursery() as nursery:
                for name in self.sockets:
                    nursery.start_soon(ask, name)
        return found

    async def leader(self) -> dict[str, Any]:
        """The status of the leader of the newest term; OperatorError when none of the nodes leads."""
        found = [status for status in (await self.statuses()).values() if status is not None]
        if not found:
            raise OperatorError(
                f"no node answers ({', '.join(self.sockets)}): is the run still going on?"
            )
        leading = [status for status in found if status["state"] in LEADING]
        if not leading:
            known = sorted({status["leader_id"] for status in found} - {""})
            where = f"; they follow {', '.join(known)}" if known else ""
            raise OperatorError(f"not_leader: none of {', '.join(self.sockets)} leads{where}")
        return max(leading, key=lambda status: int(status["term"]))

    def node(self, name: str) -> str:
        """The socket of `name`; without a name that of the only node there is."""
        if not name and len(self.sockets) == 1:
            return next(iter(self.sockets.values()))
        if name not in self.sockets:
            raise TargetError(f"no node {name!r} here; there are {', '.join(self.sockets)}")
        return self.sockets[name]

    # ---- asking ----------------------------------------------------------------------------------

    async def at(self, name: str, ask: Callable[[raft.AdminClient], Awaitable[T]]) -> T:
        """One request to one node. OSError, an AdminError too, when it fails."""
        async with raft.AdminClient(self.node(name)) as admin:
            return await ask(admin)

    async def repeated(self, ask: Callable[[], Awaitable[T]]) -> T:
        """`ask` until it is carried out, at most 1 + retries times and for timeout_s."""
        last = "no answer"
        with trio.move_on_after(self.timeout_s):
            for attempt in range(1 + self.retries):
                try:
                    return await ask()
                except (raft.AdminError, OperatorError) as error:
                    last = str(error)
                    if not _transient(last):
                        break
                except (ConnectionRefusedError, FileNotFoundError) as error:
                    last = f"the node does not answer: {error.strerror}"
                except OSError as error:
                    last = (
                        f"the connection broke, the outcome is not known: {error.strerror or error}"
                    )
                    break
                if attempt < self.retries:
                    await trio.sleep(PAUSE_S)
            raise OperatorError(last)
        raise OperatorError(
            f"not done within {self.timeout_s:g} s, the outcome is not known (last: {last})"
        )

    @property
    def remaining_ms(self) -> int:
        """How long a node may take for the answer."""
        return math.ceil(self.timeout_s * 1000)

    async def change(self, edit: Callable[[list[str]], list[str]]) -> dict[str, Any]:
        """Make what `edit` makes of the members the group; who was and is a member."""

        async def ask() -> dict[str, Any]:
            leader = await self.leader()
            members = edit(list(leader["members"]))
            those = [name for name in leader["witnesses"] if name in members]
            old, new = await self.at(
                leader["name"],
                lambda admin: admin.change_members(members, those, self.remaining_ms),
            )
            return {"leader": leader["name"], "old": old, "new": new}

        return await self.repeated(ask)

    async def transfer(self, to: str) -> dict[str, Any]:
        """Have the leader hand over to `to` ("": whoever is furthest)."""

        async def ask() -> dict[str, Any]:
            name = (await self.leader())["name"]
            new = await self.at(name, lambda admin: admin.transfer(to, self.remaining_ms))
            return {"old": name, "new": new or name}

        return await self.repeated(ask)

    async def vote(self, name: str, election_timeout_ms: int) -> dict[str, Any]:
        """Have a follower stand for election within `election_timeout_ms`."""

        async def ask() -> dict[str, Any]:
            async with raft.AdminClient(self.node(name)) as admin:
                status = await admin.status()
                longest = status["election_timeout_ms"] + status["max_clock_drift_ms"]
                if status["state"] != "follower":
                    raise OperatorError(f"{status['name']} is {status['state']}: followers stand")
                if election_timeout_ms > longest:
                    raise OperatorError(
                        f"invalid: {election_timeout_ms} ms is above E + D ({longest} ms)"
                    )
                await admin.vote(election_timeout_ms)
            return {"node": status["name"], "election_timeout_ms": election_timeout_ms}

        return await self.repeated(ask)

    async def one(
        self, name: str, ask: Callable[[raft.AdminClient], Awaitable[None]], **said: Any
    ) -> dict[str, Any]:
        """A request that one node answers with no more than yes."""
        await self.repeated(lambda: self.at(name, ask))
        return {"node": name or next(iter(self.sockets)), **said}


def _transient(error: str) -> bool:
    """Does the refusal say that nothing was done, and that it may be done later? A request is named before its error."""
    _, _, reason = error.partition(": ")
    return any(text.startswith(TRANSIENT) for text in (error, reason))


def add(names: Sequence[str]) -> Callable[[list[str]], list[str]]:
    """The members with `names`; OperatorError when one is a member already."""

    def edit(members: list[str]) -> list[str]:
        there = [name for name in names if name in members]
        if there:
            raise OperatorError(f"invalid: {', '.join(there)} is a member already")
        return [*members, *names]

    return edit


def remove(names: Sequence[str]) -> Callable[[list[str]], list[str]]:
    """The members without `names`; OperatorError when one is none."""

    def edit(members: list[str]) -> list[str]:
        missing = [name for name in names if name not in members]
        if missing:
            raise OperatorError(
                f"invalid: {', '.join(missing)} is no member; members are {', '.join(members)}"
            )
        return [name for name in members if name not in names]

    return edit


def sockets(folder: Path | None, socket: Path | None) -> dict[str, str]:
    """The admin sockets of a run's folder, or the one that is named; TargetError when there is none."""
    if (folder is None) == (socket is None):
        raise TargetError("name the nodes: either --folder RUN or --socket PATH")
    if socket is not None:
        if not socket.is_socket():
            raise TargetError(f"--socket {socket}: no socket there")
        return {socket.name.removesuffix(".sock"): str(socket)}
    assert folder is not None
    found = raft.admin_sockets(folder)
    if not found:
        raise TargetError(
            f"--folder {folder}: no configuration of a node there (nodes/*/config.json)"
        )
    return found


# ---- text ----------------------------------------------------------------------------------------


def status_lines(statuses: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """One line a node, and one for the group, none over 80 columns for names as runs have them."""
    lines = [f"{'node':<6}{'state':<14}{'term':>6}{'commit':>10}{'last':>10}{'leader':>8}  lease"]
    for name, status in statuses.items():
        if status is None:
            lines.append(f"{name:<6}does not answer")
            continue
        marks = [str(status["lease"]["state"])]
        marks += ["readonly"] if status["readonly"] else []
        marks += ["witness"] if status["witness"] else []
        if status["transfer_to"]:
            marks.append(f"to {status['transfer_to']}")
        lines.append(
            f"{status['name']:<6}{status['state']:<14}{status['term']:>6}{status['commit']:>10}"
            f"{status['last_index']:>10}{status['leader_id'] or '-':>8}  {', '.join(marks)}"
        )
    known = [status for status in statuses.values() if status is not None]
    if known:
        newest = max(known, key=lambda status: (status["term"], status["conf_index"]))
        old = f", old {' '.join(newest['old_members'])}" if newest["old_members"] else ""
        stage = newest["change"]["stage"]
        change = "" if stage == "none" else f", change {stage}"
        lines.append(f"members {' '.join(newest['members'])}{old}{change}")
    return lines
