"""The conductor: expand, up, safety phase under faults, heal, liveness, final reads, collect, check, verdict, teardown.

Each phase is a record. Whatever goes wrong, what was recorded is judged and the verdict is saved before the teardown; only then
may the teardown or the report fail. The whole run stands under one wall deadline.
"""

from __future__ import annotations

import platform
import signal
import traceback
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import trio

from checkers import judge as judging
from checkers import linearizability, watching
from checkers.records import schema
from checkers.verdict import write_verdict
from harness import store
from harness.clients import Client
from harness.clock_sampling import ClockSampler
from harness.cluster import Cluster
from harness.errors import HarnessError, LinkServerError, PlanError
from harness.expansion import expand
from harness.faults.base import Scene
from harness.faults.evidence import LagMeter, probe_links
from harness.faults.schedule import Schedule
from harness.faults.triggers import NodeEvents
from harness.layout import Layout
from harness.links.server import LinkSet, find_toxiproxy_server
from harness.links.table import Cut
from harness.observer import Observer, Progress
from harness.plan import ClientStream, ExpandedPlan, Plan, default_quotas
from harness.processes import Warden, open_warden
from harness.recorder import FactLog, FaultLog, Recorder, monotonic_ns
from harness.seeds import stream
from harness.stacks import task_stacks
from harness.systems import raft
from workloads import registry

READY_S = 15.0
CLOCKS_S = 4.0
"""Beyond twice E: on a busy host most readings take too long to be of use."""
FINAL_READ_S = 6.0
LINKS_PASS_S = 4.0
LOOP_PACE_S = 0.05
PROGRESS_S = 0.25
TEARDOWN_S = 2.0


class RunResult(msgspec.Struct, frozen=True):
    run_dir: Path
    verdict: schema.Verdict


async def run(plan: Plan, seed: int, runs_dir: Path, observer: Observer) -> RunResult:
    """Carry out one run and judge it.

    PlanError before anything is started; HarnessError if not even a verdict can be given. SIGINT heals, stops what was
    started, judges what was recorded: the verdict is then marked interrupted.
    """
    expanded = expand(plan, seed)
    raft.options(plan)
    load_workload(plan)
    need_links(plan)
    folder = store.make_run_folder(runs_dir, plan.workload.name, seed)
    conductor = Conductor(expanded, folder, observer)
    return await conductor.run()


