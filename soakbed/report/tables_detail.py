"""The tables below the headline: every percentile, errors by cause, and the instrument itself."""

from __future__ import annotations

from collections.abc import Callable

from soakbed.records.facts import Facts, found, leaves
from soakbed.records.metrics import metric
from soakbed.records.numbers import OperationNumbers, PhaseNumbers
from soakbed.report import formats
from soakbed.report.contenders import Contender, Reported
from soakbed.report.reading import ReportedRun
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table, columns_of, latency_cell
from soakbed.report.words import OPERATIONS

__all__ = ["errors", "hosts", "instrument", "offered", "percentiles"]

_KINDS = (("response", "response time"), ("service", "service time"), ("lag", "lag"))
_STEPS = ("p50", "p90", "p95", "p99", "p99_9", "p99_99", "max")


def _head(key: str, *, unit: str | None = None) -> Head:
    known = metric(key)
    shown = known.unit if unit is None else unit
    return Head(known.label, f"{shown}, {known.direction}", meaning=known.meaning)


def percentiles(reported: Reported) -> Table:
    """Response, service and lag of reads and writes side by side, as far as each sample carries."""
    sections = [
        Section(
            rows=tuple(_percentile_row(one, operation, kind) for one in reported.contenders),
            title=f"{label} {words}",
            note="open loop, steady phase, ms; lower is better",
        )
        for operation, label in OPERATIONS.items()
        for kind, words in _KINDS
    ]
    named = [metric(f"response_{step}_us") for step in _STEPS]
    columns = [Column(one.label.removeprefix("Response time ")) for one in named]
    return Table(
        name="percentiles",
        caption="Response: from when an operation was due. Service: from when it was sent. Lag: "
        "between the two. “–”: fewer than ten values lie above this percentile. Under the P99 of "
        "the response time: its 99 % interval within the run.",
        corner="Target",
        columns=(*columns, Column("values")),
        sections=tuple(sections),
    )


def _percentile_row(entry: Contender, operation: str, kind: str) -> Row:
    stem = f"detail.{entry.stem}.{operation}"
    cells = [
        _of(
            entry.one.steady,
            operation,
            lambda held, step=step: latency_cell(  # type: ignore[misc]
                getattr(held, kind), kind, step, stem=stem
            ),
        )
        for step in _STEPS
    ]
    cells.append(_of(entry.one.steady, operation, _counted("ok")))
    return Row(Head(entry.label, "", entry.key, metric(f"{kind}_p99_us").meaning), tuple(cells))


def _of(
    phase: PhaseNumbers | None, operation: str, cell: Callable[[OperationNumbers], Cell]
) -> Cell:
    if phase is None or operation not in phase.operations:
        return Cell("–", note="did not run", word="empty")
    return cell(phase.operations[operation])


def offered(reported: Reported) -> Table:
    """What the schedule asked for beside what was sent and what was done."""
    cells: dict[str, Callable[[PhaseNumbers], Cell]] = {
        "offered_per_s": lambda one: Cell(formats.rate(one.offered_per_s)),
        "sent_per_s": lambda one: Cell(formats.rate(one.sent_per_s)),
        "throughput_per_s": lambda one: Cell(formats.rate(one.throughput_per_s)),
        "achieved_share": lambda one: Cell(
            formats.share(one.throughput_per_s / one.offered_per_s if one.offered_per_s else None)
        ),
        "dropped": lambda one: Cell(formats.count(one.total("dropped"))),
    }
    phases = [one.one.steady for one in reported.contenders]
    rows = tuple(Row(_head(key), _cells(phases, cell)) for key, cell in cells.items())
    return Table(
        name="offered",
        caption="Open loop, steady phase. Requests are sent when they are due, whether or not "
        "earlier replies have come; what a target does not manage shows here and in the response "
        "time, not in the service time.",
        corner="Rate",
        columns=columns_of(reported),
        sections=(Section(rows),),
    )


def errors(reported: Reported) -> Table:
    """What became of every operation of the steady phase, and why some failed."""
    sections = []
    for operation, label in OPERATIONS.items():
        rows = [
            Row(
                _head(key),
                tuple(_of(one.one.steady, operation, _counted(key)) for one in reported.contenders),
            )
            for key in ("ok", "failed", "unknown", "dropped")
        ]
        rows += _cause_rows(reported, operation)
        sections.append(Section(tuple(rows), title=label, note="open loop, steady phase"))
    return Table(
        name="errors",
        caption="Failed: surely not applied. Unknown: may or may not have been applied. Neither "
        "is in any latency. Causes are a fixed set.",
        corner="Operations",
        columns=columns_of(reported),
        sections=tuple(sections),
    )


def _counted(key: str) -> Callable[[OperationNumbers], Cell]:
    def cell(held: OperationNumbers) -> Cell:
        value: int = getattr(held, key)
        return Cell(formats.count(value), raw=str(value))

    return cell


def _cause_rows(reported: Reported, operation: str) -> list[Row]:
    steady = [one.one.steady for one in reported.contenders]
    held = [phase.operations.get(operation) if phase else None for phase in steady]
    causes = sorted({cause for one in held if one for cause in one.causes})
    return [
        Row(
            Head(f"cause: {cause.replace('_', ' ')}", "of failed and unknown"),
            tuple(Cell(formats.count(one.causes.get(cause, 0) if one else None)) for one in held),
        )
        for cause in causes
    ]


