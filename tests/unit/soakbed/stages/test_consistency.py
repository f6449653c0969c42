"""From the files that workers leave to the verdict over a target's word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadgen.contract.history import read_history
from soakbed.archive.run_folder import RunFolder
from soakbed.records.clocks import ClockComparison, ClockReading, SessionClocks
from soakbed.records.consistency import Check, Consistency, verdict_of
from soakbed.records.events import Event
from soakbed.records.numbers import Numbers
from soakbed.records.testbed import Testbed
from soakbed.stages import consistency_shards
from soakbed.stages.consistency import CLOCK_SET, FAILOVER, bound_us, consistency_of
from soakbed.stages.consistency_rows import Rows
from soakbed.stages.consistency_shards import Shards
from soakbed.stages.consistency_zones import Missing
from tests.golden.made_histories import (
    BEGAN_US,
    Op,
    a_read,
    end_of,
    record,
    rows_of,
    sound,
    with_lost_write,
    with_resurrected_value,
    with_stale_read,
    write_history,
)
from tests.golden.recorded import RECORDED


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """Pressed by one worker from one load host; it recorded nothing yet."""
    return RunFolder(Path(shutil.copytree(RECORDED, tmp_path / "run")))


def of_one_worker(ops: Sequence[Op]) -> list[Op]:
    return [replace(one, worker=0) for one in ops]


def alone(**changed: int) -> list[Op]:
    return sound(workers=1, connections=5, each=40, **changed)


def judged(
    run: RunFolder, ops: Sequence[Op], *, target: str = "etcd", failovers: Sequence[float] = ()
) -> Consistency:
    record(run.path / target, of_one_worker(ops))
    return asked(run, target=target, failovers=failovers)


def asked(run: RunFolder, *, target: str = "etcd", failovers: Sequence[float] = ()) -> Consistency:
    numbers = run.read(f"{target}/numbers", Numbers)
    events = [Event(at, at, "d1", "journal", FAILOVER, "note", "is master now") for at in failovers]
    return consistency_of(run, target, numbers, events)


def test_a_run_that_recorded_nothing_is_unknown_and_says_why(run):
    kept = asked(run)
    assert (kept.verdict, kept.sentence) == ("unknown", "no history was recorded")
    assert kept.checks == ()


@pytest.mark.parametrize("target", ["etcd", "redis_cluster"])
def test_a_target_that_kept_its_word_is_ok(run, target):
    ops = alone()
    kept = judged(run, ops, target=target)
    assert kept.verdict == "ok", kept.sentence
    assert kept.level == "linearizable"
    assert (kept.recorded.operations, kept.recorded.keys) == (len(ops), 4)
    assert (kept.recorded.share, kept.recorded.bound_us) == (0.01, 0)
    words = {one.name: one.verdict for one in kept.checks}
    assert words.pop("replicas_equal") == "skipped"
    assert set(words.values()) == {"ok"}
    assert ("revision_order" in words) == (target == "etcd")
    assert Consistency.model_validate_json(kept.model_dump_json(by_alias=True)) == kept


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        pytest.param(with_stale_read, "a stale read", id="stale"),
        pytest.param(with_lost_write, "is lost", id="lost"),
        pytest.param(with_resurrected_value, "an older value came back", id="resurrected"),
    ],
)
def test_what_was_planted_is_a_violation_with_its_witness(run, plant, told):
    ops, planted = plant(alone())
    kept = judged(run, ops, target="redis_cluster")
    assert kept.verdict == "violation"
    assert told in kept.sentence
    check = kept.check("linearizable")
    assert check is not None and check.violations == 1
    assert planted.value in {row.value for row in check.witnesses[0].rows}
    back = kept.check("no_older_value_after_a_newer")
    gone = kept.check("acknowledged_writes_kept")
    assert back is not None and gone is not None
    assert (back.verdict == "violation") == (plant is with_resurrected_value)
    assert (gone.verdict == "violation") == (plant is with_lost_write)


def test_the_strongest_level_that_does_hold_is_told(run):
    ops, _ = with_resurrected_value(alone())
    kept = judged(run, ops, target="redis_cluster")
    assert kept.level == "sequential-by-key", "two clients wrote, in any order of theirs"
    by_one = [replace(one, connection=800) if one.connection == 801 else one for one in ops]
    assert judged(run, by_one, target="redis_cluster").level == "read-your-writes"


def test_a_revision_that_goes_back_is_a_violation_of_etcd_alone(run):
    ops = alone()
    at, key = end_of(ops) + 10, ops[-1].key
    reads = [one for one in ops if not one.is_write and one.key == key and one.revision]
    last = max(ops, key=lambda one: one.revision)
    ops += [
        a_read(9, 0, at, revision=last.revision + 9),
        a_read(9, 0, at + 100, revision=last.revision + 8),
    ]
    assert reads
    kept = judged(run, ops)
    assert kept.verdict == "violation"
    assert [one.name for one in kept.violations] == ["revisions_of_clients"]
    assert "a client saw revision" in kept.sentence


def test_a_lost_write_at_a_failover_is_not_promised_by_redis_and_by_it_alone(run):
    ops, lost = with_lost_write(alone())
    ops = [one for one in ops if one.sent != lost.done + 10]
    ops.append(a_read(lost.key, 99_001, lost.done + 60_000_000))
    at_s = (BEGAN_US + lost.done) / 1e6 + 20
    kept = judged(run, ops, target="redis_cluster", failovers=[at_s])
    assert kept.verdict == "not_promised"
    assert "promises nothing across a failover" in kept.sentence
    assert kept.violations[0].witnesses[0].rows[-1].value == 99_001
    assert asked(run, target="redis_cluster").verdict == "violation", "nothing failed over"
    assert judged(run, ops, failovers=[at_s]).verdict == "violation", "etcd promises more"


def test_a_stale_read_without_a_failover_near_it_is_a_violation_of_redis_too(run):
    ops, stale = with_stale_read(alone())
    far_s = (BEGAN_US + stale.done) / 1e6 + 60
    assert judged(run, ops, target="redis_cluster", failovers=[far_s]).verdict == "violation"


def history_of(run: RunFolder, session: str) -> Path:
    return run.path / "etcd" / "load" / session / "worker-0.history"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param(cut, "steady/worker-0.history is cut: ", id="its end is cut"),
        pytest.param(flipped, "is damaged, what follows is not read", id="a byte was changed"),
        pytest.param(Path.unlink, "session steady recorded no history", id="a session has none"),
    ],
)
def test_what_is_missing_makes_it_unknown_and_accuses_nobody(run, harm, told):
    record(run.path / "etcd", alone())
    harm(history_of(run, "steady"))
    kept = asked(run)
    assert kept.verdict == "unknown"
    assert any(told in gap.told for gap in kept.recorded.gaps), kept.recorded.gaps
    assert kept.level == ""
    assert {one.verdict for one in kept.checks} == {"unknown", "skipped"}


def test_what_is_missing_hides_no_violation_among_the_rest(run):
    ops, _ = with_stale_read(alone())
    record(run.path / "etcd", of_one_worker(ops))
    history_of(run, "capacity").unlink()
    kept = asked(run)
    assert kept.verdict == "violation"
    assert "a stale read" in kept.sentence


def recorded_with(run: RunFolder, **changed: object) -> Consistency:
    """The last block of the steady session says something else of itself."""
    record(run.path / "etcd", alone())
    blocks = list(read_history(history_of(run, "steady")))
    for name, value in changed.items():
        setattr(blocks[-1], name, value)
    history_of(run, "steady").unlink()
    write_history(run.path / "etcd" / "load" / "steady", {0: blocks})
    return asked(run)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"attempt": 1, "seq": 0}, "another engine went on"),
        ({"seq": 9}, "to 8 missing"),
        ({"dropped": 3, "dropped_keys": None}, "3 operations were over its bound"),
        ({"seed": 7}, "sessions sampled different keys"),
    ],
    ids=["an engine died", "a block is missing", "any keys", "other keys"],
)
def test_a_gap_is_told_and_nothing_is_ok_then(run, changed, told):
    kept = recorded_with(run, **changed)
    assert kept.verdict == "unknown"
    assert any(told in gap.told for gap in kept.recorded.gaps), kept.recorded.gaps


def test_keys_that_were_not_recorded_whole_are_as_good_as_not_sampled(run):
    kept = recorded_with(run, dropped=3, dropped_keys=(1, 2))
    assert kept.verdict == "ok"
    assert kept.recorded.gaps[0].keys == (1, 2)
    assert "2 of the keys were not recorded whole, nothing is said of them" in (
        kept.check("linearizable").sentence
    )
    assert recorded_with(run, dropped=9, dropped_keys=(0, 1, 2, 3)).verdict == "unknown"


def test_a_key_that_got_one_value_twice_is_not_judged(run):
    ops = alone()
    first = next(one for one in ops if one.is_write)
    again = replace(first, sent=end_of(ops) + 10, done=end_of(ops) + 20)
    kept = judged(run, [*ops, again], target="redis_cluster")
    assert kept.recorded.gaps[0].keys == (first.key,)
    assert "1 keys were given one value twice" in kept.recorded.gaps[0].told
    assert kept.verdict == "ok", "of the others"


def test_a_worker_whose_spool_has_no_end_may_have_done_more(run):
    record(run.path / "etcd", alone())
    outcome = run.path / "etcd" / "load" / "steady.json"
    told = json.loads(outcome.read_text())
    outcome.write_text(json.dumps({**told, "workers_missing": [0]}))
    kept = asked(run)
    assert kept.verdict == "unknown"
    assert "worker 0 never came to an end" in kept.sentence


# --- clocks ------------------------------------------------------------------------------------


def two_load_hosts(run: RunFolder) -> Testbed:
    testbed = run.read("testbed", Testbed)
    hosts = {**testbed.hosts, "l2": testbed.hosts["l1"].model_copy(update={"name": "l2"})}
    return testbed.model_copy(update={"hosts": hosts})


def read_at(**offsets_us: int) -> ClockComparison:
    readings = {
        host: ClockReading(offset_us=offset, bound_us=20, probes=12)
        for host, offset in offsets_us.items()
    }
    return ClockComparison(at_s=1.0, hosts=readings)


def test_the_bound_is_the_worst_of_all_comparisons_and_none_where_one_is_missing(run):
    testbed = two_load_hosts(run)
    near, far = read_at(l1=100, l2=130), read_at(l1=100, l2=300)
    around = SessionClocks(before=near, after=far)
    assert bound_us([SessionClocks(before=near, after=near)], testbed) == 70
    assert bound_us([around], testbed) == 240
    assert bound_us([around, SessionClocks(before=near)], testbed) is None
    assert bound_us([None], testbed) is None
    assert bound_us([SessionClocks(before=near, after=read_at(l1=1))], testbed) is None
    assert bound_us([None], run.read("testbed", Testbed)) == 0, "one host has one clock"


def test_without_known_clocks_only_what_one_host_saw_is_held_against_a_target(run):
    testbed = two_load_hosts(run)
    run.write("testbed", testbed)
    for session in ("capacity", "steady"):
        plan = run.path / "etcd" / "load" / session / "plan.json"
        plan.write_text(json.dumps({**json.loads(plan.read_text()), "workers": 2}))
    ops, stale = with_stale_read(sound(each=40))
    record(run.path / "etcd", ops)
    kept = asked(run)
    assert kept.recorded.bound_us is None
    assert kept.verdict == "unknown"
    assert "how far the clocks of the load hosts differ is not known" in kept.sentence
    at_home = [replace(one, worker=0) if one == stale else one for one in ops]
    for session in ("capacity", "steady"):
        for path in (run.path / "etcd" / "load" / session).glob("*.history"):
            path.unlink()
    record(run.path / "etcd", at_home)
    assert asked(run).verdict == "violation"


@pytest.mark.parametrize(("host", "word"), [("l1", "unknown"), ("d1", "violation")])
def test_where_a_load_hosts_clock_was_set_no_order_of_times_accuses_a_target(run, host, word):
    ops, stale = with_stale_read(alone())
    record(run.path / "etcd", of_one_worker(ops))
    at_s = (BEGAN_US + stale.done) / 1e6
    step = Event(at_s, at_s, host, "samples", CLOCK_SET, "window", "set 1 s back")
    kept = consistency_of(run, "etcd", run.read("etcd/numbers", Numbers), [step])
    assert kept.verdict == word
    if word == "unknown":
        assert "the clock of l1 was set meanwhile" in kept.sentence
        assert not any(check.violations for check in kept.checks if check.name == "linearizable")


# --- parts -------------------------------------------------------------------------------------


def test_a_history_in_parts_is_judged_as_it_is_in_one(run, monkeypatch):
    ops, _ = with_resurrected_value(alone(keys=30))
    whole = judged(run, ops, target="redis_cluster")
    monkeypatch.setattr(consistency_shards, "MOST_ROWS", 40)
    parts = asked(run, target="redis_cluster")
    assert consistency_shards.parts_for(10_000) > 5
    assert parts == whole
    assert not list((run.path / "redis_cluster").glob(".histories-*"))


def test_parts_hold_every_operation_once_and_a_key_is_in_one(tmp_path):
    rows = rows_of(sound(keys=20))
    with Shards(tmp_path, 4) as shards:
        for part in np.array_split(np.arange(len(rows)), 7):
            shards.feed(rows.taken(part))
        parts = list(shards.parts())
    assert sum(map(len, parts)) == len(rows)
    keys = [set(part.key.tolist()) for part in parts]
    assert set().union(*keys) == set(rows.key.tolist())
    assert sum(map(len, keys)) == len(set().union(*keys))
    back = Rows.joined(parts)
    assert sorted(zip(back.sent, back.value, back.outcome, strict=True)) == sorted(
        zip(rows.sent, rows.value, rows.outcome, strict=True)
    )


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["ok", "skipped"], "ok"),
        (["ok", "unknown"], "unknown"),
        (["ok", "unknown", "not_promised"], "not_promised"),
        (["not_promised", "violation", "unknown"], "violation"),
        (["skipped"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_worst_word_is_the_verdict_and_ok_needs_an_answer(words, verdict):
    checks = [Check(name=word, asks="?", verdict=word, sentence=word) for word in words]
    assert verdict_of(checks) == verdict


def test_many_gaps_are_as_few_as_say_the_same():
    many = [
        *[Missing(frozenset({1}), frozenset({key})) for key in range(100)],
        Missing(frozenset({2})),
        Missing(frozenset({3})),
    ]
    merged = Missing.merged(many)
    assert set(merged) == {
        Missing(frozenset({2, 3})),
        Missing(frozenset({1}), frozenset(range(100))),
    }
    assert Missing.merged([*many, Missing(None)]) == (Missing(None),)
    assert Missing.merged([]) == ()
