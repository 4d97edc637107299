"""Several seeds of one plan, one run after the other, and the table of what came of them.

The worst verdict wins in this order: unfit records, invalid, other harness errors, unknown,
insufficient coverage, valid. A seed whose run could not be made is a row too (harness error), and the campaign goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from checkers.records.schema import EXIT_CODES, Verdict

if TYPE_CHECKING:
    from harness.run import RunResult

EXIT_INTERRUPTED: Final = 130
FAILED_IN_A_ROW_MAX: Final = 3
"""So many runs in a row that could not be made: it is not the seed."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    verdict: str
    exit_code: int
    findings: dict[str, int] = {}
    operations: int = 0
    leader_changes: int = 0
    run_dir: str = ""
    interrupted: bool = False
    unfit: bool = False
    error: str = ""

    @property
    def severity(self) -> int:
        """0 valid .. 5 unfit records. An expectation that was met counts as valid, one that was not as invalid."""
        if self.verdict == "harness error":
            return 5 if self.unfit else 3
        if self.exit_code == 0:
            return 0
        return {1: 4, 2: 2, 3: 1}.get(self.exit_code, 3)


def row_of(seed: int, run_dir: Path, verdict: Verdict) -> Row:
    return Row(
        seed=seed,
        verdict=verdict.verdict,
        exit_code=verdict.exit_code,
        findings=dict(Counter(finding.property for finding in verdict.findings)),
        operations=operations_of(verdict),
        leader_changes=leader_changes_of(verdict),
        run_dir=str(run_dir),
        interrupted=verdict.interrupted,
        unfit=any("unfit" in text.lower() for text in verdict.harness_errors),
    )


def operations_of(verdict: Verdict) -> int:
    """From the coverage statistics, whatever their nesting: {"ops": {"read": {"ok": 1}}} or {"ops_total": 1}."""
    for name in ("ops_total", "operations_total", "total_ops"):
        total = verdict.coverage.get(name)
        if isinstance(total, int):
            return total
    for name in ("ops", "operations", "outcomes"):
        if name in verdict.coverage:
            return _sum(verdict.coverage[name])
    return 0


def _sum(item: object) -> int:
    if isinstance(item, bool):
        return 0
    if isinstance(item, int):
        return item
    if isinstance(item, dict):
        return sum(_sum(part) for name, part in item.items() if name != "invoke")
    return 0


def leader_changes_of(verdict: Verdict) -> int:
    for name in ("leader_changes", "forced_leader_changes"):
        found = verdict.coverage.get(name)
        if isinstance(found, int):
            return found
    return 0


class Campaign(msgspec.Struct, frozen=True):
    rows: list[Row]
    stopped: str = ""
    """Why not all seeds ran: "", "interrupted", "a finding", "runs could not be made"."""

    @property
    def exit_code(self) -> int:
        if any(row.interrupted for row in self.rows):
            return EXIT_INTERRUPTED
        worst = max(self.rows, key=lambda row: row.severity, default=None)
        return worst.exit_code if worst else EXIT_CODES["harness error"]


async def run_seeds(
    seeds: Iterable[int],
    run_one: Callable[[int], Awaitable[RunResult]],
    *,
    until_finding: bool = False,
    told: Callable[[Row], None] = lambda row: None,
    refused: tuple[type[Exception], ...] = (),
) -> Campaign:
    """Run each seed; `told` gets each row as it comes.

    Exceptions of `refused` (a plan that cannot be used) pass through: no other seed would fare better.
    """
    rows: list[Row] = []
    failed = 0
    for seed in seeds:
        try:
            result = await run_one(seed)
        except refused:
            raise
        except Exception as error:
            row = Row(
                seed=seed,
                verdict="harness error",
                exit_code=EXIT_CODES["harness error"],
                error=f"{type(error).__name__}: {error}",
            )
            failed += 1
        else:
            row = row_of(seed, result.run_dir, result.verdict)
            failed = 0
        rows.append(row)
        told(row)
        if row.interrupted:
            return Campaign(rows, "interrupted")
        if until_finding and row.findings:
            return Campaign(rows, "a finding")
        if failed >= FAILED_IN_A_ROW_MAX:
            return Campaign(rows, "runs could not be made")
    return Campaign(rows)


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of text for a terminal; the run folder stands last, where it may run over."""
    width = max([4, *(len(str(row.seed)) for row in rows)])
    lines = [f"{'seed':>{width}}  {'verdict':<21}  {'findings':<10} {'ops':>6} {'leaders':>7}  run"]
    for row in rows:
        found = " ".join(f"{name}x{count}" for name, count in sorted(row.findings.items())) or "-"
        where = Path(row.run_dir).name if row.run_dir else row.error
        lines.append(
            f"{row.seed:>{width}}  {row.verdict:<21}  {found:<10} "
            f"{row.operations:>6} {row.leader_changes:>7}  {where}"
        )
    by_verdict = Counter(row.verdict for row in rows)
    lines.append("")
    lines.append(
        f"{len(rows)} runs: " + ", ".join(f"{count} {name}" for name, count in by_verdict.items())
    )
    return lines
