"""Elections by the nodes' own events: P-EL and P-LC (figure 3 of the Raft paper).

ElectionSafety (P-EL): one leader a term, one vote a node and term over all its lives, and terms that never decrease. A life
that begins without the term or the vote that an earlier one granted has forgotten its promise, and that is a finding of its
own. Who is a member does not matter: a term has one leader through every change of members.

LeaderCompleteness (P-LC): whoever becomes leader of a term has every entry known to be committed in earlier terms. Of a
leader's log its last entry is known, so the newest committed entry is compared with that, by length and by term: terms never
decrease along a log. Entries that a snapshot covers count as there (whether it is the right one is P-SM). Where the leader's
whole log was dumped, each entry is compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from checkers.monitor import (
    NO_EVENTS,
    ONE_GROUP,
    Completeness,
    Handler,
    Params,
    Result,
    conclude,
    pointer,
)
from checkers.records.events import (
    AppendAck,
    Apply,
    BecomeLeader,
    Boot,
    Commit,
    LogDump,
    TermChange,
    VoteGranted,
)
from checkers.records.schema import Finding
from checkers.state_machine import Applied

Told = AppendAck | BecomeLeader | VoteGranted | TermChange
"""Events by which a node says in which term it is, and that the term is on its disk."""


class ElectionSafety:
    property = "P-EL"
    title = "election safety"

    def __init__(self) -> None:
        self.handlers: dict[type, Handler] = {
            Boot: self._boot,
            VoteGranted: self._vote,
            BecomeLeader: self._leader,
            TermChange: self._term,
            AppendAck: self._ack,
        }
        self.findings: list[Finding] = []
        self._leaders: dict[int, tuple[str, BecomeLeader]] = {}
        self._votes: dict[tuple[str, int], VoteGranted] = {}
        self._newest_vote: dict[str, VoteGranted] = {}
        self._known: dict[str, Told] = {}
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
            del self._known[node]
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
        self._acted(node, event, "voted in")

    def _ack(self, node: str, event: AppendAck) -> None:
        known = self._known.get(node)
        if known is None or event.term != known.term:
            self._acted(node, event, "acknowledged entries in")

    def _acted(self, node: str, event: Told, did: str) -> None:
        """All that comes here waited for the disk in the order in which the node did it."""
        known = self._known.get(node)
        if known is None or event.term > known.term:
            self._known[node] = event
        elif event.term < known.term:
            self._find(
                f"{node} {did} term {event.term} after it had acted in term {known.term}: "
                "terms never decrease",
                node,
                [(node, known, f"{node} acts in term {known.term}")],
                event,
                f"{node} {did} term {event.term}",
            )

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
                [ONE_GROUP],
            )
        self._acted(node, event, "became leader of")

    def _term(self, node: str, event: TermChange) -> None:
        if event.term <= event.previous:
            self._find(
                f"{node} went from term {event.previous} back to term {event.term}",
                node,
                [],
                event,
                event.reason,
            )
        else:
            self._acted(node, event, "went to")

    def _find(
        self,
        text: str,
        node: str,
        before: list[tuple[str, Told, str]],
        event: Boot | Told,
        said: str,
        rests_on: list[str] | None = None,
    ) -> None:
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[*(pointer(*proof) for proof in before), pointer(node, event, said)],
                time=event.t0,
                rests_on=rests_on or [],
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


class Known(msgspec.Struct, gc=False):
    """The newest entry that a `node` knew to be committed when it said `event`; `term` is the entry's own, -1 if not told."""

    index: int
    term: int
    node: str
    event: Commit | Apply


