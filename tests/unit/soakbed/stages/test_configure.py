"""What the stage asks Ansible for, and what it makes of the answers."""

import dataclasses
import json
import stat

import pytest

from soakbed.adapters.artifact_bundles import Bundle
from soakbed.errors import ConfigureError
from soakbed.records.places import Places
from soakbed.records.run import ArtifactUse
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.configure import (
    configure_target,
    prepare_hosts,
    verify_target,
    wipe_target,
    with_counted_cores,
)
from tests.fakes import FakeAnsible, FakeArtifacts

ADDRESSES = {"d1": "10.83.50.11", "d2": "10.83.50.12", "d3": "10.83.50.13", "l1": "10.83.50.21"}
DUTIES = {name: "load" if name == "l1" else "data" for name in ADDRESSES}
TESTBED = Testbed.model_validate(
    {
        "name": "t-play",
        "provider": "local",
        "shares_machine": True,
        "known_hosts_file": "/known_hosts",
        "hosts": {
            name: {"name": name, "duty": DUTIES[name], "address": address, "key_file": "/key"}
            for name, address in ADDRESSES.items()
        },
    }
)
SPEC = RunSpec.model_validate(
    {
        "testbed": {
            "name": "t-play",
            "provider": "local",
            "network_cidr": "10.83.50.0/24",
            "hosts": {n: {"duty": DUTIES[n], "address": a} for n, a in ADDRESSES.items()},
        },
        "workload": {"name": "quick", "keys": 1000},
        "targets": ["etcd", "redis_cluster"],
        "appendfsync": "always",
    }
)
REFUSED = {"setting": "vm.swappiness", "wanted": "1", "found": "60", "reason": "shared kernel"}
MEASURED = {
    name: {
        "preflight": {"machine": "x86_64", "cores": 1},
        "clock": {"clock_offset_us": 7, "clock_bound_us": 50},
        "tuning": {"applied": [], "not_applied": [REFUSED] if name == "d1" else []},
    }
    for name in ADDRESSES
}
USE = ArtifactUse(
    name="etcd-server",
    version="3.5.16-4",
    pinned_version="3.5.10",
    sha256="0" * 64,
    origin="debian",
    substituted=True,
    reason="3.5.10 could not be had",
)


def answers(version):
    """What the data hosts hand back when a target is up."""
    return {
        name: {
            "installed": {
                "binaries": {"/opt/soakbed/bin/etcd": "1" * 64},
                "limits": ["unit: LimitNOFILE: wanted 65536, found 20000: cannot be raised"],
            },
            "effective": {name: {"ETCD_NAME": name, "version": version, "quota_backend_bytes": 8}},
        }
        for name in ("d1", "d2", "d3")
    }


@pytest.fixture
def places(tmp_path):
    return Places(project=tmp_path, state=tmp_path / "state", cache=tmp_path / "cache")


@pytest.fixture
def bundle(tmp_path):
    file = tmp_path / "etcd.tar.gz"
    return Bundle("etcd", "3.5.16", file, "stamp", {"/opt/soakbed/bin/etcd": "1" * 64}, (USE,))


def prepare(places, ansible=None, testbed=TESTBED):
    return prepare_hosts(
        testbed,
        "tuned",
        ansible=ansible or FakeAnsible({"site.yml": MEASURED}, changed=3),
        places=places,
        load_host={"load_host_bundle": "/bundle"},
        log=places.state / "site.jsonl",
    )


def configure(places, bundle, *, target="etcd", version='{"etcdserver":"3.5.16"}', returned=None):
    prepare(places)
    ansible = FakeAnsible({f"{target}.yml": returned or answers(version)}, changed=9)
    artifacts = FakeArtifacts(bundle)
    ready = configure_target(
        TESTBED,
        target,
        SPEC,
        ansible=ansible,
        artifacts=artifacts,
        places=places,
        log=places.state / "etcd.jsonl",
    )
    return ready, ansible, artifacts


def test_hosts_are_prepared_with_profile_certificates_and_packages(places):
    ansible = FakeAnsible({"site.yml": MEASURED})
    prepare(places, ansible)
    assert ansible.played == [
        (
            "site.yml",
            {
                "profile": "tuned",
                "pki_source": str(places.state / "pki"),
                "load_host_bundle": "/bundle",
                "load_host_master": "l1",
            },
        )
    ]
    assert (places.state / "pki" / "d3.key").exists()
    assert not (places.state / "ssh").exists(), "one load host needs no tunnel"


def test_only_hosts_with_a_lease_hear_of_one_and_those_that_had_one_hear_of_its_end(places):
    ansible = FakeAnsible({"site.yml": MEASURED})
    log, told = places.state / "logs" / "site.jsonl", {"load_host_bundle": "/bundle"}
    for lease in ({"lease_ends_s": 1_800_000_000}, {"lease_dropped": True}, {}):
        prepare_hosts(
            TESTBED, "tuned", ansible=ansible, places=places, log=log, load_host=told, **lease
        )
        given = ansible.played[-1][1]
        assert {name: value for name, value in given.items() if "lease" in name} == lease


