"""Who stands on a page: labels, colours that colour-blind readers can tell apart, and marks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from soakbed.report.contenders import Absent
from soakbed.report.words import INKS, SYMBOLS
from tests.golden.many_runs import comparison_of, five_runs, two_runs
from tests.golden.recorded import RECORDED, RECORDED_TIKV, shown_of

PAPER = {"light": "#fdfdfc", "dark": "#14161a"}  # as page.css has it
# Colour vision as linear RGB -> linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.0.
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Linear sRGB -> cone response -> OKLab (Ottosson 2020).
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# About ten times what is just noticed between large patches; two lines of 2 px need that much.
LEAST_DISTANCE = 0.11


def linear(colour: str):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str):
    return OKLAB @ np.cbrt(CONES @ np.clip(VISION[vision] @ linear(colour), 0, 1))


def contrast(one: str, other: str) -> float:
    light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_can_be_told_apart_however_colours_are_seen(shade, vision):
    colours = [getattr(ink, shade) for ink in INKS]
    for one, other in itertools.combinations(colours, 2):
        assert math.dist(seen(one, vision), seen(other, vision)) > LEAST_DISTANCE, (one, other)


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_every_colour_stands_out_from_its_paper(shade):
    for ink in INKS:
        assert contrast(getattr(ink, shade), PAPER[shade]) >= 3.0  # WCAG 2.1, 1.4.11


def test_in_one_run_targets_keep_their_names_and_their_own_colours():
    shown = shown_of(RECORDED)
    assert [one.label for one in shown.contenders] == ["etcd 3.5.16", "Redis Cluster 7.0.15"]
    assert [one.ink for one in shown.contenders] == list(INKS[:2])
    assert [one.stem for one in shown.contenders] == ["etcd", "redis_cluster"]
    (absent,) = [one for one in shown.entries if isinstance(one, Absent)]
    assert (absent.label, absent.held.reason) == ("TiKV", "no source has tikv 6.5.5")


def test_in_several_runs_each_target_of_each_is_a_contender_of_its_own(tmp_path):
    runs = two_runs(tmp_path, sampled=False)
    shown = shown_of(*runs)
    assert [one.label for one in shown.contenders] == [
        "A · etcd 3.5.16",
        "A · Redis Cluster 7.0.15",
        "B · etcd 3.5.21",
        "B · Redis Cluster 7.0.15",
    ]
    assert len({(one.ink, one.symbol) for one in shown.contenders}) == 4
    assert len({one.key for one in shown.contenders}) == 4


def test_repeats_that_a_comparison_combines_share_a_colour_and_differ_by_mark(tmp_path):
    runs = five_runs(tmp_path)
    comparison = comparison_of(runs)
    shown = shown_of(*runs, comparison=comparison)
    inks = [one.ink for one in shown.contenders]
    assert inks == [INKS[0]] * 3 + [INKS[1]] * 2
    assert len({(one.ink, one.symbol) for one in shown.contenders}) == 5
    found = shown.compared("etcd 3.5.21")
    assert found is not None and found.run.run_id == "made-up-3"


def test_more_contenders_than_colours_still_have_a_mark_of_their_own():
    shown = shown_of(*[RECORDED_TIKV] * 9)
    assert len({(one.ink, one.symbol) for one in shown.contenders}) == 9
    assert len(SYMBOLS) > len(INKS)
