"""Where runs and plans are, by the names that people give them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.commands.exits import Usage

PLANS_DIR: Final = Path("plans")


def run_folder(name: str, runs: Path) -> Path:
    """A path, "latest", or the name of a run in the runs folder."""
    if name == "latest":
        path = runs / "latest"
        if not path.exists():
            raise Usage(f"there is no run in {runs} yet (driftline run makes one)")
        return path.resolve()
    for path in (Path(name), runs / name):
        if path.is_dir():
            return path
    raise Usage(f"{name}: no run folder there, and none of that name in {runs}")


def plan_file(name: str) -> Path:
    """A path, or the name of a plan in plans/ ("bug/read_no_check")."""
    path = Path(name)
    if path.exists():
        return path
    if path.suffix != ".toml":
        for folder in plan_folders():
            candidate = folder / f"{name}.toml"
            if candidate.exists():
                return candidate
    return path


def plan_folders() -> list[Path]:
    """plans/ here, then the one beside the package (a checkout)."""
    here = [PLANS_DIR, Path(__file__).resolve().parents[2] / "plans"]
    return [folder for folder in here if folder.is_dir()]
