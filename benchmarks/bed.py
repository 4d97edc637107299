"""A cluster behind links without a run around it: what the benchmarks measure on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from checkers.records import schema
from harness.clients import Client
from harness.cluster import Cluster
from harness.faults.evidence import probe_links
from harness.layout import Layout
from harness.links.server import LinkSet
from harness.plan import ClientStream, Plan
from harness.processes import open_warden
from harness.recorder import FactLog, Recorder, monotonic_ns
from harness.seeds import stream
from harness.systems import raft
from workloads import registry

STOP_S = 5.0


class Bed:
    """A started cluster; `ready` waits for a leader and proves every link."""

    def __init__(
        self, cluster: Cluster, links: dict[str, tuple[str, int]], folder: Path, layout: Layout
    ) -> None:
        self.cluster = cluster
        self.links = links
        self.folder = folder
        self.layout = layout
        self.recorder: Recorder | None = None

    async def ready(self) -> None:
        silent = set(self.links)
        with trio.fail_after(20):
            while True:
                if silent:
                    passing, _ = await probe_links({n: self.links[n] for n in silent}, 1.0)
                    silent -= passing
                statuses = await self.cluster.statuses()
                leading = [s for s in statuses.values() if s["state"] == "leader" and s["commit"]]
                if leading and not silent:
                    return
                await trio.sleep(0.005)

    def client(
        self,
        number: int,
        recorder: Recorder,
        params: dict[str, Any],
        clients: int,
        direct: dict[str, tuple[str, int]] | None = None,
        run: str = "bench",
    ) -> Client:
        """A recorded client that follows the leader and never waits between operations; `run` names its session."""
        workload = registry.load("register", params)
        addresses = direct or {name: self.links[f"c{number}-{name}"] for name in self.cluster.names}
        client = Client(
            ClientStream(client=number, stream=f"client/{number}", pinned=""),
            workload.generator(number, clients, stream(1, f"client/{number}")),
            self.cluster.system,
            recorder,
            addresses,
            clients,
            run,
            1,
            0.0,
            2000,
        )
        client.node = self.cluster.leader
        return client

    def open_recorder(self, name: str, params: dict[str, Any]) -> Recorder:
        return Recorder(
            self.folder / f"{name}.jsonl",
            schema.HistoryHeader(
                run="bench",
                boot_id="-",
                origin_ns=self.cluster.system.origin_ns,
                workload=registry.load("register", params).header(),
                nodes=self.cluster.names,
                clients=64,
                election_timeout_ms=500,
                max_clock_drift_ms=125,
                lease=True,
            ),
        )

    async def write_once(self) -> None:
        """One write, acknowledged."""
        connection = self.cluster.system.client(
            self.links[f"c0-{self.cluster.leader}"], "bench/first"
        )
        with trio.fail_after(5):
            outcome = await connection.call("write", "first", 1, None, 5000)
        connection.close()
        assert outcome.kind == "ok", outcome


@asynccontextmanager
async def open_bed(
    folder: Path, *, nodes: int, clients: int, kind: Any = "toxiproxy", options: Any = None
) -> AsyncIterator[Bed]:
    """`kind` "direct": no link servers, everyone dials everyone."""
    layout = Layout()
    direct = kind == "direct"
    plan = Plan(nodes=nodes, clients=clients, node=options or {})
    origin = monotonic_ns()
    system = raft.RaftSystem(plan, 1, "bench", layout, folder / "nodes", origin)
    facts = FactLog(
        folder / "run.jsonl", schema.RunFactsHeader(run="bench", boot_id="-", origin_ns=origin)
    )
    try:
        async with (
            open_warden(proof_path=folder / "reaped.json", cleanup=[layout.sockets]) as warden,
            trio.open_nursery() as nursery,
        ):
            links = layout.links(system.names, clients, one_server=kind == "embedded")
            servers = list(dict.fromkeys(link.server for link in links))
            link_set = LinkSet(
                warden,
                "toxiproxy" if direct else kind,
                api=layout.api_addresses(servers),
                log_folder=folder / "links",
                framer=raft.framer if kind == "embedded" else None,
            )
            cluster = Cluster(
                warden, link_set, system, system.names, facts, folder / "nodes", nursery
            )
            dialled = {link.name: link.upstream if direct else link.listen for link in links}
            system.prepare(dialled)
            async with trio.open_nursery() as starting:
                starting.start_soon(link_set.start, [] if direct else links)
                for name in system.names:
                    starting.start_soon(cluster.start, name)
            try:
                yield Bed(cluster, dialled, folder, layout)
            finally:
                cluster.closing = True
                with trio.move_on_after(STOP_S, shield=True):
                    await link_set.stop()
            nursery.cancel_scope.cancel()
    finally:
        facts.close()
        layout.close()
