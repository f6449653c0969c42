"""Testbed -> inventory, as Ansible reads it."""

import json
from pathlib import Path

import yaml

from soakbed.records.testbed import Testbed
from soakbed.stages.inventory import inventory, write_inventory


def made_testbed(**more):
    host = {"duty": "data", "address": "10.83.50.11", "key_file": "/keys/id_ed25519"}
    hosts = {
        name: {**host, "name": name, "address": f"10.83.50.1{number}"}
        for number, name in enumerate(("d1", "d2", "d3"), start=1)
    }
    hosts["l1"] = {**host, "name": "l1", "duty": "load", "address": "10.83.50.21", **more}
    return Testbed.model_validate(
        {
            "name": "t-play",
            "provider": "local",
            "shares_machine": True,
            "known_hosts_file": "/state of mine/known_hosts",
            "hosts": hosts,
        }
    )


def test_hosts_are_grouped_by_duty():
    groups = inventory(made_testbed())["all"]["children"]
    assert {name: sorted(group["hosts"]) for name, group in groups.items()} == {
        "data": ["d1", "d2", "d3"],
        "load": ["l1"],
    }


def test_each_host_says_how_it_is_reached():
    load = inventory(made_testbed(user="admin", port=2222, data_dir="/mnt/nvme"))["all"]["children"]
    assert load["load"]["hosts"]["l1"] == {
        "ansible_host": "10.83.50.21",
        "ansible_port": 2222,
        "ansible_user": "admin",
        "ansible_become": True,
        "ansible_ssh_private_key_file": "/keys/id_ed25519",
        "host_address": "10.83.50.21",
        "host_data_dir": "/mnt/nvme",
    }


def test_a_host_that_others_reach_elsewhere_than_we_do_says_both():
    groups = inventory(made_testbed(ssh_address="198.51.100.7"))["all"]["children"]
    l1, d1 = groups["load"]["hosts"]["l1"], groups["data"]["hosts"]["d1"]
    assert (l1["ansible_host"], l1["host_address"]) == ("198.51.100.7", "10.83.50.21")
    assert d1["ansible_host"] == d1["host_address"] == "10.83.50.11"


def test_roles_ask_for_a_hosts_place_in_the_cluster_never_for_ours():
    playbooks = Path(__file__).resolve().parents[4] / "playbooks"
    files = [path for path in playbooks.rglob("*") if path.suffix in (".yml", ".j2")]
    assert len(files) > 100
    assert [path.name for path in files if "ansible_host" in path.read_text()] == []


def test_root_needs_no_further_rights():
    assert (
        inventory(made_testbed())["all"]["children"]["load"]["hosts"]["l1"]["ansible_become"]
        is False
    )


def test_only_hosts_whose_key_is_known_are_spoken_to():
    common = inventory(made_testbed())["all"]["vars"]["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in common
    assert "UserKnownHostsFile='/state of mine/known_hosts'" in common


def test_the_file_is_yaml_and_json_alike(tmp_path):
    file = write_inventory(made_testbed(), tmp_path / "new" / "inventory.yml")
    assert yaml.safe_load(file.read_text()) == json.loads(file.read_text())


def test_data_hosts_of_a_cloud_name_the_disk_that_their_databases_lie_on():
    testbed = made_testbed(instance_id="i-1")
    d1 = testbed.hosts["d1"].model_copy(update={"instance_id": "i-2"})
    hosts = {**testbed.hosts, "d1": d1}
    groups = inventory(testbed.model_copy(update={"hosts": hosts}))["all"]["children"]
    assert groups["data"]["hosts"]["d1"]["host_disk_model"] == "Amazon EC2 NVMe Instance Storage"
    for elsewhere in (groups["data"]["hosts"]["d2"], groups["load"]["hosts"]["l1"]):
        assert "host_disk_model" not in elsewhere
