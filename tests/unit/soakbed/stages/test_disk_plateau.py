"""How much disk a soak needs, what is refused before it starts, and what is only told."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.pki import ensure_pki
from soakbed.adapters.ssh import Result
from soakbed.errors import LoadError
from soakbed.records.spec import Phases
from soakbed.stages.before_load import check_certificates
from soakbed.stages.disk_plateau import Demand, Room, check_room, demand_of, refusals, room_of
from soakbed.stages.housekeeping import defrag_every_s
from soakbed.stages.load_plan import plan_session
from soakbed.stages.watchman import pki_of
from tests.golden import make_run
from tests.golden.make_run import ready_of, spec_of
from tests.golden.pretences import ETCD, REDIS

GB = 10**9
DAY_S = 86_400


def spec(keys=1_000_000, value_bytes=1024, steady_s=3 * DAY_S, **more):
    made = spec_of((ETCD,), Phases(steady_s=steady_s), with_tikv=False)
    changed = {"keys": keys, "value_bytes": value_bytes, **more}
    return made.model_copy(update={"workload": made.workload.model_copy(update=changed)})


def demand(target, rate_per_s=4000.0, hosts=3, made=None, **more):
    disk = {"disk_bytes": 500 * GB} | more
    return demand_of(target, made or spec(), rate_per_s=rate_per_s, hosts=hosts, **disk)


def test_etcd_keeps_two_retentions_of_revisions_beside_its_keys():
    # (1e6 keys + 2,000 writes/s x 600 s) x (7 + 12 + 1024 + 64 bytes) x 1.5 for pages
    made = demand("etcd")
    assert made.parts["database"] == pytest.approx(2_200_000 * 1107 * 1.5, rel=0.01)
    assert made.parts["log"] == max(5 * 64 * 2**20, 200_000 * (1043 + 100))
    longer = demand("etcd", settings={"ETCD_AUTO_COMPACTION_RETENTION": "10m0s"})
    assert longer.parts["database"] > 1.5 * made.parts["database"]


def test_the_database_of_etcd_must_stay_clear_of_its_quota():
    ((what, needed, allowed),) = demand("etcd", rate_per_s=8000).within
    assert what.endswith("etcd_quota_backend_bytes")
    assert (needed < allowed, needed > 0.6 * allowed) == (True, True)
    small = demand("etcd", settings={"quota_backend_bytes": str(2 * 2**30)})
    assert "etcd_quota_backend_bytes" in refusals(small, {})[0]


def test_redis_holds_a_master_and_a_replica_with_three_logs_each_on_every_host():
    made = demand("redis_cluster", made=spec(keys=3_000_000))
    assert made.parts["log of the master"] == 3 * 1_000_000 * (18 + 1024 + 60)
    assert made.parts["log of the replica"] == made.parts["log of the master"]
    full = demand("redis_cluster", settings={"maxmemory": str(400 * 10**6)})
    assert "maxmemory" in refusals(full, {})[0]
    assert refusals(demand("redis_cluster", settings={"maxmemory": str(GB)}), {}) == []


def test_tikv_spreads_three_replicas_and_keeps_its_raft_log_within_the_disk():
    three, six = demand("tikv"), demand("tikv", hosts=6)
    assert three.parts["keys and values"] == pytest.approx(
        2 * six.parts["keys and values"], rel=0.01
    )
    assert demand("tikv", disk_bytes=GB).parts["Raft log"] < 400 * 10**6
    assert three.parts["Raft log"] > 9 * GB


@given(
    st.sampled_from(["etcd", "redis_cluster", "tikv"]),
    st.integers(100, 10**8),
    st.integers(64, 10**6),
    st.floats(0, 10**6),
)
def test_more_keys_larger_values_and_more_writes_never_need_less(target, keys, size, rate):
    less = demand(target, rate, made=spec(keys=keys, value_bytes=size)).bytes_
    for more in (
        demand(target, rate, made=spec(keys=keys * 2, value_bytes=size)),
        demand(target, rate, made=spec(keys=keys, value_bytes=size + 1)),
        demand(target, rate * 2 + 1, made=spec(keys=keys, value_bytes=size)),
    ):
        assert more.bytes_ >= less > 0


@pytest.mark.parametrize(("needed", "refused"), [(80, False), (81, True)])
def test_four_fifths_of_what_the_disk_has_for_the_target_may_be_filled(needed, refused):
    room = Room(total_bytes=500 * GB, free_bytes=70 * GB, own_bytes=30 * GB)
    assert bool(refusals(Demand({"all": needed * GB}), {"d1": room})) == refused


class Disks:
    """Hosts whose data disks are as said; what they were asked is kept."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.asked: list[list[str]] = []

    def run(self, host, command, *, timeout_s=60, check=True):
        self.asked.append(list(command))
        return Result(0, f" {500 * GB} {self.free_bytes}\n{GB // 2}\n", "")


