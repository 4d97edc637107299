"""What a call says to a model: the field's names (`:read`, `:cas`, `:txn` ...) as inputs and outputs.

Tools disagree about what a line means, and some histories are linearizable under one reading alone: Knossos takes
a read of nil for one whose value nobody knows and drops what failed, Porcupine's test of etcd takes the first at
its word and the second as an observation. So these are `Conventions`, which a caller chooses and every answer shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from porcupine.errors import FormatError
from porcupine.formats.edn import Keyword, Map, as_value
from porcupine.formats.events import Call, shown
from porcupine.history import EMPTY, UNKNOWN, Operation, Outcome
from porcupine.zones import Saw

NilRead = Literal["unknown", "value"]
Failed = Literal["observed", "dropped"]


@dataclass(frozen=True, slots=True)
class Conventions:
    """How a history is read.

    nil_read: a completed read of nil is one whose value nobody knows ("unknown"), or saw nil ("value").
    failed: a failed compare-and-set, acquire, release, add or remove is dropped, or is an observation that it
    was not possible: "observed". Whatever else failed did not happen, and is dropped under both.
    keyed: values are pairs of a key and a value, and each key is an object of its own.
    """

    nil_read: NilRead = "unknown"
    failed: Failed = "dropped"
    keyed: bool = False

    def __str__(self) -> str:
        nil = "is of unknown value" if self.nil_read == "unknown" else "saw nil"
        what = "is dropped" if self.failed == "dropped" else "saw that it was not possible"
        return f"a read of nil {nil}; a failed compare-and-set {what}"


Said = tuple[tuple[Any, ...], Any, Outcome]
"""Input, output and outcome of an operation."""
Meaning = Callable[[Call, Conventions], Said]


def operations_of_calls(calls: list[Call], model: str, conventions: Conventions) -> list[Operation]:
    """The calls as operations for porcupine.models' model of this name; times are the numbers of the events.

    The key of a call stands in the input where the model has keys; elsewhere in the operation's metadata, as a
    tuple of one. Raises FormatError for a call that the model has no meaning for.
    """
    meaning, owns_keys = MEANINGS[model], model in KEYED_MODELS
    found: list[Operation] = []
    append = found.append
    for call in calls:
        if model == "list-append" and call.f == "txn":
            single_transaction(call)
        key = call.key
        if key is None and owns_keys and not conventions.keyed:
            refuse(
                call,
                f"{model} is judged key by key, but this has no key; are its values [key value] (keyed)?",
            )
        given, output, outcome = meaning(call, conventions)
        if owns_keys:
            given = (given[0], as_value(key), *given[1:])
            key = None
        back = None if outcome == "info" else call.back
        aside = None if key is None else (as_value(key),)
        append(Operation(call.process, given, call.call, output, back, outcome, aside))
    return found


def refuse(call: Call, why: str) -> NoReturn:
    raise FormatError(f"{call.where()}: {why}")


# --- what several models share --------------------------------------------------------------------


def _no_meaning(call: Call, model: str, known: str) -> NoReturn:
    refuse(call, f"{call.f!r} has no meaning for {model}, which has {known}")


def _read(call: Call, conventions: Conventions, given: tuple[Any, ...]) -> Said:
    """A look at the whole of a register or counter."""
    if call.kind != "ok":
        return given, UNKNOWN if call.kind == "info" else None, call.kind  # type: ignore[return-value]
    if call.seen is not None:
        return given, as_value(call.seen.value), "ok"
    if call.got is None and conventions.nil_read == "unknown":
        return given, UNKNOWN, "ok"
    return given, as_value(call.got), "ok"


def _done(call: Call, given: tuple[Any, ...], output: Any = None) -> Said:
    """Something that says no more than whether it happened."""
    if call.kind == "info":
        return given, UNKNOWN, "info"
    return given, output, "fail" if call.kind == "fail" else "ok"


def _tried(call: Call, conventions: Conventions, given: tuple[Any, ...]) -> Said:
    """Something that can refuse itself, by what it saw."""
    if call.kind == "fail" and conventions.failed == "observed":
        return given, False, "ok"
    return _done(call, given, True)


def _argument(call: Call) -> Any:
    """What a writing call writes: the invocation says so, and its ok completion must not say otherwise."""
    asked, got = call.asked, call.got
    if call.kind == "ok" and got is not None and got != asked:
        if asked is not None:
            refuse(
                call, f"{call.f!r} is invoked with {shown(asked)} and completes with {shown(got)}"
            )
        asked = got
    return as_value(asked)


def _whole(call: Call, value: Any) -> int:
    if type(value) is not int:
        refuse(call, f"{call.f!r} wants a whole number, found {shown(value)}")
    return value


def _elements(call: Call, value: Any) -> Any:
    if type(value) not in (tuple, frozenset, list):
        refuse(call, f"a read of many values wants a collection, found {shown(value)}")
    return tuple(map(as_value, value))


def _optional_count(call: Call) -> tuple[int, ...]:
    return () if call.asked is None else (_whole(call, call.asked),)


# --- the models -----------------------------------------------------------------------------------


def _register(call: Call, conventions: Conventions, *, swaps: bool = True) -> Said:
    f = call.f
    if f in ("read", "get"):
        return _read(call, conventions, ("read",))
    if f in ("write", "put"):
        return _done(call, ("write", _argument(call)))
    if f != "cas" or not swaps:
        _no_meaning(call, "a register", "read, write and cas" if swaps else "read and write")
    asked = call.asked
    if type(asked) is not tuple or len(asked) != 2:
        refuse(call, f"a cas wants [expected new], found {shown(asked)}")
    given = ("cas", as_value(asked[0]), as_value(asked[1]))
    if (
        call.seen is not None
    ):  # A system that tells what it found instead, or only that it did not swap.
        saw = call.seen.value
        return given, False if saw is UNKNOWN else Saw(as_value(saw)), "ok"
    if call.kind == "ok" and call.got is not None and call.got != asked:
        refuse(call, f"a cas is invoked with {shown(asked)} and completes with {shown(call.got)}")
    if call.kind == "fail" and call.got is not None and call.got != asked:
        return given, None, "fail"  # What is said of it is an error, and not what it found.
    return _tried(call, conventions, given)


def _plain_register(call: Call, conventions: Conventions) -> Said:
    return _register(call, conventions, swaps=False)


def _strings(call: Call, conventions: Conventions) -> Said:
    f = call.f
    if f in ("get", "read"):
        given, output, outcome = _read(call, conventions, ("get",))
        if outcome == "ok" and output is not UNKNOWN and type(output) is not str:
            refuse(call, f"a get gives a string, found {shown(output)}")
        return given, output, outcome
    if f not in ("put", "append"):
        _no_meaning(call, "append-kv", "get, put and append")
    value = _argument(call)
    if type(value) is not str:
        refuse(call, f"{f!r} wants a string, found {shown(value)}")
    return _done(call, (f, value))


def _lists(call: Call, conventions: Conventions) -> Said:
    if call.f in ("read", "r"):
        given, output, outcome = _read(call, conventions, ("read",))
        if outcome == "ok" and output is not UNKNOWN:
            # What was never appended to holds nothing: Elle's histories say nil.
            output = () if output is None else _elements(call, output)
        return given, output, outcome
    if call.f != "append":
        _no_meaning(call, "list-append", "append, read, and a txn of one of them")
    return _done(call, ("append", _argument(call)))


def single_transaction(call: Call) -> None:
    """Turn Elle's form of one append or read, [[:append k v]] or [[:r k nil]], into a call of its own with a key."""
    parts = _parts(call, call.asked)
    if len(parts) != 1:
        refuse(
            call,
            f"a txn of {len(parts)} operations; list-append judges single appends and reads, key by key "
            "(transactions on several keys: multi-register, or a checker of isolation such as Elle)",
        )
    name, key, value = parts[0]
    call.f, call.key, call.asked = name, key, value
    if call.kind == "ok":
        seen = _parts(call, call.got)
        if len(seen) != 1 or seen[0][:2] != (name, key):
            refuse(call, "a txn completes as another than it was invoked as")
        call.got = seen[0][2]


