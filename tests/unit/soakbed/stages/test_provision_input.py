"""What Terraform is given: hosts, their share of the CPUs, and absolute paths."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.records.places import Places
from soakbed.records.spec import HostSpec, TestbedSpec
from soakbed.stages.provision import split_cpus, tfvars_of

HOSTS = {
    **{f"d{i}": HostSpec(duty="data", address=f"10.83.90.1{i}") for i in (1, 2, 3)},
    "l1": HostSpec(duty="load", address="10.83.90.21"),
}
STATIC = {name: {**host.model_dump(), "key_file": "k"} for name, host in HOSTS.items()}


@given(st.sets(st.integers(0, 255), min_size=2))
def test_with_two_cpus_or_more_load_and_data_hosts_never_share_one(cpus):
    shares = split_cpus(cpus, HOSTS)
    data = {cpu for name in ("d1", "d2", "d3") for cpu in shares[name]}
    assert shares["l1"] == (max(cpus),)
    assert data == cpus - {max(cpus)}
    assert shares["d1"] == shares["d2"] == shares["d3"]


@given(st.sets(st.integers(0, 255), min_size=2), st.integers(1, 9))
def test_several_load_hosts_have_a_cpu_each_where_there_are_enough(cpus, count):
    more = {f"l{at}": HOSTS["l1"] for at in range(1, count + 1)}
    shares = split_cpus(cpus, HOSTS | more)
    load = [cpu for name in more for cpu in shares[name]]
    assert len(load) == count, "one each"
    assert set(load) | set(shares["d1"]) == cpus
    assert not set(load) & set(shares["d1"])
    assert len(set(load)) == (count if 2 * count <= len(cpus) else 1)


def test_a_single_cpu_is_shared_by_all():
    assert set(split_cpus([3], HOSTS).values()) == {(3,)}


def local() -> TestbedSpec:
    return TestbedSpec(name="t", provider="local", network_cidr="10.83.90.0/24", hosts=HOSTS)


def test_local_hosts_come_with_image_keys_and_cpus():
    places = Places(project=Path("/p"), state=Path("/p/.soakbed/t"), cache=Path("/c"))
    tfvars = tfvars_of(local(), places=places, image=Path("/c/images/0a"), cpus=[0, 1])
    assert tfvars["image"] == "/c/images/0a"
    assert tfvars["ssh_dir"] == "/p/.soakbed/t/ssh"
    assert tfvars["hosts"]["l1"]["cpus"] == [1]
    assert tfvars["hosts"]["d1"]["cpus"] == [0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("keys/id", "/p/keys/id", id="from the project"),
        pytest.param("/k/id", "/k/id", id="absolute"),
        pytest.param("~/id", str(Path.home() / "id"), id="from home"),
    ],
)
def test_a_static_hosts_key_is_found_from_wherever_terraform_runs(written, meant):
    hosts = {name: {**host, "key_file": written} for name, host in STATIC.items()}
    spec = TestbedSpec.model_validate({"name": "t", "provider": "static", "hosts": hosts})
    places = Places(project=Path("/p"), state=Path("/s"), cache=Path("/c"))
    tfvars = tfvars_of(spec, places=places, image=None, cpus=[0, 1])
    assert {host["key_file"] for host in tfvars["hosts"].values()} == {meant}
    assert {tuple(host["cpus"]) for host in tfvars["hosts"].values()} == {()}
