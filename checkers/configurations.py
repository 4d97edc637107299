"""P-CONF: the group changes one safe step at a time, and all nodes agree on the steps (Raft thesis 4).

The configuration that is committed at an index is the same for all nodes. In each log, a configuration differs from the
one before it by at most one member, or enters or leaves a joint one; otherwise two majorities could decide apart from each
other. A leader puts none into its log before its first entry of its own term is committed, nor before the last configuration
is (that first entry, which repeats the configuration in force, is the exception). A configuration gives way to an earlier one
only when its entry is cut off.

After a snapshot from the leader the configuration before is not known, and the next one is not compared. An operator's
reset is no step of the group, and what comes of it rests on the assumption that there is one group.
"""

from __future__ import annotations

from collections.abc import Callable

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
    BecomeLeader,
    Boot,
    Commit,
    ConfChange,
    SnapshotLoaded,
    StepDown,
)
from checkers.records.schema import Finding

Told = Boot | BecomeLeader | Commit | ConfChange


class InForce(msgspec.Struct, frozen=True):
    """One configuration in a log; `index` -1 if it is not known where."""

    index: int
    members: tuple[str, ...]
    old: tuple[str, ...]
    event: Boot | ConfChange

    def words(self) -> str:
        new = " ".join(self.members)
        return f"{{{' '.join(self.old)}}} to {{{new}}}" if self.old else f"{{{new}}}"


class Life(msgspec.Struct):
    """Configurations of the log that may still be cut off, oldest first; the last one is in force. Empty: not known."""

    boot: int
    log: list[InForce] = []
    committed: int = 0
    leads: BecomeLeader | None = None


