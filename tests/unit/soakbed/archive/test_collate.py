"""Tables hold what the spools hold, an hour is done once, and an interruption costs nothing."""

from __future__ import annotations

import multiprocessing

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.limits import DELAY_PERCENTILE
from soakbed.archive.data import collate as collating
from soakbed.archive.data import frames as reading_frames
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData
from soakbed.errors import ArchiveError
from tests.unit.soakbed.archive.spools import BEGAN_S, HEAD, frames, spool_of, target, window

HOURS = 3600


def merged(windows, name, kind):
    return Histogram.merged(getattr(one.operations[name], kind) for one in windows)


def phase(folder, name="steady"):
    return TargetData(folder, collate(folder)).phase("steady", name)


def test_tables_add_up_to_what_the_windows_hold(tmp_path):
    windows = [window(seq) for seq in range(7)]
    folder = target(tmp_path / "etcd", windows, windows)
    assert collate(folder).damages == ()
    for kind in ("response", "service", "lag"):
        wanted = Histogram.merged(merged(windows, "read", kind) for _ in range(2))
        whole = phase(folder).total("read", kind)
        assert whole.buckets.tolist() == wanted.counts
        assert [whole.sum_us, whole.max_us] == [wanted.sum_us, wanted.max_us]
    late = phase(folder).blocks("", "late", 1)
    assert late.starts_s.tolist() == [BEGAN_S + seq for seq in range(7)]
    assert late.counts[3].tolist() == [2 * count for count in windows[3].late.counts]
    assert late.complete.all()


def test_each_worker_adds_up_alone(tmp_path):
    folder = target(tmp_path / "etcd", [window(1)], [window(seq) for seq in range(3)])
    own = phase(folder).total("write", "response", worker=1)
    wanted = merged([window(seq) for seq in range(3)], "write", "response")
    assert own.buckets.tolist() == wanted.counts


def test_a_phase_can_be_read_without_its_first_seconds(tmp_path):
    windows = [window(seq) for seq in range(7)]
    whole = phase(target(tmp_path / "etcd", windows, windows))
    assert whole.began_s() == BEGAN_S
    later = whole.without(((0, BEGAN_S + 3),))
    assert later.began_s() == BEGAN_S + 3
    assert later.blocks("read", "response", 1).starts_s.tolist() == [
        BEGAN_S + seq for seq in range(3, 7)
    ]
    for name, kind in (("read", "response"), ("write", "lag")):
        wanted = merged(windows[3:] * 2, name, kind)
        assert later.total(name, kind).buckets.tolist() == wanted.counts
    ok = sum(int(part["ok"].sum()) for name, part in later.counters() if name == "read")
    assert ok == 2 * sum(one.operations["read"].ok for one in windows[3:])
    assert sum(len(part["start_s"]) for part in later.generator()) == 8


def test_spools_of_the_first_engines_are_read_too(tmp_path):
    windows = [window(seq) for seq in range(4)]
    folder = target(tmp_path / "etcd", windows, packed=False)
    whole = phase(folder).total("read", "response")
    assert whole.buckets.tolist() == merged(windows, "read", "response").counts


@pytest.mark.parametrize("piece_bytes", [8, 9, 100, 3000])
def test_frames_are_found_wherever_a_piece_of_the_file_ends(tmp_path, monkeypatch, piece_bytes):
    folder = target(tmp_path / "etcd", [window(seq) for seq in range(4)])
    held = frames(spool_of(folder))
    monkeypatch.setattr(reading_frames, "_PIECE_BYTES", piece_bytes)
    found = reading_frames.scan(spool_of(folder))
    assert found.sizes.tolist() == [len(one) - HEAD.size for one in held]
    assert (len(held), found.cut_bytes, found.broken) == (5, 0, "")


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.integers(0, 90_000_000), max_size=30),
    more=st.lists(st.integers(0, 5_000), max_size=30),
)
def test_any_histogram_comes_back_as_it_was(tmp_path_factory, values, more):
    windows = [window(0), window(1)]
    for one, held in zip(windows, (values, more), strict=True):
        made = Histogram()
        for us in held:
            made.record(us)
        one.operations["read"].response = made
        one.late = made
    folder = target(tmp_path_factory.mktemp("any") / "etcd", windows)
    blocks = phase(folder).blocks("read", "response", 1)
    (part,) = phase(folder).generator()
    for index, one in enumerate(windows):
        held = one.operations["read"].response
        assert blocks.counts[index].tolist() == held.counts
        assert (blocks.sum_us[index], blocks.clamped[index]) == (held.sum_us, held.clamped)
        assert part["late_p95_us"][index] == held.percentile_us(DELAY_PERCENTILE)


