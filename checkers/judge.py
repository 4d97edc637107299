"""From a run folder to its verdict: read every record, ask every checker, weigh what they say.

Works on files alone and changes none, so that what a killed harness left behind is judged as a whole run is. All monitors are
folds over one pass of the records: a node's lives in the order of their boots, each in its own order. The search for an order
of the operations (linearizability.py) has been done by then in a process of its own, or is started here.

What is missing is never taken for good: a monitor without its records is "not checked", and whatever a run folder of ours
should hold and does not is a missed quota.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from checkers import linearizability
from checkers.assumptions import Assumptions
from checkers.coverage import Coverage
from checkers.crashes import Crashes, scan_logs
from checkers.durability import Durability
from checkers.linearizability import LinearizabilityResult
from checkers.liveness import Liveness
from checkers.monitor import MS, Completeness, Handler, Monitor, Params, Result
from checkers.raft_monitors import raft_monitors
from checkers.records.events import BecomeLeader
from checkers.records.fitness import (
    Operation,
    operations,
    unfit_facts,
    unfit_faults,
    unfit_life,
    unfit_reasons,
)
from checkers.records.reading import (
    Faults,
    History,
    HistoryLines,
    NodeLife,
    RecordsError,
    RunFacts,
    life_paths,
    open_history,
    read_faults,
    read_node_life,
    read_plan_facts,
    read_run_facts,
)
from checkers.records.schema import (
    Finding,
    HistoryHeader,
    Interrupted,
    Phase,
    PlanFacts,
    ProcessExited,
    ProcessStarted,
    PropertyResult,
    QuotaResult,
    Verdict,
    WatchEnded,
)
from checkers.verdict import decide

CHECK_TIMEOUT_S: Final = 60.0
CHECK_MEMORY_BYTES: Final = 2 << 30

T = TypeVar("T")


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run folder holds. `missing` names files that should be there and are not, and what hangs on them."""

    history: History
    facts: PlanFacts | None
    run: RunFacts
    faults: Faults
    lives: list[NodeLife]
    recovered: list[str]
    missing: dict[str, str]


def judge(run_dir: Path) -> Verdict:
    """The verdict on a run folder. RecordsError if a file in it cannot be used, or there is no history."""
    begin = monotonic()
    opened = open_records(run_dir)
    # The search needs the history alone, and a processor of its own: it begins before the rest is read.
    with _linearizability(opened.path, opened.crc) as search:
        records = read_records(run_dir, opened)
        read = monotonic()
        linearizable = search()
        searched = monotonic()
        # Who has judged these very bytes has found them fit to be a history.
        fit = linearizable.status in ("holds", "violated")
        unfit = unfit_records(records, fit and linearizable.history_crc == opened.crc)
    if unfit:
        linearizable = _unfit_result(records.history, unfit)
    return _verdict(
        run_dir, records, unfit, linearizable, {"read": read - begin, "search": searched - read}
    )


def judge_file(path: Path, model: str | None = None) -> Verdict:
    """The verdict on a history alone, ours or another tool's: linearizability, nothing else. RecordsError as for `judge`."""
    begin = monotonic()
    if path.is_dir():
        raise RecordsError(f"{path}: this is a folder; name the history file in it")
    if not path.exists():
        raise RecordsError(f"{path}: there is no such file")
    with _search(path, model) as search:
        result = search()
    checked = result.statistics.get("operations")
    quotas = []
    if checked == 0:
        quotas.append(QuotaResult(name="operations", wanted=1, got=0, reached=False))
    others = [
        PropertyResult(
            property=monitor.property,
            title=monitor.title,
            status="not checked",
            because="a history alone does not show it",
        )
        for monitor in monitors()
    ]
    return decide(
        run=path.name,
        findings=result.findings,
        properties=[_property(result), *others],
        quotas=quotas,
        unfit=result.unfit,
        recovered=[path.name] if result.recovered else [],
        seconds={"check": round(monotonic() - begin, 3)},
    )


# ---- reading -------------------------------------------------------------------------------------


def open_records(run_dir: Path) -> HistoryLines:
    """The history of the folder, not looked at yet; RecordsError if there is none."""
    if not run_dir.is_dir():
        raise RecordsError(f"{run_dir}: there is no such run folder")
    path = run_dir / "history.jsonl"
    if not path.exists():
        raise RecordsError(
            f"{run_dir}: there is no history.jsonl in it, so there is nothing to judge"
        )
    return open_history(path)


