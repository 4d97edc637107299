"""The command line `driftline`.

Two rules. Nothing heavy is imported before a command needs it, so that `--help` answers at once. And every way out has an exit
code of docs/architecture.md, section 5: the CLI library's own (1 for wrong usage, 1 for an exception) would say "invalid", so
`main` is one wrapper that maps every exception itself.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from harness.node_commands import app as node_ctl

if TYPE_CHECKING:
    from checkers.records.schema import Verdict
    from harness.campaign import Campaign, Row
    from harness.observer import Observer
    from harness.plan import Plan
    from harness.run import RunResult

EXIT_REFUSED: Final = 1
"""node-ctl: a node said no, or nothing in time."""
EXIT_HARNESS_ERROR: Final = 4
EXIT_USAGE: Final = 64
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
"""As a shell shows a process that SIGPIPE ended."""

RUNS_DIR: Final = Path("runs")
PLANS_DIR: Final = Path("plans")
FAIL_ON_ALL: Final = "invalid,unknown,insufficient-coverage,harness-error"
UNUSABLE: Final = frozenset({"PlanError", "RecordsError", "TargetError", "WorkloadError"})
"""Exceptions of our packages that say: what you gave cannot be used."""
OURS: Final = frozenset({"harness", "checkers", "workloads", "node"})


class Usage(Exception):
    """What was asked cannot be done as asked: one line, exit 64."""


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
        _complain("interrupted")
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The interpreter flushes stdout once more at its end; give it somewhere to go.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    if isinstance(error, CycloptsError):
        _complain(f"{_one_line(str(error))} (see driftline --help)")
        return EXIT_USAGE
    if isinstance(error, Usage) or _is_unusable(error):
        _complain(_one_line(str(error)))
        return EXIT_USAGE
    if type(error).__name__ == "OperatorError":
        _complain(_one_line(str(error)))
        return EXIT_REFUSED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return 0
    told = f"harness error: {type(error).__name__}: {_one_line(str(error))}"
    text = "".join(traceback.format_exception(error))
    if debug:
        _complain(told)
        print(text, file=sys.stderr)
    else:
        _complain(f"{told} (traceback: {_keep(text)})")
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


def _complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"driftline: {text}", file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _keep(text: str) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix="driftline-traceback-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        return f"could not be written: {error.strerror}; use --debug"
    return name


# ---- run ----------------------------------------------------------------------------------------


def _positive(kind: type, value: Any) -> None:
    if value is not None and value <= 0:
        raise ValueError("must be greater than 0")


def _not_negative(kind: type, value: Any) -> None:
    if value is not None and value < 0:
        raise ValueError("must not be negative")


Positive = Parameter(validator=_positive)
NotNegative = Parameter(validator=_not_negative)


@app.command(group=RUNNING)
def run(
    *,
    plan: str | None = None,
    nodes: Annotated[int | None, Positive] = None,
    time: Annotated[float | None, Positive] = None,
    clients: Annotated[int | None, Positive] = None,
    rate: Annotated[float | None, NotNegative] = None,
    workload: str | None = None,
    read_modes: Annotated[str | None, Parameter(name=["--read-modes", "--read-mode"])] = None,
    faults: str | None = None,
    intensity: Annotated[float | None, NotNegative] = None,
    links: Literal["toxiproxy", "embedded"] | None = None,
    bug: Annotated[list[str] | None, Parameter(consume_multiple=False, negative=())] = None,
    stop_at_first_violation: Annotated[bool, Parameter(negative=())] = False,
    seed: Annotated[int | None, NotNegative] = None,
    seeds: str | None = None,
    until_finding: Annotated[bool, Parameter(negative=())] = False,
    fail_on: str = FAIL_ON_ALL,
    runs: Path = RUNS_DIR,
    json: Annotated[bool, Parameter(negative=())] = False,
    plain: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Start a cluster, apply a workload and faults, judge what was recorded.

    Parameters
    ----------
    plan
        A TOML file, or the name of one in plans/. Other options override its fields.
    nodes
        Members of the cluster.
    time
        Seconds of the safety phase, in which faults come and go.
    clients
        Clients; at least half are pinned, each to one node.
    rate
        Operations per second and client; 0: as fast as answers come.
    workload
        register, counter, append, or one from outside
    read_modes
        Comma-separated: lease, readindex, local.
    faults
        Comma-separated kinds of the random schedule, or "none".
    intensity
        Factor on how often faults start.
    links
        What every link runs through; never falls back by itself.
    bug
        A seeded bug to run with (repeatable); see `driftline bugs`.
    stop_at_first_violation
        Check while the run goes on, and end its safety phase at the first event that nothing explains.
    seed
        64 bits that decide everything drawn; without it one is drawn and printed.
    seeds
        A..B: one run for each, then a table. The worst verdict decides.
    until_finding
        Stop at the first run with a finding (without --seeds: draw seeds until then).
    fail_on
        Comma-separated verdicts with a non-zero exit, or "none".
    runs
        Folder that holds the runs.
    json
        JSON lines on standard output.
    plain
        Plain lines even on a terminal.
    """
    import trio

    from harness import live

    failing = _fail_on(fail_on)
    declared, plan_words = _plan(
        plan,
        nodes=nodes,
        time=time,
        clients=clients,
        rate=rate,
        workload=workload,
        read_modes=_names(read_modes),
        faults=_names(faults),
        intensity=intensity,
        links=links,
        bugs=bug or [],
        stop_at_first_violation=stop_at_first_violation,
    )
    if seed is not None and seeds is not None:
        raise Usage("--seed and --seeds exclude each other")
    if seed is not None and seed >= 2**64:
        raise Usage(f"--seed {seed}: a seed has 64 bits, so it is below {2**64}")
    if runs != RUNS_DIR:
        plan_words += ["--runs", str(runs)]
    observer = live.choose(json_lines=json, plain=plain)
    many = _seeds(seeds)
    if many is None and until_finding:
        many = iter(_draw_seed, -1)
    try:
        if many is None:
            drawn = _draw_seed() if seed is None else seed
            result = trio.run(_run_one(declared, runs, observer), drawn)
            live.close(observer)
            return _tell_run(result, drawn, plan_words, failing, observer)
        campaign = trio.run(_campaign, many, declared, runs, observer, until_finding)
    finally:
        live.close(observer)
    return _tell_campaign(campaign, plan_words, failing, observer)


