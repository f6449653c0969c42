"""When each request is due: the arrival plan that the open loop obeys and never rewrites.

The plan is a pure function of rate, arrivals, seed and rank, so every worker knows its own
part without talking to the others, and a second run asks at the same moments. It is made in
blocks, each with random numbers of its own: an engine that died and was started again begins at
any second of the plan without those before it, and is due then what it would have been due.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain, count
from random import Random
from typing import Literal

__all__ = ["due_blocks", "due_offsets_ns", "share_of"]

NS_PER_S = 1_000_000_000

# Due times are made this many at a time. 256 cost about 40 us, less than one pass of a busy
# loop, so making them never shows as lag; the average cost per request is the same at any size.
CHUNK = 256

# Length of a block. Seeding costs 5 us, so a second is short enough to be made anew at any load and
# long enough not to matter; where less than one request a second is due, an hour has few enough.
BLOCK_S, SPARSE_BLOCK_S = 1, 3600


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
    from_s: int = 0,
) -> Iterator[int]:
    """Nanoseconds from the phase's start to each request of this worker from second `from_s` on.

    Rising, without end. `rate_per_s` is that of the whole run. Constant arrivals of all workers
    interleave evenly; Poisson arrivals of `workers` independent streams add up to one of the whole
    rate.
    """
    blocks = due_blocks(rate_per_s, arrivals, seed=seed, rank=rank, workers=workers, from_s=from_s)
    offsets = chain.from_iterable(chain.from_iterable(chunks for _, chunks in blocks))
    return (at for at in offsets if at >= from_s * NS_PER_S)


def due_blocks(
    rate_per_s: float,
    arrivals: Literal["constant", "poisson"],
    *,
    seed: int,
    rank: int = 0,
    workers: int = 1,
    from_s: int = 0,
) -> Iterator[tuple[int, Iterator[list[int]]]]:
    """The same offsets by block, from the block that holds `from_s` on: its first second, and its
    due times in chunks of at most `CHUNK`.
    """
    block_s = BLOCK_S if rate_per_s >= workers else SPARSE_BLOCK_S
    for begin_s in count(from_s // block_s * block_s, block_s):
        begin_ns, end_ns = begin_s * NS_PER_S, (begin_s + block_s) * NS_PER_S
        if arrivals == "constant":
            chunks = _constant(rate_per_s, begin_ns, rank=rank, workers=workers)
        else:
            random = Random(f"arrivals/{seed}/{rank}/{begin_s}")
            chunks = _poisson(rate_per_s / workers, begin_ns, random)
        yield begin_s, _before(end_ns, chunks)


def _before(end_ns: int, chunks: Iterator[list[int]]) -> Iterator[list[int]]:
    """What lies before `end_ns`; the rest is left to the next block."""
    for chunk in chunks:
        if chunk[-1] >= end_ns:
            if last := chunk[: bisect_left(chunk, end_ns)]:
                yield last
            return
        yield chunk


def _constant(rate_per_s: float, begin_ns: int, *, rank: int, workers: int) -> Iterator[list[int]]:
    """Request i of worker r is due at (i * workers + r) / rate: no sum, so no drift in days."""
    gap_ns = NS_PER_S / rate_per_s
    first = rank + max(0, int(begin_ns / gap_ns) // workers - 1) * workers
    while int(first * gap_ns) < begin_ns:
        first += workers
    while True:
        last = first + CHUNK * workers
        yield [int(i * gap_ns) for i in range(first, last, workers)]
        first = last


def _poisson(rate_per_s: float, begin_ns: int, random: Random) -> Iterator[list[int]]:
    """Exponential gaps from the block's begin on. That is Poisson over all blocks, too: it has no
    memory, so the wait from any moment on is as long as from the last arrival on.

    A float holds 72 h of nanoseconds (2.6e14) exactly (up to 9e15).
    """
    per_ns = rate_per_s / NS_PER_S
    gap = random.expovariate
    at = float(begin_ns)
    while True:
        chunk = []
        for _ in range(CHUNK):
            at += gap(per_ns)
            chunk.append(int(at))
        yield chunk
