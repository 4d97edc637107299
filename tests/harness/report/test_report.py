"""The report is one file that needs nothing but itself, holds everything, and cannot be broken by what was recorded."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from checkers.records.schema import FaultRecord
from harness import show
from harness.report import words, write_report
from harness.report.lanes import counts, leaderships, node_lanes
from harness.report.load import by_step, load
from harness.report.payload import process_lanes
from tests.harness.report import sample

EVIL = "</script><img src=x onerror=alert(1)><!--&\u2028\"'"
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Open elements, attributes and the text of scripts, strictly nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)


def parse(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text("utf-8"))
    page.close()
    assert page.stack == []
    return page


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample.make(tmp_path_factory.mktemp("runs") / sample.RUN, seconds=15)


@pytest.fixture(scope="module")
def evil_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample.make(tmp_path_factory.mktemp("evil") / sample.RUN, seconds=15, evil=EVIL)


def test_the_page_is_well_nested_and_names_no_address_outside_itself(run_dir: Path) -> None:
    page = parse(write_report(run_dir))
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "img", "object")
        assert not {"src", "href", "style"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    text = (run_dir / "report.html").read_text("utf-8")
    assert not re.search(r"(?:https?:)?//[a-z]+\.[a-z]", text)
    assert "url(" not in text
    assert "@import" not in text


def test_the_verdict_comes_first_and_everything_checked_is_named(run_dir: Path) -> None:
    text = " ".join(parse(write_report(run_dir)).text)
    assert text.index("invalid") < text.index("Findings (1)") < text.index("Timeline")
    for said in (
        "key k2 is not linearizable",
        "not checked",
        "the heal of all links could not be proved complete",
        "no host stall",
        "latency installed",
        "nodes/n3/events.1.jsonl",
        "driftline run --plan plans/bug/read_no_check.toml --seed 7",
        "partition minority with leader n1 n2 | n3 n4 n5",
        "skipped",
        "there was no leader",
    ):
        assert said in text


def test_the_embedded_data_hold_every_operation_and_point_at_the_violation(run_dir: Path) -> None:
    data = json.loads(parse(write_report(run_dir)).scripts[0])
    run = load(run_dir)
    columns = data["ops"]["columns"]
    assert len(columns["b"]) == len(run.operations)
    finding = data["findings"][0]
    assert finding["key"] == "k2"
    values = [columns["v"][op] or columns["r"][op] for op in finding["ops"]]
    assert values == ["900001", "900002", "900001"]
    assert [node["name"] for node in data["nodes"]] == sample.NODES
    assert any(role[2] == "leader" for role in data["nodes"][2]["roles"])


def test_no_text_of_a_record_becomes_markup(evil_dir: Path) -> None:
    page = parse(write_report(evil_dir))
    assert not any(tag == "img" for tag, _ in page.elements)
    assert len(page.scripts) == 2
    data = json.loads(page.scripts[0])
    assert EVIL in data["ops"]["keys"]
    assert any(EVIL in text for text in page.text)
    raw = (evil_dir / "report.html").read_text("utf-8")
    assert raw.count("</script") == 2
    assert "\u2028" not in page.scripts[0]


def test_the_policy_names_the_script_and_style_that_are_there(run_dir: Path) -> None:
    import base64
    import hashlib

    page = parse(write_report(run_dir))
    policy = next(a["content"] for tag, a in page.elements if "http-equiv" in a) or ""
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "missing", ["verdict.json", "faults.jsonl", "run.jsonl", "history.jsonl", "nodes"]
)
def test_a_report_comes_up_whatever_is_missing(tmp_path: Path, missing: str) -> None:
    run_dir = sample.make(tmp_path / "run", seconds=6)
    path = run_dir / missing
    if path.is_dir():
        path.rename(tmp_path / "elsewhere")
    else:
        path.unlink()
    parse(write_report(run_dir))
    assert show.run_lines(load(run_dir), ops=5)


@pytest.mark.parametrize("junk", [b"", b"\n", b"\xff\xfe\n{}\n", b"[]\n[]\n", b'{"format":"x"}\n'])
def test_a_report_comes_up_whatever_is_damaged(tmp_path: Path, junk: bytes) -> None:
    run_dir = sample.make(tmp_path / "run", seconds=6)
    for path in [*run_dir.glob("*.json*"), *run_dir.glob("nodes/*/*.jsonl")]:
        path.write_bytes(junk)
    parse(write_report(run_dir))
    assert show.run_lines(load(run_dir), ops=5)


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    run_dir = sample.make(tmp_path / "run", seconds=6)
    whole = load(run_dir)
    history = run_dir / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-20])
    torn = load(run_dir)
    assert "history.jsonl: its torn last line is left out" in torn.notes
    assert len(torn.operations) == len(whole.operations)
    assert sum(op.end is None for op in torn.operations) == 1


def test_an_older_report_stays_whole_if_the_new_one_fails(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(run_dir)
    before = path.read_bytes()

    def fail(run: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr("harness.report.render", fail)
    with pytest.raises(RuntimeError):
        write_report(run_dir)
    assert path.read_bytes() == before
    assert not list(run_dir.glob(".report*"))


def test_roles_leaders_and_clocks_are_those_of_the_events(run_dir: Path) -> None:
    lanes = {lane.node: lane for lane in node_lanes(load(run_dir))}
    assert [(one.term, one.node) for one in leaderships(lanes.values())] == [
        (2, "n1"),
        (4, "n3"),
        (5, "n4"),
    ]
    assert "down" in [span.role for span in lanes["n3"].roles[1:]]
    assert lanes["n4"].paused
    assert any(abs(point.rate - 0.93) < 0.002 for point in lanes["n1"].rates)
    assert all(abs(point.rate - 1) < 0.002 for point in lanes["n2"].rates)
    for lane in lanes.values():
        for one, following in zip(lane.roles, lane.roles[1:], strict=False):
            assert one.end == following.begin


def test_operations_of_one_lane_never_overlap(run_dir: Path) -> None:
    operations = load(run_dir).operations
    lane_of, names = process_lanes(operations, 10)
    assert names[:10] == [f"client {number}" for number in range(10)]
    free_at: dict[int, int] = {}
    for operation in operations:
        lane = lane_of[operation.process]
        assert operation.begin >= free_at.get(lane, 0)
        free_at[lane] = operation.begin if operation.end is None else operation.end


def test_counts_add_up(run_dir: Path) -> None:
    operations = load(run_dir).operations
    rows = counts(operations)
    assert sum(row.total for row in rows) == len(operations)
    assert [row.name for row in rows] == ["cas", "read lease", "read readindex", "write"]


def test_a_step_that_is_asked_again_begins_a_new_row() -> None:
    def record(index: int, action: str) -> FaultRecord:
        return FaultRecord(
            index=index,
            step="s1",
            action=action,  # type: ignore[arg-type]
            kind="pause",
            time_begin=index,
            time_end=index,
            outcome=None if action == "asked" else "installed",
        )

    kinds = ["asked", "installed", "healed", "asked", "installed"]
    steps = by_step([record(index, kind) for index, kind in enumerate(kinds)])
    assert [(step.begin, step.healed is None) for step in steps] == [(1, False), (4, True)]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([["n1", "n2"], ["n2", "n1"]], "n1 | n2"),
        ([["n1", "n2"]], "n1 -> n2"),
        (
            [[a, b] for a in ("n1", "n2") for b in ("n3", "n4", "n5")]
            + [[b, a] for a in ("n1", "n2") for b in ("n3", "n4", "n5")],
            "n1 n2 | n3 n4 n5",
        ),
        ([["c0", "n3"], ["c1", "n3"], ["c0", "n4"], ["c1", "n4"]], "c0 c1 -> n3 n4"),
        ([], ""),
    ],
)
def test_links_are_told_as_sides(pairs: list[list[str]], said: str) -> None:
    assert words.links(pairs) == said


def test_the_terminal_keeps_to_80_columns(run_dir: Path) -> None:
    for line in show.run_lines(load(run_dir), ops=40):
        assert len(line) <= 80 or line.startswith(("again:", " =>", "    ")), line
        assert "\x1b" not in line
