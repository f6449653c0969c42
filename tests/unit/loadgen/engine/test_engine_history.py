"""The block that an engine fills: what goes in, what a bound keeps out, when it is handed on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.contract.history import (
    ABSENT,
    FAILED,
    FOREIGN,
    OK,
    UNKNOWN,
    HistoryBlock,
    sampled_keys,
)
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.window import CAUSES
from loadgen.engine import history as module
from loadgen.engine.connection import MARK_SHIFT
from loadgen.engine.history import BLOCK_NS, History, history_seed
from loadgen.recorder import Clock

PLAN = Plan(
    run_id="r",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(2000, "/bench/"),
    phases=(Phase("steady", "open", 60, 100.0),),
    tls=None,
    history_share=0.5,
)
READ = 1 << MARK_SHIFT


def write(sequence: int) -> int:
    return sequence << MARK_SHIFT


@pytest.fixture
def blocks() -> list[HistoryBlock]:
    return []


@pytest.fixture
def history(blocks) -> History:
    made = History(PLAN, blocks.append, rank=3, attempt=1, clock=Clock())
    made.begin("steady", 0)
    return made


def test_the_sample_is_that_of_the_run_and_the_same_in_each_of_its_sessions():
    clock = Clock()
    of_steady = History(PLAN, print, rank=0, attempt=0, clock=clock).sampled
    other_session = replace(PLAN, session="knee-2", seed=7)
    assert History(other_session, print, rank=5, attempt=0, clock=clock).sampled == of_steady
    keys = set(sampled_keys(2000, 0.5, seed=history_seed("r")))
    assert of_steady == {key << 1 for key in keys} | {key << 1 | 1 for key in keys}
    assert 800 < len(keys) < 1200
    nothing = replace(PLAN, history_share=0.0)
    assert not History(nothing, print, rank=0, attempt=0, clock=clock).sampled


def test_of_a_key_space_without_end_few_keys_are_asked_about(monkeypatch):
    monkeypatch.setattr("loadgen.contract.history.MOST_CANDIDATES", 1000)
    keys = list(sampled_keys(10_000_000, 0.5, seed=1))
    assert 400 < len(keys) < 600
    assert max(keys) > 9_000_000


def test_every_way_an_operation_ends_has_its_row(history, blocks):
    history.read((10, 5, 6, READ), 9, 4, 3 * 10**14 + 8, 77)
    history.wrote((11, 5, 6, write(8)), 9, 4, 78)
    history.lost((10, 5, 6, READ), 9, 4, "failed", "missing")
    history.lost((10, 5, 6, READ), 9, 4, "failed", "corrupt")
    history.lost((10, 5, 6, READ), 9, 4, "failed", "busy")
    history.lost((11, 5, 6, write(9)), 9, 4, "unknown", "timeout")
    history.lost((11, 5, 6, write(10)), 9, 4, "failed", "read_only")
    history.flush(100)
    (block,) = blocks
    mine = 3 * 10**14
    assert list(block.value) == [mine + 8, mine + 8, ABSENT, FOREIGN, 0, mine + 9, mine + 10]
    assert list(block.outcome) == [OK, OK, OK, OK, FAILED, UNKNOWN, FAILED]
    causes = [block.causes[at] for at in block.cause]
    assert causes == ["", "", "missing", "corrupt", "busy", "timeout", "read_only"]
    assert list(block.kind) == [0, 1, 0, 0, 0, 1, 1]
    assert list(block.revision)[:2] == [77, 78]
    assert set(block.key) == {5} and set(block.process) == {4}
    times = (block.due_ns, block.sent_ns, block.done_ns)
    lasted = {(b - a, c - b) for a, b, c in zip(*times, strict=True)}
    assert lasted == {(1, 3)}
    assert (block.worker, block.attempt, block.phase, block.seq) == (3, 1, "steady", 0)
    assert set(block.causes) == {"", *CAUSES}


def test_a_redirected_operation_is_a_client_of_its_own(history, blocks):
    before = history.next_process()
    history.wrote((11, 5, 6, write(8) | 1), 9, before, 0)
    history.lost((11, 5, 6, write(9)), 9, 0, "failed", "timeout")
    history.flush(100)
    (block,) = blocks
    assert list(block.process) == [before + 1, before + 2]


def test_a_block_lasts_a_second_and_an_empty_one_is_not_written(history, blocks):
    history.close(0)
    history.wrote((11, 5, 6, write(8)), 9, 4, 0)
    history.close(BLOCK_NS - 1)
    assert not blocks
    history.close(BLOCK_NS)
    history.close(2 * BLOCK_NS)
    assert [len(block) for block in blocks] == [1]
    assert blocks[0].until_ns - blocks[0].from_ns == BLOCK_NS


def test_a_hot_key_leaves_room_for_the_others_and_is_named(history, blocks, monkeypatch):
    monkeypatch.setattr(module, "KEY_ROWS_PER_BLOCK", 5)
    for sequence in range(1, 11):
        history.wrote((11, 5, 6, write(sequence)), 9, 4, 0)
    history.wrote((13, 5, 6, write(20)), 9, 4, 0)
    history.flush(1)
    history.wrote((11, 5, 6, write(21)), 9, 4, 0)
    history.flush(2)
    first, second = blocks
    assert (list(first.key), first.dropped, first.dropped_keys) == ([5] * 5 + [6], 5, (5,))
    assert (len(second), second.dropped, second.dropped_keys) == (1, 0, ())
    assert history.told()["history"].startswith("7 operations on ")
    assert history.told()["history"].endswith("5 kept out")


def test_more_keys_than_can_be_named_are_not_named(history, blocks, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_BLOCK", 0)
    monkeypatch.setattr(module, "KEYS_NAMED", 3)
    for key in range(5):
        history.wrote((key << 1 | 1, 5, 6, write(key + 1)), 9, 4, 0)
    history.flush(1)
    (block,) = blocks
    assert (len(block), block.dropped, block.dropped_keys) == (0, 5, None)
