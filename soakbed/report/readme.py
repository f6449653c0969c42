"""The metrics and the tables in `results/README.md`, written from the same data as the code's.

`make docs` renews it; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from soakbed.archive.data.documentation import tables_section
from soakbed.errors import ArchiveError
from soakbed.records.metrics import METRICS

__all__ = ["BEGIN", "END", "main", "metrics_section", "renewed"]

BEGIN = "<!-- metrics: written by `make docs`, do not edit -->"
END = "<!-- end of metrics -->"
TABLES_BEGIN = "<!-- tables: written by `make docs`, do not edit -->"
TABLES_END = "<!-- end of tables -->"


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


def renewed(text: str) -> str:
    """`text` with its lists written anew. Raises ArchiveError without the marks around them."""
    text = _with(text, BEGIN, END, metrics_section())
    return _with(text, TABLES_BEGIN, TABLES_END, tables_section())


def _with(text: str, begin: str, end: str, section: str) -> str:
    before, mark, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not mark or not closed:
        raise ArchiveError(
            "results/README.md has lost the marks around a list that is written from the code",
            remedy=f"put the lines {begin} and {end} back",
        )
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"


def main(words: list[str]) -> None:
    """Rewrite the file named on the command line, else the one of this clone."""
    path = Path(words[0]) if words else Path("results/README.md")
    path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