def read_records(run_dir: Path, opened: HistoryLines) -> Records:
    """Every record of the folder, strictly; RecordsError names the file that cannot be used."""
    missing: dict[str, str] = {}
    recovered: list[str] = []

    def note(path: Path, torn: bool) -> None:
        if torn:
            recovered.append(path.relative_to(run_dir).as_posix())

    def there(name: str, so: str) -> Path | None:
        path = run_dir / name
        if path.exists():
            return path
        missing[name] = so
        return None

    history = opened.history()
    note(opened.path, history.recovered)
    facts = None
    if (found := there("plan-facts.json", "nobody knows what the plan promised")) is not None:
        facts = read_plan_facts(found)
    run = RunFacts(None, [])
    if (found := there("run.jsonl", "phases, processes and clocks are unknown")) is not None:
        run = read_run_facts(found)
        note(found, run.recovered)
    faults = Faults(None, [])
    if (found := there("faults.jsonl", "faults are unknown")) is not None:
        faults = read_faults(found)
        note(found, faults.recovered)
    lives = []
    for path in life_paths(run_dir):
        lives.append(read_node_life(path))
        note(path, lives[-1].recovered)
    return Records(
        history=history,
        facts=facts,
        run=run,
        faults=faults,
        lives=lives,
        recovered=recovered,
        missing=missing,
    )


def unfit_records(records: Records, fit: bool = False) -> list[str]:
    """Why these cannot be the records of one run, one line each. `fit`: of the history it is known that it can."""
    header = records.history.header
    reasons = [] if fit else unfit_reasons(records.history.events)
    reasons += unfit_faults(records.faults.records)
    reasons += unfit_facts(records.run.facts)
    for life in records.lives:
        reasons += unfit_life(life)
        file = f"nodes/{life.node}/events.{life.boot}.jsonl"
        if life.node not in header.nodes:
            reasons.append(f"{file}: the history knows no node {life.node}")
        if life.header is not None and life.header.origin_ns != header.origin_ns:
            reasons.append(f"{file}: its times do not count from the history's origin")
    for name, other in (("run.jsonl", records.run.header), ("faults.jsonl", records.faults.header)):
        if other is not None and other.run != header.run:
            reasons.append(f"{name}: it is of run {other.run}, the history of run {header.run}")
        elif other is not None and other.origin_ns != header.origin_ns:
            reasons.append(f"{name}: its times do not count from the history's origin")
    if records.facts is not None and records.facts.run != header.run:
        reasons.append(
            f"plan-facts.json: it is of run {records.facts.run}, the history of run {header.run}"
        )
    return reasons


# ---- linearizability -----------------------------------------------------------------------------


@contextlib.contextmanager
def _linearizability(path: Path, crc: str) -> Iterator[Callable[[], LinearizabilityResult]]:
    """What stands beside the history if it belongs to it, else a search of our own, which goes on meanwhile."""
    known = linearizability.load(path.parent / "linearizability.json")
    if known is not None and known.history_crc == crc:
        yield lambda: known
        return
    with _search(path, None) as search:

        def result() -> LinearizabilityResult:
            try:
                return search()
            except RecordsError as error:
                # The history could be read: what cannot be used is the model that its header names.
                return LinearizabilityResult(
                    history_crc=crc, status="not checked", because=str(error)
                )

        yield result


@contextlib.contextmanager
def _search(path: Path, model: str | None) -> Iterator[Callable[[], LinearizabilityResult]]:
    with (
        tempfile.TemporaryDirectory(prefix="driftline-check-") as folder,
        linearizability.in_child(
            path,
            Path(folder) / "linearizability.json",
            CHECK_TIMEOUT_S,
            CHECK_MEMORY_BYTES,
            model=model,
        ) as result,
    ):
        yield result


def _unfit_result(history: History, unfit: list[str]) -> LinearizabilityResult:
    return LinearizabilityResult(
        history_crc=history.crc,
        status="not checked",
        because=f"the records are unfit: {unfit[0]}",
    )


def _property(result: LinearizabilityResult) -> PropertyResult:
    return PropertyResult(
        property="P-LIN",
        title="linearizability",
        status=result.status,
        because=result.because,
        statistics=result.statistics,
    )


# ---- the pass ------------------------------------------------------------------------------------


def monitors() -> list[Monitor]:
    """One of each, new."""
    return [*raft_monitors(), Durability(), Liveness(), Crashes()]


