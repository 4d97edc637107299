"""From a run folder to its verdict: whole runs, runs that ended early, files cut anywhere, files that are missing."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import judge as judging
from checkers import linearizability
from checkers.judge import judge, judge_file
from checkers.linearizability import LinearizabilityResult
from checkers.records.reading import RecordsError
from checkers.records.schema import Finding, Interrupted, Verdict, WorkloadHeader
from tests.checkers import made
from tests.harness.report import sample

MODEL = "workloads.register:model"


@pytest.fixture(autouse=True)
def search_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is linearizability.py's own affair; here it would only take time."""

    @contextmanager
    def search(path: Path, model: str | None) -> Iterator[Callable[[], LinearizabilityResult]]:
        yield lambda: linearizability.judge_history(path, model=model)

    monkeypatch.setattr(judging, "_search", search)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made.run_folder(tmp_path / "run")


def change(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def append_facts(run: Path, *facts: Any) -> None:
    path = run / "run.jsonl"
    count = len(path.read_bytes().splitlines()) - 1
    with path.open("ab") as file:
        for index, fact in enumerate(facts, start=count):
            file.write(msgspec.json.encode(msgspec.structs.replace(fact, index=index)) + b"\n")


def statuses(verdict: Verdict) -> dict[str, str]:
    return {item.property: item.status for item in verdict.properties}


def unmet(verdict: Verdict) -> list[str]:
    return [quota.name for quota in verdict.quotas if not quota.reached]


def test_a_whole_run_is_valid_and_everything_was_checked(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    verdict = judge(run)
    assert (verdict.verdict, verdict.exit_code) == ("valid", 0), verdict.headline
    assert set(statuses(verdict).values()) == {"holds"}
    assert {assumed.status for assumed in verdict.assumptions} == {"holds"}
    assert unmet(verdict) == verdict.recovered == verdict.harness_errors == []
    assert verdict.rerun == "driftline run --seed 7"
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_sample_of_the_report_can_be_judged(tmp_path: Path) -> None:
    verdict = judge(sample.make(tmp_path / "run", seconds=9))
    assert verdict.verdict == "invalid"
    assert "P-LIN" in {finding.property for finding in verdict.findings}
    assert verdict.links == "toxiproxy"


def test_a_result_that_belongs_to_the_history_is_taken(run: Path) -> None:
    crc = f"{zlib.crc32((run / 'history.jsonl').read_bytes()):08x}"
    found = LinearizabilityResult(
        history_crc=crc, status="violated", findings=[Finding(property="P-LIN", text="stale")]
    )
    (run / "linearizability.json").write_bytes(msgspec.json.encode(found))
    assert judge(run).verdict == "invalid"
    other = msgspec.structs.replace(found, history_crc="00000000")
    (run / "linearizability.json").write_bytes(msgspec.json.encode(other))
    assert judge(run).verdict == "valid"
    (run / "linearizability.json").write_bytes(b"{")
    assert judge(run).verdict == "valid"


def test_a_checker_that_did_not_come_to_an_end_leaves_it_undecided(run: Path) -> None:
    crc = f"{zlib.crc32((run / 'history.jsonl').read_bytes()):08x}"
    found = LinearizabilityResult(history_crc=crc, status="unknown", because="out of memory")
    (run / "linearizability.json").write_bytes(msgspec.json.encode(found))
    verdict = judge(run)
    assert (verdict.verdict, verdict.exit_code) == ("unknown", 2)
    assert "out of memory" in verdict.headline


# ---- runs that ended early -----------------------------------------------------------------------


def test_a_harness_that_failed_is_a_harness_error(run: Path) -> None:
    append_facts(
        run, Interrupted(index=0, time=10**10, by="harness error", harness_error="it broke")
    )
    verdict = judge(run)
    assert (verdict.verdict, verdict.exit_code) == ("harness error", 4)
    assert verdict.harness_errors == ["it broke"]
    assert not verdict.interrupted


def test_an_interrupted_run_is_judged_and_marked(run: Path) -> None:
    append_facts(run, Interrupted(index=0, time=10**10, by="SIGINT"))
    verdict = judge(run)
    assert verdict.interrupted
    assert "interrupted by SIGINT" in verdict.headline


def test_a_run_that_ended_early_is_judged_by_its_quotas_and_says_where_it_ended(run: Path) -> None:
    def until_safety(lines: list[bytes]) -> list[bytes]:
        end = next(i for i, line in enumerate(lines) if b'"heal_quorum"' in line)
        return lines[:end]

    change(run / "run.jsonl", until_safety)
    verdict = judge(run)
    assert verdict.verdict == "valid"
    assert "the run is not whole: it ended in phase safety" in verdict.headline
    assert statuses(verdict)["P-LV"] == "not checked"
    change(run / "history.jsonl", lambda lines: lines[:30])
    verdict = judge(run)
    assert verdict.verdict == "insufficient coverage"
    assert "ok write" in unmet(verdict)


def cut_files() -> Iterator[str]:
    yield from ("history.jsonl", "faults.jsonl", "run.jsonl")
    yield from (f"nodes/{life}.jsonl" for life in ("n1/events.1", "n2/events.1", "n3/events.2"))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_files_cut_at_any_byte_are_judged_or_refused_and_never_valid_by_silence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """As a kill -9 of everything leaves them: each file ends somewhere, and what it lost is not taken for good."""
    base = tmp_path_factory.getbasetemp()
    whole = base / "whole"
    if not whole.exists():
        made.run_folder(whole)
    run = base / "cut"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    lost: set[str] = set()
    for name in data.draw(st.sets(st.sampled_from(list(cut_files())), min_size=1)):
        path = run / name
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        lost.add(name)
    refused, verdict = "", None
    try:
        verdict = judge(run)
    except RecordsError as error:
        refused = str(error)
    assert len(refused.splitlines()) <= 1
    if verdict is None:
        return
    assert verdict.findings == []
    # What was promised, counted here once more.
    oks = (run / "history.jsonl").read_bytes().count(b'"ok"')
    installed = (run / "faults.jsonl").read_bytes().count(b'"action":"installed"')
    if (
        oks < 40
        or installed < 2
        or b"become_leader" not in (run / "nodes/n2/events.1.jsonl").read_bytes()
    ):
        assert verdict.verdict == "insufficient coverage", verdict.headline
    assert verdict.verdict in ("valid", "insufficient coverage")
    if "run.jsonl" in lost and b'"end"' not in (run / "run.jsonl").read_bytes():
        assert "the run is not whole" in verdict.headline
    assert all(name in lost for name in verdict.recovered)


# ---- what is missing -----------------------------------------------------------------------------


def test_without_a_history_there_is_nothing_to_judge(tmp_path: Path, run: Path) -> None:
    (run / "history.jsonl").unlink()
    with pytest.raises(RecordsError, match=r"no history.jsonl"):
        judge(run)
    with pytest.raises(RecordsError, match="no such run folder"):
        judge(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["plan-facts.json", "run.jsonl", "faults.jsonl"])
def test_a_missing_record_is_a_missed_quota_and_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    verdict = judge(run)
    assert verdict.verdict == "insufficient coverage"
    assert any(name in quota for quota in unmet(verdict))
    assert name in verdict.headline


def test_a_node_that_told_nothing_leaves_its_monitors_unchecked(run: Path) -> None:
    (run / "nodes/n3/events.1.jsonl").unlink()
    (run / "nodes/n3/events.2.jsonl").unlink()
    verdict = judge(run)
    assert verdict.verdict == "insufficient coverage"
    assert statuses(verdict)["P-EL"] == statuses(verdict)["P-SM"] == "not checked"
    assert statuses(verdict)["P-LIN"] == "holds"
    assert "no events of n3 were recorded" in verdict.headline
    shutil.rmtree(run / "nodes")
    verdict = judge(run)
    assert statuses(verdict)["P-EL"] == "not checked"
    assert "no events of n1, n2, n3 were recorded" in verdict.headline


def test_a_system_that_reports_no_events_can_be_valid(tmp_path: Path) -> None:
    run = made.run_folder(
        tmp_path / "other",
        node_events=False,
        quotas=msgspec.structs.replace(
            made.plan_facts().quotas, forced_leader_changes=0, lease_read_at_cut_leader=0
        ),
    )
    shutil.rmtree(run / "nodes")
    verdict = judge(run)
    assert verdict.verdict == "valid"
    assert statuses(verdict)["P-EL"] == "not checked"
    assert statuses(verdict)["P-LV"] == "holds"
    assert "the system reports no events" in verdict.headline


def test_a_model_that_cannot_be_used_leaves_linearizability_unchecked(run: Path) -> None:
    header = made.header(workload=WorkloadHeader("x", "no.such:thing", {}))
    change(run / "history.jsonl", lambda lines: [msgspec.json.encode(header) + b"\n", *lines[1:]])
    verdict = judge(run)
    assert statuses(verdict)["P-LIN"] == "not checked"
    assert verdict.verdict == "insufficient coverage"
    assert "no.such" in verdict.headline


# ---- records that are unfit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("history.jsonl", lambda lines: lines[:5] + lines[6:]),
        ("history.jsonl", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
        ("nodes/n1/events.1.jsonl", lambda lines: lines[:2] + lines[3:]),
        ("faults.jsonl", lambda lines: [lines[0], *lines[2:]]),
        ("run.jsonl", lambda lines: [lines[0], *lines[2:]]),
        ("run.jsonl", lambda lines: [lines[0].replace(b'"r1"', b'"r2"'), *lines[1:]]),
        (
            "nodes/n1/events.1.jsonl",
            lambda lines: [lines[0].replace(b'"origin_ns":5', b'"origin_ns":6'), *lines[1:]],
        ),
    ],
)
def test_unfit_records_are_a_harness_error_above_all(
    run: Path, name: str, edit: Callable[[list[bytes]], list[bytes]]
) -> None:
    change(run / name, edit)
    verdict = judge(run)
    assert (verdict.verdict, verdict.exit_code) == ("harness error", 4)
    assert verdict.harness_errors[0].startswith(f"unfit records: {name}")
    assert verdict.findings == []
    assert set(statuses(verdict).values()) == {"not checked"}


# ---- findings ------------------------------------------------------------------------------------


def test_a_finding_of_the_nodes_events_makes_a_run_invalid(run: Path) -> None:
    path = run / "nodes/n2/events.1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"term":2,"event":"become_leader"',
                                               b'"term":1,"event":"become_leader"'))  # fmt: skip
    verdict = judge(run)
    assert verdict.verdict == "invalid"
    assert {finding.property for finding in verdict.findings} == {"P-EL"}


