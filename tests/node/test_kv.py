"""The replicated state machine: deterministic, at most once per session number, never raising."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.kv import (
    INVALID,
    STALE,
    BadState,
    KeyValue,
    encode_add,
    encode_append,
    encode_cas,
    encode_write,
)

Step = tuple[str, int, str, str, int | None, int | None]


def test_a_write_is_read_back_and_an_unwritten_key_is_none() -> None:
    """A register starts as None."""
    kv = KeyValue()
    assert kv.read("x") is None
    result = kv.apply(encode_write("s", 1, "x", 7), 5, 2)
    assert (result.value, result.index, result.term, result.error) == ({"ok": True}, 5, 2, "")
    assert kv.read("x") == 7


def test_a_cas_tells_what_it_saw_and_swaps_only_what_it_expected() -> None:
    """Both outcomes of a compare-and-set carry the value seen; None matches an unwritten key."""
    kv = KeyValue()
    assert kv.apply(encode_cas("s", 1, "x", 1, 2), 1, 1).value == {"swapped": False, "saw": None}
    assert kv.apply(encode_cas("s", 2, "x", None, "a"), 2, 1).value == {
        "swapped": True,
        "saw": None,
    }
    assert kv.apply(encode_cas("s", 3, "x", "a", None), 3, 1).value == {"swapped": True, "saw": "a"}
    assert kv.read("x") is None


def test_a_retry_gets_the_first_result_and_changes_nothing() -> None:
    """The same session number is applied once, with the first entry's index and term told again."""
    kv = KeyValue()
    first = kv.apply(encode_cas("s", 1, "x", None, 1), 3, 1)
    kv.apply(encode_write("t", 1, "x", 9), 4, 1)
    assert kv.apply(encode_cas("s", 1, "x", None, 1), 5, 2) == first
    assert kv.read("x") == 9


def test_a_number_below_the_newest_is_stale() -> None:
    """A late copy of an older command must not be applied after its successor."""
    kv = KeyValue()
    kv.apply(encode_write("s", 1, "x", 1), 1, 1)
    kv.apply(encode_write("s", 2, "x", 2), 2, 1)
    assert kv.apply(encode_write("s", 1, "x", 1), 3, 1).error == STALE
    assert kv.read("x") == 2


def test_commands_of_the_wrong_shape_are_invalid() -> None:
    """Every malformed command gets the same error result and leaves the state alone."""
    kv = KeyValue()
    before = kv.dump()
    shapes: list[object] = [
        [],
        {},
        None,
        ["s", 1, "write", "x"],
        ["s", 1, "write", "x", 1, 2],
        ["s", 1, "cas", "x", 1],
        ["s", 1, "cas", "x", 1, 2, 3],
        ["s", 1, "push", "x", 1],
        ["s", 0, "write", "x", 1],
        ["s", "1", "write", "x", 1],
        ["s", 1, "write", "x", 1.5],
        ["s", 1, "write", "x", [1]],
        [1, 1, "write", "x", 1],
    ]
    for shape in shapes:
        result = kv.apply(msgspec.msgpack.encode(shape), 1, 1)
        assert (result.value, result.error) == ({}, INVALID), shape
    assert kv.dump() == before


