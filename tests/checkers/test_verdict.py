"""The lattice of verdicts as a table, and how a verdict is saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.records.schema import (
    EXIT_CODES,
    AssumptionResult,
    Finding,
    PropertyResult,
    QuotaResult,
    Verdict,
)
from checkers.verdict import decide, write_verdict

HOLDS = PropertyResult(property="P-EL", title="election safety", status="holds")
UNKNOWN = PropertyResult(
    property="P-LIN", title="linearizability", status="unknown", because="out of time"
)
UNCHECKED = PropertyResult(property="P-LV", title="liveness", status="not checked", because="why")
MET = QuotaResult(name="ok write", wanted=2, got=3, reached=True)
MISSED = QuotaResult(name="ok read lease", wanted=2, got=1, reached=False)
STALE = Finding(property="P-LIN", text="a stale read")
TWO = Finding(property="P-EL", text="two leaders in term 3")
RESTS = Finding(property="P-LX", text="a lease too long", rests_on=["clock bound"])


def clocks(status: Any, planned: bool = False) -> AssumptionResult:
    return AssumptionResult(name="clock bound", status=status, because="b", planned=planned)


LATTICE: dict[str, tuple[dict[str, Any], str, int]] = {
    "all holds": ({}, "valid", 0),
    "some was not checked": ({"properties": [HOLDS, UNCHECKED]}, "valid", 0),
    "nothing was checked": ({"properties": [UNCHECKED]}, "insufficient coverage", 3),
    "no properties at all": ({"properties": []}, "insufficient coverage", 3),
    "a quota was missed": ({"quotas": [MET, MISSED]}, "insufficient coverage", 3),
    "undecided": ({"properties": [HOLDS, UNKNOWN]}, "unknown", 2),
    "undecided is above coverage": (
        {"properties": [HOLDS, UNKNOWN], "quotas": [MISSED]},
        "unknown",
        2,
    ),
    "our machinery is above undecided": (
        {"properties": [HOLDS, UNKNOWN], "harness_errors": ["x"]},
        "harness error",
        4,
    ),
    "a finding": ({"findings": [STALE]}, "invalid", 1),
    "a finding is above our machinery": (
        {"findings": [STALE], "harness_errors": ["x"], "quotas": [MISSED]},
        "invalid",
        1,
    ),
    "unfit records are above a finding": (
        {"findings": [STALE], "unfit": ["time goes back"]},
        "harness error",
        4,
    ),
    "a finding whose assumption holds": (
        {"findings": [RESTS], "assumptions": [clocks("holds")]},
        "invalid",
        1,
    ),
    "a finding whose assumption nobody measured": ({"findings": [RESTS]}, "invalid", 1),
    "a finding whose assumption failed": (
        {"findings": [RESTS], "assumptions": [clocks("failed")]},
        "harness error",
        4,
    ),
    "a finding whose assumption is open": (
        {"findings": [RESTS], "assumptions": [clocks("unknown")]},
        "harness error",
        4,
    ),
    "a finding whose assumption failed as planned": (
        {"findings": [RESTS], "assumptions": [clocks("failed", True)]},
        "invalid",
        1,
    ),
    "a void finding beside one that stands": (
        {"findings": [RESTS, TWO], "assumptions": [clocks("failed")]},
        "invalid",
        1,
    ),
    "a failed assumption on which no finding rests": (
        {"assumptions": [clocks("failed")]},
        "valid",
        0,
    ),
    "expected and found": ({"findings": [STALE], "expect": ["P-DU", "P-LIN"]}, "invalid", 0),
    "expected and not found": ({"expect": ["P-LIN"]}, "valid", 1),
    "expected, another found": ({"findings": [TWO], "expect": ["P-LIN"]}, "invalid", 1),
    "expected, coverage missed": (
        {"expect": ["P-LIN"], "quotas": [MISSED]},
        "insufficient coverage",
        1,
    ),
    "expected, undecided": (
        {"expect": ["P-LIN"], "properties": [UNKNOWN]},
        "unknown",
        2,
    ),
    "expected, our machinery failed": (
        {"expect": ["P-LIN"], "harness_errors": ["x"]},
        "harness error",
        4,
    ),
    "expected, found and void": (
        {"expect": ["P-LX"], "findings": [RESTS], "assumptions": [clocks("failed")]},
        "harness error",
        4,
    ),
    "expected, found outside the contract": (
        {"expect": ["P-LX"], "findings": [RESTS], "assumptions": [clocks("failed", True)]},
        "invalid",
        0,
    ),
    "interrupted": ({"interrupted": True}, "valid", 0),
}


def verdict(**given: Any) -> Verdict:
    base: dict[str, Any] = {"run": "r1", "findings": [], "properties": [HOLDS], "quotas": [MET]}
    return decide(**(base | given))


@pytest.mark.parametrize("name", LATTICE)
def test_the_verdict_follows_the_order_of_the_lattice(name: str) -> None:
    given, wanted, code = LATTICE[name]
    found = verdict(**given)
    assert (found.verdict, found.exit_code) == (wanted, code)
    assert "\n" not in found.headline
    if wanted != "valid":
        assert found.headline
    expected = given.get("expect", [])
    if expected and wanted not in ("unknown", "harness error"):
        assert found.expectation == ("met" if code == 0 else "not met")
    else:
        assert found.expectation == ""
        assert found.exit_code == EXIT_CODES[wanted]


def test_a_void_finding_is_kept_and_says_what_voids_it() -> None:
    found = verdict(findings=[RESTS], assumptions=[clocks("failed")])
    (finding,) = found.findings
    assert finding.voided_by == ["clock bound"]
    assert not finding.outside_contract
    assert "rests on the assumption 'clock bound', which failed: b" in found.harness_errors[0]


def test_a_planned_breach_marks_the_finding() -> None:
    found = verdict(findings=[RESTS], assumptions=[clocks("failed", True)])
    assert found.findings[0].outside_contract
    assert "outside the contract" in found.headline


def test_unfit_records_say_so() -> None:
    """Campaigns tell them from other harness errors by that word."""
    assert verdict(unfit=["time goes back"]).harness_errors == ["unfit records: time goes back"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"findings": [STALE, TWO], "properties": [HOLDS, UNCHECKED]},
            ["P-LIN violated: a stale read", "violated too: P-EL", "P-LV (why)"],
        ),
        ({"quotas": [MISSED]}, ["ok read lease 1 of 2"]),
        ({"harness_errors": ["the loop died", "x"]}, ["the loop died (and 1 more)"]),
        ({"properties": [UNKNOWN, HOLDS]}, ["P-LIN is undecided: out of time", "P-EL holds"]),
        (
            {"links": "toxiproxy", "versions": {"driftline": "0.1.0", "toxiproxy": "2.12.0"}},
            ["driftline 0.1.0, links toxiproxy 2.12.0"],
        ),
        ({"ended_early": "it ended in phase safety"}, ["it ended in phase safety"]),
        ({"expect": ["P-LIN", "P-DU"]}, ["expected P-LIN or P-DU: not met"]),
        ({"findings": [Finding(property="P-EL", text="a\nb " * 200)]}, ["P-EL violated: a b a b"]),
    ],
)
def test_the_headline_names_what_was_and_was_not_checked(
    given: dict[str, Any], words: list[str]
) -> None:
    headline = verdict(**given).headline
    assert "\n" not in headline
    for word in words:
        assert word in headline


def test_a_verdict_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = verdict()
    write_verdict(tmp_path, first)
    path = tmp_path / "verdict.json"
    assert msgspec.json.decode(path.read_bytes(), type=Verdict) == first

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_verdict(tmp_path, verdict(interrupted=True))
    assert msgspec.json.decode(path.read_bytes(), type=Verdict) == first
    assert list(tmp_path.iterdir()) == [path]
