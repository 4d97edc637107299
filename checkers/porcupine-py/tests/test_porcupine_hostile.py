"""Nothing that is put in makes the package fall over: files of any bytes, objects of any behaviour, models that lie.

A parser gives a history or a PorcupineError. A check gives a verdict that the oracle would give, or an error that the
model itself raised, the same from both cores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import porcupine.native
import porcupine.zones
from porcupine import (
    EMPTY,
    UNKNOWN,
    HistoryError,
    Model,
    ModelError,
    Operation,
    PorcupineError,
    Saw,
    check,
    check_operations_verbose,
    models,
)
from porcupine.cli import main
from porcupine.formats import FORMATS, decoded, read
from porcupine.formats.meaning import MEANINGS
from porcupine.visualization import visualize

DATA = Path(__file__).parent / "data"

# --- parsers --------------------------------------------------------------------------------------

EDN = """\
{:process 0, :type :invoke, :f :write, :value 1, :time 10, :index 0}
{:process :nemesis, :type :info, :f :start, :value nil, :time 11, :index 1}
{:process 1, :type :invoke, :f :cas, :value [1 2], :time 12, :index 2}
{:process 0, :type :ok, :f :write, :value 1, :time 13, :index 3}
{:process 1, :type :fail, :f :cas, :value [1 2], :time 14, :index 4, :error [:no "sorry \\"x\\""]}
{:process 2, :type :invoke, :f :read, :value nil, :time 15, :index 5}
{:process 2, :type :ok, :f :read, :value 1, :time 16, :index 6}
"""
SAMPLES: dict[str, str] = {
    "jepsen-edn": EDN,
    "knossos": f"; a test\n[{EDN}]\n",
    "keyed": EDN.replace(":value 1", ":value [:x 1]")
    .replace(":value [1 2]", ":value [:x [1 2]]")
    .replace(":f :read, :value nil", ":f :read, :value [:x nil]"),
    "txn": "{:type :invoke, :f :txn, :value [[:r 1 nil] [:append 1 2] #_ 3], :process 0}\n"
    "{:type :ok, :f :txn, :value [[:r 1 [2]] [:append 1 2]], :process 0}\n",
    "etcd": "".join((DATA / "etcd/etcd_000.log").read_text().splitlines(keepends=True)[:12]),
    "jepsen-txt": "0\t:invoke\t:read\tnil\n1\t:invoke\t:write\t3\n1\t:ok\t:write\t3\n0\t:ok\t:read\t3\n",
    "jepsen-log": "2026 INFO [worker 0] jepsen.util: 0\t:invoke\t:enqueue\t1\nWARN\n"
    '2026 INFO [worker 0] jepsen.util: 0\t:fail\t:enqueue\t1\tjava.lang.Exception: "oh\n',
    "kv": "".join((DATA / "kv/c01-ok.txt").read_text().splitlines(keepends=True)[:8]),
    "json": '{"client": 0, "input": ["write", [1, "é"]], "call": 0, "return": 5}\n'
    '{"input": ["cas", 1, 2], "call": 1, "return": 2, "output": {"saw": 4}}\n'
    '{"input": ["read"], "call": 3, "outcome": "info"}\n',
    "driftline": '{"format":"driftline-history","version":1}\n'
    '{"index":0,"time":1,"type":"invoke","process":0,"op":0,"f":"cas","key":"k","value":{"from":1,"to":2}}\n'
    '{"index":1,"time":2,"type":"ok","process":0,"op":0,"f":"cas","key":"k",'
    '"value":{"from":1,"to":2,"swapped":false,"saw":[3]}}\n'
    '{"index":2,"time":3,"type":"invoke","process":1,"op":1,"f":"read","key":"k","mode":"local"}\n',
}
SNIPPETS = [
    *'[](){}#"\\:;,\n\t -0e.MN/é\x00\ud800\u2028',
    *(
        "#_",
        "nil",
        ":invoke",
        ":ok",
        "1N",
        "##NaN",
        '"a\\',
        "#x ",
        "[[",
        "null",
        "1e999",
        "9" * 400,
    ),
]
SAMPLE = st.sampled_from(sorted(SAMPLES))
MODEL = st.sampled_from(sorted(MEANINGS))
FORMAT = st.sampled_from(["auto", *FORMATS])


def judged(text: str, model: str, format: str, **conventions: Any) -> str:
    """A verdict, or what was refused. Anything else that is raised fails the test."""
    try:
        history = read(text, model, format=format, **conventions)
        assert len(history.lines) == len(history.operations)
    except PorcupineError as error:
        return "refused" if "\n" not in str(error) else f"refused in several lines: {error}"
    if history.format == "json":
        return "read"  # what a model says to any JSON is its own business
    made = models.semaphore(2) if model == "semaphore" else None
    try:
        found = check(history.operations, made or READY[model](), step_limit=2_000)
    except PorcupineError:
        return "refused"
    return found.verdict


READY: dict[str, Callable[[], Model]] = {
    "append-kv": models.append_kv,
    "cas-register": models.cas_register,
    "counter": models.counter,
    "kv": models.kv,
    "list-append": models.list_append,
    "multi-register": models.multi_register,
    "mutex": models.mutex,
    "priority-queue": models.priority_queue,
    "queue": models.queue,
    "register": models.register,
    "set": models.set_of_values,
    "stack": models.stack,
}


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text('{}[]()#:;"\\ \n\tnil0123.eNM/_-abinvokfr,'), MODEL, FORMAT)
@example("[" * 100_000, "register", "knossos")
@example('{"a":' * 100_000, "register", "json")
@example("[" * 100_000, "register", "driftline")
def test_any_text_is_a_history_or_is_refused(text: str, model: str, format: str) -> None:
    judged(text, model, format)


@settings(max_examples=150, deadline=None)
@given(st.binary())
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe{")
def test_any_bytes_are_a_text_or_are_refused(data: bytes) -> None:
    try:
        text = decoded(data, "the file")
    except PorcupineError:
        return
    judged(text, "register", "auto")


@settings(max_examples=250, deadline=None)
@given(SAMPLE, MODEL, st.booleans() | st.none(), st.randoms(use_true_random=False))
def test_a_file_that_was_tampered_with_is_judged_or_refused(
    name: str, model: str, keyed: bool | None, rng: random.Random
) -> None:
    text = SAMPLES[name]
    for _ in range(rng.randint(1, 3)):
        begin = rng.randrange(len(text) + 1)
        end = min(len(text), begin + rng.choice([0, 0, 1, 1, 3, 20]))
        lines = text.splitlines(keepends=True)
        what = rng.randrange(5)
        if what == 0 and lines:
            place = rng.randrange(len(lines))
            lines[place:place] = [rng.choice(lines)] * rng.randint(1, 2)
            text = "".join(lines)
        elif what == 1 and lines:
            del lines[rng.randrange(len(lines))]
            text = "".join(lines)
        else:
            text = text[:begin] + rng.choice(["", *SNIPPETS]) + text[end:]
    format = rng.choice(["auto", "auto", "auto", *FORMATS])
    for conventions in ({}, {"keyed": keyed, "nil_read": "value", "failed": "observed"}):
        assert "lines" not in judged(text, model, format, **conventions)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_file_cut_off_at_any_byte_is_judged_or_refused(name: str) -> None:
    data = SAMPLES[name].encode()
    model = {"txn": "list-append", "kv": "append-kv", "jepsen-log": "queue", "driftline": "kv"}.get(
        name, "cas-register"
    )
    verdicts = set()
    for end in range(len(data) + 1):
        try:
            text = decoded(data[:end], "the file")
        except PorcupineError:
            verdicts.add("refused")
            continue
        verdicts.add(judged(text, model, "auto"))
    # What was legal as a whole is never illegal when cut.
    assert "illegal" not in verdicts or judged(SAMPLES[name], model, "auto") == "illegal"


@settings(max_examples=30, deadline=None)
@given(SAMPLE, MODEL, st.binary(max_size=8), st.integers(0, 400))
def test_the_command_line_never_ends_with_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, name: str, model: str, put: bytes, at: int
) -> None:
    data = SAMPLES[name].encode()
    file = tmp_path_factory.mktemp("hostile") / "history"
    file.write_bytes(data[:at] + put + data[at:])
    more = ["--permits", "2"] if model == "semaphore" else []
    assert main(["check", str(file), "--model", model, "--steps", "2000", "--quiet", *more]) in (
        *(0, 1, 2, 64),
    )
    assert main(["check", str(file), "--model", model, "--steps", "2000", "--json", *more]) in (
        *(0, 1, 2, 64),
    )


# --- objects --------------------------------------------------------------------------------------


class Boom(Exception):
    """What a hostile object raises."""


class Odd:
    """A value that is awkward in one way."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __repr__(self) -> str:
        return f"Odd({self.how})"

    def __eq__(self, other: object) -> Any:
        if self.how == "eq":
            raise Boom("no comparing")
        if self.how == "neither":
            return NotImplemented
        if self.how == "text":
            return "yes"
        return self.how != "unlike itself" and self is other

    def __hash__(self) -> int:
        if self.how == "hash":
            raise Boom("no hashing")
        return 1

    def __lt__(self, other: object) -> bool:
        raise Boom("no order")

    def __bool__(self) -> bool:
        raise Boom("neither true nor false")