@given(st.binary(max_size=60))
@example(b"\x95\xac" + bytes(11) + b"\x80")
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Whatever is committed must be applicable, or every member would die of it."""
    kv = KeyValue()
    assert kv.apply(data, 1, 1).error in ("", INVALID)


commands = st.tuples(
    st.sampled_from("st"),
    st.integers(1, 4),
    st.sampled_from(("write", "cas")),
    st.sampled_from("xy"),
    st.integers(0, 2) | st.none(),
    st.integers(0, 2) | st.none(),
)


@given(st.lists(commands, max_size=20))
def test_it_agrees_with_a_plain_model(steps: list[Step]) -> None:
    """The state is that of a dictionary that skips what a session has done already."""
    kv, other = KeyValue(), KeyValue()
    registers: dict[str, object] = {}
    newest: dict[str, int] = {}
    for index, (session, seq, op, key, first, second) in enumerate(steps, 1):
        data = encode_cas(session, seq, key, first, second)
        if op == "write":
            data = encode_write(session, seq, key, first)
        assert kv.apply(data, index, 1) == other.apply(data, index, 1)
        if seq > newest.get(session, 0):
            newest[session] = seq
            if op == "write":
                registers[key] = first
            elif registers.get(key) == first:
                registers[key] = second
    assert {key: kv.read(key) for key in "xy"} == {key: registers.get(key) for key in "xy"}
    assert kv.dump() == other.dump()


def test_a_counter_begins_at_zero_and_each_add_tells_what_it_made() -> None:
    kv = KeyValue()
    assert kv.apply(encode_add("s", 1, "c", 3), 1, 1).value == {"now": 3}
    assert kv.apply(encode_add("s", 2, "c", -5), 2, 1).value == {"now": -2}
    assert kv.apply(encode_add("s", 2, "c", -5), 3, 1).value == {"now": -2}, "a retry adds nothing"
    assert kv.read("c") == -2


def test_a_list_begins_empty_and_grows_at_its_end() -> None:
    kv = KeyValue()
    for seq, element in enumerate((7, "x", None), 1):
        assert kv.apply(encode_append("s", seq, "l", element), seq, 1).value == {"ok": True}
    assert kv.read("l") == [7, "x", None]


def test_what_does_not_fit_the_value_there_changes_nothing() -> None:
    kv = KeyValue()
    kv.apply(encode_write("s", 1, "x", "text"), 1, 1)
    kv.apply(encode_add("s", 2, "c", 2**63 - 1), 2, 1)
    for seq, command in enumerate(
        (
            encode_add("s", 3, "x", 1),
            encode_append("s", 4, "x", 1),
            encode_append("s", 5, "c", 1),
            encode_add("s", 6, "c", 1),
        ),
        3,
    ):
        assert kv.apply(command, seq, 1).error == INVALID
    assert (kv.read("x"), kv.read("c")) == ("text", 2**63 - 1)


# ---- the state as bytes --------------------------------------------------------------------------

Change = tuple[str, int, str, str, int]

changes = st.lists(
    st.tuples(
        st.sampled_from("stu"),
        st.integers(1, 5),
        st.sampled_from(("write", "cas", "add", "append")),
        st.text(max_size=3),
        st.integers(-(2**40), 2**40),
    ),
    max_size=40,
)


def change(kv: KeyValue, number: int, step: Change) -> None:
    session, seq, op, key, value = step
    args = (value, value + 1) if op == "cas" else (value,)
    kv.apply(msgspec.msgpack.encode((session, seq, op, key, *args)), number, 1)


@given(changes, changes)
def test_a_state_is_loaded_as_it_was_dumped(before: list[Change], after: list[Change]) -> None:
    """Registers and sessions come back, go on alike, and a copy that was frozen is changed by neither."""
    kv = KeyValue()
    for number, step in enumerate(before, 1):
        change(kv, number, step)
    frozen, data = kv.frozen(), kv.dump()
    other = KeyValue.load(data)
    assert (other.registers, other.sessions) == (kv.registers, kv.sessions)
    assert other.dump() == frozen.dump() == data
    for number, step in enumerate(after, 100):
        change(kv, number, step)
        change(other, number, step)
    assert other.dump() == kv.dump()
    assert frozen.dump() == data
    assert other.frozen().dump() == other.dump()


def test_equal_states_give_equal_bytes_whatever_led_to_them() -> None:
    """Order of arrival does not show, in states of one run and of many."""
    for count in (3, 5000):
        forth, back = KeyValue(), KeyValue()
        for kv, numbers in ((forth, range(count)), (back, reversed(range(count)))):
            for number in numbers:
                kv.apply(encode_write(f"s{number}", 1, f"key {number}", number), number + 1, 1)
        assert forth.dump() == back.dump()
        assert KeyValue.load(forth.dump()).registers == forth.registers


def test_no_part_of_a_dump_is_long() -> None:
    """Another thread must not hold the interpreter for longer than a run of keys takes."""
    kv = KeyValue()
    for number in range(50_000):
        kv.apply(encode_write("s", number + 1, f"{number}", number), number + 1, 1)
    assert max(map(len, kv.parts())) < 20_000


@given(st.binary(max_size=80))
def test_bytes_that_are_no_dump_are_refused(data: bytes) -> None:
    """One error, whatever the bytes are."""
    with pytest.raises(BadState):
        KeyValue.load(data)


@given(changes, st.data())
def test_a_damaged_dump_is_refused_or_another_state(
    steps: list[Change], draw: st.DataObject
) -> None:
    """Cut short it is always refused; a changed byte never gives the same state."""
    kv = KeyValue()
    for number, step in enumerate(steps, 1):
        change(kv, number, step)
    data = kv.dump()
    with pytest.raises(BadState):
        KeyValue.load(data[: draw.draw(st.integers(0, len(data) - 1))])
    with pytest.raises(BadState):
        KeyValue.load(data + b"\0")
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    try:
        other = KeyValue.load(damaged)
    except BadState:
        return
    assert (other.registers, other.sessions) != (kv.registers, kv.sessions)


def test_a_dump_of_another_format_or_version_is_named() -> None:
    """What was found, and what this node reads."""

    def head(*items: object) -> bytes:
        data = msgspec.msgpack.encode(items)
        return struct.pack("<I", len(data)) + data

    for items, said in (
        (("other", 1, 0, 0), "format is 'other'"),
        (("driftline-kv", 2, 0, 0), "version 2"),
        (("driftline-kv", 1, 1, 0), "ends before"),
    ):
        with pytest.raises(BadState, match=said):
            KeyValue.load(head(*items))
