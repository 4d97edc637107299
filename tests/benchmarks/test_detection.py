"""The campaign over seeded bugs: which runs a command asks for, that rows are made once, and what the tables say."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import detection
from benchmarks.detection import Row, Run, campaign, control_table, found_table, runs_of
from node.raft.bugs import CATALOGUE


def asked(**fields: Any) -> list[Run]:
    plain = {"what": "own", "bugs": "", "seeds": "1..2", "time": 60.0, "runs": 50}
    return runs_of(Namespace(**plain | fields))


def test_all_the_bugs_that_runs_are_held_to_find_are_in_the_catalogue() -> None:
    assert set(detection.BUGS) <= CATALOGUE.keys()
    assert len(asked()) == 2 * len(set(detection.BUGS))


def test_a_run_is_as_long_as_its_plan_and_no_longer_than_asked() -> None:
    own, default = asked(bugs="double_vote,follower_local_read", seeds="3")
    assert (own.plan, own.seed, own.time_s) == ("bug/double_vote", 3, 20.0)
    assert (default.plan, default.seed, default.time_s) == ("default", 3, 30.0)
    assert asked(bugs="follower_local_read", time=10.0)[0].time_s == 10.0


def test_controls_take_the_plans_in_turns_without_their_bug() -> None:
    runs = asked(what="controls", bugs="double_vote,no_log_check", runs=5)
    assert [(run.plan, run.seed) for run in runs] == [
        ("default", 1),
        ("bug/double_vote", 1),
        ("bug/no_log_check", 1),
        ("default", 2),
        ("bug/double_vote", 2),
    ]
    assert {run.bug for run in runs} == {""}


def test_an_unknown_bug_is_refused() -> None:
    with pytest.raises(SystemExit, match="no_such_bug"):
        asked(bugs="no_such_bug")


def test_a_campaign_that_was_cut_short_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Run] = []

    def carry_out(run: Run, folder: Path) -> Row:
        made.append(run)
        return Row(run=run, verdict="valid")

    monkeypatch.setattr(detection, "carry_out", carry_out)
    first, both = asked(seeds="1"), asked(seeds="1..2")
    assert len(list(campaign(first, tmp_path, 2))) == len(first)
    rows = list(campaign(both, tmp_path, 2))
    assert {row.run for row in rows} == set(both)
    assert sorted(made, key=repr) == sorted(both, key=repr)


def test_the_table_says_how_often_by_what_and_how_soon() -> None:
    rows = [
        Row(run=Run("b", "bug/b", 1, 20.0), verdict="invalid", found={"P-LIN": 3}, first_s=4.2),
        Row(run=Run("b", "bug/b", 2, 20.0), verdict="invalid", found={"P-LIN": 1, "P-SM": 1}, first_s=9.9),
        Row(run=Run("b", "bug/b", 3, 20.0), verdict="valid"),
        Row(run=Run("c", "default", 1, 30.0), verdict="insufficient coverage"),
    ]  # fmt: skip
    assert list(found_table(rows))[2:] == [
        "| b | its own | 2 of 3 | P-LIN 2, P-SM 1 | 4 to 10 | 1 valid |",
        "| c | default | 0 of 1 |  |  | 1 insufficient coverage |",
    ]


def test_a_control_that_is_not_clean_is_told() -> None:
    rows = [
        Row(run=Run("", "default", 1, 30.0), verdict="valid"),
        Row(run=Run("", "default", 2, 30.0), verdict="invalid", found={"P-EL": 1}, headline="two leaders", folder="/r"),
    ]  # fmt: skip
    lines = "\n".join(control_table(rows))
    assert "| default | 2 | 1 | 1 valid, 1 invalid |" in lines
    assert "default seed 2: two leaders\n/r" in lines