def contiguous(count):
    """Two windows before and after each full hour, numbered as an engine does."""
    return [
        window(start - BEGAN_S, start_s=start, values=3)
        for hour in range(1, count)
        for start in range(BEGAN_S + hour * HOURS - 2, BEGAN_S + hour * HOURS + 2)
    ]


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("data/windows/*/*")}


def test_an_hour_that_did_not_change_is_not_done_again(tmp_path):
    windows = contiguous(3)
    folder = target(tmp_path / "etcd", windows[:-1], ended=False)
    first = collate(folder)
    before = files_of(folder)
    assert len(before) == 3
    target(tmp_path / "etcd", windows)  # one more window, and the engine's end
    second = collate(folder)
    now = files_of(folder)
    assert sum(now[path] == at for path, at in before.items()) == 2
    assert first.sessions["steady"].workers[0].outcome == "missing"
    assert second.sessions["steady"].workers[0].notes == {"tls": "TLSv1.3"}
    assert collate(folder) == second
    assert files_of(folder) == now


def test_an_hour_without_windows_goes(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(3))
    collate(folder)
    target(tmp_path / "etcd", contiguous(3)[:4])
    collate(folder)
    assert len(files_of(folder)) == 2


def test_an_interrupted_collation_leaves_nothing_half_and_is_made_whole(tmp_path, monkeypatch):
    folder = target(tmp_path / "etcd", contiguous(4))
    real, calls = collating.do_chunk, []

    def stops(chunk):
        calls.append(chunk)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(chunk)

    monkeypatch.setattr(collating, "do_chunk", stops)
    with pytest.raises(KeyboardInterrupt):
        collate(folder)
    assert collating.known(folder) is None
    again = []
    monkeypatch.setattr(collating, "do_chunk", lambda chunk: again.append(chunk) or real(chunk))
    made = collate(folder)
    assert len(again) == 2  # of four: two were finished before
    assert again[0].hour == calls[2].hour
    whole = collate(target(tmp_path / "other" / "etcd", contiguous(4)))
    assert made == whole
    assert not [path for path in (folder / "data").rglob(".*") if path.name != ".lock"]


def test_two_at_once_wait_for_each_other_and_agree(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(2))
    context = multiprocessing.get_context("forkserver")
    both = [context.Process(target=collate, args=(folder,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert collating.known(folder) == collate(folder)


def test_the_spools_stay_as_they_were(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(2))
    before = spool_of(folder).read_bytes()
    collate(folder)
    assert spool_of(folder).read_bytes() == before


def test_tables_of_another_schema_are_made_again(tmp_path):
    folder = target(tmp_path / "etcd", [window(0)])
    made = collate(folder)
    file = next(folder.glob("data/windows/*/*"))
    assert pq.read_schema(file).metadata[b"soakbed_schema"] == b"1"
    (record,) = folder.glob("data/chunks/*.json")
    record.write_text(record.read_text().replace('"data_schema": 1', '"data_schema": 0'))
    file.write_bytes(b"of another schema")
    assert collate(folder) == made
    assert pq.read_table(file, partitioning=None).num_rows == 7


def test_a_plan_that_cannot_be_read_is_named(tmp_path):
    folder = target(tmp_path / "etcd", [window(0)])
    (folder / "load" / "steady" / "plan.json").write_text("{}")
    with pytest.raises(ArchiveError, match=r"plan\.json is not a plan"):
        collate(folder)
