"""A campaign's file -> a checked CampaignSpec and its testbed, or every mistake in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from soakbed.errors import Mistake, SpecError
from soakbed.records.campaign import CampaignSpec
from soakbed.records.spec import TestbedSpec, WorkloadSpec
from soakbed.stages.campaign_cells import cells_of, design_name, level_text, workload_with
from soakbed.stages.specs import mistake_of, parsed, read_spec
from soakbed.stats.designs import OFFERED, NoDesign, held_by, orthogonal, smallest_array

__all__ = ["load_campaign_spec"]


def load_campaign_spec(file: Path, testbed_file: Path) -> tuple[CampaignSpec, TestbedSpec]:
    """Read and check everything that a campaign is made from.

    Every level of every factor is tried in the common workload, and every cell is built once.
    Raises SpecError with the mistakes of both files.
    """
    mistakes: list[Mistake] = []
    testbed = read_spec(testbed_file, TestbedSpec, mistakes)
    spec = read_spec(file, CampaignSpec, mistakes)
    content = parsed(file)
    if isinstance(content, Mapping):
        # Also where other keys are wrong, so that one edit mends all of them.
        mistakes += _wrong_matrix(file, content)
    if spec is not None and testbed is not None and not mistakes:
        mistakes += _wrong_cells(file, spec, testbed)
    if mistakes or testbed is None or spec is None:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return spec, testbed


def _wrong_matrix(file: Path, content: Mapping[str, Any]) -> Iterator[Mistake]:
    """What is wrong with workload, levels and design, as far as they have their shape."""
    common, factors = content.get("workload"), content.get("factors")
    if not isinstance(common, dict) or not isinstance(factors, dict):
        return
    matrix = {
        str(key): levels for key, levels in factors.items() if isinstance(levels, list) and levels
    }
    yield from _wrong_levels(file, common, matrix)
    design = content.get("design", "full")
    if matrix and isinstance(design, str) and design in ("orthogonal", *OFFERED):
        yield from _wrong_design(file, design, [len(levels) for levels in matrix.values()])


def _wrong_levels(
    file: Path, common: Mapping[str, Any], factors: Mapping[str, list[Any]]
) -> Iterator[Mistake]:
    """What is wrong with the common workload, and with each level set in it."""
    first = {key: levels[0] for key, levels in factors.items()}
    for key, levels in factors.items():
        for place, level in enumerate(levels):
            try:
                workload_with(common, {**first, key: level}, "campaign")
            except ValidationError as error:
                for detail in error.errors():
                    found = mistake_of(file, WorkloadSpec, detail)
                    yield replace(found, key=_where(factors, found.key, {key: place}))


def _where(factors: Iterable[str], key: str, tried: Mapping[str, int]) -> str:
    """The place in the campaign's file that a workload's key comes from."""
    for factor in factors:
        if key == factor or key.startswith(f"{factor}."):
            inner = key.removeprefix(factor)
            return f"factors.{factor}.{tried.get(factor, 0)}{inner}"
    return "workload" if key == "(whole file)" else f"workload.{key}"


def _wrong_design(file: Path, design: str, widths: list[int]) -> Iterator[Mistake]:
    """An array that does not hold the factors, with one that does."""
    smallest = smallest_array(widths)
    told = f"write {smallest}" if smallest else "use design: full, or levels that an array holds"
    name = design_name(design, widths)
    if not name:
        every = "; ".join(f"{array}: {held_by(array)}" for array in OFFERED)
        problem = f"no array holds factors of {', '.join(map(str, widths))} levels ({every})"
        yield Mistake(str(file), "design", design, problem, told)
        return
    try:
        orthogonal(widths, name)
    except NoDesign as error:
        yield Mistake(str(file), "design", design, str(error), told)


def _wrong_cells(file: Path, spec: CampaignSpec, testbed: TestbedSpec) -> Iterator[Mistake]:
    """Combinations of levels that are each right and do not go together."""
    try:
        cells_of(spec, testbed)
    except ValidationError as error:
        chosen = _chosen_in(error)
        for detail in error.errors():
            found = mistake_of(file, WorkloadSpec, detail)
            yield replace(found, key="factors, together", value=chosen)


def _chosen_in(error: ValidationError) -> str:
    held: Any = error.errors()[0]["input"]
    return level_text(held)[:120]
