"""The register workload: pure, drawn by position, with values that say whose they are, over keys that retire."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from checkers.judging import Judge, resolve
from checkers.records.fitness import operations
from tests.checkers import written
from workloads import registry
from workloads.generator import DONE, Completion, Context, Limit, Op, Sequence, Weights
from workloads.register import MODES, Client, Register, model


def stream(client: int) -> Random:
    return Random(f"client/{client}")


def asked(client: Client, number: int, count: int) -> list[Op]:
    found = []
    for _ in range(count):
        op = client.next(Context(client=number, process=number))
        assert isinstance(op, Op)
        found.append(op)
    return found


def clients(workload: Register, count: int) -> list[Client]:
    return [workload.generator(c, count, stream(c)) for c in range(count)]


def interleaved(count: int, rounds: int, **params: Any) -> Iterator[tuple[int, Op]]:
    workload = Register(params)
    everyone = clients(workload, count)
    for _ in range(rounds):
        for number, client in enumerate(everyone):
            yield number, asked(client, number, 1)[0]


def test_the_same_streams_give_the_same_operations() -> None:
    assert list(interleaved(5, 50)) == list(interleaved(5, 50))


class Counting(Random):
    """A stream that counts what is drawn from it."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return super().random()


@pytest.mark.parametrize(
    "weights", [{"write": 1}, {"read": 1}, {"cas": 1}, {"write": 1, "read": 1, "cas": 1}]
)
def test_every_operation_draws_equally_often(weights: dict[str, int]) -> None:
    """So op i stands at one position of the stream, whatever came before it."""
    random = Counting(1)
    client = Register({"weights": weights}).generator(0, 1, random)
    drawn = []
    for _ in range(50):
        before = random.drawn
        asked(client, 0, 1)
        drawn.append(random.drawn - before)
    assert set(drawn) == {3}


def test_op_i_does_not_depend_on_the_other_clients_nor_on_outcomes() -> None:
    alone = Register({"ops_per_key": 10_000})
    expected = asked(alone.generator(2, 3, stream(2)), 2, 100)
    among = Register({"ops_per_key": 10_000})
    everyone = clients(among, 9)
    for i, wanted in enumerate(expected):
        for number, client in enumerate(everyone):
            (op,) = asked(client, number, 1)
            if number == 2:
                # What a cas expects is what was last seen; all else is drawn.
                assert (op.f, op.key, op.mode) == (wanted.f, wanted.key, wanted.mode)
                assert new_value(op) == new_value(wanted)
            if i % 3 == 0:
                client.update(Completion(number, number, op, "fail"))


def new_value(op: Op) -> Any:
    return op.value["to"] if op.f == "cas" else op.value


def test_one_more_client_changes_nobody_elses_operations() -> None:
    few = [
        (n, op.f, op.key, op.mode, new_value(op)) for n, op in interleaved(4, 60, ops_per_key=9999)
    ]
    more = [
        (n, op.f, op.key, op.mode, new_value(op))
        for n, op in interleaved(5, 60, ops_per_key=9999)
        if n < 4
    ]
    assert few == more


@pytest.mark.parametrize("count", [1, 7, 200, 1500])
def test_every_written_value_is_unique(count: int) -> None:
    values = [new_value(op) for _, op in interleaved(count, 12, readers=0) if op.f != "read"]
    assert len(values) > 2
    assert len(values) == len(set(values))


def test_kinds_and_modes_come_by_their_weights() -> None:
    ops = [op for _, op in interleaved(6, 500, weights={"write": 1, "read": 3}, readers=0)]
    reads = [op for op in ops if op.f == "read"]
    assert 0.7 < len(reads) / len(ops) < 0.8
    assert {op.f for op in ops} == {"write", "read"}
    assert {op.mode for op in reads} == {"lease", "readindex"}
    assert all(op.mode is None for op in ops if op.f == "write")


def test_every_second_client_only_reads_and_by_the_first_mode() -> None:
    by_client: dict[int, list[Op]] = {}
    for number, op in interleaved(4, 600, weights={"write": 1, "read": 1}):
        by_client.setdefault(number, []).append(op)
    for number, ops in by_client.items():
        reads = [op.mode for op in ops if op.f == "read"]
        if number % 2 == 0:
            assert len(reads) == len(ops)
            assert set(reads) == {"lease"}
        else:
            assert len(reads) / len(ops) == pytest.approx(0.5, abs=0.08)
            assert set(reads) == {"lease", "readindex"}


def test_a_key_retires_after_its_operations() -> None:
    ops: dict[str, int] = {}
    for _, op in interleaved(3, 100, keys=2, ops_per_key=20):
        assert op.key is not None
        ops[op.key] = ops.get(op.key, 0) + 1
    assert max(ops.values()) == 20
    assert len(ops) >= 15


