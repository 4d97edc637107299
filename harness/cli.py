"""The command line `driftline`.

Two rules. Nothing heavy is imported before a command needs it, so that `--help` answers at once. And every way out has an exit
code that README.md promises: the CLI library's own (1 for wrong usage, 1 for an exception) would say "invalid", so
`main` is one wrapper that maps every exception itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from typing import Final

from cyclopts import App, CycloptsError, Group

from harness.commands import about, demo, judging, running
from harness.commands.exits import (
    EXIT_BROKEN_PIPE,
    EXIT_HARNESS_ERROR,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_USAGE,
    Usage,
    complain,
    one_line,
)
from harness.node_commands import app as node_ctl

UNUSABLE: Final = frozenset({"PlanError", "RecordsError", "TargetError", "WorkloadError"})
"""Exceptions of our packages that say: what you gave cannot be used."""
OURS: Final = frozenset({"harness", "checkers", "workloads", "node"})

JUDGING = Group("Judge and look", sort_key=2)
RUNNING = Group("Run", sort_key=1)
ABOUT = Group("About", sort_key=3)

app = App(
    name="driftline",
    help=(
        "Find linearizability bugs in a Raft store: real processes, every link through a proxy, "
        "partitions, pauses, power loss, drifting clocks; the recorded history is judged."
    ),
    help_format="plaintext",
    help_epilogue=(
        "Exit: 0 valid, 1 invalid, 2 unknown, 3 insufficient coverage, 4 harness error, "
        "64 wrong usage or an unusable plan or file, 130 interrupted. "
        "--debug anywhere prints the traceback of a harness error."
    ),
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
)

COMMANDS: Final = {
    RUNNING: (running.run, demo.demo),
    JUDGING: (judging.check, judging.show, judging.report, judging.export),
    ABOUT: (about.doctor, about.bugs, about.plans),
}
for _group, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(_command, group=_group)
node_ctl.group = RUNNING
app.command(node_ctl)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises nothing."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    try:
        code = _invoke(tokens)
        sys.stdout.flush()
    except BaseException as error:
        return _exit_code_of(error, debug)
    return code


def _invoke(tokens: list[str]) -> int:
    app.version = _version
    result = app(tokens or ["--help"])
    return result if isinstance(result, int) else 0


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("driftline")
    except importlib.metadata.PackageNotFoundError:
        return "0 (not installed)"


def _exit_code_of(error: BaseException, debug: bool) -> int:
    error = _single(error)
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        error = error.__context__  # rich makes an exit of it
    if isinstance(error, KeyboardInterrupt):
        complain("interrupted")
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The interpreter flushes stdout once more at its end; give it somewhere to go.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    if isinstance(error, CycloptsError):
        complain(f"{one_line(str(error))} (see driftline --help)")
        return EXIT_USAGE
    if isinstance(error, Usage) or _is_unusable(error):
        complain(one_line(str(error)))
        return EXIT_USAGE
    if type(error).__name__ == "OperatorError":
        complain(one_line(str(error)))
        return EXIT_REFUSED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return 0
    told = f"harness error: {type(error).__name__}: {one_line(str(error))}"
    text = "".join(traceback.format_exception(error))
    if debug:
        complain(told)
        print(text, file=sys.stderr)
    else:
        complain(f"{told} (traceback: {_keep(text)})")
    return EXIT_HARNESS_ERROR


def _single(error: BaseException) -> BaseException:
    """What a nursery wrapped: the first interrupt, else the only leaf, else the group itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, KeyboardInterrupt):
            return leaf
    return leaves[0] if len(leaves) == 1 else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _is_unusable(error: BaseException) -> bool:
    return any(
        kind.__name__ in UNUSABLE and kind.__module__.split(".")[0] in OURS
        for kind in type(error).__mro__
    )


def _keep(text: str) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix="driftline-traceback-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        return f"could not be written: {error.strerror}; use --debug"
    return name
