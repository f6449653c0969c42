"""Where Terraform runs for which provider, and what it may load there; Terraform is not run."""

import json
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.terraform_root import (
    Root,
    backend_of,
    check_plugins,
    copied_root,
    plugin_missing,
    root_for,
)
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.testbed_spec import RemoteState

PROJECT = Path(__file__).resolve().parents[4]
PINS = json.loads((PROJECT / "infra/aws/provider.json").read_text())
OURS = PINS["h1"]["linux_amd64"]
BACKEND = {"local": {"path": "/s/terraform.tfstate"}}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(project=PROJECT, state=tmp_path / "state", cache=tmp_path / "cache")


def entries(sums: list[str]) -> str:
    return "".join(f'    "{one}",\n' for one in sums)


def locked(folder: Path, *plugins: tuple[str, str, list[str]]) -> Root:
    folder.mkdir(exist_ok=True)
    (folder / ".terraform.lock.hcl").write_text(
        "# This file is maintained by init.\n"
        + "".join(
            f'\nprovider "registry.example/{source}" {{\n  version     = "{version}"\n'
            f"  hashes = [\n{entries(sums)}  ]\n}}\n"
            for source, version, sums in plugins
        )
    )
    return Root(folder, (), PROJECT / "infra/aws/provider.json")


@pytest.mark.parametrize("kind", ["local", "static"])
def test_testbeds_that_need_no_plugin_run_in_infra_itself(places, tmp_path, kind):
    root = root_for(kind, ["name"], places=places, folder=tmp_path, backend=BACKEND)
    assert root.folder == places.infra
    assert root.init == ("-backend-config=path=/s/terraform.tfstate", "-reconfigure")
    check_plugins(root)  # nothing to ask for


def test_a_state_in_s3_is_locked_by_an_object_and_encrypted(places, tmp_path):
    remote = RemoteState(bucket="states", key="a/b.tfstate", region="eu-central-1")
    backend = backend_of(remote, file=tmp_path / "unused", by_path=False)
    assert backend["s3"]["use_lockfile"] and backend["s3"]["encrypt"]
    assert "use_path_style" not in backend["s3"]
    assert backend_of(remote, file=tmp_path, by_path=True)["s3"]["use_path_style"]
    root = root_for("static", ["hosts"], places=places, folder=tmp_path, backend=backend)
    assert (root.folder, root.init, root.pins) == (tmp_path / "root", ("-reconfigure",), None)
    document = json.loads((root.folder / "main.tf.json").read_text())
    assert document["terraform"] == {"backend": backend}
    called = root.folder / document["module"]["testbed"]["source"]
    assert called.resolve() == places.infra.resolve()


def test_a_state_of_this_machine_is_a_file(tmp_path):
    assert backend_of(None, file=tmp_path / "x.tfstate", by_path=True) == {
        "local": {"path": str(tmp_path / "x.tfstate")}
    }


def test_aws_is_called_from_the_state_so_that_init_writes_nothing_into_infra(places, tmp_path):
    root = root_for("aws", ["name", "zone"], places=places, folder=tmp_path, backend=BACKEND)
    assert root.folder == tmp_path / "root"
    document = json.loads((root.folder / "main.tf.json").read_text())
    assert document["terraform"]["backend"] == BACKEND
    assert document["variable"] == {"name": {}, "zone": {}}
    called = document["module"]["testbed"]
    assert called["source"].startswith("../"), "a local module, used where it lies"
    assert (root.folder / called["source"]).resolve() == PROJECT / "infra/aws"
    assert called == {
        "source": called["source"],
        "name": "${var.name}",
        "zone": "${var.zone}",
    }
    assert copied_root("aws", places=places, folder=tmp_path).folder == tmp_path / "copy/aws"
    assert (tmp_path / "copy/modules/aws/instance_types.json").exists()


def test_plugins_come_from_the_folder_that_the_user_names(places, tmp_path):
    named = places.model_copy(update={"terraform_plugins": str(tmp_path)})
    for here, wanted in ((places, False), (named, True)):
        root = root_for("aws", [], places=here, folder=tmp_path, backend=BACKEND)
        assert (f"-plugin-dir={tmp_path}" in root.init) is wanted


def test_the_plugin_that_is_pinned_passes(tmp_path):
    check_plugins(locked(tmp_path, ("hashicorp/aws", PINS["version"], [OURS, "zh:0011"])))


@pytest.mark.parametrize(
    ("plugins", "told"),
    [
        pytest.param([], "init took no plugin", id="none"),
        pytest.param([("hashicorp/aws", "5.99.1", [OURS])], "hashicorp/aws 5.99.1", id="version"),
        pytest.param([("other/aws", PINS["version"], [OURS])], "other/aws", id="another's"),
        pytest.param([("hashicorp/aws", PINS["version"], ["h1:x="])], "the sum h1:x=", id="bytes"),
        pytest.param([("hashicorp/aws", PINS["version"], [])], "the sum none", id="no sum"),
        pytest.param(
            [("hashicorp/aws", PINS["version"], [OURS, "h1:x="])], "h1:x=", id="another sum beside"
        ),
        pytest.param(
            [("hashicorp/aws", PINS["version"], [OURS]), ("hashicorp/null", "3.2.4", ["h1:y="])],
            "hashicorp/null 3.2.4",
            id="a second plugin",
        ),
    ],
)
def test_any_other_plugin_is_refused_by_name_and_sum(tmp_path, plugins, told):
    with pytest.raises(ProvisionError, match=told) as caught:
        check_plugins(locked(tmp_path, *plugins))
    assert "SOAKBED_TERRAFORM_PLUGINS" in caught.value.remedy


@given(sums=st.lists(st.from_regex(r"h1:[A-Za-z0-9+/]{4,43}=", fullmatch=True), max_size=3))
def test_no_sum_but_the_pinned_ones_ever_passes(tmp_path_factory, sums):
    root = locked(tmp_path_factory.mktemp("lock"), ("hashicorp/aws", PINS["version"], sums))
    if sums and set(sums) <= set(PINS["h1"].values()):
        check_plugins(root)
    else:
        with pytest.raises(ProvisionError):
            check_plugins(root)


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_whether_the_plugin_is_at_hand_is_told_with_what_to_do(places, tmp_path, form):
    assert "set SOAKBED_TERRAFORM_PLUGINS" in plugin_missing(places)
    named = places.model_copy(update={"terraform_plugins": str(tmp_path)})
    assert f"put it there as */hashicorp/aws/{PINS['version']}" in plugin_missing(named)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    folder = tmp_path / "registry.example/hashicorp/aws"
    file = {
        "packed": folder / f"terraform-provider-aws_{PINS['version']}_linux_{architecture}.zip",
        "unpacked": folder / PINS["version"] / f"linux_{architecture}" / "plugin",
    }[form]
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert plugin_missing(named) == ""
