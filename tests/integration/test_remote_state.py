"""Terraform's state in S3, on a small AWS of the tests' own: kept, locked, shared, no key in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters.terraform import Terraform
from soakbed.records.places import Places
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import RemoteState
from tests.standins.aws_cloud import LocalAws

PROJECT = Path(__file__).resolve().parents[2]
STATE = RemoteState(bucket="soakbed-states", key="team/t-static.tfstate", region="eu-central-1")
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nnobody's\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    (tmp_path / "aws").mkdir()
    with LocalAws(tmp_path / "aws") as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        made.client("s3").create_bucket(
            Bucket=STATE.bucket,
            CreateBucketConfiguration={"LocationConstraint": STATE.region},
        )
        yield made


def controller(folder: Path) -> Terraform:
    """A machine from which the testbed is handled; only the spec is the same on all."""
    places = Places(project=PROJECT, state=folder, cache=folder, s3_by_path=True)
    return Terraform(places, STATE)


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


def objects(aws: LocalAws) -> set[str]:
    listed = aws.client("s3").list_objects_v2(Bucket=STATE.bucket)
    return {one["Key"] for one in listed.get("Contents", ())}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