def instrument(reported: Reported) -> Table:
    """How the load generator fared: whether its figures are the target's or its own."""
    sections = []
    for title, note, phases in (
        ("Steady phase", "open loop", [one.one.steady for one in reported.contenders]),
        ("Capacity phase", "closed loop", [one.one.capacity for one in reported.contenders]),
    ):
        rows = [
            Row(_head("bound_s"), _cells(phases, _seconds("bound_s"))),
            Row(_head("dropping_s"), _cells(phases, _seconds("dropping_s"))),
            Row(_head("cpu_share", unit="of one core"), _cells(phases, _cpu)),
            Row(_head("wait_share_max"), _cells(phases, _worst("wait_share_max"))),
            Row(_head("late_p50_us", unit="ms"), _cells(phases, _late("p50_us"))),
            Row(_head("late_p99_us", unit="ms"), _cells(phases, _late("p99_us"))),
            Row(_head("loop_lag_max_us", unit="ms"), _cells(phases, _loop_lag)),
            Row(
                _head("sent_per_s"), _cells(phases, lambda one: Cell(formats.rate(one.sent_per_s)))
            ),
            Row(_head("nic_share_max"), _cells(phases, _worst("nic_share_max"))),
            Row(_head("reconnects"), _cells(phases, _state("reconnects"))),
            Row(_head("redirects"), _cells(phases, _state("redirects"))),
        ]
        if note == "open loop":
            cells = tuple(_of_ceiling(one) for one in reported.contenders)
            rows.insert(0, Row(_head("offered_share_of_ceiling"), cells))
        sections.append(Section(tuple(rows), title=title, note=note))
    return Table(
        name="instrument",
        caption="The generator's own state, the worst of its workers; “–” where it cannot be "
        "known.",
        corner="Load generator",
        columns=columns_of(reported),
        sections=tuple(sections),
    )


def _cells(
    phases: list[PhaseNumbers | None], cell: Callable[[PhaseNumbers], Cell]
) -> tuple[Cell, ...]:
    missing = Cell("–", note="did not run", word="empty")
    return tuple(missing if phase is None else cell(phase) for phase in phases)


def _cpu(phase: PhaseNumbers) -> Cell:
    peak = f"busiest window {formats.share(phase.generator.cpu_share_max)}"
    return Cell(formats.share(phase.generator.cpu_share), note=peak)


def _seconds(name: str) -> Callable[[PhaseNumbers], Cell]:
    def cell(phase: PhaseNumbers) -> Cell:
        value: int = getattr(phase.generator, name)
        return Cell(formats.count(value), raw=str(value), note=f"of {phase.generator.judged_s}")

    return cell


def _worst(name: str) -> Callable[[PhaseNumbers], Cell]:
    def cell(phase: PhaseNumbers) -> Cell:
        value: float | None = getattr(phase.generator, name)
        return Cell(formats.share(value), raw="" if value is None else str(value))

    return cell


def _of_ceiling(entry: Contender) -> Cell:
    calibration, one, workload = entry.run.calibration, entry.one, entry.run.spec.workload
    ceiling = calibration.ceiling(one.name, workload)
    share = None
    if one.steady is not None:
        share = calibration.offered_share(one.name, workload, one.steady.offered_per_s)
    if ceiling is None or share is None:
        return Cell("–", note="not calibrated", word="empty")
    least = "at least " if ceiling.at_least else ""
    note = f"of {least}{formats.rate(ceiling.ops_per_s)}/s"
    if calibration.stale:
        note += ", out of date"
    return Cell(formats.share(share), raw=str(share), note=note)


def _loop_lag(phase: PhaseNumbers) -> Cell:
    return Cell(formats.ms(phase.generator.loop_lag_max_us))


def _late(name: str) -> Callable[[PhaseNumbers], Cell]:
    def cell(phase: PhaseNumbers) -> Cell:
        late = phase.generator.late
        return Cell("–") if late is None else Cell(formats.ms(getattr(late, name)))

    return cell


def _state(name: str) -> Callable[[PhaseNumbers], Cell]:
    return lambda phase: Cell(formats.count(getattr(phase.generator, name)))


def hosts(reported: Reported) -> Table:
    """What preflight measured on each host before anything was put on it."""
    columns = (
        Column("cores"),
        Column("memory", unit="GiB"),
        Column("fsync P50", unit="ms", meaning="A 4 KiB write with fdatasync, the median."),
        Column("fsync P99", unit="ms", meaning="A 4 KiB write with fdatasync, 99th percentile."),
        Column("slowest round trip", unit="ms", meaning="TCP handshake with the furthest host."),
        Column("clock offset", unit="ms", meaning="Against the controller's clock."),
    )
    sections = [
        Section(tuple(_host_rows(run)), title=f"{tag} · {run.run_id}" if tag else "")
        for tag, run in zip(reported.tags, reported.runs, strict=True)
    ]
    return Table(
        name="hosts",
        caption="Measured before anything was put on the hosts; “–” where it was not recorded.",
        corner="Host",
        columns=columns,
        sections=tuple(sections),
    )


def _host_rows(run: ReportedRun) -> list[Row]:
    rows = []
    for name, host in run.testbed.hosts.items():
        facts = run.preflight.get(name)
        bound = f", CPU {', '.join(map(str, host.cpus))}" if host.cpus else ""
        rows.append(Row(Head(name, f"{host.duty}{bound}"), _measured(facts if facts else {})))
    return rows


def _measured(facts: Facts) -> tuple[Cell, ...]:
    trips = [
        float(value)
        for path, value in leaves(facts)
        if "rtt_us" in path and isinstance(value, int | float)
    ]
    cores = found(facts, "cores")
    return (
        Cell(formats.count(None if cores is None else int(cores))),
        Cell(formats.gibibytes(found(facts, "memory_bytes"))),
        Cell(formats.ms(found(facts, "fsync_us", "p50"))),
        Cell(formats.ms(found(facts, "fsync_us", "p99"))),
        Cell(formats.ms(max(trips, default=None))),
        Cell(formats.ms(found(facts, "clock_offset_us"))),
    )
