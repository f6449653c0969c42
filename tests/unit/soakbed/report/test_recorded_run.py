"""A recorded run, judged again: the same numbers, verdicts, summary and page to the letter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soakbed.report.numbers_csv import numbers_csv
from soakbed.report.reading import read_run
from tests.golden.recorded import RECORDED, judged, page_of, plain

RENEW = "if the change is meant: python -m tests.golden.make_run"


@pytest.fixture(scope="module")
def again(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("recorded") / RECORDED.name
    shutil.copytree(RECORDED, copy)
    for made in [*copy.glob("*/numbers.json"), *copy.glob("*/verdict.json"), copy / "summary.json"]:
        made.unlink()
    judged(copy)
    return copy


@pytest.mark.parametrize("target", ["etcd", "redis_cluster"])
@pytest.mark.parametrize("record", ["numbers", "verdict"])
def test_judging_again_says_the_same(again, target, record):
    name = f"{target}/{record}.json"
    assert plain(again / name) == plain(RECORDED / name), RENEW


def test_the_summary_is_the_same(again):
    assert plain(again / "summary.json") == plain(RECORDED / "summary.json"), RENEW


def test_the_page_is_the_same(again):
    assert page_of(again) == (RECORDED / "report/index.html").read_text(), RENEW
    assert numbers_csv(read_run(again)) == (RECORDED / "report/numbers.csv").read_text(), RENEW
