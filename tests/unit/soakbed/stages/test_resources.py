"""A run folder with samples -> resources.json; without them it says so and guesses nothing."""

from __future__ import annotations

import gzip

import pytest

from soakbed.stages.measure import measure
from soakbed.stages.resources import resources_of
from tests.golden.host_samples import write_samples
from tests.golden.make_run import BEGAN_S, make_run
from tests.golden.pretences import ETCD


@pytest.fixture
def run(tmp_path):
    """One target, sampled every second from before its load to after it."""
    made = make_run(tmp_path / "run", targets=(ETCD,), with_tikv=False)
    for host in ("d1", "d2", "d3", "l1"):
        unit = "soakbed-etcd.service" if host != "l1" else "soakbed-load-worker@x:0.service"
        path = made / "etcd" / "hosts" / host / "samples.jsonl.gz"
        write_samples(path, from_s=BEGAN_S - 5, to_s=BEGAN_S + 90, unit=unit)
    return made


def asked(run):
    return resources_of(run, "etcd", measure(run / "etcd"))


def test_a_run_with_samples_says_what_each_phase_used_and_cost(run):
    made = asked(run)
    steady = made.phase("steady", "steady")
    assert {host.host for host in steady.hosts} == {"d1", "d2", "d3", "l1"}
    assert steady.costs.cpu_s_per_million > 0
    assert steady.costs.write_amplification > 1
    per_s = steady.operations / steady.seconds
    assert 0.3 * ETCD.capacity_per_s < per_s < ETCD.capacity_per_s
    # three members at nine tenths of 0.6 cores
    assert steady.costs.cpu_s_per_million == pytest.approx(3 * 0.54 / per_s * 1e6, rel=0.1)
    assert made.phase("steady", "nonesuch") is None
    assert any("speak of the machine that hosts share" in note for note in made.notes)


def test_a_run_without_samples_says_so_for_every_host(run):
    for path in run.glob("etcd/hosts/*/samples.*"):
        path.unlink()
    made = asked(run)
    assert made.phases == ()
    assert len(made.notes) == 4 and all("no samples were taken" in note for note in made.notes)


def test_damage_is_named_and_counted_and_one_host_without_samples_makes_sums_unknown(run):
    path = run / "etcd" / "hosts" / "d1" / "samples.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[3] = lines[3].replace(b",", b";", 1)
    path.write_bytes(gzip.compress(b"".join(lines)))
    (run / "etcd" / "hosts" / "d2" / "samples.jsonl.gz").unlink()
    made = asked(run)
    assert "d1: lines cut or damaged: 1, left out" in made.notes
    costs = made.phase("steady", "steady").costs
    assert costs.cpu_s_per_million is None and costs.load_cpu_s_per_million is not None
