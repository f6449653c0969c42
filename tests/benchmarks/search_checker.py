"""How fast key-value histories are searched: 4,000 operations of 50 clients, right and spoilt.

    python -m tests.benchmarks.search_checker

The shape is that of Porcupine's c50 files: gets, puts and appends on ten keys. Spoilt ones have one
get that returned what its key held a while before.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import replace

from soakbed.histories.models import KeyValue
from soakbed.histories.operation import Operation
from soakbed.histories.search import Searched, search
from tests.unit.soakbed.histories.drawn import atomic

SEEDS = 20
OPERATIONS, CLIENTS, KEYS = 4000, 50, 10


def spoilt(operations: list[Operation], random_: random.Random) -> list[Operation]:
    """One get, late in its key, says what an earlier one of the same key said."""
    gets = [at for at, one in enumerate(operations) if one.action == "get"]
    late = random_.choice(gets[len(gets) // 2 :])
    before = [
        operations[at].result
        for at in gets
        if operations[at].key == operations[late].key
        and operations[at].finish < operations[late].start
        and operations[at].result != operations[late].result
    ]
    found = list(operations)
    found[late] = replace(found[late], result=before[len(before) // 2])
    return found


def told(name: str, found: list[Searched]) -> None:
    """Print what it took."""
    seconds = sorted(one.seconds for one in found)
    answers = sorted({one.answer for one in found})
    print(json.dumps({
        "histories": name, "count": len(found), "answers": answers,
        "median_s": round(seconds[len(seconds) // 2], 3), "most_s": round(seconds[-1], 3),
        "steps_per_operation": round(max(one.steps for one in found) / OPERATIONS, 1),
    }))  # fmt: skip


def main() -> int:
    """Search them all on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    right, wrong = [], []
    for seed in range(SEEDS):
        random_ = random.Random(seed)
        operations = atomic(KeyValue(), random_, operations=OPERATIONS, clients=CLIENTS, keys=KEYS)
        right.append(search(operations, KeyValue()))
        wrong.append(search(spoilt(operations, random_), KeyValue()))
    told("right", right)
    told("spoilt", wrong)
    return int({one.answer for one in right} != {"ok"} or "ok" in {one.answer for one in wrong})


if __name__ == "__main__":
    sys.exit(main())
