"""Terraform itself, as it comes with soakbed and as the user names it; no host is made here."""

from __future__ import annotations

import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters.terraform import Terraform
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import TestbedSpec
from tests.contract.provider_contract import breaches, keys_in

KEY = "not for anybody's state"
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(project=PROJECT, state=tmp_path / "state", cache=tmp_path / "cache")


@pytest.fixture
def static(tmp_path: Path) -> dict[str, Any]:
    key = tmp_path / "key"
    key.write_text(KEY)
    return {
        "name": "t-static",
        "provider_kind": "static",
        "ssh_dir": str(tmp_path / "ssh"),
        "hosts": {
            name: {
                "duty": "load" if name == "l1" else "data",
                "address": f"192.0.2.{number}",
                "user": "admin",
                "port": 2222,
                "key_file": str(key),
            }
            for number, name in enumerate(("d1", "d2", "d3", "l1"), start=11)
        },
    }


def listing(folder: Path) -> set[str]:
    return {f"{path} {path.stat().st_mtime_ns}" for path in folder.rglob("*")}


def test_the_module_is_valid_formatted_and_passes_its_own_tests(places: Places) -> None:
    before = listing(places.infra)
    terraform = Terraform(places)
    terraform.validate()
    terraform.fmt_check()
    printed = terraform.test()
    passed = re.search(r"Success! (\d+) passed, 0 failed", printed)
    assert passed
    runs = "".join(path.read_text() for path in places.infra.glob("tests/*.tftest.hcl"))
    assert int(passed[1]) == len(re.findall(r"^run ", runs, re.MULTILINE)) >= 20
    assert listing(places.infra) == before  # nothing is written beside the sources


def test_a_file_that_is_not_formatted_is_named(places: Places, tmp_path: Path) -> None:
    shutil.copytree(places.infra, tmp_path / "project/infra")
    (tmp_path / "project/infra/outputs.tf").write_text('output "x" {\nvalue=1\n}\n')
    terraform = Terraform(places.model_copy(update={"project": tmp_path / "project"}))
    with pytest.raises(ProvisionError, match=r"outputs\.tf"):
        terraform.fmt_check()


def test_static_hosts_come_out_as_a_testbed_and_again_without_a_change(
    places: Places, static: dict[str, Any]
) -> None:
    said: list[str] = []
    terraform = Terraform(places)
    first = terraform.apply(static, progress=said.append)
    testbed = Testbed.model_validate(first.outputs["testbed"])
    hosts = {
        name: {key: host[key] for key in ("duty", "address", "user", "port", "key_file")}
        for name, host in static["hosts"].items()
    }
    asked = {"name": "t-static", "provider": "static", "hosts": hosts}
    assert breaches(testbed, TestbedSpec.model_validate(asked)) == []
    assert keys_in(places.state, KEY) == []
    assert (first.added, first.touched) == (4, 4)
    assert testbed.hosts["d1"].user == "admin"
    assert not testbed.shares_machine
    assert "host d1: making" in said
    again = terraform.apply(static, progress=said.append)
    assert (again.touched, again.outputs) == (0, first.outputs)
    assert terraform.last_tfvars() == static
    gone = terraform.destroy(static, progress=said.append)
    assert (gone.destroyed, gone.touched) == (4, 4)


def test_a_mistake_comes_back_with_the_text_that_teaches(
    places: Places, static: dict[str, Any]
) -> None:
    del static["hosts"]["d3"]
    with pytest.raises(ProvisionError, match="at least 3 data hosts for a majority"):
        Terraform(places).apply(static, progress=str)
    assert not Terraform(places).state_file.exists()


def test_a_terraform_that_the_user_names_takes_the_place_of_ours(
    places: Places, static: dict[str, Any], tmp_path: Path
) -> None:
    named = tmp_path / "named"
    calls = tmp_path / "calls"
    named.write_text(
        f'#!/bin/sh\necho "$2" >> {calls}\n'
        f'exec {sys.executable} -P -m soakbed.adapters.terraform "$@"\n'
    )
    named.chmod(named.stat().st_mode | stat.S_IXUSR)
    terraform = Terraform(places.model_copy(update={"terraform": str(named)}))
    assert terraform.apply(static, progress=str).added == 4
    assert calls.read_text().split() == ["init", "apply"]


def test_a_terraform_that_is_not_there_is_an_error_with_a_remedy(
    places: Places, static: dict[str, Any]
) -> None:
    terraform = Terraform(places.model_copy(update={"terraform": "/nowhere/terraform"}))
    with pytest.raises(ProvisionError, match="/nowhere/terraform") as told:
        terraform.apply(static, progress=str)
    assert "SOAKBED_TERRAFORM" in told.value.remedy
