"""Build porcupine-py's wheels and try them: `make wheels`.

The source distribution is built first and everything else from it, so that a file it forgets is missed. With cargo on
the PATH it has to give a wheel for every Python from 3.11 on (abi3) with the compiled core in it, without cargo a
pure one. Each is unpacked into a folder of its own and used from there. No package index is asked: what builds is in
.venv; only cargo may fetch its crates, once.

Whatever fails says in one line what was asked, what was found and what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
SOURCE = ROOT / "checkers" / "porcupine-py"
TARGET = ROOT / "build" / "wheels-target"
NEEDED = (
    "porcupine/py.typed",
    "porcupine/formats/edn.py",
    "porcupine/visualization/page.html",
    "porcupine/visualization/page.css",
    "porcupine/visualization/page.js",
)

# What an installed package has to be able to do, and what it says of its core.
TRY = """
import sys
sys.path.insert(0, sys.argv[1])
import porcupine
assert porcupine.__file__.startswith(sys.argv[1]), porcupine.__file__
assert porcupine.core == sys.argv[2], porcupine.core
from porcupine import Operation, check_verbose, models, visualize_path
from porcupine.cli import main
history = [Operation(0, ("enqueue", 1), 0, None, 1), Operation(1, ("dequeue",), 2, 2, 3)]
for _ in range(2):
    result, info = check_verbose(history, models.queue())
    assert result.verdict == "illegal", result
visualize_path(models.queue(), info, sys.argv[3] + "/picture.html")
assert "</html>" in open(sys.argv[3] + "/picture.html").read()
with open(sys.argv[3] + "/history.txt", "w") as log:
    log.write("0\\t:invoke\\t:read\\tnil\\n0\\t:ok\\t:read\\t7\\n")
assert main(["check", sys.argv[3] + "/history.txt", "--model", "register", "--quiet"]) == 1
"""
REMARK = "runs in pure Python"


class WheelError(Exception):
    """Says what was asked, what was found, what to do."""

    def __init__(self, asked: str, found: str, todo: str) -> None:
        super().__init__(f"asked for {asked}; found {found}; {todo}")


def run(
    command: Sequence[str | Path], cwd: Path, env: dict[str, str], asked: str, todo: str
) -> str:
    """Run, and give what it printed on stderr."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).splitlines()[-25:]
        print(*(f"  | {line}" for line in lines), sep="\n", file=sys.stderr, flush=True)
        raise WheelError(asked, f"exit status {done.returncode} (output above)", todo)
    return done.stderr


def environment(*, cargo: bool) -> dict[str, str]:
    """The caller's, with cargo's products kept out of the source; without cargo, its folders are off the PATH."""
    stray = ("PYTHONPATH", "PYTHONHOME", "PORCUPINE_CORE")
    kept = {name: value for name, value in os.environ.items() if name not in stray}
    folders = kept.get("PATH", os.defpath).split(os.pathsep)
    if not cargo:
        folders = [folder for folder in folders if shutil.which("cargo", path=folder) is None]
    return {**kept, "PATH": os.pathsep.join(folders), "CARGO_TARGET_DIR": str(TARGET)}


def source_distribution(work: Path) -> Path:
    """The source distribution, unpacked."""
    copy = work / "checkout"
    shutil.copytree(
        SOURCE,
        copy,
        ignore=shutil.ignore_patterns("target", "build", "*.so", "*.egg-info", "__pycache__"),
    )
    hook = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    run(
        [PYTHON, "-c", hook],
        copy,
        environment(cargo=True),
        "a source distribution of porcupine-py",
        "mend checkers/porcupine-py/pyproject.toml or MANIFEST.in",
    )
    (archive,) = (copy / "dist").glob("*.tar.gz")
    shutil.unpack_archive(archive, work / "unpacked", filter="data")
    (source,) = (work / "unpacked").iterdir()
    return source


def wheel(source: Path, out: Path, *, cargo: bool) -> Path:
    pip = [PYTHON, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    run(
        [*pip, "--no-cache-dir", "-w", out, source],
        out.parent,
        {**environment(cargo=cargo), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        f"a wheel {'with' if cargo else 'without'} the compiled core",
        "mend what the build says",
    )
    (found,) = out.glob("*.whl")
    return found


def examine(found: Path, tag: str, *, core: bool) -> None:
    """The name says for whom it is; the files are all there."""
    if f"-{tag}" not in found.name:
        raise WheelError(f"a wheel tagged {tag}", found.name, "see options() in setup.py")
    names = zipfile.ZipFile(found).namelist()
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise WheelError(
            "the package's data in the wheel",
            f"no {', '.join(missing)}",
            "see package-data in pyproject.toml",
        )
    has = any(name.startswith("porcupine/_core.abi3") for name in names)
    if has != core:
        raise WheelError(
            f"a wheel {'with' if core else 'without'} the compiled core",
            "one with it" if has else "one without it",
            "see extensions() in setup.py",
        )


def use(found: Path, work: Path, core: str) -> None:
    place = work / f"installed-{core}"
    zipfile.ZipFile(found).extractall(place)
    for asked_for in (False, True):
        env = environment(cargo=False)
        if asked_for:
            env["PORCUPINE_CORE"] = core
        remarks = run(
            [PYTHON, "-I", "-c", TRY, place, core, work],
            work,
            env,
            f"a package that works, with the {core} core",
            "mend what it says",
        )
        wanted = 1 if core == "python" and not asked_for else 0
        if remarks.count(REMARK) != wanted or (wanted == 0 and remarks):
            raise WheelError(
                f"{wanted} remarks on the {core} core{' that was asked for' if asked_for else ''}",
                repr(remarks),
                "see remark_on_core in porcupine/engine.py",
            )


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="porcupine-wheels.") as folder:
        work = Path(folder)
        try:
            source = source_distribution(work)
            for core, tag in (("python", "py3-none-any"), ("rust", "cp311-abi3-")):
                cargo = core == "rust"
                if cargo and shutil.which("cargo") is None:
                    print(
                        "wheels: no cargo on the PATH: the wheel with the compiled core is not built"
                    )
                    continue
                found = wheel(source, work / f"wheel-{core}", cargo=cargo)
                examine(found, tag, core=cargo)
                use(found, work, core)
                size = found.stat().st_size
                print(f"wheels: {found.name} ({size // 1024} KiB) works: core {core}", flush=True)
        except WheelError as error:
            print(f"wheels: FAILED: {error}", file=sys.stderr)
            return 1
    print(f"wheels: both ways in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