def _run_one(declared: Plan, runs: Path, observer: Observer) -> Callable[[int], Any]:
    async def one(seed: int) -> RunResult:
        from harness.run import run as conduct

        return await conduct(declared, seed, runs, observer)

    return one


async def _campaign(
    seeds: Iterator[int], declared: Plan, runs: Path, observer: Observer, until_finding: bool
) -> Campaign:
    from harness import campaign
    from harness.plan import PlanError
    from workloads.registry import WorkloadError

    def told(row: Row) -> None:
        found = " ".join(sorted(row.findings)) or row.error or "no findings"
        observer.note(f"seed {row.seed}: {row.verdict}, {found}", {"what": "row", "seed": row.seed})

    return await campaign.run_seeds(
        seeds,
        _run_one(declared, runs, observer),
        until_finding=until_finding,
        told=told,
        refused=(PlanError, WorkloadError),
    )


def _tell_run(
    result: RunResult, seed: int, plan_words: list[str], failing: frozenset[str], observer: Observer
) -> int:
    from harness.live import JsonLines

    verdict = result.verdict
    code = _exit_of(verdict, failing)
    again = verdict.rerun or _rerun(plan_words, seed)
    report = result.run_dir / "report.html"
    if isinstance(observer, JsonLines):
        import msgspec

        observer.emit(
            "verdict",
            {
                "verdict": msgspec.to_builtins(verdict),
                "exit_code": code,
                "run_dir": str(result.run_dir),
                "report": str(report) if report.exists() else None,
                "seed": seed,
                "rerun": again,
            },
        )
        return code
    from harness import show

    print()
    for line in show.verdict_lines(verdict, color=_color()):
        print(line)
    print()
    print(f"run:    {result.run_dir}")
    if report.exists():
        print(f"report: {report}")
    else:
        print(f"report: not written (driftline report {result.run_dir} tries again)")
    print(f"again:  {again}")
    return code


