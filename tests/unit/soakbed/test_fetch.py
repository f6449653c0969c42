"""What `setup` fetches, and what it makes of a target that cannot be had."""

from pathlib import Path

import pytest

from soakbed import pipeline
from soakbed.errors import Unavailable
from soakbed.pipeline import Stopwatch, Tools, fetch
from soakbed.records.places import Places
from soakbed.records.testbed_spec import TestbedSpec
from tests.fakes import FakeAnsible, FakeArtifacts
from tests.golden.make_run import SHORT, spec_of
from tests.golden.pretences import ETCD

PROJECT = Path(__file__).resolve().parents[3]


class WithoutTikv(FakeArtifacts):
    def bundle(self, target, *, allow_substitute, arch=""):
        if target == "tikv":
            raise Unavailable("tikv cannot be had", remedy="soakbed artifacts resolve")
        return super().bundle(target, allow_substitute=allow_substitute, arch=arch)


@pytest.mark.parametrize("allowed", [True, False])
def test_every_target_is_asked_for_and_what_cannot_be_had_stops_no_other(
    tmp_path, monkeypatch, allowed
):
    monkeypatch.setattr(pipeline, "load_host_variables", lambda *_, **__: {})
    artifacts = WithoutTikv(None)
    spec = spec_of((ETCD,), SHORT, with_tikv=False).testbed
    lacking = fetch(
        spec.model_copy(update={"provider": "static"}),
        ("etcd", "tikv", "redis_cluster"),
        tools=Tools(None, FakeAnsible(), artifacts, lambda _: None),
        places=Places(project=tmp_path, state=tmp_path, cache=tmp_path),
        watch=Stopwatch(lambda _: None),
        allow_substitute=allowed,
    )
    assert sorted(artifacts.asked) == [("etcd", allowed, ""), ("redis_cluster", allowed, "")]
    assert {name: error.remedy for name, error in lacking.items()} == {
        "tikv": "soakbed artifacts resolve"
    }


def test_hosts_of_another_architecture_get_builds_and_packages_of_theirs(tmp_path, monkeypatch):
    packed: list[str] = []
    monkeypatch.setattr(pipeline, "load_host_variables", lambda *_, **told: packed.append(told))
    artifacts = FakeArtifacts(None)
    hosts = {
        name: {"duty": "load" if name == "l1" else "data"} for name in ("d1", "d2", "d3", "l1")
    }
    cloud = {"region": "eu-west-1", "zones": ["eu-west-1a"], "instance_type": "c7gd.2xlarge"}
    fetch(
        TestbedSpec.model_validate({"name": "t", "provider": "aws", "aws": cloud, "hosts": hosts}),
        ("etcd",),
        tools=Tools(None, FakeAnsible(), artifacts, lambda _: None),
        places=Places(project=PROJECT, state=tmp_path, cache=tmp_path),
        watch=Stopwatch(lambda _: None),
    )
    assert artifacts.asked == [("etcd", True, "arm64")]
    assert [told["arch"] for told in packed] == ["arm64"]
