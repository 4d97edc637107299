"""P-LIN as a process of its own: a history file in, linearizability.json out, under a limit of time and one of memory.

The question is NP-complete in general, so any checker can be asked too much: what fails then must be a child
and not the harness. The child says "unknown" by itself when its time or memory runs out. For the cases where
it cannot (the kernel kills it, a native allocation aborts it) it leaves behind, from time to time, a file
that says how far it has come; whoever finds that file after its death knows as much as the child did. Every
file is written beside its name and renamed, so that a reader meets a whole one.

    python -P -m checkers.linearizability HISTORY OUT --timeout-s 60 --memory-bytes 2147483648 [--model NAME]

Exit 0: OUT holds the result, whatever it is. Exit 64: the history or the model cannot be used; OUT and stderr say why.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

import msgspec

from checkers.judging import Judge, resolve
from checkers.partwise import Decision, Limits, Whole
from checkers.records.fitness import operations, unfit_reasons
from checkers.records.reading import RecordsError, open_history
from checkers.records.schema import Finding, HistoryEvent
from checkers.registers import RegisterJudge
from porcupine.recorded import accepted_registers

FORMAT: Final = "driftline-linearizability"
VERSION: Final = 1
EXIT_UNUSABLE: Final = 64
HISTORY_FILE: Final = "history.jsonl"
"""What evidence calls a history of ours, whatever its path."""
GRACE_S: Final = 5.0
"""From the child's own deadline to its death: a gate or a native step ends, findings are put in words, the file is written."""
NOTE_EVERY_S: Final = 0.5
SEARCH_SHARE: Final = 0.7
"""Of the memory that is left once the history is read, what a search may fill; the rest is for the answer."""
SEARCH_MIN_BYTES: Final = 8 << 20


class LinearizabilityResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """linearizability.json. `history_crc` is the crc32, in hex, of the history's bytes as they were read."""

    format: str = FORMAT
    version: int = VERSION
    history_crc: str
    status: Literal["holds", "violated", "unknown", "not checked"]
    because: str = ""
    findings: list[Finding] = []
    statistics: dict[str, Any] = {}
    recovered: bool = False
    """A torn last line of the history was cut off."""
    unfit: list[str] = []
    """Why the records cannot be a history; then nothing was judged."""


# ---- the caller's side ---------------------------------------------------------------------------


def command(
    history: Path, out: Path, timeout_s: float, memory_bytes: int, model: str | None = None
) -> list[str]:
    """The command line of the child. Paths are made absolute: it may be started in any folder."""
    argv = [sys.executable, "-P", "-m", "checkers.linearizability"]
    argv += [os.path.abspath(history), os.path.abspath(out)]
    argv += ["--timeout-s", repr(timeout_s), "--memory-bytes", str(memory_bytes)]
    return argv if model is None else [*argv, "--model", model]


def run_in_child(
    history: Path, out: Path, timeout_s: float, memory_bytes: int, model: str | None = None
) -> LinearizabilityResult:
    """Judge `history` in a child and wait for it, at most `timeout_s` and a grace.

    RecordsError if the history or the model cannot be used. A child that died, however it did, gives
    "unknown", with what it last wrote about how far it had come.
    """
    with in_child(history, out, timeout_s, memory_bytes, model) as result:
        return result()


@contextlib.contextmanager
def in_child(
    history: Path, out: Path, timeout_s: float, memory_bytes: int, model: str | None = None
) -> Iterator[Callable[[], LinearizabilityResult]]:
    """As `run_in_child`, for who has something else to do meanwhile: what is given waits for the result.

    On the way out the child is killed if it is not over.
    """
    begin = monotonic()
    with contextlib.suppress(OSError):
        out.unlink()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command(history, out, timeout_s, memory_bytes, model),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

        def result() -> LinearizabilityResult:
            left = max(0.0, begin + timeout_s + GRACE_S - monotonic())
            overdue = not ends_within(child, left)
            if overdue:
                child.kill()
                child.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            last = said[-1] if said else ""
            return _outcome(history, out, child.returncode, last, timeout_s if overdue else None)

        try:
            yield result
        finally:
            # Also when this process is interrupted: no search goes on unwatched.
            if child.returncode is None:
                child.kill()
                child.wait()


