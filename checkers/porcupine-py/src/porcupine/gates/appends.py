"""Strings and lists to which distinct tokens are appended, and that are read as a whole: decided by zones.

A read shows the token before each one that it shows. So an append that was seen is a compare-and-set from that
token to its own, a read is a read of its last token, a put is a write, and an append that nobody saw might as
well have been a write. What remains is a register whose values are written once.

A string must fall into tokens in one way only, or nothing is known of who appended what. It does when no token is
the beginning of another; a read that then does not consist of tokens was of something nobody wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from porcupine.gates.deciding import Check, Contradiction, Order, decide, line
from porcupine.gates.stays import NOBODY
from porcupine.history import UNKNOWN, Operation
from porcupine.limits import OPERATIONS_PER_LOOK, must_not_be_over
from porcupine.result import GateResult, Witness
from porcupine.zones import Refused, Register

Text = Any
"""A string, or a tuple: what both can do is all that is asked of them."""


def check_appends(
    operations: Sequence[Operation], deadline: float | None, *, initial: str
) -> GateResult | None:
    """Decide one key's string, or return None where tokens are not distinct, or could be told apart in two ways.

    It begins as `initial`. Inputs are ("get", key), ("put", key, s) and ("append", key, s).
    """
    if type(initial) is not str:
        return None
    return decide(
        Check("append", partial(_judge, initial=initial), initial, 1), operations, deadline
    )


def check_lists(operations: Sequence[Operation], deadline: float | None) -> GateResult | None:
    """Decide one key's list, empty at first, or return None where elements are not distinct.

    Inputs are ("read", key) and ("append", key, v).
    """
    return decide(Check("list", partial(_judge, initial=None), None, 1), operations, deadline)


def _judge(
    operations: Sequence[Operation], deadline: float | None, *, initial: str | None
) -> Order | None:
    tokens = _Tokens(initial)
    try:
        if not tokens.collect(operations, deadline):
            return None
    except (TypeError, IndexError, KeyError):
        return None  # Unhashable, or not the inputs of this model: the model's step has its say.
    if not tokens.unambiguous():
        return None
    tokens.parse(deadline)
    register = _Appended(operations, tokens, deadline)
    try:
        applies = register.collect() and register.attribute() and register.settle()
        assert applies
        register.arrange()
        register.compare()
    except Refused as refused:
        witness = refused.witness
        raise Contradiction(
            witness.text.partition("\n")[0],
            witness.operations,
            tokens.closed(witness.operations, witness.support),
        ) from None
    return register.order


class _Tokens:
    """Who wrote which token, and what the reads show of their order. Token 0 is what there was at first."""

    def __init__(self, initial: str | None) -> None:
        self.initial: Text = () if initial is None else initial
        self.put = "put" if initial is not None else ""
        self.get = "get" if initial is not None else "read"
        self.lists = initial is None
        self.number: dict[Text, int] = {}
        self.writer: list[int] = [NOBODY]
        self.roots: set[int] = {0}
        self.reads: list[tuple[int, Text]] = []
        self.last: dict[int, int] = {}  # by read, the last token it saw
        self.before: dict[int, int] = {}  # by token, the one it was appended to
        self.after: dict[int, int] = {}
        self.shown: dict[int, int] = {}  # by token, the read that showed what it was appended to

    def collect(self, operations: Sequence[Operation], deadline: float | None) -> bool:
        """Give every token a number. False where the check does not apply."""
        for index, operation in enumerate(operations):
            if not index % OPERATIONS_PER_LOOK:
                must_not_be_over(deadline)
            outcome = operation.outcome
            if outcome == "fail":
                continue
            kind = operation.input[0]
            if kind == self.get:
                output = operation.output
                if outcome == "info" or output is UNKNOWN:
                    continue
                if type(output) not in ((list, tuple) if self.lists else (str,)):
                    return False
                self.reads.append((index, tuple(output) if self.lists else output))
            elif kind == "append" or kind == self.put:
                token = operation.input[2]
                if self.lists:
                    token = (token,)
                elif type(token) is not str:
                    return False
                if not token or self.number.setdefault(token, len(self.writer)) != len(self.writer):
                    return False
                if kind != "append":
                    self.roots.add(len(self.writer))
                self.writer.append(index)
            else:
                return False
        return True

    def unambiguous(self) -> bool:
        """Whether no token begins another, the string there was at first included."""
        if self.lists:
            return not any(value != value for token in self.number for value in token)
        ordered = sorted([*self.number, self.initial] if self.initial else self.number)
        return not any(other.startswith(one) for one, other in pairwise(ordered))

    def parse(self, deadline: float | None) -> None:
        """Take the reads apart. Raises Contradiction where they show what cannot be."""
        lengths = sorted({len(token) for token in self.number})
        known, last = self.initial, 0  # what the read before showed, and its last token
        for count, (index, seen) in enumerate(self.reads):
            if not count % 64:
                must_not_be_over(deadline)
            if seen[: len(known)] == known:
                at, token = len(known), last
            elif seen[: len(self.initial)] == self.initial:
                at, token = len(self.initial), 0
            else:
                at, token = 0, NOBODY
            while at < len(seen):
                after, end = self._next(seen, at, lengths)
                if after == NOBODY or (token == NOBODY and after not in self.roots):
                    raise self._from_nowhere(index)
                if after not in self.roots:
                    self._follow(index, token, after)
                elif at:
                    raise self._from_nowhere(index)
                at, token = end, after
            if token == NOBODY:
                raise self._from_nowhere(index)
            self.last[index] = token
            known, last = seen, token

    def _next(self, seen: Text, at: int, lengths: Sequence[int]) -> tuple[int, int]:
        for length in lengths:
            token = self.number.get(seen[at : at + length])
            if token is not None:
                return token, at + length
        return NOBODY, at

    def _follow(self, index: int, before: int, token: int) -> None:
        """Note that a read showed one token behind another."""
        other = NOBODY
        if self.before.setdefault(token, before) != before:
            other = token
        elif self.after.setdefault(before, token) != token:
            other = self.after[before]
        if other != NOBODY:
            writers = [self.writer[each] for each in (before, token, other)]
            raise Contradiction(
                "Two reads differ in what was appended to what, though everything was appended once.",
                [self.shown[other], index],
                [writer for writer in writers if writer != NOBODY],
            )
        self.shown.setdefault(token, index)

    def _from_nowhere(self, index: int) -> Contradiction:
        return Contradiction("A read saw what nobody had written.", [index])

    def closed(self, operations: Iterable[int], support: Iterable[int]) -> list[int]:
        """What else shows in which order the operations' tokens were written."""
        shown = set(operations)
        held = {*shown, *support}
        token_of = {writer: token for token, writer in enumerate(self.writer)}
        todo = list(held)
        while todo:
            index = todo.pop()
            needed: list[int] = []
            if index in self.last:
                token = self.last[index]
                while token:
                    needed.append(self.writer[token])
                    token = self.before.get(token, 0)
            elif (token := token_of.get(index, 0)) in self.shown:
                needed.append(self.shown[token])
            for other in needed:
                if other not in held:
                    held.add(other)
                    todo.append(other)
        return sorted(held - shown)


