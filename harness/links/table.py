"""The desired state of every link: pure data, no sockets.

The rule: a link's state is the union of what the active fault ids ask for it. Lifting an id takes
away what that id asked and nothing else, so overlapping faults need not know of each other. What a
server says of itself is never read back into this table (architecture.md, "Overlap" and "Links").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from harness.errors import LinkError

Address = tuple[str, int]


def format_address(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One directed hop: connections from `source` to `target`, and the replies on them.

    `server` names the link server that carries it; `framed` says that it carries frames which an
    embedded server's framer can look into.
    """

    name: str
    source: str
    target: str
    server: str
    listen: Address
    upstream: Address
    framed: bool = False


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """A black hole in both directions: connecting succeeds, no byte passes."""


class Latency(msgspec.Struct, frozen=True, tag="latency"):
    """Each direction is delayed by `ms`, without jitter: a round trip takes 2 x `ms` longer."""

    ms: int


Ask = Cut | Latency


class LinkState(msgspec.Struct, frozen=True):
    """What one link shall do now. The default is a healthy link."""

    cut: bool = False
    latency_ms: int = 0


HEALTHY = LinkState()


class LinkTable:
    """All links, and what the active fault ids ask of them."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.links: dict[str, Link] = {}
        self._asks: dict[str, dict[str, Ask]] = {}  # fault id -> link -> ask
        for link in links:
            if link.name in self.links:
                raise LinkError(f"two links are called {link.name!r}: names must be unique")
            self.links[link.name] = link

    def __repr__(self) -> str:
        return f"<LinkTable {len(self.links)} links, faults: {', '.join(self._asks) or 'none'}>"

    @property
    def faults(self) -> frozenset[str]:
        """The active fault ids."""
        return frozenset(self._asks)

    def add(self, fault_id: str, asks: Mapping[str, Ask]) -> frozenset[str]:
        """`fault_id` asks for exactly this from now on; returns the links whose state changed."""
        if unknown := sorted(asks.keys() - self.links.keys()):
            raise LinkError(f"fault {fault_id!r} names links that do not exist: {unknown}")
        for name, ask in asks.items():
            if isinstance(ask, Latency) and ask.ms <= 0:
                raise LinkError(f"fault {fault_id!r} asks {ask.ms} ms on {name}: must be positive")
        return self._change(fault_id, dict(asks))

    def remove(self, fault_id: str) -> frozenset[str]:
        """`fault_id` asks for nothing any more; returns the links whose state changed."""
        return self._change(fault_id, None)

    def _change(self, fault_id: str, asks: dict[str, Ask] | None) -> frozenset[str]:
        touched = self._asks.get(fault_id, {}).keys() | (asks or {}).keys()
        before = {name: self.desired(name) for name in touched}
        if asks is None:
            self._asks.pop(fault_id, None)
        else:
            self._asks[fault_id] = asks
        return frozenset(name for name in touched if self.desired(name) != before[name])

    def desired(self, name: str) -> LinkState:
        """Cut if anybody cuts it; as slow as the slowest asks."""
        asks = [asked[name] for asked in self._asks.values() if name in asked]
        return LinkState(
            cut=any(isinstance(ask, Cut) for ask in asks),
            latency_ms=max((ask.ms for ask in asks if isinstance(ask, Latency)), default=0),
        )

    def holders(self, name: str) -> frozenset[str]:
        """The fault ids that ask something of this link."""
        return frozenset(fault for fault, asked in self._asks.items() if name in asked)
