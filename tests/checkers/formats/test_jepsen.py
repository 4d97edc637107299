"""Jepsen's formats: what is exported means the same when it comes back, and each format is read as its own tool reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from checkers.formats import jepsen, open_foreign
from checkers.linearizability import command, judge_history, load
from checkers.records.fitness import unfit_reasons
from checkers.records.reading import RecordsError
from checkers.records.schema import HistoryEvent
from tests.checkers import written
from tests.checkers.test_linearizability import HOLDS, VIOLATED


def exported(tmp_path: Path, text: str) -> str:
    return jepsen.export(written.write(tmp_path / "history.jsonl", text))


def test_the_mapping_line_by_line(tmp_path: Path) -> None:
    text = """
        0: write k 1   [0 10] at n1
        1: cas k 1 2   [20 30]
        1: cas k 7 8 / 2 [40 50]
        2: read k 2    [60 70] lease at n2
        3: read k nil  [80 ! 90]
        4: write k two [100 ? 110]
        5: read k 2    [120 130] local at n3
        6: read k nil  [140 150]"""
    assert exported(tmp_path, text) == "\n".join(
        (
            '{:index 0, :time 0, :type :invoke, :process 0, :f :write, :value 1, :node "n1"}',
            '{:index 1, :time 10000000, :type :ok, :process 0, :f :write, :value 1, :node "n1"}',
            "{:index 2, :time 20000000, :type :invoke, :process 1, :f :cas, :value [1 2]}",
            "{:index 3, :time 30000000, :type :ok, :process 1, :f :cas, :value [1 2]}",
            "{:index 4, :time 40000000, :type :invoke, :process 1, :f :cas, :value [7 8]}",
            "{:index 5, :time 50000000, :type :fail, :process 1, :f :cas, :value [7 8], :saw 2}",
            '{:index 6, :time 60000000, :type :invoke, :process 2, :f :read, :value nil, :node "n2", :mode "lease"}',
            '{:index 7, :time 70000000, :type :ok, :process 2, :f :read, :value 2, :node "n2", :mode "lease"}',
            "{:index 8, :time 80000000, :type :invoke, :process 3, :f :read, :value nil}",
            "{:index 9, :time 90000000, :type :fail, :process 3, :f :read, :value nil}",
            '{:index 10, :time 100000000, :type :invoke, :process 4, :f :write, :value "two"}',
            '{:index 11, :time 110000000, :type :info, :process 4, :f :write, :value "two"}',
            "{:index 12, :time 140000000, :type :invoke, :process 6, :f :read, :value nil}",
            "{:index 13, :time 150000000, :type :ok, :process 6, :f :read, :value nil, :saw nil}",
            "",
        )
    )


def test_several_keys_become_independent_tuples(tmp_path: Path) -> None:
    lines = exported(tmp_path, "0: write a 1 [0 10]\n1: cas b nil 2 [0 10]").splitlines()
    assert ':f :write, :value ["a" 1]' in lines[0]
    assert ':f :cas, :value ["b" [nil 2]]' in lines[1]


NASTY = 'a "quoted\\"\nline\tand \u00fcml\u00e4ut \u2028'


def test_strings_survive(tmp_path: Path) -> None:
    events = [
        HistoryEvent(
            index=0, time=0, type="invoke", process=0, op=0, f="write", key="k", value=NASTY
        ),
        HistoryEvent(index=1, time=1, type="ok", process=0, op=0, f="write", key="k", value=NASTY),
    ]
    path = tmp_path / "back.edn"
    text = jepsen.export(written.write_events(tmp_path / "h", events))
    assert text.count("\n") == 2
    path.write_text(text, encoding="utf-8")
    assert [event.value for event in jepsen.read(path).events] == [NASTY, NASTY]


@pytest.mark.parametrize("name", [*HOLDS, *VIOLATED])
def test_the_way_out_and_back_keeps_the_verdict(tmp_path: Path, name: str) -> None:
    text = HOLDS[name] if name in HOLDS and name not in VIOLATED else VIOLATED[name][0]
    history = written.write(tmp_path / "history.jsonl", text)
    out = tmp_path / "history.edn"
    out.write_text(jepsen.export(history), encoding="utf-8")
    if not out.read_text():
        return
    found = open_foreign(out)
    assert found is not None
    assert found.format == jepsen.EDN
    assert unfit_reasons(found.events) == []
    assert judge_history(out).status == judge_history(history).status


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    text = """
        0: write a 1 [0 10] at n1
        1: cas b nil 2 [20 30]
        2: cas b 7 8 / 2 [40 50]
        3: read b 2 [60 70] lease at n2
        4: write a 5 [80 ? 90]
        6: write a 6 [81 -]"""
    path = tmp_path / "history.edn"
    path.write_text(exported(tmp_path, text))
    assert jepsen.read(path).events == written.events(text)


# ---- Knossos' conventions ------------------------------------------------------------------------


def edn(tmp_path: Path, *ops: str) -> Path:
    path = tmp_path / "some.edn"
    path.write_text("\n".join(f"{{{op}}}" for op in ops) + "\n")
    return path


def op(process: Any, kind: str, f: str, value: str, more: str = "") -> str:
    return f":process {process}, :type :{kind}, :f :{f}, :value {value}{more}"


def test_an_ok_read_of_nil_says_nothing_in_edn(tmp_path: Path) -> None:
    ops = [op(0, "invoke", "write", "1"), op(0, "ok", "write", "1")]
    ops += [op(0, "invoke", "read", "nil"), op(0, "ok", "read", "nil")]
    assert judge_history(edn(tmp_path, *ops)).status == "holds"
    marked = edn(tmp_path, *ops[:3], op(0, "ok", "read", "nil", ", :saw nil"))
    assert judge_history(marked).status == "violated"


def test_a_failed_cas_is_dropped_in_edn_and_an_observation_in_a_log(tmp_path: Path) -> None:
    ops = [op(0, "invoke", "write", "1"), op(0, "ok", "write", "1")]
    ops += [op(0, "invoke", "cas", "[1 2]"), op(0, "fail", "cas", "[1 2]")]
    assert judge_history(edn(tmp_path, *ops)).status == "holds"
    log = tmp_path / "some.log"
    log.write_text(
        "INFO  jepsen.util - 0\t:invoke\t:write\t1\n"
        "INFO  jepsen.util - 0\t:ok\t:write\t1\n"
        "INFO  jepsen.core - something else\n"
        "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n"
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\n"
        "INFO  jepsen.util - 0\t:fail\t:cas\t[1 2]\n"
    )
    result = judge_history(log)
    assert result.status == "violated"
    assert result.findings[0].evidence[0].file == "some.log"


def test_one_vector_records_tags_and_the_nemesis(tmp_path: Path) -> None:
    ops = [
        op(":nemesis", "info", "start", "nil"),
        op(0, "invoke", "write", '#jepsen.independent/tuple ["x" 1]', ", :time 5"),
        op(0, "ok", "write", '#jepsen.independent/tuple ["x" 1]', ", :time 9"),
    ]
    path = tmp_path / "history.edn"
    path.write_text("[" + "\n ".join(f"#jepsen.history.Op{{{o}}}" for o in ops) + "]")
    found = open_foreign(path)
    assert found is not None
    assert [(e.index, e.time, e.key, e.value) for e in found.events] == [
        (0, 5, "x", 1),
        (1, 9, "x", 1),
    ]


def test_a_torn_end_is_cut_and_said(tmp_path: Path) -> None:
    path = edn(tmp_path, op(0, "invoke", "write", "1"), op(0, "ok", "write", "1"))
    path.write_text(path.read_text()[:-20])
    found = open_foreign(path)
    assert found is not None
    assert found.recovered
    assert [event.type for event in found.events] == ["invoke"]


def test_a_completion_of_nothing_makes_the_records_unfit(tmp_path: Path) -> None:
    result = judge_history(edn(tmp_path, op(0, "ok", "write", "1")))
    assert result.status == "not checked"
    assert "some.edn" in result.unfit[0]


def test_the_model_may_be_named(tmp_path: Path) -> None:
    path = edn(tmp_path, op(0, "invoke", "cas", "[1 2]"), op(0, "ok", "cas", "[1 2]"))
    assert judge_history(path, model="cas-register").status == "violated"
    assert judge_history(path, model="workloads.register:model").status == "violated"
    with pytest.raises(RecordsError, match="read, write, found 'cas'"):
        judge_history(path, model="register")
    with pytest.raises(RecordsError, match=r"no model 'bank'.*cas-register"):
        judge_history(path, model="bank")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{:process 0, :f :read}", "is no operation"),
        ("[1 2 3]", "expected a header line"),
        ("{:process 0, :type :invoke, :f :cas, :value 3}", r"value \[old new\]"),
        ("{:process 0, :type :invoke)", "closes"),
    ],
)
def test_edn_that_is_no_history_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.edn"
    path.write_text(text)
    with pytest.raises(RecordsError, match=words):
        judge_history(path)


@pytest.mark.parametrize(
    "text", ["", '{"format": "driftline-history"}\n', "hello\n", "\x00\x01", "[1 2"]
)
def test_what_is_of_no_known_format_is_left_to_others(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    assert open_foreign(path) is None
    assert open_foreign(tmp_path / "nothing") is None


def test_a_foreign_file_is_judged_in_the_child_too(tmp_path: Path) -> None:
    path = edn(tmp_path, op(0, "invoke", "read", "nil"), op(0, "ok", "read", "3"))
    out = tmp_path / "out.json"
    argv = command(path, out, 20.0, 1 << 30, "cas-register")
    assert argv[0] == sys.executable
    assert subprocess.run(argv, check=False).returncode == 0
    result = load(out)
    assert result is not None
    assert (result.status, result.statistics["model"]) == ("violated", "cas-register")


# ---- Porcupine's data ----------------------------------------------------------------------------

LINEARIZABLE = frozenset(
    f"{number:03d}"
    for number in (2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102)
)  # fmt: skip


def data_folder() -> Path | None:
    """Porcupine's test data, where a folder above has it."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "porcupine").is_dir():
            return parent / "shared" / "data" / "porcupine"
    return None


