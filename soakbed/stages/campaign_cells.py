"""From what a campaign asks to its cells, in the order in which they are pressed; pure.

The order is drawn with the campaign's seed and then mirrored: cells and targets stand A B, B A, so
that a machine that slowly drifts (heat, page cache, a neighbour) favours none of them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soakbed.records.campaign import CampaignSpec, Cell, Profile
from soakbed.records.spec import RunSpec, TargetName, TestbedSpec, WorkloadSpec
from soakbed.stats.designs import full_factorial, orthogonal, smallest_array

__all__ = ["cells_of", "design_name", "design_rows", "level_text", "workload_with"]

Rows = NDArray[np.int64]


class _Step(NamedTuple):
    """One cell before it has a spec: `number` counts combinations from 1."""

    number: int
    profile: Profile
    repeat: int
    targets: tuple[TargetName, ...]


def design_name(design: str, widths: Sequence[int]) -> str:
    """The design that is used for factors of so many levels: "full", or an array.

    "" where none was named and no array holds them.
    """
    return smallest_array(widths) if design == "orthogonal" else design


def design_rows(spec: CampaignSpec) -> Rows:
    """Indexes of levels, int64[combinations, factors]. Raises NoDesign where an array has no room.

    A design "orthogonal" must have found its array (see `design_name`).
    """
    widths = [len(levels) for levels in spec.factors.values()]
    name = design_name(spec.design, widths)
    return full_factorial(widths) if name == "full" else orthogonal(widths, name)


def cells_of(spec: CampaignSpec, testbed: TestbedSpec) -> tuple[Cell, ...]:
    """All cells in the order of pressing. Raises NoDesign, and ValidationError of a workload."""
    rows = design_rows(spec)
    combinations = [
        {key: levels[place] for (key, levels), place in zip(spec.factors.items(), row, strict=True)}
        for row in rows.tolist()
    ]
    workloads = [
        workload_with(spec.workload, chosen, f"{spec.name}-{number}")
        for number, chosen in enumerate(combinations, start=1)
    ]
    if spec.hour_price is not None:  # cells are runs, and a run knows its testbed's price alone
        testbed = testbed.model_copy(update={"hour_price": spec.hour_price})
    base = RunSpec(
        testbed=testbed,
        workload=workloads[0],
        targets=spec.targets,
        appendfsync=spec.appendfsync,
        allow_substitute=spec.allow_substitute,
        on_unavailable=spec.on_unavailable,
    )
    return tuple(
        _cell(spec, base, step, combinations[step.number - 1], workloads[step.number - 1])
        for step in _steps(spec, len(rows))
    )


def workload_with(common: Mapping[str, Any], chosen: Mapping[str, Any], name: str) -> WorkloadSpec:
    """The common part of a workload with these levels set. Raises ValidationError."""
    content: dict[str, Any] = copy.deepcopy(dict(common))
    content |= {"schema": 1, "name": name}
    for key, level in chosen.items():
        *path, last = key.split(".")
        held = content
        for part in path:
            inner = held.setdefault(part, {})
            held = inner if isinstance(inner, dict) else {}
        held[last] = level
    return WorkloadSpec.model_validate(content)


def level_text(level: object) -> str:
    """A level as it is shown.

    >>> level_text(0.75), level_text(1.0), level_text(64), level_text(True)
    ('0.75', '1', '64', 'yes')
    >>> level_text({"kind": "zipf", "theta": 0.8}), level_text({"kind": "uniform"})
    ('Zipf 0.8', 'uniform')
    >>> level_text({"kind": "hot_set", "hot_keys_share": 0.05, "hot_traffic_share": 0.95})
    '95 % on 5 % of keys'
    """
    match level:
        case bool():
            return "yes" if level else "no"
        case int() | float():
            return f"{level:g}" if isinstance(level, float) else str(level)
        case {"kind": "zipf", "theta": theta}:
            return f"Zipf {theta:g}"
        case {"kind": "uniform"}:
            return "uniform"
        case {"kind": "hot_set", "hot_keys_share": keys, "hot_traffic_share": traffic}:
            return f"{100 * traffic:g} % on {100 * keys:g} % of keys"
        case dict():
            return " ".join(f"{key}={level_text(value)}" for key, value in level.items())
    return str(level)


def _cell(
    spec: CampaignSpec,
    base: RunSpec,
    step: _Step,
    chosen: Mapping[str, Any],
    workload: WorkloadSpec,
) -> Cell:
    key = f"c{step.number}"
    key += f"-{step.profile}" if len(spec.profiles) > 1 else ""
    key += f"-r{step.repeat}" if spec.repeats > 1 else ""
    own = {"workload": workload, "targets": step.targets, "profile": step.profile}
    return Cell(
        key=key,
        number=step.number,
        profile=step.profile,
        repeat=step.repeat,
        levels={factor: level_text(level) for factor, level in chosen.items()},
        spec=base.model_copy(update=own),
    )


def _steps(spec: CampaignSpec, combinations: int) -> list[_Step]:
    """Repeats in pairs: the second of each pair runs the first one backwards.

    Hosts are prepared for one profile at a time, so a repeat is a stretch for each profile.
    """
    drawn = random.Random(spec.seed)
    steps: list[_Step] = []
    for first in range(1, spec.repeats + 1, 2):
        forward = _sweep(spec, combinations, first, drawn)
        steps += forward
        if first < spec.repeats:
            steps += [
                step._replace(repeat=first + 1, targets=step.targets[::-1])
                for step in reversed(forward)
            ]
    return steps


def _sweep(spec: CampaignSpec, combinations: int, repeat: int, drawn: random.Random) -> list[_Step]:
    """Every combination once under every profile."""
    steps = []
    for profile in drawn.sample(spec.profiles, len(spec.profiles)):
        numbers = drawn.sample(range(1, combinations + 1), combinations)
        orders = _target_orders(drawn.sample(spec.targets, len(spec.targets)), combinations)
        steps += [
            _Step(number, profile, repeat, order)
            for number, order in zip(numbers, orders, strict=True)
        ]
    return steps


def _target_orders(targets: Sequence[TargetName], count: int) -> list[tuple[TargetName, ...]]:
    """A B, B A, then from the next target on: each stands in each place equally often."""
    orders = []
    for place in range(count):
        turn = (place // 2) % len(targets)
        order = (*targets[turn:], *targets[:turn])
        orders.append(order[::-1] if place % 2 else order)
    return orders
