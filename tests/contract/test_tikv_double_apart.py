"""No measured run can use the double of TiKV: nothing that ships knows it, and it says its name.

Were it put in TiKV's place by hand, `configure` would refuse its version (test_configure.py), and
it has no HTTP interface, without which no member is ever found ready.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from loadgen.keyspace import ID_BYTES
from tests.tikv_double import cluster

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SHIPPED = sorted(
    path
    for root in ("soakbed", "loadgen", "infra", "playbooks")
    for path in (PROJECT / root).rglob("*")
    if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".j2", ".tf", ".sh", ".json")
)
# What the double is made of, and the clients that prove it.
OF_TESTS = {"tests", "grpc", "google", "hpack", "tikv", "tikv_client"}


def imported(path: Path) -> set[str]:
    """The top level of everything that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_nothing_that_ships_imports_tests_or_what_the_double_is_made_of():
    sources = [path for path in SHIPPED if path.suffix == ".py"]
    assert len(sources) > 100
    assert {path: bad for path in sources if (bad := imported(path) & OF_TESTS)} == {}


def test_nothing_that_ships_names_the_double():
    words = ("tikv_double", cluster.NAME)
    assert [path for path in SHIPPED if any(word in path.read_text() for word in words)] == []


def test_the_import_contracts_forbid_it_as_well():
    contracts = SETTINGS["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if "tests" in each.get("forbidden_modules", ())]
    assert set(contract["source_modules"]) == {"soakbed", "loadgen"}
    assert set(contract["forbidden_modules"]) >= OF_TESTS - {"google"}


def test_the_built_package_holds_no_test():
    setuptools = SETTINGS["tool"]["setuptools"]
    packages = find_packages(str(PROJECT), **setuptools["packages"]["find"])
    assert {name.split(".")[0] for name in packages} == {"soakbed", "loadgen"}
    for folder, patterns in setuptools["package-data"].items():
        for pattern in patterns:
            data = (PROJECT / folder).glob(pattern)
            assert all(PROJECT / folder in path.resolve().parents for path in data)


@pytest.mark.parametrize("extra", ["", "loadgen"])
def test_what_the_double_needs_is_not_installed_where_it_is_measured(extra):
    project = SETTINGS["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    assert not [name for name in wanted if name.startswith(("grpcio", "protobuf", "tikv"))]


def test_its_name_is_no_version_and_its_ids_are_those_of_the_values():
    assert not any(character.isdigit() for character in cluster.NAME)
    assert cluster.ID_BYTES == ID_BYTES