def test_a_key_retires_after_unknown_outcomes_of_writes_but_not_of_reads() -> None:
    for weights, retired in (({"write": 1}, True), ({"read": 1}, False)):
        workload = Register({"keys": 1, "infos_per_key": 3, "weights": weights, "readers": 0})
        client = workload.generator(0, 1, stream(0))
        for _ in range(4):
            (op,) = asked(client, 0, 1)
            client.update(Completion(0, 0, op, "info"))
        assert (len({op.key for op in workload.final_ops()}) == 2) is retired


def test_a_cas_expects_what_was_last_seen_there() -> None:
    workload = Register({"keys": 1, "weights": {"cas": 1}, "readers": 0})
    client = workload.generator(0, 1, stream(0))

    def expects() -> Any:
        return asked(client, 0, 1)[0].value["from"]

    assert expects() is None
    write, read = Op("write", "k0.0", 5), Op("read", "k0.0", None, "lease")
    client.update(Completion(0, 0, write, "ok", 5))
    assert expects() == 5
    client.update(Completion(0, 0, read, "ok", 6))
    assert expects() == 6
    cas = Op("cas", "k0.0", {"from": 6, "to": 7})
    client.update(Completion(0, 0, cas, "ok", {"from": 6, "to": 7, "swapped": True}))
    assert expects() == 7
    client.update(Completion(0, 0, cas, "ok", {"from": 6, "to": 8, "swapped": False, "saw": 9}))
    assert expects() == 9
    client.update(Completion(0, 0, Op("read", "k0.0", None, "local"), "ok", 1))
    client.update(Completion(0, 0, write, "fail"))
    client.update(Completion(0, 0, write, "info"))
    assert expects() == 9


def test_final_reads_go_over_every_key_by_every_mode_and_locally() -> None:
    workload = Register({"keys": 2})
    assert [(op.key, op.mode) for op in workload.final_ops()] == [
        (key, mode) for key in ("k0.0", "k1.0") for mode in MODES
    ]
    assert {op.mode for op in Register({"read_modes": ["local"]}).final_ops()} == {"local"}


@pytest.mark.parametrize(
    "params",
    [
        {"keys": 0},
        {"keys": "many"},
        {"ops_per_key": 0},
        {"infos_per_key": -1},
        {"weights": {}},
        {"weights": {"write": 0}},
        {"weights": {"write": -1, "read": 5}},
        {"weights": {"increment": 1}},
        {"weights": [1, 2]},
        {"read_modes": []},
        {"read_modes": ["eventual"]},
        {"readers": -1},
        {"kees": 5},
    ],
)
def test_bad_parameters_are_refused_in_one_line(params: dict[str, Any]) -> None:
    with pytest.raises(registry.WorkloadError) as error:
        registry.load("register", params)
    assert "\n" not in str(error.value)
    assert "register" in str(error.value)
    assert repr(next(iter(params))) in str(error.value)


def test_an_unknown_workload_is_refused_with_those_there_are() -> None:
    with pytest.raises(registry.WorkloadError, match=r"'bank'.*register"):
        registry.load("bank", {})


def test_the_header_names_a_model_that_gives_the_judge() -> None:
    header = registry.load("register", {"keys": 3}).header()
    assert header.params["keys"] == 3
    judge = resolve(header.model, header.params)
    assert isinstance(judge, Judge)


def test_the_judge_says_part_input_output_and_outcome() -> None:
    text = """
        0: write k 1     [0 10]
        1: cas k 1 2     [20 30]
        2: cas j 7 8 / 2 [40 50]
        3: read k 2      [60 70] lease
        4: read k 2      [80 ? 90] readindex
        5: write k 9     [100 ! 110]
        6: write k 10    [120 -]
        7: read k 1      [130 140] local"""
    judge = model({})
    points = [judge.point(operation) for operation in operations(written.events(text))]
    shown = [None if p is None else (p.part, p.input, repr(p.output), p.outcome) for p in points]
    assert shown == [
        ("k", ("write", 1), "None", "ok"),
        ("k", ("cas", 1, 2), "True", "ok"),
        ("j", ("cas", 7, 8), "Saw(value=2)", "ok"),
        ("k", ("read",), "2", "ok"),
        ("k", ("read",), "UNKNOWN", "info"),
        ("k", ("write", 9), "UNKNOWN", "fail"),
        ("k", ("write", 10), "UNKNOWN", "info"),
        None,
    ]


def test_limit_sequence_and_weights() -> None:
    context = Context(client=0, process=0)
    ops = [Op("read", "k"), Op("write", "k", 1)]
    limited = Limit(1, Sequence(ops))
    assert [limited.next(context), limited.next(context)] == [ops[0], DONE]
    sequence = Sequence(ops)
    assert [sequence.next(context) for _ in range(3)] == [*ops, DONE]
    weights = Weights({"a": 1, "b": 0, "c": 3})
    assert [weights.pick(draw / 4) for draw in range(4)] == ["a", "c", "c", "c"]
