"""A sealed hour says to the letter what its spool said, or nothing at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import sealing
from loadgen.contract.columns import decoded, encoded
from loadgen.contract.parts import parts_of, read_parts
from loadgen.contract.sealed import SealedDamaged, SealedHour, read_sealed
from loadgen.contract.spool import SpoolDamaged, SpoolWriter, read_spool
from loadgen.contract.window import SessionEnd
from loadgen.sealing import NotTheSame, Pace, main, seal, seal_closed
from tests.unit.loadgen.test_packed_window import one_window, windows

AT_ONCE = Pace(1)
NAME = "worker-0.472222.spool"

odd = st.fixed_dictionaries(
    {"kind": st.sampled_from(["begin", "end", "window", "later"])},
    optional={"schema": st.integers(1, 2), "seq": st.integers(), "late": st.floats(0, 1)},
)


def spool(path, records):
    writer = SpoolWriter(path, hourly=False)
    for record in records:
        writer.append(record) if isinstance(record, dict) else writer.append_window(record)
    writer.close()
    return path


def hour(folder, records=None):
    """A closed spool, sealed."""
    records = records or [one_window(), SessionEnd(0, "finished", "", 6, 6, 0, 0).to_json()]
    return seal(spool(folder / NAME, records), pace=AT_ONCE, least_windows=1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(windows, windows, windows, odd), min_size=1, max_size=8))
def test_any_records_come_back_as_they_were(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("any")
    before = list(read_spool(spool(folder / "kept", records)))
    sealed = hour(folder, records)
    assert list(read_sealed(sealed)) == before == list(read_parts(folder, 0))
    assert [path.name for path in folder.iterdir() if path.name != "kept"] == [sealed.name]
    assert SealedHour.of(sealed).records == len(records)


def test_usual_windows_are_columns_and_others_stay_as_they_are(tmp_path):
    windows = [one_window() for _ in range(3)]
    strange = windows[1].to_json() | {"a_key_of_tomorrow": 1}
    head = SealedHour.of(hour(tmp_path, [windows[0], strange, windows[2]])).head
    assert head["windows"] == 2
    assert head["records"] == [[1, strange]]


@given(
    st.one_of(
        st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5),
        st.lists(st.integers(0, 300), max_size=5),
        st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))),
        st.lists(st.booleans(), max_size=5),
        st.builds(range, st.integers(-9, 9), st.integers(0, 99), st.integers(1, 9)).map(list),
    )
)
def test_any_column_comes_back_as_it_was(values):
    told, content = encoded(values)
    again = decoded(json.loads(json.dumps(told)), content)
    assert [(type(one), one) for one in again] == [(type(one), one) for one in values]


@given(place=st.integers(0), change=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_no_changed_byte_goes_unnoticed(tmp_path_factory, place, change):
    folder = tmp_path_factory.mktemp("changed")
    path = hour(folder)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    with pytest.raises(SealedDamaged, match=r"worker-0\.472222\.sealed"):
        list(read_sealed(path))


@pytest.mark.parametrize("left", [0, 7, 30, -1])
def test_a_cut_file_is_named_with_what_it_held(tmp_path, left):
    path = hour(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(SpoolDamaged) as caught:
        list(read_parts(tmp_path, 0))
    assert caught.value.windows == (2 if left == -1 else None)


def test_another_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("loadgen.contract.sealed.SEALED_SCHEMA", 2)
    path = hour(tmp_path)
    monkeypatch.undo()
    with pytest.raises(SealedDamaged, match="is of schema 2, this one reads 1"):
        SealedHour.of(path)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_spool_that_ends_inside_a_frame_is_not_sealed(tmp_path, cut):
    path = spool(tmp_path / NAME, [one_window()] * 2)
    path.write_bytes(path.read_bytes()[:-cut])
    assert seal(path, pace=AT_ONCE, least_windows=1) is None
    assert parts_of(tmp_path, 0) == [path]


def test_a_spool_with_a_changed_byte_is_not_sealed(tmp_path):
    path = spool(tmp_path / NAME, [one_window()] * 2)
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert seal(path, pace=AT_ONCE, least_windows=1) is None
    assert path.read_bytes() == content


def test_few_windows_are_not_worth_it(tmp_path):
    path = spool(tmp_path / NAME, [one_window()] * 3)
    assert seal_closed(tmp_path, 0, pace=AT_ONCE) == []
    assert path.exists()


def test_an_hour_that_is_not_read_back_as_it_was_stays_a_spool(tmp_path, monkeypatch):
    path = spool(tmp_path / NAME, [one_window()] * 2)
    monkeypatch.setattr(sealing, "read_sealed", lambda _: iter([one_window().to_json()]))
    with pytest.raises(NotTheSame, match=r"record 1 of worker-0\.472222\.spool"):
        seal(path, pace=AT_ONCE, least_windows=1)
    assert [one.name for one in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_sealing_that_was_interrupted_is_taken_up(tmp_path, damaged):
    records = [one_window()] * 2
    sealed = hour(tmp_path, records)
    whole = sealed.read_bytes()
    if damaged:
        sealed.write_bytes(whole[:-1])
    before = sealed.stat().st_ino
    path = spool(tmp_path / NAME, records)
    assert seal(path, pace=AT_ONCE, least_windows=1) == sealed
    assert sealed.read_bytes() == whole
    assert (sealed.stat().st_ino == before) is not damaged
    assert not path.exists()


def test_the_command_seals_what_is_closed_and_leaves_what_is_being_written(tmp_path, capsys):
    spool(tmp_path / NAME, [one_window()] * 130)
    spool(tmp_path / "worker-0.spool", [one_window()] * 130)
    assert main([str(tmp_path), "--rank", "0", "--busy", "1"]) == 0
    assert "sealed worker-0.472222.sealed" in capsys.readouterr().err
    assert [path.suffix for path in parts_of(tmp_path, 0)] == [".sealed", ".spool"]


def test_work_rests_nine_tenths_of_the_time(monkeypatch):
    slept, now_s = [], iter([0.0, 0.001, 0.010, 0.010, 0.011])
    monkeypatch.setattr(sealing.time, "thread_time", lambda: next(now_s))
    monkeypatch.setattr(sealing.time, "sleep", slept.append)
    pace = Pace(0.1)
    for _ in range(3):
        pace.step()
    assert slept == [pytest.approx(0.09)]
