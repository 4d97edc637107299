"""The logs that Porcupine tests itself with: Jepsen's of etcd (2014-15), and those of a store of strings.

An etcd log is one compare-and-set register, nil at first. Its `:info` lines are operations that timed out; a
read that failed saw nothing and is outcome "fail". What a failed compare-and-set means is a choice: Porcupine
checks that the register did not hold the expected value ("observed"), Knossos drops it ("dropped"), and some
histories are linearizable under one reading alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from sys import intern
from typing import Final, Literal

from porcupine.errors import FormatError
from porcupine.formats import jepsen
from porcupine.formats.events import Call, Row, paired
from porcupine.formats.meaning import Conventions, operations_of_calls
from porcupine.history import Operation

CONVENTIONS: Final = Conventions(nil_read="value", failed="observed", keyed=False)
KV_CONVENTIONS: Final = Conventions(nil_read="value", failed="dropped", keyed=False)

_KV: Final = re.compile(
    r'\{:process (\d+), :type :(invoke|ok|fail|info), :f :(get|put|append), :key "([^"]*)", '
    r':value (?:nil|"([^"]*)")\}$',
    re.ASCII,
)


def read_etcd_log(
    text: str, *, failed_cas: Literal["observed", "dropped"] = "observed"
) -> list[Operation]:
    """The operations of an etcd log, in order of call, for porcupine.models.cas_register().

    Times are line numbers from 0. Raises FormatError for a line that is no event of such a log, if it
    begins like one, for a completion without an invocation, and for a client that calls two at a time; other
    lines are passed over.
    """
    calls = _timed_by_line(paired(jepsen.text_rows(text, keyed=False)))
    conventions = Conventions(nil_read="value", failed=failed_cas)
    return operations_of_calls(calls, "cas-register", conventions)


def read_kv_log(text: str) -> list[Operation]:
    """The operations of a log of gets, puts and appends, for porcupine.models.append_kv().

    Times are line numbers from 0; an operation that never returned is of unknown outcome. Raises
    FormatError for any line that is not such an event, and for events that are no history.
    """
    calls = _timed_by_line(paired(kv_rows(text)))
    return operations_of_calls(calls, "append-kv", KV_CONVENTIONS)


def kv_rows(text: str) -> Iterator[Row]:
    """The events of a kv log."""
    number = -1
    for line, content in enumerate(text.split("\n"), 1):
        content = content.strip()
        if not content:
            continue
        match = _KV.match(content)
        if match is None:
            raise FormatError(f"line {line} is not an event of a kv log: {content[:200]!r}")
        process, kind, f, key, value = match.groups()
        number += 1
        yield Row(number, line, kind, int(process), f, value, intern(key))  # type: ignore[arg-type]


def is_kv_line(line: str) -> bool:
    """Whether a line of text is an event of a kv log."""
    return _KV.match(line.strip()) is not None


def _timed_by_line(calls: list[Call]) -> list[Call]:
    for call in calls:
        call.call = call.line - 1
        call.back = None if call.back_line is None else call.back_line - 1
    return calls
