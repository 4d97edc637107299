"""The command line: porcupine check FILE --model M

The exit status is the verdict: 0 ok, 1 illegal, 2 unknown; 64 for a question that makes no sense, 130 when
interrupted. FILE is of one of the formats of porcupine.formats, or a folder that holds one, or - for what comes in.
How it was read, and by which conventions, is part of every answer.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from porcupine import models
from porcupine.answers import Asked, as_json, as_text
from porcupine.checker import check, check_verbose
from porcupine.errors import FormatError, PorcupineError
from porcupine.formats import FORMATS, History, decoded, read, text_of, value_of
from porcupine.formats.meaning import KEYED_MODELS
from porcupine.model import Model
from porcupine.partitioning import by_metadata, undivided
from porcupine.result import Result, Verdict
from porcupine.visualization import visualize_path

EXIT: Final[Mapping[Verdict, int]] = {"ok": 0, "illegal": 1, "unknown": 2}
USAGE: Final = 64
INTERRUPTED: Final = 130

MODELS: Final[Mapping[str, Callable[..., Model]]] = {
    "append-kv": models.append_kv,
    "cas-register": models.cas_register,
    "counter": models.counter,
    "kv": models.kv,
    "list-append": models.list_append,
    "multi-register": models.multi_register,
    "mutex": models.mutex,
    "priority-queue": models.priority_queue,
    "queue": models.queue,
    "register": models.register,
    "semaphore": models.semaphore,
    "set": models.set_of_values,
    "stack": models.stack,
}
INITIAL: Final[Mapping[str, Any]] = {
    "append-kv": "",
    "cas-register": None,
    "counter": 0,
    "kv": None,
    "multi-register": None,
    "register": None,
}
"""Models that begin with a value, and what it is unless told otherwise."""
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of bytes, such as 500000 or 256MiB"
        )
    return int(found[1]) * UNITS[found[2]]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="porcupine", description="Checks histories for linearizability.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    judge = commands.add_parser(
        "check", help="exit 0: ok, 1: illegal, 2: unknown, 64: no such question"
    )
    add = judge.add_argument
    add("file", help="a file, a folder with one, or - for what comes in")
    add("--model", required=True, choices=sorted(MODELS))
    add(
        "--format",
        choices=["auto", *FORMATS],
        default="auto",
        help="auto: by its content. " + "; ".join(f"{n}: {what}" for n, what in FORMATS.items()),
    )
    how = judge.add_argument_group("how it is read", "without these, as the format's own tool does")
    add = how.add_argument
    add(
        "--nil-read",
        choices=["unknown", "value"],
        help="a read of nil says nothing (Knossos), or saw nil",
    )
    add(
        "--failed",
        choices=["observed", "dropped"],
        help="a failed cas saw another value (Porcupine's etcd test), or did not happen (Knossos)",
    )
    add(
        "--keyed",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="values are [key value], and each key is an object of its own",
    )
    add("--initial", metavar="VALUE", help='what there is at first, in EDN: nil, 0, "a"')
    add("--permits", type=_count, metavar="N", help="how many a semaphore has")
    add(
        "--partition",
        choices=["key", "none"],
        default="key",
        help="judge keys one by one, or all together",
    )
    limits = judge.add_argument_group("limits", "what is not decided within them is unknown")
    add = limits.add_argument
    add("--timeout", type=_seconds, metavar="SECONDS", help="none by default")
    add("--memory", type=_bytes, metavar="BYTES", help="for the searches, such as 512MiB")
    add("--steps", type=_count, metavar="N", help="transitions that the searches may try")
    answer = judge.add_argument_group("the answer")
    answer.add_argument("--html", type=Path, metavar="OUT", help="also draw it, to this file")
    show = answer.add_mutually_exclusive_group()
    show.add_argument("--json", action="store_true", help="for machines")
    show.add_argument("--quiet", action="store_true", help="the exit status says it all")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        asked = _parser().parse_args(arguments)
    except SystemExit as done:
        return int(done.code or 0)
    try:
        return _check(asked)
    except (OSError, PorcupineError) as error:
        print(f"porcupine: {error}", file=sys.stderr)
        return USAGE
    except (
        TypeError,
        LookupError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        # A model met an input or output it has no meaning for; only lines of JSON can bring it one.
        print(
            f"porcupine: the history does not suit the model {asked.model}: {error}",
            file=sys.stderr,
        )
        return USAGE
    except KeyboardInterrupt:
        print("porcupine: interrupted", file=sys.stderr)
        return INTERRUPTED


def program() -> int:
    """`main` as a process of its own, which heeds one interrupt: a second would take the exit status of the first."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # else whoever began it wants it ignored
        signal.signal(signal.SIGINT, _interrupt_once)
    return main()


