"""Transcripts of the main rules, to be read by a person; `pytest --rewrite` writes them anew, and the difference is reviewed.

A transcript that changed is not a failure of the core by itself: it says that what the nodes tell each other has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.raft.effects import Options
from tests.node.raft.bed import MS, Bed
from tests.node.raft.transcript import transcript

FOLDER = Path(__file__).parent / "transcripts"
MANUAL = Options(elections=False)
SCENARIOS: dict[str, Callable[[], Bed]] = {}


def scenario(build: Callable[[], Bed]) -> Callable[[], Bed]:
    SCENARIOS[build.__name__] = build
    return build


@scenario
def first_election() -> Bed:
    """Pre-vote, vote, the new leader's first entry, and the lease that is ready once it is applied."""
    bed = Bed(3, MANUAL)
    bed.note("n1 is asked to stand")
    bed.elect("n1")
    bed.run(60)
    return bed


@scenario
def a_write_and_its_commit() -> Bed:
    """The entry goes to both followers before the leader's own sync; the client is told after a majority has it on disk."""
    bed = Bed(3, MANUAL)
    for name in bed.names:
        bed.members[name].disk.delay_ns = 2 * MS
    bed.elect("n1")
    bed.run(100)
    bed.trace.clear()
    bed.note("a client writes at n1")
    bed.propose("n1")
    bed.run(60)
    return bed


@scenario
def repair_of_a_diverged_log() -> Bed:
    """An old leader's unacknowledged entries give way, one refusal for the whole run of their term."""
    bed = Bed(3, Options(elections=False, leader_lease=False))
    bed.elect("n1")
    bed.run(100)
    bed.isolate("n1")
    for _ in range(3):
        bed.propose("n1")
    bed.run(10)
    bed.elect("n2")
    bed.propose("n2")
    bed.run(50)
    bed.trace.clear()
    bed.note("n1 comes back with three entries that nobody else has")
    bed.heal()
    bed.run(600)
    return bed


@scenario
def a_vote_survives_a_restart() -> Bed:
    """Granted once, refused to a rival after the restart, granted again to the same candidate."""
    bed = Bed(3, Options(elections=False, leader_lease=False, prevote=False))
    bed.note("n2 stands, its vote requests reach n1 only, and n1 is restarted")
    bed.cut(["n3"], ["n1", "n2"])
    bed.rule = lambda source, to, _message: (source, to) == ("n1", "n2")
    bed.vote("n2")
    bed.run(100)
    bed.restart("n1")
    bed.note("n3 stands in the same term")
    bed.heal()
    bed.cut(["n2"], ["n1", "n3"])
    bed.rule = None
    bed.vote("n3")
    bed.run(100)
    return bed


@scenario
def readindex_and_lease_reads() -> Bed:
    """One round of heartbeats serves all reads that wait; a lease read asks nobody."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    bed.trace.clear()
    bed.note("two ReadIndex reads and a lease read at n1")
    bed.read("n1", "readindex")
    bed.read("n1", "readindex")
    bed.read("n1", "lease")
    bed.run(20)
    return bed


@scenario
def a_leader_without_a_quorum_steps_down() -> Bed:
    """The dead-node check; what was pending is unknown to its client."""
    bed = Bed(3, MANUAL)
    bed.elect("n1")
    bed.run(100)
    bed.trace.clear()
    bed.note("n1 is cut off, with one write pending")
    bed.isolate("n1")
    bed.propose("n1")
    bed.run(1100)
    return bed


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_transcript_is_as_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    build = SCENARIOS[name]
    text = f"{build.__doc__}\n\n{transcript(build())}"
    path = FOLDER / f"{name}.txt"
    if request.config.getoption("--rewrite"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path.name} is missing: `pytest --rewrite {__file__}` makes it"
    assert text == path.read_text()


def test_every_transcript_has_its_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(SCENARIOS)