def _parts(call: Call, value: Any) -> list[tuple[str, Any, Any]]:
    """The micro-operations of a transaction: (name, key, value)."""
    if type(value) is not tuple:
        refuse(call, f"a txn wants a list of [f key value], found {shown(value)}")
    found: list[tuple[str, Any, Any]] = []
    for part in value:
        if type(part) is not tuple or len(part) not in (2, 3):
            refuse(call, f"a txn wants a list of [f key value], found {shown(part)} in it")
        name = part[0].name if type(part[0]) is Keyword else part[0]
        if type(name) is not str:
            refuse(call, f"a txn wants a list of [f key value], found {shown(part)} in it")
        found.append((name, part[1], part[2] if len(part) == 3 else None))
    return found


MICRO: Final[Mapping[str, str]] = {"r": "r", "read": "r", "w": "w", "write": "w"}


def _registers(call: Call, conventions: Conventions) -> Said:
    if call.f in ("read", "write"):
        asked = call.asked if call.f == "write" or call.kind != "ok" else call.got
        pairs = list(asked.items()) if type(asked) is Map else None
        if pairs is None:
            refuse(call, f"{call.f!r} of several registers wants a map, found {shown(asked)}")
        parts = [(call.f, key, value) for key, value in pairs]
        seen = parts
    elif call.f == "txn":
        parts = _parts(call, call.asked)
        seen = _parts(call, call.got) if call.kind == "ok" else parts
        if [part[:2] for part in parts] != [part[:2] for part in seen]:
            refuse(call, "a txn completes as another than it was invoked as")
    else:
        _no_meaning(call, "multi-register", "txn, and read and write of maps")
    given: list[tuple[Any, ...]] = []
    output: list[Any] = []
    for (name, key, value), (_, _, found) in zip(parts, seen, strict=True):
        if name not in MICRO:
            refuse(call, f"{name!r} has no meaning in a txn of registers, which has r and w")
        if MICRO[name] == "w":
            if call.kind == "ok" and found != value:
                refuse(call, f"a txn writes {shown(value)} and completes with {shown(found)}")
            given.append(("w", as_value(key), as_value(value)))
            continue
        given.append(("r", as_value(key)))
        unknown = found is None and conventions.nil_read == "unknown"
        output.append(UNKNOWN if unknown else as_value(found))
    return _done(call, ("txn", tuple(given)), tuple(output))