class LeaderCompleteness:
    property = "P-LC"
    title = "leader completeness"

    def __init__(self, applied: Mapping[int, Applied] | None = None) -> None:
        """`applied` is the table that a StateMachineSafety keeps, to compare dumps with; it is only read."""
        self.handlers: dict[type, Handler] = {
            Commit: self._commit,
            Apply: self._apply,
            BecomeLeader: self._leader,
            LogDump: self._dump,
        }
        self.findings: list[Finding] = []
        self._applied: Mapping[int, Applied] = {} if applied is None else applied
        self._newest: dict[int, Known] = {}
        """By the term in which it was known: the newest entry."""
        self._leaders: dict[int, dict[str, BecomeLeader]] = {}
        self._last_term = 0
        self._lacking: set[tuple[str, int]] = set()

    def start(self, params: Params) -> None:
        """Nothing depends on the parameters."""

    def _commit(self, node: str, event: Commit) -> None:
        known = self._newest.get(event.term)
        if known is None or event.index > known.index:
            self._learn(known, event.index, -1, node, event)

    def _apply(self, node: str, event: Apply) -> None:
        entries = event.entries
        index = event.first + len(entries) - 1
        known = self._newest.get(event.term)
        if known is None or index > known.index or (known.term < 0 and index == known.index):
            self._learn(known, index, entries[-1][0] if entries else -1, node, event)

    def _learn(
        self, known: Known | None, index: int, entry_term: int, node: str, event: Commit | Apply
    ) -> None:
        term = event.term
        if known is None:
            known = self._newest[term] = Known(index, entry_term, node, event)
        else:
            known.index, known.term, known.node, known.event = index, entry_term, node, event
        if term < self._last_term:
            # Records of several nodes may come one node after the other.
            for later, leaders in self._leaders.items():
                if later > term:
                    for other, leader in leaders.items():
                        self._compare(known, other, leader)

    def _leader(self, node: str, event: BecomeLeader) -> None:
        self._leaders.setdefault(event.term, {})[node] = event
        self._last_term = max(self._last_term, event.term)
        for term, known in self._newest.items():
            if term < event.term:
                self._compare(known, node, event)

    def _compare(self, known: Known, node: str, leader: BecomeLeader) -> None:
        """What a node knows as committed in its term t was committed in t or earlier."""
        last, last_term = leader.last_index, leader.last_term
        if last < 0:
            return
        if last < known.index:
            has = f"a log that ends at {last}"
        elif 0 <= last_term < known.term or (
            last == known.index and last_term != known.term and min(last_term, known.term) >= 0
        ):
            has = f"a log whose last entry, {last}, is of term {last_term}"
        else:
            return
        what = f"{known.index}" if known.term < 0 else f"{known.index} of term {known.term}"
        self._lack(
            f"{node} became leader of term {leader.term} with {has}, although {what} was committed "
            f"by term {known.event.term}",
            node,
            leader,
            (known.node, known.event, f"{known.node} knows {known.index} committed"),
        )

    def _dump(self, node: str, event: LogDump) -> None:
        """The leader's whole log, told right when it became one."""
        leader = self._leaders.get(event.term, {}).get(node)
        if leader is None:
            return
        entries, first = event.entries, event.first
        for index, (term, crc, who, said) in self._applied.items():
            place = index - first
            if said.term >= event.term or place < 0:
                continue
            if place >= len(entries) or tuple(entries[place]) != (term, crc):
                held = f"the one of term {entries[place][0]}" if place < len(entries) else "nothing"
                self._lack(
                    f"{node} became leader of term {event.term} with {held} at index {index}, where "
                    f"the entry of term {term} was applied in term {said.term}",
                    node,
                    leader,
                    (who, said, f"{who} applies index {index}"),
                )
                return

    def _lack(
        self, text: str, node: str, leader: BecomeLeader, proof: tuple[str, Commit | Apply, str]
    ) -> None:
        if (node, leader.term) in self._lacking:
            return
        self._lacking.add((node, leader.term))
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[
                    pointer(*proof),
                    pointer(node, leader, f"{node} leads with last index {leader.last_index}"),
                ],
                time=leader.t0,
                rests_on=[ONE_GROUP],
                details={"node": node, "term": leader.term},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        told = sum(
            event.last_index >= 0
            for leaders in self._leaders.values()
            for event in leaders.values()
        )
        return conclude(
            self.findings, {"leaders": told}, told > 0, "" if told else "no leader was seen"
        )
