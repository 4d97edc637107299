"""`driftline check`, `show`, `report` and `export`: what was recorded, judged again and looked at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.commands.exits import EXIT_INTERRUPTED, Usage, complain
from harness.commands.options import RUNS_DIR, NotNegative
from harness.commands.places import run_folder
from harness.commands.telling import in_color, write_json

if TYPE_CHECKING:
    from checkers.records.schema import Verdict


def check(
    target: Annotated[str, Parameter(name="run-or-file")],
    /,
    *,
    model: str | None = None,
    runs: Path = RUNS_DIR,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Judge a run's records again, or a history file that others recorded.

    Starts no process of the system and leaves the records as they are. For a run folder the
    verdict and the report are written anew; for a file the verdict is only printed.

    Parameters
    ----------
    target
        A run folder, "latest", or a history file (ours, Jepsen's EDN, Porcupine's logs).
    model
        What a file is judged by: a name, or 'module:function'.
    runs
        Folder that holds the runs.
    json
        The verdict as one JSON document.
    """
    from checkers.judge import judge, judge_file

    path = Path(target)
    where: Path | None = None
    saved = False
    if path.is_file():
        verdict = judge_file(path, model=model)
    else:
        if model is not None:
            raise Usage("--model is for a history file; a run's records name their own model")
        where = run_folder(target, runs)
        verdict = judge(where)
        saved = _save(where, verdict)
    if json:
        import msgspec

        write_json(msgspec.to_builtins(verdict))
    else:
        from harness import show

        for line in show.verdict_lines(verdict, color=in_color()):
            print(line)
    # The report takes longer than the verdict, which somebody waits for.
    sys.stdout.flush()
    if where is not None and saved:
        _write_report(where)
    if where is not None and not json:
        print(f"report: {where / 'report.html'}")
    return EXIT_INTERRUPTED if verdict.interrupted and where is None else verdict.exit_code


def _save(run_dir: Path, verdict: Verdict) -> bool:
    """Whether that was possible: a folder that cannot be written still gets its verdict printed."""
    from checkers.verdict import write_verdict

    try:
        write_verdict(run_dir, verdict)
    except OSError as error:
        complain(f"the verdict could not be saved in {run_dir}: {error.strerror}")
        return False
    return True


def _write_report(run_dir: Path) -> None:
    from harness.report import write_report

    try:
        write_report(run_dir)
    except Exception as error:
        complain(f"the report could not be written ({type(error).__name__}: {error})")


def show(
    run: str = "latest",
    /,
    *,
    ops: Annotated[int, NotNegative] = 0,
    runs: Path = RUNS_DIR,
) -> int:
    """Show a run in the terminal: verdict, counts, faults, leaders, findings.

    Parameters
    ----------
    run
        A run folder or "latest".
    ops
        Also the first N operations (around the first finding, if there is one).
    runs
        Folder that holds the runs.
    """
    from harness import show as terminal
    from harness.report.load import load

    for line in terminal.run_lines(load(run_folder(run, runs)), ops=ops, color=in_color()):
        print(line)
    return 0


def report(run: str = "latest", /, *, runs: Path = RUNS_DIR) -> int:
    """Write a run's report.html anew from its records.

    Parameters
    ----------
    run
        A run folder or "latest".
    runs
        Folder that holds the runs.
    """
    from harness.report import write_report

    print(write_report(run_folder(run, runs)))
    return 0


def export(
    run: str = "latest",
    /,
    *,
    to: Literal["jepsen"] = "jepsen",
    out: Path | None = None,
    runs: Path = RUNS_DIR,
) -> int:
    """Write a run's history in another tool's format.

    Parameters
    ----------
    run
        A run folder or "latest".
    to
        The format: jepsen (EDN, for elle-cli, knossos-cli).
    out
        The file to make (an existing one is refused); without it standard output.
    runs
        Folder that holds the runs.
    """
    text = _exported(run_folder(run, runs) / "history.jsonl")
    if out is None:
        sys.stdout.write(text)
    else:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise Usage(
                f"--out {out}: there is a file already; name another or remove it"
            ) from None
        print(out)
    return 0


def _exported(history: Path) -> str:
    from checkers.formats import jepsen

    if not history.is_file():
        raise Usage(f"{history}: no history there")
    text: str = jepsen.export(history)
    return text
