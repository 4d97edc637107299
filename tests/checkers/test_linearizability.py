"""P-LIN: what has an order holds, what has none is told in words, and what cannot be decided is unknown, never an error."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import porcupine
from checkers import linearizability, partwise
from checkers.linearizability import (
    LinearizabilityResult,
    command,
    judge_history,
    load,
    run_in_child,
)
from checkers.monitor import CLOCK_BOUND
from checkers.records.reading import RecordsError
from checkers.records.schema import HistoryEvent
from tests.checkers import written
from workloads.register import model

MEMORY = 1 << 30

HOLDS = {
    "never written": "0: read k nil [0 10]",
    "one after the other": """
        0: write k 1 [0 10]
        1: read k 1 [20 30] lease at n1
        0: cas k 1 2 [40 50]
        1: read k 2 [60 70] readindex at n2""",
    "a read beside a write sees either": """
        0: write k 1 [0 10]
        0: write k 2 [20 60]
        1: read k 1 [25 35]
        1: read k 2 [40 50]""",
    "a cas that found another value": """
        0: write k 1 [0 10]
        1: cas k 7 8 / 1 [20 30]
        1: read k 1 [40 50]""",
    "an unknown write that shows late": """
        0: write k 1 [0 10]
        1: write k 2 [20 ? 30]
        0: read k 1 [40 50]
        0: read k 2 [60 70]""",
    "an unknown write that never shows": """
        0: write k 1 [0 10]
        1: write k 2 [20 -]
        0: read k 1 [40 50]""",
    "a failed write that nobody sees": """
        0: write k 1 [0 10]
        1: write k 2 [20 ! 30]
        0: read k 1 [40 50]""",
    "a read of unknown outcome": """
        0: write k 1 [0 10]
        1: read k nil [20 ? 30]""",
    "keys do not order each other": """
        0: write a 1 [0 10]
        1: write b 1 [20 30]
        2: read b 1 [40 50]
        2: read a 1 [60 70]""",
    "a stale local read": """
        0: write k 1 [0 10]
        0: write k 2 [20 30]
        1: read k 1 [40 50] local at n3
        1: read k nil [60 70] local at n2""",
    "equal values, for the search": """
        0: write k 1 [0 10]
        1: write k 2 [20 30]
        0: write k 1 [40 50]
        1: read k 1 [60 70]""",
}

VIOLATED = {
    "a value that was overwritten": (
        """
        0: write k 1 [0 10]
        0: write k 2 [20 30]
        1: read k 1 [40 50] readindex at n2""",
        "k",
        "read k by readindex at n2 saw 1",
    ),
    "a value that nobody wrote": ("0: read k 5 [0 10]", "k", "nobody wrote"),
    "a value of a write that failed": (
        """
        0: write k 5 [0 ! 10]
        1: read k 5 [20 30]""",
        "k",
        "read k saw 5 (process 1), which was not written: write k 5 failed (process 0)",
    ),
    "a write that is lost": (
        """
        0: write k 1 [0 10]
        1: read k nil [20 30]""",
        "k",
        "saw nothing",
    ),
    "back and forth": (
        """
        0: write k 1 [0 100]
        1: write k 2 [0 100]
        2: read k 1 [110 120]
        2: read k 2 [130 140]
        2: read k 1 [150 160]""",
        "k",
        "",
    ),
    "an observation of a cas": (
        """
        0: write k 1 [0 10]
        0: write k 2 [20 30]
        1: cas k 7 8 / 1 [40 50]""",
        "k",
        "saw 1",
    ),
    "two cas from one value": (
        """
        0: write k 1 [0 10]
        1: cas k 1 2 [20 30]
        2: cas k 1 3 [20 30]""",
        "k",
        "",
    ),
    "seen before it was begun": (
        """
        1: read k 5 [0 10]
        0: write k 5 [20 30]""",
        "k",
        "",
    ),
    "equal values, for the search": (
        """
        0: write k 1 [0 10]
        1: write k 1 [12 18]
        1: write k 2 [20 30]
        0: read k 1 [60 70]""",
        "k",
        "no order goes on to read k saw 1",
    ),
    "one key of three": (
        """
        0: write a 1 [0 10]
        0: write b 1 [20 30]
        0: write c 1 [40 50]
        1: read a 1 [60 70]
        1: read b nil [80 90]
        1: read c 1 [100 110]""",
        "b",
        "saw nothing",
    ),
}


def judged(path: Path, **options: Any) -> LinearizabilityResult:
    return judge_history(path, **options)


@pytest.mark.parametrize("name", HOLDS)
def test_what_has_an_order_holds(tmp_path: Path, name: str) -> None:
    result = judged(written.write(tmp_path / "history.jsonl", HOLDS[name]))
    assert (result.status, result.because, result.findings) == ("holds", "", [])


@pytest.mark.parametrize("name", VIOLATED)
def test_what_has_no_order_is_told_in_words(tmp_path: Path, name: str) -> None:
    text, key, words = VIOLATED[name]
    path = written.write(tmp_path / "history.jsonl", text)
    result = judged(path)
    assert result.status == "violated"
    (finding,) = result.findings
    assert finding.property == "P-LIN"
    assert finding.text.startswith(f"key {key} is not linearizable: ")
    assert words in finding.text
    assert "\n" not in finding.text
    assert finding.details["key"] == key
    assert finding.rests_on == []
    events = written.events(text)
    assert finding.evidence
    for evidence in finding.evidence:
        event = events[evidence.index]
        assert (evidence.file, evidence.time) == ("history.jsonl", event.time)
        assert event.op in finding.details["operations"]
        assert event.key == key
        assert evidence.text.startswith("begins: " if event.type == "invoke" else "ends: ")
    assert finding.time in {event.time for event in events}


def test_a_stale_read_is_explained_by_what_overwrote_it(tmp_path: Path) -> None:
    path = written.write(tmp_path / "h", VIOLATED["a value that was overwritten"][0])
    (finding,) = judged(path).findings
    assert finding.text == (
        "key k is not linearizable: read k by readindex at n2 saw 1 (process 1), but the write of 2 had "
        "been acknowledged 10.000 ms before that began, and the write of 1 was over before the newer "
        "one began"
    )


STALE_BY_LEASE = """
    0: write k 1 [0 10]
    0: write k 2 [20 30]
    1: read k 1 [40 50] lease at n1"""


def test_a_stale_lease_read_rests_on_the_clocks(tmp_path: Path) -> None:
    (finding,) = judged(written.write(tmp_path / "h", STALE_BY_LEASE)).findings
    assert finding.rests_on == [CLOCK_BOUND]


def test_a_lease_read_does_not_excuse_what_is_wrong_without_it(tmp_path: Path) -> None:
    text = STALE_BY_LEASE + "\n    2: read k 1 [60 70] readindex at n2"
    (finding,) = judged(written.write(tmp_path / "h", text)).findings
    assert finding.rests_on == []
    assert "by readindex at n2" in finding.text


def test_lease_reads_that_are_right_excuse_nothing(tmp_path: Path) -> None:
    text = """
        0: write k 1 [0 10]
        2: read k 1 [12 18] lease at n1
        0: write k 2 [20 30]
        2: read k 2 [32 38] lease at n1
        1: read k 1 [40 50] readindex at n1"""
    (finding,) = judged(written.write(tmp_path / "h", text)).findings
    assert finding.rests_on == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0: write k 1 [0 10]\n1: read k 2 [20 30] local at n2", "nobody ever wrote there"),
        ("0: write k 1 [0 ! 10]\n1: read k 1 [20 30] local at n2", "was not written"),
        ("0: write k 1 [50 60]\n1: read k 1 [20 30] local at n2", "before its write was begun"),
        ("0: write a 1 [0 10]\n1: read k 1 [20 30] local at n2", "nobody ever wrote there"),
        ("0: cas k 9 1 / nil [0 10]\n1: read k 1 [20 30] local at n2", "was not written"),
    ],
)
def test_a_local_read_may_be_stale_but_not_invented(tmp_path: Path, text: str, words: str) -> None:
    result = judged(written.write(tmp_path / "h", text))
    assert result.status == "violated"
    (finding,) = result.findings
    assert "a local read of k at n2 saw" in finding.text
    assert words in finding.text
    assert finding.rests_on == []


def test_a_local_read_of_an_unknown_write_is_fine(tmp_path: Path) -> None:
    text = "0: write k 1 [0 -]\n1: cas k 1 2 [0 ? 5]\n2: read k 1 [20 30] local\n3: read k 2 [40 50] local"
    assert judged(written.write(tmp_path / "h", text)).status == "holds"


def test_each_violated_key_is_one_finding_and_twenty_are_told(tmp_path: Path) -> None:
    text = "\n".join(f"{i}: read k{i} 5 [{i} {100 + i}]" for i in range(25))
    result = judged(written.write(tmp_path / "h", text))
    assert [finding.details["key"] for finding in result.findings] == [f"k{i}" for i in range(20)]
    assert "and 5 more" in result.because


def test_statistics_say_what_was_done(tmp_path: Path) -> None:
    text = HOLDS["a stale local read"] + "\n2: write other 9 [80 90]"
    statistics = judged(written.write(tmp_path / "h", text)).statistics
    assert statistics["operations"] == 5
    assert statistics["judged_aside"] == 2
    assert statistics["parts"] == 2
    assert statistics["parts_by_engine"] == {"zones": 2}
    assert statistics["undecided_parts"] == []
    assert statistics["seconds"] >= 0


def test_unfit_records_are_not_judged(tmp_path: Path) -> None:
    lines = written.events("0: write k 1 [0 10]\n1: read k 9 [20 30]")
    path = written.write_events(tmp_path / "h", [*lines[:2], lines[3]])
    result = judged(path)
    assert result.status == "not checked"
    assert result.unfit
    assert result.unfit[0] in result.because
    assert result.findings == []


def test_a_torn_last_line_is_cut_and_said(tmp_path: Path) -> None:
    path = written.write(tmp_path / "h", "0: write k 1 [0 10]\n0: read k 1 [20 30]")
    path.write_bytes(path.read_bytes()[:-20])
    result = judged(path)
    assert (result.status, result.recovered) == ("holds", True)
    assert result.history_crc == f"{zlib.crc32(path.read_bytes()):08x}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bank", "module:function"),
        (":model", "module:function"),
        ("no.such.module:model", "importing no.such.module"),
        ("workloads.register:modell", "has no function modell"),
        ("workloads.register:MODES", "has no function MODES"),
        ("workloads.register:Weights", "a judge has"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, words: str
) -> None:
    path = written.write(tmp_path / "h", "0: write k 1 [0 10]")
    with pytest.raises(RecordsError, match=words) as error:
        judged(path, model=name)
    assert "\n" not in str(error.value)


def test_params_that_the_model_does_not_take_are_refused(tmp_path: Path) -> None:
    path = written.write(tmp_path / "h", "0: write k 1 [0 10]", params={"kees": 3})
    with pytest.raises(RecordsError, match="kees"):
        judged(path)


def test_an_operation_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    strange = [
        HistoryEvent(index=0, time=0, type="invoke", process=0, op=0, f="enqueue", key="k", value=1)
    ]
    path = written.write_events(tmp_path / "h", strange)
    with pytest.raises(RecordsError, match=r"operation 0.*enqueue"):
        judged(path)


# ---- against the search --------------------------------------------------------------------------


def random_history(random: Random) -> str:
    """A few overlapping operations, most of them as a register would answer; about half of these have an order."""
    lines: list[str] = []
    now, state = [0] * 3, "nil"
    values = ["1", "2", "3"]
    for _ in range(random.randrange(3, 9)):
        process = random.randrange(3)
        begin = max(now[process], max(now) - 12) + random.randrange(1, 10)
        end = now[process] = begin + random.randrange(1, 15)
        shown = random.choice([*values, "nil"]) if random.random() < 0.15 else state
        f, new = random.choice(("read", "write", "cas")), random.choice(values)
        if f == "read":
            what = shown
        elif f == "write":
            what = state = new
        elif random.random() < 0.5:
            what, state = f"{shown} {new}", new
        else:
            other = random.choice([v for v in values if v != shown])
            what = f"{other} {new} / {shown}"
        mode = random.choice(("lease", "readindex")) if f == "read" else ""
        lines.append(f"{process}: {f} k {what} [{begin} {end}] {mode}".strip())
    return "\n".join(lines)


def test_verdicts_agree_with_the_plain_search(tmp_path: Path) -> None:
    found = {"holds": 0, "violated": 0}
    for seed in range(300):
        text = random_history(Random(seed))
        result = judged(written.write(tmp_path / "h", text))
        found[result.status] += 1
        parts, _ = partwise.split([*linearizability.operations(written.events(text))], model({}))
        plain = porcupine.check(parts[0].operations, parts[0].model, prefer="search")
        assert result.status == {"ok": "holds", "illegal": "violated"}[plain.verdict], text
        if result.findings:
            # It rests on the clocks exactly if the rest of the history has an order.
            others = [
                operation
                for operation, source in zip(parts[0].operations, parts[0].sources, strict=True)
                if source.invoke.mode != "lease" or source.invoke.f != "read"
            ]
            rest = porcupine.check(others, parts[0].model, prefer="search").verdict
            assert (rest == "ok") is (result.findings[0].rests_on == [CLOCK_BOUND]), text
    assert min(found.values()) > 40


# ---- the child -----------------------------------------------------------------------------------


def hard(keys: int = 1, width: int = 14) -> str:
    """Unknown writes of the same few values beside reads: no zones, and a search that takes long."""
    lines = []
    for key in range(keys):
        base = 1000 + key * 1000
        for i in range(width):
            lines.append(f"{base + i}: write h{key} {i} [{i} -]")
            lines.append(f"{base + 100 + i}: cas h{key} {i} {(i * 5 + 3) % width} [{i} -]")
        for i in range(60):
            lines.append(
                f"{base + 300}: read h{key} {i * 7 % width} [{100 + i * 10} {105 + i * 10}]"
            )
        lines.append(f"{base + 300}: write h{key} 500 [{2000} {2001}]")
        lines.append(f"{base + 300}: write h{key} 501 [{2002} {2003}]")
        lines.append(f"{base + 300}: write h{key} 500 [{2004} {2005}]")
        lines.append(f"{base + 300}: write h{key} 502 [{2006} {2007}]")
        lines.append(f"{base + 300}: read h{key} 500 [{2008} {2009}]")
    return "\n".join(lines)


def test_the_child_judges_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written.write(tmp_path / "history.jsonl", STALE_BY_LEASE)
    monkeypatch.chdir(tmp_path)
    out = Path("linearizability.json")
    done = subprocess.run(
        command(Path("history.jsonl"), out, 20.0, MEMORY),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    result = load(out)
    assert result is not None
    assert result.status == "violated"
    assert result.findings == judged(path).findings
    assert result.history_crc == f"{zlib.crc32(path.read_bytes()):08x}"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["history.jsonl", out.name]


def test_run_in_child_gives_what_the_file_holds(tmp_path: Path) -> None:
    path = written.write(tmp_path / "history.jsonl", HOLDS["one after the other"])
    out = tmp_path / "out.json"
    result = run_in_child(path, out, 20.0, MEMORY)
    assert result.status == "holds"
    assert load(out) == result


def test_run_in_child_refuses_what_cannot_be_used(tmp_path: Path) -> None:
    path = written.write(tmp_path / "history.jsonl", "0: write k 1 [0 10]")
    out = tmp_path / "out.json"
    with pytest.raises(RecordsError, match=r"no\.such"):
        run_in_child(path, out, 20.0, MEMORY, model="no.such:model")
    left = load(out)
    assert left is not None
    assert left.status == "not checked"
    with pytest.raises(RecordsError, match="no such file"):
        run_in_child(tmp_path / "nothing", out, 20.0, MEMORY)


def test_nothing_at_all_is_not_checked(tmp_path: Path) -> None:
    """Never valid by silence."""
    result = judged(written.write(tmp_path / "history.jsonl", ""))
    assert (result.status, result.because) == ("not checked", "no operation was recorded")


def test_out_of_time_is_unknown_and_says_how_far_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORCUPINE_CORE", "python")  # the compiled core is done at once
    text = hard(keys=2) + "\n" + "0: write easy 1 [0 10]"
    path = written.write(tmp_path / "history.jsonl", text)
    begin = time.monotonic()
    result = run_in_child(path, tmp_path / "out.json", 1.0, MEMORY)
    assert time.monotonic() - begin < 1.0 + linearizability.GRACE_S
    assert result.status == "unknown"
    assert result.because.startswith("out of time: 1 of 3 parts decided; undecided key h0, key h1")
    assert "operations were put in an order" in result.because
    assert result.statistics["undecided_parts"] == ["key h0", "key h1"]
    assert result.statistics["steps"] > 0


def test_a_slow_key_hides_no_violation_elsewhere(tmp_path: Path) -> None:
    text = hard() + "\n" + VIOLATED["equal values, for the search"][0]
    begin = time.monotonic()
    result = judged(
        written.write(tmp_path / "history.jsonl", text), deadline=time.monotonic() + 20.0
    )
    assert time.monotonic() - begin < 10
    assert result.status == "violated"
    assert result.findings[0].details["key"] == "k"
    assert "key h0" in result.because


def test_out_of_memory_for_the_search_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linearizability, "search_bytes", lambda limit: 200_000)
    monkeypatch.setattr("porcupine.native.compiled", None)
    text = hard() + "\n0: write easy 1 [0 10]"
    path = written.write(tmp_path / "history.jsonl", text)
    deadline = time.monotonic() + 20.0
    result = judged(path, deadline=deadline, memory_bytes=MEMORY)
    assert time.monotonic() < deadline
    assert result.status == "unknown"
    assert result.because.startswith("out of memory: 1 of 2 parts decided; undecided key h0")


def test_a_model_may_be_named_by_its_short_name_too(tmp_path: Path) -> None:
    path = written.write(tmp_path / "history.jsonl", STALE_BY_LEASE)
    for name in ("register", "cas-register"):
        result = judged(path, model=name)
        assert (result.status, result.statistics["model"]) == ("violated", name)


def test_a_history_too_big_for_the_memory_limit_is_unknown(tmp_path: Path) -> None:
    """The limit ends the reading itself: MemoryError, or the interpreter's death."""
    # Of words, for whole numbers are settled in little memory.
    text = "\n".join(f"{i}: write k{i % 50} w{i} [{i} {i + 1}]" for i in range(30_000))
    path = written.write(tmp_path / "history.jsonl", text)
    result = run_in_child(path, tmp_path / "out.json", 20.0, 48 << 20)
    assert result.status == "unknown"
    assert "memory" in result.because
    assert result.history_crc == f"{zlib.crc32(path.read_bytes()):08x}"


