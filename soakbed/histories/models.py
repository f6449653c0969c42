"""What a store promises, as small state machines: one operation at a time, in some order.

A model says which state an operation leads to, or that it cannot have happened in a state. States
are values that can be hashed. Actions that a model does not know are refused when a history is
read, not silently passed over. An unknown operation has no result; `step` then says what it does if
it takes effect.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from soakbed.histories.operation import Operation

__all__ = [
    "IMPOSSIBLE",
    "MODELS",
    "AppendList",
    "Bank",
    "CasRegister",
    "Counter",
    "GrowingSet",
    "KeyValue",
    "Model",
    "Register",
]

State = Hashable


class _Impossible:
    """The operation cannot have had this result in this state."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IMPOSSIBLE"


IMPOSSIBLE = _Impossible()


class Model(Protocol):
    """A specification. `by_key`: keys are independent, so each is checked apart (locality)."""

    name: ClassVar[str]
    actions: ClassVar[frozenset[str]]
    changes: ClassVar[frozenset[str]]  # actions that may change the state
    by_key: ClassVar[bool]

    def initial(self) -> State:
        """Before the first operation."""
        ...

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """The state after `one`, or IMPOSSIBLE."""
        ...

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Whether `read`, the next to return, may still have its result if `state` holds now.

        `between`: changes that can come before it, in any order. True where it is not known: it
        saves the search from ways that lead nowhere, and must not close any that does.
        """
        ...


class Register:
    """`write` v; `read` -> v, None before the first write.

    >>> Register().step(3, Operation(0, "read", "x", None, 3, 0, 1))
    3
    >>> Register().step(3, Operation(0, "read", "x", None, 4, 0, 1))
    IMPOSSIBLE
    """

    name: ClassVar[str] = "register"
    actions: ClassVar[frozenset[str]] = frozenset({"read", "write"})
    changes: ClassVar[frozenset[str]] = frozenset({"write"})
    by_key: ClassVar[bool] = True

    def initial(self) -> State:
        """Nothing was written."""
        return None

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A read returns what was written last."""
        if one.action == "write":
            written: State = one.argument
            return written
        return state if one.result == state else IMPOSSIBLE

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Somebody has to write what it read."""
        return state == read.result or any(
            read.result == (one.argument[1] if one.action == "cas" else one.argument)
            for one in between
        )


class CasRegister(Register):
    """A register with `cas` (old, new) -> True, or False where it held something else.

    >>> CasRegister().step(1, Operation(0, "cas", "x", (1, 2), True, 0, 1))
    2
    >>> CasRegister().step(1, Operation(0, "cas", "x", (1, 2), False, 0, 1))
    IMPOSSIBLE
    """

    name: ClassVar[str] = "cas-register"
    actions: ClassVar[frozenset[str]] = frozenset({"read", "write", "cas"})
    changes: ClassVar[frozenset[str]] = frozenset({"write", "cas"})

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A swap that found another value changed nothing."""
        if one.action != "cas":
            return super().step(state, one)
        old, new = one.argument
        if one.result is False:
            return state if state != old else IMPOSSIBLE
        return new if state == old else IMPOSSIBLE


