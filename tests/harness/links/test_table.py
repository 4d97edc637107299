"""The table of desired state, and the calls that follow from a change of it: all pure."""

from __future__ import annotations

import msgspec
import pytest

from harness.errors import LinkError
from harness.links.table import HEALTHY, Cut, Latency, Link, LinkState, LinkTable
from harness.links.toxiproxy import change_calls, populate_calls

AB = Link(
    name="ab",
    source="a",
    target="b",
    server="s",
    listen=("127.0.0.1", 1001),
    upstream=("127.0.0.1", 1002),
)
CUT, SLOW, BOTH = LinkState(cut=True), LinkState(latency_ms=50), LinkState(True, 50)


def test_states_are_united_over_fault_ids() -> None:
    table = LinkTable([AB])
    assert table.desired("ab") == HEALTHY
    assert table.add("f1", {"ab": Cut()}) == {"ab"}
    assert table.add("f2", {"ab": Cut()}) == set()  # nothing changes: no call is needed
    assert table.add("f3", {"ab": Latency(20)}) == {"ab"}
    assert table.add("f4", {"ab": Latency(50)}) == {"ab"}
    assert table.desired("ab") == BOTH
    assert table.holders("ab") == {"f1", "f2", "f3", "f4"}
    assert table.remove("f1") == set()
    assert table.remove("f2") == {"ab"}
    assert table.desired("ab") == SLOW
    assert table.remove("f3") == set()
    assert table.remove("f4") == {"ab"}
    assert table.remove("f4") == set()  # idempotent
    assert table.desired("ab") == HEALTHY


def test_an_id_that_asks_anew_replaces_what_it_asked() -> None:
    table = LinkTable([AB, msgspec.structs.replace(AB, name="ba")])
    table.add("f", {"ab": Cut()})
    assert table.add("f", {"ba": Cut()}) == {"ab", "ba"}
    assert table.desired("ab") == HEALTHY


def test_what_cannot_be_is_refused() -> None:
    table = LinkTable([AB])
    with pytest.raises(LinkError, match="do not exist"):
        table.add("f", {"ac": Cut()})
    with pytest.raises(LinkError, match="must be positive"):
        table.add("f", {"ab": Latency(0)})
    with pytest.raises(LinkError, match="unique"):
        LinkTable([AB, AB])
    assert table.faults == set()


LATE = ["POST latency_upstream", "POST latency_downstream"]
HOLE = ["POST cut_upstream", "POST cut_downstream"]
RECREATE = ["DELETE", "POST populate"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (HEALTHY, HEALTHY, []),
        (HEALTHY, CUT, HOLE),
        (SLOW, BOTH, HOLE),
        (CUT, BOTH, []),  # under a black hole nothing is late
        (CUT, HEALTHY, RECREATE),
        (SLOW, LinkState(latency_ms=60), [*RECREATE, *LATE, "POST enable"]),
        (BOTH, SLOW, [*RECREATE, *LATE, "POST enable"]),
        (None, HEALTHY, RECREATE),
        (None, BOTH, [*RECREATE, *LATE, *HOLE, "POST enable"]),
    ],
)
def test_toxics_are_only_added_and_never_removed(
    before: LinkState | None, after: LinkState, expected: list[str]
) -> None:
    assert [
        told(call.method, call.path, call.body) for call in change_calls(AB, before, after)
    ] == (expected)


def told(method: str, path: str, body: bytes) -> str:
    if path.endswith("/toxics"):
        return f"{method} {body.decode().split(':')[1].split(',')[0].strip(chr(34))}"
    if path == "/populate":
        return f"{method} populate"
    return f"{method} enable" if method == "POST" else method


def test_a_link_opens_only_with_its_toxics_on() -> None:
    first = populate_calls([(AB, CUT)])[0]
    assert b'"enabled":false' in first.body
    assert b'"enabled":true' in populate_calls([(AB, HEALTHY)])[0].body
