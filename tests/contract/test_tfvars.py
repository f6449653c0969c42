"""The seam between soakbed and infra/: what one writes, the other reads."""

import json
import re
from pathlib import Path

import pytest

from soakbed.records.places import Places
from soakbed.records.testbed import Cloud, Host, Testbed
from soakbed.stages.aws_input import AwsAnswers, aws_tfvars
from soakbed.stages.provision import tfvars_of
from soakbed.stages.specs import load_testbed_spec

PROJECT = Path(__file__).resolve().parents[2]
INFRA = PROJECT / "infra"
SHAPES = sorted((INFRA / "testbeds").glob("*.json"))
ROOTS = [INFRA, INFRA / "aws"]
ANSWERS = AwsAnswers(
    zone="eu-central-1a", operator_cidr="203.0.113.7/32", lease_id="a1b2c3", destroy_after=2**31
)


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
    if spec.provider == "aws":
        key = places.state / "ssh/id_ed25519.pub"
        key.parent.mkdir(parents=True)
        key.write_text("ssh-ed25519 AAAA soakbed\n")
        tfvars = aws_tfvars(spec, ANSWERS, places=places)
        declared = variables(INFRA / "aws")
    else:
        tfvars = tfvars_of(spec, places=places, image=Path("/image"), cpus=[0, 1])
        declared = variables(INFRA)
    assert set(tfvars) == set(declared)
    for host in tfvars["hosts"].values():
        assert set(host) <= attributes(declared["hosts"])
    assert json.loads(json.dumps(tfvars)) == tfvars


@pytest.mark.parametrize("module", ["aws", "local", "static"])
def test_each_module_describes_its_hosts_with_exactly_the_fields_of_the_record(module):
    counted_later = {"cores"}  # by the hosts themselves, when they are prepared
    assert output_keys(INFRA / "modules" / module) == set(Host.model_fields) - counted_later


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
def test_the_one_output_has_exactly_the_fields_of_the_record(root):
    text = (root / "outputs.tf").read_text()
    keys = set(re.findall(r"^    (\w+)\s*=", text, re.MULTILINE))
    assert keys == {field.alias or name for name, field in Testbed.model_fields.items()}


def test_what_a_cloud_tells_of_itself_has_exactly_the_fields_of_the_record():
    text = (INFRA / "modules/aws/outputs.tf").read_text()
    told = re.search(r'output "cloud" \{.*?value = \{(.*?)\n  \}', text, re.DOTALL)
    assert told
    assert set(re.findall(r"^    (\w+)\s*=", told[1], re.MULTILINE)) == set(Cloud.model_fields)


def test_hosts_are_asked_for_by_one_and_the_same_object_whatever_the_root():
    above, aws = (attributes(variables(root)["hosts"]) for root in ROOTS)
    assert above == aws


def test_the_pinned_plugin_is_the_one_that_every_module_asks_for():
    pins = json.loads((INFRA / "aws/provider.json").read_text())
    for folder in (INFRA / "aws", INFRA / "modules/aws"):
        text = (folder / "versions.tf").read_text()
        assert f'source  = "{pins["source"]}"' in text
        assert f'version = "{pins["version"]}"' in text


def test_every_variable_says_what_it_is_for():
    folders = [*ROOTS, *(INFRA / "modules").iterdir()]
    for folder in folders:
        for name, block in variables(folder).items():
            assert "description = " in block, f"{folder.name}: {name}"
