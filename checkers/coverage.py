"""What a run exercised, and whether that is what its plan promised.

A fault counts by its evidence: skipped and indeterminate steps were not installed. Final reads are left out: they
would fill quotas without a fault in sight. The two conditions that are about more than a count are `forced` and
`read at the cut-off leader`, each below with its definition.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Any, Final

from checkers.clocks import ClockMeasures
from checkers.faults import Step, steps_of
from checkers.leaderships import Leadership, Leaderships, latest
from checkers.members import Group, Members
from checkers.monitor import Handler, Params
from checkers.records.events import (
    BecomeLeader,
    Boot,
    ConfChange,
    LogCut,
    Readonly,
    SnapshotLoaded,
    SnapshotSaved,
    StepDown,
    Transfer,
)
from checkers.records.fitness import Operation
from checkers.records.schema import FaultRecord, ProcessExited, QuotaResult, Quotas

LEASE: Final = "lease"
READ: Final = "read"
HARMLESS: Final = frozenset({"snapshot"})
"""Steps on a leader that force nobody to elect another."""


class Coverage:
    """A fold; `statistics` and `quotas` at the end."""

    def __init__(self) -> None:
        self._leaderships = Leaderships()
        self._members = Members()
        self.handlers: dict[type, Handler] = {
            Operation: self._operation,
            FaultRecord: self._fault,
            BecomeLeader: self._leaderships.leader,
            StepDown: self._leaderships.step_down,
            Boot: self._boot,
            ProcessExited: self._leaderships.exited,
            ConfChange: self._members.change,
            SnapshotSaved: self._snapshot_saved,
            SnapshotLoaded: self._snapshot_loaded,
            LogCut: self._log_cut,
            Transfer: self._transfer,
            Readonly: self._readonly,
        }
        self._params: Params | None = None
        self._ops: dict[str, dict[str, int]] = {}
        self._modes: dict[str, dict[str, int]] = {}
        self._final = 0
        self._faults: list[FaultRecord] = []
        self._boots: list[tuple[str, Boot]] = []
        self._told = {
            "snapshots_saved": 0,
            "snapshots_installed": 0,
            "snapshots_loaded_at_boot": 0,
            "logs_cut": 0,
            "transfers_begun": 0,
            "transfers_done": 0,
            "times_read_only": 0,
        }
        self._lease_reads: list[Operation] = []
        self.statistics: dict[str, Any] = {}

    def start(self, params: Params) -> None:
        self._params = params

    def _operation(self, _: str, operation: Operation) -> None:
        invoke = operation.invoke
        if invoke.final:
            self._final += 1
            return
        outcome = operation.outcome
        counts = self._ops.get(invoke.f)
        if counts is None:
            counts = self._ops[invoke.f] = {"ok": 0, "fail": 0, "info": 0}
        counts[outcome] += 1
        if invoke.f == READ and invoke.mode is not None:
            counts = self._modes.get(invoke.mode)
            if counts is None:
                counts = self._modes[invoke.mode] = {"ok": 0, "fail": 0, "info": 0}
            counts[outcome] += 1
            if invoke.mode == LEASE and outcome == "ok":
                self._lease_reads.append(operation)

    def _fault(self, _: str, record: FaultRecord) -> None:
        self._faults.append(record)

    def _boot(self, node: str, event: Boot) -> None:
        self._leaderships.boot(node, event)
        self._members.boot(node, event)
        self._boots.append((node, event))

    def _snapshot_saved(self, _: str, event: SnapshotSaved) -> None:
        self._told["snapshots_saved"] += 1

    def _snapshot_loaded(self, _: str, event: SnapshotLoaded) -> None:
        boot = event.source == "boot"
        self._told["snapshots_loaded_at_boot" if boot else "snapshots_installed"] += 1

    def _log_cut(self, _: str, event: LogCut) -> None:
        self._told["logs_cut"] += 1

    def _transfer(self, _: str, event: Transfer) -> None:
        self._told["transfers_begun"] += event.stage == "start"
        self._told["transfers_done"] += event.stage == "done"

    def _readonly(self, _: str, event: Readonly) -> None:
        self._told["times_read_only"] += event.readonly

    def finish(self, clocks: ClockMeasures | None) -> None:
        """Compute `statistics`; `clocks` as measured (assumptions.py)."""
        params = self._params
        assert params is not None, "start comes first"
        leaderships = self._leaderships.in_order()
        steps = steps_of(self._faults)
        faults: dict[str, dict[str, int]] = {}
        for step in steps:
            outcomes = faults.setdefault(step.kind, {})
            outcomes[step.outcome] = outcomes.get(step.outcome, 0) + 1
        ratio = clocks.ratio_max_voter_leader if clocks is not None else 0.0
        self.statistics = {
            "ops": self._ops,
            "reads_by_mode": self._modes,
            "final_reads": self._final,
            "faults": faults,
            "leader_changes": sum(a.node != b.node for a, b in pairwise(leaderships)),
            "forced_leader_changes": len(forced_changes(leaderships, steps, params)),
            "terms": len({one.term for one in leaderships}),
            "lease_reads_at_cut_leader": cut_leader_reads(
                self._lease_reads, leaderships, steps, params, self._members
            ),
            "restarts_after_power_loss": restarts_after_power_loss(self._boots, steps),
            "power_losses_that_lost_bytes": sum(_lost_bytes(step) for step in steps),
            "max_clock_ratio": round(ratio, 4),
            "max_clock_ratio_of_any_pair": round(clocks.ratio_max, 4) if clocks else 0.0,
            "membership_changes": self._members.changes(),
            **self._told,
        }

    def quotas(
        self, wanted: Quotas, operations: list[str], read_modes: list[str]
    ) -> list[QuotaResult]:
        """Each quota that asks for anything, with what was reached."""
        counted = self.statistics
        rows: list[tuple[str, float, float]] = []
        for f in operations:
            if f == READ and read_modes:
                rows += [
                    (f"ok {READ} {mode}", wanted.ok_per_operation, _ok(self._modes, mode))
                    for mode in read_modes
                ]
            else:
                rows.append((f"ok {f}", wanted.ok_per_operation, _ok(self._ops, f)))
        totals = {
            outcome: sum(counts[outcome] for counts in self._ops.values())
            for outcome in ("ok", "info")
        }
        rows += [
            ("ok in total", wanted.ok_total, totals["ok"]),
            ("unknown outcomes", wanted.info_total, totals["info"]),
        ]
        rows += [
            (f"{kind} installed", 1, counted["faults"].get(kind, {}).get("installed", 0))
            for kind in dict.fromkeys(wanted.kinds_installed)
        ]
        rows += [
            (
                "forced leader changes",
                wanted.forced_leader_changes,
                counted["forced_leader_changes"],
            ),
            (
                "lease reads at the cut-off leader",
                wanted.lease_read_at_cut_leader,
                counted["lease_reads_at_cut_leader"],
            ),
            (
                "restarts after power loss",
                wanted.restarts_after_power_loss,
                counted["restarts_after_power_loss"],
            ),
            ("clock ratio", wanted.clock_ratio, counted["max_clock_ratio"]),
            ("snapshots saved", wanted.snapshots_saved, counted["snapshots_saved"]),
            ("snapshots installed", wanted.snapshots_installed, counted["snapshots_installed"]),
            ("membership changes", wanted.membership_changes, counted["membership_changes"]),
            ("transfers done", wanted.transfers_done, counted["transfers_done"]),
        ]
        return [
            QuotaResult(name=name, wanted=want, got=got, reached=got >= want)
            for name, want, got in rows
            if want > 0
        ]


def _ok(counts: dict[str, dict[str, int]], name: str) -> int:
    return counts.get(name, {}).get("ok", 0)


def forced_changes(
    leaderships: list[Leadership], steps: list[Step], params: Params
) -> list[Leadership]:
    """Another node becomes leader while a fault on the previous leader, its process, clock or links is in force, or within
    3(E+D) after.

    Links to other members: a cut that only keeps clients away forces nobody to elect.
    """
    after = 3 * (params.election_timeout_ns + params.drift_ns)
    nodes = frozenset(params.nodes)
    struck = [
        (step, _struck(step, nodes))
        for step in steps
        if step.took_effect and step.kind not in HARMLESS
    ]
    return [
        new
        for old, new in pairwise(leaderships)
        if old.node != new.node
        and any(
            old.node in hit
            and step.begin <= new.begin
            and (step.end is None or new.begin <= step.end + after)
            for step, hit in struck
        )
    ]


def _struck(step: Step, nodes: frozenset[str]) -> set[str]:
    found = {end for link in step.links() if nodes.issuperset(link) for end in link}
    return found | set(step.nodes())


def cut_leader_reads(
    reads: list[Operation],
    leaderships: list[Leadership],
    steps: list[Step],
    params: Params,
    members: Members,
) -> int:
    """Lease reads asked of a leader after it was cut off from every quorum for certain, and answered within E of that.

    These are the reads that the lease alone answers for. The leader is the one of the highest term by the nodes' own events.
    """
    found: set[int] = set()
    # In the order of their invokes, as operations come.
    invoked = [read.invoke.time for read in reads]
    for step in steps:
        leader = step.leader()
        if step.kind != "partition" or not step.took_effect or leader not in params.nodes:
            continue
        links = step.links()
        # Its appends, and the answers to them, run over the links that it opens.
        heard = {node for node in params.nodes if node == leader or (leader, node) not in links}
        begin, end = step.complete, step.complete + params.election_timeout_ns
        group = members.at(begin) or Group(params.nodes)
        if group.agrees(heard):
            continue
        known = latest(leaderships, begin)
        if known is None or known.node != leader:
            continue
        for read in reads[bisect_left(invoked, begin) : bisect_right(invoked, end)]:
            completion = read.completion
            if read.invoke.node == leader and completion is not None and completion.time <= end:
                found.add(read.invoke.op)
    return len(found)


def restarts_after_power_loss(boots: list[tuple[str, Boot]], steps: list[Step]) -> int:
    """Lives that began on a disk which a power loss had cut: a higher boot after an installed power_loss."""
    count = 0
    for step in steps:
        if step.kind != "power_loss" or not step.took_effect or step.installed is None:
            continue
        before = step.installed.evidence.get("boots")
        known = before if isinstance(before, dict) else {}
        back = {
            node
            for node, event in boots
            if event.t0 >= step.begin and event.boot > _boot_number(known.get(node))
        }
        if step.healed is not None and step.healed.outcome == "installed":
            # For systems without events of their own: the heal saw the higher boot in the status.
            seen = step.healed.evidence.get("boots")
            back |= set(seen) if isinstance(seen, dict) else set()
        count += len(back & set(step.nodes()))
    return count


def _boot_number(item: object) -> int:
    return item if isinstance(item, int) else 0


def _lost_bytes(step: Step) -> bool:
    """Did an installed power loss lose anything? (None lost is installed all the same, and counted apart.)"""
    if step.kind != "power_loss" or not step.took_effect or step.installed is None:
        return False
    return _any_positive(step.installed.evidence.get("losses"))


def _any_positive(item: Any) -> bool:
    if isinstance(item, dict):
        return any(_any_positive(part) for part in item.values())
    return isinstance(item, int) and not isinstance(item, bool) and item > 0