NODE_EVENTS_NEEDED: Final = frozenset(
    {"P-EL", "P-LX", "P-SM", "P-LC", "P-LM", "P-ORD", "P-CONF", "P-DU", "P-LV"}
)
FACTS_NEEDED: Final = frozenset({"P-LV", "P-CRASH"})


def run_over(
    handlers: Sequence[dict[type, Handler]], records: Iterable[tuple[str, Sequence[Any]]]
) -> None:
    """One pass: each record goes to whoever wants its type."""
    table: dict[type, list[Handler]] = {}
    for wanted in handlers:
        for kind, handler in wanted.items():
            table.setdefault(kind, []).append(handler)
    nobody: list[Handler] = []
    get = table.get
    for source, batch in records:
        for record in batch:
            for handler in get(type(record), nobody):
                handler(source, record)


def params_of(header: HistoryHeader, facts: PlanFacts | None) -> Params:
    return Params(
        nodes=tuple(facts.nodes if facts is not None else header.nodes),
        election_timeout_ns=header.election_timeout_ms * MS,
        drift_ns=header.max_clock_drift_ms * MS,
        # Without the plan's facts it is not known; what rests on pre-vote or CheckQuorum is then not asked.
        prevote=facts.prevote if facts is not None else False,
        check_quorum=facts.check_quorum if facts is not None else False,
        lease=header.lease,
        node_events=facts.node_events if facts is not None else True,
    )


