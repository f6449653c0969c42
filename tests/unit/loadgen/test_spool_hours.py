"""A spool is closed by the hour, and readers find every record once, in whatever files it lies."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.parts import closed_spools, parts_of, read_parts
from loadgen.contract.spool import HOUR_S, SpoolWriter, read_spool
from loadgen.contract.window import GeneratorState, Window
from loadgen.following import Follower
from loadgen.sealing import Pace, seal

HOUR = 472_222


def window(seq: int, start_s: int) -> Window:
    return Window(0, seq, "steady", "open", start_s, 1, {}, GeneratorState())


def written(folder, starts, writer=None, seq=0):
    writer = writer or SpoolWriter(folder / "worker-0.spool")
    for number, start_s in enumerate(starts):
        writer.append_window(window(seq + number, start_s))
    return writer


def names(folder):
    return [path.name for path in parts_of(folder, 0)]


def seqs(records):
    return [record["seq"] for record in records]


def test_a_window_of_a_later_hour_closes_the_spool(tmp_path):
    written(tmp_path, [HOUR * HOUR_S + 3598, HOUR * HOUR_S + 3599, (HOUR + 1) * HOUR_S]).close()
    assert names(tmp_path) == [f"worker-0.{HOUR}.spool", "worker-0.spool"]
    assert seqs(read_parts(tmp_path, 0)) == [0, 1, 2]
    assert seqs(read_spool(tmp_path / "worker-0.spool")) == [2]


def test_a_session_within_an_hour_leaves_one_spool(tmp_path):
    writer = written(tmp_path, range(HOUR * HOUR_S, HOUR * HOUR_S + 3))
    writer.append({"kind": "end"})
    assert names(tmp_path) == ["worker-0.spool"]


def test_an_engine_that_goes_on_with_a_spool_closes_the_hour_of_the_one_before(tmp_path):
    written(tmp_path, [HOUR * HOUR_S]).close()
    written(tmp_path, [(HOUR + 3) * HOUR_S], seq=1).close()
    assert names(tmp_path) == [f"worker-0.{HOUR}.spool", "worker-0.spool"]


def test_a_clock_that_is_set_back_closes_nothing_and_no_closed_hour_is_written_over(tmp_path):
    hours = [HOUR, HOUR + 2, HOUR + 1, HOUR + 2, HOUR + 3]
    written(tmp_path, [hour * HOUR_S for hour in hours]).close()
    assert names(tmp_path) == [
        f"worker-0.{HOUR}.spool",
        f"worker-0.{HOUR + 2}.spool",
        "worker-0.spool",
    ]
    (tmp_path / "worker-0.spool").unlink()
    written(tmp_path, [HOUR * HOUR_S, (HOUR + 1) * HOUR_S], seq=4).close()
    assert seqs(read_parts(tmp_path, 0)) == [0, 1, 2, 3, 4, 5]


def test_a_spool_that_cannot_be_begun_is_gone_on_with(tmp_path, monkeypatch):
    writer = written(tmp_path, [HOUR * HOUR_S])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "open", full)
        writer.append_window(window(1, (HOUR + 1) * HOUR_S))
    assert names(tmp_path) == ["worker-0.spool"]
    written(tmp_path, [(HOUR + 1) * HOUR_S], writer, seq=1)
    assert names(tmp_path) == [f"worker-0.{HOUR}.spool", "worker-0.spool"]
    assert seqs(read_parts(tmp_path, 0)) == [0, 1]


def test_files_of_other_workers_and_of_no_worker_are_no_parts(tmp_path):
    for name in ("worker-1.spool", "worker-10.472222.spool", ".worker-0.472222.sealed.new"):
        (tmp_path / name).touch()
    assert parts_of(tmp_path, 0) == []
    assert list(Follower(tmp_path, 0).new()) == []


def test_half_a_frame_is_waited_for(tmp_path):
    spool, follower = tmp_path / "worker-0.spool", Follower(tmp_path, 0)
    written(tmp_path, [HOUR * HOUR_S] * 2).close()
    whole = spool.read_bytes()
    spool.write_bytes(whole[:-1])
    assert seqs(follower.new()) == [0]
    assert seqs(follower.new()) == []
    spool.write_bytes(whole)
    assert seqs(follower.new()) == [1]


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["window", "hour", "look", "seal", "restart", "three hours"]), max_size=25
    )
)
def test_a_follower_sees_each_window_once_whatever_the_engine_does(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("followed")
    writer, start_s, seq, seen = SpoolWriter(folder / "worker-0.spool"), HOUR * HOUR_S, 0, []
    follower = Follower(folder, 0)
    for step in [*steps, "look"]:
        if step == "look":
            seen += seqs(follower.new())
        elif step == "restart":
            writer.close()
            writer = SpoolWriter(folder / "worker-0.spool")
        elif step == "seal":
            for path in closed_spools(folder, 0):
                seal(path, pace=Pace(1), least_windows=1)
        else:
            start_s += {"window": 1, "hour": HOUR_S, "three hours": 3 * HOUR_S}[step]
            written(folder, [start_s], writer, seq)
            seq += 1
    writer.close()
    assert seen == list(range(seq)) == seqs(read_parts(folder, 0))
    again = Follower(folder, 0, after_hour=follower.after_hour)
    assert seqs(again.new()) == [one for one in seen if one in seqs(again_spool(folder))]


def again_spool(folder):
    spool = folder / "worker-0.spool"
    return read_spool(spool) if spool.exists() else []
