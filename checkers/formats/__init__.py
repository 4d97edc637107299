"""Other tools' histories, in and out: Jepsen's EDN and text logs, Porcupine's logs. docs/formats.md lists how each is read."""

from __future__ import annotations

from pathlib import Path

from checkers.formats import jepsen, porcupine_kv
from checkers.formats.foreign import MODELS, ForeignHistory

__all__ = ["MODELS", "ForeignHistory", "open_foreign"]

HEAD_BYTES = 4096


def open_foreign(path: Path, model: str | None = None) -> ForeignHistory | None:
    """A history that another tool recorded; None if its beginning is of no format known here.

    `model`: "register", "cas-register", "kv" or 'module:function'; without it the format's own. RecordsError
    for a file that begins like one of these and is none, and for a model that does not exist.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    except OSError:
        return None
    if jepsen.is_text_log(head):
        return jepsen.read_log(path, *jepsen.read_text(path), model)
    if porcupine_kv.is_kv_log(head):
        return porcupine_kv.read(path, model)
    if looks_like_edn(head):
        return jepsen.read_edn(path, *jepsen.read_text(path), model)
    return None


def looks_like_edn(head: str) -> bool:
    """Maps whose keys are keywords; JSON, which ours is, has strings there."""
    while head.startswith(";"):
        head = head.partition("\n")[2].lstrip()
    head = head.lstrip("([ \t\r\n,")
    return head.startswith(("{:", "#jepsen."))
