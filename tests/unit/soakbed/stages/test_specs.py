import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from soakbed.errors import SpecError
from soakbed.records.spec import RunSpec
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
        ("t.json", "provider", '"lokal"', "use 'local', 'static' or 'aws'"),
        ("t.json", "hosts.d1.address", '"10.83.17.999"', "write one like 10.83.17.11"),
        ("w.yaml", "keys", "5", "use at least 100"),
        ("w.yaml", "read_shares", "0.5", "write read_share"),
        ("command line", "--targets", "etdc", "write etcd"),
    ]
    assert caught.value.exit_code == 2


def test_all_mistakes_in_a_ladder_are_told_at_once(tmp_path):
    workload = yaml.safe_load((PROJECT / "loadgen/workloads/knee.yaml").read_text())
    workload["knee"]["slo"] = {"p99_ms": 0, "error_shares": 0.1}
    workload["knee"]["ladder"] = {"first_share_of_capacity": 0.25, "factor": 1.01}
    workload["steady"] = {"share_of_knee": 0.7, "rate_per_s": 100}
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(workload))
    with pytest.raises(SpecError) as caught:
        load_run_spec(TESTBED, tmp_path / "w.yaml", ["etcd"])
    assert sorted((m.key, m.problem, m.remedy) for m in caught.value.mistakes) == [
        (
            "knee.ladder",
            "factor=1.01 makes 150 steps from 0.25 of capacity, 24 are the most",
            "use factor 1.07 or more, or begin higher",
        ),
        ("knee.slo.error_shares", "this key does not exist", "write error_share"),
        ("knee.slo.p99_ms", "Input should be greater than 0", "use more than 0.0"),
        (
            "steady",
            "share_of_knee and rate_per_s named",
            "name exactly one of: share_of_capacity, share_of_knee, rate_per_s",
        ),
    ]


@pytest.mark.parametrize(
    ("changed", "problem", "remedy"),
    [
        pytest.param(
            {"steady": {"share_of_knee": 0.7}},
            *(
                "steady.share_of_knee=0.7, and no knee is looked for",
                "add knee: {slo: {p99_ms: 50}}",
            ),
            id="a share of no knee",
        ),
        pytest.param(
            {"steady": {"rate_per_s": 9}, "steady_share_of_capacity": 0.4},
            *("steady_share_of_capacity=0.4 beside steady", "leave one of them out"),
            id="the older key beside the newer",
        ),
        pytest.param(
            {"knee": {"ladder": {"step_s": 15}}, "window_s": 10},
            *("knee.ladder.step_s=15 is not a whole number of 10 s windows", "use 10"),
            id="half a window",
        ),
    ],
)
def test_keys_of_a_workload_that_contradict_each_other(tmp_path, changed, problem, remedy):
    workload = yaml.safe_load(QUICK.read_text())
    workload.pop("steady_share_of_capacity")
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(workload | changed))
    with pytest.raises(SpecError) as caught:
        load_run_spec(TESTBED, tmp_path / "w.yaml", ["etcd"])
    assert [(m.problem, m.remedy) for m in caught.value.mistakes] == [(problem, remedy)]


def test_a_spec_is_archived_as_an_older_soakbed_reads_it_and_comes_back_the_same():
    quick = load_run_spec(TESTBED, QUICK, ["etcd"])
    archived = quick.model_dump(mode="json", by_alias=True)
    assert not archived["workload"].keys() & {"knee", "steady"}
    knee = load_run_spec(TESTBED, PROJECT / "loadgen/workloads/knee.yaml", ["etcd"])
    for spec in (quick, knee):
        assert RunSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec
    assert quick.workload.steady_rate.words == "50 % of capacity"
    assert knee.workload.steady_rate.words == "70 % of the knee"


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
