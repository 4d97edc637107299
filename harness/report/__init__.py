"""The report of a run: one HTML file that needs nothing but itself, written from the records alone.

Its rule: what comes from a record is data. It enters the page escaped, or as JSON in a block that no browser executes, and the
page's own script and style are named by their hashes in its content security policy.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.report.load import load
from harness.report.page import render

FILE_NAME = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html (replaced in one step, so that a reader never sees half of it) and return its path."""
    text = render(load(run_dir))
    path = run_dir / FILE_NAME
    temporary = run_dir / f".{FILE_NAME}.{os.getpid()}"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
