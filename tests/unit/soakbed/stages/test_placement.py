"""Where the regions of TiKV were led around a session: asked, kept, and judged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Result
from soakbed.archive.run_folder import RunFolder
from soakbed.records.numbers import Numbers
from soakbed.records.placement import PlacedRegion, Placement, PlacementChange
from soakbed.stages import placement as stage
from soakbed.stages.evidence import evidence_of
from soakbed.stages.judge import judge
from soakbed.stages.placement import placement_kept
from tests.golden.made_up import evidence, phase, session
from tests.golden.make_run import SHORT, ready_of, spec_of
from tests.golden.make_run import testbed_of as made_testbed
from tests.golden.pretences import ETCD, TIKV

RECORDED = Path(__file__).resolve().parents[3] / "golden/run-made-up-tikv"
STORES = ("10.0.0.1:20160", "10.0.0.2:20160", "10.0.0.3:20160")
TESTBED = made_testbed(spec_of((TIKV,), SHORT, with_tikv=False))


def regions(*leaders: str, version: int = 1) -> Placement:
    placed = tuple(
        PlacedRegion(id=n, start=f"{n:02x}", end=f"{n + 1:02x}", leader=one, version=version,
                     conf_ver=1)
        for n, one in enumerate(leaders, 1)
    )  # fmt: skip
    return Placement(at_s=1_700_000_000.0, regions=placed)


class LoadHost:
    """Answers what PD would; `begun` is whether the session runs already."""

    def __init__(self, *answers: Placement | Exception, begun: bool = False) -> None:
        self.answers, self.begun = list(answers), begun
        self.asked: list[list[str]] = []

    def run(self, host, command, *, timeout_s: float = 60, check: bool = True):
        self.asked.append(list(command))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Result(0, answer.model_dump_json(exclude={"schema_"}), "")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def kept(run: RunFolder, host: LoadHost, monkeypatch, *, pretence=TIKV) -> list[str]:
    monkeypatch.setattr(stage, "session_is_there", lambda *_, **__: host.begun)
    said: list[str] = []
    ready = ready_of(pretence)
    with placement_kept(run, ready, "steady", TESTBED, shell=host, progress=said.append):
        said.append("pressed")
    return said


def test_both_ends_of_a_session_are_written_as_pd_told_them(run, monkeypatch):
    before, after = regions(*STORES), regions(STORES[1], *STORES[1:])
    host = LoadHost(before, after)
    assert kept(run, host, monkeypatch) == ["pressed"]
    assert run.read("tikv/placement/steady-before", Placement) == before
    assert run.read("tikv/placement/steady-after", Placement) == after
    assert "--cert=/etc/soakbed/pki/client.crt" in host.asked[0]
    assert host.asked[0][-len(ready_of(TIKV).endpoints) :] == list(ready_of(TIKV).endpoints)


def test_other_targets_are_not_asked(run, monkeypatch):
    host = LoadHost()
    assert kept(run, host, monkeypatch, pretence=ETCD) == ["pressed"]
    assert host.asked == [] and list(run.path.iterdir()) == []


def test_a_session_that_is_adopted_keeps_what_was_written_before_it(run, monkeypatch):
    first, later = regions(*STORES), regions(*reversed(STORES))
    run.folder("tikv", "placement")
    run.write("tikv/placement/steady-before", first)
    kept(run, LoadHost(later, begun=True), monkeypatch)
    assert run.read("tikv/placement/steady-before", Placement) == first
    assert run.read("tikv/placement/steady-after", Placement) == later


def test_a_session_that_was_adopted_without_one_gets_none_made_up(run, monkeypatch):
    kept(run, LoadHost(regions(*STORES), begun=True), monkeypatch)
    assert not run.has("tikv/placement/steady-before")


@pytest.mark.parametrize(
    "trouble",
    [
        HostUnreachable("l1 is away", remedy="wait"),
        CommandFailed("l1: PD: nobody leads", remedy="look"),
    ],
)
def test_a_pd_that_does_not_answer_costs_the_evidence_and_not_the_run(run, monkeypatch, trouble):
    said = kept(run, LoadHost(trouble, regions(*STORES)), monkeypatch)
    assert "steady: its regions before are not known" in said[0]
    assert said[1:] == ["pressed"]
    assert run.has("tikv/placement/steady-after")


def test_a_load_that_is_interrupted_leaves_no_second_end(run, monkeypatch):
    monkeypatch.setattr(stage, "session_is_there", lambda *_, **__: False)
    host = LoadHost(regions(*STORES))
    with (
        pytest.raises(KeyboardInterrupt),
        placement_kept(run, ready_of(TIKV), "steady", TESTBED, shell=host, progress=print),
    ):
        raise KeyboardInterrupt
    assert not run.has("tikv/placement/steady-after")


def test_the_program_that_is_called_is_there():
    assert callable(import_module(stage._ASKED["tikv"]).main)


# The judge.


def moved_of(change: PlacementChange, *, redirects: int = 0, pretence=TIKV) -> list[str]:
    steady = phase("steady")
    generator = steady.generator.model_copy(update={"redirects": redirects})
    held = session("steady", steady.model_copy(update={"generator": generator}))
    verdict = judge(replace(evidence(steady=held, pretence=pretence), placement=change))
    assert verdict.verdict == "valid"
    return [one.sentence for one in verdict.caveats if one.subject == "regions moved"]


def test_a_leader_that_moved_in_the_steady_phase_is_a_caveat_with_leaders_per_store():
    change = PlacementChange(before=regions(*STORES), after=regions(STORES[1], *STORES[1:]))
    (told,) = moved_of(change, redirects=7)
    assert told == (
        "In the steady phase 1 of 3 regions came to be led by another store "
        "(region 1: 10.0.0.1:20160 -> 10.0.0.2:20160); regions led by store were "
        "10.0.0.1:20160 1, 10.0.0.2:20160 1, 10.0.0.3:20160 1, and 10.0.0.2:20160 2, "
        "10.0.0.3:20160 1 after it; 7 redirects were followed. Its latencies hold these moves."
    )


def test_of_many_leaders_that_moved_three_are_named():
    ends = regions(*[STORES[0]] * 9), regions(*[STORES[1]] * 8, "")
    (told,) = moved_of(PlacementChange(before=ends[0], after=ends[1]))
    assert "9 of 9 regions" in told and "and 6 more" in told
    assert "10.0.0.2:20160 8, nobody 1 after it" in told


def test_regions_that_were_split_are_told():
    ends = regions(*STORES), regions(*STORES, STORES[0], version=2)
    (told,) = moved_of(PlacementChange(before=ends[0], after=ends[1]))
    assert "4 regions were split, merged, or got other replicas" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (PlacementChange(before=regions(*STORES), after=regions(*STORES)), "there and back"),
        (PlacementChange(after=regions(*STORES)), "nobody recorded where"),
        (PlacementChange(), "nobody recorded where"),
    ],
)
def test_redirects_show_a_move_that_the_two_ends_do_not(change, told):
    assert moved_of(change) == []
    (sentence,) = moved_of(change, redirects=3)
    assert told in sentence and "3 redirects were followed" in sentence


def test_redirects_of_another_target_say_nothing_of_regions():
    assert moved_of(PlacementChange(), redirects=3, pretence=ETCD) == []


def test_the_judge_reads_what_was_kept(tmp_path):
    folder = shutil.copytree(RECORDED, tmp_path / "run")
    after = regions(STORES[1], *STORES[1:])
    (folder / "tikv/placement").mkdir(parents=True)
    for when, placed in (("before", regions(*STORES)), ("after", after)):
        text = json.dumps(placed.model_dump(mode="json", by_alias=True))
        (folder / f"tikv/placement/steady-{when}.json").write_text(text)
    read = evidence_of(folder, "tikv", Numbers(target="tikv", sessions={}))
    assert read.placement == PlacementChange(before=regions(*STORES), after=after)
