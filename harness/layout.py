"""Where a run lives on this machine: its own loopback net, fixed ports in it, and a short folder for its unix sockets.

Ports lie below the ephemeral range, so that no outgoing connection of anybody can take one. The net is held by a lock file
for as long as this process lives; two runs at once never share an address.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from harness.errors import HarnessError
from harness.links.table import Link

PEER_PORT = 7100
CLIENT_PORT = 7200
API_PORT = 7400
PROXY_PORT = 8000


class Layout:
    """Addresses and folders of one run; `close` gives the net back and removes the socket folder."""

    def __init__(self) -> None:
        self._lock, self.net = _take_net()
        self.sockets = Path(tempfile.mkdtemp(prefix="driftline-"))

    def close(self) -> None:
        shutil.rmtree(self.sockets, ignore_errors=True)
        os.close(self._lock)

    def node_host(self, node: str) -> str:
        return f"{self.net}.{10 + int(node[1:])}"

    def peer_address(self, node: str) -> tuple[str, int]:
        return self.node_host(node), PEER_PORT

    def client_address(self, node: str) -> tuple[str, int]:
        return self.node_host(node), CLIENT_PORT

    def admin_socket(self, node: str) -> Path:
        return self.sockets / f"{node}.sock"

    def links(self, nodes: list[str], clients: int, one_server: bool = False) -> list[Link]:
        """One directed link per ordered pair of nodes, one per client and node.

        One server carries a node's outgoing links, one more the client links to it, so that a
        server that hangs freezes one node's view only; `one_server` puts all on one, where cuts
        must be atomic.
        """
        links: list[Link] = []

        def add(name: str, source: str, target: str, server: str, to: tuple[str, int]) -> None:
            listen = (f"{self.net}.1", PROXY_PORT + len(links))
            links.append(
                Link(
                    name=name,
                    source=source,
                    target=target,
                    server="all" if one_server else server,
                    listen=listen,
                    upstream=to,
                    framed=one_server and not source.startswith("c"),
                )
            )

        for source in nodes:
            for target in nodes:
                if source != target:
                    add(
                        f"{source}-{target}",
                        source,
                        target,
                        f"peers-{source}",
                        self.peer_address(target),
                    )
        for target in nodes:
            for client in range(clients):
                add(
                    f"c{client}-{target}",
                    f"c{client}",
                    target,
                    f"clients-{target}",
                    self.client_address(target),
                )
        return links

    def api_addresses(self, servers: list[str]) -> dict[str, tuple[str, int]]:
        return {
            server: (f"{self.net}.2", API_PORT + position)
            for position, server in enumerate(servers)
        }


def _take_net() -> tuple[int, str]:
    folder = Path(tempfile.gettempdir()) / f"driftline-nets-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # The start differs between processes so that runs started together do not queue at the same file.
    start = os.getpid()
    for step in range(16_000):
        number = (start + step) % 16_000
        net = f"127.{64 + number // 250}.{1 + number % 250}"
        lock = os.open(folder / net, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock, net
    raise HarnessError(f"every loopback net is taken by other runs (locks in {folder}): stop some")