def _outcome(
    history: Path, out: Path, code: int, last: str, overdue_s: float | None
) -> LinearizabilityResult:
    """What a child that ended with `code` leaves: its result, or the most that is known of it."""
    result = load(out)
    if code == 0 and result is not None:
        return result
    if code == EXIT_UNUSABLE:
        raise RecordsError(last or f"{history}: cannot be judged")
    if overdue_s is not None:
        died = f"the checker did not end within {overdue_s:g} s and a grace, and was killed"
    else:
        died = f"the checker {_death(code)}" + (f" ({last})" if last else "")
    if result is None:
        result = LinearizabilityResult(history_crc="", status="unknown", because=died)
    elif result.status != "violated":
        result = msgspec.structs.replace(
            result, status="unknown", because=f"{died}; {result.because}".rstrip("; ")
        )
    if not result.history_crc:
        result = msgspec.structs.replace(result, history_crc=crc_of(history))
    with contextlib.suppress(OSError):
        _write(out, result)
    return result


def ends_within(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a child, without looking again and again: Popen.wait with a timeout does, every 50 ms."""
    descriptor = os.pidfd_open(child.pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    if ended:
        child.wait()
    return bool(ended)


def load(out: Path) -> LinearizabilityResult | None:
    """What stands in linearizability.json; None if there is none, or what is there is no such result."""
    try:
        return msgspec.json.decode(out.read_bytes(), type=LinearizabilityResult)
    except (OSError, msgspec.DecodeError):
        return None


def crc_of(history: Path) -> str:
    """A file's crc32 in hex, in little memory; "" if it cannot be read."""
    crc = 0
    try:
        with history.open("rb") as file:
            while chunk := file.read(1 << 20):
                crc = zlib.crc32(chunk, crc)
    except OSError:
        return ""
    return f"{crc:08x}"


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, as the kernel does when memory runs out"
    if code in (-signal.SIGABRT, -signal.SIGSEGV):
        # Native code that is refused memory ends in one of these.
        return f"was ended by {signal.Signals(-code).name}, as happens at the limit of memory"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"failed with exit status {code}"


# ---- the child -----------------------------------------------------------------------------------


class Subject(msgspec.Struct, frozen=True):
    """What is to be judged."""

    events: list[HistoryEvent]
    judge: Judge
    file: str
    model: str
    crc: str
    recovered: bool = False
    whole: Whole | None = None
    """Where most of it is settled: it is fit to be a history, and `events` are those of the other parts."""


def open_subject(history: Path, model: str | None, deadline: float | None = None) -> Subject:
    """A history of ours by the judge its header names, or one of another tool by its format's; RecordsError if neither.

    `model` takes precedence over the header's: a name of checkers.formats.MODELS, or 'module:function'. What can be
    settled at once is, until the `deadline`.
    """
    from checkers.formats import MODELS, open_foreign
    from checkers.formats.foreign import judge_named

    foreign = open_foreign(history, model)
    if foreign is not None:
        return Subject(
            foreign.events,
            foreign.judge,
            history.name,
            foreign.model,
            foreign.crc,
            foreign.recovered,
        )
    opened = open_history(history)
    workload = opened.header.workload
    name = workload.model if model is None else model
    # Parameters are the header's own model's; another one gets them as well, and may refuse them.
    judge = judge_named(name) if name in MODELS else resolve(name, workload.params)
    settled = _settled(opened.lines, judge, deadline)
    if settled is not None:
        events, whole = settled
        return Subject(events, judge, HISTORY_FILE, name, opened.crc, opened.torn, whole)
    read = opened.history()
    return Subject(read.events, judge, HISTORY_FILE, name, read.crc, read.recovered)


def _settled(
    lines: bytes, judge: Judge, deadline: float | None
) -> tuple[list[HistoryEvent], Whole] | None:
    """The events that are left once the parts are settled that can be, without an object for each of their operations."""
    if not (isinstance(judge, RegisterJudge) and judge.plain):
        return None
    left = None if deadline is None else deadline - monotonic()
    found = accepted_registers(lines, left)
    if found is None:
        return None
    events = msgspec.json.Decoder(HistoryEvent).decode_lines(found.rest)
    return events, Whole(found.operations, found.aside, found.largest, found.accepted)


def judge_history(
    history: Path,
    *,
    model: str | None = None,
    deadline: float | None = None,
    memory_bytes: int | None = None,
    note: Callable[[LinearizabilityResult], None] = lambda result: None,
) -> LinearizabilityResult:
    """Judge one file, in this process. `deadline` is a time.monotonic() value; `memory_bytes` is what the process may
    fill: a search gets what the history leaves of it.

    RecordsError if the history or the model cannot be used; MemoryError may pass through, `note` has then
    been told the last that was known.
    """
    begin = monotonic()
    note(LinearizabilityResult(history_crc="", status="unknown", because="reading the history"))
    subject = open_subject(history, model, deadline)
    crc = subject.crc
    unfit: list[str] = []
    if subject.whole is None:
        reasons = unfit_reasons(subject.events)
        unfit = [reason.replace(HISTORY_FILE, subject.file) for reason in reasons]
    if unfit:
        return LinearizabilityResult(
            history_crc=crc,
            status="not checked",
            because=f"the records are unfit: {unfit[0]}",
            recovered=subject.recovered,
            unfit=unfit,
        )
    decision = Decision(operations(subject.events), subject.judge, subject.file, subject.whole)
    limits = Limits(deadline, None if memory_bytes is None else search_bytes(memory_bytes))

    def result(final: bool) -> LinearizabilityResult:
        open_ = decision.because()
        status: Literal["holds", "violated", "unknown", "not checked"] = "holds"
        if decision.violations():
            status = "violated"
        elif open_ or not final:
            status = "unknown"
        elif decision.statistics()["operations"] == 0:
            status = "not checked"
        findings = decision.findings(limits) if status == "violated" else []
        more = decision.violations() - len(findings)
        because = [f"and {more} more findings like these"] if more > 0 and findings else []
        because += [open_] if open_ else []
        because += ["no operation was recorded"] if status == "not checked" else []
        return LinearizabilityResult(
            history_crc=crc,
            status=status,
            because="; ".join(because),
            findings=findings,
            statistics=decision.statistics()
            | {"seconds": round(monotonic() - begin, 3), "model": subject.model},
            recovered=subject.recovered,
        )

    noted = monotonic()

    def tell() -> None:
        nonlocal noted
        if monotonic() - noted >= NOTE_EVERY_S:
            noted = monotonic()
            note(result(final=False))

    note(result(final=False))
    decision.run(limits, tell)
    return result(final=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The child: see the module. Everything that it can survive ends in a result."""
    began = monotonic()
    parser = argparse.ArgumentParser(prog="python -m checkers.linearizability")
    parser.add_argument("history", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--timeout-s", type=float, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--model")
    asked = parser.parse_args(argv)
    # One short life that makes few cycles: collecting them costs more than they do.
    gc.disable()
    limit_memory(asked.memory_bytes)
    last = LinearizabilityResult(history_crc="", status="unknown", because="not begun")

    def note(result: LinearizabilityResult) -> None:
        nonlocal last
        last = result
        _write(asked.out, result, sync=False)

    code = 0
    result: LinearizabilityResult | None = None
    try:
        result = judge_history(
            asked.history,
            model=asked.model,
            deadline=began + asked.timeout_s,
            memory_bytes=asked.memory_bytes,
            note=note,
        )
    except RecordsError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        result = msgspec.structs.replace(last, status="not checked", because=str(error))
        code = EXIT_UNUSABLE
    except MemoryError:
        # What filled the memory is held by this exception: nothing more can be made before it is gone.
        pass
    if result is None:
        result = msgspec.structs.replace(
            last,
            status="violated" if last.findings else "unknown",
            history_crc=last.history_crc or crc_of(asked.history),
            because=f"out of memory, the limit is {asked.memory_bytes >> 20} MiB; {last.because}",
        )
    _write(asked.out, result)
    return code


def limit_memory(memory_bytes: int) -> None:
    """No more address space than this; a hard limit that is lower already stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def search_bytes(memory_bytes: int) -> int:
    """What one search may fill, so that it gives up before the limit ends the process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    left = memory_bytes - pages * resource.getpagesize()
    return max(SEARCH_MIN_BYTES, int(left * SEARCH_SHARE))


def _write(out: Path, result: LinearizabilityResult, sync: bool = True) -> None:
    """Beside its name, then renamed. What is only to say how far it came need not survive a power loss."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(out)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


if __name__ == "__main__":
    sys.exit(main())
