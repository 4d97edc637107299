"""The journal's bytes: what was durable comes back whole, what was not is cut, what is damaged is
said."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.raft.effects import HardState, Persist
from node.raft.messages import CONFIGURATION, DATA, Entry
from node.storage import codec
from node.storage.codec import (
    RECORD,
    RECORD_BYTES_MAX,
    Corrupt,
    Foreign,
    Identity,
    Start,
    hard_state_record,
    persist_records,
    read_segment_header,
    segment_header,
)

HEADER = segment_header("group", "n1", Start(1, 0, 0, HardState(), 0))


class Replayed(msgspec.Struct):
    """A single segment's replay."""

    hard_state: HardState
    entries: list[Entry]
    end: int
    torn: bool


def replay(data: bytes, synced: int) -> Replayed:
    start, at = read_segment_header(data, "group", "n1")
    log = codec.Replayed()
    log.base, log.hard_state = (start.index, start.term), start.hard_state
    end = codec.replay(data, at, synced, log)
    return Replayed(log.hard_state, log.entries, end, codec.torn(data, end))


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(index, term, DATA if data else CONFIGURATION, data, zlib.crc32(data))


@st.composite
def persists(draw: st.DrawFn) -> list[Persist]:
    """What a core may hand over in one life: terms never fall, entries follow each other."""
    made: list[Persist] = []
    length, term = 0, 1
    for token in range(1, draw(st.integers(0, 6)) + 1):
        term += draw(st.integers(0, 2))
        cut = draw(st.integers(0, length))
        length = cut - 1 if cut else length
        new = [
            entry(length + 1 + offset, term, data)
            for offset, data in enumerate(draw(st.lists(st.binary(max_size=40), max_size=4)))
        ]
        length += len(new)
        hard = HardState(term, draw(st.sampled_from(["", "n1", "n2"])))
        made.append(Persist(token, hard if draw(st.booleans()) else None, cut, new))
    return made


def model(made: list[Persist]) -> tuple[HardState, list[Entry]]:
    hard, log = HardState(), list[Entry]()
    for persist in made:
        hard = persist.hard_state or hard
        if persist.truncate_from:
            del log[persist.truncate_from - 1 :]
        log.extend(persist.entries)
    return hard, log


def written(made: list[Persist]) -> bytes:
    return HEADER + b"".join(b"".join(records(persist)) for persist in made)


def records(persist: Persist) -> list[bytes]:
    return persist_records(persist, 1)


def state(found: Replayed) -> tuple[HardState, list[Entry]]:
    return found.hard_state, found.entries


@settings(deadline=None)
@given(persists(), st.integers(0, 300))
def test_what_was_written_comes_back(made: list[Persist], zeros: int) -> None:
    """Replay is the inverse of writing, whatever zeros stand behind the end."""
    data = written(made)
    found = replay(data + bytes(zeros), len(data))
    assert state(found) == model(made)
    assert (found.end, found.torn) == (len(data), False)


@settings(max_examples=25, deadline=None)
@given(persists().filter(lambda made: len(made) > 1))
def test_a_tail_torn_at_any_byte_is_cut_at_the_last_whole_record(made: list[Persist]) -> None:
    """Every prefix replays to a prefix of the records, and the cut is told."""
    data = written(made)
    ends = [len(HEADER)]
    for persist in made:
        for record in records(persist):
            ends.append(ends[-1] + len(record))
    for length in range(len(HEADER), len(data) + 1):
        found = replay(data[:length], len(HEADER))
        assert found.end == max(end for end in ends if end <= length)
        assert found.torn is (any(data[found.end : length]))
        assert state(found) == state(replay(data[: found.end], found.end))


@settings(max_examples=60, deadline=None)
@given(persists(), st.data())
def test_one_flipped_bit_in_what_was_durable_is_corruption(
    made: list[Persist], draw: st.DataObject
) -> None:
    """Below the synced length nothing may be broken: no bit passes for another state."""
    data = written(made)
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt):
        replay(bytes(broken), len(data))