DATA = data_folder()


@pytest.mark.skipif(DATA is None, reason="no shared/data/porcupine above this folder")
def test_every_etcd_log_gets_the_verdict_that_porcupine_gives() -> None:
    assert DATA is not None
    wrong = []
    count = 0
    for path in sorted((DATA / "jepsen").glob("etcd_*.log")):
        if path.stat().st_size == 0:
            continue
        count += 1
        wanted = "holds" if path.stem[-3:] in LINEARIZABLE else "violated"
        found = judge_history(path).status
        if found != wanted:
            wrong.append((path.name, found))
    assert (count, wrong) == (102, [])


@pytest.mark.skipif(DATA is None, reason="no shared/data/porcupine above this folder")
@pytest.mark.parametrize("name", ["c01-ok", "c01-bad", "c10-ok", "c10-bad"])
def test_the_kv_logs_get_the_verdict_in_their_names(name: str) -> None:
    assert DATA is not None
    path = DATA / "kv" / f"{name}.txt"
    found = open_foreign(path)
    assert found is not None
    assert (found.format, found.model) == ("porcupine-kv", "kv")
    assert judge_history(path).status == ("holds" if name.endswith("ok") else "violated")


def test_a_kv_log_is_read_as_porcupine_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text(
        '{:process 0, :type :invoke, :f :get, :key "a", :value nil}\n'
        '{:process 0, :type :ok, :f :get, :key "a", :value ""}\n'
        '{:process 0, :type :invoke, :f :put, :key "a", :value "x"}\n'
        '{:process 1, :type :invoke, :f :append, :key "b", :value "z"}\n'
        '{:process 0, :type :ok, :f :put, :key "a", :value "x"}\n'
        '{:process 0, :type :invoke, :f :append, :key "a", :value "y"}\n'
        '{:process 0, :type :ok, :f :append, :key "a", :value "y"}\n'
        '{:process 0, :type :invoke, :f :get, :key "a", :value nil}\n'
        '{:process 0, :type :ok, :f :get, :key "a", :value "xy"}\n'
    )
    assert judge_history(path).status == "holds"
    path.write_text(path.read_text().replace('"xy"', '"yx"'))
    result = judge_history(path)
    assert result.status == "violated"
    assert "key a is not linearizable" in result.findings[0].text
    with pytest.raises(RecordsError, match="found 'get'"):
        judge_history(path, model="register")
