"""Changes of the group's members (Raft thesis 4; braft src/braft/node.cpp).

A leader first brings new members up to date without a vote (catching up), then puts the new configuration into its log: through
a joint one when more than one member changes. A configuration is in force from its append on, at the leader and at followers
alike, and gives way to the one before it when its entry is cut off. The one rule: one change at a time, and none before the
term's first entry is committed, so that any two configurations that may count votes at the same time share a member of every
quorum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.raft import configuration, election, events, replication, witnesses
from node.raft.configuration import Configuration
from node.raft.effects import AdminDone, ChangeMembers, ResetMembers
from node.raft.election import LEADING

if TYPE_CHECKING:
    from node.raft.raft import Raft

NEVER: Final = 2**63
"""An index that no log reaches."""

NONE: Final = "none"
CATCHING_UP: Final = "catching_up"
JOINT: Final = "joint"
STABLE: Final = "stable"


class Change:
    """What the leader is changing, for the operator's request `token`."""

    __slots__ = ("add", "due", "old", "remove", "stage", "target", "token")

    def __init__(self, token: int, old: Configuration, target: Configuration) -> None:
        self.token = token
        self.old = old
        self.target = target
        self.add = tuple(name for name in target.members if name not in old.members)
        self.remove = tuple(name for name in old.members if name not in target.members)
        self.stage = NONE
        self.due: int | None = None
        """When catching up is given up, unless the new members still answer then."""

    def __repr__(self) -> str:
        return f"Change({self.stage}, +{list(self.add)}, -{list(self.remove)})"


# ---- the configuration in force ------------------------------------------------------------------


def boot(raft: Raft) -> None:
    """The configuration that this life begins with, and its first tick. A group of one need not wait for anybody (2.1)."""
    raft.conf_index, raft.conf = raft.log.configurations[-1]
    adopt(raft)
    witnesses.boot(raft)
    election.arm(raft)
    if raft.conf.everyone == (raft.name,) and raft.options.elections:
        raft.triggered = True
        raft.election_due = raft.now


def configured(raft: Raft) -> None:
    """Put the log's newest configuration in force, and tell what came or went."""
    known = raft.log.configurations
    index, conf = known[-1]
    before = raft.conf_index
    if index < before and raft.bugs.breaks("conf_no_rollback"):
        return
    raft.conf_index, raft.conf = index, conf
    tell = raft.out.events.append
    if index < before:
        tell(events.conf_change(raft.term, index, conf, "rollback"))
    for at, appended in known:
        if at > before:
            tell(events.conf_change(raft.term, at, appended, "append"))
    # What a snapshot brought is committed already.
    tell_committed(raft, min(raft.conf_due, before + 1))
    adopt(raft)


def adopt(raft: Raft) -> None:
    """Everything that follows from the configuration in force."""
    conf = raft.conf
    raft.others = tuple(member for member in conf.everyone if member != raft.name)
    raft.conf_due = first_uncommitted(raft)
    raft.witness = raft.name in conf.witnesses
    if raft.bare and witnesses.in_office(raft):
        raft.out.unusable = witnesses.unusable(raft)
    witnesses.promise(raft)
    if raft.state in LEADING:
        for name in raft.others:
            if name not in raft.peers:
                replication.add(raft, name)


def concerned(raft: Raft) -> tuple[str, ...]:
    """Everybody but this member whose removal is not known to be committed: they may stand (A10), so a new leader feeds them.

    Fed only those in force, it would be deposed by the others, who hear from nobody; two of these could take turns for ever,
    each undoing what the other replicates (Raft thesis 4.2.3).
    """
    names: set[str] = set()
    settled = max(raft.commit, raft.log.overridden)
    for index, conf in reversed(raft.log.configurations):
        names.update(conf.members, conf.old)
        if index <= settled:
            break
    return tuple(sorted(names - {raft.name}))