def lease_too_long(run: Path) -> None:
    path = run / "nodes/n1/events.1.jsonl"
    late = b'"t0":2600000000,"t1":2600001000'
    path.write_bytes(path.read_bytes().replace(b'"t0":1900000000,"t1":1900001000', late))
    path.write_bytes(path.read_bytes().replace(b'"t0":2000000000,"t1":2000001000', late))
    path.write_bytes(path.read_bytes().replace(b'"t0":2300000000,"t1":2300001000', late))


def fast_clock(run: Path) -> None:
    path = run / "run.jsonl"
    lines = []
    for line in path.read_bytes().splitlines(keepends=True):
        fact = msgspec.json.decode(line)
        if fact.get("what") == "clock" and fact["node"] == "n2":
            fact["clock"] = round(fact["clock"] * 1.4)
            line = msgspec.json.encode(fact) + b"\n"
        lines.append(line)
    path.write_bytes(b"".join(lines))


def test_a_lease_finding_stands_or_falls_with_the_measured_clocks(run: Path) -> None:
    lease_too_long(run)
    verdict = judge(run)
    assert verdict.verdict == "invalid", verdict.headline
    assert {finding.property for finding in verdict.findings} == {"P-LX"}
    fast_clock(run)
    verdict = judge(run)
    assert verdict.verdict == "harness error"
    assert verdict.findings[0].voided_by == ["clock bound"]
    facts = made.plan_facts(clock_outside_contract=True)
    (run / "plan-facts.json").write_bytes(msgspec.json.encode(facts))
    verdict = judge(run)
    assert verdict.verdict == "invalid"
    assert verdict.findings[0].outside_contract


