"""Figures that somebody else published, shown beside ours and never mixed with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["Claim", "Claims"]


class Claim(Frozen):
    """What is claimed of one target. `consistency_in_fact` is what its own documents promise."""

    version: str
    read_p99_us: int
    write_p99_us: int
    throughput_per_s: float
    consistency: str
    consistency_in_fact: str


class Claims(Frozen):
    """One published comparison. `experiment` says on what and how it was measured, as claimed."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    source: str
    experiment: str
    targets: dict[str, Claim]
