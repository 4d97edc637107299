"""What must hold of any history, however it came about (hypothesis), and what must not change a verdict."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from porcupine import Operation, Saw, check
from porcupine.models import cas_register, kv


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Up to seven operations with values of a small range, each written at most once; most are illegal."""
    count = draw(st.integers(0, 7))
    values = list(range(1, count + 1))
    seen = st.sampled_from([None, *values, 99])
    found: list[Operation] = []
    for index in range(count):
        call = draw(st.integers(0, 6))
        back = call + draw(st.integers(0, 4))
        outcome = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
        kind = draw(st.sampled_from(["read", "write", "cas", "saw"]))
        own = values[index]
        asked: tuple[Any, ...]
        output: Any = None
        if kind == "read":
            asked, output = ("read",), draw(seen)
        elif kind == "write":
            asked = ("write", own)
        else:
            asked = ("cas", draw(seen), own)
            output = True if kind == "cas" else Saw(draw(seen))
        found.append(Operation(index, asked, call, output, back, outcome))  # type: ignore[arg-type]
    return found


@settings(max_examples=250, deadline=None)
@given(histories())
def test_zones_and_search_say_what_the_oracle_says(lab: Any, history: list[Operation]) -> None:
    model = cas_register()
    truth = "ok" if lab.oracle(model, history) else "illegal"
    by_zones = check(history, model, prefer="gate")
    assert by_zones.verdict == truth
    assert check(history, model, prefer="search").verdict == truth
    if truth == "ok":
        assert lab.objection(model, history, by_zones.linearization[0]) is None


@settings(max_examples=100, deadline=None)
@given(histories(), st.integers(-(10**18), 10**18), st.integers(1, 1000), st.randoms())
def test_only_the_order_of_times_counts(
    history: list[Operation], shift: int, scale: int, rng: random.Random
) -> None:
    moved = [
        dataclasses.replace(
            o,
            call=o.call * scale + shift,
            return_time=None if o.return_time is None else o.return_time * scale + shift,
        )
        for o in history
    ]
    rng.shuffle(moved)
    for prefer in ("gate", "search"):
        before = check(history, cas_register(), prefer=prefer)
        assert check(moved, cas_register(), prefer=prefer).verdict == before.verdict


@settings(max_examples=100, deadline=None)
@given(histories())
def test_renaming_values_changes_nothing(
    history: list[Operation],
) -> None:
    """Values have no meaning but being equal or not."""

    def renamed(value: Any) -> Any:
        return None if value is None else f"v{value}"

    other = [
        dataclasses.replace(
            o,
            input=(o.input[0], *map(renamed, o.input[1:])),
            output=o.output
            if o.output is True
            else Saw(renamed(o.output.value))
            if isinstance(o.output, Saw)
            else renamed(o.output),
        )
        for o in history
    ]
    assert check(other, cas_register()).verdict == check(history, cas_register()).verdict


@settings(max_examples=100, deadline=None)
@given(histories(), histories())
def test_a_store_is_linearizable_exactly_if_each_key_is(
    left: list[Operation], right: list[Operation]
) -> None:
    def keyed(key: str, history: list[Operation]) -> list[Operation]:
        return [dataclasses.replace(o, input=(o.input[0], key, *o.input[1:])) for o in history]

    each = [check(history, cas_register()).verdict for history in (left, right)]
    both = check([*keyed("l", left), *keyed("r", right)], kv()).verdict
    assert both == ("illegal" if "illegal" in each else "ok")


@settings(max_examples=100, deadline=None)
@given(histories(), st.data())
def test_to_know_less_never_makes_a_history_illegal(
    history: list[Operation], data: st.DataObject
) -> None:
    """An operation that did happen, or a shorter interval, is one of the possibilities of the wider one."""
    if not history or check(history, cas_register()).verdict == "illegal":
        return
    place = data.draw(st.integers(0, len(history) - 1))
    target = history[place]
    if target.outcome == "fail":
        return
    for looser in (
        dataclasses.replace(target, outcome="info"),
        dataclasses.replace(target, call=target.call - 1),
        dataclasses.replace(target, return_time=(target.return_time or 0) + 1),
    ):
        wider = [*history[:place], looser, *history[place + 1 :]]
        assert check(wider, cas_register()).verdict == "ok"
