"""The list of metrics and rules in `results/README.md`, written from the same data as the page.

`make docs` renews it; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from soakbed.errors import ArchiveError
from soakbed.records.metrics import METRICS

__all__ = ["BEGIN", "END", "main", "metrics_section", "renewed"]

BEGIN = "<!-- metrics: written by `make docs`, do not edit -->"
END = "<!-- end of metrics -->"


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
    """`text` with its list of metrics written anew. Raises ArchiveError without the two marks."""
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ArchiveError(
            "results/README.md has lost the marks around its list of metrics",
            remedy=f"put the lines {BEGIN} and {END} back",
        )
    return f"{before}{BEGIN}\n\n{metrics_section()}\n\n{END}{after}"


def main(words: list[str]) -> None:
    """Rewrite the file named on the command line, else the one of this clone."""
    path = Path(words[0]) if words else Path("results/README.md")
    path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
