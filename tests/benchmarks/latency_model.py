"""Latencies of a made-up target whose noise is like that of a real one, and whose truth is known.

The logarithm of the whole distribution's scale wanders as an AR(1) process over seconds
(correlation time `correlation_s`); now and then a burst, as a compaction makes it, holds for some
seconds in which a share of the operations takes several times as long. Operations arrive as a
Poisson process, so the counts of a block are independent Poisson draws given its seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from loadgen.contract.histogram import BUCKETS, bucket_low_us

__all__ = ["LatencyModel"]

_LEVELS = 41  # of the wandering scale; within four standard deviations
_REACH = 4.0
_MANY = 100.0
_EDGES_US = np.array([bucket_low_us(index) for index in range(BUCKETS + 1)], dtype=float)


@dataclass(frozen=True)
class LatencyModel:
    """How a made-up target's latencies are spread, and how they wander."""

    correlation_s: float  # after so many seconds the wandering has forgotten 63 % of itself
    wander: float  # standard deviation of ln(scale) over time
    ops_per_s: float
    median_us: float = 800.0
    spread: float = 0.45  # standard deviation of ln(latency) within one second
    burst_every_s: float = 600.0  # mean time between starts, exponential
    burst_s: float = 30.0
    burst_share: float = 0.05
    burst_factor: float = 4.0

    def blocks(
        self, seconds: int, block_s: int, *, seed: int, scale: float = 1.0
    ) -> NDArray[np.int64]:
        """Counts [blocks, BUCKETS] of one run; every latency times `scale`."""
        random = np.random.default_rng(seed)
        keep = np.exp(-1 / self.correlation_s)
        pushes = random.standard_normal(seconds) * np.sqrt(1 - keep * keep)
        pushes[0] = random.standard_normal()
        wandering = lfilter([1.0], [1.0, -keep], pushes)
        step = 2 * _REACH / (_LEVELS - 1)
        level = np.clip(np.rint((wandering + _REACH) / step), 0, _LEVELS - 1).astype(int)
        kind = level + _LEVELS * self._bursting(seconds, random)
        blocks = seconds // block_s
        block = np.arange(blocks * block_s) // block_s
        held = np.bincount(
            block * 2 * _LEVELS + kind[: blocks * block_s], minlength=blocks * 2 * _LEVELS
        ).reshape(blocks, 2 * _LEVELS)
        expected = held @ self._templates(scale) * self.ops_per_s
        counts = np.zeros((blocks, BUCKETS), dtype=np.int64)
        used = np.flatnonzero(expected.sum(axis=0) > 1e-4)
        counts[:, used] = _counted(expected[:, used], random)
        return counts

    def true_percentile_us(self, percentile: float, scale: float = 1.0) -> float:
        """What an endless run would show."""
        kinds = np.concatenate([self._weights * (1 - self.bursting), self._weights * self.bursting])
        cumulated = np.cumsum(kinds @ self._templates(scale))
        return float(np.interp(percentile / 100 * cumulated[-1], cumulated, _EDGES_US[1:]))

    @cached_property
    def bursting(self) -> float:
        """Share of all seconds that lie in a burst; bursts may overlap."""
        return 1 - float(np.exp(-self.burst_s / self.burst_every_s))

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """Probability of each level."""
        step = 2 * _REACH / (_LEVELS - 1)
        edges = np.linspace(-_REACH - step / 2, _REACH + step / 2, _LEVELS + 1)
        edges[0], edges[-1] = -np.inf, np.inf
        return np.diff(ndtr(edges))

    def _bursting(self, seconds: int, random: np.random.Generator) -> NDArray[np.int64]:
        """1 for each second in a burst, 0 elsewhere; also those that began before the run."""
        length = int(self.burst_s)
        starts = random.random(seconds + length - 1) < 1 - np.exp(-1 / self.burst_every_s)
        begun = np.concatenate([[0], np.cumsum(starts)])
        return (begun[length:] - begun[:-length] > 0).astype(np.int64)

    @lru_cache(maxsize=4)  # noqa: B019 - models are few and live as long as the benchmark
    def _templates(self, scale: float) -> NDArray[np.float64]:
        """Probability of each bucket, by level, quiet ones first and then those of a burst."""
        levels = np.linspace(-_REACH, _REACH, _LEVELS) * self.wander
        medians = np.log(self.median_us * scale) + levels
        quiet = _lognormal(medians, self.spread)
        slow = _lognormal(medians + np.log(self.burst_factor), self.spread)
        return np.concatenate([quiet, quiet * (1 - self.burst_share) + slow * self.burst_share])


def _counted(expected: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """Poisson draws; those of a hundred and more as rounded normal ones, four times as fast."""
    many = expected > _MANY
    drawn = np.empty(expected.shape, dtype=np.int64)
    drawn[~many] = random.poisson(expected[~many])
    means = expected[many]
    noise = random.standard_normal(len(means), dtype=np.float32)
    drawn[many] = np.rint(means + np.sqrt(means) * noise)
    return drawn


def _lognormal(medians: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """Probability of each bucket, for each of `medians` (natural logarithms)."""
    edges = np.log(np.maximum(_EDGES_US, 1e-9))
    return np.diff(ndtr((edges[None, :] - medians[:, None]) / spread), axis=1)
