"""What hosts used while they were pressed: plots over the shared time, and tables per host and per
operation. Where nothing was sampled, the page says so instead of showing nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from soakbed.archive.data.sample_columns import ALLOWANCES
from soakbed.records.metrics import metric
from soakbed.records.resources import HostUse, OperationCosts, PhaseResources
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.cost import cost_row
from soakbed.report.figures import Line, Plot, figure, value_axis
from soakbed.report.samples import HostSeries
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table, columns_of
from soakbed.report.timelines import TIME, Clock, ground
from soakbed.units import GIB, MIB

__all__ = ["NOT_SAMPLED", "host_plots", "per_host", "per_operation"]

NOT_SAMPLED = "not sampled"
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# More lines than this on one plot, and it shows the sum of the data hosts instead of each host.
_MOST_LINES = 14


@dataclass(frozen=True, slots=True)
class _Shown:
    """One thing that hosts use: how to take it from samples, in the unit of its axis.

    `adds_up`: of several hosts the sum means something; of others the worst is shown. `if_any`: a
    plot of nothing but zeros is left out, as the table beside has them.
    """

    name: str
    title: str
    unit: str
    take: Callable[[HostSeries], np.ndarray]
    adds_up: bool = True
    if_any: bool = False


def _await_ms(one: HostSeries) -> np.ndarray:
    """The mean request to the disk, reads and writes; NaN where there was none."""
    waits_s = one.columns["disk_read_wait_s"] + one.columns["disk_write_wait_s"]
    requests = one.columns["disk_reads"] + one.columns["disk_writes"]
    made = np.full(waits_s.size, np.nan)
    np.divide(1000 * waits_s, requests, out=made, where=requests > 0)
    return made


def _held_back_per_s(one: HostSeries) -> np.ndarray:
    """Packets over any allowance; NaN where no counter is known."""
    known = np.array([one.per_s(name) for name in ALLOWANCES])
    return np.where(np.isnan(known).all(axis=0), np.nan, np.nansum(known, axis=0))


_SHOWN = (
    _Shown("cpu", "CPU busy", "cores", lambda one: one.columns["cpu_busy"]),
    _Shown("memory", "Memory in use", "GiB", lambda one: one.columns["memory_used_bytes"] / GIB),
    _Shown("disk", "Disk written", "MiB/s", lambda one: one.per_s("disk_written_bytes") / MIB),
    _Shown(
        "network",
        "Network, sent and received",
        "MiB/s",
        lambda one: (one.per_s("net_sent_bytes") + one.per_s("net_received_bytes")) / MIB,
    ),
    _Shown("await", "Disk, mean time of a request", "ms", _await_ms, adds_up=False),
    _Shown(
        "steal",
        "CPU stolen by the hypervisor",
        "% of the CPU time",
        lambda one: 100 * one.columns["cpu_steal_share"],
        adds_up=False,
        if_any=True,
    ),
    _Shown("held-back", "Packets held back", "packets/s", _held_back_per_s, if_any=True),
)


def host_plots(reported: Reported, clock: Clock) -> list[Plot]:
    """CPU, memory, disk and network over time; none where no host was sampled."""
    shown = [one for one in reported.contenders if one.one.hosts and one.one.steady]
    if not shown:
        return []
    each = sum(len(one.one.hosts) for one in shown) <= _MOST_LINES
    made = []
    for kind in _SHOWN:
        lines = [line for one in shown for line in _lines(one, kind, clock, each=each)]
        known = [y for line in lines for y in line.y if y is not None]
        if not (any(known) if kind.if_any else known):
            continue
        together = "All data hosts together." if kind.adds_up else "The worst of the data hosts."
        whom = "A line per host, by its dash." if each else together
        made.append(
            Plot(
                name=f"time-host-{kind.name}",
                title=kind.title,
                mode="steady session",
                reading=f"{whom} {_hosts_in_words(lines) if each else ''}".strip(),
                figure=figure(
                    [line.trace() for line in lines],
                    x=clock.axis(),
                    y=value_axis(lines, kind.unit),
                    layout=ground(shown, clock),
                ),
                group=TIME,
            )
        )
    return made


def _hosts_in_words(lines: Sequence[Line]) -> str:
    told = {line.role: line.dash for line in lines}
    return "; ".join(f"{host} {dash}" for host, dash in told.items()) + "."


def _lines(entry: Contender, kind: _Shown, clock: Clock, *, each: bool) -> Iterator[Line]:
    from_s, to_s = entry.began_s + clock.from_s, entry.began_s + clock.to_s
    held = [one.between(from_s, to_s).thinned() for one in entry.one.hosts]
    held = [one for one in held if one.at_s.size]
    if not each:
        held = _together([one for one in held if one.duty == "data"], kind)
    for index, one in enumerate(held):
        values = np.asarray(one.columns["sum"] if not each else kind.take(one))
        whom = one.host if each else "all data hosts"
        yield Line(
            entry,
            f"{entry.label} {whom}",
            [clock.at(float(at_s) - entry.began_s) for at_s in one.at_s - one.seconds / 2],
            [round(float(y), 4) if np.isfinite(y) else None for y in values],
            role=whom,
            unit=kind.unit,
            dash=_DASHES[index % len(_DASHES)],
        )


def _together(held: list[HostSeries], kind: _Shown) -> list[HostSeries]:
    """All hosts at the moments of the first; each host's value there by interpolation."""
    if not held:
        return []
    at_s = held[0].at_s
    each = np.array([np.interp(at_s, one.at_s, kind.take(one)) for one in held])
    total = each.sum(axis=0) if kind.adds_up else np.fmax.reduce(each, axis=0)
    return [HostSeries("all", "data", at_s, held[0].seconds, {"sum": np.asarray(total)})]


