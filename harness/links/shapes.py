"""The bodies of toxiproxy's HTTP API, shared by our client and by the embedded server."""

from __future__ import annotations

import msgspec


class Toxic(msgspec.Struct, frozen=True):
    """One toxic. Toxicity is always 1.0: dice are rolled by the harness, from the run's seed."""

    name: str
    type: str
    stream: str
    attributes: dict[str, int]
    toxicity: float = 1.0


class Proxy(msgspec.Struct, frozen=True):
    """One proxy as the server shows it."""

    name: str
    listen: str
    upstream: str
    enabled: bool = True
    toxics: list[Toxic] = []


class NewProxy(msgspec.Struct, frozen=True):
    """The body of a creation. `framed` means something to embedded links only."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    framed: bool = False
