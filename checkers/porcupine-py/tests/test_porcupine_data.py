"""The verdicts on Porcupine's own test data are the known ones.

A selection lies in tests/data, with its licence; all of it is judged where the project's shared folder is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from porcupine import CheckResult, check, check_operations, check_operations_verbose
from porcupine.formats import read_etcd_log, read_kv_log
from porcupine.models import append_kv, cas_register

HERE = Path(__file__).parent / "data"
LINEARIZABLE = frozenset((HERE / "etcd/linearizable.txt").read_text(encoding="ascii").split())
ABSENT = "PORCUPINE_DATA names no folder of Porcupine's test data, and none is in shared/data above this one"


def judge_etcd(lab: Any, path: Path) -> str:
    history = read_etcd_log(path.read_text())
    result = check(history, cas_register(), timeout_s=60)
    if result.verdict == "ok":
        order = result.linearization[0]
        assert lab.objection(cas_register(), history, order) is None
    else:
        assert result.witness is not None
        assert result.witness.partials
        for partial in result.witness.partials:
            assert lab.objection(cas_register(), history, partial, full=False) is None
    return result.verdict


def test_the_selection_is_there() -> None:
    assert len(list(HERE.glob("etcd/*.log"))) == 13
    assert len(list(HERE.glob("kv/*.txt"))) == 4


@pytest.mark.parametrize("path", sorted(HERE.glob("etcd/*.log")), ids=lambda path: path.stem)
def test_an_etcd_history_gets_its_known_verdict(lab: Any, path: Path) -> None:
    assert judge_etcd(lab, path) == ("ok" if path.stem[-3:] in LINEARIZABLE else "illegal")


def test_all_etcd_histories_get_their_known_verdicts(lab: Any) -> None:
    shared = lab.shared_porcupine()
    if shared is None:
        pytest.skip(ABSENT)
    logs = [path for path in sorted((shared / "jepsen").glob("*.log")) if path.stat().st_size]
    assert len(logs) == 102
    found = {path.stem[-3:] for path in logs if judge_etcd(lab, path) == "ok"}
    assert found == LINEARIZABLE


@pytest.mark.parametrize("name", ["c01-ok", "c01-bad", "c10-ok", "c10-bad"])
def test_a_kv_history_is_what_its_name_says(name: str) -> None:
    history = read_kv_log((HERE / "kv" / f"{name}.txt").read_text())
    assert check_operations(append_kv(), history) is name.endswith("ok")


@pytest.mark.parametrize("name", ["c50-ok", "c50-bad"])
def test_a_large_kv_history_is_what_its_name_says(lab: Any, name: str) -> None:
    shared = lab.shared_porcupine()
    if shared is None:
        pytest.skip(ABSENT)
    history = read_kv_log((shared / "kv" / f"{name}.txt").read_text())
    result = check(history, append_kv(), step_limit=3_000_000)
    assert result.verdict == ("ok" if name.endswith("ok") else "illegal"), str(result)


def test_an_illegal_part_ends_the_check_early() -> None:
    """c10-bad has keys that are hard and one that is quickly refuted: a fraction of the parts is decided."""
    history = read_kv_log((HERE / "kv" / "c10-bad.txt").read_text())
    result = check(history, append_kv())
    assert result.verdict == "illegal"
    assert result.progress.parts_decided < result.progress.parts
    assert result.witness is not None
    assert {history[i].input[1] for i in result.witness.operations} == {result.witness.part}


def test_a_verbose_check_decides_every_part() -> None:
    history = read_kv_log((HERE / "kv" / "c10-ok.txt").read_text())
    verdict, info = check_operations_verbose(append_kv(), history, 60)
    assert verdict is CheckResult.OK
    assert sum(len(orders[0]) for orders in info.partial_linearizations()) == len(history)


def test_forgetting_failed_compare_and_sets_never_makes_a_history_illegal() -> None:
    for path in sorted(HERE.glob("etcd/*.log")):
        text = path.read_text()
        if check_operations(cas_register(), read_etcd_log(text)):
            assert check_operations(cas_register(), read_etcd_log(text, failed_cas="dropped"))


def test_what_a_failed_compare_and_set_means_can_decide_a_verdict() -> None:
    rows = ["0 :invoke :write 1", "0 :ok :write 1", "1 :invoke :cas [1 2]", "1 :fail :cas [1 2]"]
    text = "\n".join(f"INFO  jepsen.util - {row}" for row in rows)
    assert not check_operations(cas_register(), read_etcd_log(text))
    assert check_operations(cas_register(), read_etcd_log(text, failed_cas="dropped"))


def test_every_file_of_known_verdict_gets_it_from_the_command_lines_reader(lab: Any) -> None:
    """By content and with each tool's own conventions, as benchmarks/verdicts.py does it."""
    shared = lab.shared_porcupine()
    if shared is None:
        pytest.skip(ABSENT)
    program = Path(__file__).parents[1] / "benchmarks" / "verdicts.py"
    done = subprocess.run(
        [sys.executable, program, shared], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("all as known\n")
