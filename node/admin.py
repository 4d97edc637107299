"""What an operator may ask of a node over its unix socket: msgpack maps in the frames of node.wire.

Requests are {"do": NAME, ...}; answers {"ok": True, ...} or {"ok": False, "error": one line}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from node.raft.effects import AdminDone, ChangeMembers, Input, ResetMembers, TakeSnapshot
from node.transport import Connection

if TYPE_CHECKING:
    from node.server import Server


class Request(msgspec.Struct, frozen=True):
    """`rate` and `offset_ns` belong to set_clock, `election_timeout_ms` to vote, `members` and `witnesses` to change_members
    and (without witnesses) reset_members. `remaining_ms` is how long the answer to what takes time is worth waiting for.
    """

    do: str
    rate: float | None = None
    offset_ns: int | None = None
    election_timeout_ms: int | None = None
    members: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    remaining_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 60_000


LATE: Final[dict[str, Any]] = {"ok": False, "error": "not done in time: the outcome is not known"}

_decode = msgspec.msgpack.Decoder(Request).decode


def serve(server: Server, connection: Connection, payload: bytes) -> dict[str, Any] | None:
    """The answer to one request, None when it comes later; one that cannot be carried out is answered, never raised."""
    try:
        request = _decode(payload)
        if request.do == "status":
            return {"ok": True, "status": server.status()}
        if request.do == "clock":
            return {"ok": True, **reading(server)}
        if request.do == "set_clock":
            before = reading(server)
            server.set_clock(request.rate, request.offset_ns or 0)
            return {"ok": True, "before": before, "after": reading(server)}
        if request.do == "vote":
            if request.election_timeout_ms is None:
                raise ValueError("vote needs election_timeout_ms")
            server.vote(request.election_timeout_ms)
            return {"ok": True}
        if request.do == "snapshot":
            server.operate(connection, TakeSnapshot, request.remaining_ms)
            return None
        if request.do in ("change_members", "reset_members"):
            server.operate(connection, members(server, request), request.remaining_ms)
            return None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {
        "ok": False,
        "error": f"unknown request {request.do!r}: status, clock, set_clock, vote, snapshot, "
        "change_members, reset_members",
    }


def members(server: Server, request: Request) -> Callable[[int], Input]:
    """A change or an override of members, who all must be within reach; raises ValueError."""
    asked, reachable = request.members, server.config.reachable
    strangers = sorted(set(asked) - set(reachable))
    if strangers:
        raise ValueError(f"no address for {strangers}; this node can dial {list(reachable)}")
    if request.do == "reset_members":
        return partial(ResetMembers, members=asked)
    return partial(ChangeMembers, members=asked, witnesses=request.witnesses)


def done(answer: AdminDone) -> dict[str, Any]:
    """What the core made of an operator's request."""
    if answer.error:
        return {"ok": False, "error": answer.error}
    return {"ok": True, "old": list(answer.old), "new": list(answer.new)}


def reading(server: Server) -> dict[str, int]:
    """A bracketed reading: true time from the origin, own time, true time, in ns."""
    clock = server.clock
    before = clock.true()
    own = clock.own()
    return {"before": before, "clock": own, "after": clock.true()}
