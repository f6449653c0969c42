"""`python -m tests.benchmarks.aa_pairs`: whether the statistics keep what their README promises.

Pairs of made-up runs of the same target (A/A), whose noise is autocorrelated and whose truth is
known (`latency_model`), are judged as two runs on a page are. Counted are: pairs called different
although they are not; pairs called different when one side is 10 % slower; whether the stated least
difference is found as often as it says; whether the interval holds the true P99 as often as it
says; pages of several figures with any false word; false alarms of drift and of steadiness.

`--readme` writes the tables into soakbed/stats/README.md. Exit code 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soakbed.records.comparison import Difference, Ratio
from soakbed.stats.blocks import block_s_for
from soakbed.stats.intervals import percentile_interval
from soakbed.stats.ratios import percentile_ratio
from soakbed.stats.resampling import REPLICATES
from soakbed.stats.verdicts import compare, corrected
from tests.benchmarks.aa_table import page, renewed
from tests.benchmarks.latency_model import LatencyModel
from tests.benchmarks.series_alarms import series_alarms

__all__ = ["SETTINGS", "Outcome", "Setting", "main", "try_setting"]

PAIRS = 200
README = Path(__file__).resolve().parents[2] / "soakbed" / "stats" / "README.md"
PERCENTILE = 99.0
_SHIFT = 1.10
_PAGE = (50.0, 90.0, 99.9)  # beside P99
_REPLICATES_OF_PAGE = 400  # an error from 400 is itself within 4 %


@dataclass(frozen=True)
class Setting:
    """A length of run and its noise. `enough`: this data must find a shift of 10 %.

    `promised` False: noise so slow and strong that no run of this length can see it; shown so
    that a reader knows where the promise ends.
    """

    says: str
    seconds: int
    model: LatencyModel
    enough: bool
    promised: bool = True


@dataclass(frozen=True)
class Outcome:
    """What was counted over the pairs of one setting."""

    setting: Setting
    pairs: int
    words: dict[str, int]  # of A/A pairs
    pages: int  # pages of four figures with any word "better" or "worse", after Holm
    found: int  # pairs called worse when the contender is 10 % slower
    least: float  # median of the least differences stated, as a share
    found_least: int  # pairs called worse when slower by their own least difference
    held: int  # intervals of one run's P99 that hold the true one

    @property
    def different(self) -> int:
        """A/A pairs called better or worse."""
        return self.words.get("better", 0) + self.words.get("worse", 0)

    def broken(self) -> list[str]:
        """Promises that this outcome does not keep."""
        told: list[str] = []
        if not self.setting.promised:
            return told
        if self.different > 0.01 * self.pairs:
            told.append(f"{self.different} of {self.pairs} A/A pairs judged different")
        if self.pages > 0.01 * self.pairs:
            told.append(f"{self.pages} of {self.pairs} A/A pages judged different somewhere")
        if self.setting.enough and self.found < 0.95 * self.pairs:
            told.append(f"a shift of 10 % found in {self.found} of {self.pairs}")
        if self.setting.enough and self.found_least < 0.95 * self.pairs:
            told.append(f"the least difference found in {self.found_least} of {self.pairs}")
        if self.setting.enough and self.held < 0.97 * self.pairs:
            told.append(f"the interval holds the truth in {self.held} of {self.pairs}")
        return [f"{self.setting.says}: {one}" for one in told]


def _setting(says: str, hours: float, noise: tuple[float, float], *, enough: bool) -> Setting:
    correlation_s, wander = noise
    model = LatencyModel(correlation_s=correlation_s, wander=wander, ops_per_s=500)
    return Setting(says=says, seconds=round(hours * 3600), model=model, enough=enough)


SETTINGS = (
    _setting("72 h, wandering 10 % over 1 min", 72, (60, 0.10), enough=True),
    _setting("72 h, wandering 8 % over 10 min", 72, (600, 0.08), enough=True),
    _setting("72 h, wandering 5 % over 30 min", 72, (1800, 0.05), enough=True),
    _setting("8 h, wandering 5 % over 1 min", 8, (60, 0.05), enough=True),
    _setting("1 h, wandering 10 % over 1 min", 1, (60, 0.10), enough=False),
    _setting("10 min, wandering 10 % over 1 min", 1 / 6, (60, 0.10), enough=False),
    _setting("60 s, wandering 10 % over 10 s", 1 / 60, (10, 0.10), enough=False),
    replace(
        _setting("1 h, wandering 20 % over 10 min (no promise)", 1, (600, 0.20), enough=False),
        promised=False,
    ),
)


def try_setting(setting: Setting, pairs: int = PAIRS) -> Outcome:
    """Make and judge the pairs; the seeds are their numbers, so every call says the same."""
    words: Counter[str] = Counter()
    least: list[float] = []
    pages = found = found_least = held = 0
    truth_us = setting.model.true_percentile_us(PERCENTILE)
    for pair in range(pairs):
        first, second = (_run(setting, seed=3 * pair + side) for side in (0, 1))
        slower = _run(setting, seed=3 * pair + 2, scale=_SHIFT)
        same = _judged(_ratio(setting, first, second))
        words[same.word] += 1
        pages += _any_false_word(setting, first, second, same)
        found += _judged(_ratio(setting, slower, second)).word == "worse"
        if same.ratio is not None and same.least_difference is not None:
            least.append(same.least_difference)
            found_least += _judged(_moved(same.ratio, 1 + same.least_difference)).word == "worse"
        interval = percentile_interval(first, PERCENTILE, block_s=block_s_for(setting.seconds))
        held += interval is not None and interval.low_us <= truth_us <= interval.high_us
    return Outcome(
        setting=setting,
        pairs=pairs,
        words=dict(words),
        pages=pages,
        found=found,
        least=float(np.median(least)) if least else float("nan"),
        found_least=found_least,
        held=held,
    )


def main(arguments: list[str] | None = None) -> int:
    """Try every setting and print the tables."""
    asked = _parser().parse_args(arguments)
    began = time.monotonic()
    with ProcessPoolExecutor(max_workers=asked.processes) as pool:
        alarms = pool.submit(series_alarms)
        outcomes = list(pool.map(try_setting, SETTINGS, [asked.pairs] * len(SETTINGS)))
        text = page(outcomes, alarms.result())
    print(text)
    print(f"\n{time.monotonic() - began:.0f} s")
    if asked.readme:
        README.write_text(renewed(README.read_text(), text))
    broken = [one for outcome in outcomes for one in outcome.broken()]
    for one in broken:
        print(f"not kept: {one}", file=sys.stderr)
    return 1 if broken else 0


def _run(setting: Setting, *, seed: int, scale: float = 1.0) -> NDArray[np.int64]:
    block_s = block_s_for(setting.seconds)
    return setting.model.blocks(setting.seconds, block_s, seed=seed, scale=scale)


def _ratio(
    setting: Setting,
    contender: NDArray[np.int64],
    baseline: NDArray[np.int64],
    percentile: float = PERCENTILE,
    replicates: int = REPLICATES,
) -> Ratio | None:
    block_s = block_s_for(setting.seconds)
    return percentile_ratio(contender, baseline, percentile, block_s=block_s, replicates=replicates)


def _any_false_word(
    setting: Setting, first: NDArray[np.int64], second: NDArray[np.int64], p99: Difference
) -> bool:
    """Whether a page of this A/A pair says better or worse of any figure, after Holm."""
    others = [
        _judged(_ratio(setting, first, second, percentile, _REPLICATES_OF_PAGE))
        for percentile in _PAGE
    ]
    return any(one.word in ("better", "worse") for one in corrected([p99, *others]))


def _judged(ratio: Ratio | None) -> Difference:
    return compare(ratio, better="lower")


def _moved(ratio: Ratio, factor: float) -> Ratio:
    """The same data with one side so many times slower; exact but for the width of buckets."""
    changed = {name: getattr(ratio, name) * factor for name in ("ratio", "low", "high")}
    return ratio.model_copy(update=changed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.aa_pairs")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs for each setting")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--readme", action="store_true", help="write into soakbed/stats/README.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
