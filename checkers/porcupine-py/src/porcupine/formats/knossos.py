"""Knossos' data files: one vector or list of op maps, and what Knossos takes them to mean.

Knossos (jepsen-io/knossos, src/knossos/model.clj and history.clj) knows no observation by failure: `:fail` did not
happen. A read of nil "could have been anything". `:info`, and an invocation without an end, may have happened at any
time since. A register begins with nil, or with what the test says (0 in most of Knossos' own).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from porcupine.formats import jepsen
from porcupine.formats.events import Row
from porcupine.formats.meaning import Conventions

CONVENTIONS: Final = Conventions(nil_read="unknown", failed="dropped", keyed=False)


def is_collection(head: str) -> bool:
    """Whether a text begins with a vector or a list, comments aside, as Knossos' own files do."""
    rest = head.lstrip(" \t\r\n,")
    while rest.startswith(";"):
        rest = rest.partition("\n")[2].lstrip(" \t\r\n,")
    return rest.startswith(("[", "("))


def rows(text: str, *, keyed: bool = False) -> Iterator[Row]:
    """The events of such a file; Knossos too takes op maps one after the other. Raises FormatError for others."""
    return jepsen.edn_rows(text, keyed=keyed)
