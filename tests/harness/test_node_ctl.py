"""`driftline node-ctl` against real nodes: every command, its text, its JSON, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from harness import cli, node_ctl
from tests.node.shell.group import Group

Said = pytest.CaptureFixture[str]


@pytest.fixture
def group() -> Iterator[Group]:
    """Three members, as a run has them, with a leader."""
    with Group(3) as group:
        # Of a run's folder the command needs no more than nodes/*/config.json.
        (group.folder / "run").mkdir()
        (group.folder / "run" / "nodes").symlink_to(group.folder)
        group.start_all()
        trio.run(group.leader)
        yield group


def asked(group: Group, *words: str) -> int:
    return cli.main(["node-ctl", *words, "--folder", str(group.folder / "run")])


def test_the_whole_of_an_operators_day(group: Group, capsys: Said) -> None:
    """braft's commands, one after another: each says in a line what was done, and the group lives."""
    leader = trio.run(group.leader)
    first, second = group.others(leader)
    assert asked(group, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "members n1 n2 n3"
    assert asked(group, "transfer", first) == 0
    assert capsys.readouterr().out == f"{leader} led, {first} leads\n"
    assert asked(group, "transfer", first) == 0
    assert capsys.readouterr().out == f"{first} led, {first} leads\n"
    assert asked(group, "remove", second) == 0
    rest = " ".join(sorted([leader, first]))
    assert capsys.readouterr().out == f"members were n1 n2 n3, are {rest}\n"
    assert asked(group, "remove", second) == 1
    assert capsys.readouterr().err.endswith(
        f"{second} is no member; members are {rest.replace(' ', ', ')}\n"
    )
    assert asked(group, "add", second, "--json") == 0
    assert json.loads(capsys.readouterr().out)["new"] == ["n1", "n2", "n3"]
    assert asked(group, "change", "n1", "n2", "n3") == 0
    assert asked(group, "snapshot", "n1") == 0
    assert asked(group, "readonly", second, "on") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{second} is read-only"
    assert asked(group, "status", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {name: status["readonly"] for name, status in found.items()} == {
        name: name == second for name in group.names
    }
    assert asked(group, "readonly", second, "off") == 0
    assert asked(group, "vote", leader) == 0
    assert trio.run(group.leader) in group.names


def test_refusals_are_one_line_and_exit_1(group: Group, capsys: Said) -> None:
    """What was asked, what was found."""
    leader = trio.run(group.leader)
    follower = group.others(leader)[0]
    for words, said in (
        (["transfer", "n9"], "transfer: invalid: n9 is no member"),
        (["add", "n1"], "invalid: n1 is a member already"),
        (["add", "n9"], "change_members: ValueError: no address for ['n9']"),
        (["vote", leader], f"{leader} is leader: followers stand"),
        (["vote", follower, "--election-timeout-ms", "9000"], "is above E + D (625 ms)"),
        (["reset", follower, "n9"], "no address for ['n9']"),
    ):
        assert asked(group, *words, "--retries", "0") == 1
        err = capsys.readouterr().err
        assert said in err
        assert err.startswith("driftline: ")
        assert err.count("\n") == 1


def test_one_socket_speaks_for_one_node(group: Group, capsys: Said) -> None:
    """--socket: no leader is looked for elsewhere, but the one that is followed is named."""
    leader = trio.run(group.leader)
    follower = group.others(leader)[0]
    socket = str(group.folder / follower / "admin")
    words = ["node-ctl", "transfer", "--socket", socket, "--retries", "0"]
    assert cli.main(words) == 1
    assert f"they follow {leader}" in capsys.readouterr().err
    assert cli.main(["node-ctl", "snapshot", "--socket", socket]) == 0
    assert cli.main(["node-ctl", "status", "--socket", socket]) == 0
    assert follower in capsys.readouterr().out


def test_a_group_that_is_down_is_told_from_a_folder_that_is_none(
    group: Group, tmp_path: Path, capsys: Said
) -> None:
    """1 and 64."""
    for name in group.names:
        group.kill(name)
    for words in (["status"], ["transfer"], ["snapshot", "n1"]):
        assert asked(group, *words, "--retries", "1") == 1
    assert "answer" in capsys.readouterr().err
    assert cli.main(["node-ctl", "status", "--folder", str(tmp_path)]) == 64


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["bogus"],
        ["status", "--socket", "/nowhere"],
        ["status", "--folder", "/nowhere", "--socket", "/nowhere"],
        ["add", "--socket", "/nowhere"],
        ["readonly", "n1", "maybe", "--socket", "/nowhere"],
        ["transfer", "--timeout", "0", "--socket", "/nowhere"],
        ["transfer", "--retries", "-1", "--socket", "/nowhere"],
    ],
)
def test_wrong_usage_is_64_with_one_line(words: list[str], capsys: Said) -> None:
    """As everywhere in this command line."""
    assert cli.main(["node-ctl", *words]) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_a_node_must_be_named_where_there_are_several(group: Group, capsys: Said) -> None:
    """A snapshot of which?"""
    assert asked(group, "snapshot") == 64
    assert "there are n1, n2, n3" in capsys.readouterr().err


async def test_only_what_was_surely_not_done_is_asked_again() -> None:
    """A refusal for now is retried; an outcome that is not known is told as such at once."""
    operator = node_ctl.Operator({}, 30, 3)
    asked = 0

    async def busy() -> None:
        nonlocal asked
        asked += 1
        raise node_ctl.raft.AdminError("transfer: busy: the leadership is being handed to n2")

    async def unknown() -> None:
        nonlocal asked
        asked += 1
        raise ConnectionResetError("closed by the other side")

    with pytest.raises(node_ctl.OperatorError, match="busy"):
        await operator.repeated(busy)
    assert asked == 4
    with pytest.raises(node_ctl.OperatorError, match="outcome is not known"):
        await operator.repeated(unknown)
    assert asked == 5
