"""Numbers and times as a reader sees them; the only place where the page rounds anything."""

from __future__ import annotations

import time

from soakbed.units import GIB, us_to_ms

__all__ = ["count", "duration", "gibibytes", "ms", "rate", "share", "when"]

NONE = "–"


def ms(value_us: float | None) -> str:
    """Microseconds as milliseconds with three digits that matter.

    >>> ms(395), ms(7871), ms(48383), ms(1_234_000), ms(None)
    ('0.395', '7.87', '48.4', '1,234', '–')
    """
    if value_us is None:
        return NONE
    value = us_to_ms(value_us)
    for below, digits in ((1, 3), (10, 2), (100, 1)):
        if round(value, digits) < below:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def rate(value_per_s: float | None) -> str:
    """Operations per second; whole above a hundred.

    >>> rate(23037.3), rate(12.34), rate(None)
    ('23,037', '12.3', '–')
    """
    if value_per_s is None:
        return NONE
    return f"{value_per_s:,.0f}" if value_per_s >= 100 else f"{value_per_s:,.1f}"


def count(value: int | None) -> str:
    """A whole number with separators.

    >>> count(345900)
    '345,900'
    """
    return NONE if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A share of one, as percent.

    >>> share(0.4486), share(0.5)
    ('44.9 %', '50 %')
    """
    return NONE if value is None else f"{round(100 * value, 1):g} %"


def gibibytes(value_bytes: float | None) -> str:
    """Bytes as GiB.

    >>> gibibytes(8 * 1024**3)
    '8.0'
    """
    return NONE if value_bytes is None else f"{value_bytes / GIB:.1f}"


def duration(seconds: float) -> str:
    """A length of time in the two units that matter.

    >>> duration(41.2), duration(420), duration(259_200)
    ('41.2 s', '7 min 0 s', '72 h 0 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def when(unix_s: float) -> str:
    """A moment, in UTC.

    >>> when(1_700_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
