"""summary.json is a contract: names, types and what becomes of what was not measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from soakbed.stages.judge import assemble_summary
from tests.golden.recorded import RECORDED

# design.md 3: these names stay.
MEASURED = {
    "status": str,
    "version": str,
    "substituted": bool,
    "verdict": str,
    "reasons": list,
    "capacity_per_s": float,
    "offered_per_s": float,
    "throughput_per_s": float,
    "read": dict,
    "write": dict,
}
OPERATION = ("count", "failed", "unknown", "response_p50_us", "response_p99_us", "service_p99_us")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


def plain(run: Path) -> dict:
    return json.loads(assemble_summary(run).model_dump_json(by_alias=True))


def test_the_names_of_the_contract_are_there(run):
    summary = plain(run)
    assert summary["schema"] == 1
    assert summary["run_id"] == "run"
    assert (summary["testbed"]["provider"], summary["testbed"]["hosts"]) == ("local", 4)
    assert list(summary["targets"]) == ["etcd", "redis_cluster", "tikv"]
    for name in ("etcd", "redis_cluster"):
        held = summary["targets"][name]
        for key, kind in MEASURED.items():
            assert isinstance(held[key], kind), key
        for operation in ("read", "write"):
            assert all(isinstance(held[operation][key], int) for key in OPERATION)
        assert held["count"] > 10_000
        assert held["count"] <= held["total_operations"]


def test_a_target_that_could_not_be_had_says_why(run):
    assert plain(run)["targets"]["tikv"] == {
        "status": "not_measured",
        "reason": "no source has tikv 6.5.5",
        "remedy": "name a folder or mirror that has it: SOAKBED_ARTIFACTS=/path make bench",
    }


@pytest.mark.parametrize("missing", ["ready", "verdict"])
def test_a_run_that_ended_early_says_which_target_it_never_reached(run, missing):
    (run / "etcd" / f"{missing}.json").unlink()
    held = plain(run)["targets"]["etcd"]
    assert held["status"] == "not_measured"
    assert "the run ended before this target was" in held["reason"]
    assert held["remedy"] == "soakbed resume run"
