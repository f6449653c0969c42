"""What hosts did not get: CPU that was stolen, a disk that answered late, packets held back."""

from __future__ import annotations

from collections import defaultdict

from soakbed.archive.data.sample_columns import ALLOWANCES
from soakbed.archive.data.throttling import MACHINE
from soakbed.records.events import Event
from soakbed.records.metrics import metric
from soakbed.records.policy_rows_throttle import THROTTLE_POLICY
from soakbed.records.resources import HostUse, PhaseResources
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table

__all__ = ["NOT_COUNTED", "throttling_table"]

NOT_COUNTED = "not counted"
_KINDS = tuple(row.kind for row in THROTTLE_POLICY)
_FIGURES = ("cpu_steal_share", "disk_read_await_us", "disk_write_await_us", "allowance_exceeded")
_UNITS = {"µs": "ms", "share": "of its CPU time"}


def throttling_table(reported: Reported) -> Table | None:
    """Each host in the steady phase of each contender; None where no host was sampled."""
    sections = []
    for entry in reported.contenders:
        held = entry.one.used.phase("steady", "steady")
        if held is not None and held.hosts:
            rows = tuple(_row(entry, held, one) for one in held.hosts)
            sections.append(Section(rows, title=entry.label))
    if not sections:
        return None
    known = [metric(key) for key in _FIGURES]
    return Table(
        name="throttling",
        caption="Open loop, steady phase. Marked are stretches over a limit of the event policy, "
        "by kind; what each leaves out is in the list of events. “Not counted”: this host's "
        "network card or kernel does not say, which is not zero.",
        corner="Host",
        columns=(
            *(
                Column(one.label, unit=_UNITS.get(one.unit, one.unit), meaning=one.meaning)
                for one in known
            ),
            Column("marked"),
        ),
        sections=tuple(sections),
    )


def _row(entry: Contender, phase: PhaseResources, host: HostUse) -> Row:
    stolen = Cell(formats.share(host.cpu_steal_share), word="")
    if host.cpu_steal_share is None:
        stolen = Cell(NOT_COUNTED, word="empty")
    cells = (
        stolen,
        Cell(formats.ms(host.disk_read_await_us)),
        Cell(formats.ms(host.disk_write_await_us)),
        _held_back(entry, host),
        Cell(_marked(entry, phase, host.host)),
    )
    whose = [
        word
        for word, group in (("CPU", "cpu_steal"), ("disk", "disk_operations"))
        if host.scopes.get(group) == "machine"
    ]
    told = f"{host.duty}; of the machine: {', '.join(whose)}" if whose else host.duty
    return Row(Head(host.host, told, entry.key), cells)


def _held_back(entry: Contender, host: HostUse) -> Cell:
    key = f"{entry.stem}.{host.host}.allowance_exceeded"
    held = host.allowance_exceeded
    if not held:
        return Cell(NOT_COUNTED, key=key, word="empty")
    told = "; ".join(
        f"{count:,.0f} for want of {ALLOWANCES.get(name, name)}"
        for name, count in held.items()
        if count
    )
    total = sum(held.values())
    return Cell(f"{total:,.0f}", raw=f"{total:g}", key=key, note=told)


def _marked(entry: Contender, phase: PhaseResources, host: str) -> str:
    """Seconds of the phase in stretches of each kind."""
    seconds: dict[str, float] = defaultdict(float)
    for event in entry.one.events:
        if event.kind in _KINDS and event.host in (host, MACHINE):
            seconds[event.kind] += _inside_s(event, phase)
    told = [
        f"{kind.replace('_', ' ')} {formats.duration(seconds[kind])}"
        for kind in _KINDS
        if seconds[kind] > 0
    ]
    return "; ".join(told) or "none"


def _inside_s(event: Event, phase: PhaseResources) -> float:
    ends_s = min(event.until_s, phase.started_s + phase.seconds)
    return ends_s - max(event.at_s, phase.started_s)
