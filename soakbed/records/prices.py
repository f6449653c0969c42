"""What a cloud asks for its machines: a file in `infra/prices/`, each figure with its source.

List prices, without discounts and taxes. A figure that no source with a date bears out says so
(`verified` false), and whatever is reckoned with it says so too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from soakbed.records.frozen import Frozen

__all__ = ["Price", "PriceSource", "PriceTable", "RegionPrices"]


class PriceSource(Frozen):
    """Where figures come from. `date`: when they were so, or (`is_date_of_reading`) were read."""

    title: Annotated[str, Field(min_length=1)]
    date: date
    is_date_of_reading: bool = False

    @property
    def dated(self) -> str:
        """The date in words.

        >>> PriceSource(title="a list", date="2026-07-20").dated
        '2026-07-20'
        """
        return f"{self.date}{' (read then)' if self.is_date_of_reading else ''}"


class Price(Frozen):
    """One figure in the table's currency, and the key of its source."""

    amount: Annotated[float, Field(ge=0)]
    source: str
    verified: bool = True


class RegionPrices(Frozen):
    """One region: an hour of each instance type, a GB-month of a boot disk (gp3), a GB sent out."""

    instance_source: str
    instance_hour: dict[str, Annotated[float, Field(gt=0)]]
    boot_disk_gb_month: Price
    traffic_out_gb: Price


class PriceTable(Frozen):
    """The whole file. `between_zones_gb` is asked of each side."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    provider: Literal["aws"]
    currency: str
    sources: dict[str, PriceSource]
    public_ipv4_hour: Price
    between_zones_gb: Price
    regions: dict[str, RegionPrices]

    @model_validator(mode="after")
    def _every_figure_has_a_source(self) -> PriceTable:
        unknown = sorted({key for key in self._named() if key not in self.sources})
        if unknown:
            raise ValueError(
                f"figures name sources {', '.join(unknown)} that are not among {list(self.sources)}"
            )
        return self

    def _named(self) -> Iterator[str]:
        yield from (self.public_ipv4_hour.source, self.between_zones_gb.source)
        for region in self.regions.values():
            yield region.instance_source
            yield from (region.boot_disk_gb_month.source, region.traffic_out_gb.source)

    def instance(self, region: str, instance_type: str) -> Price | None:
        """An hour of one machine on demand; None where the table does not say."""
        held = self.regions.get(region)
        amount = held.instance_hour.get(instance_type) if held else None
        if held is None or amount is None:
            return None
        return Price(amount=amount, source=held.instance_source)