def _phase(entry: Contender) -> PhaseResources | None:
    return entry.one.used.phase("steady", "steady")


_HOST_COLUMNS: tuple[tuple[str, str, Callable[[HostUse, float], str]], ...] = (
    ("CPU busy", "cores", lambda one, _s: _number(one.cpu_cores)),
    ("busiest sample", "cores", lambda one, _s: _number(one.cpu_cores_max)),
    ("stolen", "cores", lambda one, _s: _number(one.cpu_steal_cores)),
    ("memory", "GiB, greatest", lambda one, _s: formats.gibibytes(one.memory_max_bytes)),
    ("disk written", "MiB/s", lambda one, s: formats.mebibytes(_over(one.disk_written_bytes, s))),
    ("disk read", "MiB/s", lambda one, s: formats.mebibytes(_over(one.disk_read_bytes, s))),
    ("disk busy", "of the time", lambda one, _s: formats.share(one.disk_busy_share)),
    ("received", "MiB/s", lambda one, s: formats.mebibytes(_over(one.net_received_bytes, s))),
    ("sent", "MiB/s", lambda one, s: formats.mebibytes(_over(one.net_sent_bytes, s))),
)


def per_host(reported: Reported) -> Table:
    """What each host used in the steady phase, under each contender."""
    sections = []
    for entry in reported.contenders:
        held = _phase(entry)
        if held is None:
            span = len(_HOST_COLUMNS)
            told = Cell(NOT_SAMPLED, key=f"{entry.stem}.hosts", span=span, word="reason")
            row = Row(Head("every host", "", entry.key), (told,), kind="absent")
            sections.append(Section((row,), title=entry.label))
            continue
        rows = tuple(_host_row(entry, one) for one in held.hosts)
        sections.append(Section(rows, title=entry.label, note="; ".join(entry.one.used.notes)))
    return Table(
        name="resources",
        caption="Open loop, steady phase, means unless another word is said. “of the machine”: "
        "local hosts share it, and it cannot be told whose part that is.",
        corner="Host",
        columns=tuple(Column(label, unit=unit) for label, unit, _ in _HOST_COLUMNS),
        sections=tuple(sections),
    )


def _host_row(entry: Contender, one: HostUse) -> Row:
    shared = sorted(key.replace("_", " ") for key, of in one.scopes.items() if of == "machine")
    told = f"{one.duty}, {one.cores} cores"
    if shared:
        told += f"; of the machine: {', '.join(shared)}"
    cells = tuple(Cell(take(one, one.covered_s)) for _, _, take in _HOST_COLUMNS)
    return Row(Head(one.host, told, entry.key), cells)


def _over(value: float | None, seconds: float) -> float | None:
    return None if value is None or seconds <= 0 else value / seconds


def _number(value: float | None) -> str:
    return formats.NONE if value is None else f"{value:.2f}"


_COSTS: tuple[tuple[str, str, Callable[[OperationCosts], str]], ...] = (
    ("cpu_s_per_million", "s", lambda one: _number(one.cpu_s_per_million)),
    ("load_cpu_s_per_million", "s", lambda one: _number(one.load_cpu_s_per_million)),
    (
        "disk_written_bytes_per_operation",
        "KiB",
        lambda one: formats.kibibytes(one.disk_written_bytes_per_operation),
    ),
    (
        "disk_written_bytes_per_write",
        "KiB",
        lambda one: formats.kibibytes(one.disk_written_bytes_per_write),
    ),
    ("write_amplification", "times", lambda one: _number(one.write_amplification)),
    (
        "disk_read_bytes_per_operation",
        "KiB",
        lambda one: formats.kibibytes(one.disk_read_bytes_per_operation),
    ),
    (
        "client_network_bytes_per_operation",
        "KiB",
        lambda one: formats.kibibytes(one.client_network_bytes_per_operation),
    ),
    (
        "data_network_bytes_per_operation",
        "KiB",
        lambda one: formats.kibibytes(one.data_network_bytes_per_operation),
    ),
)


def per_operation(reported: Reported) -> Table:
    """What one operation cost the hosts, replicas and replication included."""
    rows = []
    for key, unit, take in _COSTS:
        known = metric(key)
        cells = []
        for entry in reported.contenders:
            held = _phase(entry)
            told = NOT_SAMPLED if held is None else take(held.costs)
            raw = None if held is None else getattr(held.costs, key)
            cells.append(
                Cell(
                    told,
                    raw="" if raw is None else str(raw),
                    key=f"{entry.stem}.{key}",
                    word="empty" if raw is None else "",
                )
            )
        head = Head(known.label, f"{unit}, {known.direction}", meaning=known.meaning)
        rows.append(Row(head, tuple(cells)))
    rows.append(cost_row(reported))
    return Table(
        name="per-operation",
        caption="Open loop, steady phase, over ok operations. The target's are sums over all its "
        "members. Cost: of all hosts, by the price that the testbed names (hour_price) or by its "
        "cloud's list prices; “not known” where there is neither.",
        corner="Per operation",
        columns=columns_of(reported),
        sections=(Section(tuple(rows)),),
    )
