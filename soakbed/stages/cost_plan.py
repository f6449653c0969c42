"""What a command is going to cost, before it makes anything; and since when hosts cost something.

Reads the table of prices (`infra/prices/`), how long earlier runs took, and since when the testbed
has hosts: by its lease, or without one by `costs.json` in its state.
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.errors import Mistake, SpecError
from soakbed.records.cost import HostsSince, HourCost, PlannedCost, RunCost
from soakbed.records.places import Places
from soakbed.records.prices import PriceTable
from soakbed.records.spec import RunSpec
from soakbed.records.standing import Cost
from soakbed.records.testbed_spec import HourPrice, TestbedSpec
from soakbed.stages.campaign_times import overheads_of, planned_s
from soakbed.stages.cost import hour_cost, so_far
from soakbed.stages.lease import held_lease

__all__ = [
    "begin_cost",
    "cost_of_hosts",
    "counted_hosts",
    "end_cost",
    "forget_hosts",
    "hosts_since_s",
    "hour_cost_of",
    "note_hosts",
    "plan_of_hosts",
    "plan_of_run",
    "plan_of_time",
    "price_table",
]

_SINCE = "costs.json"
# Making machines in a cloud, their first boot, and unmaking them: some minutes each.
_CLOUD_S = 600.0


def price_table(infra: Path, provider: str) -> PriceTable | None:
    """The prices of `provider`, None where nobody asks for any. Raises SpecError when damaged."""
    path = infra / "prices" / f"{provider}.json"
    if not path.is_file():
        return None
    try:
        return PriceTable.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        remedy = f"mend it, or name hour_price in the testbed ({infra.name}/README.md)"
        mistake = Mistake(str(path), key, str(first["input"])[:60], first["msg"], remedy)
        raise SpecError([mistake]) from error


def hour_cost_of(
    spec: TestbedSpec, places: Places, *, instead: HourPrice | None = None
) -> HourCost:
    """What the hosts cost an hour, by whatever is known."""
    return hour_cost(spec, price_table(places.infra, spec.provider), instead=instead)


def note_hosts(places: Places) -> None:
    """Hosts are about to be made, or were before: from the first time on they cost.

    Those of a cloud always have a lease, which says it too.
    """
    path = places.state / _SINCE
    if not path.is_file():
        places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, HostsSince(since_s=round(time.time(), 3)).model_dump_json(by_alias=True))


def forget_hosts(places: Places) -> None:
    """The hosts are gone: whoever makes some again begins a new count."""
    (places.state / _SINCE).unlink(missing_ok=True)


def hosts_since_s(places: Places) -> float | None:
    """Since when the hosts cost something; None: there are none.

    Hosts of a lease that lapsed have ended; whoever makes some again is given a new one. A file
    that says nothing any more counts from the oldest thing in the state folder: too early rather
    than too late.
    """
    if (lease := held_lease(places)) is not None:
        return None if lease.has_lapsed(time.time()) else float(lease.begun_s)
    path = places.state / _SINCE
    if not path.is_file():
        return None
    try:
        return HostsSince.model_validate_json(path.read_bytes()).since_s
    except ValidationError:
        return min(one.stat().st_mtime for one in places.state.iterdir())


def counted_hosts(
    spec: TestbedSpec, places: Places, *, instead: HourPrice | None = None
) -> RunCost | None:
    """The hosts that are there, from when they were made; None: there are none, or for free."""
    since_s, hour = hosts_since_s(places), hour_cost_of(spec, places, instead=instead)
    if since_s is None or hour.is_free:
        return None
    return RunCost(hour=hour, began_s=since_s, hosts_since_s=since_s, budget=spec.budget)


def cost_of_hosts(spec: TestbedSpec, places: Places) -> Cost | None:
    """What the hosts that are there cost since they were made; None as for `counted_hosts`."""
    counted = counted_hosts(spec, places)
    return so_far(counted, time.time()) if counted else None


def plan_of_run(spec: RunSpec, places: Places) -> PlannedCost:
    """A run of `spec`: its phases, what earlier runs took beside them, the margin of its lease."""
    overheads = overheads_of(places.results, spec.testbed, spec.targets)
    load_s = float(len(spec.targets) * planned_s(spec.workload))
    beside_s = overheads.of(spec) + overheads.prepare_s
    return plan_of_time(spec.testbed, places, load_s=load_s, beside_s=beside_s)


def plan_of_hosts(spec: TestbedSpec, places: Places) -> PlannedCost:
    """Hosts alone, for nothing that was planned: as long as their first lease keeps them."""
    first_s = spec.leased.first_h * 3600.0 if spec.leased else 0.0
    made = plan_of_time(spec, places, load_s=0.0, beside_s=first_s)
    return made.model_copy(update={"beside_s": first_s, "margin_s": 0.0})


def plan_of_time(
    spec: TestbedSpec,
    places: Places,
    *,
    load_s: float,
    beside_s: float,
    instead: HourPrice | None = None,
) -> PlannedCost:
    """So much load and what is beside it, on hosts that are there or must be made."""
    hour = hour_cost_of(spec, places, instead=instead)
    since_s = hosts_since_s(places)
    spent = hour.of(time.time() - since_s) if since_s is not None else 0.0
    cloud_s = _CLOUD_S if spec.provider == "aws" else 0.0
    return PlannedCost(
        hour=hour,
        load_s=load_s,
        beside_s=beside_s + cloud_s,
        margin_s=spec.leased.margin_h * 3600.0 if spec.leased else 0.0,
        spent=spent or 0.0,
        budget=spec.budget,
    )


def begin_cost(run: RunFolder, spec: TestbedSpec, places: Places) -> RunCost:
    """What the run costs, kept with it: prices of the day it began, and of which hosts.

    A run that was interrupted keeps its prices; its hosts may be others by now.
    """
    since_s = hosts_since_s(places) or time.time()
    if run.has("cost"):
        held = run.read("cost", RunCost)
        made = held.model_copy(update={"hosts_since_s": since_s, "budget": spec.budget})
    else:
        began_s = (run.path / "spec.json").stat().st_mtime
        made = RunCost(
            hour=hour_cost_of(spec, places),
            began_s=round(began_s, 3),
            hosts_since_s=since_s,
            budget=spec.budget,
        )
    run.write("cost", made)
    return made


def end_cost(run: RunFolder) -> None:
    """The run needs its hosts no more; from the first time on that is its end."""
    if run.has("cost"):
        held = run.read("cost", RunCost)
        if not held.ended_s:
            run.write("cost", held.model_copy(update={"ended_s": round(time.time(), 3)}))
