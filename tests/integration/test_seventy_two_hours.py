"""The four programs of a soak live through windows together, and what they show is real."""

from __future__ import annotations

from loadgen.contract.parts import read_parts
from tests.benchmarks.growth_page import page
from tests.benchmarks.seventy_two_hours import BACKFILL_S, PARTS, growths, live, undergone


def test_engine_worker_master_and_controller_stay_as_they_were(tmp_path):
    with live(tmp_path, operations=40) as four:
        *_, course = undergone(four, hours=2, hour_s=200, warm_s=200)
        written = [record["seq"] for record in read_parts(four.session, 0)]
        fetched = [record["seq"] for record in read_parts(four.target / "load" / "steady", 0)]
    assert written == list(range(600 + BACKFILL_S))
    assert fetched == list(range(720)), "back-filled every 180 s"
    assert 0 < course.settled[0] < sum(course.host_bytes)
    assert course.hours == [1, 2]
    assert course.worst() < 3_000_000
    assert all(course.base[name] > 10_000_000 for name in PARTS)
    assert course.host_bytes[0] < course.host_bytes[1]
    drawn = page("Memory and disk", "as measured", growths(course))
    for name in PARTS:
        assert f"Memory of the {name}, grown" in drawn
