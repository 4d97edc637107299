"""The picture is one file that needs nothing but itself, tells the truth, and cannot be broken by what it shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from porcupine import (
    UNKNOWN,
    Annotation,
    LinearizationInfo,
    Model,
    Operation,
    check_operations_verbose,
    check_verbose,
    impasse,
    models,
    visualize,
    visualize_path,
)
from porcupine.cli import main
from porcupine.formats import read_etcd_log, read_kv_log
from porcupine.visualization import SCRIPTS, page
from porcupine.visualization.data import Bounds, cut

EVIL = "</script><img src=x onerror=alert(1)><!--&\u2028\ud800\"'"
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Elements, the text of scripts and all other text, strictly nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

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
        inside = self.stack[-1] if self.stack else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside == "style":
            self.styles.append(data)
        else:
            self.text.append(data)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def picture(model: Model, history: list[Operation], **given: Any) -> Page:
    _, info = check_verbose(history, model)
    return Page(page(model, info, **given))


def orders_of(part: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """A part's orders, as the page's script unpacks them: operations, and the texts of the states after them."""
    above = [at - up for at, up in enumerate(part["up"], start=1)]
    found = []
    for end in part["ends"]:
        ops: list[int] = []
        states: list[int] = []
        while end:
            ops.append(part["op"][end - 1])
            states.append(part["state"][end - 1])
            end = above[end - 1]
        found.append((ops[::-1], states[::-1]))
    return found


@pytest.fixture(scope="module")
def etcd(lab: Any) -> list[Operation]:
    return read_etcd_log((lab.data / "etcd/etcd_000.log").read_text())


# --- the file -------------------------------------------------------------------------------------


def test_the_page_is_well_nested_ascii_and_names_no_address_outside_itself(
    etcd: list[Operation],
) -> None:
    text = page(models.cas_register(), check_verbose(etcd, models.cas_register())[1])
    assert text.isascii()
    for tag, attributes in Page(text).elements:
        assert tag not in ("link", "iframe", "img", "object")
        assert not {"src", "href", "style"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"(?:https?:)?//[a-z]+\.[a-z]", text)
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_names_the_script_and_the_style_that_are_there(etcd: list[Operation]) -> None:
    found = picture(models.cas_register(), etcd)
    policy = next(a["content"] for _, a in found.elements if "http-equiv" in a) or ""
    for kind, text in (("script", found.scripts[1]), ("style", found.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert len(found.scripts) == 2


def test_no_text_of_a_history_becomes_markup() -> None:
    history = [
        Operation(EVIL, ("append", EVIL, EVIL), 0, None, 5, metadata=EVIL),
        Operation(1, ("get", EVIL), 6, "nope", 7, metadata=EVIL),
    ]
    _, info = check_verbose(history, models.append_kv())
    info.add_annotations([Annotation(3, EVIL, tag=EVIL, details=EVIL, text_color=EVIL)])
    text = page(models.append_kv(), info, title=EVIL)
    found = Page(text)
    assert not any(tag == "img" for tag, _ in found.elements)
    assert len(found.scripts) == 2
    assert EVIL in found.data["clients"]
    assert EVIL in found.data["texts"]
    assert any("onerror=alert(1)" in each for each in found.text)
    assert text.count("</script") == 2


def test_the_script_writes_texts_as_texts_only() -> None:
    text = page(models.register(), LinearizationInfo())
    script = Page(text).scripts[1]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script
    assert len(SCRIPTS) == 5


def test_a_picture_takes_the_place_of_the_old_one_in_one_step(
    tmp_path: Path, etcd: list[Operation]
) -> None:
    file = tmp_path / "history.html"
    model = models.cas_register()
    _, info = check_operations_verbose(model, etcd, 10)
    visualize_path(model, info, file)
    before = file.read_bytes()
    stream = io.StringIO()
    visualize(model, info, stream)
    assert stream.getvalue().encode("ascii") == before

    def no_words(given: Any, output: Any) -> str:
        raise RuntimeError("no words for it")

    silent = Model(model.init, model.step, describe_operation=no_words)
    with pytest.raises(RuntimeError, match="no words for it"):
        visualize_path(silent, info, file)
    with pytest.raises(OSError, match="nowhere"):
        visualize_path(model, info, tmp_path / "nowhere" / "history.html")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


# --- what it says ---------------------------------------------------------------------------------


def test_what_the_page_holds_is_the_history(etcd: list[Operation]) -> None:
    model = models.cas_register()
    data = picture(model, etcd).data
    (part,) = data["parts"]
    by_call = sorted(etcd, key=lambda o: o.call)
    assert [data["clients"][row] for row in part["client"]] == [str(o.client_id) for o in by_call]
    times: list[int] = []
    for step in data["times"]:
        times.append(step + (times[-1] if times else 0))
    begin = 0
    for place, operation in enumerate(by_call):
        begin += part["begin"][place]
        assert times[begin] == operation.call
        length = part["length"][place]
        back = operation.return_time
        assert (None if length < 0 else times[begin + length]) == back
        assert part["outcome"][place] == operation.outcome[0]
        output = UNKNOWN if operation.outcome == "info" else operation.output
        assert data["texts"][part["text"][place]] == model.operation_text(operation.input, output)


@pytest.mark.parametrize("name", ["000", "005", "040", "097"])
def test_orders_states_and_refusals_are_those_of_the_model(lab: Any, name: str) -> None:
    history = read_etcd_log((lab.data / f"etcd/etcd_{name}.log").read_text())
    model = models.cas_register()
    assert model.step is not None
    _, info = check_verbose(history, model)
    data = Page(page(model, info)).data
    (part,) = data["parts"]
    by_call = sorted(range(len(history)), key=lambda i: history[i].call)
    witness = info.witnesses[0]
    ways = [list(way) for way in witness.partials] if witness else []
    found = orders_of(part)
    kept = [[by_call[op] for op in ops] for ops, _ in found]
    assert kept[: part["ways"]] == sorted(ways, key=len, reverse=True)
    assert {i for order in kept for i in order} == {
        i for order in info.orders[0] + ways for i in order
    }
    outputs = [UNKNOWN if o.outcome == "info" else o.output for o in history]
    for order, (_, states), refusals in zip(kept, found, part["refusals"], strict=True):
        state = model.init()
        assert data["texts"][part["start"]] == model.state_text(state)
        for index, told in zip(order, states, strict=True):
            fits, state = model.step(state, history[index].input, outputs[index])
            assert fits
            assert data["texts"][told] == model.state_text(state)
        asked = [by_call[op] for op, _ in refusals]
        assert not set(asked) & set(order)
        if witness is not None:
            assert asked
        for op, told in refusals:
            fits, after = model.step(state, history[by_call[op]].input, outputs[by_call[op]])
            assert (told == -1) == (not fits)
            if fits:
                assert (
                    told == -2 if after == state else data["texts"][told] == model.state_text(after)
                )
    if witness is not None:
        assert part["stuck"] == by_call.index(witness.stuck_at)


def test_parts_stand_with_the_first_error_first(lab: Any) -> None:
    history = read_kv_log((lab.data / "kv/c10-bad.txt").read_text())
    found = picture(models.append_kv(), history)
    parts = found.data["parts"]
    assert Counter(part["verdict"] for part in parts) == {"illegal": 8, "ok": 2}
    assert [part["verdict"] for part in parts] == ["illegal"] * 8 + ["ok"] * 2
    ends = [
        sum(part["begin"][: part["stuck"] + 1]) + part["length"][part["stuck"]]
        for part in parts[:8]
    ]
    assert ends == sorted(ends)
    text = " ".join(found.text)
    assert "405 operations in 10 parts (8 not linearizable, 2 linearizable)" in text
    assert "client 9: get('1') -> 'x 3 0 yx 3 1 y' in [89, 90]" in text


def test_the_words_alone_tell_verdict_error_and_reason() -> None:
    history = [
        Operation(0, ("write", 1), 0, None, 1),
        Operation(1, ("read",), 2, 1, 3),
        Operation(1, ("read",), 4, 2, 5),
    ]
    found = picture(models.cas_register(), history, title="a stale read")
    text = " ".join(found.text)
    assert "a stale read" in text
    for said in (
        "not linearizable",
        "no order gets past client 1: read() -> 2 in [4, 5]",
        "An operation saw 2, which nobody wrote",
        "client 1: read() -> 1 in [2, 3]",
        "state after it",
    ):
        assert said in text, said
    legal = " ".join(picture(models.cas_register(), history[:2]).text)
    assert "An order of all, 2 steps" in legal


def test_notes_of_clients_and_of_tags_are_kept_apart() -> None:
    info = LinearizationInfo()
    info.add_annotations(
        [
            Annotation(5, "a partition", 9, tag="nemesis", background_color="#7a3fc0"),
            Annotation(7, "restarted", client_id="n1"),
            Annotation(8, "nobody's"),
            Annotation(9, "backwards", 3, tag="a tag before"),
        ]
    )
    data = Page(page(models.register(), info)).data
    assert data["clients"] == ["n1"]
    assert data["tags"] == ["a tag before", "nemesis", ""]
    told = [(n["client"], n["tag"], n["end"], data["texts"][n["text"]]) for n in data["notes"]]
    assert told == [
        (-1, 1, 3, "a partition"),
        (0, -1, -1, "restarted"),
        (-1, 2, -1, "nobody's"),
        (-1, 0, -1, "backwards"),
    ]
    assert data["parts"] == []


def test_an_info_made_by_hand_needs_no_verdicts_and_may_be_wrong() -> None:
    write, read = Operation(0, ("write", 1), 0, None, 1), Operation(1, ("read",), 2, 2, 3)
    info = LinearizationInfo(keys=["k"], history=[[write, read]], orders=[[[0, 1], [0]]])
    data = Page(page(models.register(), info)).data
    (part,) = data["parts"]
    assert part["verdict"] == "ok"  # it holds an order of all, which the hand vouches for
    assert orders_of(part)[0][1][1] == -1  # and which the model refuses, as the picture says
    info.orders = [[[0]]]
    (part,) = Page(page(models.register(), info)).data["parts"]
    assert (part["verdict"], part["stuck"]) == ("unknown", 1)


def test_an_undecided_part_shows_how_far_it_came() -> None:
    history = [Operation(i, ("append", "k", f"{i};"), 0, None, 10) for i in range(30)]
    history.append(Operation(99, ("get", "k"), 11, "0;1;2", 12))
    slow = models.append_kv()
    slow = Model(
        slow.init, slow.step, partition=slow.partition, describe_operation=slow.describe_operation
    )
    _, info = check_verbose(history, slow, step_limit=2_000)
    assert info.verdicts == ["unknown"]
    (part,) = Page(page(slow, info)).data["parts"]
    assert (part["verdict"], part["cause"], part["stuck"]) == ("unknown", "step limit", 30)
    assert len(orders_of(part)[0][0]) == 30


@pytest.mark.parametrize("scale", [1, 1 << 60])
def test_times_of_any_size_are_told_exactly(scale: int) -> None:
    history = [
        Operation(0, ("write", 1), scale, None, scale + 1),
        Operation(1, ("read",), scale + 2, 1, scale + 3),
    ]
    times = picture(models.register(), history).data["times"]
    if scale == 1:
        assert times == [1, 1, 1, 1]
    else:
        assert times == [str(scale + i) for i in range(4)]


# --- gates ----------------------------------------------------------------------------------------


def test_a_gates_contradiction_is_shown_with_the_first_return_nothing_gets_past(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a search where it ends soon, and else by the gate on prefixes: both hold before the oracle."""
    rng = random.Random(8)
    model = models.cas_register()
    met: Counter[str] = Counter()
    while min(met["search"], met["prefixes"]) < 60:
        history = lab.history(rng, rng.randint(2, 9), spread=4)
        for _ in range(3):
            history = lab.spoilt(rng, history)
        if lab.oracle(model, history):
            continue
        way = "prefixes" if met["prefixes"] < met["search"] else "search"
        monkeypatch.setattr(impasse, "SEARCH_STEPS", 0 if way == "prefixes" else 100_000)
        result, info = check_verbose(history, model)
        witness = info.witnesses[0]
        assert witness is not None
        if result.parts[0].engine != "zones" or witness.stuck_at is None:
            continue
        met[way] += 1
        assert lab.oracle(model, *lab.prefix(history, witness.stuck_at, inclusive=False)), history
        assert not lab.oracle(model, *lab.prefix(history, witness.stuck_at, inclusive=True)), (
            history
        )
        for order in (*witness.partials, *info.orders[0]):
            assert lab.objection(model, history, order, full=False) is None, history


