"""Samples of hosts -> stretches in which a host got less than it seems to have: events.

CPU that the hypervisor gave to others, packets that a cloud's network card held back, a data disk
that answers late. What a host cannot count gives no event, as it gives no figure. What follows from
each kind is said by `records.policy_rows_throttle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soakbed.archive.data.sample_columns import ALLOWANCES
from soakbed.archive.data.samples import HostSamples
from soakbed.records import policy
from soakbed.records.events import Event

__all__ = [
    "LEAST_DISK_REQUESTS",
    "MACHINE",
    "MOST_DISK_AWAIT_S",
    "MOST_EXCEEDED_SHARE",
    "MOST_STOLEN_SHARE",
    "throttled",
]

MACHINE = "this machine"  # that local hosts share
# Of one sample. A whole run is asked for a fifth of it (`judge_hosts.stolen_time`): what P99 hides.
MOST_STOLEN_SHARE = 0.05
# An operation is some four packets on a link, so what P99 begins to show is a quarter of 1 %; the
# counters rise a little from bursts of milliseconds alone, far below the allowance.
MOST_EXCEEDED_SHARE = 0.001
# etcd asks for 99 of 100 fsyncs within it; a local NVMe disk needs a hundredth.
MOST_DISK_AWAIT_S = 0.010
# The mean of fewer is that of its slowest one.
LEAST_DISK_REQUESTS = 50
# Clocks round; a sampler may be woken late.
_NEXT_S = 0.5
# What changes no figure is told in longer stretches, so that 72 hours stay readable.
_GATHERED_S = {"network_burst": 600.0, "disk_slow": 30.0, "machine_stolen": 30.0}
_LINK_LOCAL = "linklocal_allowance_exceeded"

Rows = Mapping[str, NDArray[Any]]
Bools = NDArray[np.bool_]


def throttled(samples: Mapping[str, HostSamples], *, source: str = "samples") -> list[Event]:
    """Stretches of every kind that `source` may tell of, by host; of a shared machine once.

    `samples`: by host, as `read_samples` gave them.
    """
    found: list[Event] = []
    shared: dict[str, list[_Stretch]] = {}
    for host, one in samples.items():
        if not len(one.hosts.get("at_s", ())):
            continue
        for kind in _KINDS:
            if source not in policy.row_of(kind.name).sources:
                continue
            with np.errstate(all="ignore"):
                made = list(_stretches(one.hosts, kind))
            if made and (one.hosts[kind.scope] == "machine").all():
                shared.setdefault(kind.name, []).extend(made)
            else:
                found += [_event(kind.name, stretch, host, source) for stretch in made]
    for name, stretches in shared.items():
        found += [_event(name, stretch, MACHINE, source) for stretch in _once(stretches)]
    return sorted(found, key=lambda event: event.at_s)


@dataclass(frozen=True, slots=True)
class _Stretch:
    at_s: float
    until_s: float
    text: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """`marks`: which samples it holds of. `scope`: the column that says of whom they speak."""

    name: str
    scope: str
    marks: Callable[[Rows], Bools]
    told: Callable[[Rows], str]


def _event(kind: str, stretch: _Stretch, host: str, source: str) -> Event:
    ends_s, text = stretch.until_s, stretch.text
    return policy.event(kind, stretch.at_s, until_s=ends_s, host=host, source=source, text=text)


def _stretches(rows: Rows, kind: _Kind) -> Iterator[_Stretch]:
    """Neighbouring samples that are marked, as one; their texts speak of those samples alone."""
    marked = np.flatnonzero(kind.marks(rows))
    if not marked.size:
        return
    ends_s = rows["at_s"][marked]
    begins_s = ends_s - rows["seconds"][marked]
    apart_s = _GATHERED_S.get(kind.name, _NEXT_S)
    cuts = np.flatnonzero(begins_s[1:] - ends_s[:-1] > apart_s) + 1
    for held in np.split(np.arange(marked.size), cuts):
        inside = {name: column[marked[held]] for name, column in rows.items()}
        text = kind.told(inside)
        yield _Stretch(float(begins_s[held].min()), float(ends_s[held].max()), text)


def _once(stretches: Iterable[_Stretch]) -> Iterator[_Stretch]:
    """What several hosts tell of one machine, each stretch once, in the words of the first."""
    held: _Stretch | None = None
    for one in sorted(stretches, key=lambda stretch: stretch.at_s):
        if held is not None and one.at_s <= held.until_s:
            held = _Stretch(held.at_s, max(held.until_s, one.until_s), held.text)
            continue
        if held is not None:
            yield held
        held = one
    if held is not None:
        yield held


def _stolen_of(scope: str) -> Callable[[Rows], Bools]:
    def marks(rows: Rows) -> Bools:
        whose = rows["cpu_steal_scope"] == scope
        return np.asarray(whose & (rows["cpu_steal_share"] > MOST_STOLEN_SHARE), dtype=bool)

    return marks


def _stolen_told(rows: Rows) -> str:
    shares = rows["cpu_steal_share"]
    mean = float(np.average(shares, weights=rows["seconds"]))
    return f"the hypervisor took {mean:.1%} of the CPU time, {float(shares.max()):.1%} at worst"


def _exceeded(rows: Rows) -> NDArray[np.float64]:
    """Packets held back over packets that went the same way; the worst of the ways."""
    received, sent = rows["net_received_packets"], rows["net_sent_packets"]
    ways = (
        rows["bw_in_allowance_exceeded"] / received,
        rows["bw_out_allowance_exceeded"] / sent,
        rows["pps_allowance_exceeded"] / (received + sent),
        rows["conntrack_allowance_exceeded"] / (received + sent),
    )
    # A card that was silent and held nothing back did so to none of its packets.
    known = [np.where(np.isnan(way), 0.0, way) for way in ways]
    return np.asarray(np.maximum.reduce(known), dtype=np.float64)


def _held_back(rows: Rows) -> Bools:
    return np.asarray(_exceeded(rows) > MOST_EXCEEDED_SHARE, dtype=bool)


def _held_back_a_little(rows: Rows) -> Bools:
    some = np.logical_or.reduce([rows[name] > 0 for name in ALLOWANCES])
    return np.asarray(some & ~_held_back(rows), dtype=bool)


def _held_back_told(rows: Rows) -> str:
    counts = {what: float(np.nansum(rows[name])) for name, what in ALLOWANCES.items()}
    told = ", ".join(f"{count:,.0f} for want of {what}" for what, count in counts.items() if count)
    worst = float(_exceeded(rows).max())
    more = f"; {worst:.2%} of its packets at worst" if 0 < worst < 1 else ""
    return f"packets were held back: {told}{more}"


def _await_s(rows: Rows, way: str) -> NDArray[np.float64]:
    """The mean request of each sample; NaN where there are too few."""
    requests = rows[f"disk_{way}s"]
    means = rows[f"disk_{way}_wait_s"] / requests
    return np.where(requests >= LEAST_DISK_REQUESTS, means, np.nan)


def _slow(rows: Rows) -> Bools:
    late = [_await_s(rows, way) > MOST_DISK_AWAIT_S for way in ("read", "write")]
    return np.asarray((late[0] | late[1]) & (rows["duty"] != "load"), dtype=bool)


def _slow_told(rows: Rows) -> str:
    told = []
    for way in ("read", "write"):
        known = ~np.isnan(rows[f"disk_{way}_wait_s"])
        count = float(rows[f"disk_{way}s"][known].sum())
        if count:
            mean_s = float(rows[f"disk_{way}_wait_s"][known].sum()) / count
            told.append(f"{count:,.0f} {way}s took {1000 * mean_s:.1f} ms on average")
    return ", ".join(told)


_KINDS = (
    _Kind("cpu_stolen", "cpu_steal_scope", _stolen_of("host"), _stolen_told),
    _Kind("machine_stolen", "cpu_steal_scope", _stolen_of("machine"), _stolen_told),
    _Kind("network_throttled", "network_scope", _held_back, _held_back_told),
    _Kind("network_burst", "network_scope", _held_back_a_little, _held_back_told),
    _Kind("disk_slow", "disk_operations_scope", _slow, _slow_told),
)
