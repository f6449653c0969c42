"""Whether each contender was steady, and whether it drifted: said of the phase, before its figures.

Levels are medians per block, which scatter little; of the tail only the slope is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from soakbed.records.comparison import Drift, Steadiness
from soakbed.stages.blocks import PhaseBlocks
from soakbed.stages.compare_figures import Blocks
from soakbed.stages.compare_groups import Group
from soakbed.stats.drift import drift
from soakbed.stats.percentiles import smallest_sample_for
from soakbed.stats.steadiness import steadiness

__all__ = ["drifts_of", "steadiness_of"]

_OPERATIONS = ("read", "write")
Series = NDArray[np.float64]


def steadiness_of(group: Group, blocks: Blocks) -> list[Steadiness]:
    """Closed-loop rate, and the median response of each operation in the steady phase."""
    made = []
    for member in group.members:
        capacity = blocks.of(member, "capacity")
        rate = np.where(capacity.ok_per_s > 0, capacity.ok_per_s, np.nan)
        asked = [("capacity_per_s", "capacity", "", capacity, rate)]
        steady = blocks.of(member, "steady")
        asked += [
            ("response_p50_us", "steady", operation, steady, series)
            for operation, series in _medians(steady, 50.0)
        ]
        for metric, phase, operation, held, series in asked:
            found = steadiness(series, block_s=held.block_s)
            names = {"metric": metric, "phase": phase, "operation": operation}
            made.append(
                found.model_copy(
                    update={
                        **names,
                        "contender": group.label,
                        "sentence": _of_run(group, member.run_id, found.sentence),
                    }
                )
            )
    return made


def drifts_of(group: Group, blocks: Blocks) -> list[Drift]:
    """The slope of median and P99 of each operation's response over the steady phase."""
    made = []
    for member in group.members:
        steady = blocks.of(member, "steady")
        for metric, percentile in (("response_p50_us", 50.0), ("response_p99_us", 99.0)):
            for operation, series in _medians(steady, percentile):
                found = drift(series, block_s=steady.block_s)
                names = {"metric": metric, "phase": "steady", "operation": operation}
                made.append(
                    found.model_copy(
                        update={
                            **names,
                            "contender": group.label,
                            "sentence": _of_run(group, member.run_id, found.sentence),
                        }
                    )
                )
    return made


def _medians(held: PhaseBlocks, percentile: float) -> Iterator[tuple[str, Series]]:
    """A percentile of the response per block, by operation; nan where a block does not carry it."""
    least = smallest_sample_for(percentile)
    for operation in _OPERATIONS:
        counts = held.counts.get((operation, "response"))
        if counts is not None:
            yield operation, counts.percentiles_us(percentile, least=least)


def _of_run(group: Group, run_id: str, sentence: str) -> str:
    """Of repeats each run is told of by its name."""
    return f"{run_id}: {sentence}" if len(group.members) > 1 else sentence
