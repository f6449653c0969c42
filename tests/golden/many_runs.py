"""Several made-up runs and a made-up comparison of them, for pages of more than one run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from soakbed.archive.data.samples import SAMPLES_FILE
from soakbed.archive.run_folder import RunFolder
from soakbed.records.comparison import (
    Comparison,
    Contender,
    Difference,
    Drift,
    ManifestDifference,
    Ratio,
    RepeatedValue,
    Steadiness,
)
from soakbed.records.numbers import Numbers
from soakbed.report.reading import ReportedRun, read_run
from soakbed.stages.resources import resources_of
from tests.golden.host_samples import write_samples
from tests.golden.make_run import BEGAN_S, make_run
from tests.golden.pretences import ETCD, REDIS
from tests.golden.recorded import judged

# A target that became slower by a tenth, and one whose tail moved.
SLOWER = replace(ETCD, read_us=ETCD.read_us * 1.1, write_us=ETCD.write_us * 1.1, version="3.5.21")
CALMER = replace(REDIS, stall_share=0.0005)


def two_runs(folder: Path, *, sampled: bool = True) -> list[Path]:
    """The same two targets twice: etcd of another version, Redis with a shorter tail."""
    made = [
        make_run(folder / "first-made-up", targets=(ETCD, REDIS), with_tikv=False),
        make_run(folder / "second-made-up", targets=(SLOWER, CALMER), with_tikv=False),
    ]
    _with_oom_kill(made[0] / "etcd")
    return [_finished(run, sampled=sampled) for run in made]


def _with_oom_kill(target: Path) -> None:
    """Six seconds into the steady phase the kernel of d1 killed a process for its memory."""
    path = target / "hosts" / "d1" / "kernel.log"
    said = "kernel: Out of memory: Killed process 4711 (etcd) total-vm:812000kB"
    path.write_text(f"2023-11-14T22:14:28.000000+0000 d1 {said}\n")


def five_runs(folder: Path) -> list[Path]:
    """One target five times: three of one version, two of another; the last was not sampled."""
    made = []
    for index, pretence in enumerate((ETCD, ETCD, ETCD, SLOWER, SLOWER)):
        run = make_run(folder / f"made-up-{index}", targets=(pretence,), with_tikv=False)
        made.append(_finished(run, sampled=index < 4))
    return made


def _finished(run: Path, *, sampled: bool) -> Path:
    kept = judged(run)
    for index, target in enumerate(kept.spec().targets if sampled else ()):
        with_samples(run, target, began_s=BEGAN_S + 300 * index)
    return run


def with_samples(
    run: Path, target: str, *, began_s: float, card: Mapping[str, float] | None = None
) -> None:
    """Samples of every host while `target` was pressed, and what follows from them.

    `card`: see `write_samples`.
    """
    hosts = json.loads((run / "testbed.json").read_text())["hosts"]
    for place, (host, held) in enumerate(hosts.items()):
        load = held["duty"] == "load"
        write_samples(
            run / target / "hosts" / host / SAMPLES_FILE,
            from_s=began_s - 5,
            to_s=began_s + 80,
            unit="soakbed-load-0.service" if load else f"soakbed-{target}.service",
            cores=0.8 if load else 0.4 + 0.15 * place,
            card=card,
        )
    kept = RunFolder(run)
    numbers = kept.read(f"{target}/numbers", Numbers)
    kept.write(f"{target}/resources", resources_of(run, target, numbers))


def comparison_of(runs: Sequence[Path]) -> Comparison:
    """What might be said of these runs: every word occurs. The values are the runs' own."""
    read = [read_run(run) for run in runs]
    groups = _groups(read)
    contenders = tuple(_contender(label, held) for label, held in groups.items())
    labels = list(groups)
    differences = []
    for contender in labels[1:]:
        unlike = groups[contender][0][1] != groups[labels[0]][0][1]
        differences += _differences(labels[0], contender, unlike=unlike)
    return Comparison(
        baseline=labels[0],
        question="Compared are two versions of etcd on the same hosts.",
        contenders=contenders,
        manifest=_manifest(labels),
        differences=tuple(differences),
        steadiness=tuple(_steadiness(label) for label in labels),
        drifts=(_drift(labels[0]),),
        repeats=tuple(_repeat(label, held) for label, held in groups.items() if len(held) > 1),
        caveats=("The runs were made on one evening, one after another.",),
    )


def _groups(read: Sequence[ReportedRun]) -> dict[str, list[tuple[ReportedRun, str]]]:
    """Repeats of one target and version together, as a comparison combines them."""
    found: dict[tuple[str, str], list[tuple[ReportedRun, str]]] = {}
    for run in read:
        for one in run.measured:
            found.setdefault((one.name, one.summary.version), []).append((run, one.name))
    words = {"etcd": "etcd", "redis_cluster": "Redis Cluster", "tikv": "TiKV"}
    if any(len(held) > 1 for held in found.values()) and len(found) == 2:
        return {f"{words[name]} {version}": held for (name, version), held in found.items()}
    tags = {run.run_id: chr(ord("A") + index) for index, run in enumerate(read)}
    return {
        f"{tags[run.run_id]} · {words[one.name]} {one.summary.version}": [(run, one.name)]
        for run in read
        for one in run.measured
    }