# --- size -----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_left_out_and_counted(lab: Any) -> None:
    history = read_kv_log((lab.data / "kv/c10-bad.txt").read_text())
    bounds = Bounds(operations=100, operations_of_part=30, parts=6, steps=40, annotations=1)
    _, info = check_verbose(history, models.append_kv())
    info.add_annotations([Annotation(2, "kept"), Annotation(3, "left out")])
    data = Page(page(models.append_kv(), info, bounds=bounds)).data
    assert data["partsLeftOut"] == 4
    assert data["notesLeftOut"] == 1
    drawn = [len(part["client"]) for part in data["parts"]]
    assert drawn == [30, 30, 30, 10, 0, 0]
    assert [part["count"] for part in data["parts"]] == [48, 43, 37, 38, 33, 36]
    assert all(part["stuck"] >= 0 for part in data["parts"][:3])


def test_operations_that_are_not_drawn_keep_their_place_in_an_order() -> None:
    history = [Operation(0, ("add", 1), 10 * i, None, 10 * i + 1) for i in range(100)]
    history.append(Operation(1, ("read",), 2000, 7, 2001))
    bounds = Bounds(operations_of_part=10)
    (part,) = picture(models.counter(), history, bounds=bounds).data["parts"]
    data = picture(models.counter(), history, bounds=bounds).data
    ops, states = orders_of(part)[0]
    assert ops == [-1, *range(9)]
    assert [data["texts"][state] for state in states] == [str(i) for i in range(91, 101)]
    assert part["stuck"] == 9


