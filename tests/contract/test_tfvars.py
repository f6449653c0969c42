"""The seam between soakbed and infra/: what one writes, the other reads."""

import json
import re
from pathlib import Path

import pytest

from soakbed.records.places import Places
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.provision import tfvars_of
from soakbed.stages.specs import load_testbed_spec

PROJECT = Path(__file__).resolve().parents[2]
INFRA = PROJECT / "infra"
SHAPES = sorted((INFRA / "testbeds").glob("*.json"))


def variables(folder: Path) -> dict[str, str]:
    """Name -> text of each variable of a module."""
    text = (folder / "variables.tf").read_text()
    parts = re.split(r'^variable "(\w+)" \{$', text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def attributes(block: str) -> set[str]:
    """Attributes of the object type in a variable."""
    inner = re.search(r"object\(\{(.*?)\}\)\)", block, re.DOTALL)
    assert inner
    return set(re.findall(r"^\s*(\w+)\s*=", inner[1], re.MULTILINE))


def output_keys(folder: Path) -> set[str]:
    """Keys of the object that outputs.tf makes for each host."""
    inner = re.search(r"name => \{(.*?)\n    \}", (folder / "outputs.tf").read_text(), re.DOTALL)
    assert inner
    return set(re.findall(r"^\s*(\w+)\s*=", inner[1], re.MULTILINE))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda path: path.stem)
def test_every_testbed_in_the_tree_gives_terraform_exactly_the_variables_it_has(shape, tmp_path):
    spec = load_testbed_spec(shape)
    places = Places(project=PROJECT, state=tmp_path / "state", cache=tmp_path / "cache")
    tfvars = tfvars_of(spec, places=places, image=Path("/image"), cpus=[0, 1])
    declared = variables(INFRA)
    assert set(tfvars) == set(declared)
    for host in tfvars["hosts"].values():
        assert set(host) <= attributes(declared["hosts"])
    assert json.loads(json.dumps(tfvars)) == tfvars


@pytest.mark.parametrize("module", ["local", "static"])
def test_each_module_describes_its_hosts_with_exactly_the_fields_of_the_record(module):
    counted_later = {"cores"}  # by the hosts themselves, when they are prepared
    assert output_keys(INFRA / "modules" / module) == set(Host.model_fields) - counted_later


def test_the_one_output_has_exactly_the_fields_of_the_record():
    text = (INFRA / "outputs.tf").read_text()
    keys = set(re.findall(r"^    (\w+)\s*=", text, re.MULTILINE))
    assert keys == {field.alias or name for name, field in Testbed.model_fields.items()}


def test_every_variable_says_what_it_is_for():
    folders = [INFRA, *(INFRA / "modules").iterdir()]
    for folder in folders:
        for name, block in variables(folder).items():
            assert "description = " in block, f"{folder.name}: {name}"
