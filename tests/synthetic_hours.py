"""Sealed hours of a made-up campaign: what `loadgen.sealing` would make of the same windows' spool.

The histograms of all templates are coded once; an hour is their codes one behind the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.hour_columns import coded
from loadgen.contract.sealed import COUNTS, RARE, SCALARS, assembled, histogram_names
from loadgen.contract.window import HISTOGRAMS, Window

__all__ = ["CodedBank", "sealed_hour"]

OPERATIONS = ("read", "write")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of histogram of all templates, by their numbers."""

    coding: dict[str, list[int]]  # columns
    codes: list[bytes]
    rare: list[tuple[list[int], list[int]]]
    entries: NDArray[np.int64]
    first: NDArray[np.int64]  # of those with entries
    scalars: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, name: str, told: Sequence[Mapping[str, Any]]) -> _Kind:
        counts = [one["counts"] for one in told]
        gaps = [
            [0, *(after - before for before, after in pairwise(one["buckets"]))]
            for one in told
            if one["buckets"]
        ]
        codes, coding = coded(name, list(chain(*gaps)), list(chain(*counts)))
        rare_gaps, rare_counts = coding.pop(f"{name}.rare_gap"), coding.pop(f"{name}.rare_count")
        edges = np.append(0, np.cumsum([len(one) for one in counts])).tolist()
        own = [codes[first:last] for first, last in pairwise(edges)]
        rare, at = [], 0
        for one in own:
            many = one.count(RARE)
            rare.append((rare_gaps[at : at + many], rare_counts[at : at + many]))
            at += many
        return cls(
            coding,
            own,
            rare,
            np.diff(edges),
            np.array([one["buckets"][0] if one["buckets"] else -1 for one in told]),
            {one: np.array([held[one] for held in told]) for one in SCALARS},
        )


class CodedBank:
    """All templates of a target, numbered; every one has both operations."""

    def __init__(self, templates: Sequence[Window]) -> None:
        plain = [one.to_json() for one in templates]
        self.counts = {
            f"{name}.{count}": np.array([one["operations"][name][count] for one in plain])
            for name in OPERATIONS
            for count in COUNTS
        }
        for name in OPERATIONS:
            held = [one["operations"][name]["causes"] for one in plain]
            for cause in dict.fromkeys(cause for one in held for cause in one):
                column = [one.get(cause, 0) for one in held]
                self.counts[f"{name}.cause.{cause}"] = np.array(column)
        told: dict[str, list[Mapping[str, Any]]] = {"late": [one["late"] for one in plain]}
        for name in OPERATIONS:
            for kind in HISTOGRAMS:
                told[f"{name}.{kind}"] = [one["operations"][name][kind] for one in plain]
        self.kinds = {name: _Kind.of(name, held) for name, held in told.items()}


def sealed_hour(
    bank: CodedBank,
    numbers: NDArray[np.int64],
    phases: Sequence[tuple[str, str]],
    columns: Mapping[str, Sequence[Any]],
) -> bytes:
    """A file of the windows made of templates `numbers`; `columns`: what is not of a template."""
    made = dict(columns) | {"shape": [0] * len(numbers)}
    made |= {name: held[numbers].tolist() for name, held in bank.counts.items()}
    codes: dict[str, bytes] = {}
    drawn = numbers.tolist()
    names = histogram_names([OPERATIONS])
    for name in names:
        kind = bank.kinds[name]
        made |= kind.coding
        codes[name] = b"".join([kind.codes[number] for number in drawn])
        first = kind.first[numbers]
        made[f"{name}.entries"] = kind.entries[numbers].tolist()
        made[f"{name}.first"] = first[first >= 0].tolist()
        made |= {f"{name}.{one}": kind.scalars[one][numbers].tolist() for one in SCALARS}
        rare = [kind.rare[number] for number in drawn if kind.rare[number][0]]
        made[f"{name}.rare_gap"] = [gap for gaps, _ in rare for gap in gaps]
        made[f"{name}.rare_count"] = [count for _, counts in rare for count in counts]
    head = {
        "windows": len(drawn),
        "spool": {"frames": len(drawn), "fingerprint": zlib.crc32(codes["late"]), "bytes": 0},
        "records": [],
        "phases": list(phases),
        "shapes": [OPERATIONS],
    }
    return assembled(head, made, codes)