def test_a_disk_is_asked_by_one_command():
    shell = Disks(7 * GB)
    host = make_run.testbed_of(spec()).hosts["d1"]
    assert room_of(host, "etcd", shell=shell) == Room(500 * GB, 7 * GB, GB // 2)
    assert len(shell.asked) == 1


def checked(made, free_bytes, pretence=ETCD):
    told: list[str] = []
    testbed, ready = make_run.testbed_of(made), ready_of(pretence)
    plan = plan_session(
        made, ready, run_id="r", session="steady", capacity_per_s=2000.0, testbed=testbed
    )
    check_room(plan, ready, made, testbed, shell=Disks(free_bytes), progress=told.append)
    return told


def test_a_soak_that_would_fill_a_disk_is_refused_with_the_numbers_and_the_way_out():
    assert checked(spec(), 400 * GB) == []
    with pytest.raises(LoadError, match=r"(?s)out of room.*GB will be needed of the") as refused:
        checked(spec(), GB // 10)
    assert "fewer keys" in refused.value.remedy
    # Three days of windows of one worker, a second each, do not fit into what the load host has.
    assert "l1: 0.8 GB will be needed" in refused.value.problem


def test_a_short_run_is_told_and_not_refused():
    (told,) = checked(spec(steady_s=60), GB // 10, pretence=REDIS)
    assert told.startswith("warning: redis_cluster: ")
    assert "d1" in told or "this machine" in told


def test_certificates_must_outlive_load_and_collection(tmp_path):
    testbed = make_run.testbed_of(spec()).model_copy(
        update={"known_hosts_file": str(tmp_path / "ssh" / "known_hosts")}
    )
    check_certificates(testbed, 1e12)  # a testbed without certificates of ours
    now = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    life, left = dt.timedelta(days=3), dt.timedelta(days=1)
    ensure_pki(pki_of(testbed), {"d1": ["10.0.0.1"]}, lifetime=life, renew_below=left, now=now)
    check_certificates(testbed, now.timestamp() + 3 * DAY_S)
    with pytest.raises(LoadError, match="valid until 2026-11-27 00:00") as refused:
        check_certificates(testbed, now.timestamp() + 3 * DAY_S + 1)
    assert "soakbed provision" in refused.value.remedy


@pytest.mark.parametrize(
    ("steady_s", "asked", "every_s"),
    [
        (60, "auto", 0),
        (7199, "auto", 0),
        (7200, "auto", 600),
        (12 * 3600, "auto", 3600),
        (72 * 3600, "auto", 6 * 3600),
        (30 * DAY_S, "auto", 6 * 3600),
        (72 * 3600, "off", 0),
        (240, "on", 600),
    ],
)
def test_housekeeping_follows_the_length_of_the_soak(steady_s, asked, every_s):
    assert defrag_every_s(spec(steady_s=steady_s, housekeeping=asked)) == every_s
