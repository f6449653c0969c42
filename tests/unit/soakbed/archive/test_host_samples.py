"""Samples of a host -> columns: counters become what was used, and nothing is made up."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.archive.data.sample_columns import HOSTS_COLUMNS, UNITS_COLUMNS
from soakbed.archive.data.samples import read_samples, samples_of_target
from soakbed.stages.probes.samples import ALLOWANCES, COLUMNS, SCHEMA, UNIT_COLUMNS

SOURCES = {
    group: ["host", "somewhere"]
    for group in ("cpu", "cpu_steal", "memory", "disk_bytes", "disk_operations", "network")
}


def line(record) -> bytes:
    said = json.dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(said), said)


def start(**changed) -> dict:
    made = {"schema": SCHEMA, "interval_s": 5, "boot": "one", "cores": 2, "sources": SOURCES}
    return {**made, "columns": COLUMNS, "unit_columns": UNIT_COLUMNS, **changed}


def sample(at: float, *, wall_s=1000.0, busy=0.5, units=None, **changed) -> list:
    """Of a host that does the same all the time: everything grows by a fixed amount per second."""
    row = {
        "at_s": wall_s + at, "mono_s": at, "cpu_busy_s": busy * at, "cpu_steal_s": 0.1 * at,
        "memory_used_bytes": 7000, "disk_read_bytes": 10 * at, "disk_written_bytes": 20 * at,
        "disk_reads": at, "disk_writes": 2 * at, "disk_busy_s": 0.25 * at,
        "net_received_bytes": 100 * at, "net_sent_bytes": 200 * at,
        "disk_read_wait_s": 0.001 * at, "disk_write_wait_s": 0.004 * at,
        "net_received_packets": 3 * at, "net_sent_packets": 4 * at,
        **dict.fromkeys(ALLOWANCES), **changed,
    }  # fmt: skip
    return [*(row[column] for column in COLUMNS), units or {}]


def unit(at: float, *, began=0.0) -> list:
    return [began, 0.3 * (at - began), 900 + at, 5 * (at - began), 6 * (at - began)]


def file_of(folder: Path, *records, packed=False) -> Path:
    content = b"".join(one if isinstance(one, bytes) else line(one) for one in records)
    path = folder / ("samples.jsonl.gz" if packed else "samples.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def read(folder: Path, *records, packed=False):
    return read_samples(file_of(folder, *records, packed=packed), host="d1", duty="data")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_counters_become_what_was_used_between_samples(tmp_path, packed):
    found = read(tmp_path, start(), sample(10), sample(15), sample(20), packed=packed)
    hosts = found.hosts
    assert set(hosts) == set(HOSTS_COLUMNS)
    assert hosts["at_s"].tolist() == [1015, 1020]
    assert hosts["seconds"].tolist() == [5, 5]
    assert hosts["cpu_busy"].tolist() == pytest.approx([0.5, 0.5])
    assert hosts["cpu_steal"].tolist() == pytest.approx([0.1, 0.1])
    assert hosts["disk_written_bytes"].tolist() == [100, 100]
    assert hosts["disk_busy_share"].tolist() == pytest.approx([0.25, 0.25])
    assert hosts["net_sent_bytes"].tolist() == [1000, 1000]
    assert set(hosts["host"]) == {"d1"} and set(hosts["cpu_scope"]) == {"host"}
    assert hosts["disk_read_wait_s"].tolist() == pytest.approx([0.005, 0.005])
    assert hosts["net_sent_packets"].tolist() == [20, 20]
    assert found.damages == {} and found.gaps == [] and found.clock_steps == []


def test_a_host_without_a_file_has_no_samples_and_no_damage(tmp_path):
    found = read_samples(tmp_path / "samples.jsonl.gz", host="d1", duty="data")
    assert found.samples == 0 and found.damages == {}
    assert {name: column.size for name, column in found.hosts.items()} == dict.fromkeys(
        HOSTS_COLUMNS, 0
    )


def test_a_damaged_line_is_counted_and_makes_the_next_stretch_longer(tmp_path):
    changed = line(sample(15)).replace(b"1015", b"1016")
    found = read(tmp_path, start(), sample(10), changed, sample(20))
    assert found.damages == {"lines cut or damaged": 1}
    assert found.hosts["seconds"].tolist() == [10]
    assert found.hosts["disk_written_bytes"].tolist() == [200]


def test_a_line_cut_at_the_end_of_the_file_is_counted(tmp_path):
    found = read(tmp_path, start(), sample(10), sample(15), line(sample(20))[:-9])
    assert found.damages == {"lines cut or damaged": 1}
    assert found.hosts["at_s"].tolist() == [1015]


def test_a_packed_file_that_was_cut_gives_what_it_still_holds_and_says_so(tmp_path):
    path = file_of(tmp_path, start(), *(sample(at) for at in range(0, 5000, 5)), packed=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = read_samples(path, host="d1", duty="data")
    assert found.damages == {"the packed file is cut or damaged": 1}
    assert 0 < found.samples < 1000


def test_samples_under_another_schema_are_refused_and_counted(tmp_path):
    found = read(tmp_path, start(schema=99), sample(10), sample(15))
    assert found.damages == {
        "starts of another schema": 1,
        "samples without a start that explains them": 2,
    }
    assert found.hosts["at_s"].size == 0


def test_a_sample_that_comes_twice_counts_once(tmp_path):
    found = read(tmp_path, start(), sample(10), sample(15), sample(15), sample(20))
    assert found.damages == {"samples out of order": 1}
    assert found.hosts["disk_written_bytes"].sum() == 200


def test_no_difference_is_taken_over_a_reboot(tmp_path):
    before = [start(), sample(10), sample(15)]
    after = [start(boot="two"), sample(1, wall_s=1100), sample(6, wall_s=1100)]
    found = read(tmp_path, *before, *after)
    assert found.hosts["at_s"].tolist() == [1015, 1106]
    assert found.hosts["disk_written_bytes"].tolist() == [100, 100]
    assert found.starts == 2


def test_a_counter_that_fell_says_nothing_rather_than_a_negative_sum(tmp_path):
    found = read(tmp_path, start(), sample(10), sample(15, net_sent_bytes=3), sample(20))
    assert np.isnan(found.hosts["net_sent_bytes"][0])
    assert found.hosts["net_received_bytes"].tolist() == [500, 500]


def test_what_a_host_cannot_say_is_missing_and_never_zero(tmp_path):
    cannot = {"disk_busy_s": None, "disk_reads": None}
    sources = {**SOURCES, "disk_operations": None, "cpu_steal": ["machine", "/proc/stat"]}
    found = read(tmp_path, start(sources=sources), sample(10, **cannot), sample(15, **cannot))
    assert np.isnan(found.hosts["disk_busy_share"]).all()
    assert np.isnan(found.hosts["disk_reads"]).all()
    assert found.hosts["disk_operations_scope"].tolist() == ["unknown"]
    assert found.hosts["cpu_steal_scope"].tolist() == ["machine"]


def test_what_a_card_held_back_is_counted_between_samples_and_is_no_number_without_such_a_card(
    tmp_path,
):
    some = {"bw_in_allowance_exceeded": 70, "pps_allowance_exceeded": 5}
    more = {"bw_in_allowance_exceeded": 90, "pps_allowance_exceeded": 5}
    hosts = read(tmp_path, start(), sample(10, **some), sample(15, **more)).hosts
    assert hosts["bw_in_allowance_exceeded"].tolist() == [20]
    assert hosts["pps_allowance_exceeded"].tolist() == [0]
    assert np.isnan(hosts["conntrack_allowance_exceeded"]).all()


@pytest.mark.parametrize(
    ("whose", "machine_cores", "share"),
    [
        pytest.param("host", {}, 0.05, id="of the host's own cores"),
        pytest.param("machine", {"machine_cores": 10}, 0.01, id="of all cores of its machine"),
        pytest.param("machine", {}, None, id="unknown of a machine whose cores nobody counted"),
    ],
)
def test_stolen_time_is_a_part_of_the_cores_of_whom_it_speaks(
    tmp_path, whose, machine_cores, share
):
    sources = {**SOURCES, "cpu_steal": [whose, "/proc/stat"]}
    found = read(tmp_path, start(sources=sources, **machine_cores), sample(10), sample(15))
    assert found.hosts["cpu_steal"].tolist() == pytest.approx([0.1])
    assert found.hosts["cpu_steal_share"].tolist() == pytest.approx([share or np.nan], nan_ok=True)


def test_an_archive_of_a_sampler_that_asked_for_less_is_read_and_the_rest_is_unknown(tmp_path):
    asked = COLUMNS[: COLUMNS.index("disk_read_wait_s")]
    old = [[*sample(at)[: len(asked)], {}] for at in (10, 15, 20)]
    found = read(tmp_path, start(columns=asked), *old)
    assert set(found.hosts) == set(HOSTS_COLUMNS)
    assert found.damages == {} and found.hosts["disk_written_bytes"].tolist() == [100, 100]
    for name in (*ALLOWANCES, "disk_read_wait_s", "net_sent_packets"):
        assert np.isnan(found.hosts[name]).all()
    renewed = read(tmp_path, start(columns=asked), *old, start(), sample(25), sample(30))
    assert renewed.hosts["seconds"].tolist() == [5, 5, 5]
    assert np.isnan(renewed.hosts["disk_write_wait_s"][:2]).all()
    assert renewed.hosts["disk_write_wait_s"][2] == pytest.approx(0.02)


def test_a_unit_that_went_on_used_the_difference(tmp_path):
    found = read(tmp_path, start(), *(sample(at, units={"a": unit(at)}) for at in (10, 15, 20)))
    assert set(found.units) == set(UNITS_COLUMNS)
    assert found.units["cpu_s"].tolist() == pytest.approx([1.5, 1.5])
    assert found.units["written_bytes"].tolist() == [30, 30]
    assert found.units["memory_bytes"].tolist() == [915, 920]
    assert not found.units["restarted"].any() and found.restarts == []


def test_a_unit_that_began_anew_used_all_that_it_shows_and_is_said_to_have_restarted(tmp_path):
    records = [
        sample(10, units={"a": unit(10)}),
        sample(15, units={"a": unit(15, began=12)}),
        sample(20, units={"a": unit(20, began=12)}),
    ]
    found = read(tmp_path, start(), *records)
    assert found.units["cpu_s"].tolist() == pytest.approx([0.9, 1.5])
    assert found.units["restarted"].tolist() == [True, False]
    assert found.restarts == [(1015.0, "a")]


def test_a_unit_that_is_started_under_the_samplers_eyes_did_not_restart(tmp_path):
    later = {"a": unit(15, began=12)}
    found = read(tmp_path, start(), sample(10), sample(15, units=later))
    assert found.units["cpu_s"].tolist() == pytest.approx([0.9])
    assert found.restarts == []


def test_a_clock_that_was_set_shows_and_the_seconds_stay_true(tmp_path):
    found = read(tmp_path, start(), sample(10), sample(15, wall_s=998.5), sample(20, wall_s=998.5))
    assert [(step.at_s, step.step_s) for step in found.clock_steps] == [(1013.5, -1.5)]
    assert found.hosts["seconds"].tolist() == [5, 5]


def test_a_stretch_without_samples_is_a_gap(tmp_path):
    found = read(tmp_path, start(), sample(10), sample(15), sample(60), sample(65))
    assert found.gaps == [(1015.0, 1060.0)]
    assert found.hosts["disk_written_bytes"].sum() == 20 * 55


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.5, 100), min_size=2, max_size=12),
    st.integers(0, 4000),
    st.integers(0, 255),
)
def test_whatever_byte_is_changed_no_sum_is_larger_than_the_truth(
    tmp_path_factory, steps, at, byte
):
    """A line is right or left out; the sum over the rest is that between the samples that stay."""
    moments = np.round(np.cumsum(steps), 3)
    folder = tmp_path_factory.mktemp("samples")
    path = file_of(folder, start(), *(sample(float(moment)) for moment in moments))
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content)
    found = read_samples(path, host="d1", duty="data")
    most = 20 * (moments[-1] - moments[0])
    assert np.nansum(found.hosts["disk_written_bytes"]) <= most * (1 + 1e-9)
    assert found.hosts["seconds"].sum() <= (moments[-1] - moments[0]) * (1 + 1e-9)
    left_out = sum(found.damages.values())
    assert found.samples >= len(moments) - 2 * left_out, "a line end that is lost takes two lines"


def test_tables_of_a_target_hold_every_host_and_one_without_a_file_adds_nothing(tmp_path):
    for host in ("d1", "l1"):
        folder = tmp_path / "hosts" / host
        folder.mkdir(parents=True)
        file_of(
            folder, start(), *(sample(at, units={"a": unit(at)}) for at in (5, 10)), packed=True
        )
    found = samples_of_target(tmp_path, {"d1": "data", "d2": "data", "l1": "load"})
    assert found.hosts["host"].tolist() == ["d1", "l1"]
    assert found.hosts["duty"].tolist() == ["data", "load"]
    assert found.hosts["cpu_busy"].dtype == np.float64
    assert found.units["restarted"].dtype == np.bool_ and found.units["host"].size == 2
    assert list(found.by_host) == ["d1", "d2", "l1"] and found.by_host["d2"].samples == 0
    sizes = {host: read.hosts["at_s"].size for host, read in found.by_host.items()}
    assert sizes == {"d1": 1, "d2": 0, "l1": 1}
    assert found.by_host["l1"].units["host"].tolist() == ["l1"]
