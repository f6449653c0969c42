"""Every condition of infra/ has a test of Terraform's own that would miss it: none goes unseen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from soakbed.adapters.terraform import Terraform
from soakbed.adapters.terraform_root import plugin_missing
from soakbed.errors import ProvisionError
from soakbed.records.places import Places

PROJECT = Path(__file__).resolve().parents[2]
INFRA = PROJECT / "infra"
LACKING = plugin_missing(
    Places(
        project=PROJECT,
        state=Path("/nonexistent"),
        cache=Path("/nonexistent"),
        terraform_plugins=os.environ.get("SOAKBED_TERRAFORM_PLUGINS", ""),
    )
)
# Conditions outside of variables, each with the file of runs that would miss it.
ELSEWHERE = {
    "main.tf: check": "tests/testbed.tftest.hcl",
    "modules/aws/hosts.tf: postcondition": "tests/came_up.tftest.hcl",
    "modules/aws/outputs.tf: precondition": "tests/came_up.tftest.hcl",
    "modules/static/main.tf: precondition": "tests/static.tftest.hcl",
}


@dataclass(frozen=True)
class Run:
    """One run of a test file: its own words, and what it says must fail."""

    name: str
    text: str
    expected: str


def runs_of(file: Path) -> tuple[str, list[Run]]:
    """What stands before the first run (variables of all), and the runs."""
    head, *parts = re.split(r"(?m)^(?=run \")", file.read_text())
    runs = []
    for part in parts:
        (expected,) = re.findall(r"\n  expect_failures = \[(.*)\]\n", part)
        name = part.split('"')[1]
        runs.append(Run(name, re.sub(r"\n  expect_failures = .*", "", part), expected))
    return re.sub(r"(?ms)^mock_provider \S+ \{(?:\}|.*?\n\})\n", "", head), runs


def validations_of(file: Path) -> dict[int, str]:
    """Line of each validation -> the variable that it is of."""
    found, variable = {}, ""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if line.startswith('variable "'):
            variable = line.split('"')[1]
        if line.strip() == "validation {":
            found[number] = f"var.{variable}"
    return found


def complaints(root: Path) -> dict[str, set[str]]:
    """Run -> places of the validations that refuse what it gives, without its `expect_failures`."""
    command = [sys.executable, "-P", "-m", "soakbed.adapters.terraform", f"-chdir={root}"]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "PYTHONPATH": str(PROJECT)}
    said = {"env": environment, "capture_output": True, "text": True, "check": False}
    subprocess.run([*command, "init", "-backend=false"], **said).check_returncode()
    told: dict[str, set[str]] = {}
    for line in subprocess.run([*command, "test", "-json"], **said).stdout.splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["type"] == "diagnostic" and event["diagnostic"]["severity"] == "error":
            detail = event["diagnostic"]["detail"]
            place = re.search(r"validation rule at (\S+?):(\d+),", detail)
            assert place, f"{event['@testrun']}: {detail}"
            told.setdefault(event["@testrun"], set()).add(f"{Path(place[1]).name}:{place[2]}")
    return told


@pytest.mark.parametrize("root", [".", "aws"])
def test_every_validation_has_a_run_that_it_alone_refuses(root: str, tmp_path: Path) -> None:
    """So that a run fails when any one of them is taken out: what it expects then does not come."""
    source, copy = INFRA / root, tmp_path / "infra" / root
    (copy / "tests").mkdir(parents=True)
    for name in ("variables.tf", "types.tf"):  # what refuses; no provider is asked for that
        if (source / name).exists():
            shutil.copy(source / name, copy)
    (tmp_path / "infra/modules").mkdir(exist_ok=True)
    shutil.copytree(INFRA / "modules/aws", tmp_path / "infra/modules/aws")
    head, runs = runs_of(source / "tests/validations.tftest.hcl")
    for run in runs:  # each in a file of its own: one that fails ends its file
        (copy / f"tests/{run.name}.tftest.hcl").write_text(head + run.text)
    validations = validations_of(source / "variables.tf")
    assert len(validations) > 12
    told = complaints(copy)
    assert set(told) == {run.name for run in runs}, "a run that nothing refuses"
    proven = {
        (place, run.expected)
        for run in runs
        for place in told[run.name]
        if told[run.name] == {place}
    }
    missing = {(f"variables.tf:{line}", of) for line, of in validations.items()} - proven
    assert missing == set(), "no run is refused by this validation and by no other"


def conditions_elsewhere() -> dict[str, tuple[Path, str]]:
    """Conditions that are no variable's: what each is called -> its file, and its own text."""
    found = {}
    for file in sorted(INFRA.rglob("*.tf")):
        text = file.read_text()
        for kind in ("precondition", "postcondition", "assert", "validation"):
            for block in re.findall(rf"\n +{kind} \{{\n +condition +=.*\n", text):
                if file.name != "variables.tf":
                    called = "check" if kind == "assert" else kind
                    found[f"{file.relative_to(INFRA)}: {called}"] = (file, block)
    return found


def test_the_list_of_conditions_outside_of_variables_is_whole() -> None:
    assert set(conditions_elsewhere()) == set(ELSEWHERE)
    blocks = sum(
        len(re.findall(r"(?:precondition|postcondition|assert|validation) \{", file.read_text()))
        for file in INFRA.rglob("*.tf")
        if file.name != "variables.tf"
    )
    assert blocks == len(ELSEWHERE), "two of one kind in one file would count as one"


@pytest.mark.parametrize("kind", ["local", pytest.param("aws", marks=pytest.mark.skipif(
    bool(LACKING), reason=LACKING))])  # fmt: skip
def test_every_other_condition_has_a_run_that_misses_it(kind: str, tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path / "infra")
    places = Places(
        project=tmp_path,
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        terraform_plugins=os.environ.get("SOAKBED_TERRAFORM_PLUGINS", ""),
    )
    of_kind = [name for name in ELSEWHERE if ("modules/aws" in name) == (kind == "aws")]
    for name in of_kind:
        file, block = conditions_elsewhere()[name]
        copy = tmp_path / "infra" / file.relative_to(INFRA)
        always = re.sub(r"condition( +)= (.*)", r"condition\1= (\2) || true", block)
        copy.write_text(copy.read_text().replace(block, always))
    tests = tmp_path / "infra" / ("aws/tests" if kind == "aws" else "tests")
    for file in tests.glob("*.hcl"):
        if f"tests/{file.name}" not in {ELSEWHERE[name] for name in of_kind}:
            file.unlink()
    with pytest.raises(ProvisionError) as missed:
        Terraform(places).test(kind)
    assert missed.value.problem.count("Missing expected failure") >= len(of_kind)
