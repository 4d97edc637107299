"""The verdict: one pure function from what all checkers said, and the saving of it.

    unfit records > invalid > other harness errors > unknown > insufficient coverage > valid

Three rules bend that line. A finding that rests on an assumption which failed, or could not be established, says nothing
about the system: it is a harness error, unless the plan itself asked for the breach; then it is invalid, marked "outside the
contract". Nothing is valid by silence: where no property holds, nothing was judged, and coverage is insufficient. A plan with a
seeded bug may expect findings: met 0, not met 1, and harness error and unknown keep their own codes. A run that ended early
is judged by the same line: its quotas decide, and the headline says where it ended.
"""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.records.schema import (
    EXIT_CODES,
    AssumptionResult,
    Finding,
    PropertyResult,
    QuotaResult,
    Verdict,
    VerdictName,
)

MET: Final = "met"
NOT_MET: Final = "not met"
HEADLINE_TEXT_MAX: Final = 120


def decide(
    *,
    run: str,
    findings: Sequence[Finding],
    properties: Sequence[PropertyResult],
    assumptions: Sequence[AssumptionResult] = (),
    quotas: Sequence[QuotaResult] = (),
    unfit: Sequence[str] = (),
    harness_errors: Sequence[str] = (),
    expect: Sequence[str] = (),
    interrupted: bool = False,
    stopped_at: int | None = None,
    watch: str = "",
    ended_early: str = "",
    coverage: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    links: str = "",
    rerun: str = "",
    recovered: Sequence[str] = (),
    seconds: Mapping[str, float] | None = None,
) -> Verdict:
    """The verdict on what all checkers found. `expect` names properties, for a plan with a bug only."""
    judged = [weigh(finding, assumptions) for finding in findings]
    stands = [finding for finding in judged if not finding.voided_by]
    errors = [f"unfit records: {reason}" for reason in unfit]
    errors += harness_errors
    errors += _voided(judged, assumptions)
    name: VerdictName
    if unfit:
        name = "harness error"
    elif stands:
        name = "invalid"
    elif errors:
        name = "harness error"
    elif any(item.status == "unknown" for item in properties):
        name = "unknown"
    elif not all(quota.reached for quota in quotas) or not any(
        item.status == "holds" for item in properties
    ):
        name = "insufficient coverage"
    else:
        name = "valid"
    expectation, exit_code = _expected(name, stands, expect)
    return Verdict(
        run=run,
        verdict=name,
        exit_code=exit_code,
        headline=headline(
            name,
            findings=stands,
            properties=properties,
            quotas=quotas,
            errors=errors,
            expectation=expectation,
            expect=expect,
            ended_early=ended_early,
            versions=versions or {},
            links=links,
        ),
        interrupted=interrupted,
        stopped_at=stopped_at,
        watch=watch,
        findings=judged,
        properties=list(properties),
        assumptions=list(assumptions),
        quotas=list(quotas),
        coverage=dict(coverage or {}),
        harness_errors=errors,
        expectation=expectation,
        versions=dict(versions or {}),
        links=links,
        rerun=rerun,
        recovered=list(recovered),
        seconds=dict(seconds or {}),
    )


def weigh(finding: Finding, assumptions: Sequence[AssumptionResult]) -> Finding:
    """The finding with what its assumptions make of it: voided by those that failed unplanned, else outside the contract."""
    broken = [
        assumed
        for assumed in assumptions
        if assumed.name in finding.rests_on and assumed.status != "holds"
    ]
    voided_by = [assumed.name for assumed in broken if not assumed.planned]
    return msgspec.structs.replace(
        finding, voided_by=voided_by, outside_contract=bool(broken) and not voided_by
    )


def _voided(findings: Sequence[Finding], assumptions: Sequence[AssumptionResult]) -> list[str]:
    """One line for each property and each assumption that voids a finding of it."""
    because = {assumed.name: assumed for assumed in assumptions}
    pairs = dict.fromkeys(
        (finding.property, name) for finding in findings for name in finding.voided_by
    )
    return [
        f"a finding of {code} says nothing: it rests on the assumption {name!r}, which "
        + ("failed" if because[name].status == "failed" else "could not be established")
        + (f": {because[name].because}" if because[name].because else "")
        for code, name in pairs
    ]


def _expected(
    name: VerdictName, findings: Sequence[Finding], expect: Sequence[str]
) -> tuple[str, int]:
    if not expect or name in ("harness error", "unknown"):
        return "", EXIT_CODES[name]
    if any(finding.property in expect for finding in findings):
        return MET, 0
    return NOT_MET, 1


# ---- the headline --------------------------------------------------------------------------------


def headline(
    name: VerdictName,
    *,
    findings: Sequence[Finding],
    properties: Sequence[PropertyResult],
    quotas: Sequence[QuotaResult],
    errors: Sequence[str],
    expectation: str,
    expect: Sequence[str],
    ended_early: str,
    versions: Mapping[str, str],
    links: str,
) -> str:
    """One line that a person reads first: why, what holds, what was not checked, by which versions and links."""
    parts: list[str] = []
    if name == "invalid":
        first = findings[0]
        where = " (outside the contract)" if first.outside_contract else ""
        more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
        parts.append(f"{first.property} violated{where}: {_short(first.text)}{more}")
        others = dict.fromkeys(finding.property for finding in findings)
        others.pop(first.property)
        if others:
            parts.append(f"violated too: {', '.join(others)}")
    elif name == "harness error":
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        parts.append(f"our own machinery failed: {_short(errors[0])}{more}")
    elif name == "unknown":
        open_ = [item for item in properties if item.status == "unknown"]
        parts += [f"{item.property} is undecided: {_short(item.because)}" for item in open_]
    elif name == "insufficient coverage":
        missed = [quota for quota in quotas if not quota.reached]
        told = ", ".join(
            f"{quota.name} {quota.got:g} of {quota.wanted:g}" for quota in missed[:4]
        ) + (f" and {len(missed) - 4} more" if len(missed) > 4 else "")
        parts.append(
            f"nothing wrong was seen, but quotas were missed: {told}"
            if missed
            else "nothing was checked"
        )
    if ended_early:
        parts.append(f"the run is not whole: {ended_early}")
    holds = [item.property for item in properties if item.status == "holds"]
    if holds:
        parts.append(f"{' '.join(holds)} hold" if len(holds) > 1 else f"{holds[0]} holds")
    unchecked: dict[str, list[str]] = {}
    for item in properties:
        if item.status == "not checked":
            unchecked.setdefault(_short(item.because), []).append(item.property)
    if unchecked:
        told = ", ".join(
            " ".join(codes) + (f" ({because})" if because else "")
            for because, codes in unchecked.items()
        )
        parts.append(f"not checked: {told}")
    if expectation:
        parts.append(f"expected {' or '.join(expect)}: {expectation}")
    by = [f"driftline {versions['driftline']}"] if "driftline" in versions else []
    if links:
        by.append(f"links {links} {versions.get(links, '')}".rstrip())
    if by:
        parts.append(", ".join(by))
    return " ".join("; ".join(parts).split())


def _short(text: str) -> str:
    """Cut between words, so that no half of a name or number passes for the whole."""
    return textwrap.shorten(text, HEADLINE_TEXT_MAX, placeholder=" ...")


# ---- saving --------------------------------------------------------------------------------------


def write_verdict(run_dir: Path, verdict: Verdict) -> None:
    """Save verdict.json so that a reader, also after a power loss, meets the old one or this one whole. OSError."""
    path = run_dir / "verdict.json"
    temporary = run_dir / f".verdict.json.{os.getpid()}"
    data = msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
