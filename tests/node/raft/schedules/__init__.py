"""One scripted schedule for each seeded bug of the core; new areas add their module here."""

from __future__ import annotations

from tests.node.raft.schedules import (
    clients,
    elections,
    leases,
    liveness,
    membership,
    replication,
    snapshots,
    transfers,
)
from tests.node.raft.schedules.common import Scripts

SCRIPTS: Scripts = {
    **elections.SCRIPTS,
    **leases.SCRIPTS,
    **replication.SCRIPTS,
    **clients.SCRIPTS,
    **liveness.SCRIPTS,
    **snapshots.SCRIPTS,
    **membership.SCRIPTS,
    **transfers.SCRIPTS,
}
