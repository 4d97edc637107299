"""Histories that other tools recorded: their events in our shape, and the judge that stands for their model.

Tools disagree about what a line means (what a failed compare-and-set proves, what a read of nil saw), and a
history can be linearizable under one reading alone. Each format is read as its own tool reads it;
`conventions` says how, in words.
"""

from __future__ import annotations

from typing import Final

import msgspec

import porcupine
import porcupine.models
from checkers.judging import Judge, resolve
from checkers.records.reading import RecordsError
from checkers.records.schema import HistoryEvent
from checkers.registers import RegisterJudge
from checkers.strings import StringsJudge

REGISTER: Final = "register"
CAS_REGISTER: Final = "cas-register"
KV: Final = "kv"
MODELS: Final = (REGISTER, CAS_REGISTER, KV)


class ForeignHistory(msgspec.Struct, frozen=True):
    """One history of another tool. `model` is the name of what it is judged by."""

    format: str
    model: str
    judge: Judge
    events: list[HistoryEvent]
    crc: str
    """crc32 of the file's bytes, in hex."""
    conventions: tuple[str, ...] = ()
    recovered: bool = False


def judge_named(model: str, *, nil_is_unknown: bool = False) -> Judge:
    """The judge of a name of MODELS, or of a 'module:function'; RecordsError for any other."""
    if model == REGISTER:
        return RegisterJudge(porcupine.models.register(), cas=False, nil_is_unknown=nil_is_unknown)
    if model == CAS_REGISTER:
        return RegisterJudge(nil_is_unknown=nil_is_unknown)
    if model == KV:
        return StringsJudge()
    if ":" in model:
        return resolve(model, {})
    raise RecordsError(
        f"there is no model {model!r} for this file: give {', '.join(MODELS)} or 'module:function'"
    )
