"""The ceiling of the load hosts: what is shipped, what is left, when it still holds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from soakbed.adapters.ssh import HostUnreachable, Result
from soakbed.errors import LoadError
from soakbed.records.calibration import Calibration, RunCalibration, Shape, kept_as
from soakbed.records.spec import WorkloadSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages import calibrate as stage
from soakbed.stages import watch
from soakbed.stages.calibrate import (
    KEPT,
    calibrate,
    known_calibration,
    null_hosts,
    stale_reasons,
    warning_of,
    with_earlier,
)
from tests.fakes import FakeLoadHost
from tests.golden.ceilings import calibration

PROJECT = Path(__file__).resolve().parents[4]
WORKLOAD = WorkloadSpec(name="short", keys=500)
BATCHES = WorkloadSpec(name="batches", keys=500, batch=16)
STREAM = WorkloadSpec(name="stream", keys=500, batched_stream=True)


def host(name: str, *cpus: int) -> Host:
    duty = "load" if name.startswith("l") else "data"
    return Host(name=name, duty=duty, address=f"10.0.0.{ord(name[1])}", key_file="k", cpus=cpus)


def made_of(*hosts: Host) -> Testbed:
    named = {one.name: one for one in hosts}
    return Testbed(
        name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts=named
    )


SHARED = made_of(host("d1", 0), host("d2", 0), host("d3", 0), host("l1", 1))
APART = made_of(host("d1"), host("d2"), host("d3"), host("l1"))


class Hosts(FakeLoadHost):
    """Load hosts as ever; data hosts that run null servers, as sets of units and of files."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.busy_with = ""
        self.starts = True
        self.serving: set[str] = set()
        self.asked: list[list[str]] = []
        self.files: dict[str, set[str]] = {}
        self.away: set[str] = set()

    def run(self, host, command, *, timeout_s: float = 60, check: bool = True):
        words = list(command)
        self.asked.append([host.name, *words])
        if host.name in self.away:
            raise HostUnreachable(f"{host.name} is away", remedy="wait")
        match words:
            case ["systemctl", "list-units", *_] if "--state=active,activating" in words:
                return Result(0, self.busy_with, "")
            case ["python3", "-c", _]:
                return Result(0, "Made-up CPU, 1 core(s), 6.1.0\n", "")
            case ["systemd-run", *_]:
                self.serving.add(host.name)
                self.looks = 1
            case ["test", "-s", _]:
                return Result(0 if self.starts and host.name in self.serving else 1, "", "")
            case ["cat", told] if told.endswith("/told"):
                seconds = [{"until_s": time.time() + at, "cpu_share": 0.6} for at in range(-5, 15)]
                return Result(0, "".join(json.dumps(one) + "\n" for one in seconds), "")
            case ["systemctl", "stop", "soakbed-null.service"]:
                self.serving.discard(host.name)
            case ["rm", "-rf", "/run/soakbed-null"]:
                pass
            case _:
                return super().run(host, command, timeout_s=timeout_s, check=check)
        return Result(0, "", "")

    def put_texts(self, host, folder, texts) -> None:
        if "soakbed-null" in folder:
            self.files.setdefault(host.name, set()).update(f"{folder}/{name}" for name in texts)
        else:
            super().put_texts(host, folder, texts)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "LOOK_IN_S", 0.0)
    monkeypatch.setattr(stage, "_READY_S", 0.3)


@pytest.fixture
def hosts(tmp_path):
    return Hosts(tmp_path / "sessions")


def calibrated(
    hosts: Hosts, tmp_path: Path, testbed: Testbed = SHARED, workload: WorkloadSpec = WORKLOAD
) -> Calibration:
    return calibrate(
        testbed,
        workload,
        shell=hosts,
        package=PROJECT / "loadgen",
        engine_build="ab" * 32,
        scratch=tmp_path / "scratch",
        progress=lambda _: None,
    )


def test_each_protocol_gets_a_ceiling_per_load_host_with_the_servers_cpu_beside_it(hosts, tmp_path):
    made = calibrated(hosts, tmp_path)
    assert {name: one.protocol for name, one in made.ceilings.items()} == {
        "redis_cluster": "RESP",
        "etcd": "etcd gRPC",
        "tikv": "TiKV gRPC",
    }
    for ceiling in made.ceilings.values():
        assert ceiling.hosts["l1"].ops_per_s > 100
        assert ceiling.hosts["l1"].cpu_share == 0.5
        assert ceiling.servers == {"d1": 0.6}
        assert ceiling.at_least, "half a core is no ceiling"
    assert made.machines == {"l1": "Made-up CPU, 1 core(s), 6.1.0"}
    assert made.shape == Shape.of(WORKLOAD)


