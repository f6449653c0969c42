"""What is wrong with a plan is said before anything is sent, with key, value and remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.contract.plan import Auth, Keyspace, Phase, Plan
from loadgen.engine.plan_check import problems_of

GOOD = Plan(
    "r", "capacity", "tikv", ("10.0.0.1:2479",), Keyspace(100, "bench:"),
    (Phase("capacity", "closed", 1),), None,
)  # fmt: skip


@pytest.mark.parametrize("target", ["etcd", "redis_cluster", "tikv"])
def test_every_target_can_be_pressed(target):
    assert problems_of(replace(GOOD, target=target), rank=0) == []


@pytest.mark.parametrize(
    "changes", [{"batch": 512}, {"batched_stream": True}, {"pipeline": 8, "batch": 2}]
)
@pytest.mark.parametrize("other", ["etcd", "redis_cluster"])
def test_batches_and_the_stream_are_tikvs_alone(changes, other):
    assert problems_of(replace(GOOD, **changes), rank=0) == []
    (problem,) = problems_of(replace(GOOD, target=other, **changes), rank=0)
    assert problem.partition(":")[0] in changes


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"target": "mysql"}, "target"),
        ({"batch": 0}, "batch"),
        ({"batch": 513}, "batch"),
        ({"batch": 2, "batched_stream": True}, "batch"),
        ({"auth": Auth("bench", "/dev/null")}, "auth"),
        ({"endpoints": ("d1",)}, "endpoints[0]"),
    ],
)
def test_each_problem_names_its_key_and_a_remedy(changes, key):
    problems = problems_of(replace(GOOD, **changes), rank=0)
    assert problems[0].partition(":")[0] == key
    assert all("use" in one or "leave" in one or "write" in one or "correct" in one
               for one in problems)  # fmt: skip
