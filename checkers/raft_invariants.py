"""Raft's invariants over the nodes' own events (raft-node.md 4.1; figure 3 of the Raft paper).

ElectionSafety (P-EL): one leader a term, one vote a node and term, also across restarts: a life that
begins without the term or the vote that an earlier one granted has forgotten its promise, and that is
a finding of its own. StateMachineSafety (P-SM): at each index all nodes apply the same entry, each
life once and in order. LeaderCompleteness (P-LC), by length: whoever becomes leader of a term has a
log at least as long as anything known to be committed in earlier terms.
"""

from __future__ import annotations

from checkers.monitor import Completeness, Handler, Params, Result, conclude, pointer
from checkers.records.events import (
    AppendAck,
    Apply,
    BecomeLeader,
    Boot,
    Commit,
    TermChange,
    VoteGranted,
)
from checkers.records.schema import Finding

NO_EVENTS = "the system reports no events"


class ElectionSafety:
    property = "P-EL"
    title = "election safety"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            Boot: self._boot,
            VoteGranted: self._vote,
            BecomeLeader: self._leader,
            TermChange: self._term,
            AppendAck: self._acted,
        }
        self.findings: list[Finding] = []
        self._leaders: dict[int, tuple[str, BecomeLeader]] = {}
        self._votes: dict[tuple[str, int], VoteGranted] = {}
        self._newest_vote: dict[str, VoteGranted] = {}
        self._known: dict[str, AppendAck | BecomeLeader | VoteGranted] = {}
        self._led: dict[str, BecomeLeader] = {}
        self._boots = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _boot(self, node: str, event: Boot) -> None:
        self._boots += 1
        known = self._known.get(node)
        if known is not None and event.term < known.term:
            self._find(
                f"{node} started in term {event.term} although it had acted in term {known.term}: "
                "it forgot the term it had made durable",
                node,
                [(node, known, f"{node} acts in term {known.term}")],
                event,
                f"{node} starts with term {event.term}",
            )
            return
        vote = self._newest_vote.get(node)
        if vote is not None and vote.term == event.term and vote.candidate != event.voted_for:
            voted = event.voted_for or "nobody"
            self._find(
                f"{node} voted for {vote.candidate} in term {vote.term} and started again in that "
                f"term with a vote for {voted}: it forgot its vote",
                node,
                [(node, vote, f"{node} votes for {vote.candidate}")],
                event,
                f"{node} starts with a vote for {voted}",
            )

    def _vote(self, node: str, event: VoteGranted) -> None:
        before = self._votes.setdefault((node, event.term), event)
        if before.candidate != event.candidate:
            self._find(
                f"{node} voted twice in term {event.term}: for {before.candidate} and for "
                f"{event.candidate}",
                node,
                [(node, before, f"{node} votes for {before.candidate}")],
                event,
                f"{node} votes for {event.candidate}",
            )
        newest = self._newest_vote.get(node)
        if newest is None or event.term >= newest.term:
            self._newest_vote[node] = event
        self._acted(node, event)

    def _acted(self, node: str, event: AppendAck | BecomeLeader | VoteGranted) -> None:
        known = self._known.get(node)
        if known is None or event.term > known.term:
            self._known[node] = event

    def _leader(self, node: str, event: BecomeLeader) -> None:
        first = self._leaders.setdefault(event.term, (node, event))
        if first[1] is not event:
            who = f"{first[0]} and {node}" if first[0] != node else f"{node} twice"
            self._find(
                f"two leaders in term {event.term}: {who}",
                node,
                [(first[0], first[1], f"{first[0]} becomes leader of term {event.term}")],
                event,
                f"{node} becomes leader of term {event.term}",
            )
        led = self._led.get(node)
        if led is not None and event.term < led.term:
            self._find(
                f"{node} became leader of term {event.term} after it had led term {led.term}",
                node,
                [(node, led, f"{node} becomes leader of term {led.term}")],
                event,
                f"{node} becomes leader of term {event.term}",
            )
        self._led[node] = event
        self._acted(node, event)

    def _term(self, node: str, event: TermChange) -> None:
        if event.term <= event.previous:
            self._find(
                f"{node} went from term {event.previous} back to term {event.term}",
                node,
                [],
                event,
                event.reason,
            )

    def _find(
        self,
        text: str,
        node: str,
        before: list[tuple[str, AppendAck | BecomeLeader | VoteGranted, str]],
        event: Boot | VoteGranted | BecomeLeader | TermChange,
        said: str,
    ) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[*(pointer(*proof) for proof in before), pointer(node, event, said)],
                time=event.t0,
                details={"node": node, "term": event.term},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        statistics = {
            "terms_with_a_leader": len(self._leaders),
            "votes": len(self._votes),
            "boots": self._boots,
        }
        seen = bool(self._leaders or self._votes or self._boots)
        because = "" if seen else ("no events were recorded" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)


