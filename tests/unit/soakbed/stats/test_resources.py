"""What hosts used, and what operations cost: sums over whole samples, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from soakbed.archive.data.sample_columns import HOSTS_COLUMNS, UNITS_COLUMNS
from soakbed.records.resources import HostUse
from soakbed.stats.resources import costs_of, use_of_hosts, use_of_units

DUTIES = {"d1": "data", "d2": "data", "l1": "load"}
SUMS = ("disk_read_bytes", "disk_written_bytes", "disk_reads", "disk_writes")


def hosts_of(*, names=DUTIES, rows=10, every_s=5.0, **changed):
    """Each host sends 1,000 and receives 500 bytes per sample, half of its core busy."""
    parts = []
    for name in names:
        part = {column: np.full(rows, 0.0) for column in HOSTS_COLUMNS}
        part["at_s"] = 1000 + every_s * np.arange(1, rows + 1)
        part["seconds"] = np.full(rows, every_s)
        part |= {"host": np.full(rows, name), "duty": np.full(rows, DUTIES[name])}
        part["cores"] = np.full(rows, 2)
        part["cpu_busy"] = np.full(rows, 0.5)
        part["memory_used_bytes"] = 100.0 + np.arange(rows)
        part["net_sent_bytes"], part["net_received_bytes"] = np.full((2, rows), 1000.0) * [
            [1],
            [0.5],
        ]
        for scope in [column for column in HOSTS_COLUMNS if column.endswith("_scope")]:
            part[scope] = np.full(rows, "host")
        parts.append(part | changed)
    return {column: np.concatenate([part[column] for part in parts]) for column in HOSTS_COLUMNS}


def units_of(*names, rows=10, every_s=5.0):
    """Each unit uses 2 CPU seconds and writes 4,000 bytes per sample."""
    parts = []
    for name in names:
        host, unit = name.split("/")
        part = {column: np.full(rows, 0.0) for column in UNITS_COLUMNS}
        part["at_s"] = 1000 + every_s * np.arange(1, rows + 1)
        part["seconds"] = np.full(rows, every_s)
        part |= {"host": np.full(rows, host), "unit": np.full(rows, f"soakbed-{unit}.service")}
        part["cpu_s"], part["written_bytes"] = np.full(rows, 2.0), np.full(rows, 4000.0)
        part["restarted"] = np.full(rows, False)
        parts.append(part)
    return {column: np.concatenate([part[column] for part in parts]) for column in UNITS_COLUMNS}


ALL_UNITS = units_of("d1/etcd", "d2/etcd", "l1/load-worker@x:0", "d1/samples-x", "l1/samples-x")


def costs(hosts, units=ALL_UNITS, *, seconds=50.0, start_s=1000.0, duties=DUTIES, **changed):
    used = use_of_hosts(hosts, start_s, start_s + seconds)
    by_unit = use_of_units(units, start_s, start_s + seconds)
    load = {"operations_per_s": 200.0, "writes_per_s": 100.0, "value_bytes": 8, **changed}
    return costs_of(used, by_unit, duties=duties, seconds=seconds, **load)


def test_what_a_host_used_is_summed_over_the_samples_inside():
    used = use_of_hosts(hosts_of(), 1000, 1050)
    assert [host.host for host in used] == ["d1", "d2", "l1"]
    assert used[0].covered_s == 50 and used[0].samples == 10
    assert used[0].net_sent_bytes == 10_000 and used[0].net_received_bytes == 5_000
    assert used[0].cpu_cores == 0.5 and used[0].cores == 2
    assert used[0].memory_max_bytes == 109


def test_a_sample_across_an_end_is_left_out():
    used = use_of_hosts(hosts_of(), 1002, 1048)
    assert used[0].covered_s == 40 and used[0].net_sent_bytes == 8_000


def test_clocks_that_differ_by_milliseconds_take_no_sample_away():
    assert use_of_hosts(hosts_of(), 1000.02, 1049.98)[0].samples == 10


def test_a_stretch_without_a_whole_sample_has_no_use():
    assert use_of_hosts(hosts_of(), 1001, 1004) == ()
    assert use_of_units(ALL_UNITS, 1001, 1004) == ()


def test_a_figure_that_one_sample_could_not_say_is_unknown_and_the_others_stay():
    hosts = hosts_of()
    hosts["disk_writes"][3] = np.nan
    used = use_of_hosts(hosts, 1000, 1050)
    assert used[0].disk_writes is None and used[1].disk_writes == 0
    assert used[0].net_sent_bytes == 10_000


def test_the_mean_request_to_a_disk_is_over_all_requests_and_not_over_samples():
    hosts = hosts_of(names=["d1"], rows=2)
    hosts["disk_reads"] = np.array([10.0, 30.0])
    hosts["disk_read_wait_s"] = np.array([0.1, 0.1])
    (used,) = use_of_hosts(hosts, 1000, 1050)
    assert used.disk_read_await_us == pytest.approx(200_000 / 40)
    assert used.disk_write_await_us is None, "there was none"


def test_what_a_card_held_back_is_summed_and_what_no_card_counts_is_not_there():
    hosts = hosts_of(names=["d1"])
    hosts["bw_in_allowance_exceeded"] = np.full(10, 3.0)
    hosts["conntrack_allowance_exceeded"] = np.full(10, np.nan)
    (used,) = use_of_hosts(hosts, 1000, 1050)
    assert used.allowance_exceeded["bw_in_allowance_exceeded"] == 30
    assert used.allowance_exceeded["pps_allowance_exceeded"] == 0
    assert "conntrack_allowance_exceeded" not in used.allowance_exceeded


def test_resources_of_an_older_soakbed_are_read():
    old = use_of_hosts(hosts_of(names=["d1"]), 1000, 1050)[0].model_dump()
    for name in ("cpu_steal_share", "disk_read_await_us", "allowance_exceeded"):
        del old[name]
    read = HostUse.model_validate(old)
    assert read.disk_read_await_us is None and read.allowance_exceeded == {}


def test_costs_are_sums_over_all_members_per_operation():
    made = costs(hosts_of())
    assert made.cpu_s_per_million == pytest.approx(2 * 2 / 5 / 200 * 1e6)
    assert made.load_cpu_s_per_million == pytest.approx(2 / 5 / 200 * 1e6)
    assert made.disk_written_bytes_per_operation == pytest.approx(2 * 800 / 200)
    assert made.disk_written_bytes_per_write == pytest.approx(2 * 800 / 100)
    assert made.write_amplification == pytest.approx(2 * 800 / 800)
    assert made.client_network_bytes_per_operation == pytest.approx(300 / 200)
    assert made.data_network_bytes_per_operation == pytest.approx(2 * 300 / 200)


@pytest.mark.parametrize(
    "moved", [pytest.param(2.5, id="half a sample"), pytest.param(4.9, id="nearly one")]
)
def test_where_the_samples_fall_does_not_change_what_an_operation_costs(moved):
    even, odd = costs(hosts_of()), costs(hosts_of(), start_s=1000 + moved, seconds=40)
    assert odd.model_dump() == pytest.approx(even.model_dump())


def test_a_host_that_was_not_sampled_makes_the_sums_of_its_duty_unknown():
    made = costs(hosts_of(names=["d1", "l1"]))
    assert made.cpu_s_per_million is None and made.data_network_bytes_per_operation is None
    assert made.load_cpu_s_per_million is not None


def test_a_data_host_that_shows_no_member_makes_the_sum_unknown():
    made = costs(hosts_of(), units_of("d1/etcd", "l1/load-worker@x:0", "d2/samples-x"))
    assert made.cpu_s_per_million is None and made.write_amplification is None
    assert made.data_network_bytes_per_operation is not None


def test_a_host_that_samples_cover_for_too_little_makes_the_sum_unknown():
    assert costs(hosts_of(), seconds=99).cpu_s_per_million is not None
    assert costs(hosts_of(), seconds=101).cpu_s_per_million is None


def test_figures_of_the_machine_that_hosts_share_cost_no_operation_anything():
    hosts = hosts_of(network_scope=np.full(10, "machine"))
    made = costs(hosts)
    assert made.client_network_bytes_per_operation is None
    assert made.cpu_s_per_million is not None, "units are the host's own"


def test_without_operations_or_writes_there_is_nothing_to_divide_by():
    assert set(costs(hosts_of(), operations_per_s=0.0, writes_per_s=0.0).model_dump().values()) == {
        None
    }
    made = costs(hosts_of(), writes_per_s=0.0)
    assert made.write_amplification is None and made.cpu_s_per_million is not None
