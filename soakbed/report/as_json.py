"""The same page for programs: identities, summaries and the comparison as one JSON document."""

from __future__ import annotations

import json
from typing import Any

from soakbed.report.consistency import consistency_of
from soakbed.report.contenders import Contender, Reported
from soakbed.report.identity import identity

__all__ = ["as_json"]


def as_json(reported: Reported) -> str:
    """Records as they are, in their own names and units; what is not known is null."""
    held = reported.comparison
    claims = reported.claims
    told = {
        "schema": 1,
        "runs": [
            {
                "run_id": run.run_id,
                "identity": {fact.name: _fact(fact.value, fact.note) for fact in identity(run)},
                "summary": run.summary.model_dump(mode="json", by_alias=True),
            }
            for run in reported.runs
        ],
        "contenders": [_contender(entry) for entry in reported.contenders],
        "comparison": held.model_dump(mode="json", by_alias=True) if held else None,
        "claimed_not_measured": claims.model_dump(mode="json", by_alias=True) if claims else None,
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _fact(value: str, note: str) -> str:
    return f"{value} ({note})" if note else value


def _contender(entry: Contender) -> dict[str, Any]:
    one = entry.one
    return {
        "label": entry.label,
        "run_id": entry.run.run_id,
        "target": one.name,
        "verdict": one.verdict.model_dump(mode="json", by_alias=True),
        "numbers": one.numbers.model_dump(mode="json", by_alias=True),
        "consistency": consistency_of(entry).model_dump(mode="json", by_alias=True),
        "resources": one.used.model_dump(mode="json", by_alias=True),
    }
