"""What a spec's instance types are made of, asked before anything is made; exit code 2."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from soakbed.errors import SpecError
from soakbed.records.places import Places
from soakbed.records.spec import TARGETS
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.stages.hardware import architecture_of, require_hardware

PROJECT = Path(__file__).resolve().parents[4]
PINS = Path("playbooks/group_vars/all/artifacts.yml")


def on_aws(instance_type: str = "c6id.2xlarge", **own: str) -> TestbedSpec:
    hosts = {name: {"duty": "data"} for name in ("d1", "d2", "d3")} | {"l1": {"duty": "load"}}
    for name, kind in own.items():
        hosts[name]["instance_type"] = kind
    aws = {"region": "eu-central-1", "zones": ["eu-central-1a"], "instance_type": instance_type}
    return TestbedSpec.model_validate({"name": "t", "provider": "aws", "aws": aws, "hosts": hosts})


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for part in ("infra/modules/aws/instance_types.json", str(PINS)):
        (tmp_path / part).parent.mkdir(parents=True)
        shutil.copy(PROJECT / part, tmp_path / part)
    return Places(project=tmp_path, state=tmp_path / "state", cache=tmp_path / "cache")


def without(places: Places, target: str, **parts: Any) -> None:
    """artifacts.yml as if one target were pinned in another way."""
    file = places.project / PINS
    pins = yaml.safe_load(file.read_text())
    pins["artifacts"][target] |= parts
    file.write_text(yaml.safe_dump(pins))


def refusals(spec: TestbedSpec, places: Places, *targets: str, **more: Any) -> list[str]:
    try:
        require_hardware(spec, targets, places, **more)
    except SpecError as error:
        assert error.exit_code == 2
        return [str(one) for one in error.mistakes]
    return []


@pytest.mark.parametrize("kind", ["c6id.2xlarge", "c7gd.2xlarge"])
def test_every_target_can_be_had_for_both_architectures(kind, places):
    assert refusals(on_aws(kind), places, *TARGETS) == []


def test_the_architecture_is_that_of_the_type_and_of_this_machine_elsewhere(places):
    assert architecture_of(on_aws("c7gd.2xlarge"), places) == "arm64"
    assert architecture_of(on_aws(l1="c6in.2xlarge"), places) == "amd64"
    local = {"name": "t", "provider": "static", "hosts": {
        name: {"duty": "load" if name == "l1" else "data", "address": f"192.0.2.{at}",
               "key_file": "k"} for at, name in enumerate(("d1", "d2", "d3", "l1"), 1)
    }}  # fmt: skip
    spec = TestbedSpec.model_validate(local)
    assert architecture_of(spec, places) == ""
    assert refusals(spec, places, *TARGETS) == []


def test_a_type_whose_architecture_has_no_build_of_a_target_is_refused(places):
    upstream = yaml.safe_load((places.project / PINS).read_text())["artifacts"]["tikv"]["upstream"]
    del upstream["files"]["arm64"]
    without(places, "tikv", upstream=upstream)
    (told,) = refusals(on_aws("c7gd.2xlarge"), places, *TARGETS)
    assert "tikv 6.5.5 has no build for arm64" in told
    assert "leave tikv out" in told and "c6id.2xlarge" in told
    assert refusals(on_aws("c7gd.2xlarge"), places, "etcd", "redis_cluster") == []
    assert refusals(on_aws(), places, *TARGETS) == []
    own = places.model_copy(update={"artifacts": "/a/folder"})
    assert refusals(on_aws("c7gd.2xlarge"), own, *TARGETS) == [], "the user may have built it"


def test_debians_build_counts_where_another_version_is_allowed(places):
    upstream = yaml.safe_load((places.project / PINS).read_text())["artifacts"]["etcd"]["upstream"]
    del upstream["files"]["arm64"]
    without(places, "etcd", upstream=upstream)
    assert refusals(on_aws("c7gd.2xlarge"), places, "etcd") == []
    (told,) = refusals(on_aws("c7gd.2xlarge"), places, "etcd", allow_substitute=False)
    assert "etcd 3.5.10 has no build for arm64" in told


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (on_aws("t2.nano"), "instance_type = t2.nano: what this type has is not known here"),
        (on_aws(d2="m1.old"), "instance_type = m1.old: what this type has is not known here"),
        (on_aws(l1="c7gd.2xlarge"), "c6id.2xlarge is amd64, c7gd.2xlarge is arm64: hosts of two"),
        (on_aws(d1="c6in.2xlarge"), "c6in.2xlarge: data hosts keep their database on a local"),
    ],
)
def test_types_that_do_not_fit_are_told_before_terraform_is_asked(spec, why, places):
    (told,) = refusals(spec, places, *TARGETS)
    assert why in told
    assert "\n  try: " in told


def test_a_command_ends_with_it_before_anything_is_made(places, monkeypatch, tmp_path):
    from rich.console import Console

    from soakbed import commands

    session = commands.Session.begin(on_aws("t2.nano"), places, Console(), command=("soakbed",))
    asked: list[str] = []
    monkeypatch.setattr(commands, "prepare", lambda *_, **__: asked.append("prepare"))
    monkeypatch.setattr(commands, "announce_cost", lambda *_: asked.append("cost"))
    for command in (
        lambda: commands.provision(session, "tuned"),
        lambda: commands.setup(session, TARGETS, allow_substitute=True),
    ):
        with pytest.raises(SpecError):
            command()
    assert asked == [] and not places.state.exists()
