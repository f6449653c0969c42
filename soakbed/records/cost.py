"""What a testbed costs an hour, what a run is going to cost, and what it did cost.

`HourCost` is made once, before anything else (`stages.cost.hour_cost`), and kept with the run
(`cost.json`): a page that is written again years later shows the prices of its own day.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.testbed_spec import Budget, HourPrice

__all__ = ["BILLION", "CostRow", "HostsSince", "HourCost", "PlannedCost", "RunCost"]

BILLION = 1_000_000_000


class CostRow(Frozen):
    """One kind of thing that is paid for; `per_hour` of all of them, None: nobody knows."""

    what: str  # "4 × c6id.2xlarge"
    told: str  # how it was reckoned
    per_hour: float | None
    source: str = ""
    dated: str = ""
    verified: bool = True


class HourCost(Frozen):
    """What all hosts of a testbed cost an hour; `per_hour` None: nobody knows.

    `at_most`: what is paid in the end may be less (spot), and never more than this. `dated`: of the
    row that weighs most, each row has its own; "" where the user named the price.
    """

    per_hour: float | None
    currency: str = ""
    basis: str  # where it comes from, a sentence
    dated: str = ""
    at_most: bool = False
    rows: tuple[CostRow, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def named(cls, price: HourPrice, of: str = "testbed") -> HourCost:
        """As a user says it: one price for all hosts."""
        basis = f"hour_price of the {of}"
        return cls(per_hour=price.amount, currency=price.currency, basis=basis)

    @property
    def is_free(self) -> bool:
        """Whether nobody asks anything for these hosts."""
        return self.per_hour == 0.0 and not self.currency

    def of(self, seconds: float) -> float | None:
        """What so long a time costs."""
        return None if self.per_hour is None else self.per_hour * max(seconds, 0.0) / 3600.0

    def of_billion(self, per_s: float) -> float | None:
        """What a billion operations cost at `per_s` of them a second; None: not known."""
        return None if per_s <= 0 else self.of(BILLION / per_s)


class PlannedCost(Frozen):
    """What is going to be paid, before anything is made. Times are in seconds.

    `load_s` of all targets, `beside_s` to make and prepare hosts, configure, fill, collect and
    judge, `margin_s` in which the lease still keeps the hosts. `spent`: by hosts that are there
    already, since they were made.
    """

    hour: HourCost
    load_s: float
    beside_s: float
    margin_s: float = 0.0
    spent: float = 0.0
    budget: Budget | None = None

    @property
    def seconds(self) -> float:
        """Load, and what is done beside it."""
        return self.load_s + self.beside_s

    @property
    def amount(self) -> float | None:
        """What the planned time costs, the margin left out."""
        return self.hour.of(self.seconds)

    @property
    def with_margin(self) -> float | None:
        """The same with the margin of the lease: what is paid if nobody unmakes the hosts."""
        return self.hour.of(self.seconds + self.margin_s)


class HostsSince(Frozen):
    """Since when the hosts of a testbed cost something; `costs.json` in its state."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    since_s: float


class RunCost(Frozen):
    """What a run costs; `cost.json` of a run. Times are unix time.

    `hosts_since_s`: since when the hosts that it uses cost something, which its budget counts from;
    `ended_s` 0: it is not finished.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    hour: HourCost
    began_s: float
    hosts_since_s: float
    ended_s: float = 0.0
    budget: Budget | None = None

    def seconds(self, now_s: float) -> float:
        """How long it lasted, or lasts so far."""
        return max((self.ended_s or now_s) - self.began_s, 0.0)

    def spent(self, now_s: float) -> float | None:
        """What its hosts cost since they were made; None: nobody knows."""
        return self.hour.of(now_s - self.hosts_since_s)
