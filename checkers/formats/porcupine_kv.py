"""Porcupine's logs of a store of strings: one EDN map a line, with :get, :put and :append, and the key beside the value.

    {:process 0, :type :invoke, :f :append, :key "4", :value "x 0 1 y"}

Read as Porcupine's own test reads them: a key is "" at first, a get shows all of it, and order is the order
of the lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from checkers.formats import jepsen
from checkers.formats.foreign import KV, ForeignHistory, judge_named

FORMAT: Final = "porcupine-kv"
CONVENTIONS: Final = (
    'a key holds "" at first',
    "operations without a return may have happened",
)
HEAD: Final = ("{:process",)


def is_kv_log(text: str) -> bool:
    """Does the first line name one of the store's operations, and a key beside its value?"""
    line = text.lstrip().split("\n", 1)[0]
    return (
        line.startswith(HEAD)
        and ":key " in line
        and any(f":f :{name}" in line for name in jepsen.KV_OPS)
    )


def read(path: Path, model: str | None = None) -> ForeignHistory:
    """The history of such a log; RecordsError if it is none."""
    found = jepsen.read_edn(path, *jepsen.read_text(path), model or KV)
    return msgspec.structs.replace(
        found, format=FORMAT, judge=judge_named(found.model), conventions=CONVENTIONS
    )
