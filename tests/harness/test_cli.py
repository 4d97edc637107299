"""The command line: every way out has the exit code that docs/architecture.md promises."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.records.schema import EXIT_CODES, Finding, Verdict
from harness import cli, doctor
from harness.live import JsonLines, PlainLines
from harness.observer import Observer, Progress
from harness.plan import Plan, PlanError
from tests.harness.report import sample

Runner = Callable[..., Any]


class Result(msgspec.Struct):
    run_dir: Path
    verdict: Verdict


def verdict(name: str = "valid", **fields: Any) -> Verdict:
    base: dict[str, Any] = {
        "run": "r1",
        "verdict": name,
        "exit_code": EXIT_CODES[name],
        "headline": f"this is {name}",
        "rerun": "driftline run --seed 7",
    }
    return Verdict(**(base | fields))


@pytest.fixture
def conduct(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runner], None]:
    """Put a function (plan, seed) -> Verdict, or one that raises, in the conductor's place."""

    def install(judged: Runner) -> None:
        async def run(plan: Plan, seed: int, runs_dir: Path, observer: Observer) -> Result:
            observer.started(str(runs_dir / "r1"), seed, plan.name)
            observer.note("phase safety", {"phase": "safety"})
            observer.progress(
                Progress(
                    phase="safety", seconds_left=3.0, outcomes={"ok": 9.0}, leader="n1", term=2
                )
            )
            return Result(runs_dir / "r1", judged(plan, seed))

        module = types.ModuleType("harness.run")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "harness.run", module)

    return install


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--bogus"],
        ["nonsense"],
        ["run", "--nodes", "many"],
        ["run", "--nodes", "0"],
        ["run", "--time", "-1"],
        ["run", "--links", "string"],
        ["run", "--seed", "-1"],
        ["run", "--seed", str(2**64)],
        ["run", "--seeds", "5..x"],
        ["run", "--seeds", "9..2"],
        ["run", "--seed", "1", "--seeds", "1..2"],
        ["run", "--faults", "earthquake"],
        ["run", "--fail-on", "sadness"],
        ["run", "--plan", "/nowhere/plan.toml"],
        ["show", "/nowhere/run"],
        ["report", "/nowhere/run"],
        ["check"],
        ["export", "/nowhere", "--to", "csv"],
    ],
)
def test_wrong_usage_is_64_with_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("driftline: ")
    assert said.err.count("\n") == 1


def test_a_plan_that_cannot_be_used_is_64_and_names_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "bad.toml"
    plan.write_text("[faults]\nintensitty = 1.0\n")
    assert cli.main(["run", "--plan", str(plan)]) == 64
    assert "intensitty" in capsys.readouterr().err


def test_a_plan_refused_by_the_conductor_is_64(conduct: Any) -> None:
    def refuse(plan: Plan, seed: int) -> Verdict:
        raise PlanError("4 clients, 5 nodes: give at least as many clients as nodes")

    conduct(refuse)
    assert cli.main(["run", "--seed", "1"]) == 64
    assert cli.main(["run", "--seeds", "1..3"]) == 64


