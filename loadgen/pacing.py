"""When each request is due: the arrival plan that the open loop obeys and never rewrites.

The plan is a pure function of rate, arrivals, seed and rank, so every worker knows its own
part without talking to the others, and a second run asks at the same moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Literal

__all__ = ["due_offsets_ns", "share_of"]

NS_PER_S = 1_000_000_000

# Due times are made this many at a time. 256 cost about 40 us, less than one pass of a busy
# loop, so making them never shows as lag; the average cost per request is the same at any size.
CHUNK = 256


def share_of(total: int, *, rank: int, workers: int) -> int:
    """How many of `total` things worker `rank` gets; the shares of all ranks sum to `total`.

    >>> [share_of(50, rank=rank, workers=4) for rank in range(4)]
    [13, 13, 12, 12]
    """
    return total // workers + (rank < total % workers)


def due_offsets_ns(
    rate_per_s: float,
    arrivals: Literal["constant", "poisson"],
    *,
    seed: int,
    rank: int = 0,
    workers: int = 1,
) -> Iterator[int]:
    """Nanoseconds from the phase's start to each request of this worker, rising, without end.

    `rate_per_s` is that of the whole run. Constant arrivals of all workers interleave evenly;
    Poisson arrivals of `workers` independent streams add up to one of the whole rate.
    """
    if arrivals == "constant":
        chunks = _constant(rate_per_s, rank=rank, workers=workers)
    else:
        chunks = _poisson(rate_per_s / workers, Random(f"arrivals/{seed}/{rank}"))
    return chain.from_iterable(chunks)


def _constant(rate_per_s: float, *, rank: int, workers: int) -> Iterator[list[int]]:
    """Request i of worker r is due at (i * workers + r) / rate: no sum, so no drift in days."""
    gap_ns = NS_PER_S / rate_per_s
    first = rank
    while True:
        last = first + CHUNK * workers
        yield [int(i * gap_ns) for i in range(first, last, workers)]
        first = last


def _poisson(rate_per_s: float, random: Random) -> Iterator[list[int]]:
    """Exponential gaps. A float holds 72 h of nanoseconds (2.6e14) exactly (up to 9e15)."""
    per_ns = rate_per_s / NS_PER_S
    gap = random.expovariate
    at = 0.0
    while True:
        chunk = []
        for _ in range(CHUNK):
            at += gap(per_ns)
            chunk.append(int(at))
        yield chunk
