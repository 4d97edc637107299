"""The monitors beside cores in one process: the same findings as over files, at once."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.inprocess import Monitors
from checkers.records.events import KINDS
from tests.checkers.made import MS, PARAMS

BOOT = {
    "first_index": 1, "last_index": 0, "last_term": 0, "snapshot_index": 0, "snapshot_term": 0,
    "members": ("n1", "n2", "n3"), "old": (), "witnesses": (), "voted_for": "", "first_boot": True,
}  # fmt: skip

Event = tuple[str, float, str, int, dict[str, Any]]


def begin() -> Monitors:
    monitors = Monitors(PARAMS)
    for node in PARAMS.nodes:
        assert not monitors.event(node, 1, 0, 0, "boot", 1, BOOT)
    return monitors


def tell(
    monitors: Monitors, node: str, at: float, name: str, term: int, **fields: Any
) -> list[str]:
    found = monitors.event(node, 1, round(at * MS), round(at * MS), name, term, fields)
    return [finding.property for finding in found]


def test_a_healthy_group_makes_no_finding() -> None:
    monitors = begin()
    first = {"index": 1, "members": ("n1", "n2", "n3"), "old": (), "witnesses": ()}
    told: list[Event] = [
        ("n2", 1, "prevote_granted", 1, {"candidate": "n1", "for_term": 2}),
        ("n1", 2, "term_change", 2, {"from": 1, "reason": "candidate"}),
        ("n1", 2, "vote_granted", 2, {"candidate": "n1"}),
        ("n2", 2, "vote_granted", 2, {"candidate": "n1"}),
        ("n1", 3, "become_leader", 2, {"last_index": 0, "last_term": 0}),
        ("n1", 3, "conf_change", 2, {**first, "stage": "append"}),
        ("n2", 4, "append_ack", 2, {"leader": "n1", "last_index": 1}),
        ("n1", 5, "commit", 2, {"index": 1}),
        ("n1", 5, "apply", 2, {"first": 1, "entries": [[2, 77]]}),
        ("n1", 5, "conf_change", 2, {**first, "stage": "commit"}),
        ("n1", 6, "lease", 2, {"state": "valid", "epoch": 1, "until_ns": 9}),
        ("n1", 7, "snapshot_saved", 2, {"index": 1, "last_term": 2, "digest": 5, "size": 3}),
        ("n2", 8, "truncate", 2, {"from": 2}),
        (
            "n3",
            8,
            "snapshot_loaded",
            2,
            {"index": 1, "last_term": 2, "digest": 5, "source": "install"},
        ),
        ("n1", 9, "transfer", 2, {"to": "n2", "stage": "start"}),
        ("n1", 9, "brewed_tea", 2, {"cups": 2}),
    ]
    for node, at, name, term, fields in told:
        assert tell(monitors, node, at, name, term, **fields) == []
    results = monitors.finish()
    assert {result.verdict for result in results.values()} == {"holds"}
    assert set(results) == {"P-EL", "P-LX", "P-SM", "P-LC", "P-LM", "P-ORD", "P-CONF", "P-DU"}


def test_a_finding_comes_out_of_the_event_that_makes_it_and_once() -> None:
    monitors = begin()
    assert tell(monitors, "n1", 1, "become_leader", 2, last_index=0, last_term=0) == []
    assert tell(monitors, "n2", 2, "become_leader", 2, last_index=0, last_term=0) == ["P-EL"]
    assert tell(monitors, "n3", 3, "commit", 2, index=4) == []
    assert tell(monitors, "n3", 4, "become_leader", 3, last_index=2, last_term=2) == ["P-LC"]
    assert tell(monitors, "n1", 5, "lease", 2, state="valid", epoch=1, until_ns=9) == ["P-LX"]
    assert tell(monitors, "n1", 6, "lease", 2, state="valid", epoch=1, until_ns=9) == []


def test_one_event_may_break_several_properties() -> None:
    monitors = begin()
    tell(monitors, "n1", 1, "commit", 2, index=2)
    tell(monitors, "n1", 1, "apply", 2, first=1, entries=[[2, 7], [2, 8]])
    tell(monitors, "n2", 1, "commit", 2, index=1)
    found = tell(monitors, "n2", 2, "apply", 2, first=1, entries=[[1, 9], [2, 8]])
    assert sorted(found) == ["P-LM", "P-ORD", "P-SM"]


def test_evidence_names_node_boot_number_and_time() -> None:
    """Counted from the boot, as in the node's file."""
    monitors = begin()
    tell(monitors, "n1", 1, "commit", 2, index=5)
    monitors.event("n1", 2, 2 * MS, 2 * MS, "boot", 2, BOOT)
    monitors.event("n1", 2, 3 * MS, 3 * MS, "commit", 2, {"index": 5})
    (finding,) = monitors.event("n1", 2, 4 * MS, 4 * MS, "commit", 2, {"index": 4})
    before, after = finding.evidence
    assert (before.file, before.index, before.time) == ("nodes/n1/events.2.jsonl", 1, 3 * MS)
    assert (after.file, after.index, after.time) == ("nodes/n1/events.2.jsonl", 2, 4 * MS)


def test_whole_logs_can_be_given() -> None:
    monitors = begin()
    tell(monitors, "n1", 1, "commit", 2, index=1)
    tell(monitors, "n1", 1, "apply", 2, first=1, entries=[[2, 7]])
    tell(monitors, "n2", 2, "become_leader", 3, last_index=3, last_term=2)
    found = monitors.log("n2", 1, 2 * MS, 3, 1, [(1, 9), (2, 8), (2, 9)])
    assert [finding.property for finding in found] == ["P-LC"]


@pytest.mark.parametrize("name", KINDS)
def test_an_event_of_any_kind_can_be_told_in_its_own_words(name: str) -> None:
    """The names of the fields are those of the file, also where they are no names in Python."""
    fields: dict[str, Any] = {
        "boot": BOOT,
        "clock_set": {"rate": 1.0, "offset_ns": 0},
        "vote_granted": {"candidate": "n1"},
        "become_leader": {"last_index": 0, "last_term": 0},
        "step_down": {"reason": "shutdown"},
        "lease": {"state": "valid", "epoch": 1, "until_ns": 5},
        "append_ack": {"leader": "n1", "last_index": 0},
        "commit": {"index": 0},
        "apply": {"first": 1, "entries": []},
        "truncate": {"from": 1},
        "term_change": {"from": 0, "reason": "candidate"},
        "snapshot_saved": {"index": 0, "last_term": 0, "digest": 0, "size": 0},
        "snapshot_loaded": {"index": 0, "last_term": 0, "digest": 0, "source": "install"},
        "log_cut": {"first": 1},
        "log_reset": {"first": 1},
        "log_dump": {"first": 1, "entries": []},
        "progress": {"first_index": 1, "snapshot": 0, "applied": 0, "committed": 0, "last": 0},
        "conf_change": {
            "index": 0, "members": ("n1",), "old": (), "witnesses": (), "stage": "commit",
        },
    }.get(name, {})  # fmt: skip
    assert tell(begin(), "n1", 1, name, 1, **fields) == []
