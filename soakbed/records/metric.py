"""What there is to say of one number that soakbed shows; `records.metrics` lists them all."""

from __future__ import annotations

from typing import Literal

from soakbed.records.frozen import Frozen

__all__ = ["Better", "Metric"]

Better = Literal["lower", "higher", "zero", "neither"]


class Metric(Frozen):
    """One number: what it is called, its unit, which direction is better, what it means.

    `smallest_sample`: values that it must rest on before it may be printed, ten of them above a
    percentile (as `stats.percentiles` has it).
    """

    key: str
    label: str
    unit: str
    better: Better
    meaning: str
    smallest_sample: int = 1

    @property
    def direction(self) -> str:
        """The direction in words, because colour alone says nothing to many readers."""
        return {
            "lower": "lower is better",
            "higher": "higher is better",
            "zero": "should be zero",
            "neither": "neither direction is better",
        }[self.better]

    def carried_by(self, count: int) -> bool:
        """Whether a sample of `count` values may print this number.

        >>> p99 = Metric(
        ...     key="p99", label="P99", unit="µs", better="lower", meaning="", smallest_sample=1000
        ... )
        >>> p99.carried_by(999), p99.carried_by(1000)
        (False, True)
        """
        return count >= self.smallest_sample
