"""Metrics, tables and the event policy in `results/README.md`, written from the code's own data;
models in `docs/checking-histories.md`.

`make docs` renews it; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from soakbed.archive.data.documentation import tables_section
from soakbed.errors import ArchiveError
from soakbed.records.metrics import METRICS
from soakbed.records.policy import CONSEQUENCES, POLICY, Row
from soakbed.report.histories_docs import MODELS_BEGIN, MODELS_END, models_section

__all__ = ["BEGIN", "END", "main", "metrics_section", "policy_section", "renewed", "renewed_models"]

BEGIN = "<!-- metrics: written by `make docs`, do not edit -->"
END = "<!-- end of metrics -->"
TABLES_BEGIN = "<!-- tables: written by `make docs`, do not edit -->"
TABLES_END = "<!-- end of tables -->"
POLICY_BEGIN = "<!-- event policy: written by `make docs`, do not edit -->"
POLICY_END = "<!-- end of event policy -->"


def metrics_section() -> str:
    """Every metric in one sentence, as a Markdown table."""
    rows = [
        "| metric | key | unit | direction | smallest sample | meaning |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.label} | `{one.key}` | {one.unit} | {one.direction} | {one.smallest_sample:,} "
        f"| {one.meaning} |"
        for one in METRICS
    ]
    return "\n".join(rows)


def policy_section() -> str:
    """What follows from every kind of event, as two Markdown tables."""
    rows = ["| consequence | severity | what it does |", "|---|---|---|"]
    rows += [
        f"| {name.replace('_', ' ')} | {severity} | {meaning} |"
        for name, (severity, meaning) in CONSEQUENCES.items()
    ]
    rows += [
        "",
        "| kind | read in | consequence | meaning | why | what to do |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{one.kind}` | {', '.join(one.sources)} "
        f"| {one.consequence.replace('_', ' ')}{_around(one)} "
        f"| {one.meaning} | {one.why} | {one.remedy} |"
        for one in POLICY
    ]
    return "\n".join(rows)


def _around(row: Row) -> str:
    before_s, after_s = row.around_s
    if not before_s and not after_s:
        return ""
    return f", from {before_s:g} s before to {after_s:g} s after"


def renewed(text: str) -> str:
    """`text` with its lists written anew. Raises ArchiveError without the marks around them."""
    text = _with(text, BEGIN, END, metrics_section())
    text = _with(text, POLICY_BEGIN, POLICY_END, policy_section())
    return _with(text, TABLES_BEGIN, TABLES_END, tables_section())


def renewed_models(text: str) -> str:
    """The page on histories with its models written anew. Raises ArchiveError without the marks."""
    return _with(text, MODELS_BEGIN, MODELS_END, models_section(), "docs/checking-histories.md")


def _with(text: str, begin: str, end: str, section: str, name: str = "results/README.md") -> str:
    before, mark, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not mark or not closed:
        raise ArchiveError(
            f"{name} has lost the marks around a list that is written from the code",
            remedy=f"put the lines {begin} and {end} back",
        )
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"


def main(words: list[str]) -> None:
    """Rewrite the file named on the command line, else the one of this clone."""
    path = Path(words[0]) if words else Path("results/README.md")
    path.write_text(renewed(path.read_text()))
    if not words:
        page = Path("docs/checking-histories.md")
        page.write_text(renewed_models(page.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
