"""Stretches of a phase are whole ones alone, and percentiles are told only where they carry."""

from __future__ import annotations

import numpy as np
import pytest

from soakbed.stages.blocks import phase_blocks
from tests.golden.variants import variant


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return variant(tmp_path_factory.mktemp("blocks") / "run") / "etcd"


def test_a_block_that_the_phase_does_not_fill_is_left_out(target):
    seconds = phase_blocks(target, "steady", "steady", block_s=1)
    blocks = phase_blocks(target, "steady", "steady", block_s=5)
    assert len(seconds.at_s) == 12 and len(blocks.at_s) == 1
    response = seconds.counts["read", "response"].counts, seconds.counts["write", "response"].counts
    assert sum(one.sum() for one in response) == seconds.ok_per_s.sum()
    assert blocks.counts["read", "response"].counts.sum() < response[0].sum()


def test_a_phase_that_never_ran_has_no_blocks(target):
    found = phase_blocks(target, "steady", "soak", block_s=1)
    assert len(found.at_s) == len(found.ok_per_s) == 0 and not found.counts


def test_percentiles_of_blocks_are_told_only_where_they_carry(target):
    held = phase_blocks(target, "steady", "steady", block_s=1).counts["read", "response"]
    medians = held.percentiles_us(50.0, least=20)
    assert ((medians > 2900) & (medians < 3300)).all()
    assert np.isnan(held.percentiles_us(99.0, least=10**9)).all()
