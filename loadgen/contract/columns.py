"""Numbers of many windows one behind the other: what a sealed hour is made of.

A column that is always the same, or goes on by the same step, is two numbers in the header; any
other is an array in the narrowest type that holds it. Standard library only.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BYTES", "TYPES", "decoded", "encoded", "is_number", "stored_bytes"]

Value = int | float | bool | None

# Narrowest first: type -> (least, most). Signed ones are only needed by what is below 0.
TYPES: Mapping[str, tuple[int, int]] = {
    "B": (0, (1 << 8) - 1),
    "H": (0, (1 << 16) - 1),
    "I": (0, (1 << 32) - 1),
    "q": (-(1 << 63), (1 << 63) - 1),
}
BYTES = {"B": 1, "H": 2, "I": 4, "q": 8, "d": 8}


def is_number(value: object) -> bool:
    """Whether a column can hold it: a whole number of 64 bits, a finite double, or None."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        low, high = TYPES["q"]
        return low <= value <= high
    return value is None


def encoded(values: Sequence[Value]) -> tuple[dict[str, Any], bytes]:
    """How the column is written, for the header, and its bytes, little-endian; often none.

    Whole numbers and doubles are not to be mixed, but for None among doubles. Raises ValueError
    when they are.
    """
    told: dict[str, Any] = {"count": len(values)}
    if not values or all(type(one) is type(values[0]) and one == values[0] for one in values):
        return told | {"same": values[0] if values else 0}, b""
    if all(one is None or isinstance(one, float) for one in values):
        held = array("d", [math.nan if one is None else one for one in values])
        return told | {"type": "d"}, _little(held)
    whole = [one for one in values if isinstance(one, int)]
    if len(whole) != len(values):
        raise ValueError("whole numbers and others in one column")
    truths = any(isinstance(one, bool) for one in values)
    if truths and not all(isinstance(one, bool) for one in values):
        raise ValueError("whole numbers and truths in one column")
    step = whole[1] - whole[0]
    if not truths and all(whole[0] + step * at == one for at, one in enumerate(whole)):
        return told | {"first": int(whole[0]), "step": step}, b""
    least, most = min(whole), max(whole)
    kind = next(name for name, (low, high) in TYPES.items() if low <= least and most <= high)
    if truths:
        told["truth"] = True
    return told | {"type": kind}, _little(array(kind, whole))


def stored_bytes(told: Mapping[str, Any]) -> int:
    """Bytes that a column takes beside the header."""
    return BYTES[told["type"]] * int(told["count"]) if "type" in told else 0


def decoded(told: Mapping[str, Any], content: bytes) -> list[Any]:
    """The values that `encoded` was given. `content` is the column's own bytes."""
    count = told["count"]
    if "same" in told:
        return [told["same"]] * count
    if "step" in told:
        return [told["first"] + told["step"] * at for at in range(count)]
    held = array(told["type"], content)
    if sys.byteorder == "big":
        held.byteswap()
    if told["type"] == "d":
        return [None if math.isnan(one) else one for one in held]
    return [bool(one) for one in held] if told.get("truth") else held.tolist()


def _little(held: array[Any]) -> bytes:
    if sys.byteorder == "big":
        held.byteswap()
    return held.tobytes()
