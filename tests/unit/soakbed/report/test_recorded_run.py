"""A recorded run, judged again: the same numbers, verdicts, summary and page to the letter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soakbed.report.numbers_csv import numbers_csv
from tests.golden.recorded import RECORDED, RECORDED_TIKV, judged, page_of, plain, shown_of

RENEW = "if the change is meant: python -m tests.golden.make_run"


@pytest.fixture(scope="module", params=[RECORDED, RECORDED_TIKV], ids=lambda path: path.name)
def both(request, tmp_path_factory) -> tuple[Path, Path]:
    """A run as it was recorded, and its copy that was judged again."""
    recorded = request.param
    copy = tmp_path_factory.mktemp("recorded") / recorded.name
    shutil.copytree(recorded, copy)
    for made in [*copy.glob("*/numbers.json"), *copy.glob("*/verdict.json"), copy / "summary.json"]:
        made.unlink()
    judged(copy)
    return recorded, copy


@pytest.mark.parametrize("record", ["numbers", "verdict"])
def test_judging_again_says_the_same(both, record):
    recorded, again = both
    names = [path.relative_to(recorded) for path in recorded.glob(f"*/{record}.json")]
    assert names
    for name in names:
        assert plain(again / name) == plain(recorded / name), RENEW


def test_the_summary_is_the_same(both):
    recorded, again = both
    assert plain(again / "summary.json") == plain(recorded / "summary.json"), RENEW


def test_the_page_is_the_same(both):
    recorded, again = both
    assert page_of(again) == (recorded / "report/index.html").read_text(), RENEW
    assert numbers_csv(shown_of(again)) == (recorded / "report/numbers.csv").read_text(), RENEW
