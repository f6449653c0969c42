import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from soakbed.errors import SpecError
from soakbed.stages.specs import load_run_spec, load_testbed_spec

PROJECT = Path(__file__).resolve().parents[4]
TESTBED = PROJECT / "infra/testbeds/local-4x.json"
QUICK = PROJECT / "loadgen/workloads/quick.yaml"


@pytest.mark.parametrize("path", sorted((PROJECT / "infra/testbeds").glob("*.json")), ids=str)
def test_every_testbed_that_ships_is_right(path):
    load_testbed_spec(path)


@pytest.mark.parametrize("path", sorted((PROJECT / "loadgen/workloads").glob("*.yaml")), ids=str)
def test_every_workload_that_ships_is_right(path):
    assert load_run_spec(TESTBED, path, ["etcd"]).workload.name == path.stem


def test_five_mistakes_in_three_places_are_five_errors_each_with_a_remedy(tmp_path):
    testbed = json.loads(TESTBED.read_text())
    testbed["provider"] = "lokal"
    testbed["hosts"]["d1"]["address"] = "10.83.17.999"
    workload = yaml.safe_load(QUICK.read_text())
    workload["read_shares"] = workload.pop("read_share")
    workload["keys"] = 5
    (tmp_path / "t.json").write_text(json.dumps(testbed))
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(workload))
    with pytest.raises(SpecError) as caught:
        load_run_spec(tmp_path / "t.json", tmp_path / "w.yaml", ["etdc"])
    mistakes = caught.value.mistakes
    assert [(Path(m.file).name, m.key, m.value, m.remedy) for m in mistakes] == [
        ("t.json", "provider", '"lokal"', "use 'local' or 'static'"),
        ("t.json", "hosts.d1.address", '"10.83.17.999"', "write one like 10.83.17.11"),
        ("w.yaml", "keys", "5", "use at least 100"),
        ("w.yaml", "read_shares", "0.5", "write read_share"),
        ("command line", "--targets", "etdc", "write etcd"),
    ]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{", "line 1", id="half a file"),
        pytest.param("[]", "holds no mapping", id="a list"),
        pytest.param("", "line 1", id="an empty file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_mistake_with_its_line(tmp_path, text, problem):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(SpecError, match=problem):
        load_testbed_spec(tmp_path / "t.json")


def test_a_file_that_is_not_there_names_those_beside_it():
    with pytest.raises(SpecError, match=r"local-4x\.json"):
        load_testbed_spec(PROJECT / "infra/testbeds/local-5x.json")


def test_two_data_hosts_are_refused_since_they_have_no_majority(tmp_path):
    spec = json.loads(TESTBED.read_text())
    del spec["hosts"]["d3"]
    (tmp_path / "t.json").write_text(json.dumps(spec))
    with pytest.raises(SpecError, match='add hosts with "duty": "data"'):
        load_testbed_spec(tmp_path / "t.json")


def test_a_host_outside_the_network_is_refused(tmp_path):
    spec = json.loads(TESTBED.read_text())
    spec["hosts"]["d3"]["address"] = "10.83.18.13"
    (tmp_path / "t.json").write_text(json.dumps(spec))
    with pytest.raises(SpecError, match=r"outside 10\.83\.17\.0/24"):
        load_testbed_spec(tmp_path / "t.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    )
)
def test_any_content_is_a_spec_error_never_another_exception(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("spec") / "t.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SpecError) as caught:
        load_testbed_spec(path)
    assert all(m.file and m.key and m.problem and m.remedy for m in caught.value.mistakes)