def _contender(label: str, held: list[tuple[ReportedRun, str]]) -> Contender:
    run, name = held[0]
    one = next(one for one in run.measured if one.name == name)
    return Contender(
        label=label,
        run_ids=tuple(run.run_id for run, _ in held),
        target=name,
        version=one.summary.version,
        profile=run.spec.profile,
        workload=run.spec.workload.name,
        testbed=run.testbed.name,
        hosts=len(run.testbed.hosts),
        provider=run.testbed.provider,
        started_s=BEGAN_S,
        verdict=one.verdict.verdict,
    )


def _differences(baseline: str, contender: str, *, unlike: bool) -> list[Difference]:
    pair = {"baseline": baseline, "contender": contender}
    if unlike:
        return _of_unlike(pair)
    rows = (
        ("worse", "response_p50_us", "read", 1.101, 1.08, 1.122, 0.021),
        ("worse", "response_p99_us", "read", 1.127, 1.061, 1.197, 0.066),
        ("cannot_tell", "response_p99_9_us", "read", 1.09, 0.78, 1.52, 0.41),
        ("same", "response_p50_us", "write", 1.008, 0.99, 1.026, 0.02),
        ("better", "response_p99_us", "write", 0.86, 0.81, 0.915, 0.06),
        ("better", "throughput_per_s", "", 1.081, 1.064, 1.1, 0.018),
    )
    made = [
        Difference(
            word=word,
            reason=f"the interval {'excludes' if word in ('better', 'worse') else 'meets'} 5 %",
            metric=metric,
            phase="steady",
            operation=operation,
            baseline_value=1000.0,
            contender_value=1000.0 * ratio,
            ratio=_ratio(ratio, low, high),
            least_difference=least,
            probability=0.002 if word in ("better", "worse") else 0.4,
            word_was="worse" if word == "cannot_tell" else None,
            **pair,
        )
        for word, metric, operation, ratio, low, high, least in rows
    ]
    told = "the contender's phase was too short for an interval"
    made.append(
        Difference(
            word="cannot_tell", reason=told, metric="capacity_per_s", phase="capacity", **pair
        )
    )
    return made


def _of_unlike(pair: dict[str, str]) -> list[Difference]:
    told = "the targets do not promise the same: asynchronous against majority on disk"
    return [
        Difference(
            word="not_comparable",
            reason=told,
            metric="response_p99_us",
            phase="steady",
            operation=operation,
            baseline_value=7680,
            contender_value=731,
            ratio=_ratio(0.0952, 0.09, 0.101),
            **pair,
        )
        for operation in ("read", "write")
    ]


def _ratio(ratio: float, low: float, high: float) -> Ratio:
    return Ratio(
        ratio=ratio,
        low=low,
        high=high,
        confidence=0.99,
        log_error=0.02,
        freedom=40,
        unit="time",
        units=(12, 12),
        method="made up",
    )


def _manifest(labels: list[str]) -> tuple[ManifestDifference, ...]:
    told = (
        ("version", "3.5.16", "3.5.21", "noted", "This is what is compared."),
        ("hosts.kernel", "6.1.0", "6.1.1", "caveat", "The kernels differ in their last number."),
        ("profile", "tuned", "tuned", "same", "The same."),
        ("tls", "TLSv1.3", "TLSv1.3", "same", "The same."),
    )
    return tuple(
        ManifestDifference(
            key=key,
            values={label: first if i == 0 else other for i, label in enumerate(labels)},
            consequence=consequence,
            sentence=sentence,
        )
        for key, first, other, consequence, sentence in told
    )


def _steadiness(label: str) -> Steadiness:
    return Steadiness(
        metric="response_p99_us",
        phase="steady",
        operation="read",
        contender=label,
        steady=True,
        steady_from_s=2.0,
        variation=0.021,
        cross_check_s=1.0,
        change_points=(),
        sentence="steady from the 2nd second on; its level varied by 2.1 %",
        method="PELT",
    )


def _drift(label: str) -> Drift:
    return Drift(
        metric="response_p99_us",
        phase="steady",
        operation="read",
        contender=label,
        word="cannot_tell",
        slope_per_hour=4.0,
        low_per_hour=-20.0,
        high_per_hour=30.0,
        share_per_day=0.012,
        probability=0.4,
        points=12,
        independent=6.0,
        confidence=0.99,
        sentence="12 s are too short to tell a drift from noise",
        method="Theil-Sen",
    )


def _repeat(label: str, held: list[tuple[ReportedRun, str]]) -> RepeatedValue:
    values = []
    for run, name in held:
        one = next(one for one in run.measured if one.name == name)
        steady = one.steady
        values.append(float(steady.operations["read"].response.p99_us or 0) if steady else 0.0)
    many = len(values) > 2
    mean = sum(values) / len(values)
    return RepeatedValue(
        metric="response_p99_us",
        phase="steady",
        operation="read",
        contender=label,
        runs=len(values),
        values=tuple(values),
        value=mean,
        low=mean * 0.97 if many else None,
        high=mean * 1.03 if many else None,
        variation=0.012 if many else None,
        confidence=0.99,
        sentence=f"{len(values)} runs{'' if many else ': too few for an interval'}",
    )
