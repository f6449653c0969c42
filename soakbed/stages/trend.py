"""Many runs of one target -> where a figure moved, from run to run and version to version.

The newest run says what belongs together: an older one that is not comparable with it is shown and
not counted, and so is one whose measurement was not valid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soakbed.errors import ArchiveError, Mistake, SpecError
from soakbed.records.comparison import ChangePoint, Trend, TrendPoint
from soakbed.records.guarantees import LABELS
from soakbed.records.metrics import metric
from soakbed.records.spec import TargetName
from soakbed.stages.comparability import NOT_RECORDED, differences, found_between
from soakbed.stages.comparability_readings import Readings, readings
from soakbed.stages.comparability_rules import rule_of
from soakbed.stages.compare_figures import FIGURES, Figure, value_of
from soakbed.stages.contenders import Pressed, pressed_targets
from soakbed.stats.changes import LEAST_VALUES, METHOD, change_points

__all__ = ["DEFAULT_METRICS", "Order", "trends_of"]

DEFAULT_METRICS = ("capacity_per_s", "response_p99_us")
Order = Literal["time", "version"]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run with what is known of it against the newest."""

    one: Pressed
    readings: Readings


def trends_of(
    results: Path, target: TargetName, *, metrics: Sequence[str] = (), order: Order = "time"
) -> tuple[Trend, ...]:
    """The figures `metrics` (keys; none: capacity and P99) of `target` over every run in `results`.

    `order` "version" sorts by version first, then by time. A metric of read and write gives two
    trends. Runs that were not judged, and targets not measured, are left out. Raises SpecError for
    a metric that is not compared, ArchiveError when no run has the target.
    """
    figures = _figures(metrics or DEFAULT_METRICS)
    runs = _runs(results, target, order)
    if not runs:
        raise ArchiveError(
            f"no judged run of {target} in {results}",
            remedy=f"make one with `soakbed bench --targets {target}`, or name another folder "
            "with --results",
        )
    return tuple(_trend(figure, runs, target) for figure in figures)


def _figures(metrics: Sequence[str]) -> list[Figure]:
    known = list(dict.fromkeys(figure.metric for figure in FIGURES))
    unknown = [
        Mistake(
            "command line", "--metric", name, "no such figure", f"use some of: {', '.join(known)}"
        )
        for name in metrics
        if name not in known
    ]
    if unknown:
        raise SpecError(unknown)
    return [
        figure for name in dict.fromkeys(metrics) for figure in FIGURES if figure.metric == name
    ]


def _runs(results: Path, target: TargetName, order: Order) -> list[_Run]:
    folders = [
        path.parent
        for path in sorted(results.glob("*/spec.json"))
        if not path.parent.is_symlink()  # latest and current
    ]
    found = [
        one
        for folder in folders
        for one in pressed_targets(folder, only=[target], may_be_unjudged=True)
    ]
    found.sort(key=lambda one: (_version_key(one, order), one.started_s, one.run_id))
    return [_Run(one, readings(one)) for one in found]


def _version_key(one: Pressed, order: Order) -> tuple[tuple[int, str], ...]:
    """Numbers in a version as numbers, so that 3.5.9 comes before 3.5.10; nothing by time."""
    if order == "time":
        return ()
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.findall(r"\d+|[a-z]+", one.ready.version.lower())
    )


def _trend(figure: Figure, runs: Sequence[_Run], target: TargetName) -> Trend:
    newest = max(runs, key=lambda run: run.one.started_s)
    points = tuple(_point(figure, run, newest) for run in runs)
    values = [
        float("nan") if point.value is None or point.left_out else point.value for point in points
    ]
    labels = [f"{point.version} ({point.run_id})" for point in points]
    found = change_points(values, labels=labels)
    return Trend(
        target=target,
        metric=figure.metric,
        phase=figure.phase,
        operation=figure.operation,
        points=points,
        change_points=found,
        sentence=_sentence(figure, runs, points, found),
        method=METHOD,
    )


def _point(figure: Figure, run: _Run, newest: _Run) -> TrendPoint:
    one = run.one
    value = value_of(one, figure)
    limited = figure.phase == "capacity" and one.verdict.generator_limited
    told = ["the capacity is the generator's: at least this"] if limited else []
    left_out = ""
    if one.verdict.verdict != "valid":
        left_out = f"judged {one.verdict.verdict}: {'; '.join(one.verdict.reasons)}"
    elif one.kept is not None and one.kept.verdict == "violation":
        left_out = f"did not keep its word: {one.kept.sentence}"
    else:
        labels = (newest.one.run_id, one.run_id)
        unlike = found_between(newest.readings, run.readings, "runs", labels)
        touching = [it for it in unlike if it.touches == "all" or figure.phase == "steady"]
        left_out = " ".join(it.sentence for it in touching if it.consequence == "not_comparable")
        told += [
            it.sentence
            for it in touching
            if it.consequence == "caveat" and NOT_RECORDED not in it.sentence
        ]
    return TrendPoint(
        run_id=one.run_id,
        started_s=one.started_s,
        version=one.ready.version,
        value=value,
        verdict=one.verdict.verdict,
        left_out=left_out,
        caveat=" ".join(told),
    )


def _sentence(
    figure: Figure,
    runs: Sequence[_Run],
    points: Sequence[TrendPoint],
    found: Sequence[ChangePoint],
) -> str:
    counted = [place for place, it in enumerate(points) if it.value is not None and not it.left_out]
    what = f"{LABELS[runs[0].one.target]}, {_words(figure)}"
    told = f"{what}: {len(counted)} of {len(points)} runs counted"
    if len(counted) < LEAST_VALUES:
        return f"{told}; at least {LEAST_VALUES} are needed to tell a change from noise."
    if not found:
        return f"{told}; no change of level was found."
    changes = [_change(figure, runs, counted, one) for one in found]
    return f"{told}. {' '.join(changes)}"


def _words(figure: Figure) -> str:
    return f"{figure.operation} {metric(figure.metric).label}".strip()


def _change(figure: Figure, runs: Sequence[_Run], counted: Sequence[int], one: ChangePoint) -> str:
    """One change in words, with what is known to differ between the runs on its two sides."""
    before = [place for place in counted if place < one.at]
    better = (one.change > 0) == (figure.better == "higher")
    told = f"{one.change:+.1%} ({'better' if better else 'worse'}) from {one.label} on"
    last, first = runs[before[-1]], runs[one.at]
    sides = {last.one.run_id: last.readings, first.one.run_id: first.readings}
    rows = differences(sides, [(last.one.run_id, first.one.run_id, "runs")])
    unlike = [
        f"{rule_of(row.key).label} {' -> '.join(row.values.values())}"
        for row in rows
        if row.consequence in ("caveat", "not_comparable") or row.key == "version"
        if row.consequence != "same"
        and rule_of(row.key).within == 1.0
        and NOT_RECORDED not in row.values.values()
    ]
    if not unlike:
        return f"{told}; nothing recorded changed there."
    return f"{told}; there changed: {'; '.join(unlike)}."