class StateMachineSafety:
    property = "P-SM"
    title = "state machine safety"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {Apply: self._apply}
        self.findings: list[Finding] = []
        self._entries: dict[int, tuple[int, int]] = {}
        self._first: dict[int, tuple[str, Apply]] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._node_events = True
        self._applied = 0

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _apply(self, node: str, event: Apply) -> None:
        life = (node, event.boot)
        index = event.first
        due = self._next.get(life, index)
        if index != due:
            what = "again" if index < due else f"without {due}"
            self.findings.append(
                Finding(
                    property=self.property,
                    text=f"{node} (boot {event.boot}) applied index {index} {what}: "
                    "each life applies once and in order",
                    evidence=[pointer(node, event, f"{node} applies from index {index}")],
                    time=event.t0,
                    details={"node": node, "index": index},
                )
            )
        entries = self._entries
        for pair in event.entries:
            known = entries.get(index)
            if known is None:
                entries[index] = pair
                self._first[index] = (node, event)
            elif known != pair:
                self._differ(node, event, index, known, pair)
            index += 1
        self._applied += len(event.entries)
        self._next[life] = index

    def _differ(
        self, node: str, event: Apply, index: int, known: tuple[int, int], pair: tuple[int, int]
    ) -> None:
        other, first = self._first[index]
        what = f"of term {known[0]}" if known[0] != pair[0] else f"with crc {known[1]:#x}"
        that = f"of term {pair[0]}" if known[0] != pair[0] else f"with crc {pair[1]:#x}"
        self.findings.append(
            Finding(
                property=self.property,
                text=f"at index {index} {other} applied the entry {what} and {node} the one {that}",
                evidence=[
                    pointer(other, first, f"{other} applies {known[0]}/{known[1]:#x} at {index}"),
                    pointer(node, event, f"{node} applies {pair[0]}/{pair[1]:#x} at {index}"),
                ],
                time=max(first.t0, event.t0),
                details={"index": index, "nodes": [other, node]},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        statistics = {"indices": len(self._entries), "applied": self._applied}
        seen = bool(self._entries)
        because = "" if seen else ("nothing was applied" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)


class LeaderCompleteness:
    property = "P-LC"
    title = "leader completeness (by length)"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {Commit: self._commit, BecomeLeader: self._leader}
        self.findings: list[Finding] = []
        self._committed: dict[int, tuple[str, Commit]] = {}
        self._leaders: list[tuple[str, BecomeLeader]] = []

    def start(self, params: Params) -> None:
        """Nothing depends on the parameters."""

    def _commit(self, node: str, event: Commit) -> None:
        known = self._committed.get(event.term)
        if known is None or event.index > known[1].index:
            self._committed[event.term] = (node, event)

    def _leader(self, node: str, event: BecomeLeader) -> None:
        if event.last_index >= 0:
            self._leaders.append((node, event))

    def finish(self, completeness: Completeness) -> Result:
        """What a node knows as committed in its term t was committed in t or earlier."""
        terms = sorted(self._committed)
        position = 0
        most: tuple[str, Commit] | None = None
        for node, event in sorted(self._leaders, key=lambda item: item[1].term):
            while position < len(terms) and terms[position] < event.term:
                found = self._committed[terms[position]]
                if most is None or found[1].index > most[1].index:
                    most = found
                position += 1
            if most is not None and event.last_index < most[1].index:
                self.findings.append(
                    Finding(
                        property=self.property,
                        text=f"{node} became leader of term {event.term} with a log that ends at "
                        f"{event.last_index}, although {most[1].index} was committed by term "
                        f"{most[1].term}",
                        evidence=[
                            pointer(most[0], most[1], f"{most[0]} knows {most[1].index} committed"),
                            pointer(
                                node, event, f"{node} leads with last index {event.last_index}"
                            ),
                        ],
                        time=event.t0,
                        details={"node": node, "term": event.term},
                    )
                )
        statistics = {"leaders": len(self._leaders)}
        seen = bool(self._leaders)
        return conclude(self.findings, statistics, seen, "" if seen else "no leader was seen")
