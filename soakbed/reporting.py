"""From the archive alone to verdicts, summary, comparison and page: repeatable on old runs.

Judging and comparing are stages, pages are the report's; only here do they meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Literal

from soakbed.archive.data.collate import collate_each
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.records.collated import Collated
from soakbed.records.comparison import Comparison
from soakbed.records.summary import MeasuredTarget, Summary
from soakbed.records.testbed import Testbed
from soakbed.report.as_json import as_json
from soakbed.report.contenders import Reported, reported
from soakbed.report.markdown import markdown
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render, write_report
from soakbed.report.reading import load_claims, read_run
from soakbed.report.violation_page import write_violations
from soakbed.stages.compare import compare_runs
from soakbed.stages.consistency import consistency_of
from soakbed.stages.evidence import evidence_of
from soakbed.stages.judge import judge
from soakbed.stages.measure import measure
from soakbed.stages.resources import resources_of
from soakbed.stages.summarise import assemble_summary

__all__ = ["Format", "Stage", "compare_and_report", "judge_and_report", "judge_again", "page_place"]

Format = Literal["html", "md", "csv", "json"]
Stage = Callable[[str], AbstractContextManager[Any]]


def judge_and_report(run: RunFolder, *, stage: Stage) -> Summary:
    """Numbers, verdicts, summary and page of one run, beside its evidence."""
    summary = judge_again(run, stage=stage)
    with stage("report"):
        write_report(run.path, comparison=_compared([run]))
    return summary


def judge_again(run: RunFolder, *, stage: Stage) -> Summary:
    """Numbers, what the hosts used, verdicts and summary, from the archive."""
    with stage("judge"):
        hosts = run.read("testbed", Testbed).hosts
        duties = {name: host.duty for name, host in hosts.items()}
        pressed = [one for one in run.spec().targets if run.has(f"{one}/collected")]
        # A target is judged here while processes collate the next.
        each = collate_each([run.path / one for one in pressed], duties=duties)
        with closing(each):
            for folder, collated in each:
                _judge(run, folder.name, collated)
        summary = assemble_summary(run.path)
        run.write("summary", summary)
    return summary


def _judge(run: RunFolder, target: str, collated: Collated) -> None:
    numbers = measure(run.path / target, collated=collated)
    run.write(f"{target}/numbers", numbers)
    run.write(f"{target}/resources", resources_of(run.path, target, numbers))
    evidence = evidence_of(run.path, target, numbers)
    if evidence.coverage is not None:
        run.write(f"{target}/coverage", evidence.coverage)
    run.write(f"{target}/verdict", judge(evidence))
    kept = consistency_of(run, target, numbers, evidence.events or ())
    run.write(f"{target}/consistency", kept)


def compare_and_report(
    runs: Sequence[RunFolder], *, form: Format, output: Path | None, stage: Stage
) -> str:
    """Judged runs in one form: written to `output`, or returned where there is none ("" else).

    Beside a page of several runs goes the same as CSV and the comparison as JSON.
    """
    with stage("report"):
        shown = reported(
            [read_run(run.path) for run in runs],
            comparison=_compared(runs),
            claims=load_claims(),
        )
        text = _FORMS[form](shown)
        if output is None:
            return text
        write_whole(output, text)
        if form == "html" and len(runs) == 1:
            write_violations(output.parent, shown)
        if form == "html" and len(runs) > 1:
            write_whole(output.parent / "numbers.csv", numbers_csv(shown))
            write_whole(output.parent / "comparison.json", as_json(shown))
    return ""


def page_place(results: Path, runs: Sequence[RunFolder]) -> Path:
    """Where the page of these runs lies: the same for the same runs in the same order."""
    if len(runs) == 1:
        return runs[0].path / "report" / "index.html"
    ids = [run.run_id for run in runs]
    name = f"{ids[0]}-and-{ids[1]}"
    if len(ids) > 2:
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        name = f"{ids[0]}-and-{len(ids) - 1}-more-{digest[:8]}"
    return results / "comparisons" / name / "index.html"


def _compared(runs: Sequence[RunFolder]) -> Comparison | None:
    """What the runs, or the targets inside one, differ in; None where nothing was measured."""
    folders = [run.path for run in runs if _measured(run)]
    return compare_runs(folders) if folders else None


def _measured(run: RunFolder) -> bool:
    held = run.read("summary", Summary).targets.values()
    return any(isinstance(one, MeasuredTarget) for one in held)


def _page(shown: Reported) -> str:
    return render(compose(shown))


def _markdown(shown: Reported) -> str:
    return markdown(compose(shown))


_FORMS: dict[Format, Callable[[Reported], str]] = {
    "html": _page,
    "md": _markdown,
    "csv": numbers_csv,
    "json": as_json,
}
