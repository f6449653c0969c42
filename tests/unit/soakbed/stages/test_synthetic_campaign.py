"""The generator of long campaigns writes what engines write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadgen.contract.parts import parts_of, read_parts
from loadgen.contract.plan import Plan
from loadgen.contract.spool import SpoolWriter, read_spool
from loadgen.contract.window import SessionEnd, Window
from soakbed.stages.load_account import account_for
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


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same over the end of an hour, as a load host leaves it and as one spool."""
    campaign = Campaign(hours=0.79, pretences=(ETCD,), workers=1, rate_per_s=40, variants=2)
    folder = tmp_path_factory.mktemp("both")
    return [
        make_campaign(folder / name, one, processes=1) / "etcd" / "load" / "steady"
        for name, one in (("sealed", campaign), ("spool", replace(campaign, sealed=False)))
    ]


def test_finished_hours_are_left_sealed_and_say_what_the_spool_says(both):
    assert [[path.suffix for path in parts_of(one, 0)] for one in both] == [
        [".sealed", ".spool"],
        [".spool"],
    ]
    assert list(read_parts(both[0], 0)) == list(read_parts(both[1], 0))


def test_the_account_of_a_session_is_the_same_from_sealed_hours(both):
    plan = Plan.read(both[0] / "plan.json")
    made = account_for(plan, both[0])
    assert made == account_for(plan, both[1])
    assert made.sent == pytest.approx(2846 * 40, rel=0.1)
    assert (made.ended_s - made.started_s, made.outcome) == (2846, "finished")
