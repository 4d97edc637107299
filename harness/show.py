"""Verdicts and runs as lines of text for a terminal of 80 columns. Pure: lines out, nothing printed, nothing read.

Colour is the caller's choice (never when the output is no terminal, or NO_COLOR is set); no meaning rests on it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from checkers.records.schema import Finding, Phase, Verdict
from harness.report import words
from harness.report.lanes import (
    counts,
    errors,
    evidence_indices,
    fault_counts,
    leaderships,
    node_lanes,
)
from harness.report.load import LoadedRun, Operation

COLUMNS: Final = 80
FINDINGS_SHOWN: Final = 3
EVIDENCE_SHOWN: Final = 8

_CODES: Final[dict[str, str]] = {
    "valid": "32",
    "invalid": "31",
    "unknown": "33",
    "insufficient coverage": "33",
    "harness error": "35",
    "holds": "32",
    "violated": "31",
    "failed": "31",
    "not checked": "33",
}
_MARKS: Final[dict[str, str]] = {
    "holds": "ok ",
    "violated": "BAD",
    "failed": "BAD",
    "unknown": "?  ",
    "not checked": "-  ",
}


def paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and code else text


def _wrap(text: str, indent: int, first: str | None = None) -> list[str]:
    """Wrapped at COLUMNS; `first` stands before the first line and is `indent` wide at most."""
    lead = " " * indent if first is None else first.ljust(indent)
    return textwrap.wrap(
        " ".join(text.split()) or "-",
        COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def verdict_lines(verdict: Verdict, *, color: bool = False) -> list[str]:
    """The verdict, what was and was not checked, findings, unmet quotas, failed assumptions."""
    name = verdict.verdict.upper()
    lines = [paint(f"{name}", f"1;{_CODES[verdict.verdict]}", color)]
    lines += _wrap(verdict.headline or words.VERDICTS[verdict.verdict], 2)
    if verdict.expectation:
        lines += _wrap(f"what the plan expected of it was {verdict.expectation}", 2)
    if verdict.interrupted:
        lines.append("  interrupted: this judges what was recorded until then")
    if verdict.watch:
        lines += _wrap(verdict.watch, 2)
    for text in verdict.harness_errors:
        lines += _wrap(text, 4, "  ! ")
    if verdict.properties:
        lines += ["", "properties"]
        for item in verdict.properties:
            mark = paint(_MARKS[item.status], _CODES.get(item.status, ""), color)
            title = words.property_name(item.property, item.title)
            because = f": {item.because}" if item.because else ""
            status = "" if item.status == "holds" else f" {item.status}"
            body = _wrap(f"{title}{status}{because}", 6)
            lines.append(f"  {mark} {body[0].lstrip()}")
            lines += body[1:]
    broken = [item for item in verdict.assumptions if item.status != "holds"]
    if verdict.assumptions:
        held = len(verdict.assumptions) - len(broken)
        lines += ["", f"assumptions: {held} of {len(verdict.assumptions)} held"]
        for assumed in broken:
            planned = " as planned" if assumed.planned else ""
            lines += _wrap(
                f"{assumed.name} {assumed.status}{planned}: {assumed.because}", 4, "  - "
            )
    if verdict.quotas:
        missed = [quota for quota in verdict.quotas if not quota.reached]
        lines += ["", f"quotas: {len(verdict.quotas) - len(missed)} of {len(verdict.quotas)} met"]
        for quota in missed:
            lines += _wrap(f"{quota.name}: wanted {quota.wanted:g}, got {quota.got:g}", 4, "  - ")
    if verdict.findings:
        lines += ["", paint(f"findings ({len(verdict.findings)})", "1", color)]
        for finding in verdict.findings[:FINDINGS_SHOWN]:
            lines += finding_lines(finding, color=color)
        if len(verdict.findings) > FINDINGS_SHOWN:
            lines.append(f"  and {len(verdict.findings) - FINDINGS_SHOWN} more (in verdict.json)")
    for file in verdict.recovered:
        lines += _wrap(f"{file}: a torn last line was cut on reading", 4, "  - ")
    return lines


def finding_lines(finding: Finding, *, color: bool = False) -> list[str]:
    head = words.property_name(finding.property)
    if finding.outside_contract:
        head += " (outside the contract: the plan broke an assumption)"
    lines = [paint(f"  {head}", "31", color)]
    lines += _wrap(finding.text, 4)
    if finding.voided_by:
        lines += _wrap(f"rests on assumptions that failed: {', '.join(finding.voided_by)}", 4)
    for proof in finding.evidence[:EVIDENCE_SHOWN]:
        at = f"{words.seconds(proof.time)}  " if proof.time else ""
        lines += _wrap(f"{at}{proof.file}:{proof.index}  {proof.text}", 8, "    by  ")
    if len(finding.evidence) > EVIDENCE_SHOWN:
        lines.append(f"        and {len(finding.evidence) - EVIDENCE_SHOWN} more events")
    return lines


def exercised_lines(verdict: Verdict) -> list[str]:
    """What a run exercised, from the coverage statistics of its verdict."""
    lines: list[str] = []
    for name, item in sorted(verdict.coverage.items()):
        lines += _wrap(f"{name.replace('_', ' ')}: {flat(item)}", 4, "  ")
    for quota in verdict.quotas:
        lines += _wrap(
            f"{quota.name.replace('_', ' ')}: {quota.got:g} (wanted {quota.wanted:g})", 4
        )
    return lines or ["  (the verdict holds no statistics)"]


def flat(item: Any) -> str:
    """Nested statistics on one line: 'read (ok 10, info 1), write (ok 4)'."""
    if isinstance(item, Mapping):
        parts = [
            f"{name} ({flat(part)})" if isinstance(part, Mapping) else f"{name} {flat(part)}"
            for name, part in item.items()
        ]
        return ", ".join(parts) or "none"
    if isinstance(item, list | tuple):
        return ", ".join(flat(part) for part in item) or "none"
    if isinstance(item, float):
        return f"{item:.4g}"
    return str(item)


def run_lines(run: LoadedRun, *, ops: int = 0, color: bool = False) -> list[str]:
    """The whole story of a run: verdict, counts, faults with evidence, leaders, some operations."""
    lines = [paint(f"run {run.name}", "1", color)]
    lines += _wrap(_about(run), 2)
    if run.verdict is None:
        lines.append("no verdict was saved (driftline check judges the records)")
    else:
        lines += ["", *verdict_lines(run.verdict, color=color)]
    lines += ["", *operation_table(run)]
    lines += ["", *fault_table(run, color=color)]
    lines += ["", *leader_table(run)]
    phases = [fact for fact in run.facts if isinstance(fact, Phase)]
    if phases:
        said = [
            f"{phase.name} {words.seconds(phase.time, 1)}{'' if phase.proved else ' (not proved)'}"
            for phase in phases
        ]
        lines += ["", *_wrap(", ".join(said), 8, "phases")]
    if ops:
        lines += ["", *operation_lines(run, ops)]
    if run.notes:
        lines += ["", "notes on the files"]
        for note in run.notes:
            lines += _wrap(note, 4, "  - ")
    if run.verdict and run.verdict.rerun:
        lines += ["", f"again:  {run.verdict.rerun}"]
    return lines


def _about(run: LoadedRun) -> str:
    parts = []
    if run.header:
        header = run.header
        parts.append(f"workload {header.workload.name}")
        parts.append(f"{len(header.nodes)} nodes, {header.clients} clients")
        lease = "lease on" if header.lease else "lease off"
        parts.append(
            f"E {header.election_timeout_ms} ms, D {header.max_clock_drift_ms} ms, {lease}"
        )
    if run.plan_facts:
        parts.append(f"seed {run.plan_facts.seed}")
        if run.plan_facts.bugs:
            parts.append(f"bugs {' '.join(run.plan_facts.bugs)}")
    if run.facts_header:
        parts.append(f"links {run.facts_header.links}")
    parts.append(f"{words.seconds(run.end_ns, 1)} long")
    return "; ".join(parts)


def operation_table(run: LoadedRun) -> list[str]:
    rows = counts(run.operations)
    lines = [
        f"{'operations':<20} {'ok':>8} {'fail':>8} {'info':>8}   {'p50':>9} {'p99':>9} {'max':>9}"
    ]
    for row in rows:
        ranks = [row.percentile(part) for part in (0.5, 0.99, 1.0)]
        shown = " ".join(f"{'-' if rank is None else words.length(rank):>9}" for rank in ranks)
        lines.append(f"  {row.name:<18} {row.ok:>8} {row.fail:>8} {row.info:>8}   {shown}")
    if not rows:
        lines.append("  none recorded")
    for outcome, error, count in errors(run.operations)[:6]:
        lines += _wrap(f"{count} x {outcome}: {error}", 6, "    ")
    return lines


def fault_table(run: LoadedRun, *, color: bool = False) -> list[str]:
    summary = [
        f"{kind.replace('_', ' ')} ("
        + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        + ")"
        for kind, outcomes in fault_counts(run)
    ]
    lines = _wrap(", ".join(summary) or "none", 8, "faults")
    for step in run.steps:
        asked, targets = step.merged()
        what = words.fault(step.kind, asked, targets)
        span = step.in_force(run.end_ns)
        lasted = f"{words.seconds(span[1] - span[0], 1)}" if span else "-"
        mark = {"installed": " ", "skipped": "-", "indeterminate": "?"}.get(step.outcome, " ")
        healed = ", not healed" if span and step.unhealed else ""
        lines += _wrap(
            f"{what} ({lasted}{healed})", 12, f" {mark}{words.seconds(step.begin, 2):>9} "
        )
        proof = step.installed.evidence if step.installed else {}
        if step.outcome in ("skipped", "indeterminate"):
            lines += _wrap(words.outcome(step.installed), 14)
        elif proof:
            lines += _wrap(words.evidence(proof), 14)
    return lines


def leader_table(run: LoadedRun) -> list[str]:
    led = leaderships(node_lanes(run))
    lines = [f"leaders ({len(led)})"]
    for one in led:
        lines.append(
            f"  term {one.term:>4}  {one.node:<6} "
            f"{words.seconds(one.begin, 2):>10} to {words.seconds(one.end, 2):>10}"
            f"  ({words.seconds(one.end - one.begin, 2)})"
        )
    if not led:
        lines.append("  none reported")
    return lines


def operation_lines(run: LoadedRun, amount: int) -> list[str]:
    """The operations that prove a finding stand in the middle, else the first of the run."""
    marked = evidence_indices(run)
    operations: Sequence[Operation] = run.operations
    first = next(
        (
            position
            for position, operation in enumerate(operations)
            if operation.invoke_index in marked or operation.complete_index in marked
        ),
        None,
    )
    begin = 0 if first is None else max(0, first - amount // 3)
    shown = operations[begin : begin + amount]
    lines = [f"operations {begin + 1} to {begin + len(shown)} of {len(operations)}"]
    lines.append(f"    {'call':>9} {'took':>8} {'proc':>4}  {'':<4} operation")
    for operation in shown:
        mark = "=>" if {operation.invoke_index, operation.complete_index} & marked else "  "
        took = "-" if operation.end is None else words.length(operation.end - operation.begin)
        lines.append(
            f" {mark} {words.seconds(operation.begin):>9} {took:>8} {operation.process:>4}  "
            f"{operation.outcome:<4} {operation_words(operation)}"
        )
    return lines


def operation_words(operation: Operation) -> str:
    """'read k2 lease -> 7 @n1', 'write k2 7 @n2 timeout'."""
    parts = [operation.f]
    if operation.key is not None:
        parts.append(operation.key)
    if operation.mode:
        parts.append(operation.mode)
    if operation.value is not None:
        parts.append(words.value(operation.value, 30))
    if operation.outcome == "ok" and operation.result != operation.value:
        parts.append(f"-> {words.value(operation.result, 30)}")
    elif operation.outcome == "ok" and operation.f == "read":
        parts.append("-> null")
    if operation.node:
        parts.append(f"@{operation.node}")
    if operation.outcome != "ok" and operation.error:
        parts.append(operation.error)
    return " ".join(parts)


def bug_lines(rows: Iterable[Mapping[str, Any]], *, color: bool = False) -> list[str]:
    lines = []
    for row in rows:
        lines.append(f"{paint(row['name'], '1', color)}  violates {row['violates']}")
        lines += _wrap(str(row["broken"]), 4)
        lines += _wrap(f"exposed by: {row['fault']}", 4)
        lines.append(f"    {row['run']}")
    return lines or ["no seeded bugs"]


def plan_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["no plans here (a folder plans/ with TOML files; driftline run needs none)"]
    lines = []
    for row in rows:
        lines.append(str(row["name"]))
        if "error" in row:
            lines += _wrap(f"cannot be used: {row['error']}", 4)
            continue
        words_of = [
            f"{row['workload']}, {row['nodes']} nodes, {row['clients']} clients, "
            f"{row['time_s']:g} s"
        ]
        if row["faults"]:
            words_of.append(f"random {' '.join(row['faults'])}")
        if row["steps"]:
            words_of.append(f"{row['steps']} scripted steps")
        if row["bugs"]:
            words_of.append(f"bug {' '.join(row['bugs'])}")
        if row["expect"]:
            words_of.append(f"expects {' or '.join(row['expect'])}")
        lines += _wrap("; ".join(words_of), 4)
    lines.append("")
    lines.append("run one: driftline run --plan NAME")
    return lines