class _Appended(Register):
    """The register that is left, with witnesses in the words of what it was made from."""

    def __init__(
        self, operations: Sequence[Operation], tokens: _Tokens, deadline: float | None
    ) -> None:
        self.given = operations
        self.names = [repr(tokens.initial), *map(_name, tokens.number)]
        writes = {writer: token for token, writer in enumerate(tokens.writer)}
        plain = [self._plain(index, each, tokens, writes) for index, each in enumerate(operations)]
        super().__init__(plain, 0, 0, deadline)

    @staticmethod
    def _plain(
        index: int, operation: Operation, tokens: _Tokens, writes: dict[int, int]
    ) -> Operation:
        given: tuple[Any, ...] = ("read",)
        output: Any = tokens.last.get(index, UNKNOWN)
        if index in writes:
            token = writes[index]
            given, output = ("write", token), None
            if token in tokens.before:
                given, output = ("cas", tokens.before[token], token), True
        return Operation(
            operation.client_id,
            given,
            operation.call,
            output,
            operation.return_time,
            operation.outcome,
        )

    def _line(self, index: int) -> str:
        return line(self.given[index])

    def _out_of_order(self, later: int, earlier: int) -> Witness:
        name = self.given[earlier].input[0]
        return self._witness(
            f"By what the reads show, the operation that returned at {self.rets[later]} comes after the {name} that "
            f"was called at {self.calls[earlier]}, when it was already over.",
            [later, earlier],
        )

    def _crossing(self, left: int, right: int) -> Witness:
        names = [
            self.names[0 if self.roots[block] < 0 else self._token(block)]
            for block in (left, right)
        ]
        return self._witness(
            f"What began with {names[0]} was there both before and after what began with {names[1]}, and neither "
            "was written twice.",
            [
                self.zone_r_op[left],
                self.zone_i_op[left],
                self.zone_r_op[right],
                self.zone_i_op[right],
            ],
        )

    def _token(self, block: int) -> int:
        token: int = self.operations[self.roots[block]].input[1]
        return token


def _name(token: Text) -> str:
    return repr(token) if type(token) is str else repr(token[0])