HOWS = ["eq", "hash", "unlike itself", "neither", "text"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, -(2**63) - 1, 10**400, 1.0, 0.5, -0.0, math.nan, math.inf, 1 + 0j]),
    st.sampled_from(["", "a", "k", "\ud800", "é" * 3, b"a"]),
    st.sampled_from([EMPTY, UNKNOWN, Saw(1), Saw([]), Fraction(1, 2)]),
    st.builds(Odd, st.sampled_from(HOWS)),
    st.builds(object),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner),
        st.tuples(inner, inner),
        st.lists(inner, max_size=3),
        st.lists(st.integers(0, 3), max_size=3).map(set),
        st.dictionaries(st.integers(0, 3), inner, max_size=2),
    ),
    max_leaves=4,
)
WORDS = st.sampled_from(["read", "write", "cas", "get", "put", "append", "add", "add_and_get"]) | (
    st.sampled_from(["remove", "contains", "enqueue", "dequeue", "peek", "push", "pop", "txn"])
    | st.sampled_from(["acquire", "release"])
)
INPUTS = st.one_of(
    st.tuples(WORDS),
    st.tuples(WORDS, VALUES),
    st.tuples(WORDS, VALUES, VALUES),
    st.tuples(
        st.just("txn"), st.lists(st.tuples(st.sampled_from("rwx"), LEAVES, LEAVES)).map(tuple)
    ),
    VALUES,
)
TIMES = st.integers(-4, 4) | st.sampled_from([-(2**63), 2**63, 2**200, True, 1.5, Fraction(1, 3)])


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    found = []
    for client in range(draw(st.integers(0, 4))):
        call, back = sorted((draw(TIMES), draw(TIMES)))
        outcome = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
        found.append(Operation(client, draw(INPUTS), call, draw(VALUES), back, outcome))
    return found


