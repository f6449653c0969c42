"""The generator of long campaigns writes what engines write."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.contract.spool import SpoolWriter, read_spool
from loadgen.contract.window import SessionEnd, Window
from tests.golden.pretences import ETCD
from tests.synthetic_campaign import Campaign, course, make_campaign


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    campaign = Campaign(hours=0.01, pretences=(ETCD,), workers=2, rate_per_s=400)
    return (
        make_campaign(tmp_path_factory.mktemp("campaign") / "run", campaign, processes=1) / "etcd"
    )


def test_a_made_frame_says_what_the_same_window_would_say_when_an_engine_spooled_it(etcd, tmp_path):
    frames = list(read_spool(etcd / "load/steady/worker-1.spool"))[:-1]
    writer = SpoolWriter(tmp_path / "spool")
    for frame in frames:
        writer.append_window(Window.from_json(frame))
    writer.close()
    assert frames == list(read_spool(tmp_path / "spool"))
    assert len({frame["start_s"] for frame in frames}) == len(frames) == 2 + 36


def test_the_end_frame_adds_up_the_windows(etcd):
    *windows, end = read_spool(etcd / "load/steady/worker-0.spool")
    held = SessionEnd.from_json(end)
    for name in ("sent", "ok", "failed", "unknown"):
        assert getattr(held, name) == sum(
            operation[name] for window in windows for operation in window["operations"].values()
        )
    assert held.sent == pytest.approx(38 * 400 / 2, rel=0.1)


def test_the_course_of_a_target_is_seeded_autocorrelated_and_has_cycles():
    hour = Campaign(hours=1)
    levels = course(hour, "etcd", 3600)
    assert levels.tolist() == course(hour, "etcd", 3600).tolist()
    assert levels.tolist() != course(hour, "tikv", 3600).tolist()
    assert np.corrcoef(levels[:-1], levels[1:])[0, 1] > 0.8
    assert 2 * np.median(levels) < levels.max()
