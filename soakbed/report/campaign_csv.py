"""A campaign as one flat table for other programs: a row per cell and target, in its own units."""

from __future__ import annotations

import csv
import io

from soakbed.records.campaign_report import CampaignReport, CellResult
from soakbed.records.summary import MeasuredTarget, UnmeasuredTarget

__all__ = ["campaign_csv"]

_RATES = ("capacity_per_s", "offered_per_s", "throughput_per_s")
_OF_OPERATION = ("count", "failed", "unknown", "response_p50_us", "response_p99_us")


def campaign_csv(report: CampaignReport) -> str:
    """Every cell in the order of pressing; what was not measured has its row, with the reason."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    factors = list(report.campaign.spec.factors)
    rows.writerow(
        [
            *("cell", "number", "repeat", "profile", *factors),
            *("target", "place", "run_id", "state", "verdict", "reason", "version"),
            *_RATES,
            "capacity_is_at_least",
            *(f"{name}_{key}" for name in ("read", "write") for key in _OF_OPERATION),
        ]
    )
    for one in report.cells:
        for place, target in enumerate(one.cell.targets, start=1):
            cell = one.cell
            rows.writerow(
                [
                    *(cell.key, cell.number, cell.repeat, cell.profile),
                    *(cell.levels[factor] for factor in factors),
                    *(target, place, one.state.run_id, one.state.settled),
                    *_figures(one, target),
                ]
            )
    return text.getvalue()


def _figures(one: CellResult, target: str) -> list[object]:
    held = one.held(target)
    if isinstance(held, MeasuredTarget):
        why = "" if held.verdict == "valid" else "; ".join(held.reasons)
        if held.broke_its_word and held.consistency is not None:
            why = "; ".join(one for one in (why, f"violation: {held.consistency.sentence}") if one)
        figures = [
            getattr(getattr(held, name), key) for name in ("read", "write") for key in _OF_OPERATION
        ]
        return [
            *(held.verdict, why, held.version),
            *(getattr(held, key) for key in _RATES),
            held.capacity_is_at_least,
            *("" if value is None else value for value in figures),
        ]
    if isinstance(held, UnmeasuredTarget):
        return ["not_measured", held.reason]
    return ["", one.state.attempts[-1].problem if one.state.attempts else ""]
