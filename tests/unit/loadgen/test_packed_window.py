"""A window in the spool says to the letter what it said before it was packed."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.histogram import MAX_US, Histogram
from loadgen.contract.packed_window import pack, unpack
from loadgen.contract.spool import SpoolDamaged, SpoolWriter, read_spool
from loadgen.contract.window import HISTOGRAMS, GeneratorState, OperationWindow, Window

latencies = st.lists(
    st.tuples(st.integers(-3, 2 * MAX_US), st.integers(1, 1 << 20)), max_size=12
)  # fmt: skip


def histogram_of(values: list[tuple[int, int]]) -> Histogram:
    made = Histogram()
    for value_us, count in values:
        made.record(value_us, count)
    return made


histograms = latencies.map(histogram_of)
operations = st.builds(
    OperationWindow,
    due=st.integers(0, 1 << 40),
    ok=st.integers(0, 1 << 40),
    causes=st.dictionaries(st.sampled_from(["timeout", "busy"]), st.integers(1, 9)),
    **dict.fromkeys(HISTOGRAMS, histograms),
)
windows = st.builds(
    Window,
    worker=st.integers(0, 99),
    seq=st.integers(0, 1 << 40),
    phase=st.text(max_size=9),
    mode=st.sampled_from(["open", "closed", "fill"]),
    start_s=st.integers(0, 1 << 40),
    length_s=st.just(1),
    operations=st.fixed_dictionaries({"read": operations, "write": operations}),
    generator=st.builds(GeneratorState, cpu_share=st.floats(0, 1), wait_share=st.none()),
    complete=st.booleans(),
    late=histograms,
)


def one_window() -> Window:
    values = [(5, 2), (1500, 1), (MAX_US, 3)]
    reads = OperationWindow(ok=6, response=histogram_of(values), service=histogram_of(values))
    both = {"read": reads, "write": OperationWindow()}
    return Window(0, 1, "steady", "open", 1_700_000_000, 1, both, GeneratorState())


@given(windows)
def test_unpacked_it_is_what_json_would_have_said(window):
    assert unpack(pack(window)) == json.loads(json.dumps(window.to_json()))


@given(windows)
def test_a_window_read_from_the_packed_form_packs_to_the_same_bytes(window):
    packed = pack(window)
    assert pack(Window.from_json(unpack(packed))) == packed


def test_a_spool_may_hold_packed_windows_and_json_side_by_side(tmp_path):
    window, spool = one_window(), SpoolWriter(tmp_path / "spool")
    spool.append(window.to_json())
    spool.append_window(window)
    spool.close()
    assert list(read_spool(tmp_path / "spool")) == [window.to_json()] * 2


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: packed[:-4], id="a count is missing"),
        pytest.param(lambda packed: packed + b"\0" * 4, id="a count too many"),
        pytest.param(lambda packed: packed[:-4] + b"\x09\0\0\0", id="a count is another"),
        pytest.param(lambda packed: packed[:4] + b"}" + packed[5:], id="no JSON"),
        pytest.param(lambda _: b"", id="nothing"),
    ],
)
def test_a_frame_that_is_no_whole_window_is_damage_with_its_place(tmp_path, damage):
    payload = b"P" + zlib.compress(damage(pack(one_window())))
    path = tmp_path / "spool"
    path.write_bytes(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    with pytest.raises(SpoolDamaged, match=r"spool: frame at byte 0"):
        list(read_spool(path))