def _tell_campaign(
    campaign: Campaign, plan_words: list[str], failing: frozenset[str], observer: Observer
) -> int:
    from harness.campaign import table
    from harness.live import JsonLines

    # --fail-on speaks of verdicts: rows that it does not name cannot turn the campaign red.
    failing_rows = [
        row for row in campaign.rows if row.verdict in failing or row.verdict == "valid"
    ]
    worst = type(campaign)(failing_rows, campaign.stopped).exit_code if failing_rows else 0
    code = EXIT_INTERRUPTED if campaign.stopped == "interrupted" else worst
    first = next((row for row in campaign.rows if row.findings), None)
    again = _rerun(plan_words, (first or campaign.rows[-1]).seed) if campaign.rows else ""
    if isinstance(observer, JsonLines):
        import msgspec

        observer.emit(
            "campaign",
            {
                "runs": msgspec.to_builtins(campaign.rows),
                "stopped": campaign.stopped,
                "exit_code": code,
                "rerun": again,
            },
        )
        return code
    print()
    for line in table(campaign.rows):
        print(line)
    if campaign.stopped:
        print(f"stopped early: {campaign.stopped}")
    which = "the first with a finding" if first else "the last of them"
    print(f"again ({which}): {again}")
    return code


def _exit_of(verdict: Verdict, failing: frozenset[str]) -> int:
    if verdict.interrupted:
        return EXIT_INTERRUPTED
    if verdict.expectation == "not met" or verdict.verdict in failing:
        return verdict.exit_code
    return 0


def _fail_on(text: str) -> frozenset[str]:
    from checkers.records.schema import EXIT_CODES

    if text.strip() == "none":
        return frozenset()
    known = {name.replace(" ", "-"): name for name in EXIT_CODES} | {
        "insufficient": "insufficient coverage"
    }
    chosen = set()
    for word in _names(text) or []:
        name = known.get(word.replace(" ", "-"))
        if name is None:
            raise Usage(f"--fail-on {word}: no such verdict; there are {', '.join(known)}, none")
        chosen.add(name)
    return frozenset(chosen)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


def _draw_seed() -> int:
    """The only draw from the system: everything else follows from it."""
    return int.from_bytes(os.urandom(8), "big")


def _seeds(text: str | None) -> Iterator[int] | None:
    if text is None:
        return None
    first, dots, last = text.partition("..")
    try:
        begin = int(first)
        end = int(last) if dots else begin
    except ValueError:
        raise Usage(f"--seeds {text}: give A..B, two whole numbers, as in 1..20") from None
    if begin < 0 or end < begin or end >= 2**64:
        raise Usage(f"--seeds {text}: A..B needs 0 <= A <= B < 2**64")
    return iter(range(begin, end + 1))


def _rerun(plan_words: list[str], seed: int) -> str:
    return shlex.join(["driftline", "run", *plan_words, "--seed", str(seed)])


def _plan(
    name: str | None,
    *,
    nodes: int | None = None,
    time: float | None = None,
    clients: int | None = None,
    rate: float | None = None,
    workload: str | None = None,
    read_modes: list[str] | None = None,
    faults: list[str] | None = None,
    intensity: float | None = None,
    links: Literal["toxiproxy", "embedded"] | None = None,
    bugs: list[str],
    stop_at_first_violation: bool = False,
) -> tuple[Plan, list[str]]:
    """The declared plan with the options laid over it, and the words of the command line that say so."""
    import msgspec

    from harness.plan import KINDS, Plan, read_plan

    path = _plan_file(name) if name is not None else None
    plan = Plan() if path is None else read_plan(path)
    words = [] if path is None else ["--plan", str(path)]
    changes: dict[str, Any] = {}
    for field, option, given in (
        ("nodes", "--nodes", nodes),
        ("time_s", "--time", time),
        ("clients", "--clients", clients),
        ("rate", "--rate", rate),
        ("links", "--links", links),
    ):
        if given is not None:
            changes[field] = given
            words += [option, f"{given:g}" if isinstance(given, float) else str(given)]
    wanted = plan.workload
    if workload is not None:
        if workload != wanted.name:
            wanted = msgspec.structs.replace(wanted, name=workload, params={})
        words += ["--workload", workload]
    if read_modes is not None:
        wanted = msgspec.structs.replace(wanted, params={**wanted.params, "read_modes": read_modes})
        words += ["--read-modes", ",".join(read_modes)]
    changes["workload"] = wanted
    schedule = plan.faults
    if faults is not None:
        words += ["--faults", ",".join(faults)]
        if faults == ["none"]:
            # Scripted steps are faults too.
            schedule = msgspec.structs.replace(schedule, kinds=(), intensity=0.0)
            changes["steps"] = []
        else:
            for kind in faults:
                if kind not in KINDS:
                    raise Usage(
                        f"--faults {kind}: no such kind; there are {', '.join(KINDS)}, none"
                    )
            schedule = msgspec.structs.replace(schedule, kinds=tuple(faults))
    if intensity is not None:
        words += ["--intensity", f"{intensity:g}"]
        schedule = msgspec.structs.replace(schedule, intensity=intensity)
    changes["faults"] = schedule
    if stop_at_first_violation:
        changes["stop_at_first_violation"] = True
        words.append("--stop-at-first-violation")
    for bug in bugs:
        words += ["--bug", bug]
    changes["bugs"] = plan.bugs + [bug for bug in bugs if bug not in plan.bugs]
    return msgspec.structs.replace(plan, **changes), words


