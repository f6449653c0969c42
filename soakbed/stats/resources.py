"""Samples of hosts over a stretch of time -> what was used, and what each operation cost; pure.

The columns are those of the tables `hosts` and `units` (results/README.md): one row per sample,
sums over the `seconds` before `at_s`, NaN where a host could not say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from soakbed.records.resources import HostUse, OperationCosts, Scope, UnitUse
from soakbed.records.testbed import Duty

__all__ = ["Columns", "costs_of", "use_of_hosts", "use_of_units"]

Columns = Mapping[str, NDArray[Any]]
_SUMS = (
    "disk_read_bytes",
    "disk_written_bytes",
    "disk_reads",
    "disk_writes",
    "net_received_bytes",
    "net_sent_bytes",
    "net_received_packets",
    "net_sent_packets",
)
_ALLOWANCE = "_allowance_exceeded"
_SCOPES = ("cpu", "cpu_steal", "memory", "disk_bytes", "disk_operations", "network")
# Below it, what the rest of the phase was like would be a guess.
LEAST_COVERED_SHARE = 0.5
_CLOCKS_S = 0.05
_SAMPLER = "soakbed-samples-"
_LOAD = "soakbed-load-"


def use_of_hosts(hosts: Columns, start_s: float, end_s: float) -> tuple[HostUse, ...]:
    """What each host used from `start_s` to `end_s`, unix time; one without a sample is left out.

    Only samples that lie wholly inside count: one across an end speaks of what was before, too.
    """
    found = []
    for name, rows in _groups(hosts, "host"):
        inside = _inside(rows, start_s, end_s)
        if not inside.any():
            continue
        rows = {column: values[inside] for column, values in rows.items()}
        busiest = _largest(rows["cpu_busy"])
        found.append(
            HostUse(
                host=name,
                duty=cast("Duty", str(rows["duty"][0])),
                covered_s=round(float(rows["seconds"].sum()), 3),
                samples=int(inside.sum()),
                cores=int(rows["cores"].max()),
                cpu_cores=_mean(rows["cpu_busy"], rows["seconds"]),
                cpu_cores_max=None if busiest is None else round(busiest, 4),
                cpu_steal_cores=_mean(rows["cpu_steal"], rows["seconds"]),
                memory_max_bytes=_whole(_largest(rows["memory_used_bytes"])),
                cpu_steal_share=_mean(rows["cpu_steal_share"], rows["seconds"]),
                disk_busy_share=_mean(rows["disk_busy_share"], rows["seconds"]),
                disk_read_await_us=_await_us(rows, "read"),
                disk_write_await_us=_await_us(rows, "write"),
                allowance_exceeded=_exceeded(rows),
                scopes={group: _scope(rows[f"{group}_scope"]) for group in _SCOPES},
                **{column: _sum(rows[column]) for column in _SUMS},
            )
        )
    return tuple(found)


def use_of_units(units: Columns, start_s: float, end_s: float) -> tuple[UnitUse, ...]:
    """What each unit used from `start_s` to `end_s`, as for hosts; the sampler is one of them."""
    found = []
    for host, of_host in _groups(units, "host"):
        for unit, rows in _groups(of_host, "unit"):
            inside = _inside(rows, start_s, end_s)
            if not inside.any():
                continue
            rows = {column: values[inside] for column, values in rows.items()}
            found.append(
                UnitUse(
                    host=host,
                    unit=unit,
                    covered_s=round(float(rows["seconds"].sum()), 3),
                    cpu_s=_sum(rows["cpu_s"]),
                    memory_max_bytes=_whole(_largest(rows["memory_bytes"])),
                    read_bytes=_sum(rows["read_bytes"]),
                    written_bytes=_sum(rows["written_bytes"]),
                    restarts=int(rows["restarted"].sum()),
                )
            )
    return tuple(found)


def costs_of(
    hosts: Sequence[HostUse],
    units: Sequence[UnitUse],
    *,
    duties: Mapping[str, Duty],
    seconds: float,
    operations_per_s: float,
    writes_per_s: float,
    value_bytes: int,
) -> OperationCosts:
    """Costs per operation of `seconds` in which so many operations and writes a second ended ok.

    `duties`: every host of the testbed. What was used per second of the samples is set beside what
    ended per second of the phase. A host that samples cover for too little of it, or that shows no
    member though its duty is data, makes the sum unknown. Figures of a machine that hosts share
    are no host's: None as well.
    """
    members = _Sum(hosts, units, duties, "data", seconds)
    load = _Sum(hosts, units, duties, "load", seconds)
    written = members.of_units("written_bytes")
    return OperationCosts(
        cpu_s_per_million=_per(members.of_units("cpu_s"), operations_per_s / 1e6),
        load_cpu_s_per_million=_per(load.of_units("cpu_s"), operations_per_s / 1e6),
        disk_written_bytes_per_operation=_per(written, operations_per_s),
        disk_written_bytes_per_write=_per(written, writes_per_s),
        disk_read_bytes_per_operation=_per(members.of_units("read_bytes"), operations_per_s),
        write_amplification=_per(written, writes_per_s * value_bytes),
        client_network_bytes_per_operation=_per(load.network(), operations_per_s),
        data_network_bytes_per_operation=_per(members.network(), operations_per_s),
    )


class _Sum:
    """Sums per second over all hosts of one duty, or None where one of them cannot say."""

    def __init__(
        self,
        hosts: Sequence[HostUse],
        units: Sequence[UnitUse],
        duties: Mapping[str, Duty],
        duty: Duty,
        seconds: float,
    ) -> None:
        wanted = {name for name, its in duties.items() if its == duty}
        self._duty = duty
        self._units = [
            unit
            for unit in units
            if unit.host in wanted and unit.unit.startswith(_LOAD) == (duty == "load")
            if not unit.unit.startswith(_SAMPLER)
        ]
        self._hosts = {
            host.host: host
            for host in hosts
            if host.host in wanted and host.covered_s >= LEAST_COVERED_SHARE * seconds > 0
        }
        self._all_known = bool(wanted) and wanted == set(self._hosts)

    def of_units(self, name: str) -> float | None:
        shown = {unit.host for unit in self._units}
        # Every data host has a member; a load host may be one that no worker fell to.
        enough = shown == set(self._hosts) if self._duty == "data" else bool(shown)
        values = [(getattr(unit, name), self._hosts.get(unit.host)) for unit in self._units]
        if not (self._all_known and enough) or any(value is None for value, _ in values):
            return None
        return float(sum(value / host.covered_s for value, host in values if host))

    def network(self) -> float | None:
        total = 0.0
        for host in self._hosts.values():
            received, sent = host.net_received_bytes, host.net_sent_bytes
            if host.scopes["network"] != "host" or received is None or sent is None:
                return None
            total += (received + sent) / host.covered_s
        return total if self._all_known else None


def _per(total: float | None, count: float) -> float | None:
    return None if total is None or count <= 0 else round(total / count, 4)


def _groups(columns: Columns, by: str) -> Iterable[tuple[str, dict[str, NDArray[Any]]]]:
    names = columns[by]
    for name in sorted(set(names.tolist())):
        of_name = names == name
        yield str(name), {column: values[of_name] for column, values in columns.items()}


def _inside(rows: Columns, start_s: float, end_s: float) -> NDArray[np.bool_]:
    """Which samples lie wholly inside; clocks of hosts agree to some milliseconds, no better."""
    ends = rows["at_s"].astype(np.float64)
    began = ends - rows["seconds"].astype(np.float64)
    inside: NDArray[np.bool_] = (began >= start_s - _CLOCKS_S) & (ends <= end_s + _CLOCKS_S)
    return inside


def _sum(values: NDArray[Any]) -> float | None:
    """Sum of what was said; None when any sample could not say, as a sum would be short."""
    said = values.astype(np.float64)
    return None if np.isnan(said).any() else round(float(said.sum()), 3)


def _await_us(rows: Columns, way: str) -> float | None:
    """The mean request of the samples that could say it; None where there was none."""
    waits_s = rows[f"disk_{way}_wait_s"].astype(np.float64)
    counts = rows[f"disk_{way}s"].astype(np.float64)
    known = ~np.isnan(waits_s) & ~np.isnan(counts)
    count = float(counts[known].sum())
    return round(1e6 * float(waits_s[known].sum()) / count, 1) if count else None


def _exceeded(rows: Columns) -> dict[str, float]:
    """Packets held back, by counter; only of counters that every sample had."""
    sums = {name: _sum(rows[name]) for name in sorted(rows) if name.endswith(_ALLOWANCE)}
    return {name: value for name, value in sums.items() if value is not None}


def _mean(values: NDArray[Any], seconds: NDArray[np.float64]) -> float | None:
    """Mean over the time that the samples which could say it cover."""
    known = ~np.isnan(values.astype(np.float64)) & (seconds > 0)
    if not known.any():
        return None
    return round(float(np.average(values[known].astype(np.float64), weights=seconds[known])), 4)


def _largest(values: NDArray[Any]) -> float | None:
    known = values[~np.isnan(values.astype(np.float64))]
    return float(known.max()) if known.size else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _scope(values: NDArray[Any]) -> Scope:
    """Of whom a group of figures speaks; unlike answers within one stretch are none."""
    said = {str(value) for value in values.tolist()}
    return cast("Scope", said.pop()) if said in ({"host"}, {"machine"}) else "unknown"
