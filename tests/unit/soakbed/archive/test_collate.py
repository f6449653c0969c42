"""Tables hold what the spools hold, an hour is done once, and an interruption costs nothing."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.histogram import Histogram
from loadgen.contract.limits import DELAY_PERCENTILE
from soakbed.archive.data import TargetData, collate
from soakbed.archive.data import collate as collating
from soakbed.errors import ArchiveError
from tests.unit.soakbed.archive.spools import BEGAN_S, spool, spool_of, target, window

HOURS = 3600


def merged(windows, name, kind):
    return Histogram.merged(getattr(one.operations[name], kind) for one in windows)


def test_tables_add_up_to_what_the_windows_hold(tmp_path):
    windows = [window(seq) for seq in range(7)]
    folder = target(tmp_path / "etcd", windows, windows)
    made = collate(folder)
    assert made.damages == ()
    data = TargetData(folder)
    for kind in ("response", "service", "lag"):
        whole = data.blocks("steady", "steady", "read", kind)
        wanted = Histogram.merged(merged(windows, "read", kind) for _ in range(2))
        assert whole.counts[0].tolist() == wanted.counts
        assert [whole.count[0], whole.sum_us[0], whole.max_us[0]] == [
            wanted.total,
            wanted.sum_us,
            wanted.max_us,
        ]
    late = data.blocks("steady", "steady", "", "late", 1)
    assert late.starts_s.tolist() == [BEGAN_S + seq for seq in range(7)]
    assert late.counts[3].tolist() == [2 * count for count in windows[3].late.counts]
    assert late.windows.tolist() == [2] * 7
    assert late.complete.all()


def test_each_worker_adds_up_alone_over_ten_minutes(tmp_path):
    few, many = [window(1)], [window(seq) for seq in range(3)]
    far = [*many, window(3, start_s=BEGAN_S + 3)]
    folder = target(tmp_path / "etcd", few, far)
    collate(folder)
    own = TargetData(folder).workers("steady", "steady", "write", "response", 1)
    assert own.counts.tolist() == [merged(far, "write", "response").counts]


def test_the_state_of_each_window_is_there_with_its_own_percentiles(tmp_path):
    windows = [window(seq) for seq in range(5)]
    folder = target(tmp_path / "etcd", windows)
    collate(folder)
    (part,) = TargetData(folder).generator("steady", "steady")
    responses = [Histogram.merged(op.response for op in one.operations.values()) for one in windows]
    assert part["seq"].tolist() == [0, 1, 2, 3, 4]
    assert part["cpu_share"].tolist() == [one.generator.cpu_share for one in windows]
    assert np.isnan(part["wait_share"]).all()
    assert part["late_p95_us"].tolist() == [
        one.late.percentile_us(DELAY_PERCENTILE) for one in windows
    ]
    assert part["response_count"].tolist() == [one.total for one in responses]
    assert part["response_p95_us"].tolist() == [
        one.percentile_us(DELAY_PERCENTILE) for one in responses
    ]


def test_counters_come_by_operation_with_their_causes(tmp_path):
    folder = target(tmp_path / "etcd", [window(seq) for seq in range(5)])
    collate(folder)
    parts = dict(TargetData(folder).counters("steady", "steady"))
    assert sorted(parts) == ["read", "write"]
    assert parts["read"]["failed"].tolist() == parts["read"]["timeout"].tolist() == [0, 1, 2, 0, 1]
    assert "connection" not in parts["read"]


def test_spools_of_the_first_engines_are_read_too(tmp_path):
    windows = [window(seq) for seq in range(4)]
    collate(target(tmp_path / "etcd", windows, packed=False))
    whole = TargetData(tmp_path / "etcd").blocks("steady", "steady", "read", "response")
    assert whole.counts[0].tolist() == merged(windows, "read", "response").counts


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
    collate(folder)
    data = TargetData(folder)
    blocks = data.blocks("steady", "steady", "read", "response", 1)
    (part,) = data.generator("steady", "steady")
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


def test_an_hour_that_did_not_change_is_not_done_again(tmp_path):
    windows = contiguous(3)
    folder = target(tmp_path / "etcd", windows[:-1], ended=False)
    told: list[str] = []
    first = collate(folder, told.append)
    assert told[-1] == "etcd: 3 of 3 hours collated"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("data/windows/*/*")}
    target(tmp_path / "etcd", windows)  # one more window, and the engine's end
    told.clear()
    second = collate(folder, told.append)
    assert told == ["etcd: 1 of 1 hours collated"]
    kept = [path for path, at in before.items() if path.stat().st_mtime_ns == at]
    assert len(kept) == 2
    assert first.sessions[0].ends == ()
    assert second.sessions[0].ends[0].notes == {"tls": "TLSv1.3"}
    told.clear()
    assert collate(folder, told.append) == second
    assert told == []


def test_a_changed_spool_changes_its_hours_and_an_hour_without_windows_goes(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(3))
    assert len(collate(folder).hours) == 3
    target(tmp_path / "etcd", contiguous(3)[:4])
    assert len(collate(folder).hours) == 2
    assert len(list(folder.glob("data/windows/*/*"))) == 2
    assert len(list(folder.glob("data/hours/*"))) == 2


def test_an_interrupted_collation_goes_on_where_it_was(tmp_path, monkeypatch):
    folder = target(tmp_path / "etcd", contiguous(4))
    real, calls = collating.__globals__["_merged"], []

    def stops(tasks):
        for one in real(tasks):
            calls.append(one)
            if len(calls) == 2:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setitem(collating.__globals__, "_merged", stops)
    with pytest.raises(KeyboardInterrupt):
        collate(folder)
    monkeypatch.setitem(collating.__globals__, "_merged", real)
    with pytest.raises(ArchiveError, match="not collated"):
        TargetData(folder)
    assert not list(folder.glob("data/.making-*"))
    told: list[str] = []
    assert len(collate(folder, told.append).hours) == 4
    assert told[-1] == "etcd: 3 of 3 hours collated"


def test_two_at_once_wait_for_each_other_and_agree(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(2))
    context = multiprocessing.get_context("forkserver")
    both = [context.Process(target=collate, args=(folder,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert TargetData(folder).collated == collate(folder)


def test_the_spools_stay_as_they_were(tmp_path):
    folder = target(tmp_path / "etcd", contiguous(2))
    before = spool_of(folder).read_bytes()
    collate(folder)
    assert spool_of(folder).read_bytes() == before


def test_tables_of_another_schema_are_refused_and_made_again(tmp_path):
    folder = target(tmp_path / "etcd", [window(0)])
    made = collate(folder)
    (folder / "data" / "schema").write_text("0\n")
    (folder / "data" / "collated.json").write_text(
        made.model_copy(update={"schema_": 0}).model_dump_json(by_alias=True)
    )
    with pytest.raises(ArchiveError, match="schema 0, this soakbed reads 1"):
        TargetData(folder)
    assert collate(folder) == made
    file = next(folder.glob("data/windows/*/*"))
    assert pq.read_schema(file).metadata[b"soakbed_schema"] == b"1"


def test_a_plan_that_cannot_be_read_is_named(tmp_path):
    folder = target(tmp_path / "etcd", [window(0)])
    (folder / "load" / "steady" / "plan.json").write_text("{}")
    with pytest.raises(ArchiveError, match=r"plan\.json is not a plan"):
        collate(folder)


def test_a_table_that_was_damaged_is_named_with_the_way_out(tmp_path):
    folder = target(tmp_path / "etcd", [window(0)])
    collate(folder)
    file = next(folder.glob("data/windows/*/*"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArchiveError, match="cannot be read") as raised:
        TargetData(folder).blocks("steady", "steady", "read", "response")
    assert "collate again" in raised.value.remedy


def test_a_session_of_two_phases_keeps_them_apart(tmp_path):
    early = [replace(window(seq), phase="warmup") for seq in range(2)]
    folder = target(tmp_path / "etcd", [*early, window(2)])
    made = collate(folder)
    assert [(one.phase, one.windows) for one in made.sessions[0].phases] == [
        ("warmup", 2),
        ("steady", 1),
    ]
    assert made.damages == ()
    spool(spool_of(folder), [*early, window(2)])
    assert collate(folder) == made
