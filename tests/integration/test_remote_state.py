"""Terraform's state in S3, on a small AWS of the tests' own: kept, locked, shared, no key in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters import terraform
from soakbed.adapters.remote_state import StateLocked
from soakbed.adapters.terraform import Terraform
from soakbed.records.cloud_resource import LeaseName
from soakbed.records.places import Places
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import RemoteState, TestbedSpec
from soakbed.stages.teardown import teardown
from tests.standins.aws import Call
from tests.standins.aws_cloud import LocalAws

PROJECT = Path(__file__).resolve().parents[2]
STATE = RemoteState(bucket="soakbed-states", key="team/t-static.tfstate", region="eu-central-1")
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nnobody's\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws")) as made:
        yield made


@pytest.fixture
def aws(cloud: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    cloud.reset()
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    cloud.client("s3").create_bucket(
        Bucket=STATE.bucket, CreateBucketConfiguration={"LocationConstraint": STATE.region}
    )
    return cloud


def controller(folder: Path) -> Terraform:
    """A machine from which the testbed is handled; only the spec is the same on all."""
    return Terraform(places_at(folder), STATE)


def places_at(folder: Path) -> Places:
    return Places(project=PROJECT, state=folder, cache=folder, s3_by_path=True)


def static(folder: Path) -> dict[str, Any]:
    key = folder / "key"
    key.write_text(KEY)
    return {
        "name": "t-static",
        "provider_kind": "static",
        "ssh_dir": str(folder / "ssh"),
        "hosts": {
            name: {
                "duty": "load" if name == "l1" else "data",
                "address": f"192.0.2.{at}",
                "inner_address": f"10.0.0.{at}",
                "key_file": str(key),
            }
            for at, name in enumerate(("d1", "d2", "d3", "l1"), start=11)
        },
    }


def test_a_state_in_s3_is_locked_shared_and_holds_no_key(aws: LocalAws, tmp_path: Path) -> None:
    tfvars, said = static(tmp_path), []
    one, other = controller(tmp_path / "one"), controller(tmp_path / "other")
    made = one.apply(tfvars, progress=said.append)
    assert made.touched == 4
    testbed = Testbed.model_validate(made.outputs["testbed"])
    assert testbed.hosts["d1"].reached_at == "192.0.2.11"
    assert testbed.hosts["d1"].address == "10.0.0.11"
    assert [line for line in said if "warning" in line] == []

    asked = [call.path.partition("?")[0] for call in aws.door.calls]
    assert f"/{STATE.bucket}/{STATE.key}.tflock" in asked, "it was locked by an object beside it"
    assert objects(aws) == {STATE.key}, "and the lock is gone"
    assert not one.state_file.exists()
    kept = aws.client("s3").get_object(Bucket=STATE.bucket, Key=STATE.key)["Body"].read().decode()
    assert len(json.loads(kept)["resources"][0]["instances"]) == 4
    everything = [kept, *(path.read_text(errors="replace") for path in files(tmp_path / "one"))]
    assert not [text for text in everything if "PRIVATE KEY" in text or "nobody's" in text]

    assert other.has_state()
    assert other.apply(tfvars, progress=said.append).touched == 0
    assert other.destroy(tfvars, progress=said.append).destroyed == 4


def killed_at_work(aws: LocalAws, folder: Path, tfvars: dict[str, Any]) -> None:
    """An apply that ends by kill -9, Terraform as well, while it writes the state."""
    begun, go_on = threading.Event(), threading.Event()

    def saved_late(call: Call) -> None:
        if call.path.startswith(f"/{STATE.bucket}/{STATE.key}?") and call.method == "PUT":
            begun.set()
            go_on.wait(60)

    aws.door.rules = [saved_late]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(PROJECT), str(folder), json.dumps(tfvars)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "STATE": STATE.model_dump_json()},
    )
    try:
        assert begun.wait(120)
        note = folder / "terraform/lock.json"
        while not (note.exists() and note.read_text().endswith("\n")) and child.poll() is None:
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
        for pid in controller(folder)._stragglers():
            os.kill(pid, signal.SIGKILL)
        go_on.set()
    aws.door.rules = []


def test_a_lock_of_a_killed_command_of_ours_is_taken_over_and_another_controllers_is_named(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform, "_LOCK_WAIT_S", 1)
    tfvars, said = static(tmp_path), []
    killed_at_work(aws, tmp_path / "one", tfvars)
    lock = f"{STATE.key}.tflock"
    assert lock in objects(aws)

    other, there = controller(tmp_path / "other"), places_at(tmp_path / "other")
    with pytest.raises(
        StateLocked, match=r"is locked by .+@.+ since 20\d\d-.+ \(apply, lock "
    ) as refused:
        other.apply(tfvars, progress=said.append)
    assert f"aws s3 rm s3://{STATE.bucket}/{lock}" in refused.value.remedy
    spec = TestbedSpec.model_validate(
        {"name": "t-static", "provider": "static", "hosts": spec_hosts(tfvars)}
    )
    with pytest.raises(StateLocked):
        teardown(spec, terraform=other, places=there, progress=said.append)
    assert lock in objects(aws), "nobody may break a lock that is not his own"

    made = controller(tmp_path / "one").apply(tfvars, progress=said.append)
    assert set(made.outputs["testbed"]["hosts"]) == set(tfvars["hosts"])
    assert any("locked by a killed command of ours" in line for line in said)
    assert objects(aws) == {STATE.key}
    assert not (tmp_path / "one/terraform/lock.json").exists()


def test_the_state_says_whose_its_hosts_are(aws: LocalAws, tmp_path: Path) -> None:
    one = controller(tmp_path / "one")
    assert one.leases_in_state() == frozenset(), "there is no state yet"
    tags = {"soakbed:project": "soakbed", "soakbed:testbed": "aws-4x", "soakbed:lease": "k3v9q2"}
    held = [{"attributes": {"tags": tags}}, {"attributes": {"tags": None}}, {"attributes": None}]
    body = json.dumps({"version": 4, "resources": [{"type": "aws_vpc", "instances": held}]})
    aws.client("s3").put_object(Bucket=STATE.bucket, Key=STATE.key, Body=body.encode())
    assert one.leases_in_state() == {LeaseName("aws-4x", "k3v9q2")}


def spec_hosts(tfvars: dict[str, Any]) -> dict[str, Any]:
    keys = ("duty", "address", "inner_address", "key_file")
    return {name: {key: host[key] for key in keys} for name, host in tfvars["hosts"].items()}


CHILD = """
import json, os, sys
from pathlib import Path
from soakbed.adapters.terraform import Terraform
from soakbed.records.places import Places
from soakbed.records.testbed_spec import RemoteState
project, folder, tfvars = sys.argv[1:]
remote = RemoteState.model_validate_json(os.environ["STATE"])
places = Places(project=Path(project), state=Path(folder), cache=Path(folder), s3_by_path=True)
Terraform(places, remote).apply(json.loads(tfvars), progress=print)
"""


def objects(aws: LocalAws) -> set[str]:
    listed = aws.client("s3").list_objects_v2(Bucket=STATE.bucket)
    return {one["Key"] for one in listed.get("Contents", ())}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