@settings(max_examples=60, deadline=None)
@given(persists(), persists(), st.data())
def test_one_flipped_bit_in_what_was_not_durable_costs_only_the_tail(
    made: list[Persist], more: list[Persist], draw: st.DataObject
) -> None:
    """Above the synced length nothing was promised: everything from the broken record on is cut."""
    synced = written(made)
    tail = b"".join(hard_state_record(HardState(9, str(number))) for number in range(1 + len(more)))
    bit = draw.draw(st.integers(0, 8 * len(tail) - 1))
    broken = bytearray(tail)
    broken[bit // 8] ^= 1 << bit % 8
    found = replay(synced + bytes(broken), len(synced))
    assert len(synced) <= found.end <= len(synced) + bit // 8
    assert found.entries == model(made)[1]


@settings(deadline=None)
@given(st.binary(max_size=200), persists())
def test_random_bytes_behind_the_durable_ones_never_raise_anything_else(
    junk: bytes, made: list[Persist]
) -> None:
    """Whatever lies behind the end, the durable part is there."""
    synced = written(made)
    found = replay(synced + junk, len(synced))
    assert found.entries[: len(model(made)[1])] == model(made)[1]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_file_that_is_no_journal_is_refused(junk: bytes) -> None:
    """The first record names format, group and member; anything else is damage, never a crash."""
    with pytest.raises(Corrupt):
        replay(junk, 0)


def test_a_record_that_is_whole_but_senseless_is_refused_even_in_the_tail() -> None:
    """A matching checksum says that these bytes were meant: a gap, a wrong crc, an unknown kind."""
    for payload in (b"X", b"E\xc1", b"H" + b"\x93"):
        record = RECORD.pack(len(payload), zlib.crc32(payload)) + payload
        with pytest.raises(Corrupt):
            replay(HEADER + record, 0)
    for bad in (entry(2, 1), Entry(1, 1, DATA, b"a", 0)):
        data = HEADER + b"".join(records(Persist(1, None, 0, [bad])))
        with pytest.raises(Corrupt, match=r"follows entry 0|does not match its crc32"):
            replay(data, 0)


def test_a_length_beyond_all_bounds_is_a_broken_record() -> None:
    """A torn length field must not make the node ask for gigabytes."""
    found = replay(HEADER + RECORD.pack(RECORD_BYTES_MAX + 1, 0) + bytes(64), len(HEADER))
    assert (found.end, found.torn) == (len(HEADER), True)


def test_the_vote_of_a_batch_stands_before_its_entries() -> None:
    """A batch torn anywhere leaves a term at or above the log's, never below."""
    persist = Persist(1, HardState(7, "n2"), 0, [entry(1, 7, b"a")])
    first, second = records(persist)
    assert replay(HEADER + first + second[:-1], 0).hard_state == HardState(7, "n2")


@pytest.mark.parametrize(
    ("group", "node", "said"), [("other", "n1", "group"), ("group", "n2", "node")]
)
def test_a_journal_of_another_member_or_group_is_refused_by_name(
    group: str, node: str, said: str
) -> None:
    """Votes and entries of others are not ours to continue."""
    with pytest.raises(Foreign, match=said):
        read_segment_header(HEADER, group, node)


@pytest.mark.parametrize("read", [read_segment_header, codec.read_snapshot_header])
def test_another_version_is_refused_naming_both_whatever_follows_its_identity(read: Any) -> None:
    """Only the first record keeps its shape for ever."""
    journal = read is read_segment_header
    format = codec.JOURNAL_FORMAT if journal else codec.SNAPSHOT_FORMAT
    own = codec.JOURNAL_VERSION if journal else codec.SNAPSHOT_VERSION
    payload = b"I" + msgspec.msgpack.encode(Identity(format, 9, "group", "n1"))
    record = RECORD.pack(len(payload), zlib.crc32(payload)) + payload
    with pytest.raises(Foreign, match=f"version 9, this node reads version {own}"):
        read(record + b"what a later version may have here", "group", "n1")


def test_a_cut_below_the_segments_begin_moves_the_base_there() -> None:
    """The entries below it were in a segment that is gone; the record says what the last of them was of."""
    log = codec.Replayed()
    log.base = (18, 2)
    cut = b"".join(persist_records(Persist(1, None, 10, [entry(10, 3)]), 1))
    assert codec.replay(cut, 0, len(cut), log) == len(cut)
    assert (log.base, [each.index for each in log.entries]) == ((9, 1), [10])


def test_a_cut_past_the_end_is_refused() -> None:
    """It would leave a hole."""
    cut = b"".join(persist_records(Persist(1, None, 10, []), 1))
    with pytest.raises(Corrupt, match="cut from entry 10 on, which follows entry 0"):
        replay(HEADER + cut, 0)
