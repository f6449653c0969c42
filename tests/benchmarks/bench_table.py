"""The figures of `engine_bench` as lines of text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from tests.benchmarks.compare import METRICS, CaseResult, Figures, Judged, ratios

__all__ = ["case_table", "one_line", "target_table"]


def one_line(figures: Figures) -> str:
    """What one contender just said, for those who wait."""
    return (
        f"{figures.contender:<24}{figures.ops_per_s:>9,.0f} /s{figures.per_cpu_s:>9,.0f} per CPU s"
        f"   P50 {figures.p50_us:,.0f} us   P99 {figures.p99_us:,.0f} us"
    )


def case_table(result: CaseResult) -> list[str]:
    """Medians of every contender, and the engine's ratio over each with its spread."""
    lines = [f"{result.name}: {result.conditions.get('says', '')}"]
    for metric, label in METRICS.items():
        digits = 1 if "in_flight" in metric else 0
        ours = statistics.median(result.values("engine", metric))
        lines.append(f"  {label:<37}{'engine':<24}{ours:>10,.{digits}f}")
        for ratio in ratios(result):
            if ratio.metric == metric:
                theirs = statistics.median(result.values(ratio.contender, metric))
                lines.append(
                    f"  {'':<37}{ratio.contender:<24}{theirs:>10,.{digits}f}   "
                    f"engine over it {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
                )
    return lines


def target_table(judged: Iterable[Judged]) -> list[str]:
    """What was to be reached."""
    lines = [f"{'to reach':<70}{'wanted':>13}{'ratio':>7}  {'spread':<15}"]
    for one in judged:
        found, spread = "", ""
        if one.ratio is not None:
            found = f"{one.ratio.median:.2f}"
            spread = f"{one.ratio.low:.2f} to {one.ratio.high:.2f}"
        lines.append(
            f"{one.target.says:<70}{one.target.wanted():>13}{found:>7}  {spread:<15} {one.verdict}"
        )
    return lines
