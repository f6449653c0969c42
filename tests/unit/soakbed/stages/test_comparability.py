"""What is unlike between runs is found, weighed by the question, and never taken for the same."""

from __future__ import annotations

import pytest

from soakbed.stages.comparability import NOT_RECORDED, alike, differences, found_between
from soakbed.stages.comparability_readings import readings
from soakbed.stages.comparability_rules import RULES, gravest, rule_of
from soakbed.stages.contenders import pressed_targets
from tests.golden.recorded import RECORDED
from tests.golden.variants import DROPPED, variant

FACTS = "*/hosts/d*/facts-before.json"


@pytest.fixture(scope="module")
def recorded():
    return read(RECORDED)


def read(run, target="etcd"):
    (one,) = pressed_targets(run, only=[target])
    return readings(one)


def rows(first, second, question="runs"):
    found = differences({"A": first, "B": second}, [("A", "B", question)])
    return {one.key: one for one in found}


def unlike(first, second, question="runs"):
    """key -> consequence of everything that differs and is recorded."""
    return {
        key: one.consequence
        for key, one in rows(first, second, question).items()
        if one.consequence != "same" and NOT_RECORDED not in one.values.values()
    }


def test_a_run_is_like_itself_but_for_what_it_did_not_record(recorded):
    found = rows(recorded, recorded)
    assert {one.consequence for one in found.values()} == {"same", "caveat", "noted"}
    for one in found.values():
        silent = NOT_RECORDED in one.values.values()
        assert silent == (one.consequence != "same"), one
        assert not silent or "nobody can say that it was alike" in one.sentence
    assert alike(recorded, recorded)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            {"spec.json": {"workload.value_bytes": 2048}},
            {"workload.value_bytes": "not_comparable"},
            id="workload",
        ),
        pytest.param({"etcd/load/*/plan.json": {"tls": None}}, {"tls": "not_comparable"}, id="TLS"),
        pytest.param(
            {FACTS: {"cpu.model": "Another CPU"}},
            {"hosts.data.cpu_model": "not_comparable"},
            id="hosts",
        ),
        pytest.param({FACTS: {"kernel": "6.2.0"}}, {"hosts.data.kernel": "caveat"}, id="kernel"),
        pytest.param(
            {"testbed.json": {"hosts.l1.cpus": [1, 2]}},
            {"hosts.load.bound_cpus": "not_comparable"},
            id="CPUs of the load host",
        ),
        pytest.param({"spec.json": {"profile": "stock"}}, {"profile": "caveat"}, id="profile"),
        pytest.param(
            {"etcd/ready.json": {"version": "3.5.21"}}, {"version": "noted"}, id="version"
        ),
        pytest.param(
            {"etcd/ready.json": {"binaries.d1": {"/opt/soakbed/bin/etcd": "ef" * 32}}},
            {"binary.etcd": "caveat"},
            id="another build of one version",
        ),
        pytest.param(
            {"etcd/ready.json": {"effective.d1:etcd.quota-backend-bytes": "1"}},
            {"effective.etcd.quota-backend-bytes": "caveat"},
            id="configuration of one member",
        ),
        pytest.param(
            {"etcd/ready.json": {"not_applied": []}}, {"not_applied": "caveat"}, id="tuning"
        ),
        pytest.param(
            {FACTS: {"sysctl.vm/swappiness": "60"}},
            {"settings.data.sysctl.vm.swappiness": "caveat"},
            id="leftover setting",
        ),
        pytest.param(
            {"manifest.json": {"commit": "f" * 40, "dirty": False}},
            {"soakbed.commit": "noted", "soakbed.dirty": "noted"},
            id="commit",
        ),
        pytest.param({"spec.json": {"workload.seed": 7}}, {"workload.seed": "noted"}, id="seed"),
    ],
)
def test_what_differs_has_the_consequence_that_its_rule_names(tmp_path, recorded, edits, expected):
    assert unlike(recorded, read(variant(tmp_path / "b", edits, spools=False))) == expected


def test_a_profile_explains_what_it_sets(tmp_path, recorded):
    other = variant(
        tmp_path / "b",
        {
            "spec.json": {"profile": "stock"},
            "etcd/ready.json": {"effective.d1:etcd.auto-compaction-mode": "revision"},
            FACTS: {"sysctl.vm/swappiness": "60"},
        },
        spools=False,
    )
    found = rows(recorded, read(other))
    assert found["profile"].consequence == "caveat"
    for key in ("effective.etcd.auto-compaction-mode", "settings.data.sysctl.vm.swappiness"):
        assert found[key].consequence == "noted"
        assert "Taken to follow from the other" in found[key].sentence


