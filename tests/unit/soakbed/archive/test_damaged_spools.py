"""Damaged evidence is named, counted and left out or marked; what is whole is kept, exactly."""

from __future__ import annotations

import re
import struct
import zlib

import pytest

from loadgen.contract.histogram import Histogram
from loadgen.contract.packed_window import pack
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData
from tests.unit.soakbed.archive.spools import (
    BEGAN_S,
    HEAD,
    frame,
    frames,
    spool_of,
    target,
    window,
)

COUNT = 6
WINDOWS = [window(seq) for seq in range(COUNT)]


def phase(folder):
    return TargetData(folder, collate(folder)).phase("steady", "steady")


def counted(folder):
    return phase(folder).total("read", "response").buckets


def sum_of(*numbers):
    held = (WINDOWS[number].operations["read"].response for number in numbers)
    return Histogram.merged(held).counts


def damaged(tmp_path, change):
    folder = target(tmp_path / "etcd", WINDOWS)
    path = spool_of(folder)
    path.write_bytes(b"".join(change(frames(path))))
    return folder


def cut(held):
    return [*held[:4], held[4][:-5]]


def cut_in_its_head(held):
    return [*held[:4], held[4][:5]]


def flipped(held):
    changed = bytearray(held[2])
    changed[len(changed) // 2] ^= 0x20
    return [*held[:2], bytes(changed), *held[3:]]


def wrong_size(held):
    size, crc = HEAD.unpack_from(held[2])
    return [*held[:2], HEAD.pack(size + 77, crc) + held[2][HEAD.size :], *held[3:]]


def huge_size(held):
    return [*held[:2], HEAD.pack(1 << 31, 0) + held[2][HEAD.size :], *held[3:]]


def other_schema(held):
    return [*held[:2], frame(WINDOWS[2].to_json() | {"schema": 2}), *held[3:]]


def no_window(held):
    return [*held[:2], frame({"kind": "window", "schema": 1}), *held[3:]]


def wrong_total(held):
    plain = WINDOWS[2].to_json()
    plain["operations"]["read"]["response"]["counts"][0] = -4
    return [*held[:2], frame(plain), *held[3:]]


def wrong_packed_total(held):
    packed = bytearray(pack(WINDOWS[2]))
    (last,) = struct.unpack("<I", packed[-4:])
    packed[-4:] = struct.pack("<I", last + 1)
    payload = b"P" + zlib.compress(bytes(packed), 1)
    return [*held[:2], HEAD.pack(len(payload), zlib.crc32(payload)) + payload, *held[3:]]


def twice(held):
    return [*held[:3], held[2], *held[3:]]


def again_at_the_end(held):
    return [*held[:-1], held[1], held[-1]]


WITHOUT_2 = (0, 1, 3, 4, 5)
CASES = [
    pytest.param(cut, "cut_frame", (0, 1, 2, 3), "bytes are part of", id="cut in its content"),
    pytest.param(cut_in_its_head, "cut_frame", (0, 1, 2, 3), "last 5 bytes", id="cut in its head"),
    pytest.param(flipped, "checksum", WITHOUT_2, "wrong checksum", id="a bit flipped"),
    pytest.param(huge_size, "chain", WITHOUT_2, "has a wrong length", id="an impossible length"),
    pytest.param(other_schema, "schema", WITHOUT_2, "'schema': 2", id="another schema"),
    pytest.param(no_window, "content", WITHOUT_2, "cannot be read", id="no window"),
    pytest.param(wrong_total, "content", WITHOUT_2, "cannot be read", id="a count below zero"),
    pytest.param(wrong_packed_total, "content", WITHOUT_2, "add up", id="counts and total differ"),
    pytest.param(twice, "duplicate_window", range(COUNT), "number 2", id="twice"),
    pytest.param(again_at_the_end, "duplicate_window", range(COUNT), "number 1", id="twice, late"),
]


@pytest.mark.parametrize(("change", "kind", "kept", "said"), CASES)
def test_a_damaged_frame_is_named_and_left_out_and_the_others_are_kept(
    tmp_path, change, kind, kept, said
):
    folder = damaged(tmp_path, change)
    made = collate(folder)
    assert counted(folder).tolist() == sum_of(*kept)
    (found,) = (one for one in made.damages if one.kind == kind)
    assert found.count >= 1
    assert re.search(said, found.sentence)
    lost = [one.count for one in made.damages if one.kind == "missing_windows"]
    assert lost == ([1] if kept == WITHOUT_2 else [])
    assert collate(folder) == made


def test_a_length_that_is_wrong_but_possible_loses_no_frame_silently(tmp_path):
    folder = damaged(tmp_path, wrong_size)
    made = collate(folder)
    kinds = {one.kind for one in made.damages}
    assert "checksum" in kinds
    assert "no_end" not in kinds
    # The wrong length reaches into the next frame; from the one behind it on all is there.
    assert counted(folder).tolist() == sum_of(0, 1, 4, 5)
    assert sum(one.count for one in made.damages if one.kind == "missing_windows") == 2


def test_what_follows_a_wrong_length_is_found_far_behind_it_too(tmp_path):
    def hole(held):
        # Bytes that are no frame, longer than a piece in which the next one is looked for.
        return [*held[:2], HEAD.pack(1 << 31, 0) + b"Px" * (700 * 1024), *held[3:]]

    folder = damaged(tmp_path, hole)
    (found,) = (one for one in collate(folder).damages if one.kind == "chain")
    assert "1433608 bytes are lost" in found.sentence
    assert counted(folder).tolist() == sum_of(*WITHOUT_2)


def test_a_missing_hour_is_named_with_its_windows_and_its_time(tmp_path):
    late = BEGAN_S + 2 * 3600
    windows = [*WINDOWS, window(2 * 3600, start_s=late), window(2 * 3600 + 1, start_s=late + 1)]
    made = collate(target(tmp_path / "etcd", windows))
    (gap,) = made.damages
    assert (gap.kind, gap.count) == ("missing_windows", 2 * 3600 - COUNT)
    assert (gap.from_s, gap.until_s) == (BEGAN_S + COUNT, late)
    assert made.sessions["steady"].workers[0].windows_lost == gap.count
    assert len(made.sessions["steady"].chunks) == 2


def test_windows_that_are_missing_within_an_hour_are_named(tmp_path):
    made = collate(target(tmp_path / "etcd", [*WINDOWS[:2], *WINDOWS[4:]]))
    assert [(one.kind, one.count) for one in made.damages] == [("missing_windows", 2)]
    assert made.sessions["steady"].workers[0].windows_lost == 2


def test_a_clock_that_went_back_leaves_no_whole_second_that_a_worker_claims_twice(tmp_path):
    back = [window(seq, start_s=BEGAN_S + seq - 2) for seq in range(3, COUNT)]
    folder = target(tmp_path / "etcd", [*WINDOWS[:3], *back])
    (step,) = collate(folder).damages
    assert step.kind == "time_step"
    assert "2 s before" in step.sentence
    blocks = phase(folder).blocks("read", "response", 1)
    assert blocks.complete.tolist() == [True, False, False, True]
    assert counted(folder).tolist() == sum_of(*range(COUNT))


def test_a_clock_that_went_back_over_a_full_hour_is_kept_whole(tmp_path):
    early = [window(seq, start_s=BEGAN_S + 3600 + seq) for seq in range(3)]
    back = [window(seq, start_s=BEGAN_S + 3500 + seq) for seq in range(3, COUNT)]
    folder = target(tmp_path / "etcd", [*early, *back])
    assert [one.kind for one in collate(folder).damages] == ["time_step"]
    assert counted(folder).tolist() == sum_of(*range(COUNT))


def test_a_clock_that_went_forward_is_named(tmp_path):
    forward = [window(seq, start_s=BEGAN_S + seq + 9) for seq in range(3, COUNT)]
    (step,) = collate(target(tmp_path / "etcd", [*WINDOWS[:3], *forward])).damages
    assert (step.kind, step.from_s, step.until_s) == ("time_step", BEGAN_S + 3, BEGAN_S + 12)


def test_a_planned_worker_without_a_spool_is_named(tmp_path):
    folder = target(tmp_path / "etcd", WINDOWS, WINDOWS)
    spool_of(folder, 1).unlink()
    lacks = [(one.kind, one.worker) for one in collate(folder).damages]
    assert lacks == [("missing_spool", 1), ("no_end", 1)]


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"not a spool at all"], ids=repr)
def test_a_file_that_is_no_spool_has_no_windows(tmp_path, content):
    folder = target(tmp_path / "etcd", WINDOWS)
    spool_of(folder).write_bytes(content)
    made = collate(folder)
    assert made.sessions["steady"].phases == ()
    assert "no_end" in {one.kind for one in made.damages}


def test_a_spool_cut_anywhere_gives_every_window_before_the_cut(tmp_path):
    folder = target(tmp_path / "etcd", WINDOWS[:2], ended=False)
    whole = spool_of(folder).read_bytes()
    first = len(frames(spool_of(folder))[0])
    for at in range(1, len(whole), 157):
        spool_of(folder).write_bytes(whole[:at])
        made = collate(folder)
        assert made.sessions["steady"].workers[0].windows == (0 if at < first else 1)
        assert {one.kind for one in made.damages} == {"cut_frame", "no_end"}


def test_every_damage_is_an_event_that_a_reader_of_events_meets(tmp_path):
    folder = damaged(tmp_path, flipped)
    made = collate(folder)
    events = TargetData(folder, made).table("events")
    told = zip(events["kind"].to_pylist(), events["worker"].to_pylist(), strict=True)
    assert sorted(told) == sorted((one.kind, one.worker) for one in made.damages)
