"""Whole runs: from the command line to the verdict, and what is left when a run is ended from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

DRIFTLINE = [sys.executable, "-P", "-m", "harness"]
SMALL = ["--nodes", "3", "--clients", "6", "--plain"]
SHORT = [*SMALL, "--time", "6"]
UP_S = 20.0


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DRIFTLINE, "run", *words, "--runs", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *words: str) -> tuple[int, str, Path]:
    """(exit code, output, run folder)"""
    process = start(folder, *words)
    output, _ = process.communicate(timeout=90)
    return process.returncode, output, folder / "latest"


def verdict(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "verdict.json").read_bytes())
    return found


def wait_for(folder: Path, phase: str) -> Path:
    """The run folder, once the run has entered `phase`."""
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline:
        facts = folder / "latest" / "run.jsonl"
        if facts.exists() and f'"name":"{phase}"' in facts.read_text():
            return (folder / "latest").resolve()
        time.sleep(0.05)
    raise AssertionError(f"the run did not come to {phase}")


def living(run_folder: Path) -> list[str]:
    """Processes whose command line or working folder names this run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            place = os.readlink(entry / "cwd")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and (str(run_folder) in line or str(run_folder) in place):
            found.append(f"{entry.name} {line}")
    return found


def test_a_correct_group_under_faults_is_never_invalid(tmp_path: Path) -> None:
    code, output, folder = run(tmp_path, *SHORT, "--seed", "11")
    found = verdict(folder)
    assert found["verdict"] in ("valid", "insufficient coverage"), output
    assert found["findings"] == []
    assert code == found["exit_code"]
    assert "--seed 11" in output.strip().splitlines()[-1]
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_seeded_bug_is_found_and_named(tmp_path: Path) -> None:
    code, output, folder = run(
        tmp_path, *SHORT, "--seed", "3", "--bug", "follower_local_read", "--fail-on", "none"
    )
    found = verdict(folder)
    assert found["verdict"] == "invalid", output
    assert "P-LIN" in {finding["property"] for finding in found["findings"]}
    assert code == 0
    again = subprocess.run(
        [*DRIFTLINE, "check", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 1, again.stdout + again.stderr


def test_a_watched_run_ends_its_faults_at_the_first_violation(tmp_path: Path) -> None:
    code, output, folder = run(
        tmp_path,
        *SMALL,
        *("--time", "60", "--seed", "3", "--bug", "follower_local_read"),
        "--stop-at-first-violation",
    )
    found = verdict(folder)
    assert (found["verdict"], code) == ("invalid", 1), output
    assert not found["interrupted"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()[1:]]
    assert history[found["stopped_at"]]["type"] == "ok"
    assert f"stopped at event {found['stopped_at']}" in " ".join(output.split())
    phases = {
        fact["name"]: fact["time"]
        for fact in map(json.loads, (folder / "run.jsonl").read_text().splitlines()[1:])
        if fact["what"] == "phase"
    }
    # The phases after it are those of every run.
    assert {"heal_all", "liveness_all", "final_reads", "end"} <= phases.keys()
    assert history[found["stopped_at"]]["time"] < phases["heal_all"]
    assert phases["heal_all"] - phases["quiet"] < 60 * 10**9
    assert living(folder) == []


def test_a_watched_run_is_stopped_by_what_the_nodes_events_show(tmp_path: Path) -> None:
    """A forgotten vote need not show in any operation."""
    code, output, folder = run(
        tmp_path,
        *("--plan", "plans/bug/vote_not_persisted.toml", "--bug", "vote_not_persisted"),
        *("--time", "60", "--seed", "5"),
        "--stop-at-first-violation",
    )
    found = verdict(folder)
    # The plan expects it.
    assert (found["verdict"], code) == ("invalid", 0), output
    assert "P-EL" in {finding["property"] for finding in found["findings"]}
    assert (
        f"the run was stopped at event {found['stopped_at']} of its history for P-EL"
        in found["watch"]
    )
    assert living(folder) == []


def test_a_watched_run_without_a_violation_goes_on_to_its_end(tmp_path: Path) -> None:
    _, output, folder = run(
        tmp_path, *SHORT, "--seed", "11", "--faults", "none", "--stop-at-first-violation"
    )
    found = verdict(folder)
    assert found["findings"] == [], output
    assert (found["stopped_at"], found["watch"]) == (None, "")
    assert living(folder) == []


def test_after_kill_9_of_the_harness_nothing_is_left_and_the_records_can_be_judged(
    tmp_path: Path,
) -> None:
    process = start(tmp_path, *SMALL, "--time", "30", "--seed", "5")
    folder = wait_for(tmp_path, "safety")
    time.sleep(1.5)
    assert living(folder)
    process.kill()
    process.communicate()
    time.sleep(2.0)
    assert living(folder) == []
    judged = subprocess.run(
        [*DRIFTLINE, "check", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert judged.returncode in (0, 3), judged.stdout + judged.stderr


def test_ctrl_c_heals_judges_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, *SMALL, "--time", "30", "--seed", "6")
    folder = wait_for(tmp_path, "safety")
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 130, output
    found = verdict(folder)
    assert found["interrupted"]
    assert found["findings"] == []
    assert living(folder) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_link_server_struck_from_outside_is_replaced_and_told(
    tmp_path: Path, number: int
) -> None:
    process = start(tmp_path, *SHORT, "--seed", "7", "--faults", "none")
    folder = wait_for(tmp_path, "safety")
    server = next(int(line.split()[0]) for line in servers(folder) if "toxiproxy-server" in line)
    os.kill(server, number)
    output, _ = process.communicate(timeout=60)
    found = verdict(folder)
    assert found["findings"] == [], output
    incidents = [
        json.loads(line)
        for line in (folder / "run.jsonl").read_text().splitlines()
        if '"link_incident"' in line
    ]
    assert incidents, output
    assert living(folder) == []


def servers(folder: Path) -> list[str]:
    """Link servers of this run: children of the same warden as its nodes."""
    parents = {
        (Path("/proc") / line.split()[0] / "stat").read_text().rpartition(")")[2].split()[1]
        for line in living(folder)
        if "-m node" in line
    }
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if stat[1] in parents:
                found.append(f"{entry.name} {line}")
    return found


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    one = start(tmp_path / "one", *SHORT, "--seed", "8")
    two = start(tmp_path / "two", *SHORT, "--seed", "8")
    for process, name in ((one, "one"), (two, "two")):
        output, _ = process.communicate(timeout=120)
        found = verdict(tmp_path / name / "latest")
        assert found["verdict"] in ("valid", "insufficient coverage"), output
    plans = [(tmp_path / name / "latest" / "expanded.json").read_bytes() for name in ("one", "two")]
    assert plans[0] == plans[1]