@contextmanager
def in_python() -> Iterator[None]:
    with (
        patch.object(porcupine.native, "compiled", None),
        patch.object(porcupine.zones, "compiled", None),
    ):
        yield


def outcome(ask: Callable[[], Any]) -> str:
    """A verdict, or the name of what was raised, which must not be a failure of our own."""
    try:
        return str(ask())
    except Exception as error:
        found = error
    assert "compiled core failed" not in str(found), found
    return type(found).__name__


def possible(lab: Any, model: Model, history: list[Operation]) -> set[str]:
    """What may come of it: the oracle's verdict where a step that raises fits nowhere, and whatever was raised."""
    raised: set[str] = set()
    inner = model.step
    assert inner is not None

    def step(state: Any, given: Any, output: Any) -> tuple[bool, Any]:
        try:
            return model.answer(inner(state, given, output))
        except Exception as error:
            raised.add(type(error).__name__)
            return False, state

    tame = Model(model.init, step, sees_failures=model.sees_failures)
    try:
        raised.add("ok" if lab.oracle(tame, history) else "illegal")
    except (
        Exception
    ) as error:  # states that cannot be kept in a set, for which the oracle has no other way
        raised.add(type(error).__name__)
        raised |= {"ok", "illegal"}
    return raised


def agreed(lab: Any, model: Model, history: list[Operation]) -> None:
    """Both cores say the same; where one raises, the other may have had no need to ask for what raises."""
    answers = []
    for prefer in ("auto", "search"):

        def ask(prefer: Any = prefer) -> str:
            return check(history, model, prefer=prefer, step_limit=5_000).verdict

        answers.append(outcome(ask))
        with in_python():
            answers.append(outcome(ask))
    verdicts = {answer for answer in answers if answer in ("ok", "illegal", "unknown")}
    assert len(verdicts) <= 1, answers
    if len(set(answers)) > 1:
        # Objects that raise when they are compared or hashed do so where they are met first.
        assert set(answers) <= possible(lab, model, history) | {
            "Boom",
            "TypeError",
            "ModelError",
        }, answers