def test_further_load_hosts_get_the_key_of_a_tunnel_to_the_first(places):
    ansible = FakeAnsible({"site.yml": MEASURED})
    l2 = TESTBED.hosts["l1"].model_copy(update={"name": "l2", "address": "10.83.50.22"})
    prepare(places, ansible, TESTBED.model_copy(update={"hosts": TESTBED.hosts | {"l2": l2}}))
    (_, given), key = ansible.played[0], places.state / "ssh" / "tunnel_ed25519"
    assert (given["load_host_master"], given["load_host_tunnel_key"]) == ("l1", str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.with_suffix(".pub").read_text().endswith("t-play soakbed-tunnel\n")


def test_load_hosts_press_with_the_cores_that_they_counted(places):
    prepare(places)
    counted = with_counted_cores(TESTBED, places)
    assert {host.name: host.cores for host in counted.hosts.values()} == {
        "d1": 0,
        "d2": 0,
        "d3": 0,
        "l1": 1,
    }


def test_what_was_measured_comes_back_by_host_and_is_kept(places):
    ready = prepare(places)
    assert ready.changed == 3
    assert ready.facts["l1"] == {
        "machine": "x86_64",
        "cores": 1,
        "clock_offset_us": 7,
        "clock_bound_us": 50,
    }
    assert json.loads((places.state / "hosts.json").read_text())["facts"] == ready.facts


def test_tuning_that_a_host_could_not_take_is_told(places):
    assert prepare(places).not_applied == ("d1: vm.swappiness: wanted 1, found 60: shared kernel",)


def test_a_target_that_is_up_is_described_by_what_answered(places, bundle):
    ready, _, artifacts = configure(places, bundle)
    assert ready.version == "3.5.16"
    assert ready.substituted
    assert ready.reasons == ("3.5.10 could not be had",)
    assert ready.endpoints == ("10.83.50.11:2379", "10.83.50.12:2379", "10.83.50.13:2379")
    assert ready.binaries["d2"] == {"/opt/soakbed/bin/etcd": "1" * 64}
    assert ready.effective["d1"]["quota_backend_bytes"] == "8"
    assert ready.changed_tasks == 9
    assert artifacts.asked == [("etcd", True, "amd64")]


def test_limits_that_a_unit_did_not_get_stand_beside_the_tuning(places, bundle):
    ready, _, _ = configure(places, bundle)
    assert ready.not_applied[0].startswith("d1: vm.swappiness")
    assert "d3: unit: LimitNOFILE: wanted 65536, found 20000: cannot be raised" in ready.not_applied


def test_masters_of_redis_come_before_replicas(places, bundle):
    ready, _, _ = configure(places, bundle, target="redis_cluster", version="3.5.16")
    assert [endpoint.rsplit(":")[-1] for endpoint in ready.endpoints] == ["6379"] * 3 + ["6380"] * 3


def test_redis_gets_its_durability_and_passwords_and_keeps_them(places, bundle):
    _, first, _ = configure(places, bundle, target="redis_cluster", version="3.5.16")
    _, second, _ = configure(places, bundle, target="redis_cluster", version="3.5.16")
    variables = first.played[0][1]
    assert variables["redis_cluster_appendfsync"] == "always"
    assert set(variables["redis_cluster_passwords"]) == {"admin", "bench", "replication"}
    assert second.played == first.played
    secret = places.state / "secrets" / "redis.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_member_that_answers_as_another_version_is_an_error(places, bundle):
    with pytest.raises(ConfigureError, match=r"d1 answers as version .*3\.4\.23.*3\.5\.16 was"):
        configure(places, bundle, version='{"etcdserver":"3.4.23"}')


def tikv_bundle(bundle, *, pd="6.5.5", tikv="6.5.5"):
    uses = tuple(
        USE.model_copy(update={"name": name, "version": version, "reason": f"named {name}"})
        for name, version in (("pd-server", pd), ("tikv-server", tikv))
    )
    return dataclasses.replace(bundle, target="tikv", version=tikv, uses=uses)


def tikv_answers(*, pd="6.5.5", tikv="6.5.5"):
    return {
        name: {
            "installed": {"binaries": {}, "limits": []},
            "effective": {f"{name}-pd": {"version": pd}, f"{name}-tikv": {"version": tikv}},
        }
        for name in ("d1", "d2", "d3")
    }


def test_tikv_is_told_the_keys_of_the_load_and_clients_are_sent_to_pd(places, bundle):
    ready, ansible, _ = configure(
        places, tikv_bundle(bundle), target="tikv", returned=tikv_answers()
    )
    variables = ansible.played[0][1]
    assert (variables["pd_bundle"], variables["pd_bundle_stamp"]) == (
        variables["tikv_bundle"],
        variables["tikv_bundle_stamp"],
    )
    assert (variables["tikv_key_prefix"], variables["tikv_keys"]) == ("bench:", 1000)
    assert variables["tikv_value_bytes"] == SPEC.workload.value_bytes
    assert ready.endpoints == ("10.83.50.11:2479", "10.83.50.12:2479", "10.83.50.13:2479")
    assert set(ready.effective) == {f"d{n}-{kind}" for n in (1, 2, 3) for kind in ("pd", "tikv")}


def test_how_many_regions_each_store_led_stands_beside_its_settings(places, bundle):
    answered = tikv_answers()
    led = {f"{ADDRESSES[host]}:20160": 8 for host in ("d1", "d2", "d3")}
    answered["d1"]["spread"] = {"regions": 24, "leaders": led}
    ready, _, _ = configure(places, tikv_bundle(bundle), target="tikv", returned=answered)
    assert ready.effective["d3-tikv"] == {
        "version": "6.5.5",
        "soakbed.leaders": "8",
        "soakbed.regions": "24",
    }


def test_after_a_load_tikv_is_only_looked_at(places, bundle):
    prepare(places)
    ansible = FakeAnsible({"verify.yml": tikv_answers()})
    verify_target(
        TESTBED,
        "tikv",
        SPEC,
        ansible=ansible,
        artifacts=FakeArtifacts(tikv_bundle(bundle)),
        places=places,
        log=places.state / "tikv.jsonl",
    )
    assert ansible.played[0][1]["tikv_spread_leaders"] is False
    assert ansible.played[0][1]["pd_ready_timeout_s"] == 10


def test_a_stand_in_names_itself_in_version_and_reasons(places, bundle):
    """Whatever runs in TiKV's place, its record cannot be taken for a measurement of TiKV 6.5.5."""
    stand_in = tikv_bundle(bundle, pd="6.5.5-standin", tikv="6.5.5-standin")
    answered = tikv_answers(pd="6.5.5-standin", tikv="6.5.5-standin")
    ready, _, _ = configure(places, stand_in, target="tikv", returned=answered)
    assert (ready.version, ready.substituted) == ("6.5.5-standin", True)
    assert ready.reasons == ("named pd-server", "named tikv-server")


def test_a_stand_in_that_poses_as_the_pinned_version_is_found_out_by_what_answers(places, bundle):
    with pytest.raises(
        ConfigureError, match=r"d1-pd answers as version 6\.5\.5-standin, 6\.5\.5 was"
    ):
        configure(
            places, tikv_bundle(bundle), target="tikv", returned=tikv_answers(pd="6.5.5-standin")
        )


def test_the_double_that_tests_use_is_found_out_by_what_it_says(places, bundle):
    answered = tikv_answers(tikv="soakbed-double")
    with pytest.raises(ConfigureError, match=r"answers as version soakbed-double, 6\.5\.5 was"):
        configure(places, tikv_bundle(bundle), target="tikv", returned=answered)


def test_pd_and_tikv_may_be_of_two_versions_each_of_which_is_checked(places, bundle):
    mixed = tikv_bundle(bundle, pd="6.5.6", tikv="6.5.7")
    answered = tikv_answers(pd="6.5.6", tikv="6.5.7")
    assert configure(places, mixed, target="tikv", returned=answered)[0].version == "6.5.7"
    with pytest.raises(
        ConfigureError, match=r"d1-pd answers as version 6\.5\.7, 6\.5\.6 was pushed"
    ):
        configure(places, mixed, target="tikv", returned=tikv_answers(pd="6.5.7", tikv="6.5.7"))


def test_a_program_that_could_not_be_asked_before_has_the_version_that_it_tells(places, bundle):
    unknown = tikv_bundle(bundle, pd="unknown", tikv="unknown")
    answered = tikv_answers(pd="6.5.11", tikv="6.5.11")
    assert configure(places, unknown, target="tikv", returned=answered)[0].version == "6.5.11"


def test_hosts_that_were_not_prepared_are_an_error(places, bundle):
    with pytest.raises(ConfigureError, match="the hosts are not prepared") as unprepared:
        configure_target(
            TESTBED,
            "etcd",
            SPEC,
            ansible=FakeAnsible(),
            artifacts=FakeArtifacts(bundle),
            places=places,
            log=places.state / "etcd.jsonl",
        )
    assert "soakbed provision" in unprepared.value.remedy


def test_data_hosts_of_two_architectures_are_an_error(places, bundle):
    prepare(places)
    file = places.state / "hosts.json"
    hosts = json.loads(file.read_text())
    hosts["facts"]["d2"]["machine"] = "aarch64"
    file.write_text(json.dumps(hosts))
    with pytest.raises(ConfigureError, match="2 architectures: amd64, arm64"):
        configure_target(
            TESTBED,
            "etcd",
            SPEC,
            ansible=FakeAnsible(),
            artifacts=FakeArtifacts(bundle),
            places=places,
            log=places.state / "etcd.jsonl",
        )


@pytest.mark.parametrize(
    ("target", "wiped"),
    [
        ("etcd", [["etcd"]]),
        ("tikv", [["tikv"]]),
        ("", [["etcd", "redis_cluster", "tikv"]]),
        ("none", []),
    ],
)
def test_wiping_names_the_targets(places, target, wiped):
    ansible = FakeAnsible()
    wipe_target(TESTBED, target, ansible=ansible, places=places)
    assert [variables["wipe_targets"] for _, variables in ansible.played] == wiped