class KeyValue:
    """Strings: `put` v; `append` v; `get` -> the whole string, "" before the first.

    >>> KeyValue().step("ab", Operation(0, "append", "x", "c", None, 0, 1))
    'abc'
    """

    name: ClassVar[str] = "kv"
    actions: ClassVar[frozenset[str]] = frozenset({"get", "put", "append"})
    changes: ClassVar[frozenset[str]] = frozenset({"put", "append"})
    by_key: ClassVar[bool] = True

    def initial(self) -> State:
        """An empty string."""
        return ""

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A get returns what puts and appends left."""
        if one.action == "put":
            put: State = one.argument
            return put
        if one.action == "append":
            return f"{state}{one.argument}"
        return state if one.result == state else IMPOSSIBLE

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """A string that is no beginning of what it read must be put anew before."""
        return str(read.result).startswith(str(state)) or any(
            one.action == "put" and str(read.result).startswith(one.argument) for one in between
        )


class AppendList:
    """`append` x; `read` -> all that was appended, in order.

    >>> AppendList().step((1,), Operation(0, "append", "x", 2, None, 0, 1))
    (1, 2)
    """

    name: ClassVar[str] = "append-list"
    actions: ClassVar[frozenset[str]] = frozenset({"append", "read"})
    changes: ClassVar[frozenset[str]] = frozenset({"append"})
    by_key: ClassVar[bool] = True

    def initial(self) -> State:
        """An empty list."""
        return ()

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A read returns every element, in the order of the appends."""
        held: tuple[Any, ...] = state  # type: ignore[assignment]
        if one.action == "append":
            return (*held, one.argument)
        return held if tuple(one.result or ()) == held else IMPOSSIBLE

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Nothing is taken out of a list."""
        held: tuple[Any, ...] = state  # type: ignore[assignment]
        return tuple(read.result or ())[: len(held)] == held


class GrowingSet:
    """`add` x; `read` -> all elements, in any order.

    >>> sorted(GrowingSet().step(frozenset({1}), Operation(0, "add", "x", 2, None, 0, 1)))
    [1, 2]
    """

    name: ClassVar[str] = "set"
    actions: ClassVar[frozenset[str]] = frozenset({"add", "read"})
    changes: ClassVar[frozenset[str]] = frozenset({"add"})
    by_key: ClassVar[bool] = True

    def initial(self) -> State:
        """An empty set."""
        return frozenset()

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A read returns every element once."""
        held: frozenset[Any] = state  # type: ignore[assignment]
        if one.action == "add":
            return held | {one.argument}
        read = one.result or ()
        return held if len(read) == len(held) and held.issuperset(read) else IMPOSSIBLE

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Nothing is taken out of a set."""
        held: frozenset[Any] = state  # type: ignore[assignment]
        return held.issubset(read.result or ())


class Counter:
    """`add` n, which may be below 0; `read` -> the sum.

    >>> Counter().step(5, Operation(0, "add", "x", -2, None, 0, 1))
    3
    """

    name: ClassVar[str] = "counter"
    actions: ClassVar[frozenset[str]] = frozenset({"add", "read"})
    changes: ClassVar[frozenset[str]] = frozenset({"add"})
    by_key: ClassVar[bool] = True

    def initial(self) -> State:
        """Zero."""
        return 0

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """A read returns the sum of all that was added."""
        held: int = state  # type: ignore[assignment]
        if one.action == "add":
            return held + int(one.argument)
        return held if one.result == held else IMPOSSIBLE

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Any sum may still come about."""
        return True


class Bank:
    """Accounts with `balance` each at first: `transfer` (from, to, amount); `read` -> all balances.

    A transfer that would overdraw an account does not happen, and says so with result False. The
    accounts are one object: nothing can be checked apart.

    >>> bank = Bank({"a": 5, "b": 0})
    >>> bank.step(bank.initial(), Operation(0, "transfer", None, ("a", "b", 3), True, 0, 1))
    (('a', 2), ('b', 3))
    """

    name: ClassVar[str] = "bank"
    actions: ClassVar[frozenset[str]] = frozenset({"transfer", "read"})
    changes: ClassVar[frozenset[str]] = frozenset({"transfer"})
    by_key: ClassVar[bool] = False

    def __init__(self, balances: Mapping[Any, int] | None = None) -> None:
        self._balances = tuple(sorted((balances or {}).items()))

    def initial(self) -> State:
        """The balances before the first transfer."""
        return self._balances

    def step(self, state: State, one: Operation) -> State | _Impossible:
        """Money moves, and is neither made nor lost."""
        held: dict[Any, int] = dict(state)  # type: ignore[call-overload]
        if one.action == "read":
            return state if dict(one.result or {}) == held else IMPOSSIBLE
        source, target, amount = one.argument
        covered = held.get(source, 0) >= amount
        if one.result is False:
            return IMPOSSIBLE if covered else state
        if not covered:
            # If nobody knows whether it took effect: not in this state.
            return IMPOSSIBLE
        held[source] -= amount
        held[target] = held.get(target, 0) + amount
        return tuple(sorted(held.items()))

    def may_lead(self, state: State, read: Operation, between: Iterable[Operation]) -> bool:
        """Any balances may still come about."""
        return True


MODELS: Mapping[str, type[Model]] = {
    model.name: model
    for model in (Register, CasRegister, KeyValue, AppendList, GrowingSet, Counter, Bank)
}
