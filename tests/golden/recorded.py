"""What judge and report make of a recorded run: written by `make_run`, compared by a test."""

from __future__ import annotations

import json
from pathlib import Path

from soakbed.archive.run_folder import RunFolder
from soakbed.report.contenders import Reported, reported
from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.page import compose, render
from soakbed.report.reading import load_claims, read_run
from soakbed.stages.consistency import consistency_of
from soakbed.stages.judge import assemble_summary, evidence_of, judge, measure

RECORDED = Path(__file__).parent / "run-made-up"
RECORDED_TIKV = Path(__file__).parent / "run-made-up-tikv"
NO_LIBRARY = "/* the drawing library stands here */"


def judged(folder: Path) -> RunFolder:
    """Measure, judge and sum up every target of a run folder that was pressed."""
    run = RunFolder(folder)
    for target in run.spec().targets:
        if run.has(f"{target}/collected"):
            numbers = measure(folder / target)
            run.write(f"{target}/numbers", numbers)
            evidence = evidence_of(folder, target, numbers)
            assert evidence.coverage is not None
            run.write(f"{target}/coverage", evidence.coverage)
            run.write(f"{target}/verdict", judge(evidence))
            kept = consistency_of(run, target, numbers, evidence.events or ())
            run.write(f"{target}/consistency", kept)
    run.write("summary", assemble_summary(folder))
    return run


def shown_of(*folders: Path, **changed: object) -> Reported:
    """Runs as a page sees them, claims beside them unless told otherwise."""
    kept = {"claims": load_claims(), **changed}
    return reported([read_run(folder) for folder in folders], **kept)  # type: ignore[arg-type]


def page_of(folder: Path) -> str:
    """The page without the drawing library, which is not ours to compare."""
    return render(compose(shown_of(folder)), script=NO_LIBRARY)


def renew(folder: Path) -> None:
    """Write every output that the test compares."""
    judged(folder)
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "index.html").write_text(page_of(folder))
    (folder / "report" / "numbers.csv").write_text(numbers_csv(shown_of(folder)))


def plain(path: Path) -> object:
    """A record as plain data."""
    return json.loads(path.read_text())
