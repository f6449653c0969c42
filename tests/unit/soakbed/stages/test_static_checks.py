"""Hosts that somebody already has, asked for real: this machine at four addresses of loopback."""

import socket
from pathlib import Path

import pytest

from soakbed.adapters import openssh
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.stages import static_checks, static_rules

HOSTS = {
    name: {"duty": "load" if name == "l1" else "data", "address": f"127.0.7.{at}", "key_file": "k"}
    for at, name in enumerate(("d1", "d2", "d3", "l1"), start=1)
}
# What cannot be otherwise where all hosts are this machine.
ONE = [f"- d1 and {name} are one host" for name in ("d2", "d3", "l1")]


def spec_of(**changed) -> TestbedSpec:
    hosts = {name: host | changed.get(name, {}) for name, host in HOSTS.items()}
    return TestbedSpec.model_validate({"name": "t-have", "provider": "static", "hosts": hosts})


@pytest.fixture
def places(tmp_path, monkeypatch) -> Places:
    """SSH to this machine is a shell here, and all hosts but unknown ones are known."""
    monkeypatch.setattr(openssh, "_login", lambda _host, _known, command: ["sh", "-c", command])
    monkeypatch.setattr(static_checks, "user_known_hosts", lambda: [])
    monkeypatch.setattr(static_checks, "known_keys", lambda address, *_: [f"{address} key"])
    # Not the databases' own: a test beside this one may have one of them up.
    with socket.create_server(("127.0.7.9", 0)) as held:
        port = held.getsockname()[1]
    monkeypatch.setattr(static_rules, "TARGET_PORTS", (port,))
    return Places(project=Path("/p"), state=tmp_path / "state", cache=tmp_path)


def refusals(spec: TestbedSpec, places: Places, said: list[str] | None = None) -> list[str]:
    say = [] if said is None else said
    with pytest.raises(ProvisionError, match="cannot be used as they are") as told:
        static_checks.check_static_hosts(spec, places, progress=say.append)
    return str(told.value.problem).splitlines()[1:]


@pytest.fixture
def anything_runs_here(monkeypatch):
    """This machine need not be of Debian 12 with systemd for a test of it."""
    wanted = {"system": {"ID": "debian", "VERSION_ID": "12"}, "systemd": True}
    of = static_rules.Known.of
    monkeypatch.setattr(
        static_checks,
        "Known",
        type("Known", (), {"of": staticmethod(lambda facts, **more: of(facts | wanted, **more))}),
    )


@pytest.mark.usefixtures("anything_runs_here")
def test_hosts_that_reach_each_other_are_told_nothing_but_that_they_are_one(places):
    said: list[str] = []
    assert refusals(spec_of(), places, said) == ONE
    assert said == ["warning: d1, d2, d3, l1 share one machine, so that each slows the others"]
    kept = (places.state / "ssh/known_hosts").read_text().splitlines()
    assert kept == [f"127.0.7.{at} key" for at in range(1, 5)]


@pytest.mark.usefixtures("anything_runs_here")
def test_everything_that_is_wrong_is_told_at_once(places, monkeypatch):
    monkeypatch.setattr(
        static_checks, "known_keys", lambda address, *_: [] if address == "127.0.7.3" else ["key"]
    )
    with socket.create_server(("127.0.7.1", static_rules.TARGET_PORTS[0])) as held:
        held.listen(16)
        spec = spec_of(d2={"inner_address": "192.0.2.1"}, l1={"cores": 1000})
        told = refusals(spec, places)
    port = static_rules.TARGET_PORTS[0]
    assert told[0] == "- no SSH host key is known for 127.0.7.3"
    assert f"- d1: port {port} is taken by" in told[1]
    assert told[2] == (
        "- d2: databases cannot listen at 192.0.2.1: Cannot assign requested address"
    )
    assert "the spec says 1000" in told[3]
    assert told[4:] == [ONE[0], ONE[2]]


def test_who_lets_nobody_in_is_asked_nothing_more(places, monkeypatch):
    closed = ["sh", "-c", "echo 'Connection refused' >&2; exit 255"]
    monkeypatch.setattr(openssh, "_login", lambda *_: closed)
    told = refusals(spec_of(), places)
    assert [line.split(": ")[0] for line in told] == ["- d1", "- d2", "- d3", "- l1"]
    assert all(line.endswith("does not let us in: Connection refused") for line in told)


def test_a_host_that_falls_silent_is_named(places, monkeypatch):
    def login(_host, _known, command):
        return ["sh", "-c", "exit 0" if "json.loads" in command else command]

    monkeypatch.setattr(openssh, "_login", login)
    told = refusals(spec_of(), places)
    assert [line.split(": ")[0] for line in told] == ["- d1", "- d2", "- d3", "- l1"]
    assert all("questions of the preflight were not answered" in line for line in told)


def test_a_static_spec_says_where_hosts_reach_each_other_and_where_data_goes(places):
    spec = spec_of(d1={"inner_address": "10.0.0.1", "data_dir": "/mnt/fast", "user": "admin"})
    hosts = static_checks.planned_hosts(spec, places)
    assert (hosts["d1"].address, hosts["d1"].reached_at) == ("10.0.0.1", "127.0.7.1")
    assert (hosts["d2"].address, hosts["d2"].reached_at) == ("127.0.7.2", "127.0.7.2")
    assert (hosts["d1"].data_dir, hosts["d2"].data_dir) == ("/mnt/fast", "/data")
    assert hosts["d1"].key_file == "/p/k"