def test_another_durability_of_redis_is_a_named_caveat(tmp_path):
    edits = {
        "redis_cluster/ready.json": dict.fromkeys(
            [f"effective.{host}:redis_cluster.appendfsync" for host in ("d1", "d2", "d3")], "always"
        )
    }
    first = read(RECORDED, "redis_cluster")
    second = read(variant(tmp_path / "b", edits, spools=False), "redis_cluster")
    one = rows(first, second)["durability.write"]
    assert one.consequence == "caveat"
    assert "two seconds" in one.values["A"] and "synced before the reply" in one.values["B"]
    assert "no ranking" in one.sentence
    assert not alike(first, second)


def test_engines_of_two_builds_are_a_caveat_and_an_unknown_one_is_not_the_same(tmp_path):
    def engine(name, build):
        engines = {} if build is None else {"etcd": [{"build": build, "packages": "p"}]}
        edits = {"manifest.json": {"engines": engines}}
        return read(variant(tmp_path / name, edits, spools=False))

    one, other, unknown = engine("a", "1" * 64), engine("b", "2" * 64), engine("c", None)
    assert rows(one, one)["engine.build"].consequence == "same"
    assert rows(one, other)["engine.build"].consequence == "caveat"
    told = rows(one, unknown)["engine.build"]
    assert told.consequence == "caveat" and told.values["B"] == NOT_RECORDED
    assert "not recorded of B" in told.sentence


def test_measured_values_are_alike_within_what_their_rule_allows(recorded):
    near = {**recorded, "hosts.data.fsync_p50_us": 450.0, "steady.offered_per_s": 2150.0}
    far = {**recorded, "hosts.data.fsync_p50_us": 900.0, "steady.offered_per_s": 2500.0}
    assert unlike(recorded, near) == {}
    assert unlike(recorded, far) == {
        "hosts.data.fsync_p50_us": "caveat",
        "steady.offered_per_s": "caveat",
    }
    assert alike(recorded, far), "what was measured does not make another kind of run"


def test_targets_of_one_run_are_not_asked_for_one_version_but_for_their_promises(recorded):
    found = unlike(recorded, read(RECORDED, "redis_cluster"), "targets")
    assert "version" not in found and not any(key.startswith("effective") for key in found)
    assert found == {
        "durability.read": "caveat",
        "durability.write": "caveat",
        "steady.offered_per_s": "caveat",
    }


def test_members_addresses_do_not_make_a_configuration_another(tmp_path, recorded):
    def listening(name, network):
        hosts = {f"d{i}": f"{network}.1{i}" for i in (1, 2, 3)}
        edits = {
            "etcd/ready.json": {
                f"effective.{host}:etcd": {"listen": f"https://{address}:2379"}
                for host, address in hosts.items()
            },
            "testbed.json": {f"hosts.{host}.address": a for host, a in hosts.items()},
        }
        return read(variant(tmp_path / name, edits, spools=False))

    first, second = listening("a", "10.83.17"), listening("b", "10.99.0")
    assert first["effective.etcd.listen"] == ("https://d1:2379; https://d2:2379; https://d3:2379")
    assert unlike(first, second) == {}


def test_hosts_facts_that_were_not_collected_stand_in_from_the_preflight(tmp_path):
    run = variant(tmp_path / "b", spools=False)
    for file in run.glob("etcd/hosts/*/facts-*.json"):
        file.unlink()
    found = read(run)
    assert found["hosts.data.kernel"] == "6.1.0-made-up"
    assert found["hosts.data.cpu_model"] is None


def test_an_old_manifest_without_engines_or_packages_reads(tmp_path):
    edits = {"manifest.json": {"packages": DROPPED, "controller": DROPPED, "commit": DROPPED}}
    found = read(variant(tmp_path / "b", edits, spools=False))
    assert found["engine.build"] is None and found["soakbed.commit"] is None


def test_every_key_has_one_rule_and_every_rule_says_why(recorded):
    for key in {*recorded, *read(RECORDED, "redis_cluster")}:
        assert sum(rule.covers(key) for rule in RULES) == 1, key
    for rule in RULES:
        assert rule.why.endswith("."), rule.key
        assert all(rule_of(key) for key in rule.follows)
    with pytest.raises(KeyError):
        rule_of("weather")


def test_the_gravest_consequence_of_any_pair_stands_for_all(recorded):
    other = {**recorded, "hosts.data.kernel": "6.2.0", "version": "3.5.21"}
    pairs = [("A", "B", "runs"), ("A", "C", "runs")]
    held = {one.key: one for one in differences({"A": recorded, "B": recorded, "C": other}, pairs)}
    assert held["hosts.data.kernel"].consequence == "caveat"
    assert held["hosts.data.kernel"].values["C"] == "6.2.0"
    assert gravest([]) == "same" and gravest(["noted", "not_comparable"]) == "not_comparable"


def test_what_touches_the_steady_phase_alone_says_so(recorded):
    other = {**recorded, "workload.arrivals": "constant", "workload.value_bytes": 10}
    found = {one.key: one.touches for one in found_between(recorded, other, "runs", ("A", "B"))}
    assert found["workload.arrivals"] == "steady" and found["workload.value_bytes"] == "all"
