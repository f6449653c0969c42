"""What a testbed costs: from its spec and a table of prices to rows and sums; pure.

`hour_price` of the spec wins. Else a testbed in a cloud is reckoned by the table: machines, their
boot disks (which others forget: cockroach #120728), public addresses and traffic out. Hosts on
this machine cost nothing, and what static hosts cost nobody but their user knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from soakbed.errors import Mistake, SpecError
from soakbed.records.cost import CostRow, HourCost, PlannedCost, RunCost
from soakbed.records.prices import Price, PriceTable, RegionPrices
from soakbed.records.standing import Cost
from soakbed.records.testbed_spec import AwsSpec, Budget, HourPrice, TestbedSpec

__all__ = [
    "budget_hours",
    "budget_stops_at_s",
    "collection_s",
    "hour_cost",
    "mistakes_of_budget",
    "require_budget",
    "so_far",
    "why_spent",
]

# AWS bills a GB-month by the second of a month of 30 days (aws.amazon.com/ebs/pricing, example 1).
_MONTH_H = 720.0
# What the controller fetches while load is on. An archive of eight workers grows by 4.2 MB an hour
# (304 MB in 72 h); journals, samples and the looks every few seconds are a multiple of that.
_TRAFFIC_OUT_GB_PER_H = 0.05
# Fetching the rest of the evidence, facts, journals and wiping take minutes. A budget keeps so much
# of the hosts' time for them, of a small one a tenth.
_COLLECTION_S = 900.0
_COLLECTION_SHARE = 0.1


def hour_cost(
    spec: TestbedSpec, prices: PriceTable | None, *, instead: HourPrice | None = None
) -> HourCost:
    """What all hosts cost an hour. `instead`: a price that wins over the testbed's own."""
    if price := instead or spec.hour_price:
        return HourCost.named(price, "campaign" if instead else "testbed")
    if spec.provider == "local":
        return HourCost(per_hour=0.0, basis="hosts on this machine; no hour_price is named")
    if spec.provider == "aws" and spec.aws is not None and prices is not None:
        return _by_table(spec, spec.aws, prices)
    basis = "nobody names an hour_price {amount, currency}, neither testbed nor campaign"
    return HourCost(per_hour=None, basis=basis)


def _by_table(spec: TestbedSpec, aws: AwsSpec, prices: PriceTable) -> HourCost:
    region = prices.regions.get(aws.region)
    if region is None:
        return HourCost(
            per_hour=None,
            basis=f"the price table has no region {aws.region}; it has {', '.join(prices.regions)}",
        )
    types = Counter(host.instance_type or aws.instance_type for host in spec.hosts.values())
    rows = (*_machines(types, aws, prices), *_beside(len(spec.hosts), aws, prices, region))
    unknown = [row.what for row in rows if row.per_hour is None]
    known = [row.per_hour for row in rows if row.per_hour is not None]
    basis = f"list prices of AWS in {aws.region}, without taxes and discounts"
    if unknown:
        basis = f"the price table knows no {', '.join(unknown)} in {aws.region}"
    return HourCost(
        per_hour=None if unknown else round(sum(known), 6),
        currency=prices.currency,
        basis=basis,
        dated=max(rows, key=lambda row: row.per_hour or 0.0).dated,
        at_most=aws.spot,
        rows=rows,
        notes=tuple(_notes(aws, prices, rows)),
    )


def _machines(types: Counter[str], aws: AwsSpec, prices: PriceTable) -> Iterator[CostRow]:
    for name, count in sorted(types.items()):
        each = prices.instance(aws.region, name)
        what = f"{count} × {name}"
        if each is None:
            yield CostRow(what=what, told="not in the price table", per_hour=None)
            continue
        how = "on demand: spot is less" if aws.spot else "on demand"
        told = f"{each.amount:g} an hour each, {how}"
        yield _row(what, told, count * each.amount, each, prices)


def _beside(
    hosts: int, aws: AwsSpec, prices: PriceTable, region: RegionPrices
) -> Iterator[CostRow]:
    """What machines need besides: rows that a look at the machines' price alone misses."""
    disk, address, out = region.boot_disk_gb_month, prices.public_ipv4_hour, region.traffic_out_gb
    yield _row(
        f"{hosts} × {aws.boot_disk_gb} GB boot disk (gp3)",
        f"{disk.amount:g} a GB and month of {_MONTH_H:.0f} h",
        hosts * aws.boot_disk_gb * disk.amount / _MONTH_H,
        disk,
        prices,
    )
    told = f"{address.amount:g} an hour each"
    yield _row(f"{hosts} × public IPv4 address", told, hosts * address.amount, address, prices)
    yield _row(
        "traffic out to the controller",
        f"{out.amount:g} a GB, {_TRAFFIC_OUT_GB_PER_H:g} GB an hour assumed: evidence and looks",
        _TRAFFIC_OUT_GB_PER_H * out.amount,
        out,
        prices,
    )


def _row(what: str, told: str, per_hour: float, price: Price, prices: PriceTable) -> CostRow:
    source = prices.sources[price.source]
    return CostRow(
        what=what,
        told=told,
        per_hour=round(per_hour, 6),
        source=source.title,
        dated=source.dated,
        verified=price.verified,
    )


