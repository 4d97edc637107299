"""The commands of `driftline node-ctl`; what they do is in node_ctl.py, which is imported when one runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from harness.node_ctl import Operator

app = App(
    name="node-ctl",
    help="Operate a group that is running: members, leadership, snapshots, modes.",
    help_epilogue="Exit: 0 done, 1 refused or not answered (one line says why), 64 wrong usage.",
    help_format="plaintext",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


def _above_zero(kind: type, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError("must be greater than 0")


def _not_below_zero(kind: type, value: Any) -> None:
    if value is not None and value < 0:
        raise ValueError("must not be negative")


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Whom to ask, and how patiently."""

    folder: Path | None = None
    "A run's folder while it runs: its nodes are asked, the leader is found."
    socket: Path | None = None
    "One node's admin socket."
    timeout: Annotated[float, Parameter(validator=_above_zero)] = 10.0
    "Seconds for everything, retries included."
    retries: Annotated[int, Parameter(validator=_not_below_zero)] = 3
    "How often a request that was refused for now is repeated."
    json: Annotated[bool, Parameter(negative=())] = False
    "One JSON document."


def _do(
    where: Where | None,
    ask: Callable[[Operator], Awaitable[dict[str, Any]]],
    text: Callable[[dict[str, Any]], str],
) -> int:
    """Carry out one request and tell what came of it."""
    import json

    import trio

    from harness import node_ctl

    asked = where or Where()
    found = node_ctl.sockets(asked.folder, asked.socket)
    done = trio.run(ask, node_ctl.Operator(found, asked.timeout, asked.retries))
    print(json.dumps(done) if asked.json else text(done))
    return 0


def _members(done: dict[str, Any]) -> str:
    return f"members were {' '.join(done['old'])}, are {' '.join(done['new'])}"


@app.command
def add(*names: str, where: Where | None = None) -> int:
    """Add members to the group; they are brought up to date first.

    Parameters
    ----------
    names
        Nodes that run and can be dialled, but are no members.
    """
    from harness import node_ctl

    edit = node_ctl.add(_some(names))
    return _do(where, lambda operator: operator.change(edit), _members)


@app.command
def remove(*names: str, where: Where | None = None) -> int:
    """Remove members from the group.

    Parameters
    ----------
    names
        Members; the leader may be among them.
    """
    from harness import node_ctl

    edit = node_ctl.remove(_some(names))
    return _do(where, lambda operator: operator.change(edit), _members)


@app.command
def change(*names: str, where: Where | None = None) -> int:
    """Make the named nodes the group, through a joint configuration.

    Parameters
    ----------
    names
        Everybody who is to be a member.
    """
    members = list(_some(names))
    return _do(where, lambda operator: operator.change(lambda _: members), _members)


@app.command
def transfer(to: str = "", /, *, where: Where | None = None) -> int:
    """Have the leader hand over.

    Parameters
    ----------
    to
        The next leader; without a name the member that is furthest.
    """
    return _do(
        where,
        lambda operator: operator.transfer(to),
        lambda done: f"{done['old']} led, {done['new']} leads",
    )


@app.command
def snapshot(node: str = "", /, *, where: Where | None = None) -> int:
    """Have a node save a snapshot; done when it is durable.

    Parameters
    ----------
    node
        Whose; needed with --folder.
    """
    return _do(
        where,
        lambda operator: operator.one(node, lambda admin: admin.snapshot()),
        lambda done: f"{done['node']} has a snapshot of all that it had applied",
    )


@app.command
def reset(node: str, /, *names: str, where: Where | None = None) -> int:
    """Override what one node takes for the group. Unsafe: two groups may come of it.

    Parameters
    ----------
    node
        The node that is told.
    names
        The members from now on, as far as it is concerned.
    """
    members = list(_some(names))
    return _do(
        where,
        lambda operator: operator.one(
            node, lambda admin: admin.reset_members(members), members=members
        ),
        lambda done: f"{done['node']} takes {' '.join(done['members'])} for the group now",
    )


@app.command
def vote(
    node: str = "",
    /,
    *,
    election_timeout_ms: Annotated[int, Parameter(validator=_not_below_zero)] = 50,
    where: Where | None = None,
) -> int:
    """Have a follower stand for election, without waiting for its promise.

    Parameters
    ----------
    node
        Who; needed with --folder.
    election_timeout_ms
        How soon, at most E + D.
    """
    return _do(
        where,
        lambda operator: operator.vote(node, election_timeout_ms),
        lambda done: f"{done['node']} stands within {done['election_timeout_ms']} ms",
    )


@app.command
def readonly(node: str, mode: Literal["on", "off"], /, *, where: Where | None = None) -> int:
    """Have a node take no more user entries, or take them again.

    Parameters
    ----------
    node
        Who.
    mode
        on or off.
    """
    return _do(
        where,
        lambda operator: operator.one(
            node, lambda admin: admin.readonly(mode == "on"), readonly=mode == "on"
        ),
        lambda done: f"{done['node']} is {'read-only' if done['readonly'] else 'writable'}",
    )


@app.command
def status(*, where: Where | None = None) -> int:
    """How the nodes stand: state, term, log, lease, members.

    Fails when no node answers.
    """
    from harness import node_ctl

    async def ask(operator: Operator) -> dict[str, Any]:
        found = await operator.statuses()
        if not any(found.values()):
            raise node_ctl.OperatorError(f"no node answers ({', '.join(found)})")
        return found

    return _do(where, ask, lambda found: "\n".join(node_ctl.status_lines(found)))


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    from harness.node_ctl import TargetError

    if not names:
        raise TargetError("name at least one node")
    return names
