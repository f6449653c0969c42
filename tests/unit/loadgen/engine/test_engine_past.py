"""What a killed engine leaves is read to the last whole frame, wherever it was cut."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.contract.spool import HOUR_S, SpoolWriter, read_spool
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from loadgen.engine.past import Past, PhaseClock, booted_s, past_of
from loadgen.engines import EngineRuns, Lock, engine_of

BEGAN_S = 1_700_000_000


def window(seq: int, *, phase: str = "steady", start_s: int | None = None) -> Window:
    made = Window(
        worker=0,
        seq=seq,
        phase=phase,
        mode="open",
        start_s=BEGAN_S + seq if start_s is None else start_s,
        length_s=1,
        operations={name: OperationWindow(due=seq) for name in ("read", "write")},
        generator=GeneratorState(),
    )
    made.operations["read"].response.record(100 + seq)
    return made


def spool_of(folder: Path, windows: list[Window], *others: dict) -> Path:
    path = folder / "worker-0.spool"
    writer = SpoolWriter(path)
    for one in windows:
        writer.append_window(one)
    for record in others:
        writer.append(record)
    writer.close()
    return path


def past(folder: Path, attempts: int = 1) -> Past:
    spool, clock = folder / "worker-0.spool", folder / "clock-0.json"
    return past_of(spool, clock, rank=0, attempts=attempts)


def test_where_nothing_was_this_is_the_first_engine(tmp_path):
    assert past(tmp_path, attempts=0) == Past()
    assert past(tmp_path, attempts=3) == Past()  # locked, and killed before it had a spool


@given(cut=st.integers(1, 1_000), windows=st.integers(1, 4))
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_spool_cut_anywhere_is_gone_on_with_behind_its_last_whole_frame(tmp_path, cut, windows):
    (tmp_path / "worker-0.spool").unlink(missing_ok=True)
    path = spool_of(tmp_path, [window(seq) for seq in range(windows)])
    os.truncate(path, max(path.stat().st_size - cut, 0))
    whole = list(read_spool(path))
    found = past(tmp_path)
    assert (found.attempt, found.seq, found.outcome) == (1, len(whole), "")
    assert found.began_s == ({"steady": BEGAN_S} if whole else {})
    writer = SpoolWriter(path)
    writer.append_window(window(found.seq))
    writer.close()
    assert list(read_spool(path)) == [*whole, window(found.seq).to_json()]


@given(tail=st.binary(min_size=1, max_size=300))
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_bytes_that_are_no_frame_go_and_frames_stay(tmp_path, tail):
    (tmp_path / "worker-0.spool").unlink(missing_ok=True)
    path = spool_of(tmp_path, [window(0), window(1)])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(tail)
    assert past(tmp_path).seq == 2
    assert path.stat().st_size == size


def test_zeros_that_a_power_cut_leaves_behind_are_no_frames(tmp_path):
    path = spool_of(tmp_path, [window(0)])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert past(tmp_path).seq == 1
    assert path.stat().st_size == size


def test_a_frame_that_was_changed_in_the_middle_costs_nothing_behind_it(tmp_path):
    path = spool_of(tmp_path, [window(0), window(1), window(2)])
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    assert past(tmp_path).seq == 3
    assert path.read_bytes() == bytes(content)


def test_more_than_a_frame_of_damage_is_no_torn_tail_and_is_left_for_readers(tmp_path):
    path = spool_of(tmp_path, [window(0)])
    content = path.read_bytes() + b"\xff" * (2 << 20)
    path.write_bytes(content)
    assert past(tmp_path).seq == 1
    assert path.read_bytes() == content


def test_an_end_says_that_the_session_is_over(tmp_path):
    spool_of(tmp_path, [window(0)], {"kind": "end", "outcome": "stopped"})
    assert past(tmp_path).outcome == "stopped"


def test_numbers_go_on_over_the_end_of_an_hour(tmp_path):
    hour_s = BEGAN_S // HOUR_S * HOUR_S + HOUR_S
    path = spool_of(tmp_path, [window(7, start_s=hour_s - 1), window(8, start_s=hour_s)])
    assert past(tmp_path).seq == 9
    path.write_bytes(path.read_bytes()[:20])  # it died while it wrote the first of the hour
    assert past(tmp_path).seq == 8
    path.unlink()
    assert past(tmp_path).seq == 8


def test_phases_are_those_noted_and_by_the_windows_where_the_note_is_lost(tmp_path):
    windows = [window(0, phase="warmup"), window(1, phase="warmup"), window(2)]
    spool_of(tmp_path, windows)
    by_windows = {"warmup": BEGAN_S, "steady": BEGAN_S + 2}
    assert past(tmp_path).began_s == by_windows
    clock = tmp_path / "clock-0.json"
    for lost in ("", "{", "[1]", '{"steady": "soon"}'):
        clock.write_text(lost)
        assert past(tmp_path).began_s == by_windows
    noted = PhaseClock(clock, {"warmup": BEGAN_S - 3})
    noted.began_s["steady"] = BEGAN_S + 1
    noted.write()
    assert past(tmp_path).began_s == {"warmup": BEGAN_S - 3, "steady": BEGAN_S + 1}
    assert json.loads(clock.read_text()) == noted.began_s


def test_why_it_comes_is_told_by_when_the_host_was_booted(tmp_path):
    path = spool_of(tmp_path, [window(0)])
    assert past(tmp_path).reason == "engine_died"
    assert booted_s() < time.time()
    os.utime(path, (booted_s() - 10,) * 2)
    assert past(tmp_path).reason == "host_booted"


def test_one_engine_a_rank_and_the_lock_goes_with_it(tmp_path):
    path = tmp_path / "engine-0.lock"
    assert engine_of(path) is None
    lock = Lock(path)
    assert lock.attempts == 0
    assert engine_of(path) == 0  # it has said nothing yet
    lock.take(4)
    assert engine_of(path) == os.getpid()
    with pytest.raises(EngineRuns, match="another engine"):
        Lock(path)
    os.close(lock._fd)
    assert engine_of(path) is None
    assert Lock(path).attempts == 5
