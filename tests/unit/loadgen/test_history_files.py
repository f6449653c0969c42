"""Blocks of recorded operations on disk: whole, cut by a crash, damaged."""

from __future__ import annotations

import struct
import threading
import zlib
from array import array
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.history import COLUMNS, HistoryBlock, payload_of_block, read_history, sampled
from loadgen.contract.history_files import (
    HistoryWriter,
    history_hour,
    history_parts,
    history_ranks,
    read_histories,
)
from loadgen.contract.spool import HEAD, SpoolDamaged, SpoolWriter
from loadgen.engine import spooling
from loadgen.engine.spooling import Spool

RANGES = {"I": (0, (1 << 32) - 1), "q": (-(1 << 61), (1 << 61)), "B": (0, 255)}


@st.composite
def blocks(draw: st.DrawFn) -> HistoryBlock:
    rows = draw(st.integers(0, 40))
    columns = {
        name: array(kind, draw(st.lists(st.integers(*RANGES[kind]), min_size=rows, max_size=rows)))
        for name, kind in COLUMNS.items()
    }
    dropped_keys = draw(st.none() | st.lists(st.integers(0, 1 << 32), max_size=3).map(tuple))
    return HistoryBlock(
        worker=draw(st.integers(0, 9999)),
        attempt=draw(st.integers(0, 999)),
        session=draw(st.text(max_size=10)),
        phase=draw(st.text(max_size=10)),
        seq=draw(st.integers(0, 1 << 40)),
        share=draw(st.floats(0, 1)),
        seed=draw(st.integers(0, 1 << 62)),
        dropped=draw(st.integers(0, 1 << 40)),
        dropped_keys=dropped_keys,
        causes=tuple(draw(st.lists(st.text(max_size=8), min_size=1, max_size=4))),
        **columns,  # type: ignore[arg-type]
    )


def block(seq: int = 0, rows: int = 3) -> HistoryBlock:
    made = HistoryBlock(0, 0, "steady", "steady", seq, share=0.01, seed=1)
    for number in range(rows):
        for name in COLUMNS:
            getattr(made, name).append(number % 200)
    return made


def written(path: Path, *made: HistoryBlock) -> None:
    writer = SpoolWriter(path, hourly=False)
    for one in made:
        writer.write(payload_of_block(one))
    writer.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(blocks(), max_size=3))
def test_what_was_written_is_read(made: list[HistoryBlock]) -> None:
    frames = b""
    for one in made:
        payload = payload_of_block(one)
        frames += HEAD.pack(len(payload), zlib.crc32(payload)) + payload
    with TemporaryDirectory() as folder:
        path = Path(folder) / "worker-0.history"
        path.write_bytes(frames)
        assert list(read_history(path)) == made


@pytest.mark.parametrize("cut", [1, 3, 9, 20])
def test_a_torn_tail_is_told_and_not_fatal(tmp_path: Path, cut: int) -> None:
    path, torn = tmp_path / "worker-0.history", []
    written(path, block(0))
    whole = path.stat().st_size
    written(path, block(1))
    path.write_bytes(path.read_bytes()[: whole + cut])
    assert [one.seq for one in read_history(path, torn=torn.append)] == [0]
    assert torn == [cut]


def test_a_whole_file_tells_of_no_torn_tail(tmp_path: Path) -> None:
    path, torn = tmp_path / "worker-0.history", []
    written(path, block(0), block(1))
    assert [one.seq for one in read_history(path, torn=torn.append)] == [0, 1]
    assert torn == []


def test_a_changed_byte_is_named_with_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.history"
    written(path, block(0))
    whole = path.stat().st_size
    written(path, block(1))
    changed = bytearray(path.read_bytes())
    changed[whole + HEAD.size + 5] ^= 1
    path.write_bytes(changed)
    read = read_history(path)
    assert next(read).seq == 0
    with pytest.raises(SpoolDamaged, match=f"frame at byte {whole} has a wrong checksum"):
        next(read)


