"""Numbers and times as a reader sees them; the only place where the page rounds anything."""

from __future__ import annotations

import time

from soakbed.records.metrics import METRICS, metric
from soakbed.units import GIB, KIB, MIB, us_to_ms

__all__ = [
    "change",
    "count",
    "duration",
    "gibibytes",
    "interval_ms",
    "kibibytes",
    "mebibytes",
    "metric_value",
    "metric_words",
    "ms",
    "ratio",
    "rate",
    "share",
    "when",
]

NONE = "–"
_KNOWN = frozenset(one.key for one in METRICS)


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


def interval_ms(low_us: float, high_us: float) -> str:
    """An interval of microseconds in milliseconds.

    >>> interval_ms(7871, 8120)
    '7.87–8.12'
    """
    return f"{ms(low_us)}–{ms(high_us)}"


def ratio(value: float | None) -> str:
    """How many times as much, three digits that matter.

    >>> ratio(0.0874), ratio(1.1), ratio(11.04), ratio(None)
    ('×0.0874', '×1.10', '×11.0', '–')
    """
    if value is None:
        return NONE
    for below, digits in ((0.1, 4), (1, 3), (10, 2), (100, 1)):
        if round(value, digits) < below:
            return f"×{value:.{digits}f}"
    return f"×{value:,.0f}"


def change(value: float | None) -> str:
    """A ratio as a change in percent, with its sign.

    >>> change(1.1), change(0.925), change(1.0), change(14.2)
    ('+10.0 %', '−7.5 %', '±0 %', '+1,320 %')
    """
    if value is None:
        return NONE
    percent = 100 * (value - 1)
    if abs(percent) < 0.05:
        return "±0 %"
    digits = 0 if abs(percent) >= 100 else 1
    return f"{'+' if percent > 0 else '−'}{abs(percent):,.{digits}f} %"


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


def mebibytes(value_bytes: float | None) -> str:
    """Bytes as MiB.

    >>> mebibytes(150 * 1024**2), mebibytes(1_300_000)
    ('150', '1.2')
    """
    if value_bytes is None:
        return NONE
    value = value_bytes / MIB
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def kibibytes(value_bytes: float | None) -> str:
    """Bytes as KiB.

    >>> kibibytes(5632)
    '5.5'
    """
    return NONE if value_bytes is None else f"{value_bytes / KIB:,.1f}"


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


def metric_words(key: str, operation: str = "") -> str:
    """What a number is called on the page, with its operation.

    >>> metric_words("response_p99_us", "write"), metric_words("capacity_per_s")
    ('Write response time P99', 'Capacity')
    """
    label = metric(key).label if key in _KNOWN else key.replace("_", " ")
    if not operation or operation == "all":
        return label
    return f"{operation.capitalize()} {label[0].lower()}{label[1:]}"


def metric_value(key: str, value: float | None) -> str:
    """A number in the unit that the page shows it in.

    >>> metric_value("response_p99_us", 7871), metric_value("capacity_per_s", 23037.3)
    ('7.87 ms', '23,037/s')
    """
    if value is None:
        return NONE
    unit = metric(key).unit if key in _KNOWN else ""
    if unit == "µs":
        return f"{ms(value)} ms"
    if unit == "ops/s":
        return f"{rate(value)}/s"
    if "share" in unit:
        return share(value)
    return f"{value:,.4g}"
