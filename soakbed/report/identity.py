"""What was compared, before any number: run, time, commit, hosts, workload; how to repeat it."""

from __future__ import annotations

from dataclasses import dataclass

from soakbed.records.calibration import RunCalibration
from soakbed.records.clocks import SessionClocks
from soakbed.records.facts import leaves
from soakbed.report import formats
from soakbed.report.contenders import Reported
from soakbed.report.cost import cost_in_words
from soakbed.report.reading import ReportedRun
from soakbed.report.tables import Cell, Column, Head, Row, Section, Table
from soakbed.report.words import TARGET_WORDS

__all__ = ["Fact", "identity", "lede", "repeat", "runs_table", "title"]

_UNKNOWN = "not recorded"
_PROVIDERS = {
    "local": "local hosts (systemd-nspawn containers with their own systemd and address)",
    "static": "hosts of the user's own",
    "aws": "hosts on AWS",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing with its name."""

    name: str
    value: str
    note: str = ""


def title(reported: Reported) -> str:
    """Which targets, and in how many runs."""
    names = [
        TARGET_WORDS[name].label
        for name in dict.fromkeys(name for run in reported.runs for name in run.summary.targets)
    ]
    runs = len(reported.runs)
    if len(names) == 1:
        return f"{names[0]} in {runs} runs" if runs > 1 else f"{names[0]} under load"
    together = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{together} in {runs} runs" if runs > 1 else f"{together} under one load"


def lede(reported: Reported) -> str:
    """The experiment in a sentence or two; of several runs, what they have unlike."""
    if len(reported.runs) == 1:
        return _experiment(reported.runs[0])
    told = list(dict.fromkeys(_experiment(run) for run in reported.runs))
    if len(told) == 1:
        return told[0]
    return "The runs did not ask the same of their targets: see what is not alike."


def _experiment(run: ReportedRun) -> str:
    workload = run.spec.workload
    data, load = (len(run.testbed.of_duty(duty)) for duty in ("data", "load"))
    return (
        f"{workload.value_bytes:,}-byte values, {formats.share(workload.read_share)} reads, "
        f"{workload.keys:,} keys ({_popularity(run)}), {workload.connections} connections; mutual "
        f"TLS on every connection. {data} data hosts and {load} load host"
        f"{'s' if load > 1 else ''}; targets ran one after another, each alone."
    )


def runs_table(reported: Reported) -> Table | None:
    """Identity of several runs side by side, a column per run; what differs is marked."""
    if len(reported.runs) == 1:
        return None
    held = [identity(run) for run in reported.runs]
    rows = []
    for facts in zip(*held, strict=True):
        cells = tuple(Cell(fact.value, note=fact.note, word="prose") for fact in facts)
        unlike = len({(fact.value, fact.note) for fact in facts}) > 1
        rows.append(Row(Head(facts[0].name), cells, kind="unlike" if unlike else "alike"))
    return Table(
        name="runs",
        caption="Rows that differ between runs are marked; what follows from it stands under "
        "What is not alike.",
        corner="Run",
        columns=tuple(Column(tag) for tag in reported.tags),
        sections=(Section(tuple(rows)),),
    )


def _popularity(run: ReportedRun) -> str:
    held = run.spec.workload.popularity
    if held.kind == "zipf":
        return f"Zipf {held.theta:g}"
    if held.kind == "hot_set":
        traffic, keys = (
            formats.share(value) for value in (held.hot_traffic_share, held.hot_keys_share)
        )
        return f"{traffic} of traffic on {keys} of keys"
    return "uniform"


def identity(run: ReportedRun) -> list[Fact]:
    """Run, time, commit, machines and choices; what an old run did not record says so."""
    workload, manifest = run.spec.workload, run.manifest
    stages = manifest.get("stages") or [taken.model_dump() for taken in run.times]
    began = formats.when(stages[0]["started_s"]) if stages else _UNKNOWN
    took = formats.duration(sum(stage["seconds"] for stage in stages)) if stages else ""
    commit = str(manifest.get("commit", _UNKNOWN))
    phases = workload.phases
    together = ", all on one machine" if run.testbed.shares_machine else ""
    hosts = ", ".join(f"{host.name} ({host.duty})" for host in run.testbed.hosts.values())
    return [
        Fact("Run", run.run_id),
        Fact("Began", began, f"stages took {took}" if took else ""),
        Fact(
            "soakbed",
            str((manifest.get("packages") or {}).get("soakbed", _UNKNOWN)),
            f"commit {commit[:12]}{', plus uncommitted changes' if manifest.get('dirty') else ''}",
        ),
        Fact("Testbed", run.testbed.name, _provider(run)),
        Fact(
            "Hosts",
            f"{len(run.testbed.hosts)}{together}",
            hosts,
        ),
        Fact("CPU", _told(run, "model"), _cores(run)),
        Fact("Kernel", _told(run, "kernel"), _told(run, "system", missing="")),
        Fact("Profile", run.spec.profile, f"appendfsync {run.spec.appendfsync}"),
        Fact(
            "Workload",
            workload.name,
            f"capacity {phases.capacity_s} s closed; steady {phases.steady_s} s open at "
            f"{workload.steady_rate.words}, "
            f"{workload.arrivals} arrivals",
        ),
        _ceiling(run.calibration),
        _clocks(run),
        Fact("Cost", *cost_in_words(run)),
    ]


def _provider(run: ReportedRun) -> str:
    """Where hosts came from; of a cloud also what they are, and what their network sustains."""
    cloud = run.testbed.cloud
    if cloud is None:
        return _PROVIDERS[run.testbed.provider]
    return (
        f"{_PROVIDERS[run.testbed.provider]}: {', '.join(cloud.instance_types)} in {cloud.zone}, "
        f"image {cloud.image_name} ({cloud.image_id}), network {cloud.network_sustained_mbit:,} "
        "Mbit/s sustained, more only in bursts"
    )


def _clocks(run: ReportedRun) -> Fact:
    """How far apart the load hosts' clocks were at most, over all sessions, and the bound of it."""
    name = "Load hosts' clocks"
    if len(run.testbed.of_duty("load")) < 2:
        return Fact(name, "one", "one load host: every second is of one clock")
    compared = [
        comparison
        for target in run.manifest.get("clock_offsets") or {}
        for around in SessionClocks.in_manifest(run.manifest, target).values()
        for comparison in around.moments().values()
        if comparison is not None
    ]
    pairs = [pair for comparison in compared for pair in comparison.pairs()]
    unread = sorted({host for comparison in compared for host in comparison.unknown})
    unknown = f"; at times not read: {', '.join(unread)}" if unread else ""
    if not pairs:
        return Fact(name, _UNKNOWN, unknown.removeprefix("; "))
    worst = max(pairs, key=lambda pair: pair.most_us)
    return Fact(
        name,
        f"{formats.ms(worst.apart_us)} ms apart at most, known to ±{formats.ms(worst.bound_us)} ms",
        f"{' and '.join(worst.hosts)}; read {len(compared)} times, before and after each session"
        f"{unknown}",
    )


def _ceiling(held: RunCalibration) -> Fact:
    """What the load hosts can do at most, or that nobody measured it."""
    name = "Load hosts' ceiling"
    if held.calibration is None:
        return Fact(name, "not measured", "; ".join(held.stale) or "make calibrate measures it")
    told = ", ".join(
        f"{one.named} {'≥ ' if one.at_least else ''}{formats.rate(one.ops_per_s)}/s"
        for one in held.calibration.ceilings.values()
    )
    when = f"{formats.when(held.calibration.at_s)}, engine {held.calibration.engine_build[:12]}"
    stale = f"; may no longer hold: {'; '.join(held.stale)}" if held.stale else ""
    return Fact(name, told, f"measured {when}{stale}")


def _told(run: ReportedRun, key: str, *, missing: str = _UNKNOWN) -> str:
    """What the hosts say of themselves in words; where they differ, each answer once."""
    said = [
        value
        for facts in (run.host_facts, run.preflight)
        for path, value in leaves(facts)
        if path[-1] == key and isinstance(value, str) and value
    ]
    return ", ".join(dict.fromkeys(said)) or missing


def _cores(run: ReportedRun) -> str:
    """How many cores there are, and whether hosts share them."""
    shared = run.testbed.shares_machine
    key = "machine_cores" if shared else "cores"
    counts = sorted({int(value) for path, value in leaves(run.preflight) if path[-1] == key})
    if not counts:
        return ""
    told = " to ".join(map(str, counts))
    return f"{told} cores, shared by all hosts" if shared else f"{told} cores per host"


def repeat(reported: Reported) -> list[Fact]:
    """What to type to do it again, or to judge the same evidence again."""
    told = []
    for tag, run in zip(reported.tags, reported.runs, strict=True):
        command = str(run.manifest.get("command", "")) or "soakbed bench"
        commit = str(run.manifest.get("commit", _UNKNOWN))[:12]
        name = f"Run {tag} again" if tag else "The same run"
        told.append(Fact(name, command, f"at commit {commit}; spec.json holds every choice"))
    ids = " ".join(run.run_id for run in reported.runs)
    told.append(
        Fact(
            "The same evidence, judged again",
            f"soakbed report {ids}",
            "needs the run folders alone, no hosts",
        )
    )
    return told