@pytest.mark.parametrize(
    ("workload", "name", "named", "asked"),
    [
        (WORKLOAD, "tikv", "TiKV gRPC", (1, False)),
        (BATCHES, "tikv batch=16", "TiKV gRPC, batches of 16", (16, False)),
        (STREAM, "tikv batched_stream", "TiKV gRPC, one stream", (1, True)),
    ],
)
def test_tikv_is_called_as_the_workload_calls_it_and_no_other_target_is(
    hosts, tmp_path, monkeypatch, workload, name, named, asked
):
    plans = {}
    press = stage._press
    monkeypatch.setattr(
        stage,
        "_press",
        lambda plan, *a, **k: (plans.update({plan.target: plan}), press(plan, *a, **k)),
    )
    made = calibrated(hosts, tmp_path, workload=workload)
    assert set(made.ceilings) == {"etcd", "redis_cluster", name}
    assert made.ceilings[name].named == named
    assert (plans["tikv"].batch, plans["tikv"].batched_stream) == asked
    for other in ("etcd", "redis_cluster"):
        assert (plans[other].batch, plans[other].batched_stream) == (1, False)
        assert made.ceilings[other].named == made.ceilings[other].protocol


def renamed(held: Calibration, workload: WorkloadSpec, **changed) -> Calibration:
    """With TiKV's ceiling under the name that the workload gives it."""
    ceilings = {kept_as(name, workload): one for name, one in held.ceilings.items()}
    return held.model_copy(update={"ceilings": ceilings, **changed})


def test_ceilings_of_other_ways_of_calling_stay_with_the_time_they_were_measured(tmp_path):
    kept, at_s = tmp_path / KEPT, calibration().at_s
    assert with_earlier(calibration(), kept) == calibration(), "there was none"
    for workload in (WORKLOAD, BATCHES, STREAM):
        at_s += 60
        made = with_earlier(renamed(calibration(), workload, at_s=at_s), kept)
        kept.write_text(made.model_dump_json(by_alias=True))
    assert set(made.ceilings) == {
        "etcd", "redis_cluster", "tikv", "tikv batch=16", "tikv batched_stream"
    }  # fmt: skip
    assert made.ceilings["tikv"].at_s == calibration().at_s + 60
    assert made.ceilings["tikv batch=16"].at_s == calibration().at_s + 120


@pytest.mark.parametrize(
    "changed",
    [
        {"engine_build": "00"},
        {"machines": {"l1": "Another CPU"}},
        {"testbed": "another"},
        {"shape": Shape.of(WorkloadSpec(name="w", keys=500, value_bytes=64))},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_where_anything_else_has_changed_no_earlier_ceiling_stays(tmp_path, changed):
    (tmp_path / KEPT).write_text(calibration(**changed).model_dump_json(by_alias=True))
    made = with_earlier(renamed(calibration(), STREAM), tmp_path / KEPT)
    assert set(made.ceilings) == {"etcd", "redis_cluster", "tikv batched_stream"}


def test_a_broken_file_of_an_earlier_calibration_is_replaced(tmp_path):
    (tmp_path / KEPT).write_text("{")
    assert with_earlier(calibration(), tmp_path / KEPT) == calibration()


def test_nothing_is_left_on_any_host(hosts, tmp_path):
    calibrated(hosts, tmp_path)
    assert hosts.serving == set()
    assert list(hosts.root.iterdir()) == []
    (started, *_) = [words for words in hosts.asked if words[1] == "systemd-run"]
    assert "ExecStopPost=+/bin/rm -rf /run/soakbed-null" in started
    assert any(word.startswith("RuntimeMaxSec=") for word in started)
    assert "User=soakbed" in started
    assert "--seconds" in started


def test_hosts_with_their_own_cpus_each_serve_and_those_that_share_send_one(hosts, tmp_path):
    assert [one.name for one in null_hosts(SHARED)] == ["d1"]
    assert [one.name for one in null_hosts(APART)] == ["d1", "d2", "d3"]
    assert set(calibrated(hosts, tmp_path, APART).ceilings["etcd"].servers) == {"d1", "d2", "d3"}


def test_a_null_server_is_not_asked_for_a_promise_that_it_cannot_keep(hosts, tmp_path):
    """It holds no keys: the check before TiKV's load would find nothing of what it wrote."""
    assert "tikv" in calibrated(hosts, tmp_path).ceilings
    assert hosts.checked == []


def test_hosts_that_run_something_are_not_calibrated(hosts, tmp_path):
    hosts.busy_with = "soakbed-load-worker@r1-etcd-steady:0.service loaded active running\n"
    with pytest.raises(LoadError, match="busy with soakbed-load-worker@r1-etcd-steady:0"):
        calibrated(hosts, tmp_path)
    assert hosts.serving == set()


def test_a_null_server_that_does_not_start_is_stopped_and_named(hosts, tmp_path):
    hosts.starts = False
    with pytest.raises(LoadError, match=r"d1: the null server did not start: the unit said why"):
        calibrated(hosts, tmp_path)
    assert hosts.serving == set()


def test_ctrl_c_stops_the_load_and_the_null_server(hosts, tmp_path):
    hosts.raises = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        calibrated(hosts, tmp_path)
    assert hosts.serving == set()
    assert hosts.active == set()
    assert list(hosts.root.iterdir()) == []


MACHINES = {"l1": "Made-up CPU, 1 core(s), 6.1.0-made-up"}
SHAPE = Shape(value_bytes=1024, read_share=0.5, connections=48, pipeline=1)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({}, (), id="nothing changed"),
        pytest.param({"engine_build": "00"}, ("the engine has changed since",), id="engine"),
        pytest.param(
            {"machines": {"l1": "Another CPU"}},
            ("load host l1 is Another CPU, was Made-up CPU, 1 core(s), 6.1.0-made-up",),
            id="machine",
        ),
        pytest.param(
            {"machines": {}},
            ("load host l1 is gone, was Made-up CPU, 1 core(s), 6.1.0-made-up",),
            id="host gone",
        ),
        pytest.param(
            {"shape": SHAPE.model_copy(update={"value_bytes": 4096})},
            ("value_bytes is 4096, calibrated with 1024",),
            id="workload",
        ),
    ],
)
def test_a_calibration_says_why_it_may_no_longer_hold(changed, told):
    now = {"engine_build": "ef" * 32, "machines": MACHINES, "shape": SHAPE}
    assert stale_reasons(calibration(), **(now | changed)) == told