class Configurations:
    property = "P-CONF"
    title = "changes of members"

    def __init__(self) -> None:
        self._stages: dict[str, Callable[[str, ConfChange, Life], None]] = {
            "append": self._append,
            "rollback": self._rollback,
            "reset": self._reset,
            "commit": self._committed,
        }
        self.handlers: dict[type, Handler] = {
            Boot: self._boot,
            ConfChange: self._change,
            Commit: self._commit,
            BecomeLeader: self._leader,
            StepDown: self._step_down,
            SnapshotLoaded: self._loaded,
        }
        self.findings: list[Finding] = []
        self._lives: dict[str, Life] = {}
        self._agreed: dict[int, tuple[str, ConfChange]] = {}
        """What was committed at each index, and who said so first."""
        self._appended = 0
        self._node_events = True

    def start(self, params: Params) -> None:
        self._node_events = params.node_events

    def _life(self, node: str, boot: int) -> Life:
        life = self._lives.get(node)
        if life is None or life.boot != boot:
            life = self._lives[node] = Life(boot)
        return life

    def _boot(self, node: str, event: Boot) -> None:
        life = self._lives[node] = Life(event.boot)
        if event.members:
            life.log.append(_in_force(-1, event))

    def _commit(self, node: str, event: Commit) -> None:
        life = self._lives.get(node)
        if life is None or life.boot != event.boot:
            life = self._life(node, event.boot)
        life.committed = event.index

    def _leader(self, node: str, event: BecomeLeader) -> None:
        self._life(node, event.boot).leads = event

    def _step_down(self, node: str, event: StepDown) -> None:
        self._life(node, event.boot).leads = None

    def _loaded(self, node: str, event: SnapshotLoaded) -> None:
        if event.source != "boot":
            life = self._life(node, event.boot)
            life.log.clear()
            life.committed = max(life.committed, event.index)

    def _change(self, node: str, event: ConfChange) -> None:
        stage = self._stages.get(event.stage)
        if stage is not None:
            stage(node, event, self._life(node, event.boot))

    # ---- into the log, and out of it -----------------------------------------------------------

    def _append(self, node: str, event: ConfChange, life: Life) -> None:
        self._appended += 1
        log = life.log
        new = _in_force(event.index, event)
        before = log[-1] if log else None
        if before is not None and before.index >= event.index:
            self._find(
                f"{node} has a new configuration at index {event.index} while one at {before.index} is in force, "
                "which was not rolled back",
                [(node, before.event, f"{before.words()} at {before.index}"), _shown(node, new)],
            )
            log[:] = [one for one in log if one.index < event.index]
            before = log[-1] if log else None
        if before is not None and not _follows(before, new):
            self._find(
                f"{node} went from the members {before.words()} to {new.words()} in one step: more than one changes",
                [_shown(node, before), _shown(node, new)],
            )
        if life.leads is not None:
            self._by_leader(node, event, life.leads, before, life.committed)
        log.append(new)
        while len(log) > 1 and log[1].index <= life.committed:
            log.pop(0)  # The one after it is committed, so nobody goes back to it.

    def _by_leader(
        self,
        node: str,
        event: ConfChange,
        leads: BecomeLeader,
        before: InForce | None,
        committed: int,
    ) -> None:
        own = leads.last_index + 1
        if leads.last_index < 0 or (event.index == own and _repeats(before, event)):
            return
        if committed < own:
            self._find(
                f"{node}, leader of term {leads.term}, changed the members at index {event.index} before its first "
                f"entry of that term, {own}, was committed",
                [
                    (node, leads, f"{node} leads from {own} on"),
                    _shown(node, _in_force(event.index, event)),
                ],
            )
        elif before is not None and before.index > committed:
            self._find(
                f"{node}, leader of term {leads.term}, changed the members at index {event.index} before the "
                f"configuration at {before.index} was committed",
                [_shown(node, before), _shown(node, _in_force(event.index, event))],
            )

    def _reset(self, node: str, event: ConfChange, life: Life) -> None:
        """An operator's override, which has no entry of its own: it stands in the place of the newest configuration."""
        life.log[-1:] = [_in_force(event.index, event)]

    def _rollback(self, node: str, event: ConfChange, life: Life) -> None:
        log = life.log
        gone = log[:]
        while log and log[-1].index > event.index:
            log.pop()
        again = _in_force(event.index, event)
        known = log[-1] if log else None
        if known is None or known.index != event.index:
            log[:] = [again]  # What a life began with may be the very one that is cut off.
        elif (known.members, known.old) != (again.members, again.old):
            self._find(
                f"{node} went back to the members {again.words()} at index {event.index}, and had "
                f"{known.words()} there before",
                [_shown(node, known), _shown(node, again)],
            )
        lost = next((one for one in gone if event.index < one.index <= life.committed), None)
        if lost is not None:
            self._find(
                f"{node} rolled back the configuration at index {lost.index}, and had committed up to {life.committed}",
                [_shown(node, lost), _shown(node, again)],
            )

    # ---- committed -----------------------------------------------------------------------------

    def _committed(self, node: str, event: ConfChange, life: Life) -> None:
        other, first = self._agreed.setdefault(event.index, (node, event))
        if first is not event and _content(first) != _content(event):
            mine, theirs = _in_force(event.index, event), _in_force(event.index, first)
            self._find(
                f"at index {event.index} {other} committed the members {theirs.words()} and {node} {mine.words()}",
                [_shown(other, theirs), _shown(node, mine)],
            )
        appended = next((one for one in life.log if one.index == event.index), None)
        if (
            appended is not None
            and type(appended.event) is ConfChange
            and _content(appended.event) != _content(event)
        ):
            self._find(
                f"{node} committed other members at index {event.index} than it has in its log",
                [_shown(node, appended), _shown(node, _in_force(event.index, event))],
            )

    def _find(self, text: str, proofs: list[tuple[str, Told, str]]) -> None:
        event = proofs[-1][1]
        self.findings.append(
            Finding(
                property=self.property,
                text=text,
                evidence=[pointer(*proof) for proof in proofs],
                time=event.t0,
                rests_on=[ONE_GROUP],
                details={"node": proofs[-1][0], "term": event.term},
            )
        )

    def finish(self, completeness: Completeness) -> Result:
        statistics = {"appended": self._appended, "committed": len(self._agreed)}
        seen = self._appended > 0
        because = "" if seen else ("no configuration was told" if self._node_events else NO_EVENTS)
        return conclude(self.findings, statistics, seen, because)


def _in_force(index: int, event: Boot | ConfChange) -> InForce:
    return InForce(index, tuple(event.members), tuple(event.old), event)


def _content(event: ConfChange) -> tuple[tuple[str, ...], ...]:
    return tuple(event.members), tuple(event.old), tuple(event.witnesses)


def _shown(node: str, one: InForce) -> tuple[str, Told, str]:
    return node, one.event, f"{node}: members {one.words()} at index {one.index}"


def _repeats(before: InForce | None, event: ConfChange) -> bool:
    return before is None or (before.members, before.old) == (
        tuple(event.members),
        tuple(event.old),
    )


def _follows(before: InForce, new: InForce) -> bool:
    """May `new` come right after `before`? The same again may: a leader's first entry repeats the configuration."""
    if (before.members, before.old) == (new.members, new.old):
        return True
    if before.old:
        return not new.old and new.members == before.members
    if new.old:
        return set(new.old) == set(before.members)
    return len(set(before.members) ^ set(new.members)) <= 1
