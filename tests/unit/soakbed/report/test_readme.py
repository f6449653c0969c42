"""results/README.md lists every metric, and its list is never edited by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from soakbed.archive.data.schema import TABLES
from soakbed.errors import ArchiveError
from soakbed.histories.levels import LEVELS
from soakbed.report.readme import main, renewed, renewed_models

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


HISTORIES = README.parents[1] / "docs/checking-histories.md"


def test_the_models_of_histories_are_renewed_by_make_docs_and_every_level_is_told():
    told = HISTORIES.read_text()
    assert renewed_models(told) == told, "run: make docs"
    with pytest.raises(ArchiveError, match=r"docs/checking-histories.md has lost the marks"):
        renewed_models("# Checking histories\n")
    assert [level for level in LEVELS if f"| `{level}` |" in told] == list(LEVELS)
