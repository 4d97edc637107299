"""Finding toxiproxy-server, and what a server that cannot start says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import trio

from harness.errors import LinkServerError
from harness.links.server import (
    TOXIPROXY_VERSION,
    LinkSet,
    cache_path,
    find_toxiproxy_server,
)
from harness.links.table import Cut, Link
from harness.processes import open_warden
from tests.harness.links.world import address, open_world

BUILD = Path(__file__).parents[3] / "tools" / "toxiproxy" / "build.py"


def test_the_build_and_the_harness_agree_on_version_and_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = importlib.util.spec_from_file_location("build_toxiproxy", BUILD)
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert build.pinned_version() == TOXIPROXY_VERSION
    assert build.cache_path(TOXIPROXY_VERSION) == cache_path()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_path(TOXIPROXY_VERSION) == cache_path()
    assert cache_path().is_relative_to(tmp_path)


def test_a_missing_server_names_the_one_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DRIFTLINE_TOXIPROXY_SERVER", raising=False)
    with pytest.raises(LinkServerError, match="run `make setup`"):
        find_toxiproxy_server()
    monkeypatch.setenv("DRIFTLINE_TOXIPROXY_SERVER", str(tmp_path / "mine"))
    with pytest.raises(LinkServerError, match=r"mine \(DRIFTLINE_TOXIPROXY_SERVER\)"):
        find_toxiproxy_server()
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    assert find_toxiproxy_server() == tmp_path / "mine"


async def test_a_server_whose_address_is_taken_is_an_error_that_says_so(tmp_path: Path) -> None:
    api = address()
    listeners = await trio.open_tcp_listeners(api[1], host=api[0])
    link = Link(name="l", source="a", target="b", server="s", listen=address(), upstream=address())
    async with open_warden(proof_path=tmp_path / "proof.json") as warden:
        links = LinkSet(warden, "embedded", api={"s": api}, log_folder=tmp_path)
        with trio.fail_after(5), pytest.raises(LinkServerError, match=r"exit code 1 .*s\.log"):
            await links.start([link])
        await links.stop()
    for listener in listeners:
        await listener.aclose()


async def test_a_cancelled_change_is_made_good_by_the_next(tmp_path: Path) -> None:
    """Toxiproxy, cancelled between the two toxics of a cut: the next call re-creates the link."""
    async with open_world("toxiproxy", tmp_path, links=2) as world:
        for wait_s in (0, 0.0005, 0.001, 0.0015, 0.002):
            with trio.move_on_after(wait_s):
                await world.links.apply("f", {"l0": Cut(), "l1": Cut()})
            assert world.links.table.desired("l0").cut
            assert not (await world.links.lift("f")).indeterminate
            assert await world.passes("l0")
            assert await world.passes("l1")
