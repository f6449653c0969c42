"""A disk that will be full before the end is told of; one that wavers or levels off is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.records.policy import stops
from soakbed.records.testbed import Host
from soakbed.stages.disk_growth import LEAST_POINTS, full_at_s
from soakbed.stages.probes.watch import MOST_POINTS, POINT_EVERY_S, grown
from soakbed.stages.watchman import foretold

GB = 10**9
START_S = 1_795_512_400.0
DATA = Host(name="d1", duty="data", address="10.0.0.1", key_file="k")


def points(used, every_s=POINT_EVERY_S):
    return [(START_S + at * every_s, float(held)) for at, held in enumerate(used)]


def test_a_disk_that_grows_evenly_is_full_when_it_says():
    # 1 GB every ten minutes; 10 GB now, 100 GB are full: 90 points after the last.
    seen = points([GB * at for at in range(11)])
    at_s = full_at_s(seen, limit_bytes=100 * GB, until_s=START_S + 72 * 3600)
    assert at_s == pytest.approx(START_S + 100 * POINT_EVERY_S)
    assert full_at_s(seen, limit_bytes=100 * GB, until_s=START_S + 99 * POINT_EVERY_S) is None


def test_a_log_that_is_rewritten_again_and_again_is_no_growth():
    saw = [20 * GB + GB * (at % 4) for at in range(24)]
    assert full_at_s(points(saw), limit_bytes=30 * GB, until_s=START_S + 10**7) is None
    rising = [held + at * GB // 2 for at, held in enumerate(saw)]
    assert full_at_s(points(rising), limit_bytes=60 * GB, until_s=START_S + 10**7) is not None


def test_a_plateau_and_a_short_look_foretell_nothing():
    level = [5 * GB] * LEAST_POINTS
    assert full_at_s(points(level), limit_bytes=6 * GB, until_s=START_S + 10**9) is None
    young = [GB * at for at in range(LEAST_POINTS - 1)]
    assert full_at_s(points(young), limit_bytes=6 * GB, until_s=START_S + 10**9) is None


@given(st.lists(st.floats(-4000, 4000), max_size=120))
def test_a_host_keeps_few_points_in_order_whatever_its_clock_does(steps_s):
    before, at_s = None, START_S
    for step_s in steps_s:
        at_s += step_s
        now = {"at_s": at_s, "disks": {"/data": {"total": 100, "free": 40, "inodes_free": 1}}}
        now["used"] = grown(before, now)
        before = now
        times = [time_s for time_s, _ in now["used"]["/data"]]
        assert len(times) <= MOST_POINTS
        assert times == sorted(set(times))
        assert times[-1] <= at_s


def test_the_watch_tells_of_it_and_stops_nothing():
    disks = {"/data": {"total": 100 * GB, "free": 89 * GB, "inodes_free": 9}}
    used = {"/data": [list(one) for one in points([GB * at for at in range(11)])]}
    said = {"now": {"at_s": START_S + 6000, "disks": disks, "used": used}}
    (event,) = foretold(DATA, said, until_s=START_S + 72 * 3600)
    assert (event.kind, event.host) == ("disk_full_soon", "d1")
    assert event.text == "/data: as it filled for 1.7 h, 97% full at 2026-11-25 01:36 UTC"
    assert not stops(event)
    assert list(foretold(DATA, said, until_s=0)) == []
    assert list(foretold(DATA, {"now": {"at_s": START_S, "disks": disks}}, until_s=1e12)) == []