DIES = {
    "killed": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "was killed, as the kernel does",
    ),
    "aborts": ("import os; os.abort()", "was ended by SIGABRT"),
    "fails": ("raise RuntimeError('boom')", "failed with exit status 1 (RuntimeError: boom)"),
    "hangs": ("import time; time.sleep(60)", "did not end within"),
}


@pytest.mark.parametrize("name", DIES)
def test_a_checker_that_dies_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    code, words = DIES[name]
    monkeypatch.setattr(linearizability, "GRACE_S", 0.3)
    monkeypatch.setattr(linearizability, "command", lambda *_: [sys.executable, "-c", code])
    path = written.write(tmp_path / "history.jsonl", "0: write k 1 [0 10]")
    out = tmp_path / "out.json"
    out.write_text("what an earlier check left")
    result = run_in_child(path, out, 0.5 if name == "hangs" else 20.0, MEMORY)
    assert result.status == "unknown"
    assert words in result.because
    assert load(out) == result


def test_a_child_killed_in_the_search_leaves_how_far_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORCUPINE_CORE", "python")
    text = hard() + "\n" + "0: write easy 1 [0 10]"
    path = written.write(tmp_path / "history.jsonl", text)
    out = tmp_path / "out.json"
    child = subprocess.Popen(command(path, out, 30.0, MEMORY))
    try:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            found = load(out)
            if found is not None and "1 of 2 parts" in found.because:
                break
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    left = load(out)
    assert left is not None
    assert left.status == "unknown"
    assert "1 of 2 parts decided; undecided key h0" in left.because


