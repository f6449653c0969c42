"""results/README.md lists every metric, and its list is never edited by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from soakbed.archive.data.schema import TABLES
from soakbed.errors import ArchiveError
from soakbed.report.readme import main, renewed

README = Path(__file__).resolve().parents[4] / "results" / "README.md"


def test_the_list_of_metrics_is_renewed_by_make_docs():
    assert renewed(README.read_text()) == README.read_text(), "run: make docs"


def test_renewing_writes_the_list_and_leaves_the_rest(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text().replace("| Capacity |", "| Speed |"))
    main([str(copy)])
    assert copy.read_text() == README.read_text()


def test_every_column_of_every_table_is_in_the_documentation():
    text = README.read_text()
    for name, table in TABLES.items():
        section = text.partition(f"### `{name}`")[2].partition("###")[0]
        assert [one for one in table.columns if f"| `{one}` |" not in section] == []


def test_renewing_writes_the_tables_too(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text().replace("| `buckets` |", "| `bins` |"))
    main([str(copy)])
    assert copy.read_text() == README.read_text()


def test_a_readme_without_its_marks_is_refused():
    with pytest.raises(ArchiveError, match="lost the marks"):
        renewed("# What lies here\n")
