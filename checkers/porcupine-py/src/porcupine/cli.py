"""The command line: porcupine check FILE --model M

The exit status is the verdict: 0 ok, 1 illegal, 2 unknown; 64 for a question that makes no sense. FILE is one
of Porcupine's etcd or kv logs, or has a JSON object on each line (read_json_lines says which).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from porcupine import models
from porcupine.checker import check, check_verbose
from porcupine.engine import core
from porcupine.errors import PorcupineError
from porcupine.formats import read_etcd_log, read_json_lines, read_kv_log
from porcupine.history import Operation
from porcupine.model import Model
from porcupine.result import Result, Verdict
from porcupine.visualization import visualize_path

EXIT: Final[Mapping[Verdict, int]] = {"ok": 0, "illegal": 1, "unknown": 2}
USAGE: Final = 64

MODELS: Final[Mapping[str, Callable[[], Model]]] = {
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
    "set": models.set_of_values,
    "stack": models.stack,
}
FORMATS: Final[Mapping[str, Callable[[str], list[Operation]]]] = {
    "etcd": read_etcd_log,
    "json": read_json_lines,
    "kv": read_kv_log,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="porcupine", description="Checks histories for linearizability.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    judge = commands.add_parser(
        "check", help="exit 0: ok, 1: illegal, 2: unknown, 64: no such question"
    )
    judge.add_argument("file", type=Path)
    judge.add_argument("--model", required=True, choices=sorted(MODELS))
    judge.add_argument("--format", choices=sorted(FORMATS), default="json")
    judge.add_argument("--timeout", type=float, metavar="SECONDS", help="none by default")
    judge.add_argument("--memory", type=int, metavar="BYTES", help="none by default")
    judge.add_argument("--html", type=Path, metavar="OUT", help="also draw it, to this file")
    judge.add_argument("--quiet", action="store_true", help="the exit status says it all")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        asked = _parser().parse_args(arguments)
    except SystemExit as done:
        return int(done.code or 0)
    try:
        history = FORMATS[asked.format](asked.file.read_text(encoding="utf-8"))
        model = MODELS[asked.model]()
        if asked.html is None:
            result = check(history, model, timeout_s=asked.timeout, memory_bytes=asked.memory)
        else:
            result, info = check_verbose(
                history, model, timeout_s=asked.timeout, memory_bytes=asked.memory
            )
            visualize_path(model, info, asked.html, title=asked.file.name)
    except (OSError, UnicodeDecodeError, PorcupineError) as error:
        print(f"porcupine: {error}", file=sys.stderr)
        return USAGE
    except (TypeError, IndexError, KeyError, ValueError) as error:
        # A model met an input or output it has no meaning for.
        print(
            f"porcupine: the history does not suit the model {asked.model}: {error}",
            file=sys.stderr,
        )
        return USAGE
    if not asked.quiet:
        print(_told(result, len(history)))
    return EXIT[result.verdict]


def _told(result: Result, operations: int) -> str:
    engines = sorted({part.engine for part in result.parts})
    work = (
        f"{operations} operations in {len(result.parts)} parts, {result.steps} steps, "
        f"{1000 * result.seconds:.1f} ms, by {' and '.join(engines) or 'nothing'} ({core})"
    )
    return f"{result}\n{work}"


if __name__ == "__main__":
    raise SystemExit(main())
