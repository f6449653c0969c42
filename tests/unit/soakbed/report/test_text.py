"""The short form in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from soakbed.report.reading import read_run
from soakbed.report.text import summary_text
from tests.golden.recorded import RECORDED


def test_the_terminal_shows_verdicts_figures_and_reasons():
    console = Console(file=io.StringIO(), width=80)
    console.print(summary_text(read_run(RECORDED).summary))
    text = console.file.getvalue()
    assert "etcd 3.5.16" in text
    assert "valid" in text
    assert "not measured" in text
    assert "TiKV: no source has tikv 6.5.5" in text
    assert "≥ 4" in text
    assert "…" not in text, "every figure is whole on a terminal of 80 columns"