def first_uncommitted(raft: Raft) -> int:
    commit = raft.commit
    return next((index for index, _ in raft.log.configurations if index > commit), NEVER)


def tell_committed(raft: Raft, since: int) -> None:
    for index, conf in raft.log.configurations:
        if since <= index <= raft.commit:
            raft.out.events.append(events.conf_change(raft.term, index, conf, "commit"))


def on_committed(raft: Raft) -> None:
    """Configurations up to the commit index are committed: go on from there, if we lead."""
    tell_committed(raft, raft.conf_due)
    raft.conf_due = first_uncommitted(raft)
    if raft.state not in LEADING or raft.conf_due != NEVER:
        return
    if raft.conf.joint:
        enter(raft, STABLE)
        target = raft.conf.members
        those = tuple(name for name in raft.conf.witnesses if name in target)
        raft.append_configuration(Configuration(target, (), those))
    else:
        settle(raft)


def settle(raft: Raft) -> None:
    """The only configuration is committed: who is not in it is no concern of ours, we ourselves perhaps."""
    change = raft.change
    if change is not None and change.stage == CATCHING_UP:
        return
    for name in [name for name in raft.peers if name not in raft.others]:
        # One last message, so that it learns that it is out and leaves the others in peace.
        replication.heartbeat(raft, raft.peers.pop(name))
    if change is not None:
        finish(raft)
    if raft.name not in raft.conf.members:
        raft.retire("leader_removed")


# ---- the leader's change of members --------------------------------------------------------------


def on_change(raft: Raft, asked: ChangeMembers) -> None:
    """Begin a change, or say why not: not_leader, busy, invalid."""
    error = refusal(raft, asked)
    if error:
        raft.out.admin.append(AdminDone(asked.token, error))
        return
    target = configuration.of(asked.members, asked.witnesses)
    change = Change(asked.token, raft.conf, target)
    if target == raft.conf:
        members = target.members
        raft.out.admin.append(AdminDone(asked.token, "", members, members))
        return
    raft.change = change
    if not change.add:
        put(raft, change)
        return
    enter(raft, CATCHING_UP)
    change.due = raft.now + raft.election_timeout_ns
    raft.wake_at(change.due)
    for name in change.add:
        replication.add(raft, name)


def refusal(raft: Raft, asked: ChangeMembers) -> str:
    """Why the change cannot begin; "" if it can."""
    if raft.state not in LEADING:
        return "not_leader"
    if raft.handover is not None:
        return f"busy: the leadership is being handed to {raft.handover.to}"
    if raft.change is not None or raft.conf.joint:
        return "busy: another change of members is running"
    error = senseless(raft, asked.members, asked.witnesses)
    if error:
        return error
    now, then = set(raft.conf.witnesses), set(asked.witnesses)
    turned = sorted((now ^ then) & set(raft.conf.members) & set(asked.members))
    if turned:
        return f"invalid: {turned} would turn from witness to member or back; remove and add them"
    if raft.conf_due != NEVER and not raft.bugs.breaks("conf_before_own_commit"):
        return "busy: the configuration in force is not committed yet"
    return ""


def senseless(raft: Raft, members: tuple[str, ...], those: tuple[str, ...]) -> str:
    """What is wrong with these members and witnesses, whatever the group; "" if nothing."""
    if not members:
        return "invalid: a group needs members"
    try:
        configuration.of(members, those)
    except ValueError as error:
        return f"invalid: {error}"
    wrong = configuration.senseless(members, those, raft.options.witness_may_lead)
    return f"invalid: {wrong}" if wrong else ""


def enter(raft: Raft, stage: str) -> None:
    change = raft.change
    if change is not None:
        change.stage = stage
    add, remove = (change.add, change.remove) if change else ((), ())
    raft.out.events.append(events.change_stage(raft.term, stage, add, remove))