ASKED = {
    name: make for name, make in READY.items() if name not in ("kv", "append-kv", "list-append")
}


@pytest.mark.parametrize("name", sorted(ASKED))
@settings(max_examples=30, deadline=None)
@given(history=histories())
def test_both_cores_agree_on_any_objects(lab: Any, name: str, history: list[Operation]) -> None:
    agreed(lab, ASKED[name](), history)
    outcome(lambda: check_operations_verbose(ASKED[name](), history, 1.0)[1].orders)


@settings(max_examples=30, deadline=None)
@given(history=histories())
def test_any_objects_may_be_keys(history: list[Operation]) -> None:
    for make in (models.kv, models.append_kv, models.list_append):
        answers = []
        for engine in (None, in_python()):
            if engine is not None:
                engine.__enter__()
            answers.append(
                outcome(lambda make=make: check(history, make(), step_limit=5_000).verdict)
            )
            if engine is not None:
                engine.__exit__(None, None, None)
        verdicts = {answer for answer in answers if answer in ("ok", "illegal", "unknown")}
        assert len(verdicts) <= 1, answers


# --- models ---------------------------------------------------------------------------------------

PLAIN = st.sampled_from(["read", "write"])


@st.composite
def tame_histories(draw: st.DrawFn) -> list[Operation]:
    found = []
    for client in range(draw(st.integers(1, 5))):
        call = draw(st.integers(0, 5))
        back = call + draw(st.integers(0, 4))
        lost = draw(st.sampled_from(["ok", "ok", "info"]))
        found.append(
            Operation(client, draw(PLAIN), call, draw(st.integers(0, 2)), back, lost)  # type: ignore[arg-type]
        )
    return found


STATES = st.one_of(
    st.integers(0, 2),
    st.sampled_from([None, (), "a", 1.0, True, math.nan]),
    st.lists(st.integers(0, 1), max_size=1),
    st.builds(Odd, st.sampled_from(HOWS)),
)
ANSWERS = st.one_of(
    st.tuples(st.booleans(), STATES),
    st.tuples(st.booleans(), STATES),
    st.sampled_from(
        [None, 3, "no", (), (True,), (True, 1, 2), (None, 0), ("x", 0), (Odd("eq"), 0)]
    ),
    st.just(Boom),
)


