"""The figures of `aa_pairs` as Markdown, and their place in soakbed/stats/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.benchmarks.series_alarms import Alarms

if TYPE_CHECKING:
    from tests.benchmarks.aa_pairs import Outcome

__all__ = ["BEGIN", "END", "page", "renewed"]

BEGIN = "<!-- figures: written by `python -m tests.benchmarks.aa_pairs --readme`, do not edit -->"
END = "<!-- end of figures -->"


def page(outcomes: Sequence[Outcome], alarms: Sequence[Alarms]) -> str:
    """Both tables."""
    lines = [
        "| run and noise | A/A called different | same | cannot tell | pages with a false word "
        "| 10 % slower found | least difference | found at it | interval holds the truth |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        pairs = one.pairs
        lines.append(
            f"| {one.setting.says} | {one.different} of {pairs} | {one.words.get('same', 0)} "
            f"| {one.words.get('cannot_tell', 0)} | {one.pages} | {one.found / pairs:.1%} "
            f"| {one.least:.0%} | {one.found_least / pairs:.1%} | {one.held / pairs:.1%} |"
        )
    lines += [
        "",
        "| series of ten-minute values | correlation of neighbours "
        "| equal rates called different | rates 10 % lower found | drift: false alarms "
        "| drift of 10 % a day found | steady, and called so | warm-up's end found "
        "| shift of 10 % half way called steady |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in alarms:
        every = found.series
        lines.append(
            f"| {found.hours} h | {found.correlation} | {found.rates_different / every:.1%} "
            f"| {found.rates_found / every:.1%} | {found.drift_false / every:.1%} "
            f"| {found.drift_found / every:.1%} | {found.steady / every:.1%} "
            f"| {found.warm_up_found / every:.1%} | {found.shift_missed / every:.1%} |"
        )
    return "\n".join(lines)


def renewed(readme: str, figures: str) -> str:
    """`readme` with `figures` between its marks. Raises ValueError without the marks."""
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the README has lost the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
