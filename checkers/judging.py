"""How a workload's history is judged: the one thing that a checker must be told about a system.

Linearizability is a question about an object, and only the workload knows which object its operations speak
of. A Judge translates: each recorded operation becomes a point of one part of the history (a key, say:
linearizability is local, Herlihy and Wing 1990, so parts are decided alone), or stands aside and is looked at
by the judge itself. A history's header names the judge as 'module:function'; called with the header's
parameters, that function gives it. Checkers never import workloads: they resolve names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import porcupine
from checkers.records.fitness import Operation
from checkers.records.reading import RecordsError
from checkers.records.schema import OutcomeType


class Point(NamedTuple):
    """An operation as the search sees it: `part` is decided alone, by the model of that part.

    For an outcome other than "ok" the output is porcupine.UNKNOWN.
    """

    part: Hashable
    input: Any
    output: Any
    outcome: OutcomeType


class Objection(NamedTuple):
    """What is wrong, in words, and the `operations` that prove it."""

    part: Hashable
    text: str
    operations: Sequence[Operation]


@runtime_checkable
class Judge(Protocol):
    """What one workload's operations mean. Pure; made anew for each history."""

    def point(self, operation: Operation) -> Point | None:
        """How the search sees an operation; None: it stands aside.

        ValueError, with a line that says what was found, for an operation that the workload does not know.
        """
        ...

    def model(self, part: Hashable) -> porcupine.Model:
        """The sequential specification of a part."""
        ...

    def objections(
        self, operations: Sequence[Operation], aside: Sequence[Operation]
    ) -> Sequence[Objection]:
        """What is wrong with those that stood `aside`, given the whole history."""
        ...

    def explain(
        self, part: Hashable, witness: Sequence[Operation], whole: Sequence[Operation]
    ) -> Objection | None:
        """In words why the few operations of a witness have no order, and which operations show it.

        `whole` is the part they are of. None leaves words and operations to the checker.
        """
        ...


def resolve(name: str, params: Mapping[str, Any]) -> Judge:
    """The judge that 'module:function' gives for `params`; RecordsError says why a name cannot be used."""
    module_name, colon, function_name = name.partition(":")
    if not colon or not module_name or not function_name:
        raise RecordsError(
            f"the model {name!r} cannot be used: name it 'module:function', "
            "like workloads.register:model"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # A stranger's module may raise anything while it is imported.
        raise RecordsError(
            f"the model {name!r} cannot be used: importing {module_name} gave "
            f"{type(error).__name__}: {error}"
        ) from error
    make: Callable[[dict[str, Any]], object] | None = getattr(module, function_name, None)
    if not callable(make):
        raise RecordsError(
            f"the model {name!r} cannot be used: {module_name} has no function {function_name}"
        )
    try:
        judge = make(dict(params))
    except Exception as error:
        raise RecordsError(
            f"the model {name!r} does not take the history's parameters {dict(params)}: {error}"
        ) from error
    if not isinstance(judge, Judge):
        raise RecordsError(
            f"the model {name!r} cannot be used: it gave a {type(judge).__name__}, and a judge has "
            "point, model, objections and explain"
        )
    return judge
