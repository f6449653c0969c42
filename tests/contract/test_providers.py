"""One contract over all providers: what goes in, what comes out, and what must be true of it."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from soakbed.records.testbed import Cloud, Host, Provider, Testbed
from soakbed.records.testbed_spec import HostSpec, TestbedSpec
from soakbed.stages.specs import load_testbed_spec
from soakbed.stages.static_rules import TARGET_PORTS
from tests.contract.provider_contract import breaches, keys_in

PROJECT = Path(__file__).resolve().parents[2]
INFRA = PROJECT / "infra"
DOC = (PROJECT / "docs/adding-a-provider.md").read_text()
PROVIDERS: tuple[str, ...] = get_args(Provider)
EXAMPLES = {"local": "local-4x", "static": "static-example", "aws": "aws-4x"}
# Tests that have the real thing, and put what came up to the contract.
PUT_TO_IT = {
    "local": "tests/integration/test_local_hosts.py",
    "static": "tests/integration/test_terraform.py",
    "aws": "tests/integration/test_aws_provision.py",
}


def text_of(provider: str) -> str:
    """All Terraform files of a module."""
    return "".join(path.read_text() for path in (INFRA / "modules" / provider).glob("*.tf"))


def table(heading: str) -> list[str]:
    """First column of the first table below a heading of the document."""
    part = DOC.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", part, re.MULTILINE)
    assert rows, heading
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_every_provider_has_a_module_an_example_and_a_name_in_the_document():
    modules = {path.name for path in (INFRA / "modules").iterdir() if path.is_dir()}
    assert modules == set(PROVIDERS) == set(EXAMPLES)
    for provider in PROVIDERS:
        assert f"`{provider}`" in DOC
        assert load_testbed_spec(INFRA / f"testbeds/{EXAMPLES[provider]}.json").provider == provider


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_module_says_what_goes_in_what_comes_out_and_what_it_needs(provider):
    folder = INFRA / "modules" / provider
    for name in ("variables.tf", "outputs.tf", "versions.tf"):
        assert (folder / name).read_text(), name
    text = text_of(provider)
    assert re.search(r'^variable "hosts" \{', text, re.MULTILINE)
    assert re.search(r'^output "hosts" \{', text, re.MULTILINE)
    assert re.search(r"for_each = (var\.hosts|local\.machines)$", text, re.MULTILINE)
    assert "precondition" in text or "validation" in text or provider == "local"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_private_key_goes_into_the_state(provider):
    text = re.sub(r"#.*", "", text_of(provider))
    assert not re.search(r"tls_private_key|private_key_pem|private_key_openssh", text)
    # What Terraform reads of files on the controller it keeps; of a key it may only ask the path.
    for name in re.findall(r"\b(?:file|filebase64)\(([^)]*)\)", text):
        assert "key" not in name, name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_is_open_to_the_world(provider):
    assert not re.search(r'ingress[^}]*"(?:0\.0\.0\.0/0|::/0)"', text_of(provider), re.DOTALL)


def test_hosts_on_aws_are_open_to_each_other_where_databases_listen_and_nowhere_else():
    listed = re.search(r"inner_ports = \{(.*?)\n  \}", text_of("aws"), re.DOTALL)
    assert listed
    open_: set[int] = set()
    for first, last in re.findall(r"\[(\d+), (\d+)\]", listed[1]):
        open_ |= set(range(int(first), int(last) + 1))
    assert open_ == {22, *TARGET_PORTS}


@pytest.mark.parametrize(
    ("heading", "fields"),
    [
        pytest.param("What goes in", HostSpec.model_fields, id="a host that is asked for"),
        pytest.param("What comes out: hosts", Host.model_fields, id="a host"),
        pytest.param("What comes out: the testbed", Testbed.model_fields, id="the testbed"),
        pytest.param("What comes out: the cloud", Cloud.model_fields, id="the cloud"),
    ],
)
def test_the_document_names_exactly_the_fields_of_the_records(heading, fields):
    assert table(heading) == [field.alias or name for name, field in fields.items()]


@pytest.mark.parametrize("provider", PUT_TO_IT)
def test_what_each_provider_really_makes_is_put_to_the_contract(provider):
    assert "assert breaches(" in (PROJECT / PUT_TO_IT[provider]).read_text()


def made(provider: str, **changed: Any) -> tuple[Testbed, TestbedSpec]:
    """A testbed as it should be, but for what is changed in it or, with `d1`, in its first host."""
    asked = load_testbed_spec(INFRA / f"testbeds/{EXAMPLES[provider]}.json")
    hosts = {}
    for at, (name, spec) in enumerate(asked.hosts.items(), start=1):
        host = {"name": name, "duty": spec.duty, "address": f"10.0.0.{at}", "key_file": "/k"}
        if provider == "local":
            host |= {"cpus": (1,), "image": "0a1b"}
        if provider == "aws":
            host |= {"ssh_address": f"198.51.100.{at}", "user": "admin", "image": "ami-1"}
            host |= {"instance_id": f"i-{at}", "instance_type": "t", "zone": "eu-central-1a"}
        hosts[name] = host
    hosts["d1"] |= changed.pop("d1", {})
    document = {
        "name": asked.name,
        "provider": provider,
        "shares_machine": provider == "local",
        "known_hosts_file": "/s/known_hosts",
        "hosts": hosts,
    }
    if provider == "aws":
        words = ("region", "zone", "image_id", "image_name", "placement_group")
        document["cloud"] = dict.fromkeys(words, "x") | {
            "provider": "aws",
            "instance_types": ["t"],
            "network_sustained_mbit": 1,
        }
    return Testbed.model_validate(document | changed), asked


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_testbed_as_it_should_be_breaks_no_promise(provider):
    assert breaches(*made(provider)) == []


@pytest.mark.parametrize(
    ("provider", "changed", "told"),
    [
        ("static", {"name": "other"}, "asked for static-example of static: other"),
        ("static", {"shares_machine": True}, "shares_machine is True on static"),
        ("local", {"shares_machine": False}, "shares_machine is False on local"),
        ("aws", {"cloud": None}, "cloud is None on aws"),
        ("local", {"known_hosts_file": "known_hosts"}, "depends on where it is read"),
        ("local", {"known_hosts_file": "/PRIVATE KEY"}, "it holds a private key"),
        ("local", {"d1": {"address": "10.0.0.2"}}, "two hosts share one address"),
        ("aws", {"d1": {"ssh_address": "198.51.100.2"}}, "two hosts share one ssh_address"),
        ("local", {"d1": {"name": "d9"}}, "d1 calls itself d9"),
        ("local", {"d1": {"duty": "load"}}, "d1 was asked for as data and is load"),
        ("aws", {"d1": {"address": "d1.example"}}, "d1: address 'd1.example' is no IPv4"),
        ("aws", {"d1": {"ssh_address": "d1.example"}}, "d1: reached_at 'd1.example' is no"),
        ("static", {"d1": {"ssh_address": "10.0.0.1"}}, "says what address says already"),
        ("static", {"d1": {"key_file": "id"}}, "nobody can log in as 'root' with 'id'"),
        ("static", {"d1": {"data_dir": "/"}}, "data_dir is '/'"),
        ("static", {"d1": {"cpus": (1,)}}, "is not pinned"),
        ("static", {"d1": {"zone": "x"}}, "zone is 'x' on static"),
        ("aws", {"d1": {"instance_id": ""}}, "instance_id is '' on aws"),
        ("aws", {"d1": {"image": ""}}, "image is '' on aws"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_each_promise_that_is_broken_is_told(provider, changed, told):
    (found,) = breaches(*made(provider, **changed))
    assert told in found


def test_a_host_that_did_not_come_up_is_told():
    testbed, asked = made("static")
    fewer = {name: host for name, host in testbed.hosts.items() if name != "d3"}
    (found,) = breaches(testbed.model_copy(update={"hosts": fewer}), asked)
    assert found == "asked for ['d1', 'd2', 'd3', 'l1'], came up ['d1', 'd2', 'l1']"


def test_a_key_in_the_state_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "plain").write_text("{}")
    assert keys_in(tmp_path, "hush") == []
    (tmp_path / "data/state").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (tmp_path / "plain").write_text("hush")
    assert keys_in(tmp_path, "hush") == [str(tmp_path / "data/state"), str(tmp_path / "plain")]