class Conductor:
    """One run. Public for tests, which raise in each phase."""

    def __init__(self, expanded: ExpandedPlan, folder: Path, observer: Observer) -> None:
        self.expanded = expanded
        self.plan = expanded.plan
        self.folder = folder
        self.observer = observer
        self.workload = load_workload(self.plan)
        self.origin_ns = monotonic_ns()
        self.name = folder.name
        self.phase = "up"
        self.phase_end = 0.0
        self.lag = LagMeter()
        self.harness_error = ""
        self.interrupted = False
        self.stopped = False
        self.clients: list[Client] = []
        self.verdict: schema.Verdict | None = None
        self.scopes: list[trio.CancelScope] = []
        self.link_set: LinkSet | None = None

    # ---- the whole ------------------------------------------------------------------------------------------------------

    async def run(self) -> RunResult:
        plan, folder = self.plan, self.folder
        store.save_document(folder / "expanded.json", self.expanded)
        store.save_bytes(folder / "plan.toml", msgspec.toml.encode(plan_document(plan)))
        store.link_latest(folder)
        self.observer.started(str(folder), self.expanded.seed, plan.name)
        layout = Layout()
        try:
            self._open_records(layout)
            async with open_warden(
                proof_path=folder / "reaped.json", cleanup=[layout.sockets]
            ) as warden:
                await self._under_signals(warden, layout)
                verdict = await self._judge(warden)
                self.observer.note("phase teardown", {"phase": "teardown"})
                await self._tear_down()
        finally:
            layout.close()
        self.observer.note("phase report", {"phase": "report"})
        self._report(verdict)
        return RunResult(folder, verdict)

    def _open_records(self, layout: Layout) -> None:
        plan, folder = self.plan, self.folder
        options = raft.options(plan)
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (folder / "nodes").mkdir()
        (folder / "links").mkdir()
        self.system = raft.RaftSystem(
            plan, self.expanded.seed, self.name, layout, folder / "nodes", self.origin_ns
        )
        common: dict[str, Any] = {
            "run": self.name,
            "boot_id": boot_id,
            "origin_ns": self.origin_ns,
        }
        lease: dict[str, Any] = {
            "election_timeout_ms": options.election_timeout_ms,
            "max_clock_drift_ms": options.max_clock_drift_ms,
        }
        store.save_document(
            folder / "plan-facts.json",
            schema.PlanFacts(
                run=self.name,
                seed=self.expanded.seed,
                nodes=self.system.names,
                clients=plan.clients,
                heartbeat_ms=options.heartbeat_ms,
                election_tick_ms=options.election_tick_ms,
                prevote=options.prevote,
                leader_lease=options.leader_lease,
                check_quorum=options.check_quorum,
                bugs=list(plan.bugs),
                links=plan.links,
                operations=list(self.workload.operations),
                read_modes=list(self.workload.read_modes),
                quotas=plan.quotas or default_quotas(plan),
                clock_outside_contract=outside_contract(self.expanded),
                expect=list(plan.expect) if plan.bugs else [],
                rerun=rerun_line(self.folder, self.expanded),
                **lease,
            ),
        )
        self.recorder = Recorder(
            folder / "history.jsonl",
            schema.HistoryHeader(
                **common,
                workload=self.workload.header(),
                nodes=self.system.names,
                clients=plan.clients + 1,
                lease=options.leader_lease,
                **lease,
            ),
        )
        self.fault_log = FaultLog(folder / "faults.jsonl", schema.FaultsHeader(**common))
        self.facts = FactLog(
            folder / "run.jsonl",
            schema.RunFactsHeader(
                **common,
                versions=versions(plan.links),
                links=plan.links,
                filesystem=store.file_system(folder),
            ),
        )

    async def _under_signals(self, warden: Warden, layout: Layout) -> None:
        """The phases, under the wall deadline and SIGINT; a failure becomes a record, never a lost history."""
        wall_s = self.plan.wall_s or self.plan.time_s + self.plan.quiet_s + 60.0
        try:
            with trio.CancelScope() as wall:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_signals)
                    nursery.start_soon(self._watch_wall, wall_s, wall)
                    await self._phases(warden, layout)
                    nursery.cancel_scope.cancel()
        except Exception as error:
            self._fail(first_line(error), error)

    async def _watch_wall(self, wall_s: float, wall: trio.CancelScope) -> None:
        """At the deadline: all stacks into a file, then everything under `wall` is cancelled."""
        await trio.sleep(wall_s)
        self._fail(f"the run did not end within its wall deadline of {wall_s:.0f} s", task_stacks())
        wall.cancel()

    def _fail(self, because: str, error: BaseException | str = "") -> None:
        """The run is a harness error from now on; what led to it (an exception, stacks) is kept in a file."""
        self.harness_error = self.harness_error or because
        self.facts.interrupted("harness error", because)
        text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        if text:
            store.save_bytes(self.folder / "harness-error.txt", text.encode("utf-8", "replace"))
        self.observer.note(f"harness error: {because}", {"harness_error": because})

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as arrivals:
            async for number in arrivals:
                if self.interrupted:
                    raise HarnessError("interrupted twice: stopped without healing")
                self.interrupted = True
                self.facts.interrupted(signal.Signals(number).name)
                self.observer.note("interrupted: healing, then judging what was recorded", {})
                for scope in self.scopes:
                    scope.cancel()

    # ---- the phases -----------------------------------------------------------------------------------------------------

    async def _phases(self, warden: Warden, layout: Layout) -> None:
        plan = self.plan
        names = self.system.names
        links = layout.links(names, plan.clients + 1, one_server=plan.links == "embedded")
        servers = list(dict.fromkeys(link.server for link in links))
        link_set = LinkSet(
            warden,
            plan.links,
            api=layout.api_addresses(servers),
            log_folder=self.folder / "links",
            framer=raft.framer if plan.links == "embedded" else None,
        )
        self.link_set = link_set
        election_ns = self.system.options.election_timeout_ms * 1_000_000
        async with trio.open_nursery() as nursery:
            self._enter("up")
            cluster = Cluster(
                warden,
                link_set,
                self.system,
                names,
                self.facts,
                self.folder / "nodes",
                nursery,
            )
            self.cluster = cluster
            self.system.prepare({link.name: link.listen for link in links})
            async with trio.open_nursery() as starting:
                starting.start_soon(link_set.start, links)
                for name in names:
                    starting.start_soon(cluster.start, name)
            self.scene = Scene(cluster, layout, self.expanded, self.lag)
            events = NodeEvents(self.folder / "nodes", names)
            self.schedule = Schedule(
                self.scene, self.fault_log, self.origin_ns, events, self.observer.note
            )
            await self._ready()
            nursery.start_soon(self._meter_lag)
            clocks = ClockSampler(self.scene, self.facts, election_ns)
            nursery.start_soon(clocks.run)
            nursery.start_soon(self._tell)
            nursery.start_soon(link_set.watch, self._link_incident)
            if any(step.on is not None for step in self.expanded.steps):
                nursery.start_soon(events.follow, lambda name: cluster.members[name].boot)
            async with trio.open_nursery() as client_nursery:
                if plan.stop_at_first_violation:
                    nursery.start_soon(self._watch_history, warden)
                self._start_clients(client_nursery, layout, links)
                await self._safety()
                await self._heal_and_live()
                for client in self.clients:
                    client.stop = True
                with trio.move_on_after(2 * plan.op_timeout_ms / 1000 + 1):
                    for client in self.clients:
                        await client.ended.wait()
                client_nursery.cancel_scope.cancel()
            await self._final_reads(layout, links)
            await clocks.until_measured(CLOCKS_S + 2 * election_ns / 1e9)
            self._enter("collect")
            cluster.closing = True
            nursery.cancel_scope.cancel()
        self._enter("end")

    def _enter(self, phase: str, length_s: float = 0.0, **fields: Any) -> schema.Phase:
        self.phase = phase
        self.phase_end = trio.current_time() + length_s
        self.observer.note(f"phase {phase}", {"phase": phase})
        return self.facts.phase(phase, **fields)

    async def _ready(self) -> None:
        """A leader that has committed an entry, and every link proved to pass a ping."""
        with trio.move_on_after(READY_S) as scope:
            silent: set[str] = set(self.scene.addresses)
            while True:
                if silent:
                    passing, _ = await probe_links(
                        {name: self.scene.addresses[name] for name in silent}, 1.0
                    )
                    silent -= passing
                statuses = await self.cluster.statuses()
                leading = [
                    s for s in statuses.values() if s["state"] == "leader" and s["commit"] > 0
                ]
                if leading and not silent and len(statuses) == len(self.cluster.names):
                    break
                dead = [m.name for m in self.cluster.members.values() if m.crashed]
                if dead:
                    raise HarnessError(
                        f"{', '.join(dead)} exited before the group was ready: see "
                        f"{self.folder / 'nodes' / dead[0]}"
                    )
                await trio.sleep(0.01)
        if scope.cancelled_caught:
            raise HarnessError(
                f"the group was not ready within {READY_S:.0f} s "
                f"({len(silent)} links silent, leader {self.cluster.leader or 'none'})"
            )
        self._enter("ready")

    def _start_clients(self, nursery: trio.Nursery, layout: Layout, links: list[Any]) -> None:
        listen = {link.name: link.listen for link in links}
        plan = self.plan
        for stream_ in self.expanded.clients:
            client = Client(
                stream_,
                self.workload.generator(
                    stream_.client, plan.clients, stream(self.expanded.seed, stream_.stream)
                ),
                self.system,
                self.recorder,
                {name: listen[f"c{stream_.client}-{name}"] for name in self.cluster.names},
                plan.clients + 1,
                self.name,
                self.expanded.seed,
                plan.rate,
                plan.op_timeout_ms,
                plan.retry,
            )
            self.clients.append(client)
            nursery.start_soon(client.run)

    async def _interruptible(self, action: Callable[[], Awaitable[None]]) -> None:
        if self.interrupted or self.stopped:
            return
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            await action()
        self.scopes.remove(scope)

    async def _safety(self) -> None:
        async def quiet() -> None:
            self._enter("quiet", self.plan.quiet_s)
            await trio.sleep(self.plan.quiet_s)

        async def faults() -> None:
            self._enter("safety", self.plan.time_s)
            begin = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.schedule.run, self.expanded.steps, begin)
                await trio.sleep_until(begin + self.plan.time_s)
                nursery.cancel_scope.cancel()

        await self._interruptible(quiet)
        await self._interruptible(faults)

    async def _heal_and_live(self) -> None:
        """A random quorum is healed first, the others cut off from it; then all."""
        cluster = self.cluster
        names = cluster.names
        bound_s = self._liveness_bound_s()
        quorum = sorted(
            stream(self.expanded.seed, "heal/quorum").sample(names, len(names) // 2 + 1)
        )
        outside = [name for name in names if name not in quorum]
        if outside and not self.interrupted:
            self._enter("heal_quorum")
            cut = {
                f"{a}-{b}": Cut()
                for a in names
                for b in names
                if a != b and (a in outside) != (b in outside)
            }
            isolated = await cluster.links.apply("heal-quorum", cut)
            proved = await self.schedule.heal_all()
            proved = await self._all_up(quorum) and proved and not isolated.indeterminate
            self._enter("liveness_quorum", bound_s, proved=proved, nodes=quorum)
            await self._live(bound_s, quorum)
            await cluster.links.lift("heal-quorum")
        self._enter("heal_all")
        proved = await self.schedule.heal_all()
        proved = await self._all_up(names) and proved
        proved = await self._all_pass() and proved
        self._enter("liveness_all", bound_s, proved=proved, nodes=names)
        await self._live(bound_s, names)

    def _liveness_bound_s(self) -> float:
        options = self.system.options
        e, d = options.election_timeout_ms, options.max_clock_drift_ms
        return (3 * (e + d) + 2 * e) / 1000 + 1.0

    async def _all_up(self, names: list[str]) -> bool:
        """Start who is down (crashed members too) and wait for their answers; True if all answer."""
        up: set[str] = set()

        async def one(name: str) -> None:
            member = self.cluster.members[name]
            member.down.clear()
            for holder in list(member.paused):
                await self.cluster.resume(name, holder)
            if member.process is None:
                await self.cluster.start(name)
            with trio.move_on_after(5.0):
                if await self.cluster.wait_boot(name, member.boot) is not None:
                    up.add(name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
        return len(up) == len(names)

    async def _all_pass(self) -> bool:
        """Every link passes a ping; who was silent is asked again, since a busy host is slow to answer all at once."""
        silent = set(self.scene.addresses)
        with trio.move_on_after(LINKS_PASS_S):
            while silent:
                _, silent = await probe_links(
                    {name: self.scene.addresses[name] for name in silent}, 1.0
                )
        return not silent

    async def _live(self, bound_s: float, nodes: list[str]) -> None:
        """Wait until the healed nodes have a leader that commits a new entry, at most a little over the bound."""
        with trio.move_on_after(bound_s + 0.5):
            before: dict[str, int] | None = None
            while True:
                statuses = await self.cluster.statuses()
                leading = [
                    s["commit"]
                    for name, s in statuses.items()
                    if name in nodes and s["state"] == "leader"
                ]
                if before is None:
                    before = {name: s["commit"] for name, s in statuses.items()}
                    start = max(before.values(), default=0)
                if leading and max(leading) > start and self._write_seen():
                    return
                await trio.sleep(0.02)

    def _write_seen(self) -> bool:
        """A write was acknowledged since the newest liveness phase began."""
        return any(
            client.write_ns - self.origin_ns > self.facts.phases[-1].time for client in self.clients
        )

    async def _final_reads(self, layout: Layout, links: list[Any]) -> None:
        """Every key by every path: each read mode at the leader, and locally at each node."""
        self._enter("final_reads", FINAL_READ_S)
        listen = {link.name: link.listen for link in links}
        number = self.plan.clients
        client = Client(
            ClientStream(client=number, stream=f"client/{number}", pinned=""),
            self.workload.generator(0, 1, stream(self.expanded.seed, "final")),
            self.system,
            self.recorder,
            {name: listen[f"c{number}-{name}"] for name in self.cluster.names},
            self.plan.clients + 1,
            self.name,
            self.expanded.seed,
            0.0,
            self.plan.op_timeout_ms,
        )
        await self.cluster.current_leader()
        if self.cluster.leader:
            client.node = self.cluster.leader
        with trio.move_on_after(FINAL_READ_S):
            for op in self.workload.final_ops():
                for _ in range(40):
                    if await client.perform(op, final=True) == "ok":
                        break
                    await trio.sleep(0.05)
        client.close()

    # ---- beside the phases ----------------------------------------------------------------------------------------------

    async def _meter_lag(self) -> None:
        """How late our own loop comes: evidence taken while it lags proves nothing."""
        while True:
            due = trio.current_time() + LOOP_PACE_S
            await trio.sleep_until(due)
            lag_ns = int((trio.current_time() - due) * 1e9)
            self.lag.note(monotonic_ns(), lag_ns)
            if lag_ns > 50_000_000:
                self.facts.stall(lag_ns)

    async def _tell(self) -> None:
        last = dict(self.recorder.counts)
        leader, term = "", 0
        while True:
            begin = trio.current_time()
            await trio.sleep(PROGRESS_S)
            await self.cluster.statuses()
            if (self.cluster.leader, self.cluster.term) != (leader, term):
                leader, term = self.cluster.leader, self.cluster.term
                self.observer.note(
                    f"{leader} leads in term {term}", {"leader": leader, "term": term}
                )
            counts = dict(self.recorder.counts)
            span = trio.current_time() - begin
            self.observer.progress(
                Progress(
                    phase=self.phase,
                    seconds_left=max(0.0, self.phase_end - trio.current_time()),
                    outcomes={
                        kind: (counts[kind] - last[kind]) / span for kind in ("ok", "fail", "info")
                    },
                    totals=counts,
                    leader=leader,
                    term=term,
                    faults=self.schedule.in_force(),
                )
            )
            last = counts

    async def _watch_history(self, warden: Warden) -> None:
        """The online check in a child that reads the records as they grow; at a violation the safety phase is over.

        The child is the warden's, so it dies with us; cancelled, it is killed. How it ended is a fact of the run.
        """
        out = self.folder / "watch.json"
        log = self.folder / "watch.log"
        child = await warden.spawn(
            "watch",
            watching.command(
                self.folder / "history.jsonl",
                out,
                self.plan.check_memory_mb << 20,
                self.folder / "nodes",
            ),
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        try:
            status = await child.wait()
        finally:
            if child.status is None:
                with trio.CancelScope(shield=True):
                    await child.kill()
        found = watching.load(out)
        if found is None:
            found = watching.Watched(
                verdict="unknown",
                event=-1,
                because=f"its process ended with {status}, see watch.log",
            )
        in_time = found.verdict == "illegal" and self.phase in ("quiet", "safety")
        self.facts.watch_ended(found.verdict, found.event, found.because, in_time, found.property)
        if found.verdict == "unknown":
            self.observer.note(f"no longer watching: {found.because}", {"watch": "unknown"})
            return
        what = (
            f"event {found.event} of the history is a violation"
            if found.property == "P-LIN"
            else f"{found.property} is violated"
        )
        self.observer.note(
            f"{what}: {found.because}",
            {"watch": "illegal", "event": found.event, "property": found.property},
        )
        if in_time:
            self.stopped = True
            for scope in self.scopes:
                scope.cancel()

    def _link_incident(self, server: str, what: str, begin_ns: int, end_ns: int) -> None:
        self.facts.link_incident(server, what, begin_ns - self.origin_ns, repaired=end_ns > 0)
        self.observer.note(f"link server {server}: {what}", {"server": server, "what": what})

    # ---- judging --------------------------------------------------------------------------------------------------------

    async def _judge(self, warden: Warden) -> schema.Verdict:
        """Close the records, check them (the search in a child of the warden's), save the verdict."""
        self.recorder.close()
        self.fault_log.close()
        self.facts.close()
        self.phase = "check"
        self.observer.note("phase check", {"phase": "check"})
        begin = trio.current_time()
        out = self.folder / "linearizability.json"
        log = self.folder / "checker.log"
        child = await warden.spawn(
            "checker",
            linearizability.command(
                self.folder / "history.jsonl",
                out,
                self.plan.check_timeout_s,
                self.plan.check_memory_mb << 20,
            ),
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        with trio.move_on_after(self.plan.check_timeout_s + 10.0) as scope:
            await child.wait()
        if scope.cancelled_caught:
            await child.kill()
        verdict = await trio.to_thread.run_sync(judging.judge, self.folder)
        verdict = msgspec.structs.replace(
            verdict, seconds=verdict.seconds | {"check": trio.current_time() - begin}
        )
        write_verdict(self.folder, verdict)
        store.index_run(self.folder, self.expanded.seed, self.plan.name, verdict)
        return verdict

    async def _tear_down(self) -> None:
        """What the warden would kill anyway, in order. The verdict is saved: whatever goes wrong is only told."""
        if self.link_set is None:
            return
        with trio.move_on_after(TEARDOWN_S):
            try:
                await self.link_set.stop()
            except Exception as error:
                self.observer.note(f"teardown: {first_line(error)}", {})

    def _report(self, verdict: schema.Verdict) -> None:
        """The report is made last: its failure loses nothing."""
        from harness.report import write_report

        try:
            write_report(self.folder)
        except Exception as error:
            self.observer.note(f"the report could not be written: {first_line(error)}", {})


def need_links(plan: Plan) -> None:
    """PlanError if the kind of links that the plan names cannot be had here. It never falls back by itself."""
    if plan.links == "toxiproxy":
        try:
            find_toxiproxy_server()
        except LinkServerError as error:
            raise PlanError(f'plan field links: {error}, or give links = "embedded"') from error


def load_workload(plan: Plan) -> registry.Workload:
    """A new workload as the plan names it; PlanError if there is none such."""
    try:
        return registry.load(plan.workload.name, plan.workload.params)
    except registry.WorkloadError as error:
        raise PlanError(f"plan field workload: {error}") from error


def first_line(error: BaseException) -> str:
    """The innermost cause of an exception (groups unpacked) in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")


def outside_contract(expanded: ExpandedPlan) -> bool:
    """Does the plan itself ask for clocks beyond the declared bound?"""
    plan = expanded.plan
    options = raft.options(plan)
    bound = 1 + options.max_clock_drift_ms / options.election_timeout_ms
    for step in expanded.steps:
        if step.kind == "clock_rate":
            rates = [float(rate) for rate in step.args["rates"].values()] + [1.0]
            if max(rates) / min(rates) > bound:
                return True
        if step.kind == "clock_offset" and step.args["offset_ms"] > options.max_clock_drift_ms:
            return True
    return False


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain data without nulls (TOML has none)."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [clean(v) for v in value]
        return value

    document: dict[str, Any] = clean(msgspec.to_builtins(plan))
    return document


def rerun_line(folder: Path, expanded: ExpandedPlan) -> str:
    """The command that runs it again."""
    return f"driftline run --plan {folder / 'plan.toml'} --seed {expanded.seed}"


def versions(links: str) -> dict[str, str]:
    found = {name: version(name) for name in ("driftline", "porcupine-py", "trio", "msgspec")}
    return found | {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "links": links,
    }
