"""Seconds at the generator's limit: in the plots, in the table, and beside the ceiling."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from soakbed.records.calibration import RunCalibration
from soakbed.records.numbers import MarkedSeconds
from soakbed.report.tables_marks import marked, stretches
from soakbed.report.text import calibration_text
from soakbed.report.timelines import Clock, capacity, over_time
from tests.golden.ceilings import calibration
from tests.golden.make_run import make_run
from tests.golden.pretences import ETCD, REDIS
from tests.golden.recorded import RECORDED, judged, page_of, shown_of


def mark(at_s: int, *, worker: int = 0, dropped: int = 0, **broken: float) -> MarkedSeconds:
    return MarkedSeconds(
        at_s=at_s,
        seconds=1,
        worker=worker,
        broken=broken,
        dropped=dropped,
        due=10,
        sent=10 - dropped,
        overdue_max=at_s,
    )


def test_neighbouring_seconds_of_one_worker_and_reason_are_one_stretch_with_the_worst_value():
    found = stretches(
        [
            mark(2, cpu=0.85),
            mark(2, worker=1, cpu=0.9),
            mark(3, cpu=0.95),
            mark(4, cpu=0.9, dropped=3),
            mark(6, cpu=0.82),
            mark(7, core_taken=0.2),
        ]
    )
    assert [(one.worker, one.from_s, one.to_s) for one in found] == [
        (0, 2, 4),
        (1, 2, 3),
        (0, 4, 5),
        (0, 6, 7),
        (0, 7, 8),
    ]
    assert found[0].broken == {"cpu": 0.95}
    assert (found[0].due, found[0].sent, found[0].overdue_max) == (20, 20, 3)
    assert found[2].dropped == 3


def drawn(folder: Path):
    """Plots over time by name, with their figures."""
    shown = shown_of(folder)
    plots = [*over_time(shown, Clock.of(shown)), capacity(shown)]
    return {plot.name: (plot, json.loads(plot.figure)) for plot in plots}


def test_bound_seconds_are_shaded_and_seconds_with_drops_have_a_bar_at_the_foot(tmp_path):
    folder = make_run(tmp_path / "run", targets=(replace(ETCD, dropped=5), REDIS))
    judged(folder)
    plots = drawn(folder)
    for name in ("time-throughput", "time-p99-read", "time-p99-write"):
        plot, figure = plots[name]
        bands = [one for one in figure["layout"]["shapes"] if one["name"] == "etcd"]
        assert [(one["x0"], one["x1"]) for one in bands if one["y1"] == 1.0] == [(4, 5)]
        feet = [(one["x0"], one["x1"]) for one in bands if one["y1"] < 1.0]
        assert (min(feet)[0], max(feet)[1]) == (0, 12)
        assert "Shaded: seconds in which the generator itself was the limit." in plot.reading
        assert "Bar at the foot: seconds in which requests were dropped." in plot.reading
    # The closed loop kept Redis' generator busy all the time.
    _, figure = plots["time-capacity"]
    assert [(one["x0"], one["x1"]) for one in figure["layout"]["shapes"]] == [(0, 6)]


def test_a_run_without_such_a_second_says_so_and_has_no_shade(tmp_path):
    sound = (replace(ETCD, core_taken_at_s=-1),)
    folder = make_run(tmp_path / "run", targets=sound, with_tikv=False)
    judged(folder)
    for plot, figure in drawn(folder).values():
        marks = [one for one in figure["layout"].get("shapes", ()) if one["name"] != "muted"]
        assert marks == []
        assert "Shaded" not in plot.reading
    assert "There was none." in marked(shown_of(folder)).caption


def test_the_table_lists_each_stretch_with_its_reason_and_worst_value():
    table = marked(shown_of(RECORDED))
    rows = {
        section.title: [(row.head.text, row.cells[1].text) for row in section.rows]
        for section in table.sections
    }
    assert rows["etcd 3.5.16, steady phase"] == [("4", "core taken 21 %")]
    ((seconds, told),) = rows["Redis Cluster 7.0.15, capacity phase"]
    assert seconds == "0 to 5"
    assert told.startswith("cpu 9")


def with_calibration(tmp_path: Path, held: RunCalibration | None) -> Path:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["calibration"]
    if held is not None:
        manifest["calibration"] = held.model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(manifest))
    judged(folder)
    return folder


def caveats(folder: Path, target: str) -> str:
    return " ".join(json.loads((folder / "summary.json").read_text())["targets"][target]["caveats"])


def test_the_offered_rate_is_shown_as_a_share_of_the_ceiling(tmp_path):
    folder = with_calibration(tmp_path, RunCalibration(calibration=calibration()))
    text = page_of(folder)
    assert "RESP 48,000/s, etcd gRPC 15,000/s" in text
    assert "Offered, of the generator&#39;s ceiling" in text
    assert "of 15,000/s" in text
    assert "the load hosts reach" not in caveats(folder, "redis_cluster")


def test_more_than_seventy_percent_of_the_ceiling_is_a_caveat_and_less_is_none(tmp_path):
    held = calibration()
    offered = 46000.0 * 0.5
    for share, warned in ((0.70, False), (0.71, True)):
        resp = held.ceilings["redis_cluster"]
        host = resp.hosts["l1"].model_copy(update={"ops_per_s": offered / share})
        ceilings = {"redis_cluster": resp.model_copy(update={"hosts": {"l1": host}})}
        now = held.model_copy(update={"ceilings": ceilings})
        folder = with_calibration(tmp_path / str(share), RunCalibration(calibration=now))
        assert ("that the load hosts reach" in caveats(folder, "redis_cluster")) == warned
        assert json.loads((folder / "redis_cluster/verdict.json").read_text())["verdict"] == "valid"


def test_a_calibration_that_may_not_hold_says_so_on_the_page_and_as_a_caveat(tmp_path):
    stale = RunCalibration(calibration=calibration(), stale=("the engine has changed since",))
    folder = with_calibration(tmp_path, stale)
    assert "may no longer hold: the engine has changed since" in page_of(folder)
    assert "may no longer hold: the engine has changed since" in caveats(folder, "etcd")


@pytest.mark.parametrize("held", [None, RunCalibration()], ids=["an old run", "not calibrated"])
def test_without_a_calibration_the_page_says_how_to_make_one(tmp_path, held):
    text = page_of(with_calibration(tmp_path, held))
    assert "make calibrate measures it" in text
    assert "not calibrated" in text


def test_a_ceiling_measured_on_a_busy_machine_says_so():
    held = calibration()
    resp = held.ceilings["redis_cluster"]
    one = resp.hosts["l1"].model_copy(update={"cpu_share": 0.45, "wait_share": 0.4})
    busy = held.model_copy(
        update={"ceilings": {"redis_cluster": resp.model_copy(update={"hosts": {"l1": one}})}}
    )
    console = Console(width=120, record=True)
    console.print(calibration_text(busy))
    said = " ".join(console.export_text().split())
    assert "≥ 48,000" in said
    assert "Others had the engine's core of l1 for more than 10% of a second" in said


def test_the_terminal_shows_the_ceiling_in_eighty_columns():
    console = Console(width=80, record=True)
    console.print(calibration_text(calibration()))
    said = console.export_text()
    assert "48,000" in said and "RESP" in said and "70 %" in said.replace("70%", "70 %")
    assert max(len(line) for line in said.splitlines()) <= 80
