"""Sealed hours give the tables that their spools give, and none of their damages goes unnoticed."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.parts import closed_spools, parts_of
from loadgen.contract.sealed import SealedHour
from loadgen.contract.spool import SpoolWriter
from loadgen.sealing import Pace, seal
from soakbed.archive.data import collate as collating
from soakbed.archive.data.collate import collate
from soakbed.archive.data.readers import columns_of
from soakbed.archive.data.reading import TargetData
from tests.unit.soakbed.archive.spools import BEGAN_S, end, plan, window

HOUR_S = 3600
TABLES = ("windows", "workers", "counters", "generator")


def session(folder, *workers, ended=True):
    """A target whose workers leave these records, hour by hour."""
    load = folder / "load" / "steady"
    load.mkdir(parents=True)
    plan(len(workers)).write(load / "plan.json")
    for rank, records in enumerate(workers):
        writer = SpoolWriter(load / f"worker-{rank}.spool")
        for one in records:
            if isinstance(one, dict):
                writer._begin(one["start_s"] // HOUR_S)  # as for any window
                writer.append(one)
            else:
                writer.append_window(one)
        if ended:
            writer.append(end(rank).to_json())
        writer.close()
    return folder


def sealed(folder):
    """The same target, its closed hours sealed."""
    made = shutil.copytree(folder, folder.with_name(f"{folder.name}-sealed"))
    for rank in range(9):
        for path in closed_spools(made / "load" / "steady", rank):
            assert seal(path, pace=Pace(1), least_windows=1)
    return made


def tables(folder):
    """All rows by file; those of one kind are in the order of the workers' windows."""
    found = {}
    for table in TABLES:
        for path in sorted((folder / "data" / table).rglob("*.parquet")):
            rows = pq.read_table(path, partitioning=None).to_pylist()
            if table in ("counters", "generator"):
                rows.sort(key=lambda row: (row["worker"], row["seq"], row["start_s"]))
            found[str(path.relative_to(folder / "data"))] = rows
    return found


def told(collated):
    """What was found, without the names of files."""
    damages = [
        one.model_copy(update={"sentence": one.sentence.partition(":")[2]})
        for one in collated.damages
    ]
    held = collated.sessions["steady"]
    return damages, held.phases, held.workers, [one.hour for one in held.chunks]


@st.composite
def records(draw):
    """A worker's windows: mostly second by second, with all that may come in between."""
    start_s, made = BEGAN_S + HOUR_S - draw(st.integers(1, 12)), []
    for seq in range(draw(st.integers(1, 14))):
        what = draw(st.sampled_from(["next"] * 8 + ["gap", "back", "again", "odd", "hour"]))
        start_s += {"gap": 700, "back": -5, "hour": HOUR_S}.get(what, 1)
        one = window(seq, start_s=start_s, values=draw(st.sampled_from([0, 3, 120])))
        one.phase = draw(st.sampled_from(["steady", "steady", "warmup"]))
        one.complete = draw(st.booleans())
        one.generator.wait_share = draw(st.sampled_from([None, 0.25]))
        if draw(st.booleans()):
            del one.operations["read"]
        if draw(st.integers(0, 9)) == 0:
            one.operations.clear()
        made.append(one.to_json() | {"of_tomorrow": 1} if what == "odd" else one)
        if what == "again":
            made.append(made[-1])
    return made


@settings(deadline=None, max_examples=12)
@given(st.lists(records(), min_size=1, max_size=2))
def test_sealed_hours_give_the_tables_that_their_spools_give(tmp_path_factory, workers):
    for rank, one in ((rank, one) for rank, held in enumerate(workers) for one in held):
        if isinstance(one, dict):
            one["worker"] = rank
        else:
            one.worker = rank
    plainly = session(tmp_path_factory.mktemp("any") / "etcd", *workers)
    in_columns = sealed(plainly)
    assert told(collate(in_columns)) == told(collate(plainly))
    assert tables(in_columns) == tables(plainly)


def hours(count, rank=0, each=12):
    """Windows at the beginning of each of `count` hours, numbered as an engine does."""
    return [
        window(hour * each + second, worker=rank, start_s=BEGAN_S + hour * HOUR_S + second)
        for hour in range(count)
        for second in range(each)
    ]


def test_whole_sealed_hours_are_read_as_columns_alone(tmp_path, monkeypatch):
    folder = sealed(session(tmp_path / "etcd", hours(3), hours(3, rank=1)))
    seen = []
    monkeypatch.setattr(
        "soakbed.archive.data.chunks.columns_of",
        lambda *told: seen.append(columns_of(*told)) or seen[-1],
    )
    made = collate(folder)
    assert [hour is None for hour in seen] == [False] * 4 + [True] * 2  # the open spools
    assert made.sessions["steady"].workers[1].windows == 36