def _notes(aws: AwsSpec, prices: PriceTable, rows: Sequence[CostRow]) -> Iterator[str]:
    between = prices.between_zones_gb.amount
    yield (
        "All hosts stand in one zone, so what they say to each other by private addresses costs "
        f"nothing (between zones a GB would cost {between:g} each way)."
    )
    if aws.spot:
        yield (
            "Spot: the price changes and is not known beforehand; on-demand prices stand for it, "
            "so the bill is at most this."
        )
    unproven = [row.what for row in rows if not row.verified]
    if unproven:
        yield f"Not verified, no source with a date was found: {', '.join(unproven)}."


def budget_hours(hour: HourCost, budget: Budget | None) -> float | None:
    """How long hosts may live on the budget, from when they were made; None: as long as one likes.

    >>> two = HourCost(per_hour=2.0, currency="USD", basis="")
    >>> budget_hours(two, Budget(amount=150, currency="USD")), budget_hours(two, None)
    (75.0, None)
    """
    if budget is None or not hour.per_hour:
        return None
    return budget.amount / hour.per_hour


def collection_s(hours: float) -> float:
    """How much of so many hours a budget keeps for what comes after the load.

    >>> collection_s(80.0), collection_s(0.5)
    (900.0, 180.0)
    """
    return min(_COLLECTION_S, hours * 3600.0 * _COLLECTION_SHARE)


def budget_stops_at_s(cost: RunCost) -> float | None:
    """When load must end, unix time, so that the evidence can still be fetched on the budget."""
    hours = budget_hours(cost.hour, cost.budget)
    if hours is None:
        return None
    return cost.hosts_since_s + hours * 3600.0 - collection_s(hours)


def why_spent(cost: RunCost, now_s: float) -> str:
    """Why load must end now, with the figures; "" while the budget allows more."""
    budget, stops_at_s, spent = cost.budget, budget_stops_at_s(cost), cost.spent(now_s)
    if budget is None or stops_at_s is None or spent is None or now_s < stops_at_s:
        return ""
    hours = (now_s - cost.hosts_since_s) / 3600.0
    return (
        f"the budget of {budget.amount:,.2f} {budget.currency} is spent: {spent:,.2f} in the "
        f"{hours:.2f} h since the hosts were made, at {cost.hour.per_hour:,.4g} an hour; what is "
        f"left, {max(budget.amount - spent, 0.0):,.2f}, is kept for the collection"
    )


def so_far(cost: RunCost, now_s: float) -> Cost | None:
    """What was spent until now; None where nobody knows the price."""
    amount, spent = cost.hour.of(cost.seconds(now_s)), cost.spent(now_s)
    if amount is None or spent is None:
        return None
    return Cost(
        amount=round(amount, 2),
        currency=cost.hour.currency,
        per_hour=cost.hour.per_hour or 0.0,
        hosts_amount=round(spent, 2),
        budget=cost.budget.amount if cost.budget else None,
        at_most=cost.hour.at_most,
    )


def mistakes_of_budget(planned: PlannedCost, *, name: str) -> list[Mistake]:
    """Why the plan for testbed `name` does not fit its budget; empty: it does, or has none."""
    hour, budget = planned.hour, planned.budget
    if budget is None or hour.is_free:
        return []

    def mistake(problem: str, remedy: str) -> list[Mistake]:
        value = f"{budget.amount:,.2f} {budget.currency}"
        return [Mistake(f"testbed {name}", "budget", value, problem, remedy)]

    amount = planned.amount
    if hour.per_hour is None or amount is None:
        return mistake(
            f"nobody knows what its hosts cost: {hour.basis}",
            'name it beside the budget: "hour_price": {"amount": 1.65, "currency": "USD"}',
        )
    if hour.currency != budget.currency:
        return mistake(
            f"its hosts are paid for in {hour.currency} ({hour.basis}), which is not changed",
            f"write the budget in {hour.currency}, or name hour_price in {budget.currency}",
        )
    kept = hour.of(collection_s(budget.amount / hour.per_hour)) if hour.per_hour else 0.0
    needed = planned.spent + amount + (kept or 0.0)
    if needed <= budget.amount:
        return []
    spent = f"; {planned.spent:,.2f} are spent since its hosts were made" if planned.spent else ""
    left_h = max(budget.amount - planned.spent - (kept or 0.0), 0.0) / (hour.per_hour or 1.0)
    return mistake(
        f"the plan costs {amount:,.2f} {hour.currency}: {planned.seconds / 3600:.2f} h at "
        f"{hour.per_hour:,.4g} an hour; {kept:,.2f} are kept for the collection{spent}",
        f"raise it to {needed + 0.01:,.2f} at least, or plan for {left_h:.2f} h at most: fewer "
        "targets, shorter phases, smaller machines"
        + ("; soakbed teardown begins a new count" if planned.spent else ""),
    )


def require_budget(planned: PlannedCost, *, name: str) -> None:
    """Raise SpecError where the plan for testbed `name` cannot fit its budget."""
    if mistakes := mistakes_of_budget(planned, name=name):
        raise SpecError(mistakes)
