"""What an operator may ask of a node over its unix socket: msgpack maps in the frames of node.wire.

Requests are {"do": NAME, ...}; answers {"ok": True, ...} or {"ok": False, "error": one line}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from node.server import Server

_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def serve(server: Server, payload: bytes) -> dict[str, Any]:
    """The answer to one request; a request that cannot be carried out is answered, never raised."""
    try:
        request = _decode(payload)
        what = request.get("do")
        if what == "status":
            return {"ok": True, "status": server.status()}
        if what == "clock":
            return {"ok": True, **reading(server)}
        if what == "set_clock":
            before = reading(server)
            server.set_clock(request.get("rate"), int(request.get("offset_ns") or 0))
            return {"ok": True, "before": before, "after": reading(server)}
        if what == "vote":
            server.vote(int(request["election_timeout_ms"]))
            return {"ok": True}
    except (msgspec.DecodeError, KeyError, ValueError, TypeError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"ok": False, "error": f"unknown request {what!r}: status, clock, set_clock, vote"}


def reading(server: Server) -> dict[str, int]:
    """A bracketed reading: true time from the origin, own time, true time, in ns."""
    clock = server.clock
    before = clock.true()
    own = clock.own()
    return {"before": before, "clock": own, "after": clock.true()}
