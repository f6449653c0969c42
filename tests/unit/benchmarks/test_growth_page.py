"""Growth over hours: the line is the line, and the page holds what it draws."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.growth_page import Growth, fitted, page
from tests.benchmarks.tree_watch import CommandFailed, watched

LINEAR = Growth("Report", "s", (9.0, 18.0, 36.0, 72.0), (3.0, 5.0, 9.0, 17.0), limit=60.0)


def test_the_line_through_linear_figures_is_exact():
    fit = fitted(LINEAR)
    assert (fit.base, fit.per_hour) == pytest.approx((1.0, 2 / 9))
    assert fit.worst == pytest.approx(0.0, abs=1e-9)
    assert fit.r2 == pytest.approx(1.0)


def test_what_grows_faster_than_the_hours_is_far_from_its_line():
    squares = Growth("Report", "s", LINEAR.hours, tuple(hours**2 for hours in LINEAR.hours))
    assert fitted(squares).worst > 0.05


def test_two_figures_have_no_fit():
    assert fitted(Growth("Report", "s", (1.0, 2.0), (1.0, 5.0))) is None


def test_the_page_has_each_figure_in_its_table_and_asks_nobody():
    made = page("Cost", "two cores", [LINEAR])
    assert "<td>17.0</td>" in made
    assert "limit 60 s" in made
    assert "http" not in made
    assert "<script" not in made


def test_memory_of_children_counts():
    child = "import time; held = bytearray(60_000_000); time.sleep(3)"
    words = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert watched([sys.executable, "-c", words], environment={}).peak_rss_bytes > 70_000_000


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(CommandFailed, match="ended with 3"):
        watched([sys.executable, "-c", "raise SystemExit(3)"], environment={})