def put(raft: Raft, change: Change) -> None:
    """Everybody new is up to date: the new configuration goes into the log, by way of a joint one if more than one changes."""
    change.due = None
    old, target = change.old, change.target
    several = len(change.add) + len(change.remove) > 1
    if several and not raft.bugs.breaks("joint_skipped"):
        enter(raft, JOINT)
        those = tuple(sorted({*old.witnesses, *target.witnesses}))
        raft.append_configuration(Configuration(target.members, old.members, those))
    else:
        enter(raft, STABLE)
        raft.append_configuration(target)


def on_progress(raft: Raft) -> None:
    """A peer answered: are all new members caught up now?"""
    change = raft.change
    if change is None or change.stage != CATCHING_UP:
        return
    if all(caught_up(raft, name) for name in change.add):
        put(raft, change)


def caught_up(raft: Raft, name: str) -> bool:
    """It has answered, does not wait for a snapshot, and lacks at most catchup_margin entries."""
    peer = raft.peers[name]
    lag = raft.log.last_index - peer.match
    return not peer.probing and lag <= raft.options.catchup_margin


def on_timer(raft: Raft) -> None:
    """Catching up has lasted E: go on while every new member that lags answered within E."""
    change = raft.change
    assert change is not None and change.due is not None
    oldest = raft.now - raft.election_timeout_ns
    for name in change.add:
        if not caught_up(raft, name) and raft.peers[name].last_rpc_send <= oldest:
            give_up(raft, "catchup_timeout")
            return
    change.due = raft.now + raft.election_timeout_ns


def give_up(raft: Raft, error: str) -> None:
    """The change did not begin to count: the group is what it was."""
    change = raft.change
    assert change is not None
    for name in change.add:
        del raft.peers[name]
    finish(raft, error)


def finish(raft: Raft, error: str = "") -> None:
    """Answer the operator; there is no change any more."""
    change = raft.change
    assert change is not None
    enter(raft, NONE)
    raft.change = None
    old, new = change.old.members, change.target.members
    raft.out.admin.append(AdminDone(change.token, error, old, new))


def abort(raft: Raft) -> None:
    """This member leads no more: what became of the change is for its successor to decide."""
    finish(raft, "stepped_down: the outcome is not known")


# ---- overriding ----------------------------------------------------------------------------------


def on_reset(raft: Raft, asked: ResetMembers) -> None:
    """Make `members` the group as far as this member is concerned, in a term of its own.

    For a group that lost its majority for good. Nobody else is asked, so two groups may come of it. The override lasts until
    the next configuration in the log, which is that of the next leader.
    """
    those = tuple(name for name in raft.conf.witnesses if name in asked.members)
    error = senseless(raft, asked.members, those)
    if error:
        raft.out.admin.append(AdminDone(asked.token, error))
        return
    old = raft.conf.members
    raft.step_down(raft.term + 1, "reset_peers")
    conf = configuration.of(asked.members, those)
    raft.log.override(conf)
    raft.conf = conf
    raft.out.events.append(events.conf_change(raft.term, raft.conf_index, conf, "reset"))
    adopt(raft)
    done = AdminDone(asked.token, "", old, conf.members)
    raft.when_durable(raft.out_admin, (done,))


# ---- what is to be seen --------------------------------------------------------------------------


def is_learner(raft: Raft, name: str) -> bool:
    """Is `name` fed without having a vote yet?"""
    change = raft.change
    return change is not None and change.stage == CATCHING_UP and name in change.add


def catch_up_due(raft: Raft) -> int | None:
    return None if raft.change is None else raft.change.due


def status(raft: Raft) -> dict[str, object]:
    """The stage of the change that this leader carries out, and between which members."""
    change = raft.change
    if change is None:
        return {"stage": NONE, "add": [], "remove": [], "old": [], "new": []}
    return {
        "stage": change.stage,
        "add": list(change.add),
        "remove": list(change.remove),
        "old": list(change.old.members),
        "new": list(change.target.members),
    }
