"""What the comparison says, in tables: differences in words, repeats, steadiness, the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from soakbed.records.comparison import Comparison, Difference, ManifestDifference
from soakbed.report import formats
from soakbed.report.contenders import Reported
from soakbed.report.plots import subject
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import CONSEQUENCES, DIFFERENCES

__all__ = ["differences", "in_short", "manifest", "repeats", "settled", "settled_words"]


_COLUMNS = (
    Column("verdict", meaning="Said of the contender, the figure's direction applied."),
    Column("baseline"),
    Column("contender"),
    Column("change", meaning="Contender over baseline, less one."),
    Column("interval", meaning="Of the ratio, contender over baseline."),
    Column(
        "could have seen",
        meaning="The smallest true change that data like this calls better or worse in 95 of 100 "
        "cases.",
    ),
    Column("why"),
)


def in_short(comparison: Comparison | None) -> tuple[str, ...]:
    """A sentence per pair: how many figures are better, worse and so on; what was asked first."""
    if comparison is None:
        return ()
    told = [comparison.question] if comparison.question else []
    for baseline, contender in comparison.pairs:
        held = comparison.of_pair(contender, baseline)
        counted: Counter[str] = Counter(one.word for one in held)
        words = ", ".join(
            f"{counted[word]} {DIFFERENCES[word]}" for word in DIFFERENCES if counted[word]
        )
        promised = [comparison.contender(label).guarantees for label in (baseline, contender)]
        unlike = (
            " What they guarantee is unlike, so this is no ranking."
            if promised[0] != promised[1]
            else ""
        )
        told.append(f"{contender} against {baseline}: {words} (of {len(held)} figures).{unlike}")
    return tuple(told)


def differences(reported: Reported) -> Table | None:
    """Every figure of every pair with its word, ratio, interval and what could have been seen."""
    held = reported.comparison
    if held is None or not held.differences:
        return None
    sections = [
        Section(
            _rows(held.of_pair(contender, baseline), index),
            title=f"{contender} against {baseline}",
        )
        for index, (baseline, contender) in enumerate(held.pairs)
    ]
    margin = max(one.margin for one in held.differences)
    return Table(
        name="differences",
        caption=f"“Same within noise”: within {formats.share(margin)} of alike, or not to be told "
        f"from it while a greater difference would have been seen. “Cannot tell”: this data is "
        f"too thin or too noisy. Chance of any wrong “better” or “worse” in a pair: "
        f"{formats.share(held.alpha)} ({held.correction}).",
        corner="Figure",
        columns=_COLUMNS,
        sections=tuple(sections),
    )


def _rows(pair: Sequence[Difference], index: int) -> tuple[Row, ...]:
    """Each figure; a reason that several have is said in full once."""
    said: set[str] = set()
    rows = []
    for one in pair:
        reason = "as above" if one.reason in said else one.reason
        said.add(one.reason)
        rows.append(_row(one, index, reason))
    return tuple(rows)


def _row(one: Difference, index: int, reason: str) -> Row:
    ratio = one.ratio
    spread = f"{formats.ratio(ratio.low)} to {formats.ratio(ratio.high)}" if ratio else "–"
    unit = {"run": "over runs", "time": "within the runs"}[ratio.unit] if ratio else ""
    at = f"{formats.share(ratio.confidence)}, {unit}" if ratio else ""
    was = f" Before the correction: {DIFFERENCES[one.word_was]}." if one.word_was else ""
    key = f"pair{index}.{one.phase}.{one.operation}.{one.metric}"
    cells = (
        Cell("", raw=one.word, key=f"{key}.word", badge=one.word, word="verdict"),
        Cell(formats.metric_value(one.metric, one.baseline_value)),
        Cell(formats.metric_value(one.metric, one.contender_value)),
        Cell(
            formats.change(ratio.ratio if ratio else None),
            raw=str(ratio.ratio) if ratio else "",
            key=f"{key}.ratio",
            note=formats.ratio(ratio.ratio) if ratio else "",
        ),
        Cell(spread, note=at),
        Cell(formats.share(one.least_difference)),
        Cell(f"{reason}{was}", word="prose"),
    )
    head = Head(subject(one), f"{one.phase} phase" if one.phase else "")
    return Row(head, cells, kind=one.word)


def repeats(reported: Reported) -> Table | None:
    """Figures of contenders that were measured several times: the run is the unit."""
    held = reported.comparison
    if held is None or not held.repeats:
        return None
    rows = []
    for one in held.repeats:
        spread = (
            f"{formats.metric_value(one.metric, one.low)} to "
            f"{formats.metric_value(one.metric, one.high)}"
            if one.low is not None
            else "–"
        )
        entry = reported.compared(one.contender)
        head = Head(
            one.contender,
            formats.metric_words(one.metric, one.operation),
            entry.key if entry else "",
        )
        cells = (
            Cell(str(one.runs)),
            Cell(formats.metric_value(one.metric, one.value)),
            Cell(spread, note=formats.share(one.confidence) if one.low is not None else ""),
            Cell(formats.share(one.variation)),
            Cell(one.sentence, word="prose"),
        )
        rows.append(Row(head, cells))
    return Table(
        name="repeats",
        caption="The run is the unit, never the second: an interval over runs says how the next "
        "run may differ. It needs three runs.",
        corner="Repeated figure",
        columns=tuple(
            Column(label) for label in ("runs", "mean", "interval", "variation", "in words")
        ),
        sections=(Section(tuple(rows)),),
    )


def settled(reported: Reported) -> Table | None:
    """Whether phases were steady, from when, and whether they drifted."""
    held = reported.comparison
    if held is None or not (held.steadiness or held.drifts):
        return None
    rows = [
        Row(
            Head(one.contender, formats.metric_words(one.metric, one.operation)),
            (
                Cell(
                    "steady" if one.steady else "no steady state",
                    note="" if one.steady_from_s is None else f"from {one.steady_from_s:,.0f} s",
                ),
                Cell(formats.share(one.variation)),
                Cell(one.sentence, word="prose", note=one.method),
            ),
        )
        for one in held.steadiness
    ]
    rows += [
        Row(
            Head(one.contender, formats.metric_words(one.metric, one.operation)),
            (
                Cell("no drift" if one.word == "none" else one.word.replace("_", " ")),
                Cell(_per_day(one.share_per_day)),
                Cell(one.sentence, word="prose", note=one.method),
            ),
        )
        for one in held.drifts
    ]
    return Table(
        name="settled",
        caption="Found in the data, not assumed: change points for the warm-up, a slope for drift.",
        corner="Series",
        columns=(Column("found"), Column("variation, or per day"), Column("in words")),
        sections=(Section(tuple(rows)),),
    )


def settled_words(comparison: Comparison | None) -> str:
    """How many series were steady and how many drifted, in a sentence."""
    if comparison is None:
        return ""
    steady = sum(one.steady for one in comparison.steadiness)
    told = f"{steady} of {len(comparison.steadiness)} series reached a steady state"
    if comparison.drifts:
        moved = sum(one.word in ("rising", "falling") for one in comparison.drifts)
        told += f"; {moved} of {len(comparison.drifts)} drifted"
    return told


def _per_day(share: float | None) -> str:
    return formats.NONE if share is None else f"{formats.change(1 + share)} a day"


def manifest(reported: Reported) -> tuple[Table | None, Table | None]:
    """What is not alike between contenders and what follows; and what was asked and is alike."""
    held = reported.comparison
    if held is None or not held.manifest:
        return None, None
    labels = [one.label for one in held.contenders]
    unlike = [one for one in held.manifest if one.consequence != "same"]
    alike = [one for one in held.manifest if one.consequence == "same"]
    caption = "What was recorded of the runs and their hosts, and what follows for the comparison."
    return (
        _manifest_table("unlike", caption, unlike, labels) if unlike else None,
        _manifest_table("alike", "Asked, and the same.", alike, labels) if alike else None,
    )


def _manifest_table(
    name: str, caption: str, held: Iterable[ManifestDifference], labels: list[str]
) -> Table:
    order = list(CONSEQUENCES)
    rows = []
    for one in sorted(held, key=lambda one: order.index(one.consequence)):
        values = tuple(Cell(one.values.get(label, "–"), word="prose") for label in labels)
        told = Cell(one.sentence, badge=one.consequence, word="prose")
        rows.append(Row(Head(one.key.replace("_", " ")), (*values, told), kind=one.consequence))
    return Table(
        name=name,
        caption=caption,
        corner="What",
        columns=(*(Column(label) for label in labels), Column("what follows")),
        sections=(Section(tuple(rows)),),
    )
