"""Conversions between the units used in names (`_us`, `_s`, `_bytes`, `_per_s`), once."""

from __future__ import annotations

__all__ = ["GIB", "MIB", "US_PER_MS", "US_PER_S", "us_to_ms"]

MIB = 1024 * 1024
GIB = 1024 * MIB
US_PER_MS = 1_000
US_PER_S = 1_000_000


def us_to_ms(value_us: float) -> float:
    """Microseconds as milliseconds.

    >>> us_to_ms(1500)
    1.5
    """
    return value_us / US_PER_MS