class Scripted:
    """A function of its arguments, drawn from a table as they come: the same for the same ones."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.known: dict[str, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        key = repr(arguments)
        if key not in self.known:
            # By the arguments alone, so that it does not matter who asks first.
            self.known[key] = self.answers[random.Random(key).randrange(len(self.answers))]
        answer = self.known[key]
        if answer is Boom:
            raise Boom("from the model")
        return answer


@settings(max_examples=150, deadline=None)
@given(
    history=tame_histories(),
    steps=st.lists(ANSWERS, min_size=1, max_size=6),
    first=STATES | st.just(Boom),
    equal=st.none() | st.lists(st.sampled_from([True, False, 1, "", None, Boom]), min_size=1),
    digest=st.none() | st.lists(st.sampled_from([0, 1, 2**100, "x", None, [], Boom]), min_size=1),
    readonly=st.none() | st.lists(st.sampled_from([True, False, None, Boom]), min_size=1),
)
def test_a_model_that_raises_or_lies_is_answered_alike_by_both_cores(
    history: list[Operation], steps: list[Any], first: Any, equal: Any, digest: Any, readonly: Any
) -> None:
    def model() -> Model:
        return Model(
            Scripted([first]),
            Scripted(steps),
            equal=None if equal is None else Scripted(equal),
            hash=None if digest is None else Scripted(digest),
            readonly=None if readonly is None else Scripted(readonly),
        )

    compiled = outcome(lambda: check(history, model(), step_limit=5_000).verdict)
    with in_python():
        plain = outcome(lambda: check(history, model(), step_limit=5_000).verdict)
    lies = equal is not None or digest is not None or readonly is not None
    if compiled != plain and not lies:
        errors = {"Boom", "ModelError", "TypeError"}
        assert {compiled, plain} & errors, (compiled, plain)


@pytest.mark.parametrize(
    "partition",
    [
        lambda operations: None,
        lambda operations: 3,
        lambda operations: [5],
        lambda operations: {"k": None},
        lambda operations: [operations, operations],
        lambda operations: [[Operation(0, "read", 0, 0, 1)]],
        lambda operations: [["text"]],
        lambda operations: {Boom: operations[:1], 2: operations[:1]},
    ],
)
def test_a_partition_that_makes_no_sense_is_refused(partition: Any) -> None:
    history = [Operation(0, "read", 0, 0, 1), Operation(1, "read", 0, 0, 1)]
    model = Model(lambda: 0, lambda s, i, o: (True, s), partition=partition)
    with pytest.raises(ModelError, match="part"):
        check(history, model)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (Operation(0, "x", None, 0, 1), "None as the time of its call"),  # type: ignore[arg-type]
        (Operation(0, "x", math.nan, 0, 1), "nan as the time of its call"),  # type: ignore[arg-type]
        (Operation(0, "x", "0", 0, 1), "'0' as the time of its call"),  # type: ignore[arg-type]
        (Operation(0, "x", 0, 0, "1"), "'1' as the time of its return"),  # type: ignore[arg-type]
        (Operation(0, "x", math.nan, 0, None, "info"), "as the time of its call"),  # type: ignore[arg-type]
        (Operation(0, "x", 0, 0, 1, []), "has the outcome"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_time_and_no_outcome_is_refused(operation: Operation, says: str) -> None:
    with pytest.raises(HistoryError, match=says):
        check([operation], models.register())


def test_a_picture_of_hostile_values_is_drawn() -> None:
    history = [
        Operation("<b>", ("write", "\ud800</script>"), 0, None, 1),
        Operation(1, ("read",), 2, "é", 3),
    ]
    _, info = check_operations_verbose(models.register(), history, 5)
    written: list[str] = []

    class Out:
        def write(self, text: str) -> None:
            written.append(text)

    visualize(models.register(), info, Out())
    assert written
    assert written[0].isascii()