def test_an_hour_that_is_sealed_after_it_was_collated_is_not_done_again(tmp_path, monkeypatch):
    folder = session(tmp_path / "etcd", hours(3))
    first = collate(folder)
    (before, *_) = closed_spools(folder / "load" / "steady", 0)
    seal(before, pace=Pace(1), least_windows=1)
    done = []
    monkeypatch.setattr(collating, "do_chunk", done.append)
    assert collate(folder) == first
    assert done == []


def test_a_twin_of_a_sealed_hour_is_left_out(tmp_path):
    folder = session(tmp_path / "etcd", hours(2))
    (closed,) = closed_spools(folder / "load" / "steady", 0)
    kept = closed.read_bytes()
    first = collate(sealed(folder))
    twins = folder.with_name("etcd-sealed")
    (twins / "load" / "steady" / closed.name).write_bytes(kept)
    shutil.rmtree(twins / "data")
    assert collate(twins) == first
    assert [one.kind for one in first.damages] == ["time_step"]  # between the two hours


def damaged(path, how):
    content = bytearray(path.read_bytes())
    at = SealedHour.of(path).body_at
    if how == "changed":
        content[at + (len(content) - at) // 2] ^= 1
    elif how == "header":
        content[20] ^= 1
    path.write_bytes(content[:-1] if how == "cut" else content[:5] if how == "stub" else content)


@pytest.mark.parametrize(
    ("how", "count", "sentence"),
    [
        ("changed", 12, "has a wrong checksum"),
        ("cut", 12, "bytes of"),
        ("header", 1, "its header was cut or changed"),
        ("stub", 1, "is no sealed hour"),
    ],
)
def test_a_damaged_sealed_hour_is_named_counted_and_lost_alone(tmp_path, how, count, sentence):
    folder = sealed(session(tmp_path / "etcd", hours(4)))
    path = parts_of(folder / "load" / "steady", 0)[1]
    whole = path.read_bytes()
    damaged(path, how)
    made = collate(folder)
    first, *others = made.damages
    assert (first.kind, first.count, first.worker) == ("sealed_hour", count, 0)
    assert path.name in first.sentence
    assert sentence in first.sentence
    assert (first.from_s, first.until_s) == (BEGAN_S + HOUR_S, BEGAN_S + 2 * HOUR_S)
    lost = [one.count for one in others if one.kind == "missing_windows"]
    assert lost == [12]
    assert made.sessions["steady"].workers[0].windows == 36
    path.write_bytes(whole)  # brought again, with the header that it had
    again = collate(folder)
    assert again.sessions["steady"].workers[0].windows == 48
    assert not [one for one in again.damages if one.kind in ("sealed_hour", "missing_windows")]


def test_another_schema_is_named(tmp_path, monkeypatch):
    folder = session(tmp_path / "etcd", hours(2))
    with monkeypatch.context() as patch:
        patch.setattr("loadgen.contract.sealed.SEALED_SCHEMA", 7)
        folder = sealed(folder)
    (first, *_) = collate(folder).damages
    assert (first.kind, "is of schema 7, this one reads 1" in first.sentence) == (
        "sealed_hour",
        True,
    )


def test_an_open_spool_with_the_end_alone_belongs_to_the_hour_before(tmp_path):
    folder = session(tmp_path / "etcd", hours(2))
    load = folder / "load" / "steady"
    spool = load / "worker-0.spool"
    spool.rename(load / f"worker-0.{(BEGAN_S + HOUR_S) // HOUR_S}.spool")
    SpoolWriter(spool).append(end().to_json())
    assert [one.hour[-3:] for one in collate(folder).sessions["steady"].chunks] == ["T22", "T23"]


def test_sums_of_a_sealed_hour_are_those_of_its_windows(tmp_path):
    windows = hours(2)
    folder = sealed(session(tmp_path / "etcd", windows))
    steady = TargetData(folder, collate(folder)).phase("steady", "steady")
    counts = np.sum([one.operations["read"].lag.counts for one in windows], axis=0)
    assert steady.total("read", "lag").buckets.tolist() == counts.tolist()
    places, by_block = steady.counts([("read", "lag")], 1200)["read", "lag"]
    assert places.tolist() == [BEGAN_S // 1200, (BEGAN_S + HOUR_S) // 1200]
    assert by_block.sum(axis=0).tolist() == counts.tolist()