def _counter(call: Call, conventions: Conventions) -> Said:
    f = call.f
    if f == "read":
        given, output, outcome = _read(call, conventions, ("read",))
        if outcome == "ok" and output is None:
            output = 0  # Nobody has added to it.
        if outcome == "ok" and output is not UNKNOWN:
            _whole(call, output)
        return given, output, outcome
    if f in ("inc", "increment", "dec", "decrement"):
        by = 1 if call.asked is None else _whole(call, call.asked)
        return _done(call, ("add", by if f.startswith("inc") else -by))
    if f == "add":
        return _done(call, ("add", _whole(call, _argument(call))))
    if f not in ("add-and-get", "add_and_get"):
        _no_meaning(call, "a counter", "read, add, inc, dec and add-and-get")
    by = _whole(call, call.asked)
    if call.kind != "ok":
        return _done(call, ("add_and_get", by))
    got = call.got
    if type(got) is tuple and len(got) == 2 and got[0] == by:
        got = got[1]  # [what was added, the value after it]
    return ("add_and_get", by), _whole(call, got), "ok"


def _set(call: Call, conventions: Conventions) -> Said:
    f = call.f
    if f == "read":
        given, output, outcome = _read(call, conventions, ("read",))
        if outcome == "ok" and output is not UNKNOWN:
            output = frozenset(_elements(call, () if output is None else output))
        return given, output, outcome
    if f == "contains":
        asked, got = as_value(call.asked), call.got
        if call.kind != "ok":
            return _done(call, ("contains", asked))
        if type(got) is tuple and len(got) == 2:
            got = got[1]  # [the element, whether it is in]
        if type(got) is not bool:
            refuse(call, f"contains gives true or false, found {shown(got)}")
        return ("contains", asked), got, "ok"
    if f not in ("add", "remove"):
        _no_meaning(call, "a set", "add, remove, contains and read")
    if call.kind == "fail" and conventions.failed == "observed":
        return (f, as_value(call.asked)), False, "ok"
    return _done(call, (f, _argument(call)))


def _collection(into: tuple[str, ...], out: tuple[str, ...]) -> Meaning:
    """A queue, stack or priority queue; the first of each names is the model's own."""

    def meaning(call: Call, conventions: Conventions) -> Said:
        f = call.f
        if f in into:
            return _done(call, (into[0], _argument(call)))
        if f not in out and f != "peek":
            _no_meaning(call, "this collection", ", ".join((*into, *out, "peek")))
        given = (out[0] if f in out else f,)
        if call.kind != "ok":
            return _done(call, given)
        got = call.got
        if got is None:
            return given, UNKNOWN if conventions.nil_read == "unknown" else EMPTY, "ok"
        if got is EMPTY or (type(got) is Keyword and got.name == "empty"):
            return given, EMPTY, "ok"
        return given, as_value(got), "ok"

    return meaning


def _lock(call: Call, conventions: Conventions) -> Said:
    if call.f not in ("acquire", "release"):
        _no_meaning(call, "a lock", "acquire and release")
    return _tried(call, conventions, (call.f,))


def _permits(call: Call, conventions: Conventions) -> Said:
    if call.f not in ("acquire", "release"):
        _no_meaning(call, "a semaphore", "acquire and release")
    return _tried(call, conventions, (call.f, *_optional_count(call)))


MEANINGS: Final[Mapping[str, Meaning]] = {
    "append-kv": _strings,
    "cas-register": _register,
    "counter": _counter,
    "kv": _register,
    "list-append": _lists,
    "multi-register": _registers,
    "mutex": _lock,
    "priority-queue": _collection(("push", "insert", "enqueue"), ("pop", "poll", "dequeue")),
    "queue": _collection(("enqueue",), ("dequeue",)),
    "register": _plain_register,
    "semaphore": _permits,
    "set": _set,
    "stack": _collection(("push",), ("pop",)),
}
KEYED_MODELS: Final = frozenset({"append-kv", "kv", "list-append"})
