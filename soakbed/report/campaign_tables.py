"""Tables of a campaign: what each factor does, and every cell with its verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.records.campaign_report import CampaignReport, CellResult, Effect, LevelFigure
from soakbed.records.comparison import Difference
from soakbed.records.metrics import metric
from soakbed.records.summary import MeasuredTarget
from soakbed.report import formats
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import TARGET_WORDS

__all__ = ["cells_table", "effects_table", "factors_table"]

_FIGURES = (
    ("capacity_per_s", ""),
    ("response_p50_us", "read"),
    ("response_p99_us", "read"),
    ("response_p50_us", "write"),
    ("response_p99_us", "write"),
)
_WORDLESS = "cannot_tell"  # a word that every row would have is no word


def factors_table(report: CampaignReport) -> Table:
    """The matrix: each factor with its levels."""
    held: dict[str, dict[str, int]] = {}
    for one in report.cells:
        for factor in report.factors:
            levels = held.setdefault(factor, {})
            levels[one.level(factor)] = levels.get(one.level(factor), 0) + 1
    rows = [
        Row(
            Head(factor),
            (
                Cell(", ".join(_in_order(report, factor, levels)), word="prose"),
                Cell(str(next(iter(levels.values())))),
            ),
        )
        for factor, levels in held.items()
    ]
    return Table(
        name="factors",
        caption="Everything else was the same in every cell.",
        corner="Factor",
        columns=(Column("levels"), Column("cells of each level")),
        sections=(Section(tuple(rows)),),
    )


def _in_order(report: CampaignReport, factor: str, levels: dict[str, int]) -> list[str]:
    """Levels as the spec has them; the order of pressing is drawn."""
    first = {one.cell.number: one.level(factor) for one in report.cells}
    found = dict.fromkeys(first[number] for number in sorted(first))
    effects = [one for one in report.effects if one.factor == factor]
    told = [level.level for level in effects[0].levels] if effects else []
    return [
        level for level in (*told, *(one for one in found if one not in told)) if level in levels
    ]


def effects_table(report: CampaignReport) -> Table | None:
    """A section per target and factor, a row per level, each figure with its ratio to the first."""
    sections = []
    for target in report.campaign.spec.targets:
        for factor in report.factors:
            held = [one for one in report.effects if one.target == target and one.factor == factor]
            if held:
                sections.append(_section(f"{TARGET_WORDS[target].label}: {factor}", held))
    if not sections:
        return None
    return Table(
        name="effects",
        caption="Under each value its ratio to the factor's first level, with the 99 % interval "
        "over repeats where there are three or more; a word stands where that interval allows one "
        "(all words of this table corrected together). Values rest on repeats of which every cell "
        "is valid. Where there is none they rest on what there is and are not balanced: other "
        "factors speak in them too, so no ratio is shown. Capacity: closed loop, the geometric "
        "mean of the cells; ≥ where the load generator limited some of them. Response times: open "
        "loop, the percentile of the merged histograms of the cells, each with equal weight; "
        "percentiles are never averaged.",
        corner="Level",
        columns=tuple(_columns()),
        sections=tuple(sections),
    )


def _columns() -> list[Column]:
    made = []
    for key, operation in _FIGURES:
        one = metric(key)
        made.append(
            Column(
                formats.metric_words(key, operation),
                unit=f"{'ms' if one.unit == 'µs' else 'ops/s'}, {one.direction}",
                meaning=one.meaning,
            )
        )
    return made


def _section(title: str, effects: Sequence[Effect]) -> Section:
    rows = []
    for place, level in enumerate(effects[0].levels):
        cells = []
        for key, operation in _FIGURES:
            effect = next(
                (one for one in effects if (one.metric, one.operation) == (key, operation)), None
            )
            cells.append(_effect_cell(effect, place) if effect else Cell("–", word="empty"))
        counts = [one.levels[place].cells for one in effects]
        low, high = min(counts), max(counts)
        rests = str(high) if low == high else f"{low} to {high}"
        head = Head(level.level, sub=f"rests on {rests} of {level.of} cells")
        rows.append(Row(head, tuple(cells)))
    return Section(tuple(rows), title=title)


def _effect_cell(effect: Effect, place: int) -> Cell:
    level = effect.levels[place]
    key = f"{effect.target}.{effect.factor}.{level.level}.{effect.operation}.{effect.metric}"
    if level.value is None:
        return Cell("–", key=key, word="empty")
    against = effect.against_first[place - 1] if place else None
    return Cell(
        _figure_text(effect.metric, level),
        raw=f"{level.value:.6g}",
        key=key,
        note=_note(effect, level, against),
        badge=against.word if against and against.word != _WORDLESS else "",
    )


def _figure_text(key: str, level: LevelFigure) -> str:
    if metric(key).unit == "µs":
        return formats.ms(level.value)
    return f"{'≥ ' if level.at_least else ''}{formats.rate(level.value)}"


def _note(effect: Effect, level: LevelFigure, against: Difference | None) -> str:
    if not level.balanced:
        return "not balanced"
    if against is None:
        return "first"
    if against.ratio:
        held = against.ratio
        return f"{formats.ratio(held.ratio)} ({formats.ratio(held.low)}–{formats.ratio(held.high)})"
    first = effect.levels[0].value
    return formats.ratio(level.value / first) if first and level.value else ""


def cells_table(report: CampaignReport, *, runs: str) -> Table:
    """Every cell in the order of pressing; `runs` leads from the page to the run folders."""
    columns = [Column(factor) for factor in report.factors]
    for target in report.campaign.spec.targets:
        label = TARGET_WORDS[target].label
        columns += [
            Column("verdict", group=label),
            Column("capacity", group=label, unit="ops/s, closed loop"),
            Column("read P99", group=label, unit="ms, open loop"),
            Column("write P99", group=label, unit="ms, open loop"),
        ]
    # A heading above the factors too, or the groups would not stand over their columns.
    columns[: len(report.factors)] = [
        Column(one.label, group="levels") for one in columns[: len(report.factors)]
    ]
    rows = tuple(_cell_row(report, one, place, runs) for place, one in enumerate(report.cells, 1))
    return Table(
        name="cells",
        caption="In the order of pressing. Each cell leads to its own page, with everything that "
        "was measured. Response times are of the steady phase; “–” where the sample does not carry "
        "the percentile. Figures of cells that are not valid are shown and count in no effect.",
        corner="Cell",
        columns=tuple(columns),
        sections=(Section(rows),),
    )


def _cell_row(report: CampaignReport, one: CellResult, place: int, runs: str) -> Row:
    cells = [Cell(one.level(factor), word="prose") for factor in report.factors]
    for target in report.campaign.spec.targets:
        cells += _of_target(one, target)
    done = one.state.settled == "done"
    tries = len(one.state.attempts)
    told = f"{place}." + (f" {one.state.run_id}" if one.state.run_id else "")
    return Row(
        Head(
            one.cell.key,
            sub=told + (f", {tries} attempts" if tries > 1 else ""),
            href=f"{runs}/{one.state.run_id}/report/index.html" if done else "",
        ),
        tuple(cells),
    )


def _of_target(one: CellResult, target: str) -> list[Cell]:
    held = one.held(target)
    if held is None:
        word = "failed" if one.state.settled == "failed" else "left"
        return [Cell("", badge=word, word="verdict"), *[Cell("–", word="empty")] * 3]
    if not isinstance(held, MeasuredTarget):
        return [Cell("", badge="not_measured", word="verdict"), *[Cell("–", word="empty")] * 3]
    stem = f"{one.cell.key}.{target}"
    least = "≥ " if held.capacity_is_at_least else ""
    return [
        Cell("", badge="violation" if held.broke_its_word else held.verdict, word="verdict"),
        Cell(
            f"{least}{formats.rate(held.capacity_per_s)}",
            raw=f"{held.capacity_per_s:.6g}",
            key=f"{stem}.capacity_per_s",
        ),
        *(
            Cell(
                formats.ms(operation.response_p99_us),
                raw=str(operation.response_p99_us or ""),
                key=f"{stem}.{name}.response_p99_us",
            )
            for name, operation in (("read", held.read), ("write", held.write))
        ),
    ]
