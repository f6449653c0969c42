"""Damaged evidence is named, counted and left out or marked; what is whole is kept, exactly."""

from __future__ import annotations

import re
import struct
import zlib

import pytest

from loadgen.contract.histogram import Histogram
from loadgen.contract.packed_window import pack
from soakbed.archive.data import TargetData, collate
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


def counted(folder):
    return TargetData(folder).blocks("steady", "steady", "read", "response").counts.sum(axis=0)


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


CASES = [
    pytest.param(cut, "cut_frame", (0, 1, 2, 3), "is cut", id="cut in its content"),
    pytest.param(cut_in_its_head, "cut_frame", (0, 1, 2, 3), "5 bytes left out", id="in its head"),
    pytest.param(flipped, "changed_frame", (0, 1, 3, 4, 5), "was changed", id="a bit flipped"),
    pytest.param(wrong_size, "changed_frame", (0, 1, 3, 4, 5), "was changed", id="wrong size"),
    pytest.param(huge_size, "changed_frame", (0, 1, 3, 4, 5), "was changed", id="huge size"),
    pytest.param(other_schema, "wrong_schema", (0, 1, 3, 4, 5), "schema 2", id="schema 2"),
    pytest.param(no_window, "unreadable_frame", (0, 1, 3, 4, 5), "cannot be read", id="no window"),
    pytest.param(
        wrong_total, "unreadable_frame", (0, 1, 3, 4, 5), "outside", id="impossible count"
    ),
    pytest.param(twice, "duplicate_window", range(COUNT), "window 2 is there again", id="twice"),
    pytest.param(again_at_the_end, "duplicate_window", range(COUNT), "window 1", id="twice, late"),
]


@pytest.mark.parametrize(("change", "kind", "kept", "said"), CASES)
def test_a_damaged_frame_is_named_and_left_out_and_the_others_are_kept(
    tmp_path, change, kind, kept, said
):
    folder = damaged(tmp_path, change)
    made = collate(folder)
    assert counted(folder).tolist() == sum_of(*kept)
    found = [one for one in made.damages if one.kind == kind]
    assert len(found) == 1
    assert found[0].treatment == "excluded"
    assert found[0].count >= 1
    assert re.search(said, found[0].text)
    lost = [one.count for one in made.damages if one.kind == "missing_windows"]
    assert lost == ([1] if kept == (0, 1, 3, 4, 5) else [])
    events = TargetData(folder).events()
    assert sorted(events["kind"].tolist()) == sorted(one.kind for one in made.damages)
    assert collate(folder) == made


def test_a_missing_hour_is_named_with_its_windows_and_its_time(tmp_path):
    late = BEGAN_S + 2 * 3600
    windows = [*WINDOWS, window(2 * 3600, start_s=late), window(2 * 3600 + 1, start_s=late + 1)]
    made = collate(target(tmp_path / "etcd", windows))
    (gap,) = made.damages
    assert (gap.kind, gap.count) == ("missing_windows", 2 * 3600 - COUNT)
    assert (gap.at_s, gap.until_s) == (BEGAN_S + COUNT, late)
    assert made.sessions[0].workers[0].windows_lost == gap.count
    assert len(made.hours) == 2


def test_windows_that_are_missing_within_an_hour_are_named(tmp_path):
    made = collate(target(tmp_path / "etcd", [*WINDOWS[:2], *WINDOWS[4:]]))
    assert [(one.kind, one.count, one.treatment) for one in made.damages] == [
        ("missing_windows", 2, "named")
    ]
    assert made.sessions[0].workers[0].windows_lost == 2


def test_a_clock_that_went_back_leaves_no_second_that_two_windows_of_a_worker_claim(tmp_path):
    back = [window(seq, start_s=BEGAN_S + seq - 2) for seq in range(3, COUNT)]
    folder = target(tmp_path / "etcd", [*WINDOWS[:3], *back])
    made = collate(folder)
    (step,) = made.damages
    assert (step.kind, step.treatment, step.count) == ("clock_step", "marked", 2)
    assert "went back by 2 s" in step.text
    blocks = TargetData(folder).blocks("steady", "steady", "read", "response", 1)
    assert blocks.complete.tolist() == [True, False, False, True]
    assert counted(folder).tolist() == sum_of(*range(COUNT))


def test_a_clock_that_went_back_over_a_full_hour_is_kept_whole(tmp_path):
    early = [window(seq, start_s=BEGAN_S + 3600 + seq) for seq in range(3)]
    back = [window(seq, start_s=BEGAN_S + 3500 + seq) for seq in range(3, COUNT)]
    folder = target(tmp_path / "etcd", [*early, *back])
    made = collate(folder)
    assert [one.kind for one in made.damages] == ["clock_step"]
    assert len(made.hours) == 2
    assert counted(folder).tolist() == sum_of(*range(COUNT))


def test_a_clock_that_went_forward_is_named(tmp_path):
    forward = [window(seq, start_s=BEGAN_S + seq + 9) for seq in range(3, COUNT)]
    (step,) = collate(target(tmp_path / "etcd", [*WINDOWS[:3], *forward])).damages
    assert (step.kind, step.treatment, step.count) == ("clock_step", "named", 9)


def test_a_planned_worker_without_a_spool_is_named(tmp_path):
    folder = target(tmp_path / "etcd", WINDOWS, WINDOWS)
    spool_of(folder, 1).unlink()
    (lack,) = collate(folder).damages
    assert (lack.kind, lack.worker) == ("no_spool", 1)


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"not a spool at all"], ids=repr)
def test_a_file_that_is_no_spool_has_no_windows(tmp_path, content):
    folder = target(tmp_path / "etcd", WINDOWS)
    spool_of(folder).write_bytes(content)
    made = collate(folder)
    assert made.hours == ()
    assert bool(made.damages) == bool(content)


def test_a_spool_cut_anywhere_gives_every_window_before_the_cut(tmp_path):
    folder = target(tmp_path / "etcd", WINDOWS[:2], ended=False)
    whole = spool_of(folder).read_bytes()
    first = len(frames(spool_of(folder))[0])
    for at in range(1, len(whole), 97):
        spool_of(folder).write_bytes(whole[:at])
        made = collate(folder)
        assert made.sources[0].frames == (0 if at < first else 1)
        kinds = [one.kind for one in made.damages]
        assert kinds == ([] if at in (0, first) else ["cut_frame"])