def test_states_that_grow_do_not_make_the_page_grow_with_their_square() -> None:
    history = [Operation(0, ("append", "k", i), 2 * i, None, 2 * i + 1) for i in range(2_000)]
    history.append(Operation(1, ("read", "k"), 5_000, [1], 5_001))
    _, info = check_verbose(history, models.list_append())
    assert len(page(models.list_append(), info)) < 1_000_000


def test_a_long_text_is_cut_in_its_middle() -> None:
    assert cut("short", 60) == "short"
    text = cut("x" * 100 + "y" * 100, 60)
    assert len(text) == 60
    assert text.startswith("xxx")
    assert text.endswith("yyy")


def test_ten_thousand_operations_make_a_small_page(lab: Any) -> None:
    history = lab.history(random.Random(3), 10_000, spread=20, info=0.02)
    for index, operation in enumerate(history):
        operation.client_id = index % 20
    assert (
        len(page(models.cas_register(), check_verbose(history, models.cas_register())[1]))
        < 2_000_000
    )


# --- the command line -----------------------------------------------------------------------------


def test_the_command_line_draws(
    tmp_path: Path, lab: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.html"
    log = str(lab.data / "etcd/etcd_000.log")
    asked = ["check", log, "--model", "cas-register", "--format", "etcd", "--html", str(file)]
    assert main(asked) == 1
    assert "illegal" in capsys.readouterr().out
    found = Page(file.read_text(encoding="ascii"))
    assert "etcd_000.log" in " ".join(found.text)
    assert found.data["verdict"] == "illegal"
    assert main([*asked[:-1], str(tmp_path / "nowhere" / "out.html")]) == 64
    assert "nowhere" in capsys.readouterr().err
