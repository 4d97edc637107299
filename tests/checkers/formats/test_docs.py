"""docs/formats.md tells the truth: each example line on it is decoded by the code that reads such lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.linearizability import LinearizabilityResult
from checkers.records import events, schema
from harness.plan import ExpandedPlan

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"
BLOCK = re.compile(r"^```json ([\w-]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    (match[1], line)
    for match in BLOCK.finditer(PAGE.read_text("utf-8"))
    for line in match[2].splitlines()
]
KINDS: dict[str, Any] = {
    "history-header": schema.HistoryHeader,
    "history": schema.HistoryEvent,
    "faults-header": schema.FaultsHeader,
    "faults": schema.FaultRecord,
    "run-header": schema.RunFactsHeader,
    "run": schema.RunFact,
    "plan-facts": schema.PlanFacts,
    "expanded": ExpandedPlan,
    "node-header": schema.NodeEventsHeader,
    "node": events.Known,
    "linearizability": LinearizabilityResult,
    "verdict": schema.Verdict,
}


def test_every_file_has_an_example() -> None:
    assert {kind for kind, _ in EXAMPLES} == {*KINDS, "reaped"}


@pytest.mark.parametrize(("kind", "line"), EXAMPLES)
def test_an_example_is_decoded(kind: str, line: str) -> None:
    if kind == "reaped":
        assert json.loads(line)["nothing_left"] is True
        return
    found = msgspec.json.decode(line, type=KINDS[kind])
    if hasattr(found, "format"):
        assert found.format == json.loads(line)["format"]


@pytest.mark.parametrize(
    "kind", ["history-header", "plan-facts", "node-header", "verdict", "linearizability"]
)
def test_an_example_shows_every_field(kind: str) -> None:
    (line,) = [line for name, line in EXAMPLES if name == kind]
    assert set(json.loads(line)) == set(KINDS[kind].__struct_fields__)


def test_every_event_of_a_node_has_its_row() -> None:
    page = PAGE.read_text("utf-8")
    assert [name for name in sorted(events.KINDS) if f"| `{name}`" not in page] == []
