"""Latencies as counts in log-linear buckets; the only form in which latency travels.

Layout (design.md D6): below 128 us every microsecond has its own bucket; above, 128 equal
buckets per octave, so no bucket is wider than 1/128 = 0.8 % of its value. 60 s is the last.
Merging is adding counts, which is exact because the layout never varies.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "BUCKETS",
    "MAX_US",
    "Histogram",
    "bucket_high_us",
    "bucket_low_us",
    "bucket_of",
    "sparse",
]

SUB_BITS = 7
SUB = 1 << SUB_BITS
MAX_US = 60_000_000


def bucket_of(value_us: int) -> int:
    """Index of the bucket that holds `value_us`; below 0 counts as 0, above 60 s as 60 s.

    >>> bucket_of(0), bucket_of(127), bucket_of(128), bucket_of(256), bucket_of(257)
    (0, 127, 128, 256, 256)
    """
    if value_us < SUB:
        return max(value_us, 0)
    value_us = min(value_us, MAX_US)
    shift = value_us.bit_length() - SUB_BITS - 1
    return (shift << SUB_BITS) + (value_us >> shift)


BUCKETS = bucket_of(MAX_US) + 1


def bucket_low_us(index: int) -> int:
    """Smallest value in bucket `index`, in us."""
    if index < 2 * SUB:
        return index
    shift = (index >> SUB_BITS) - 1
    return (SUB + (index & (SUB - 1))) << shift


def bucket_high_us(index: int) -> int:
    """Largest value in bucket `index`, in us: what a percentile reports, so it never flatters."""
    return bucket_low_us(index + 1) - 1


def sparse(counts: Sequence[int]) -> dict[str, object]:
    """Numbers of the buckets that are not empty, and their counts."""
    pairs = [(i, n) for i, n in enumerate(counts) if n]
    return {"buckets": [i for i, _ in pairs], "counts": [n for _, n in pairs]}


class Histogram:
    """Counts per bucket, with total, sum and exact extremes in us.

    `max_us` is kept exact even above 60 s; `clamped` counts the values above.
    """

    __slots__ = ("clamped", "counts", "max_us", "sum_us", "total")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * BUCKETS
        self.total = 0
        self.sum_us = 0
        self.max_us = 0
        self.clamped = 0

    def record(self, value_us: int, count: int = 1) -> None:
        """Add `count` observations of `value_us`."""
        self.counts[bucket_of(value_us)] += count
        self.total += count
        self.sum_us += value_us * count
        self.max_us = max(self.max_us, value_us)
        if value_us > MAX_US:
            self.clamped += count

    def add(self, other: Histogram) -> None:
        """Merge `other` into this one; exact."""
        for index, count in enumerate(other.counts):
            if count:
                self.counts[index] += count
        self.total += other.total
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        self.clamped += other.clamped

    def percentile_us(self, percentile: float) -> int:
        """Value that at least `percentile` (0-100) of the observations do not exceed, in us.

        The upper edge of its bucket, but never above the exact maximum; 0 when empty.
        """
        if not self.total:
            return 0
        needed = max(1, -(-self.total * percentile // 100))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= needed:
                return min(bucket_high_us(index), self.max_us)
        return self.max_us

    def to_json(self) -> dict[str, object]:
        """Sparse form: two parallel lists, and the exact scalars."""
        return sparse(self.counts) | self.scalars()

    def scalars(self) -> dict[str, object]:
        """What is exact, without the counts."""
        return {"sum_us": self.sum_us, "max_us": self.max_us, "clamped": self.clamped}

    def dense(self, typecode: str = "I") -> array[int]:
        """Counts of all buckets up to the last that is not empty; unsigned 32-bit by default."""
        return array(typecode, self.counts[: bucket_of(self.max_us) + 1 if self.total else 0])

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Histogram:
        """Read the sparse form. Raises ValueError when it cannot have come from `to_json`."""
        made = cls()
        buckets, counts = data["buckets"], data["counts"]
        if not isinstance(buckets, list) or not isinstance(counts, list):
            raise ValueError("buckets and counts must be lists")
        if len(buckets) != len(counts):
            raise ValueError(f"{len(buckets)} buckets but {len(counts)} counts")
        for index, count in zip(buckets, counts, strict=True):
            if not 0 <= index < BUCKETS or count < 0:
                raise ValueError(f"bucket {index} with count {count} is outside the layout")
            made.counts[index] += count
            made.total += count
        made.sum_us = int(str(data["sum_us"]))
        made.max_us = int(str(data["max_us"]))
        made.clamped = int(str(data["clamped"]))
        return made

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """The sum of `parts`."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole
