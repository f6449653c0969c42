"""Engines that were the limit, told of while the load is on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from soakbed.stages.bound_engines import BLOCK_S, bound_engines

WHOLE = {
    "complete": True,
    "cpu_share": 0.5,
    "wait_share": 0.0,
    "nic_share": np.nan,
    "loop_lag_max_us": 0,
    "late_count": 0,
    "late_p95_us": 0,
    "response_count": 100,
    "response_p95_us": 1000,
    "length_s": 1,
    "worker": 0,
}


def rows(*windows: dict) -> dict[str, np.ndarray]:
    return {
        name: np.array([(WHOLE | window)[name] for window in windows])
        for name in (*WHOLE, "start_s")
    }


def test_each_worker_and_ten_minutes_are_one_event_once_they_are_over():
    busy = {"cpu_share": 0.95}
    part = rows(
        {"start_s": 6001, **busy},
        {"start_s": 6005, "loop_lag_max_us": 10**6},
        {"start_s": 6005, "worker": 1, **busy},
        {"start_s": 6600, **busy},
        {"start_s": 6700},
    )
    first, second = bound_engines([part])
    assert (first.worker, first.at_s, first.until_s) == (0, 6001.0, 6006.0)
    assert first.text == "an engine was the limit in 2 windows: cpu, loop lag"
    assert (second.worker, second.at_s, second.until_s) == (1, 6005.0, 6006.0)
    assert {one.kind for one in (first, second)} == {"engine_bound"}


def test_engines_with_time_to_spare_are_not_told_of():
    assert bound_engines([rows({"start_s": 0}, {"start_s": 5000})]) == []
    assert bound_engines([]) == []


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 2), st.booleans()), max_size=60))
def test_what_was_told_is_told_again_when_more_windows_have_come(seen):
    windows = [
        {"start_s": at_s, "worker": worker, "cpu_share": 0.95 if bound else 0.1}
        for at_s, worker, bound in seen
    ]
    windows.sort(key=lambda one: one["start_s"])
    later = {"start_s": 5000 + 2 * BLOCK_S}
    told = bound_engines([rows(*windows[:30])] if windows else [])
    again = bound_engines([rows(*windows, later)])
    whole = windows[29]["start_s"] // BLOCK_S if len(windows) > 30 else None
    kept = [one for one in told if whole is None or one.at_s // BLOCK_S < whole]
    assert all(one in again for one in kept)
    assert sum(int(one.text.split()[6]) for one in again) == sum(bound for *_, bound in seen)