def _plan_file(name: str) -> Path:
    """A path, or the name of a plan in plans/ ("bug/read_no_check")."""
    path = Path(name)
    if path.exists():
        return path
    if path.suffix != ".toml":
        for folder in _plan_folders():
            candidate = folder / f"{name}.toml"
            if candidate.exists():
                return candidate
    return path


def _plan_folders() -> list[Path]:
    """plans/ here, then the one beside the package (a checkout)."""
    here = [PLANS_DIR, Path(__file__).resolve().parent.parent / "plans"]
    return [folder for folder in here if folder.is_dir()]


# ---- demo ---------------------------------------------------------------------------------------


@app.command(group=RUNNING)
def demo(
    *,
    short: Annotated[bool, Parameter(negative=())] = False,
    seed: Annotated[int | None, NotNegative] = None,
    links: Literal["toxiproxy", "embedded"] = "toxiproxy",
    runs: Path = RUNS_DIR,
    plain: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """A correct cluster under faults, then one with a seeded bug that must be caught.

    Exit 0 only if the first run is valid and the second invalid.

    Parameters
    ----------
    short
        10 seconds of faults instead of 30.
    seed
        Without it one is drawn and printed.
    links
        What every link runs through.
    runs
        Folder that holds the runs.
    plain
        Plain lines even on a terminal.
    """
    import msgspec
    import trio

    from harness import live, show
    from harness.plan import Plan

    drawn = _draw_seed() if seed is None else seed
    good = Plan(name="demo", nodes=5, clients=10, time_s=10.0 if short else 30.0, links=links)
    bad = msgspec.structs.replace(_demo_bug_plan(), links=links)
    results: list[RunResult] = []
    for part, plan in (
        ("1 of 2: a correct cluster, 5 nodes, 10 clients, random faults", good),
        ("2 of 2: the same store with the seeded bug read_no_check", bad),
    ):
        print(f"\n== {part}", flush=True)
        observer = live.choose(json_lines=False, plain=plain)
        try:
            result = trio.run(_run_one(plan, runs, observer), drawn)
        finally:
            live.close(observer)
        results.append(result)
        print()
        for line in show.verdict_lines(result.verdict, color=_color()):
            print(line)
        if result.verdict.interrupted:
            return EXIT_INTERRUPTED
    first, second = results
    print("\n== What this has shown")
    for line in show.exercised_lines(first.verdict):
        print(line)
    as_wanted = first.verdict.verdict == "valid" and second.verdict.verdict == "invalid"
    for which, result, wanted in (
        ("correct cluster", first, "valid"),
        ("seeded bug", second, "invalid"),
    ):
        print(f"{which + ':':<17}{result.verdict.verdict} (wanted: {wanted})")
        print(f"{'':<17}report {result.run_dir / 'report.html'}")
    if as_wanted:
        print("A read that does not ask the other members returned a value that was already")
        print("overwritten: the same faults that the correct cluster withstood exposed it.")
    else:
        print("The demonstration did not go as it should: see the reports.")
    words = ["driftline", "demo", *(["--short"] if short else []), "--seed", str(drawn)]
    if links != "toxiproxy":
        words += ["--links", links]
    print(f"again:  {shlex.join(words)}")
    return 0 if as_wanted else (1 if first.verdict.verdict == "invalid" else EXIT_HARNESS_ERROR)


def _demo_bug_plan() -> Plan:
    """Leaders cut off with the minority of nodes and clients, again and again, under a bug that lets them answer reads."""
    from harness.plan import FaultsPlan, Plan

    return Plan(
        name="demo-bug",
        nodes=5,
        clients=10,
        time_s=8.0,
        bugs=["read_no_check"],
        faults=FaultsPlan(
            kinds=("partition",),
            partitions=("minority_with_leader",),
            every_s=1.5,
            length_s=(1.2, 2.0),
        ),
    )


# ---- judge and look -----------------------------------------------------------------------------


@app.command(group=JUDGING)
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
    if path.is_file():
        verdict = judge_file(path, model=model)
        where: Path | None = None
    else:
        if model is not None:
            raise Usage("--model is for a history file; a run's records name their own model")
        where = _run_dir(target, runs)
        verdict = judge(where)
        _save(where, verdict)
    if json:
        import msgspec

        _write_json(msgspec.to_builtins(verdict))
    else:
        from harness import show

        for line in show.verdict_lines(verdict, color=_color()):
            print(line)
        if where is not None:
            print(f"report: {where / 'report.html'}")
    return EXIT_INTERRUPTED if verdict.interrupted and where is None else verdict.exit_code


def _save(run_dir: Path, verdict: Verdict) -> None:
    """The verdict, then the report. A folder that cannot be written still gets its verdict printed."""
    from checkers.verdict import write_verdict

    try:
        write_verdict(run_dir, verdict)
    except OSError as error:
        _complain(f"the verdict could not be saved in {run_dir}: {error.strerror}")
        return
    _try_report(run_dir)


def _try_report(run_dir: Path) -> Path | None:
    from harness.report import write_report

    try:
        return write_report(run_dir)
    except Exception as error:
        _complain(f"the report could not be written ({type(error).__name__}: {error})")
        return None


@app.command(group=JUDGING)
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

    for line in terminal.run_lines(load(_run_dir(run, runs)), ops=ops, color=_color()):
        print(line)
    return 0


@app.command(group=JUDGING)
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

    print(write_report(_run_dir(run, runs)))
    return 0


@app.command(group=JUDGING)
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
    text = _exported(_run_dir(run, runs) / "history.jsonl")
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


def _run_dir(name: str, runs: Path) -> Path:
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


def _write_json(document: Any) -> None:
    import json as encoder

    print(encoder.dumps(document, indent=2, default=str))


def _color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


# ---- about --------------------------------------------------------------------------------------


@app.command(group=ABOUT)
def doctor(*, runs: Path = RUNS_DIR, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Try every tool that faults rest on, by using it, and say what each fault will use.

    Exit 0 if the default plan can run, else 4.

    Parameters
    ----------
    runs
        Folder that will hold the runs; its file system is looked at.
    json
        One JSON document.
    """
    import msgspec
    import trio

    from harness import doctor as surgery

    checks = trio.run(surgery.examine, runs)
    if json:
        _write_json({"checks": msgspec.to_builtins(checks), "fit": surgery.fit(checks)})
    else:
        for line in surgery.lines(checks, color=_color()):
            print(line)
    return 0 if surgery.fit(checks) else EXIT_HARNESS_ERROR


@app.command(group=ABOUT)
def bugs(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """The seeded bugs: what each breaks, the fault that exposes it, how to run it.

    Parameters
    ----------
    json
        One JSON document.
    """
    from harness.systems import raft

    rows = []
    for name, broken, fault, violates in raft.bugs():
        path = _plan_file(f"bug/{name}")
        command = ["driftline", "run"]
        command += ["--plan", f"bug/{name}"] if path.exists() else []
        command += ["--bug", name]
        rows.append(
            {
                "name": name,
                "broken": broken,
                "fault": fault,
                "violates": violates,
                "plan": str(path) if path.exists() else None,
                "run": shlex.join(command),
            }
        )
    if json:
        _write_json(rows)
        return 0
    from harness import show

    for line in show.bug_lines(rows, color=_color()):
        print(line)
    return 0


@app.command(group=ABOUT)
def plans(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """The ready plans: name, length, what they run.

    Parameters
    ----------
    json
        One JSON document.
    """
    from harness.plan import PlanError, read_plan

    rows: dict[str, dict[str, Any]] = {}
    for folder in _plan_folders():
        for path in sorted(folder.rglob("*.toml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in rows:
                continue
            row: dict[str, Any] = {"name": name, "path": str(path)}
            try:
                plan = read_plan(path)
            except PlanError as error:
                row["error"] = str(error)
            else:
                row |= {
                    "nodes": plan.nodes,
                    "clients": plan.clients,
                    "time_s": plan.time_s,
                    "workload": plan.workload.name,
                    "faults": [] if plan.faults.intensity == 0 else plan.faults.kinds,
                    "steps": len(plan.steps),
                    "bugs": plan.bugs,
                    "expect": plan.expect,
                }
            rows[name] = row
    if json:
        _write_json(list(rows.values()))
        return 0
    from harness import show

    for line in show.plan_lines(list(rows.values())):
        print(line)
    return 0
