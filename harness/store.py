"""The run folders: made exclusively, linked as `latest`, indexed in runs/index.sqlite (which can be rebuilt at any time)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from checkers.records.schema import Verdict
from harness.errors import HarnessError


def make_run_folder(runs: Path, workload: str, seed: int) -> Path:
    """`<UTC>-<workload>-<seed>[-n]` under `runs`, new and empty."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            folder = runs / f"{stamp}-{workload}-{seed}{f'-{attempt}' if attempt else ''}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise HarnessError(f"cannot make a run folder under {runs}: {error.strerror}") from error
    raise HarnessError(f"cannot make a run folder under {runs}: all names of this second are taken")


def link_latest(folder: Path) -> None:
    """Point `latest` beside `folder` at it, atomically."""
    temporary = folder.parent / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    temporary.replace(folder.parent / "latest")


def save_document(path: Path, document: object) -> None:
    """Write indented JSON, as `save_bytes` does."""
    data = msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1)
    save_bytes(path, data + b"\n")


def save_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def index_run(folder: Path, seed: int, plan: str, verdict: Verdict) -> None:
    """One row per run; a run that is judged again replaces its row."""
    with (
        closing(sqlite3.connect(folder.parent / "index.sqlite", timeout=5.0)) as database,
        database,
    ):
        database.execute(
            "create table if not exists runs (run text primary key, seed text, plan text,"
            " verdict text, headline text, findings text)"
        )
        database.execute(
            "insert or replace into runs values (?, ?, ?, ?, ?, ?)",
            (
                folder.name,
                str(seed),
                plan,
                verdict.verdict,
                verdict.headline,
                ",".join(sorted({finding.property for finding in verdict.findings})),
            ),
        )


def file_system(path: Path) -> str:
    """Type of the file system that holds `path`, from /proc/self/mountinfo."""
    real = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4]
        inside = mount == "/" or str(real) == mount or str(real).startswith(mount + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind
