"""Conversions between the units used in names (`_us`, `_s`, `_bytes`, `_per_s`), once."""

from __future__ import annotations

__all__ = ["GIB", "KIB", "MIB", "US_PER_MS", "US_PER_S", "bytes_text", "us_to_ms"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
US_PER_MS = 1_000
US_PER_S = 1_000_000


def us_to_ms(value_us: float) -> float:
    """Microseconds as milliseconds.

    >>> us_to_ms(1500)
    1.5
    """
    return value_us / US_PER_MS


def bytes_text(count: int) -> str:
    """A number of bytes as people say it.

    >>> bytes_text(700), bytes_text(1536), bytes_text(256 * MIB)
    ('700 bytes', '1.5 KiB', '256.0 MiB')
    """
    if count < KIB:
        return f"{count} bytes"
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / KIB:.1f} KiB"
