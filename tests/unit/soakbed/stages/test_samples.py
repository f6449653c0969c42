"""Sampling around the load: started everywhere, stopped unless load goes on, kept when fetched."""

from __future__ import annotations

import shlex

import pytest

from soakbed.adapters.ssh import HostUnreachable
from soakbed.errors import LoadError
from soakbed.stages.samples import SAMPLER, fetch_samples, sampled
from tests.fakes import FakeHosts
from tests.golden import make_run
from tests.golden.pretences import ETCD

SPEC = make_run.spec_of((ETCD,), make_run.SHORT, with_tikv=False)
TESTBED = make_run.testbed_of(SPEC)
NAMES = sorted(TESTBED.hosts)
STOPS, STARTS = "systemctl stop 'soakbed-samples-*", "systemd-run"


def hosts_that_were_asked(hosts: FakeHosts, what: str, *, but: str = "nothing at all") -> list[str]:
    return sorted(name for name, asked in hosts.asked if what in asked and but not in asked)


def press(hosts: FakeHosts, said: list[str], *, error: BaseException | None = None):
    with sampled("run-etcd", SPEC, TESTBED, shell=hosts, progress=said.append):
        assert hosts_that_were_asked(hosts, STARTS) == NAMES
        assert hosts_that_were_asked(hosts, STOPS, but=STARTS) == []
        if error:
            raise error


def test_every_host_is_sampled_while_the_block_runs_and_no_longer():
    hosts = FakeHosts()
    press(hosts, [])
    assert hosts_that_were_asked(hosts, STOPS, but=STARTS) == NAMES
    assert all(files["sampler.py"] == SAMPLER.read_text() for files in hosts.given.values())


def test_data_hosts_watch_the_disk_of_their_data_and_all_end_by_themselves():
    hosts = FakeHosts()
    press(hosts, [])
    for name, asked in hosts.asked:
        if STARTS in asked:
            *_, folder, every_s, limit_s, most_bytes = shlex.split(asked)
            assert folder == ("/data" if name.startswith("d") else "/var/lib/soakbed")
            assert (every_s, most_bytes) == ("5", str(64 << 20))
            # two phases in each of two sessions, a fill of 20,000 keys, and room
            assert int(limit_s) == 2 + 6 + 2 + 12 + (60 + 100) + 3 * 180


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LoadError("it broke", remedy="mend it")])
def test_an_interruption_that_stops_the_load_stops_the_sampling(error):
    hosts = FakeHosts()
    with pytest.raises(type(error)):
        press(hosts, [], error=error)
    assert hosts_that_were_asked(hosts, STOPS, but=STARTS) == NAMES


def test_sampling_goes_on_with_the_load_when_a_host_is_out_of_reach():
    hosts = FakeHosts()
    with pytest.raises(HostUnreachable):
        press(hosts, [], error=HostUnreachable("l1 is away", remedy="wait"))
    assert hosts_that_were_asked(hosts, STOPS, but=STARTS) == []


def test_a_host_that_cannot_be_told_to_stop_is_named_and_stops_nothing_else():
    hosts, said = FakeHosts(), []
    with sampled("run-etcd", SPEC, TESTBED, shell=hosts, progress=said.append):
        hosts.away = {"d2"}
    assert hosts_that_were_asked(hosts, STOPS, but=STARTS) == NAMES
    assert said == ["d2 is away; sampling goes on there"]


def test_samples_are_packed_on_the_host_and_brought_here(tmp_path):
    hosts = FakeHosts(trees={"samples.jsonl.gz": b"packed"})
    assert fetch_samples(TESTBED.hosts["d1"], "run-etcd", tmp_path, shell=hosts) == []
    assert (tmp_path / "samples.jsonl.gz").read_bytes() == b"packed"
    assert any("gzip -c samples.jsonl" in asked for _, asked in hosts.asked)


def test_a_host_without_samples_is_said_to_have_none_and_what_was_fetched_before_is_kept(tmp_path):
    hosts = FakeHosts(test=1)
    found = fetch_samples(TESTBED.hosts["d1"], "run-etcd", tmp_path, shell=hosts)
    assert found == ["no samples of this host were taken"]
    (tmp_path / "samples.jsonl.gz").write_bytes(b"packed")
    assert fetch_samples(TESTBED.hosts["d1"], "run-etcd", tmp_path, shell=hosts) == []
    assert (tmp_path / "samples.jsonl.gz").read_bytes() == b"packed"


def test_a_host_that_is_away_when_a_soak_is_resumed_keeps_nobody_from_its_load():
    hosts, said = FakeHosts(), []
    hosts.away = {"d2"}
    press(hosts, said)
    assert said[0] == "d2 is away; sampling there is left as it is"