def _verdict(
    run_dir: Path,
    records: Records,
    unfit: list[str],
    linearizable: LinearizabilityResult,
    seconds: dict[str, float],
) -> Verdict:
    begin = monotonic()
    header, facts, run = records.history.header, records.facts, records.run
    params = params_of(header, facts)
    completeness = msgspec.structs.replace(
        completeness_of(run), events_lack=events_lack(params, records)
    )
    ops: list[Operation] = operations(records.history.events)
    watching = monitors()
    assumed = Assumptions(planned=facts is not None and facts.clock_outside_contract)
    covered = Coverage()
    folds: list[Any] = [*watching, assumed, covered]
    results: list[tuple[Monitor, Result]] = []
    if not unfit:
        for fold in folds:
            fold.start(params)
        run_over(
            [fold.handlers for fold in folds],
            [
                ("", ops),
                ("", records.faults.records),
                ("", run.facts),
                ("", list(scan_logs(run_dir))),
                *((life.node, life.events) for life in records.lives),
            ],
        )
        results = [(monitor, monitor.finish(completeness)) for monitor in watching]
        filesystem = run.header.filesystem if run.header is not None else ""
        assumptions = assumed.results(filesystem)
        covered.finish(assumed.clocks)
    else:
        assumptions = []
        results = [
            (monitor, Result(verdict="not checked", because="the records are unfit"))
            for monitor in watching
        ]
    silent = _silent_nodes(params, records.lives)
    findings: list[Finding] = list(linearizable.findings)
    properties = [_property(linearizable)]
    for monitor, result in results:
        findings += result.findings
        properties.append(_told(monitor, result, silent, records.missing))
    quotas = [] if unfit else _quotas(covered, facts, silent, records.missing, linearizable)
    interrupted = [fact for fact in run.facts if isinstance(fact, Interrupted)]
    watch = next((fact for fact in run.facts if isinstance(fact, WatchEnded)), None)
    seconds = seconds | {"monitors": monotonic() - begin}
    return decide(
        run=header.run,
        findings=findings,
        properties=properties,
        assumptions=assumptions,
        quotas=quotas,
        unfit=unfit or linearizable.unfit,
        harness_errors=[fact.harness_error for fact in interrupted if fact.harness_error],
        expect=facts.expect if facts is not None and facts.bugs else [],
        interrupted=any(not fact.harness_error for fact in interrupted),
        stopped_at=watch.event if watch is not None and watch.stopped else None,
        watch=_watch_words(watch) if watch is not None else "",
        ended_early=completeness.because,
        coverage=covered.statistics,
        versions=run.header.versions if run.header is not None else {},
        links=_links(facts, run),
        rerun=facts.rerun if facts is not None else "",
        recovered=records.recovered,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _watch_words(watch: WatchEnded) -> str:
    """How the online check ended, in a line."""
    if watch.verdict == "unknown":
        return f"the run was watched up to event {watch.event} of its history, and no further: {watch.because}"
    did = (
        "the run was stopped" if watch.stopped else "too late to stop the run, something was found"
    )
    place = f"{did} at event {watch.event} of its history"
    if watch.property != "P-LIN":
        return f"{place} for {watch.property}: {watch.because}"
    return f"{place}, which nothing explains: {watch.because}"


def completeness_of(run: RunFacts) -> Completeness:
    """How far the run came, by its phases."""
    phases = [fact for fact in run.facts if isinstance(fact, Phase)]
    stopped = next((fact for fact in run.facts if isinstance(fact, Interrupted)), None)
    ended = any(phase.name == "end" for phase in phases)
    failed = any(isinstance(fact, Interrupted) and fact.harness_error for fact in run.facts)
    healed = next((phase for phase in reversed(phases) if phase.name == "liveness_all"), None)
    fell = healed is not None and any(
        isinstance(fact, ProcessExited) and not fact.asked and fact.time > healed.time
        for fact in run.facts
    )
    because = ""
    if stopped is not None and not failed:
        because = f"interrupted by {stopped.by}"
    elif not ended or failed:
        because = f"it ended in phase {phases[-1].name}" if phases else "no phase was recorded"
    return Completeness(
        whole=ended and not failed,
        because=because,
        healed=healed is not None and healed.proved and not fell,
    )


def events_lack(params: Params, records: Records) -> str:
    """Why the nodes' events are not all there, by what the other records know; "" if nothing speaks against them.

    A file that is gone, the torn end of a node's last life, or a term in which somebody answered and of which no leader told.
    """
    if not params.node_events:
        return ""
    silent = _silent_nodes(params, records.lives)
    if silent:
        return f"there are no events of {', '.join(silent)}"
    last = {life.node: life for life in records.lives}
    for fact in records.run.facts:
        if isinstance(fact, ProcessStarted):
            life = last.get(fact.node)
            if life is None or life.boot < fact.boot:
                return f"the events of {fact.node}, boot {fact.boot}, are not there"
    for life in last.values():
        if life.recovered:
            return f"the events of {life.node} end in a torn line"
    told = max(
        (
            event.term
            for life in records.lives
            for event in life.events
            if type(event) is BecomeLeader
        ),
        default=0,
    )
    answered = max((event.term or 0 for event in records.history.events), default=0)
    if answered > told:
        return f"clients were answered in term {answered}, and no node's events tell who led it"
    return ""


def _silent_nodes(params: Params, lives: list[NodeLife]) -> list[str]:
    """Nodes that should have told their events, and of which there are none."""
    if not params.node_events:
        return []
    told = {life.node for life in lives if life.events}
    return [node for node in params.nodes if node not in told]


def _told(
    monitor: Monitor, result: Result, silent: list[str], missing: dict[str, str]
) -> PropertyResult:
    """A monitor's result, less what it cannot claim: without all records nothing holds."""
    status, because = result.verdict, result.because
    if status == "holds":
        lacks = []
        if silent and monitor.property in NODE_EVENTS_NEEDED:
            lacks.append(f"no events of {', '.join(silent)} were recorded")
        if "run.jsonl" in missing and monitor.property in FACTS_NEEDED:
            lacks.append("there is no run.jsonl")
        if "faults.jsonl" in missing and monitor.property == "P-LV":
            lacks.append("there is no faults.jsonl")
        if lacks:
            status, because = "not checked", "; ".join(lacks)
    elif status == "not checked" and silent and monitor.property in NODE_EVENTS_NEEDED:
        because = f"no events of {', '.join(silent)} were recorded"
    return PropertyResult(
        property=monitor.property,
        title=monitor.title,
        status=status,
        because=because,
        statistics=result.statistics,
    )


def _quotas(
    covered: Coverage,
    facts: PlanFacts | None,
    silent: list[str],
    missing: dict[str, str],
    linearizable: LinearizabilityResult,
) -> list[QuotaResult]:
    """The plan's, and one more for each thing that a run of ours always has and this one lacks."""
    quotas = []
    if facts is not None:
        quotas = covered.quotas(facts.quotas, facts.operations, facts.read_modes)
    lacking = [f"{name} ({so})" for name, so in missing.items()]
    lacking += [f"events of {node}" for node in silent]
    if linearizable.status == "not checked":
        lacking.append("linearizability checked")
    quotas += [QuotaResult(name=name, wanted=1, got=0, reached=False) for name in lacking]
    return quotas


def _links(facts: PlanFacts | None, run: RunFacts) -> str:
    if run.header is not None:
        return run.header.links
    return facts.links if facts is not None else ""
