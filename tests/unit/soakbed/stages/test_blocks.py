"""Stretches of a phase are the same from tables and from spools, and whole ones alone."""

from __future__ import annotations

import numpy as np
import pytest

from soakbed.archive.data.collate import collate
from soakbed.stages.blocks import phase_blocks
from tests.golden.variants import variant


@pytest.fixture
def target(tmp_path):
    return variant(tmp_path / "run") / "etcd"


@pytest.mark.parametrize(("phase", "block_s"), [("capacity", 1), ("steady", 1), ("steady", 3)])
def test_tables_and_spools_give_the_same_blocks(target, phase, block_s):
    spools = phase_blocks(target, phase, phase, block_s=block_s)
    collate(target)
    tables = phase_blocks(target, phase, phase, block_s=block_s)
    assert len(spools.at_s) >= 2
    assert np.array_equal(spools.at_s, tables.at_s)
    assert np.array_equal(spools.ok_per_s, tables.ok_per_s)
    assert spools.counts.keys() == tables.counts.keys()
    for key, packed in spools.counts.items():
        assert np.array_equal(packed.dense(), tables.counts[key].dense())


def test_a_block_that_the_phase_does_not_fill_is_left_out(target):
    seconds = phase_blocks(target, "steady", "steady", block_s=1)
    blocks = phase_blocks(target, "steady", "steady", block_s=5)
    assert len(seconds.at_s) == 12 and len(blocks.at_s) == 1
    assert blocks.counts["read", "response"].counts.sum() < seconds.ok_per_s.sum()


def test_a_phase_that_never_ran_has_no_blocks(target):
    for _ in range(2):
        found = phase_blocks(target, "steady", "soak", block_s=1)
        assert len(found.at_s) == len(found.ok_per_s) == 0 and not found.counts
        collate(target)


def test_percentiles_of_blocks_are_told_only_where_they_carry(target):
    held = phase_blocks(target, "steady", "steady", block_s=1).counts["read", "response"]
    medians = held.percentiles_us(50.0, least=20)
    assert ((medians > 2900) & (medians < 3300)).all()
    assert np.isnan(held.percentiles_us(99.0, least=10**9)).all()