@pytest.mark.parametrize("name", list(EXIT_CODES))
def test_a_run_exits_by_its_verdict_and_ends_with_the_line_that_runs_it_again(
    name: str, conduct: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    conduct(lambda plan, seed: verdict(name))
    assert cli.main(["run", "--seed", "7", "--runs", str(tmp_path)]) == EXIT_CODES[name]
    assert capsys.readouterr().out.splitlines()[-1] == "again:  driftline run --seed 7"


def test_fail_on_chooses_the_verdicts_that_count(conduct: Any) -> None:
    conduct(lambda plan, seed: verdict("insufficient coverage"))
    assert cli.main(["run", "--fail-on", "invalid,harness-error"]) == 0
    assert cli.main(["run", "--fail-on", "insufficient"]) == 3
    assert cli.main(["run", "--fail-on", "none"]) == 0


def test_an_interrupted_run_is_130_after_its_verdict(
    conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    conduct(lambda plan, seed: verdict("valid", interrupted=True))
    assert cli.main(["run"]) == 130
    assert "VALID" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("lost"), 4),
        (SystemExit(1), 4),
        (AssertionError(), 4),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("g", [ExceptionGroup("h", [PlanError("no")])]), 64),
        (ExceptionGroup("g", [ValueError("a"), OSError("b")]), 4),
        (BaseExceptionGroup("g", [ValueError("a"), KeyboardInterrupt()]), 130),
    ],
)
def test_no_exception_leaves_with_a_verdicts_code(
    error: BaseException, code: int, conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(plan: Plan, seed: int) -> Verdict:
        raise error

    conduct(fail)
    assert cli.main(["run"]) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    if code == 4:
        kept = Path(said.rpartition("traceback: ")[2].strip().rstrip(")"))
        assert "Traceback" in kept.read_text() or "Exception Group" in kept.read_text()
        kept.unlink()


def test_debug_prints_the_traceback(conduct: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(plan: Plan, seed: int) -> Verdict:
        raise ValueError("lost")

    conduct(fail)
    assert cli.main(["--debug", "run"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_a_run_without_a_seed_draws_one_and_says_it(
    conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds: list[int] = []

    def judged(plan: Plan, seed: int) -> Verdict:
        seeds.append(seed)
        return verdict(rerun="")

    conduct(judged)
    cli.main(["run", "--time", "5", "--bug", "read_no_check", "--faults", "none"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"again:  driftline run --time 5 --faults none --bug read_no_check --seed {seeds[0]}"
    )


def test_options_lie_over_the_plan(conduct: Any, tmp_path: Path) -> None:
    plans: list[Plan] = []

    def judged(plan: Plan, seed: int) -> Verdict:
        plans.append(plan)
        return verdict()

    conduct(judged)
    file = tmp_path / "p.toml"
    file.write_text('name = "mine"\nclients = 4\nbugs = ["one"]\n[faults]\nkinds = ["kill"]\n')
    words = "--nodes 3 --bug two --bug one --intensity 2 --read-mode lease,readindex"
    assert cli.main(["run", "--plan", str(file), *words.split(), "--links", "embedded"]) == 0
    (plan,) = plans
    assert (plan.name, plan.clients, plan.nodes, plan.links) == ("mine", 4, 3, "embedded")
    assert plan.bugs == ["one", "two"]
    assert plan.faults.kinds == ("kill",)
    assert plan.faults.intensity == 2.0
    assert plan.workload.params == {"read_modes": ["lease", "readindex"]}


def test_json_is_one_object_a_line_and_the_last_is_the_verdict(
    conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    conduct(lambda plan, seed: verdict("unknown"))
    assert cli.main(["run", "--json", "--seed", "3"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["what"] for line in lines] == ["started", "note", "progress", "verdict"]
    assert lines[-1]["verdict"]["verdict"] == "unknown"
    assert lines[-1]["exit_code"] == 2
    assert lines[-1]["seed"] == 3


def test_several_seeds_end_with_a_table_and_the_worst_code(
    conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Finding(property="P-LIN", text="stale")

    def judged(plan: Plan, seed: int) -> Verdict:
        if seed == 2:
            return verdict("invalid", findings=[bad, bad], coverage={"ops": {"read": {"ok": 5}}})
        if seed == 3:
            raise OSError("no room")
        return verdict()

    conduct(judged)
    assert cli.main(["run", "--seeds", "1..4"]) == 1
    out = capsys.readouterr().out.splitlines()
    row = next(line for line in out if line.startswith("   2  "))
    assert row.split() == ["2", "invalid", "P-LINx2", "5", "0", "r1"]
    assert any("harness error" in line and "no room" in line for line in out)
    assert out[-1] == "again (the first with a finding): driftline run --seed 2"
    assert cli.main(["run", "--seeds", "3..3"]) == 4
    assert cli.main(["run", "--seeds", "1..4", "--until-finding"]) == 1
    assert "stopped early: a finding" in capsys.readouterr().out


def test_unfit_records_are_worse_than_invalid(conduct: Any) -> None:
    def judged(plan: Plan, seed: int) -> Verdict:
        if seed == 1:
            return verdict("harness error", harness_errors=["unfit records: time goes back"])
        return verdict("invalid")

    conduct(judged)
    assert cli.main(["run", "--seeds", "1..2"]) == 4


def test_the_demo_passes_only_if_the_bug_is_caught(
    conduct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    conduct(lambda plan, seed: verdict("invalid" if plan.bugs else "valid"))
    assert cli.main(["demo", "--short", "--seed", "5"]) == 0
    assert "again:  driftline demo --short --seed 5" in capsys.readouterr().out
    conduct(lambda plan, seed: verdict("valid"))
    assert cli.main(["demo", "--short"]) == 4
    conduct(lambda plan, seed: verdict("invalid"))
    assert cli.main(["demo", "--short"]) == 1


def test_show_and_report_tell_the_story_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = sample.make(tmp_path / "runs" / sample.RUN, seconds=9)
    (tmp_path / "runs" / "latest").symlink_to(sample.RUN)
    runs = ["--runs", str(tmp_path / "runs")]
    assert cli.main(["show", "--ops", "5", *runs]) == 0
    out = capsys.readouterr().out
    assert "INVALID" in out
    assert "pause leader" in out
    assert cli.main(["report", sample.RUN, *runs]) == 0
    assert (run_dir / "report.html").exists()


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.cli import main; main(['--help']);"
        "print([m for m in ('trio','httpx','msgspec','porcupine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_silences_the_lines_and_leaves_the_run_alone() -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    for kind in (PlainLines, JsonLines):
        observer = kind(Closed())  # type: ignore[arg-type]
        observer.started("r", 1, "p")
        observer.note("n", {})
        observer.progress(Progress(phase="up", seconds_left=1.0, leader="n1", term=1))


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runner], None]:
    """Put a function (path) -> Verdict, or one that raises, in the judge's place."""

    def install(judged: Runner) -> None:
        module = types.ModuleType("checkers.judge")
        module.judge = judged  # type: ignore[attr-defined]
        module.judge_file = lambda path, model=None: judged(path)  # type: ignore[attr-defined]
        saved = types.ModuleType("checkers.verdict")

        def write_verdict(run_dir: Path, verdict: Verdict) -> None:
            (run_dir / "verdict.json").write_bytes(msgspec.json.encode(verdict))

        saved.write_verdict = write_verdict  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "checkers.judge", module)
        monkeypatch.setitem(sys.modules, "checkers.verdict", saved)

    return install


def test_a_damaged_history_is_64_with_one_line(
    judging: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = type("RecordsError", (Exception,), {"__module__": "checkers.records.reading"})

    def refuse(path: Path) -> Verdict:
        raise kind(f"{path}: line 7 is no event\nof a history")

    judging(refuse)
    file = tmp_path / "history.jsonl"
    file.write_text("{}")
    assert cli.main(["check", str(file)]) == 64
    assert cli.main(["check", str(sample.make(tmp_path / "run", seconds=4))]) == 64
    assert capsys.readouterr().err.count("\n") == 2


def test_check_judges_again_and_leaves_the_records_alone(
    judging: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judging(lambda path: verdict("insufficient coverage"))
    run_dir = sample.make(tmp_path / "run", seconds=4)
    before = {path: path.read_bytes() for path in run_dir.rglob("*.jsonl")}
    assert cli.main(["check", str(run_dir), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "insufficient coverage"
    assert before == {path: path.read_bytes() for path in run_dir.rglob("*.jsonl")}
    assert b"insufficient" in (run_dir / "verdict.json").read_bytes()
    assert (run_dir / "report.html").exists()
    file = tmp_path / "foreign.edn"
    file.write_text("{}")
    assert cli.main(["check", str(file)]) == 3
    assert cli.main(["check", str(run_dir), "--model", "register"]) == 64


def test_a_failing_report_never_loses_the_verdict(
    judging: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr("harness.report.render", fail)
    judging(lambda path: verdict("invalid"))
    run_dir = sample.make(tmp_path / "run", seconds=4)
    assert cli.main(["check", str(run_dir)]) == 1
    assert b"this is invalid" in (run_dir / "verdict.json").read_bytes()


def test_doctor_measures_a_clock_by_its_closest_readings() -> None:
    """On a busy host a child may wait for the processor between two of ours: here before every other answer."""
    child = (
        "import sys, time\n"
        "for n, _ in enumerate(sys.stdin):\n"
        "    if n % 2: time.sleep(0.06)\n"
        "    now = 2 * time.monotonic_ns()\n"
        "    print(now, flush=True)\n"
    )
    assert 1.95 < doctor._rate_of([sys.executable, "-c", child]) < 2.05


def test_doctor_tries_each_tool_and_names_a_mend_for_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_TOXIPROXY_SERVER", str(tmp_path / "nothing"))
    assert cli.main(["doctor", "--json", "--runs", str(tmp_path / "runs")]) == 4
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert found["toxiproxy"]["status"] == "no"
    assert found["toxiproxy"]["mend"] == "make setup"
    for name in ("embedded links", "node clock", "stop and continue", "free ports"):
        assert found[name]["status"] == "yes", found[name]
    assert not list(tmp_path.iterdir())
