"""Facts of hosts as they were collected: nested plain data, found by the names of keys.

Readers must cope with runs older and newer than themselves, so nothing relies on where in a file
a fact lies; what a file does not say is absent, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Facts", "Leaf", "found", "leaves"]

Facts = Mapping[str, Any]
Leaf = tuple[tuple[str, ...], Any]


def leaves(facts: Facts, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every value with the keys that lead to it; a list is a value.

    >>> list(leaves({"d1": {"clock": {"clock_offset_us": 3}}}))
    [(('d1', 'clock', 'clock_offset_us'), 3)]
    """
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def found(facts: Facts, *keys: str) -> float | None:
    """The first number at the end of a path that ends in `keys`; None when nobody says.

    >>> found({"preflight": {"fsync_us": {"p99": 812.5}}}, "fsync_us", "p99")
    812.5
    """
    for path, value in leaves(facts):
        if path[-len(keys) :] == keys and isinstance(value, int | float):
            return float(value)
    return None
