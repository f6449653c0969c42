"""Spools to numbers: everything that was written, holes named, nothing invented."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen.contract.spool import SpoolWriter, read_spool
from soakbed.errors import ArchiveError
from soakbed.stages.judge import evidence_of, judge, measure
from tests.golden.make_run import make_run
from tests.golden.pretences import ETCD, Pretence
from tests.golden.recorded import RECORDED


@pytest.fixture
def etcd(tmp_path: Path) -> Path:
    """The recorded run's etcd, to be broken."""
    # Without tables that another test made of it: those of unbroken spools would stay.
    shutil.copytree(RECORDED, tmp_path / "run", ignore=shutil.ignore_patterns("data"))
    return tmp_path / "run" / "etcd"


def rewritten(spool: Path, keep: Callable[[dict], bool]) -> None:
    frames = [frame for frame in read_spool(spool) if keep(frame)]
    spool.unlink()
    writer = SpoolWriter(spool)
    for frame in frames:
        writer.append(frame)
    writer.close()


def verdict_of(target: Path):
    return judge(evidence_of(target.parent, target.name, measure(target)))


def test_numbers_hold_exactly_what_the_engines_counted(etcd):
    numbers = measure(etcd)
    assert list(numbers.sessions) == ["capacity", "steady"]
    for session in numbers.sessions.values():
        for key in ("sent", "ok", "failed", "unknown"):
            assert session.total(key) == sum(getattr(one, key) for one in session.workers)
    assert list(numbers.sessions["capacity"].phases) == ["fill", "warmup", "capacity"]
    steady = numbers.phase("steady", "steady")
    assert steady.mode == "open"
    assert steady.seconds == 12
    assert steady.offered_per_s == ETCD.capacity_per_s / 2


def test_two_workers_make_one_target(tmp_path):
    one = Pretence(**{**_fields(ETCD), "workers": 2, "capacity_per_s": 2000.0})
    run = make_run(tmp_path / "run", targets=(one,), with_tikv=False)
    numbers = measure(run / "etcd")
    assert len(numbers.sessions["steady"].workers) == 2
    assert numbers.phase("steady", "steady").throughput_per_s == pytest.approx(1000, rel=0.05)
    assert all(point.complete for point in numbers.phase("steady", "steady").series)


def _fields(pretence: Pretence) -> dict:
    return {name: getattr(pretence, name) for name in pretence.__dataclass_fields__}


def test_a_spool_without_its_end_is_a_missing_worker(etcd):
    rewritten(etcd / "load/steady/worker-0.spool", lambda frame: frame["kind"] != "end")
    assert measure(etcd).sessions["steady"].workers[0].outcome == "missing"
    assert verdict_of(etcd).verdict == "incomplete"


def test_a_missing_spool_is_a_missing_worker(etcd):
    (etcd / "load/steady/worker-0.spool").unlink()
    assert measure(etcd).sessions["steady"].phases == {}
    assert verdict_of(etcd).verdict == "incomplete"


def test_a_lost_window_is_counted(etcd):
    rewritten(etcd / "load/steady/worker-0.spool", lambda frame: frame.get("seq") != 5)
    assert measure(etcd).sessions["steady"].workers[0].windows_lost == 1
    assert verdict_of(etcd).verdict != "valid"


def test_a_cut_spool_is_read_up_to_the_cut(etcd):
    spool = etcd / "load/steady/worker-0.spool"
    spool.write_bytes(spool.read_bytes()[:-400])
    numbers = measure(etcd)
    assert numbers.damaged == ()
    assert numbers.sessions["steady"].workers[0].outcome == "missing"


def test_a_changed_byte_is_named(etcd):
    spool = etcd / "load/steady/worker-0.spool"
    held = bytearray(spool.read_bytes())
    held[len(held) // 2] ^= 0xFF
    spool.write_bytes(held)
    (problem,) = measure(etcd).damaged
    assert problem.startswith("steady: worker-0.spool: frame at byte")
    assert verdict_of(etcd).verdict != "valid"


def test_frames_of_another_kind_are_named_and_not_guessed(etcd):
    writer = SpoolWriter(etcd / "load/steady/worker-0.spool")
    writer.append({"kind": "window", "schema": 99})
    writer.close()
    assert "is no window of schema 1" in measure(etcd).damaged[0]


def test_a_target_that_was_never_pressed_has_no_sessions(tmp_path):
    (tmp_path / "etcd").mkdir()
    assert measure(tmp_path / "etcd").sessions == {}


def test_a_plan_that_cannot_be_read_says_so(etcd):
    (etcd / "load/steady/plan.json").write_text("{}")
    with pytest.raises(ArchiveError, match="not a plan that this soakbed reads"):
        measure(etcd)
