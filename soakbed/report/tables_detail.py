"""The tables below the headline: every percentile, errors by cause, and the instrument itself."""

from __future__ import annotations

from collections.abc import Callable

from soakbed.records.facts import Facts, found, leaves
from soakbed.records.metrics import metric
from soakbed.records.numbers import Latency, OperationNumbers, PhaseNumbers
from soakbed.report import formats
from soakbed.report.reading import MeasuredRun, ReportedRun
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import OPERATIONS, TARGET_WORDS

__all__ = ["errors", "hosts", "instrument", "percentiles"]

_KINDS = (("response", "response time"), ("service", "service time"), ("lag", "lag"))
_STEPS = ("p50", "p90", "p95", "p99", "p99_9", "p99_99", "max")


def _columns(run: ReportedRun) -> tuple[Column, ...]:
    return tuple(
        Column(
            label=f"{TARGET_WORDS[one.name].label} {one.summary.version}",
            meaning=TARGET_WORDS[one.name].short_promise,
            target=one.name,
        )
        for one in run.measured
    )


def _head(key: str, *, unit: str | None = None) -> Head:
    known = metric(key)
    shown = known.unit if unit is None else unit
    return Head(known.label, f"{shown}, {known.direction}", meaning=known.meaning)


def percentiles(run: ReportedRun) -> Table:
    """Response, service and lag of reads and writes, as far as each sample carries."""
    sections = [
        Section(
            rows=tuple(_percentile_row(one, operation, kind) for one in run.measured),
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
        caption="“–”: fewer than ten values lie above this percentile. Under the "
        "P99 of the response time: its 99 % interval within this run.",
        corner="Target",
        columns=(*columns, Column("values")),
        sections=tuple(sections),
    )


def _percentile_row(one: MeasuredRun, operation: str, kind: str) -> Row:
    cells = [_percentile(one, operation, kind, step) for step in _STEPS]
    cells.append(_of(one.steady, operation, _counted("ok")))
    words = TARGET_WORDS[one.name]
    meaning = metric(f"{kind}_p99_us").meaning
    return Row(Head(f"{words.label} {one.summary.version}", "", one.name, meaning), tuple(cells))


def _percentile(one: MeasuredRun, operation: str, kind: str, step: str) -> Cell:
    def cell(held: OperationNumbers) -> Cell:
        latency: Latency = getattr(held, kind)
        value: int | None = getattr(latency, f"{step}_us")
        if value is None:
            return Cell("–", word="empty")
        note = ""
        if kind == "response" and step == "p99" and latency.p99_interval:
            interval = latency.p99_interval
            note = f"{formats.ms(interval.low_us)} to {formats.ms(interval.high_us)}"
        key = f"detail.{one.name}.{operation}.{kind}_{step}_us"
        return Cell(formats.ms(value), raw=str(value), key=key, note=note)

    return _of(one.steady, operation, cell)


def _of(
    phase: PhaseNumbers | None, operation: str, cell: Callable[[OperationNumbers], Cell]
) -> Cell:
    if phase is None or operation not in phase.operations:
        return Cell("–", note="did not run", word="empty")
    return cell(phase.operations[operation])


def errors(run: ReportedRun) -> Table:
    """What became of every operation of the steady phase, and why some failed."""
    sections = []
    for operation, label in OPERATIONS.items():
        rows = [
            Row(
                _head(key),
                tuple(_of(one.steady, operation, _counted(key)) for one in run.measured),
            )
            for key in ("ok", "failed", "unknown", "dropped")
        ]
        rows += _cause_rows(run, operation)
        sections.append(Section(tuple(rows), title=label, note="open loop, steady phase"))
    return Table(
        name="errors",
        caption="Failed: surely not applied. Unknown: may or may not have been applied. Neither "
        "is in any latency. Causes are a fixed set.",
        corner="Operations",
        columns=_columns(run),
        sections=tuple(sections),
    )


def _counted(key: str) -> Callable[[OperationNumbers], Cell]:
    def cell(held: OperationNumbers) -> Cell:
        value: int = getattr(held, key)
        return Cell(formats.count(value), raw=str(value))

    return cell


def _cause_rows(run: ReportedRun, operation: str) -> list[Row]:
    steady = [one.steady for one in run.measured]
    held = [phase.operations.get(operation) if phase else None for phase in steady]
    causes = sorted({cause for one in held if one for cause in one.causes})
    return [
        Row(
            Head(f"cause: {cause.replace('_', ' ')}", "of failed and unknown"),
            tuple(Cell(formats.count(one.causes.get(cause, 0) if one else None)) for one in held),
        )
        for cause in causes
    ]


def instrument(run: ReportedRun) -> Table:
    """How the load generator fared: whether its figures are the target's or its own."""
    sections = []
    for title, note, phases in (
        ("Steady phase", "open loop", [one.steady for one in run.measured]),
        ("Capacity phase", "closed loop", [one.capacity for one in run.measured]),
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
            cells = tuple(_of_ceiling(run, one) for one in run.measured)
            rows.insert(0, Row(_head("offered_share_of_ceiling"), cells))
        sections.append(Section(tuple(rows), title=title, note=note))
    return Table(
        name="instrument",
        caption="The generator's own state, the worst of its workers; “–” where it cannot be "
        "known.",
        corner="Load generator",
        columns=_columns(run),
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


def _of_ceiling(run: ReportedRun, one: MeasuredRun) -> Cell:
    calibration, workload = run.calibration, run.spec.workload
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


def hosts(run: ReportedRun) -> Table:
    """What preflight measured on each host before anything was put on it."""
    columns = (
        Column("cores"),
        Column("memory", unit="GiB"),
        Column("fsync P50", unit="ms", meaning="A 4 KiB write with fdatasync, the median."),
        Column("fsync P99", unit="ms", meaning="A 4 KiB write with fdatasync, 99th percentile."),
        Column("slowest round trip", unit="ms", meaning="TCP handshake with the furthest host."),
        Column("clock offset", unit="ms", meaning="Against the controller's clock."),
    )
    rows = []
    for name, host in run.testbed.hosts.items():
        facts = run.preflight.get(name)
        bound = f", CPU {', '.join(map(str, host.cpus))}" if host.cpus else ""
        rows.append(Row(Head(name, f"{host.duty}{bound}"), _measured(facts if facts else {})))
    return Table(
        name="hosts",
        caption="Measured before anything was put on the hosts; “–” where it was not recorded.",
        corner="Host",
        columns=columns,
        sections=(Section(tuple(rows)),),
    )


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
