"""The page says how far apart the load hosts' clocks were, and how well that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from soakbed.records.clocks import ClockComparison, ClockReading, SessionClocks
from soakbed.report.identity import identity
from soakbed.report.reading import ReportedRun, read_run

RECORDED = Path(__file__).resolve().parents[3] / "golden/run-made-up"


@pytest.fixture(scope="module")
def run() -> ReportedRun:
    return read_run(RECORDED)


def on_two(run: ReportedRun, **clocks: SessionClocks) -> ReportedRun:
    l2 = run.testbed.hosts["l1"].model_copy(update={"name": "l2"})
    testbed = run.testbed.model_copy(update={"hosts": {**run.testbed.hosts, "l2": l2}})
    held = {session: around.model_dump(mode="json") for session, around in clocks.items()}
    return replace(run, testbed=testbed, manifest={**run.manifest, "clock_offsets": {"etcd": held}})


def told(run: ReportedRun) -> tuple[str, str]:
    (fact,) = [one for one in identity(run) if one.name == "Load hosts' clocks"]
    return fact.value, fact.note


def compared(apart_us: int, **unknown: str) -> ClockComparison:
    hosts = {
        name: ClockReading(offset_us=offset_us, bound_us=120, probes=12)
        for name, offset_us in (("l1", 7), ("l2", 7 + apart_us))
        if name not in unknown
    }
    return ClockComparison(at_s=1.0, hosts=hosts, unknown=unknown)


def test_one_load_host_has_one_clock(run):
    assert told(run)[0] == "one"


def test_the_widest_of_all_comparisons_is_shown_with_its_bound(run):
    around = SessionClocks(before=compared(40), after=compared(-2310))
    value, note = told(on_two(run, capacity=around, steady=SessionClocks(before=compared(0))))
    assert value == "2.31 ms apart at most, known to ±0.240 ms"
    assert note == "l1 and l2; read 3 times, before and after each session"


def test_a_host_that_was_not_read_is_named(run):
    around = SessionClocks(before=compared(40), after=compared(0, l2="away"))
    assert told(on_two(run, capacity=around))[1].endswith("; at times not read: l2")


def test_what_nobody_compared_is_not_recorded(run):
    assert told(on_two(run)) == ("not recorded", "")
