"""A comparison in the terminal: what is asked, a table per pair, then what limits the words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from soakbed.records.comparison import Comparison, Difference
from soakbed.report import formats
from soakbed.report.words import DIFFERENCES

__all__ = ["comparison_text"]

_STYLES = {
    "better": "green",
    "worse": "bold red",
    "same": "cyan",
    "cannot_tell": "yellow",
    "not_comparable": "dim",
}
_COLUMNS = ("", "baseline", "contender", "change", "interval", "could see", "verdict")


def comparison_text(held: Comparison) -> RenderableType:
    """Everything that a reader needs before he believes a word of it."""
    parts: list[RenderableType] = [Text(held.question), Text()]
    for one in held.contenders:
        if one.verdict != "valid":
            why = "; ".join(one.reasons)
            parts.append(Text(f"{one.label} was judged {one.verdict}: {why}", style="bold red"))
    for baseline, contender in held.pairs:
        parts += _pair(baseline, contender, held.of_pair(contender, baseline))
    if held.caveats:
        parts += [Text("Caveats", style="bold"), *(Text(f"- {one}") for one in held.caveats)]
    if held.differences:
        told = f"Chance of any wrong “better” or “worse” in a pair: {formats.share(held.alpha)} "
        parts += [Text(), Text(f"{told}({held.correction}).", style="dim")]
    return Group(*parts)


def _pair(baseline: str, contender: str, held: Sequence[Difference]) -> list[RenderableType]:
    table = Table(title=f"{contender} against {baseline}", title_justify="left")
    for index, label in enumerate(_COLUMNS):
        table.add_column(label, justify="left" if index in (0, len(_COLUMNS) - 1) else "right")
    for one in held:
        table.add_row(*_row(one))
    reasons = dict.fromkeys(
        one.reason for one in held if one.word in ("not_comparable", "cannot_tell")
    )
    # The same reason stands for many figures; twenty intervals in words help nobody.
    told = [Text(f"  {reason}", style="dim") for reason in reasons if "interval of" not in reason]
    return [table, *told, Text()]


def _row(one: Difference) -> list[Text]:
    ratio = one.ratio
    spread = f"{formats.ratio(ratio.low)} to {formats.ratio(ratio.high)}" if ratio else "–"
    cells = [
        formats.metric_words(one.metric, one.operation),
        formats.metric_value(one.metric, one.baseline_value),
        formats.metric_value(one.metric, one.contender_value),
        formats.change(ratio.ratio if ratio else None),
        spread,
        formats.share(one.least_difference),
    ]
    return [*map(Text, cells), Text(DIFFERENCES[one.word], style=_STYLES[one.word])]
