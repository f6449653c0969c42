"""The clocks of the load hosts: read within a bound, kept around a session, and judged."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.ssh import Answer, HostUnreachable, Result
from soakbed.archive.run_folder import RunFolder
from soakbed.records.clocks import ClockComparison, ClockReading, SessionClocks
from soakbed.records.testbed import Host
from soakbed.stages import clocks as stage
from soakbed.stages.clocks import clocks_kept, compared, furthest, reading
from soakbed.stages.judge_clocks import load_clocks
from tests.golden.made_up import evidence
from tests.golden.make_run import SHORT, ready_of, spec_of
from tests.golden.make_run import testbed_of as made_testbed
from tests.golden.pretences import ETCD

ONE = made_testbed(spec_of((ETCD,), SHORT, with_tikv=False))
L2 = ONE.hosts["l1"].model_copy(update={"name": "l2"})
TWO = ONE.model_copy(update={"hosts": {**ONE.hosts, "l2": L2}})


class OffHosts:
    """A Shell whose hosts answer from this machine, with clocks that are off by so many us."""

    def __init__(self, *, begun: bool = False, **off_us: int) -> None:
        self.off_us, self.begun = off_us, begun
        self.away: set[str] = set()

    def run(self, host: Host, command, *, timeout_s: float = 60, check: bool = True):
        assert command[0] == "test"
        return Result(0 if self.begun else 1, "", "")

    def ask(self, host: Host, command, *, times: int):
        if host.name in self.away:
            raise HostUnreachable(f"{host.name} is away", remedy="wait")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            answers = [self._one(child, self.off_us.get(host.name, 0)) for _ in range(times + 1)]
            child.stdin.close()
        return answers[1:]

    def _one(self, child: subprocess.Popen, off_us: int) -> Answer:
        asked_ns = time.monotonic_ns()
        child.stdin.write(b"\n")
        child.stdin.flush()
        said = int(child.stdout.readline()) + off_us * 1000
        return Answer(str(said), asked_ns, time.monotonic_ns())


@given(
    off_us=st.integers(-(10**9), 10**9),
    trips=st.lists(
        st.tuples(st.integers(0, 5_000_000), st.integers(0, 5_000_000)), min_size=1, max_size=9
    ),
)
def test_the_truth_is_within_the_bound_however_long_question_and_answer_took(off_us, trips):
    wall_ns, now_ns, answers = 1_700_000_000 * 10**9, 5_000_000_000, []
    for there_ns, back_ns in trips:
        told_ns = wall_ns + now_ns + there_ns + off_us * 1000
        answers.append(Answer(str(told_ns), now_ns, now_ns + there_ns + back_ns))
        now_ns += 50_000_000
    read = reading(answers, wall_ns=wall_ns)
    assert abs(read.offset_us - off_us) <= read.bound_us
    assert read.bound_us <= min(there + back for there, back in trips) / 2000 + 1


def test_hosts_are_compared_with_each_other_and_the_controllers_clock_drops_out():
    read = compared(TWO.of_duty("load"), shell=OffHosts(l1=700_000, l2=770_000))
    pair = furthest(read)
    assert pair.hosts == ("l1", "l2")
    assert abs(pair.apart_us - 70_000) <= pair.bound_us < 50_000
    assert {one.probes for one in read.hosts.values()} == {stage.PROBES}


def test_a_host_that_does_not_answer_is_unknown_and_costs_nothing_else():
    shell = OffHosts()
    shell.away = {"l1"}
    read = compared(TWO.of_duty("load"), shell=shell)
    assert (set(read.hosts), read.unknown) == ({"l2"}, {"l1": "l1 is away"})
    assert furthest(read) is None


@pytest.fixture
def run(tmp_path) -> RunFolder:
    (tmp_path / "run").mkdir()
    held = RunFolder(tmp_path / "run")
    held.write("manifest", {"schema": 1, "command": "soakbed bench"})
    return held


def kept(run: RunFolder, shell: OffHosts, monkeypatch, *, there: bool = False) -> list[str]:
    monkeypatch.setattr(stage, "session_is_there", lambda *_, **__: there)
    said: list[str] = []
    with clocks_kept(run, ready_of(ETCD), "steady", TWO, shell=shell, progress=said.append):
        said.append("pressed")
    return said


def in_manifest(run: RunFolder) -> SessionClocks:
    return SessionClocks.in_manifest(run.read("manifest", dict), "etcd")["steady"]


def test_both_ends_of_a_session_are_kept_in_the_manifest(run, monkeypatch):
    assert kept(run, OffHosts(), monkeypatch) == ["pressed"]
    around = in_manifest(run)
    assert around.before.at_s <= around.after.at_s
    assert set(around.before.hosts) == set(around.after.hosts) == {"l1", "l2"}
    assert run.read("manifest", dict)["command"] == "soakbed bench"


def test_what_was_compared_before_a_session_that_is_adopted_stays(run, monkeypatch):
    kept(run, OffHosts(), monkeypatch)
    before = in_manifest(run).before
    kept(run, OffHosts(begun=True), monkeypatch, there=True)
    assert in_manifest(run).before == before
    assert in_manifest(run).after.at_s > before.at_s


def test_before_a_session_that_nobody_saw_begin_nothing_is_made_up(run, monkeypatch):
    kept(run, OffHosts(begun=True), monkeypatch, there=True)
    assert in_manifest(run).before is None


def test_clocks_that_are_surely_apart_are_told_before_the_load(run, monkeypatch):
    said = kept(run, OffHosts(l2=3_000_000), monkeypatch)
    assert said[1] == "pressed"
    assert said[0].startswith("warning: the clocks of l1 and l2 are 3,0")
    assert "let chrony" in said[0]


def read_as(*offsets_us: int, bound_us: int = 100, **unknown: str) -> ClockComparison:
    hosts = {
        f"l{number}": ClockReading(offset_us=offset_us, bound_us=bound_us, probes=12)
        for number, offset_us in enumerate(offsets_us, 1)
    }
    return ClockComparison(at_s=1.0, hosts=hosts, unknown=unknown)


def judged(before: ClockComparison | None, after: ClockComparison | None, *, testbed=TWO):
    around = SessionClocks(before=before, after=after)
    made = replace(evidence(), testbed=testbed)
    return load_clocks(replace(made, clocks=dict.fromkeys(made.numbers.sessions, around)))


GOOD = read_as(0, 40)


def test_one_load_host_has_one_clock():
    assert judged(None, None, testbed=ONE).verdict == "valid"


@pytest.mark.parametrize(
    ("apart_us", "bound_us", "expected"),
    [
        pytest.param(49_800, 100, "valid", id="surely within"),
        pytest.param(50_201, 100, "invalid", id="surely beyond"),
        pytest.param(-50_201, 100, "invalid", id="behind"),
        pytest.param(50_000, 100, "skipped", id="may be either"),
        pytest.param(0, 30_000, "skipped", id="known too badly"),
    ],
)
def test_clocks_surely_apart_invalidate_a_run_and_what_nobody_knows_is_said(
    apart_us, bound_us, expected
):
    found = judged(GOOD, read_as(5, 5 + apart_us, bound_us=bound_us))
    assert found.verdict == expected
    assert "l1 and l2" in found.sentence


def test_the_worst_pair_of_all_load_hosts_is_told():
    found = judged(read_as(0, 400, -300), GOOD)
    assert "l2 and l3 were 0.700 ms apart, known to 0.200 ms, before" in found.sentence


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, GOOD, "nobody compared them before"),
        (GOOD, None, "nobody compared them after"),
        (GOOD, read_as(0, l2="it is away"), "l2 was not read after"),
    ],
)
def test_a_comparison_that_is_missing_is_skipped_and_never_taken_for_zero(before, after, told):
    found = judged(before, after)
    assert found.verdict == "skipped"
    assert told in found.sentence
