"""Events a second that all monitors of node events judge on one core, fed in process: python -m benchmarks.monitors [events]

The mix is that of a group of three under writes: of each entry two acknowledgements, three commits, three applies, one look at
the lease, and every 50th entry each node's place. The best of several rounds counts, since the machine is shared.
"""

from __future__ import annotations

import sys
from time import process_time
from typing import Any

from checkers.inprocess import Monitors
from checkers.monitor import MS, Params

NODES = ("n1", "n2", "n3")
ROUNDS = 7
PROGRESS_EVERY = 50

Event = tuple[str, int, int, int, str, int, dict[str, Any]]


def mix(count: int) -> list[Event]:
    """At least `count` events of a healthy group that n1 leads in term 2."""
    boot = {
        "first_index": 1, "last_index": 0, "last_term": 0, "snapshot_index": 0, "snapshot_term": 0,
        "members": NODES, "old": (), "witnesses": (), "voted_for": "", "first_boot": True,
    }  # fmt: skip
    events: list[Event] = [(node, 1, 0, 0, "boot", 1, boot) for node in NODES]
    leads = {"last_index": 0, "last_term": 0}
    events.append(("n1", 1, 0, 0, "become_leader", 2, leads))
    index = 0
    while len(events) < count:
        index += 1
        now = index * MS
        told: list[tuple[str, str, dict[str, Any]]] = [
            (node, "append_ack", {"leader": "n1", "last_index": index}) for node in NODES[1:]
        ]
        for node in NODES:
            told.append((node, "commit", {"index": index}))
            told.append((node, "apply", {"first": index, "entries": [[2, index * 2_654_435_761]]}))
        told.append(("n1", "lease", {"state": "valid", "epoch": 1, "until_ns": now}))
        if index % PROGRESS_EVERY == 0:
            place = {
                "first_index": 1, "snapshot": 0, "applied": index, "committed": index, "last": index,
            }  # fmt: skip
            told += [(node, "progress", place) for node in NODES]
        events += [(node, 1, now, now, name, 2, fields) for node, name, fields in told]
    return events


def rate(events: list[Event]) -> float:
    """Events a second of CPU time, over all monitors at once."""
    monitors = Monitors(Params(nodes=NODES, election_timeout_ns=500 * MS, drift_ns=125 * MS))
    tell = monitors.event
    begin = process_time()
    for event in events:
        tell(*event)
    took = process_time() - begin
    assert all(
        result.verdict == "holds" for name, result in monitors.finish().items() if name != "P-CONF"
    )
    return len(events) / took


def main() -> None:
    events = mix(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
    rates = sorted(rate(events) for _ in range(ROUNDS))
    print(
        f"{len(events)} events, {ROUNDS} rounds: best {rates[-1]:,.0f}/s, "
        f"median {rates[ROUNDS // 2]:,.0f}/s, worst {rates[0]:,.0f}/s"
    )


if __name__ == "__main__":
    main()
