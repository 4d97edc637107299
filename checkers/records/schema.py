"""The records: what one run leaves behind, as typed values. This is the contract between the rooms.

Every file is JSON Lines with one header line (plan facts and verdict are single JSON documents). Every time is in nanoseconds
of the host's CLOCK_MONOTONIC since the run's `origin_ns`. docs/formats.md describes the same for readers who have no Python.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

VERSION: Final = 1
HISTORY: Final = "driftline-history"
FAULTS: Final = "driftline-faults"
NODE_EVENTS: Final = "driftline-node-events"
RUN_FACTS: Final = "driftline-run-facts"
PLAN_FACTS: Final = "driftline-plan-facts"
VERDICT: Final = "driftline-verdict"

OutcomeType = Literal["ok", "fail", "info"]


class WorkloadHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model` is 'module:function'; called with `params` it gives the workload's judge (workloads/__init__.py)."""

    name: str
    model: str
    params: dict[str, Any] = {}


class HistoryHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str = HISTORY
    version: int = VERSION
    run: str
    boot_id: str
    origin_ns: int
    workload: WorkloadHeader
    nodes: list[str]
    clients: int
    election_timeout_ms: int
    max_clock_drift_ms: int
    lease: bool


class HistoryEvent(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
):
    """One line of history.jsonl, in the order of `time`; `op` pairs an invoke with its completion.

    `type` ok: happened, with the result seen. fail: definitely did not happen. info: may have happened at any instant since
    its invoke, may yet, or never. A cas that found another value is ok with value {"from","to","swapped":false,"saw"}.
    Reads carry `mode`; a read's completion has the value seen (None: never written). `final` marks the final reads.
    """

    index: int
    time: int
    type: Literal["invoke", "ok", "fail", "info"]
    process: int
    op: int
    f: str
    key: str | None = None
    value: Any = None
    node: str | None = None
    mode: str | None = None
    term: int | None = None
    log_index: int | None = None
    error: str | None = None
    final: bool = False


class FaultsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str = FAULTS
    version: int = VERSION
    run: str
    boot_id: str
    origin_ns: int


class FaultRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One line of faults.jsonl. A step writes `asked` before anything is done, then `installed`, later `healed`.

    `outcome` says whether that very action took effect by evidence: installed (for `healed`: the heal was proved), skipped
    (nothing was done: `because`), indeterminate (done, not proved, or proved not to have taken effect: `because`).
    `targets` are names resolved at the time: {"nodes": [...], "links": [[from, to], ...], "clients": [...], "leader": name}.
    """

    index: int
    step: str
    action: Literal["asked", "installed", "healed"]
    kind: str
    asked: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    time_begin: int
    time_end: int
    outcome: Literal["installed", "skipped", "indeterminate"] | None = None
    because: str | None = None
    evidence: dict[str, Any] = {}


class RunFactsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str = RUN_FACTS
    version: int = VERSION
    run: str
    boot_id: str
    origin_ns: int
    versions: dict[str, str] = {}
    links: str = "toxiproxy"
    filesystem: str = ""
    """Type of the file system that holds the nodes' data, as /proc/self/mountinfo says (tmpfs voids durability)."""


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="phase", tag_field="what"):
    """`name`: up, ready, quiet, safety, heal_quorum, liveness_quorum, heal_all, liveness_all, final_reads, collect, end.

    `proved` is false where a heal could not be proved complete. For liveness_* `time` is when the heal's evidence was complete
    and `nodes` who is healed.
    """

    index: int
    time: int
    name: str
    proved: bool = True
    nodes: list[str] = []


class ProcessStarted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="started", tag_field="what"
):
    index: int
    time: int
    node: str
    boot: int
    pid: int


class ProcessExited(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="exited", tag_field="what"
):
    """`asked` true: our own signal or shutdown. `stderr` is the tail of it, for exits that nobody asked for."""

    index: int
    time: int
    node: str
    boot: int
    code: int | None
    signal: int | None
    asked: bool
    stderr: str = ""


class ClockSample(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="clock", tag_field="what"
):
    """A bracketed reading: true time before, the node's own clock, true time after (all ns)."""

    index: int
    time: int
    node: str
    boot: int
    before: int
    clock: int
    after: int


class HostStall(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stall", tag_field="what"
):
    """The harness' own loop came `lag_ns` late."""

    index: int
    time: int
    lag_ns: int


class LinkIncident(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="link_incident", tag_field="what"
):
    """A link server died or hung without being asked and was replaced; links were undefined from `begin` to `time`."""

    index: int
    time: int
    begin: int
    server: str
    because: str
    repaired: bool = True


class Interrupted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="interrupted", tag_field="what"
):
    """SIGINT came, or our own machinery failed (`harness_error` is the one-line reason)."""

    index: int
    time: int
    by: str
    harness_error: str | None = None


class WatchEnded(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="watch_ended", tag_field="what"
):
    """The online check that went along with the run ended: `event`, an index in history.jsonl, was the last it took.

    "illegal": nothing explains that event (P-LIN), or the nodes' events violate another `property`. "unknown": it could not
    go on. `stopped`: the main phase was ended for it.
    """

    index: int
    time: int
    verdict: Literal["illegal", "unknown"]
    event: int
    because: str
    stopped: bool = False
    property: str = "P-LIN"