def test_a_bug_that_was_expected_and_found_ends_well(run: Path) -> None:
    lease_too_long(run)
    facts = made.plan_facts(bugs=["lease_no_drift"], expect=["P-LX"])
    (run / "plan-facts.json").write_bytes(msgspec.json.encode(facts))
    verdict = judge(run)
    assert (verdict.verdict, verdict.expectation, verdict.exit_code) == ("invalid", "met", 0)
    facts = msgspec.structs.replace(facts, bugs=[])
    (run / "plan-facts.json").write_bytes(msgspec.json.encode(facts))
    assert judge(run).exit_code == 1


def test_a_traceback_in_a_log_is_found(run: Path) -> None:
    (run / "nodes/n1/err.1.log").write_text("Traceback (most recent call last):\n  x\nOops: 1\n")
    verdict = judge(run)
    assert verdict.verdict == "invalid"
    assert "Oops: 1" in verdict.headline


# ---- a history alone -----------------------------------------------------------------------------


def test_a_history_alone_is_judged_for_what_it_shows(run: Path) -> None:
    verdict = judge_file(run / "history.jsonl")
    assert (verdict.verdict, verdict.exit_code) == ("valid", 0)
    assert statuses(verdict)["P-LIN"] == "holds"
    assert statuses(verdict)["P-EL"] == "not checked"
    assert "a history alone does not show it" in verdict.headline


def test_a_stale_read_is_found_in_a_history_alone(run: Path) -> None:
    path = run / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"f":"read"' in line and b'"value":4' in line)
    lines[at] = lines[at].replace(b'"value":4', b'"value":2')
    path.write_bytes(b"".join(lines))
    verdict = judge_file(path, model=MODEL)
    assert (verdict.verdict, verdict.exit_code) == ("invalid", 1)


def test_a_history_of_nothing_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    made.write_lines(path, [made.header()])
    assert judge_file(path).verdict == "insufficient coverage"


def test_an_unfit_history_alone_is_a_harness_error(run: Path) -> None:
    change(run / "history.jsonl", lambda lines: lines[:5] + lines[6:])
    verdict = judge_file(run / "history.jsonl")
    assert verdict.verdict == "harness error"
    assert verdict.harness_errors[0].startswith("unfit records: ")


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="this is a folder"):
        judge_file(tmp_path)
    with pytest.raises(RecordsError, match="no such file"):
        judge_file(tmp_path / "nowhere")
    (tmp_path / "x").write_bytes(b"\x00\x01\x02")
    with pytest.raises(RecordsError):
        judge_file(tmp_path / "x")
