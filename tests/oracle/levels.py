"""Levels of consistency by their definitions: every order tried, every pair looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, product

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN
from tests.oracle.registers import Operation, explained

__all__ = ["levels_of"]


def levels_of(operations: Sequence[Operation]) -> dict[str, bool]:
    """Which levels hold. Every operation has its process."""
    written = {(one.key, one.value) for one in operations if one.is_write and one.outcome != FAILED}
    reads = [one for one in operations if not one.is_write and one.outcome == OK]
    nowhere = any((one.key, one.value) not in written and one.value != INITIAL for one in reads)
    held = [
        one for one in operations if one.outcome == OK or (one.is_write and one.outcome == UNKNOWN)
    ]
    by_key = [[one for one in held if one.key == key] for key in {one.key for one in held}]
    found = {
        "linearizable": explained(operations),
        "sequential": _in_one_order(held),
        "sequential-by-key": all(_in_one_order(part) for part in by_key),
        "monotonic-reads": all(_versions_agree(part, _is_read, _is_read) for part in by_key),
        "monotonic-writes": not _turned(held),
        "read-your-writes": all(_versions_agree(part, _is_write, _is_read) for part in by_key),
    }
    return dict.fromkeys(found, False) if nowhere else found


def _comes_first(a: Operation, b: Operation) -> bool:
    """In the order of their process."""
    return a.process == b.process and a.outcome == OK and a.finish < b.start


def _in_one_order(left: list[Operation]) -> bool:
    """Put any next that no other of its process must precede; unknown ones also never."""
    tried: set[tuple[frozenset[int], tuple[tuple[int, int], ...]]] = set()

    def goes_on(done: frozenset[int], state: dict[int, int]) -> bool:
        rest = [at for at in range(len(left)) if at not in done]
        if all(left[at].outcome != OK for at in rest):
            return True
        here = (done, tuple(sorted(state.items())))
        if here in tried:
            return False
        tried.add(here)
        for at in rest:
            one = left[at]
            if any(_comes_first(left[other], one) for other in rest):
                continue
            if one.is_write:
                if goes_on(done | {at}, state | {one.key: one.value}):
                    return True
            elif state.get(one.key, INITIAL) == one.value and goes_on(done | {at}, state):
                return True
        return False

    return goes_on(frozenset(), {})


def _is_read(one: Operation) -> bool:
    return not one.is_write


def _is_write(one: Operation) -> bool:
    return one.is_write


def _pairs(part: list[Operation]) -> Iterator[tuple[Operation, Operation]]:
    return ((a, b) for a, b in product(part, part) if _comes_first(a, b))


def _versions_agree(
    part: list[Operation],
    first: Callable[[Operation], bool],
    then: Callable[[Operation], bool],
) -> bool:
    """Whether some order of the versions of a key has writes behind what their process knew, and
    no `then` of a version older than that of a `first` before it.
    """
    values = sorted({one.value for one in part} - {INITIAL})
    for order in permutations(values):
        age = {INITIAL: 0} | {value: at for at, value in enumerate(order, 1)}
        writes = all(age[a.value] < age[b.value] for a, b in _pairs(part) if b.is_write)
        if writes and all(
            age[a.value] <= age[b.value] for a, b in _pairs(part) if first(a) and then(b)
        ):
            return True
    return False


def _turned(held: list[Operation]) -> bool:
    """Whether one process read the later of two writes of another, and then the earlier."""
    return any(
        (w.key, w.value) == (then.key, then.value)
        and (v.key, v.value) == (first.key, first.value)
        and w.key == v.key
        for w, v in _pairs([one for one in held if one.is_write])
        for first, then in _pairs([one for one in held if not one.is_write])
    )