def test_a_violation_found_before_the_death_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written.write(tmp_path / "history.jsonl", STALE_BY_LEASE)
    out = tmp_path / "out.json"
    found = msgspec.json.encode(judged(path))
    code = f"import pathlib, os; pathlib.Path({str(out)!r}).write_bytes({found!r}); os.abort()"
    monkeypatch.setattr(linearizability, "command", lambda *_: [sys.executable, "-c", code])
    assert run_in_child(path, out, 20.0, MEMORY).status == "violated"


def test_load_takes_nothing_for_a_result_that_is_none(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert load(out) is None
    for text in ("", "{}", '{"format": "driftline-lin', "[]"):
        out.write_text(text)
        assert load(out) is None


def test_a_history_of_thousands_is_judged_in_well_under_a_second(tmp_path: Path) -> None:
    """What a run of 30 s leaves: the judgement is not what a person waits for."""
    text = "\n".join(
        f"{i % 10}: {'write' if i % 3 == 0 else 'read'} k{i // 500} {i - i % 3} [{i * 10} {i * 10 + 5}]"
        for i in range(7500)
    )
    path = written.write(tmp_path / "history.jsonl", text)
    begin = time.process_time()
    result = judged(path)
    assert result.status in ("holds", "violated")
    assert time.process_time() - begin < 1.0
