"""Blocks of recorded operations on disk: whole, cut by a crash, damaged."""

from __future__ import annotations

import struct
import zlib
from array import array
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.history import COLUMNS, HistoryBlock, payload_of_block, read_history, sampled
from loadgen.contract.spool import HEAD, SpoolDamaged, SpoolWriter

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
