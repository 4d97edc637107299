"""What a node is told before it starts: one JSON file and a few flags. Unknown fields are refused by name."""

from __future__ import annotations

from pathlib import Path

import msgspec

from node.raft.bugs import CATALOGUE
from node.raft.configuration import of, senseless
from node.raft.effects import Options
from node.wire import PAYLOAD_BYTES_MAX

SOCKET_PATH_BYTES_MAX = 107
"""The kernel's bound on the name of a unix socket (sun_path less its final zero)."""


ENTRIES_PER_APPEND_MAX = 10_000
"""Their headers must fit into a frame beside max_bytes_per_append."""
_POSITIVE = (
    "election_timeout_ms",
    "election_tick_ms",
    "heartbeat_ms",
    "append_timeout_ms",
    "max_entries_per_append",
    "max_bytes_per_append",
    "max_inflight_appends",
)
_NOT_NEGATIVE = (
    "catchup_margin",
    "max_clock_drift_ms",
    "snapshot_interval_entries",
    "snapshot_interval_s",
    "snapshot_min_gap_entries",
    "snapshot_bytes_per_s",
)


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line and says what to mend."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member. `peers` holds the addresses to dial (proxies in between, perhaps) for everyone else who may ever be a member.

    `group` is the run's id: members of another group are refused. `origin_ns` is the CLOCK_MONOTONIC reading from which all
    records of the run count.
    """

    name: str
    data_dir: str
    peer_listen: tuple[str, int]
    client_listen: tuple[str, int]
    admin_socket: str
    peers: dict[str, tuple[str, int]]
    members: tuple[str, ...] | None = None
    """The group, before log or snapshot say otherwise: None for this node and all peers, () for one to be added later."""
    witnesses: tuple[str, ...] = ()
    """Those of them that vote and hold no data."""
    group: str
    options: Options = Options()
    seed: str
    origin_ns: int
    events_dir: str

    @property
    def initial(self) -> tuple[str, ...]:
        """The members that this node begins with."""
        return self.reachable if self.members is None else tuple(sorted(self.members))

    @property
    def reachable(self) -> tuple[str, ...]:
        """Everybody who may ever be a member: this node, and whom it can dial."""
        return tuple(sorted({self.name, *self.peers}))

    def core_seed(self, boot: int) -> bytes:
        """What one life's draws come from. The name is in it: equal delays would split every vote, for ever."""
        return bytes.fromhex(self.seed) + self.name.encode() + boot.to_bytes(8, "big")


def check(config: NodeConfig) -> None:
    """Raises ConfigError for values that parse but cannot work."""
    if not config.name:
        raise ConfigError("name: must not be empty")
    if config.name in config.peers:
        raise ConfigError(f"peers: holds the node itself ({config.name!r})")
    if not config.group:
        raise ConfigError("group: must not be empty")
    try:
        bytes.fromhex(config.seed)
    except ValueError:
        raise ConfigError(f"seed: {config.seed!r} is not hexadecimal") from None
    if len(config.admin_socket.encode()) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"admin_socket: {len(config.admin_socket.encode())} bytes, a socket's path holds {SOCKET_PATH_BYTES_MAX}"
        )
    strangers = sorted(set(config.initial) - set(config.reachable))
    if strangers:
        raise ConfigError(f"members: no address for {strangers}; name them in peers too")
    try:
        of(config.initial, config.witnesses)
    except ValueError as error:
        raise ConfigError(f"members, witnesses: {error}") from None
    options = config.options
    if wrong := senseless(config.initial, config.witnesses, options.witness_may_lead):
        raise ConfigError(f"witnesses: {wrong}")
    for name in _POSITIVE:
        if getattr(options, name) <= 0:
            raise ConfigError(f"options.{name}: must be above 0")
    for name in _NOT_NEGATIVE:
        if getattr(options, name) < 0:
            raise ConfigError(f"options.{name}: must not be below 0")
    if options.max_bytes_per_append > PAYLOAD_BYTES_MAX // 2:
        raise ConfigError(
            f"options.max_bytes_per_append: {PAYLOAD_BYTES_MAX // 2} at most, or no frame could carry an append"
        )
    if options.max_entries_per_append > ENTRIES_PER_APPEND_MAX:
        raise ConfigError(f"options.max_entries_per_append: {ENTRIES_PER_APPEND_MAX} at most")
    for bug in options.bugs:
        if bug not in CATALOGUE:
            raise ConfigError(f"options.bugs: no bug is called {bug!r}")


def load(path: str | Path) -> NodeConfig:
    """The configuration in the file at `path`; raises ConfigError."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        config = msgspec.json.decode(text, type=NodeConfig)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config
