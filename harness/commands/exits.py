"""Ways out of a command: the exit codes of README.md, and one line on standard error."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

EXIT_REFUSED: Final = 1
"""node-ctl: a node said no, or nothing in time."""
EXIT_HARNESS_ERROR: Final = 4
EXIT_USAGE: Final = 64
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
"""As a shell shows a process that SIGPIPE ended."""


class Usage(Exception):
    """What was asked cannot be done as asked: one line, exit 64."""


def complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"driftline: {text}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    return " ".join(text.split())
