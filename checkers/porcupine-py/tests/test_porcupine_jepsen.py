"""Jepsen's, Knossos' and Driftline's histories mean here what they mean there; others are refused, with event and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from porcupine import EMPTY, UNKNOWN, FormatError, Operation, Saw, check
from porcupine.formats import History, detect, load, read, read_etcd_log
from porcupine.formats.edn import Keyword
from porcupine.models import cas_register

DATA = Path(__file__).parent / "data"


def op(process: Any, kind: str, f: str, value: str = "nil", **more: Any) -> str:
    rest = "".join(f", :{name} {said}" for name, said in more.items())
    return f"{{:process {process}, :type :{kind}, :f :{f}, :value {value}{rest}}}"


def edn_of(*ops: str) -> str:
    return "\n".join(ops) + "\n"


def both(
    f: str, value: str, got: str | None = None, process: int = 0, kind: str = "ok"
) -> list[str]:
    return [op(process, "invoke", f, value), op(process, kind, f, value if got is None else got)]


def said(history: History) -> list[tuple[Any, Any, str]]:
    return [(o.input, o.output, o.outcome) for o in history.operations]


# --- the shapes of files --------------------------------------------------------------------------

REGISTER = [
    op(0, "invoke", "write", "1"),
    op(":nemesis", "info", "start", '"n1"'),
    op(1, "invoke", "read"),
    op(0, "ok", "write", "1"),
    op(1, "ok", "read", "1"),
    op(2, "invoke", "cas", "[1 2]"),
    op(2, "info", "cas", "[1 2]", error=":timeout"),
    op(3, "invoke", "cas", "[7 8]"),
    op(3, "fail", "cas", "[7 8]"),
    op(4, "invoke", "read"),
]
OPERATIONS = [
    Operation(0, ("write", 1), 0, None, 3),
    Operation(1, ("read",), 2, 1, 4),
    Operation(2, ("cas", 1, 2), 5, UNKNOWN, None, "info"),
    Operation(3, ("cas", 7, 8), 7, True, 8, "fail"),
    Operation(4, ("read",), 9, UNKNOWN, None, "info"),
]


def as_text(line: str) -> str:
    words = line.strip("{}").replace(",", "").split(" ", 7)
    return "\t".join((words[1], words[3], words[5], words[7].partition(" :error")[0]))


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (edn_of(*REGISTER), "jepsen-edn"),
        (edn_of(*("#jepsen.history.Op" + line for line in REGISTER)), "jepsen-edn"),
        ("; by hand\n[" + "\n ".join(REGISTER) + "]\n", "knossos"),
        ("(" + " ".join(REGISTER) + ")", "knossos"),
        ("[" + "\n".join(REGISTER).replace(", ", ",\n ") + "\n]; the end", "knossos"),
        (edn_of(*map(as_text, REGISTER)), "jepsen-txt"),
        (
            "2026-11-25 15:37:05,049{GMT}\tINFO\t[main] jepsen.core: Run!\n"
            + edn_of(*(f"2026 INFO [jepsen worker 6] jepsen.util: {as_text(o)}" for o in REGISTER)),
            "jepsen-log",
        ),
    ],
)
def test_one_history_is_the_same_in_every_dress(text: str, format: str) -> None:
    assert detect(text) == format
    history = read(text, "cas-register")
    assert (history.format, history.operations) == (format, OPERATIONS)
    assert history.guessed == ("format", "keyed")


def test_a_shape_of_map_that_no_expression_fits_is_read_as_well() -> None:
    odd = [
        '{:f :write, :value 1, :extra {:a {:b {:c "}"}}}, :process 0, :type :invoke}',
        "{:f :write, :value #_ 9 1, :process 0, :type :ok}",
        '{:type :invoke, :process 1, :f :read :exception "a \\"quoted\\" {brace" :value nil}',
        '{:type :ok, :process 1, :f :read :exception "none" :value 1}',
        "{:type :invoke, :process 2, :f :write ; a remark }\n, :value {:deep [1 [2 [3]]]}}",
    ]
    history = read(edn_of(*odd), "register")
    assert [o.input[0] for o in history.operations] == ["write", "read", "write"]
    assert history.operations[1].output == 1
    assert history.lines == [(1, 2), (3, 4), (5, None)]


def test_lines_point_back_to_the_file() -> None:
    history = read("\n\n" + edn_of(*REGISTER), "cas-register")
    assert history.lines == [(3, 6), (5, 7), (8, 9), (10, 11), (12, None)]


# --- conventions ----------------------------------------------------------------------------------


def test_a_read_of_nil_is_unknown_or_saw_nil() -> None:
    text = edn_of(*both("write", "1"), *both("read", "nil", "nil"))
    assert check(read(text, "register").operations, cas_register()).verdict == "ok"
    history = read(text, "register", nil_read="value")
    assert history.operations[1].output is None
    assert check(history.operations, cas_register()).verdict == "illegal"


def test_a_failed_compare_and_set_is_dropped_or_observed() -> None:
    text = edn_of(*both("write", "1"), *both("cas", "[1 2]", kind="fail"))
    assert read(text, "cas-register").operations[1].outcome == "fail"
    history = read(text, "cas-register", failed="observed")
    assert (history.operations[1].output, history.operations[1].outcome) == (False, "ok")
    assert check(history.operations, cas_register()).verdict == "illegal"
    # An error in place of the value says nothing of what was found.
    lost = edn_of(*both("cas", "[1 2]", ":timed-out", kind="fail"))
    assert read(lost, "cas-register", failed="observed").operations[0].outcome == "fail"


def test_what_driftline_exports_is_restored() -> None:
    text = edn_of(
        op(0, "invoke", "cas", "[1 2]"),
        op(0, "fail", "cas", "[1 2]", saw="3"),
        op(0, "invoke", "read"),
        op(0, "ok", "read", "nil", saw="nil"),
    )
    assert said(read(text, "cas-register")) == [
        (("cas", 1, 2), Saw(3), "ok"),
        (("read",), None, "ok"),
    ]


def test_values_of_two_kinds_are_never_equal() -> None:
    for wrote, saw in (("1", "true"), ("1", "1.0"), (":a", '"a"'), ("1", "1M")):
        text = edn_of(*both("write", wrote), *both("read", "nil", saw))
        assert check(read(text, "register").operations, cas_register()).verdict == "illegal"


# --- keys -----------------------------------------------------------------------------------------

KEYED = edn_of(
    op(0, "invoke", "write", "[:x 1]"),
    op(0, "ok", "write", "[:x 1]"),
    op(1, "invoke", "read", "[:y nil]"),
    op(1, "ok", "read", "[:y 1]"),
)


def test_keys_are_told_by_a_read_that_has_one() -> None:
    for text in (KEYED, KEYED.replace("[:", "#jepsen.independent/tuple [:")):
        history = read(text, "kv")
        assert history.conventions is not None
        assert history.conventions.keyed
        assert [o.input for o in history.operations] == [
            ("write", Keyword("x"), 1),
            ("read", Keyword("y")),
        ]
        aside = read(text, "cas-register")
        assert aside.keys_aside()
        assert [o.input for o in aside.operations] == [("write", 1), ("read",)]
    plain = read(KEYED, "register", keyed=False)
    assert plain.operations[0].input == ("write", (Keyword("x"), 1))


def test_where_keys_cannot_be_told_the_caller_is_asked() -> None:
    doubtful = edn_of(*both("cas", "[1 [2 3]]"))
    with pytest.raises(FormatError, match="say whether they are keyed"):
        read(doubtful, "cas-register")
    assert read(doubtful, "cas-register", keyed=False).operations[0].input == ("cas", 1, (2, 3))
    assert read(doubtful, "kv", keyed=True).operations[0].input == ("cas", 1, 2, 3)


def test_a_model_that_is_judged_key_by_key_wants_keys() -> None:
    with pytest.raises(FormatError, match=r"kv is judged key by key, but this has no key"):
        read(edn_of(*both("write", "1")), "kv")


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "lines", "wanted"),
    [
        ("register", both("write", "1"), [(("write", 1), None, "ok")]),
        ("register", both("write", "nil", "4"), [(("write", 4), None, "ok")]),
        ("cas-register", both("cas", "[nil 1]"), [(("cas", None, 1), True, "ok")]),
        ("counter", both("add", "3"), [(("add", 3), None, "ok")]),
        ("counter", both("dec", "nil"), [(("add", -1), None, "ok")]),
        ("counter", both("add-and-get", "2", "[2 9]"), [(("add_and_get", 2), 9, "ok")]),
        ("set", both("add", ":a"), [(("add", Keyword("a")), None, "ok")]),
        ("set", both("read", "nil", "#{1 2}"), [(("read",), frozenset({1, 2}), "ok")]),
        ("set", both("contains", "1", "[1 true]"), [(("contains", 1), True, "ok")]),
        ("queue", both("enqueue", "1"), [(("enqueue", 1), None, "ok")]),
        ("queue", both("dequeue", "nil", "1"), [(("dequeue",), 1, "ok")]),
        ("queue", both("dequeue", "nil", "nil"), [(("dequeue",), UNKNOWN, "ok")]),
        ("queue", both("dequeue", "nil", ":empty"), [(("dequeue",), EMPTY, "ok")]),
        ("stack", both("pop", "nil", "2"), [(("pop",), 2, "ok")]),
        ("priority-queue", both("insert", "2"), [(("push", 2), None, "ok")]),
        ("mutex", both("acquire", "nil"), [(("acquire",), True, "ok")]),
        ("mutex", both("release", "nil", kind="fail"), [(("release",), True, "fail")]),
        ("semaphore", both("acquire", "2"), [(("acquire", 2), True, "ok")]),
        (
            "multi-register",
            both("txn", "[[:r :x nil] [:w :y 2]]", "[[:r :x 1] [:w :y 2]]"),
            [(("txn", (("r", Keyword("x")), ("w", Keyword("y"), 2))), (1,), "ok")],
        ),
        (
            "multi-register",
            both("txn", "[[:read :x nil]]"),
            [(("txn", (("r", Keyword("x")),)), (UNKNOWN,), "ok")],
        ),
        ("list-append", both("txn", "[[:append 7 1]]"), [(("append", 7, 1), None, "ok")]),
        ("list-append", both("txn", "[[:r 7 nil]]", "[[:r 7 [1]]]"), [(("read", 7), (1,), "ok")]),
        ("append-kv", both("append", '["k" "a"]'), [(("append", "k", "a"), None, "ok")]),
    ],
)
def test_every_model_has_its_words(
    model: str, lines: list[str], wanted: list[tuple[Any, Any, str]]
) -> None:
    keyed = True if model == "append-kv" else None
    assert said(read(edn_of(*lines), model, keyed=keyed)) == wanted


@pytest.mark.parametrize(
    ("model", "lines", "says"),
    [
        (
            "register",
            both("cas", "[1 2]"),
            r"events 0 and 1 \(lines 1 and 2\): 'cas' has no meaning",
        ),
        ("cas-register", both("cas", "3"), "a cas wants"),
        ("cas-register", both("write", "3", "4"), "is invoked with 3 and completes with 4"),
        ("counter", both("add", ":a"), "wants a whole number, found :a"),
        ("counter", both("read", "nil", "1.5"), "wants a whole number"),
        ("queue", both("drain", "nil", "[1 2]"), "'drain' has no meaning"),
        ("set", both("read", "nil", "3"), "wants a collection, found 3"),
        ("set", both("contains", "3", "nil"), "gives true or false"),
        ("multi-register", both("txn", "[[:cas :x 1]]"), "'cas' has no meaning in a txn"),
        ("multi-register", both("txn", "[[:w :x 1]]", "[[:w :x 2]]"), "a txn writes 1"),
        ("multi-register", both("txn", "[[:w :x 1]]", "[]"), "completes as another"),
        ("list-append", both("txn", "[[:append 7 1] [:r 8 nil]]"), "a txn of 2 operations"),
        ("mutex", both("lock", "nil"), "'lock' has no meaning"),
        ("append-kv", both("append", "[:k 3]"), "wants a string"),
        ("telephone", both("read", "nil"), "no model 'telephone'"),
    ],
)
def test_what_has_no_meaning_for_a_model_is_refused(
    model: str, lines: list[str], says: str
) -> None:
    keyed = True if model == "append-kv" else None
    with pytest.raises(FormatError, match=says):
        read(edn_of(*lines), model, keyed=keyed)


# --- files that are no history --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            [op(0, "ok", "read")],
            r"event 0 \(line 1\): process 0 completes 'read' with 'ok', but has",
        ),
        (
            [*both("read", "nil"), op(0, "ok", "read")],
            r"event 2 \(line 3\): process 0 completes 'read' .* or is completed twice",
        ),
        ([*both("read", "nil"), op(0, "info", "read")], r"event 2 \(line 3\)"),
        (
            [op(0, "invoke", "read"), op(0, "invoke", "write", "1")],
            r"event 1 \(line 2\): process 0 invokes 'write', but its 'read' of event 0 \(line 1\) is still",
        ),
        (
            [op(0, "invoke", "read"), op(0, "ok", "write", "1")],
            r"event 1 \(line 2\): process 0 completes 'write', but what it has open is 'read'",
        ),
        (["{:process 0, :f :read}"], r"event 0 \(line 1\): wants :type .* found :type nothing"),
        (["{:type :invoke, :f :read}"], "without a :process"),
        ([op(0, "begin", "read")], "found :type :begin"),
        ([*both("write", "1"), ":read"], r"event 2 \(line 3\): no operation"),
        (["[[]]"], "no operation"),
        (
            [op(0, "invoke", "read", index=5), op(0, "ok", "read", index=4)],
            r"event 1 \(line 2\): its :index is 4, after one of 5",
        ),
        (["[" + op(0, "invoke", "read")], "was the file cut off"),
        (["[" + op(0, "invoke", "read") + "] 3"], "something follows the end"),
        (
            [op(0, "invoke", "read", "[1 nil]"), op(0, "ok", "read", "3")],
            "keyed histories have values .key value., found 3",
        ),
    ],
)
def test_what_cannot_be_a_history_is_refused(lines: list[str], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        read(edn_of(*lines), "register")


def test_a_process_may_go_on_after_an_unknown_outcome() -> None:
    """Jepsen gives it a new number; where a tool does not, the lost operation stays open all the same."""
    text = edn_of(*both("write", "1", kind="info"), *both("read", "nil", "1"))
    assert [o.outcome for o in read(text, "register").operations] == ["info", "ok"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{:type \x00\n", r"line 1 has a byte 0"),
        (b"\n\x93NUMPY\xff", r"line 2 of .* is no UTF-8: byte 0x93"),
        (b"", "the file is empty"),
        (b"\n ; nothing\n", "the file is empty"),
        (b"<html>", "line 1 is of no format known here: '<html>'"),
        (b'[{"a": 1}]', "write one object a line"),
    ],
)
def test_a_file_of_no_format_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "history").write_bytes(data)
    with pytest.raises(FormatError, match=says):
        load(tmp_path / "history", "register")


def test_a_folder_stands_for_the_history_in_it(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="a folder without any of"):
        load(tmp_path, "register")
    (tmp_path / "history.edn").write_text(edn_of(*both("write", "1")))
    assert load(tmp_path, "register").format == "jepsen-edn"


def test_a_text_whose_last_event_has_no_end_is_refused() -> None:
    """Of 12 that was cut off 1 is left, and nobody could tell."""
    text = "0\t:invoke\t:read\tnil\n0\t:ok\t:read\t1"
    with pytest.raises(FormatError, match=r"line 2 has no end, .* end its last line"):
        read(text, "register")
    assert read(text + "2\n", "register").operations[0].output == 12


# --- driftline ------------------------------------------------------------------------------------

HEADER = '{"format":"driftline-history","version":1,"run":"r","nodes":["n1"],"clients":2}'


def drift(*events: dict[str, Any], header: str = HEADER) -> str:
    rows = [{"index": i, "time": 10 * i, **event} for i, event in enumerate(events)]
    return "\n".join([header, *map(json.dumps, rows)]) + "\n"


def line(
    kind: str, process: int, number: int, f: str, value: Any = None, **more: Any
) -> dict[str, Any]:
    return {
        "type": kind,
        "process": process,
        "op": number,
        "f": f,
        "key": "k",
        "value": value,
        **more,
    }


def test_driftlines_counters_say_what_each_add_made() -> None:
    """An add answers with the counter after it, and a counter that nobody has added to reads as nil."""
    events = [
        line("invoke", 0, 0, "read", None),
        line("ok", 0, 0, "read", None),
        line("invoke", 0, 1, "add", 3),
        line("ok", 0, 1, "add", {"add": 3, "now": 3}),
        line("invoke", 0, 2, "add", 2),
        line("info", 0, 2, "add", None),
    ]
    history = read(drift(*events), "counter")
    assert said(history) == [
        (("read",), 0, "ok"),
        (("add_and_get", 3), 3, "ok"),
        (("add", 2), UNKNOWN, "info"),
    ]


def test_a_driftline_history_is_read_by_its_own_clock() -> None:
    text = drift(
        line("invoke", 0, 0, "write", 1),
        line("invoke", 1, 1, "cas", {"from": 1, "to": 2}),
        line("ok", 0, 0, "write", 1),
        line("ok", 1, 1, "cas", {"from": 1, "to": 2, "swapped": False, "saw": 3}),
        line("invoke", 0, 2, "read", mode="local"),
        line("ok", 0, 2, "read", mode="local"),
        line("invoke", 0, 3, "read", mode="lease"),
        line("ok", 0, 3, "read", None, mode="lease"),
        line("invoke", 0, 4, "cas", {"from": 1, "to": 2}),
        line("info", 0, 4, "cas", {"from": 1, "to": 2}, error="timeout"),
    )
    history = read(text + '{"index":10,"ti', "kv")
    assert history.format == "driftline"
    assert history.operations == [
        Operation(0, ("write", "k", 1), 0, None, 20),
        Operation(1, ("cas", "k", 1, 2), 10, Saw(3), 30),
        Operation(0, ("read", "k"), 60, None, 70),
        Operation(0, ("cas", "k", 1, 2), 80, UNKNOWN, None, "info"),
    ]
    assert history.notes == (
        "the torn last line, 12, is cut",
        "1 reads of mode local are left out: they promise nothing",
    )
    assert history.lines[0] == (2, 4)
    assert read(text, "cas-register").keys_aside()


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([line("ok", 0, 0, "read")], r"event 0 \(line 2\): .* which was never invoked"),
        (
            [line("invoke", 0, 0, "read"), line("invoke", 0, 1, "read")],
            r"event 1 \(line 3\): process 0 invokes operation 1 while its 'read' \(line 2\)",
        ),
        ([line("invoke", 0, 0, "read"), line("invoke", 1, 0, "read")], "invoked a second time"),
        (
            [line("invoke", 0, 0, "read"), line("ok", 0, 0, "read"), line("ok", 0, 0, "read")],
            r"event 2 \(line 4\): .* which is over",
        ),
        (
            [
                line("invoke", 0, 0, "read"),
                line("info", 0, 0, "read"),
                line("invoke", 0, 1, "read"),
            ],
            "goes on after its outcome was unknown in line 3",
        ),
        ([line("invoke", 0, 0, "read") | {"index": 1}], "where 0 is due"),
        ([line("invoke", 0, 0, "read") | {"time": -1}], "time goes from 0 to -1"),
        ([line("invoke", 0, 0, "read") | {"time": 0.5}], "time must be a whole number"),
        ([line("invoke", 0, 0, "cas", 3)], "a cas has the value"),
        ([line("start", 0, 0, "read")], "wants a type"),
        (
            [line("invoke", 0, 0, "read"), line("ok", 0, 0, "write", 1)],
            "completed as write k, but was invoked as read k in line 2",
        ),
        (
            [
                line("invoke", 0, 0, "cas", {"from": 1, "to": 2}),
                line("ok", 0, 0, "cas", {"from": 1, "to": 2}),
            ],
            "says whether it swapped",
        ),
    ],
)
def test_a_driftline_history_that_cannot_be_is_refused(
    events: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(FormatError, match=says):
        read(drift(*events), "kv")


def test_conventions_that_a_format_leaves_no_room_for_are_refused() -> None:
    lines_of_json = '{"input": ["read"], "call": 0, "return": 1}\n'
    for text, conventions in (
        (drift(), {"failed": "observed"}),
        (drift(), {"keyed": False}),
        ('{:process 0, :type :invoke, :f :get, :key "2", :value nil}', {"keyed": True}),
        (lines_of_json, {"nil_read": "value"}),
        (lines_of_json, {"keyed": False}),
    ):
        with pytest.raises(FormatError, match=r"nothing to decide there"):
            read(text, "append-kv", **conventions)  # type: ignore[arg-type]


def test_another_version_of_driftlines_history_is_refused() -> None:
    with pytest.raises(FormatError, match="version 2"):
        read(drift(header=HEADER.replace('"version":1', '"version":2')), "kv")


# --- one history, all formats ---------------------------------------------------------------------


def dressed(history: list[Operation], format: str) -> str:
    """An etcd log's operations in another format. Times are line numbers, all different."""
    events: list[tuple[int, int, str, Operation]] = []
    for number, o in enumerate(history):
        events.append((o.call, number, "invoke", o))
        if o.return_time is not None:
            kind = "fail" if o.outcome == "fail" or o.output is False else "ok"
            events.append((o.return_time, number, kind, o))
    events.sort(key=lambda event: event[0])
    if format == "driftline":
        rows = []
        for _, number, kind, o in events:
            value: Any = o.output if o.input[0] == "read" and kind == "ok" else None
            if o.input[0] == "write":
                value = o.input[1]
            elif o.input[0] == "cas":
                value = {"from": o.input[1], "to": o.input[2]}
                if kind != "invoke":
                    value["swapped"] = kind == "ok"
                    kind = "ok"
            rows.append(line(kind, number, number, o.input[0], value))
        return drift(*rows)
    lines = []
    for _, number, kind, o in events:
        name, *arguments = o.input
        value = (
            f"[{arguments[0]} {arguments[1]}]"
            if name == "cas"
            else arguments[0]
            if arguments
            else "nil"
        )
        if name == "read" and kind == "ok" and o.output is not None:
            value = o.output
        lines.append(op(number, kind, name, str(value)))
    if format == "jepsen-txt":
        return edn_of(*map(as_text, lines))
    return "[" + edn_of(*lines) + "]" if format == "knossos" else edn_of(*lines)


@pytest.mark.parametrize("path", sorted(DATA.glob("etcd/*.log")), ids=lambda path: path.stem)
def test_the_known_verdicts_are_the_same_in_every_format(path: Path) -> None:
    history = read_etcd_log(path.read_text())
    known = check(history, cas_register()).verdict
    for format in ("jepsen-edn", "knossos", "jepsen-txt", "driftline"):
        text = dressed(history, format)
        assert detect(text) == format
        failed: Any = None if format == "driftline" else "observed"
        found = read(text, "cas-register", nil_read="value", failed=failed)
        assert check(found.operations, cas_register()).verdict == known, format
    # Knossos' own reading never forbids more than Porcupine's.
    loose = read(dressed(history, "knossos"), "cas-register")
    if known == "ok":
        assert check(loose.operations, cas_register()).verdict == "ok"