def test_a_run_knows_what_was_calibrated_and_a_file_that_is_broken_says_so(tmp_path):
    def known() -> RunCalibration:
        return known_calibration(
            tmp_path / KEPT,
            WorkloadSpec(name="w", keys=500),
            engine_build="ef" * 32,
            machines=MACHINES,
        )

    assert known() == RunCalibration()
    (tmp_path / KEPT).write_text(calibration().model_dump_json(by_alias=True))
    assert known() == RunCalibration(calibration=calibration())
    assert known().offered_share("redis_cluster", WORKLOAD, 24_000.0) == 0.5
    older = calibration()
    del older.ceilings["tikv"]  # calibrated before TiKV was
    (tmp_path / KEPT).write_text(older.model_dump_json(by_alias=True))
    assert known().offered_share("tikv", WORKLOAD, 24_000.0) is None
    (tmp_path / KEPT).write_text("{")
    assert known().stale == ("calibration.json cannot be read by this soakbed",)


def test_the_ceiling_of_single_calls_is_none_for_batches_or_a_stream():
    held = RunCalibration(calibration=calibration())
    assert held.offered_share("tikv", WORKLOAD, 13_500.0) == 1.0
    for other in (BATCHES, STREAM):
        assert held.offered_share("tikv", other, 13_500.0) is None
        assert held.offered_share("etcd", other, 15_000.0) == 1.0, "etcd has one way of calling"
        assert warning_of(held, "tikv", other, 13_500.0) == ""
        known = RunCalibration(calibration=renamed(calibration(), other))
        assert known.offered_share("tikv", other, 13_500.0) == 1.0
        assert known.offered_share("tikv", WORKLOAD, 13_500.0) is None


def test_a_file_from_before_there_were_ways_of_calling_still_reads(tmp_path):
    older = calibration().model_dump(mode="json", by_alias=True)
    for ceiling in older["ceilings"].values():
        del ceiling["calls"], ceiling["at_s"]
    (tmp_path / KEPT).write_text(json.dumps(older))
    known = known_calibration(tmp_path / KEPT, WORKLOAD, engine_build="ef" * 32, machines=MACHINES)
    assert known == RunCalibration(calibration=calibration())


def test_a_load_is_warned_of_above_seventy_percent_of_the_ceiling_and_only_then():
    held = RunCalibration(calibration=calibration())
    assert warning_of(held, "redis_cluster", WORKLOAD, 0.70 * 48_000) == ""
    assert warning_of(held, "redis_cluster", WORKLOAD, 0.0) == "", "a closed loop offers no rate"
    assert warning_of(RunCalibration(), "redis_cluster", WORKLOAD, 1e9) == ""
    told = warning_of(held, "redis_cluster", WORKLOAD, 36_000.0)
    assert "36,000/s, 75% of the load hosts' ceiling" in told


@pytest.mark.parametrize(("cpu_share", "at_least"), [(0.97, False), (0.80, False), (0.79, True)])
def test_a_ceiling_reads_at_least_where_the_engine_had_cpu_time_to_spare(cpu_share, at_least):
    ceiling = calibration().ceilings["etcd"]
    one = ceiling.hosts["l1"].model_copy(update={"cpu_share": cpu_share})
    assert ceiling.model_copy(update={"hosts": {"l1": one}}).at_least is at_least
