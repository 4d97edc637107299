"""What an operator may ask of a node over its unix socket: msgpack maps in the frames of node.wire.

Requests are {"do": NAME, ...}; answers {"ok": True, ...} or {"ok": False, "error": one line}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from node.server import Server


class Request(msgspec.Struct, frozen=True):
    """`rate` and `offset_ns` belong to set_clock, `election_timeout_ms` to vote."""

    do: str
    rate: float | None = None
    offset_ns: int | None = None
    election_timeout_ms: int | None = None


_decode = msgspec.msgpack.Decoder(Request).decode


def serve(server: Server, payload: bytes) -> dict[str, Any]:
    """The answer to one request; a request that cannot be carried out is answered, never raised."""
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
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {
        "ok": False,
        "error": f"unknown request {request.do!r}: status, clock, set_clock, vote",
    }


def reading(server: Server) -> dict[str, int]:
    """A bracketed reading: true time from the origin, own time, true time, in ns."""
    clock = server.clock
    before = clock.true()
    own = clock.own()
    return {"before": before, "clock": own, "after": clock.true()}