def _interrupt_once(number: int, frame: FrameType | None) -> NoReturn:
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        # Blocked, not ignored: Python complains of one that it finds ignored, and undoes handlers before it ends.
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    raise KeyboardInterrupt


def _check(asked: argparse.Namespace) -> int:
    text = _text(asked.file)
    try:
        history = read(
            text,
            asked.model,
            format=asked.format,
            nil_read=asked.nil_read,
            failed=asked.failed,
            keyed=asked.keyed,
        )
    except FormatError as error:
        raise FormatError(f"{asked.file}: {error}") from None
    initial = _initial(asked, history.format)
    model = _model(asked, initial, history)
    limits: dict[str, Any] = {"timeout_s": asked.timeout, "step_limit": asked.steps}
    if asked.memory is not None:
        limits["memory_bytes"] = asked.memory
    if asked.html is None:
        result = check(history.operations, model, **limits)
    else:
        result, info = check_verbose(history.operations, model, **limits)
        unit = "ns" if history.format == "driftline" else ""
        visualize_path(model, info, asked.html, title=Path(asked.file).name, unit=unit)
    question = Asked(asked.file, asked.model, initial, asked.partition)
    if not asked.quiet:
        _tell(
            as_json(question, history, result) if asked.json else as_text(question, history, result)
        )
    return _status(result)


def _status(result: Result) -> int:
    return EXIT[result.verdict]


def _text(name: str) -> str:
    if name == "-":
        return decoded(sys.stdin.buffer.read(), "what comes in")
    return text_of(Path(name))


def _initial(asked: argparse.Namespace, format: str) -> Any:
    if asked.initial is None:
        return INITIAL.get(asked.model)
    if asked.model not in INITIAL:
        raise FormatError(
            f"--initial {asked.initial}: a {asked.model} begins empty; a value is for {', '.join(INITIAL)}"
        )
    value = value_of(asked.initial, format)
    wanted = type(INITIAL[asked.model])
    if wanted is not type(None) and type(value) is not wanted:
        raise FormatError(
            f"--initial {asked.initial}: a {asked.model} begins with a {wanted.__name__}"
        )
    return value


def _model(asked: argparse.Namespace, initial: Any, history: History) -> Model:
    name = asked.model
    if (name == "semaphore") != (asked.permits is not None):
        raise FormatError(
            "a semaphore wants --permits N"
            if name == "semaphore"
            else f"--permits {asked.permits}: a {name} has none; they are for a semaphore"
        )
    if name == "semaphore":
        model = models.semaphore(asked.permits)
    else:
        model = MODELS[name](initial) if name in INITIAL else MODELS[name]()
    if asked.partition == "key":
        return by_metadata(model) if history.keys_aside() else model
    if history.keys_aside():
        raise FormatError(
            f"--partition none: one {name} for each key cannot be judged as one {name}; take kv, append-kv or "
            "list-append, or judge key by key"
        )
    return undivided(model) if name in KEYED_MODELS else model


def _tell(text: str) -> None:
    """Print, whatever characters the terminal knows; a reader that went away is no error."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except UnicodeEncodeError:
        plain = text.encode("ascii", "backslashreplace").decode("ascii")
        sys.stdout.write(plain + "\n")
    except BrokenPipeError:
        # Else Python would try again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(program())