RunFact = (
    Phase
    | ProcessStarted
    | ProcessExited
    | ClockSample
    | HostStall
    | LinkIncident
    | Interrupted
    | WatchEnded
)


class NodeEventsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str = NODE_EVENTS
    version: int = VERSION
    node: str
    boot: int
    origin_ns: int
    group: str
    election_timeout_ms: int
    max_clock_drift_ms: int
    leader_lease: bool
    bugs: list[str] = []


class NodeEvent(msgspec.Struct, frozen=True):
    """One line of nodes/NAME/events.BOOT.jsonl: what a life of a node says of itself.

    `t0` true time before the node's clock was read, `t1` after the step, `clock` the node's own clock in ns. `fields` holds
    everything else on the line; docs/formats.md lists the events and their fields.
    """

    node: str
    seq: int
    t0: int
    t1: int
    clock: int
    boot: int
    term: int
    event: str
    fields: dict[str, Any]


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run must have exercised to be `valid` (architecture: coverage)."""

    ok_per_operation: int = 200
    """ok completions for each f, and for each read mode of the workload."""
    ok_total: int = 0
    info_total: int = 0
    kinds_installed: list[str] = []
    """each scheduled kind of fault installed once"""
    forced_leader_changes: int = 1
    lease_read_at_cut_leader: int = 0
    """ok lease reads invoked at the cut-off leader once the cut was complete, answered within E of it"""
    restarts_after_power_loss: int = 0
    clock_ratio: float = 0.0
    """largest measured rate of a voter's clock over the clock of who led at that time"""
    snapshots_saved: int = 0
    snapshots_installed: int = 0
    """loaded from a leader, over a link"""
    membership_changes: int = 0
    """committed, to other members than before; both steps through a joint configuration are one"""
    transfers_done: int = 0


class PlanFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the checkers need to know of the plan (plan-facts.json)."""

    format: str = PLAN_FACTS
    version: int = VERSION
    run: str
    seed: int
    nodes: list[str]
    clients: int
    election_timeout_ms: int
    max_clock_drift_ms: int
    heartbeat_ms: int
    election_tick_ms: int
    prevote: bool
    leader_lease: bool
    bugs: list[str]
    links: str
    operations: list[str]
    read_modes: list[str]
    quotas: Quotas
    clock_outside_contract: bool = False
    """The plan itself asks for clock rates beyond 1 + D/E."""
    check_quorum: bool = True
    """A leader that a quorum no longer answers steps down."""
    node_events: bool = True
    """False: the system reports none; monitors over them say "not applicable"."""
    expect: list[str] = []
    """Names of properties of which a plan with a bug expects a finding (any one of them)."""
    rerun: str = ""
    """The command that runs it again."""


VerdictName = Literal["valid", "invalid", "unknown", "insufficient coverage", "harness error"]
EXIT_CODES: Final[dict[str, int]] = {
    "valid": 0,
    "invalid": 1,
    "unknown": 2,
    "insufficient coverage": 3,
    "harness error": 4,
}


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pointer to the events that prove a finding: history indices, or (node, boot, seq)."""

    file: str
    index: int
    time: int = 0
    text: str = ""


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A violated property. `rests_on` names assumptions; `voided_by` those of them that failed unplanned."""

    property: str
    text: str
    evidence: list[Evidence] = []
    time: int = 0
    rests_on: list[str] = []
    voided_by: list[str] = []
    outside_contract: bool = False
    details: dict[str, Any] = {}


class PropertyResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of "what was and was not checked". status: holds | violated | unknown | not checked."""

    property: str
    title: str
    status: Literal["holds", "violated", "unknown", "not checked"]
    because: str = ""
    statistics: dict[str, Any] = {}


class AssumptionResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    status: Literal["holds", "failed", "unknown"]
    because: str = ""
    planned: bool = False
    statistics: dict[str, Any] = {}


class QuotaResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    wanted: float
    got: float
    reached: bool


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """verdict.json. `headline` is one line a person reads first; `exit_code` follows EXIT_CODES or the expectation."""

    format: str = VERDICT
    version: int = VERSION
    run: str
    verdict: VerdictName
    exit_code: int
    headline: str
    interrupted: bool = False
    stopped_at: int | None = None
    """The index in history.jsonl of the event for which the online check ended the main phase."""
    watch: str = ""
    """How the online check ended, if it did."""
    findings: list[Finding] = []
    properties: list[PropertyResult] = []
    assumptions: list[AssumptionResult] = []
    quotas: list[QuotaResult] = []
    coverage: dict[str, Any] = {}
    """statistics: ops by f and type, forced leader changes, faults by kind and outcome, max clock ratio ..."""
    harness_errors: list[str] = []
    expectation: str = ""
    """"", "met" or "not met"."""
    versions: dict[str, str] = {}
    links: str = ""
    rerun: str = ""
    recovered: list[str] = []
    """Files whose torn last line was cut on reading."""
    seconds: dict[str, float] = {}