def test_a_frame_that_is_no_block_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.history"
    payload = b"H" + zlib.compress(struct.pack("<I", 2) + b"{}")
    path.write_bytes(HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
    with pytest.raises(SpoolDamaged, match="frame at byte 0"):
        list(read_history(path))


def test_columns_of_different_length_are_refused() -> None:
    made = block()
    made.key.append(1)
    with pytest.raises(ValueError, match="differ in length"):
        payload_of_block(made)


def test_the_sample_has_its_share_and_is_the_same_for_all() -> None:
    chosen = {key for key in range(100_000) if sampled(key, 0.01, seed=7)}
    assert 900 < len(chosen) < 1100
    assert chosen < {key for key in range(100_000) if sampled(key, 0.02, seed=7)}
    assert chosen != {key for key in range(100_000) if sampled(key, 0.01, seed=8)}
    assert not any(sampled(key, 0.0, seed=7) for key in range(1000))
    assert all(sampled(key, 1.0, seed=7) for key in range(1000))


def payload(seq: int, until_s: int) -> bytes:
    made = block(seq)
    made.until_ns = until_s * 10**9
    return payload_of_block(made)


def write(writer: HistoryWriter, *seqs: int, begin_s: int) -> None:
    for seq in seqs:
        writer.write(payload(seq, begin_s + seq), start_s=begin_s + seq)


def seqs_in(folder: Path) -> list[int]:
    return [one.seq for one in read_histories(folder, 0)]


def test_hours_are_files_of_their_own_also_after_a_crash(tmp_path: Path) -> None:
    path, begin_s = tmp_path / "worker-0.history", 472_222 * 3600 + 3598
    writer = HistoryWriter(path)
    write(writer, 0, begin_s=begin_s)
    writer.close()
    path.write_bytes(path.read_bytes() + b"\xff\x00\x00\x00 half a frame")
    # The spool's own hour is sealed before ours is closed; the two have nothing to do with it.
    (tmp_path / "worker-0.472222.sealed").touch()
    writer = HistoryWriter(path)
    write(writer, 1, 2, 3, begin_s=begin_s)
    writer.close()
    names = [part.name for part in history_parts(tmp_path, 0)]
    assert names == ["worker-0.472222.history", "worker-0.history"]
    assert seqs_in(tmp_path) == [0, 1, 2, 3]
    assert history_ranks(tmp_path) == [0]
    assert history_hour(path) == 472_223


def test_a_history_has_an_end_and_leaves_the_disk_some_room(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.history"
    writer = HistoryWriter(path, most_bytes=700)
    with pytest.raises(OSError, match="the history has its"):
        write(writer, *range(10), begin_s=0)
    writer.close()
    assert 300 < path.stat().st_size <= 700
    again = HistoryWriter(path, most_bytes=700)
    with pytest.raises(OSError, match="the history has its"):
        write(again, *range(10), begin_s=0)
    again.close()
    full = HistoryWriter(path, least_free_bytes=1 << 62)
    with pytest.raises(OSError, match="are free"):
        write(full, 11, begin_s=0)
    full.close()


def test_a_gap_that_a_full_disk_left_is_seen_by_the_numbers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(spooling, "KEPT_HISTORY_BYTES", 1000)
    history = HistoryWriter(tmp_path / "worker-0.history", most_bytes=1)
    spool = Spool(SpoolWriter(tmp_path / "worker-0.spool"), history=history)
    for seq in range(10):
        spool.put(block(seq))
    done = threading.Event()
    spool.also_do(done.set)
    assert done.wait(60)
    history._most_bytes = 1 << 20
    spool.put(block(10))
    assert spool.close() == ""
    written = seqs_in(tmp_path)
    assert written[0] == 0 and 1 < len(written) < 10
    assert "blocks lost" in spool.told()["history_disk"]
    assert "disk" not in spool.told()
