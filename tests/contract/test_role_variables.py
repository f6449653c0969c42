"""defaults == argument_specs, every variable with its role's name and a reason."""

import re
from pathlib import Path

import pytest
import yaml

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
ROLES = sorted(path for path in (PLAYBOOKS / "roles").iterdir() if path.is_dir())
PROFILES = ("stock", "tuned")


def read(file: Path):
    return yaml.safe_load(file.read_text())


def offered(role: Path) -> dict:
    return read(role / "defaults" / "main.yml") or {}


def documented(role: Path) -> dict:
    return read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_documents_exactly_the_variables_it_offers(role):
    optional = {name for name, spec in documented(role).items() if not spec.get("required")}
    assert optional == set(offered(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_variable_bears_its_roles_name(role):
    assert [name for name in documented(role) if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_variable_is_typed_and_described(role):
    bare = [n for n, spec in documented(role).items() if not {"type", "description"} <= set(spec)]
    assert bare == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_default_stands_below_a_comment_that_says_why(role):
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"[a-z_]+:", line)]
    unexplained = [
        lines[i].split(":")[0]
        for i in starts
        # A variable may share the comment of the one right above it.
        if not lines[i - 1].startswith("#") and i - 1 not in starts and i - 2 not in starts
    ]
    assert unexplained == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_entry_point_that_playbooks_use_is_documented(role):
    used = {
        match
        for play in PLAYBOOKS.glob("*.yml")
        for match in re.findall(rf"name: {role.name}\n\s+tasks_from: (\w+)", play.read_text())
    }
    assert used <= set(read(role / "meta" / "argument_specs.yml")["argument_specs"])


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_has_a_readme(role):
    assert (role / "README.md").exists()


def test_both_profiles_say_the_same_things():
    stock, tuned = (set(read(PLAYBOOKS / "group_vars" / f"{name}.yml")) for name in PROFILES)
    assert stock == tuned


def test_a_profile_sets_only_what_roles_offer():
    known = {name for role in ROLES for name in documented(role)}
    for name in PROFILES:
        assert set(read(PLAYBOOKS / "group_vars" / f"{name}.yml")) <= known


def test_every_tuned_setting_says_why_and_whence():
    text = (PLAYBOOKS / "roles" / "os_tuning" / "defaults" / "main.yml").read_text()
    settings = text.split("os_tuning_settings:")[1]
    for name in re.findall(r"- \{name: ([^,]+),", settings):
        before = settings.split(f"- {{name: {name},")[0].rstrip().splitlines()
        assert before[-1].strip().startswith("#"), name
    assert settings.count("ource") + settings.count("Upstream's own") >= settings.count("kind:")


def test_artifacts_are_sorted_and_every_file_has_a_place_for_its_sha256():
    artifacts = read(PLAYBOOKS / "group_vars" / "all" / "artifacts.yml")["artifacts"]
    hashes = []

    def walk(node, path):
        if isinstance(node, dict):
            if path[-1:] in (("packages",), ("files",), ()):
                assert list(node) == sorted(node), path
            for key, value in node.items():
                if key == "sha256":
                    hashes.extend(value.values() if isinstance(value, dict) else [value])
                walk(value, (*path, key))
        elif isinstance(node, list) and path[-2:-1] == ("files",):
            assert [one["name"] for one in node] == sorted(one["name"] for one in node), path
            for one in node:
                walk(one, path)

    walk(artifacts, ())
    unresolved = hashes.count("")  # TiKV's until `soakbed artifacts resolve` reached the mirror
    assert list(artifacts) == sorted(artifacts)
    assert len(hashes) - unresolved >= 16
    assert unresolved in (0, 4)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes if value)
