"""How fast zones are checked, at once and online, and how often all agrees with every order tried.

    python -m tests.benchmarks.zone_checker                  # speed: 10^6 and 10^7 operations
    python -m tests.benchmarks.zone_checker --online         # as a stream, second by second
    python -m tests.benchmarks.zone_checker --agree 100000   # random small histories, all levels

Each speed is measured in a process of its own, on one core, with its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter

import numpy as np

from soakbed.histories.levels import strongest
from soakbed.histories.online import OnlineZones
from soakbed.histories.register import INITIAL, OK, UNKNOWN, RegisterHistory
from soakbed.histories.zones import check_zones
from tests.oracle.levels import levels_of
from tests.oracle.registers import Operation, explained, history_of
from tests.unit.soakbed.histories.drawn_registers import history_by, lagging

SIZES = ((10**6, 1), (10**6, 1000), (10**7, 1000), (10**7, 100_000))
CLIENTS = 64


def correct(operations: int, keys: int, seed: int = 1) -> RegisterHistory:
    """What clients see of correct registers: each operation acts at a moment inside it."""
    random_ = np.random.default_rng(seed)
    acts = np.arange(operations, dtype=np.int64) * 20
    key = random_.integers(0, keys, operations)
    is_write = random_.random(operations) < 0.5
    order = np.lexsort((acts, key))
    value = np.where(is_write, np.arange(1, operations + 1), 0)[order]
    place = np.where(is_write[order], np.arange(operations), 0)
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    last = np.maximum.accumulate(np.maximum(place, 0))
    group = np.repeat(first, np.diff(first, append=operations))
    held = np.where(last >= group, value[last], INITIAL)
    held[(last < group)] = INITIAL
    told = np.empty(operations, dtype=np.int64)
    told[order] = held
    told[is_write] = np.flatnonzero(is_write) + 1
    half = 20 * CLIENTS // 2
    return RegisterHistory(
        key=key,
        value=told,
        start=acts - random_.integers(0, half, operations),
        finish=acts + random_.integers(0, half, operations),
        is_write=is_write,
        outcome=np.zeros(operations, dtype=np.uint8),
        process=np.array([], dtype=np.int64),
    )


def measure(operations: int, keys: int) -> None:
    """Check one history and print what it took."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    history = correct(operations, keys)
    before = time.perf_counter()
    verdict = check_zones(history)
    took_s = time.perf_counter() - before
    assert verdict.linearizable, verdict.witnesses[:2]
    stale = np.flatnonzero(~history.is_write & (history.value > INITIAL))[-1]
    history.value[stale] = history.value[~history.is_write & (history.value > INITIAL)][0]
    history.key[stale] = history.key[history.is_write][
        history.value[stale] == history.value[history.is_write]
    ][0]
    before = time.perf_counter()
    violated = check_zones(history)
    stale_s = time.perf_counter() - before
    assert not violated.linearizable
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = {"operations": operations, "keys": keys, "seconds": round(took_s, 3)}
    print(
        json.dumps(told | {"stale_read_found_s": round(stale_s, 3), "peak_mb": round(peak / 1e6)})
    )


def stream(operations: int, keys: int, per_second: int) -> None:
    """Feed one history as it comes, a second at a time, unknown writes and late rows among it."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    history = correct(operations, keys)
    unknown = np.random.default_rng(2).random(operations) < 0.001
    history.outcome[unknown & history.is_write] = UNKNOWN
    longest = int((history.finish - history.start).max())
    # A block of a worker may come a second late: whatever finished in it is told of in the next.
    late = np.random.default_rng(3).random(operations) < 0.1
    told_of = history.finish // (20 * per_second) + late
    rows = np.argsort(told_of, kind="stable")
    history, told_of = history.only(rows), told_of[rows]
    batches = np.split(np.arange(operations), np.flatnonzero(np.diff(told_of)) + 1)
    online, took, kept = OnlineZones(longest), [], []
    for batch in batches:
        part = history.only(batch)
        until = int(told_of[batch[0]]) * 20 * per_second
        before = time.perf_counter()
        assert online.feed(part, until=until) == []
        took.append(time.perf_counter() - before)
        kept.append(len(online))
    last = int(history.finish.max())
    value = int(history.value[history.is_write & (history.outcome == OK)][0])
    key = int(history.key[history.is_write & (history.value == value)][0])
    stale = history_of([Operation(key, value, last + 1, last + 2, False)])
    found = online.feed(stale, until=last + 2 + longest)
    assert [one.key for one in found] == [key], found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = time.perf_counter()
    assert check_zones(history).linearizable
    batch_s = time.perf_counter() - before
    told = {"operations": operations, "keys": keys, "at_once_per_s": round(operations / batch_s)}
    told |= {"online_per_s": round(operations / sum(took)), "fed_at_most_s": round(max(took), 3)}
    told |= {"kept_first": max(kept[: len(kept) // 2]), "kept_last": max(kept[len(kept) // 2 :])}
    print(json.dumps(told | {"per_second": per_second, "peak_mb": round(peak / 1e6)}))


def drawn(random_: random.Random) -> list[Operation]:
    """A small history, of which about half can be explained."""
    found = []
    writes = random_.randint(0, 4)
    for value in range(1, writes + 1):
        start = random_.randint(0, 12)
        outcome = random_.choice((OK, OK, OK, UNKNOWN))
        found.append(Operation(0, value, start, start + random_.randint(0, 6), True, outcome))
    for _ in range(random_.randint(1, 5)):
        start = random_.randint(0, 14)
        value = random_.randint(0, writes)
        found.append(Operation(0, value, start, start + random_.randint(0, 6), False, OK))
    return found


def agree(histories: int) -> int:
    """Compare with every order tried; how many were not the same."""
    random_ = random.Random(20261124)
    differ = right = 0
    for _ in range(histories):
        operations = drawn(random_)
        told = explained(operations)
        right += told
        differ += check_zones(history_of(operations)).linearizable != told
    print(f"{histories - differ:,} of {histories:,} the same; {right:,} can be explained")
    return differ


def agree_on_levels(histories: int) -> int:
    """Compare every level with its definition; how many histories were not the same."""
    differ = 0
    seen: Counter[str] = Counter()
    for seed in range(histories):
        operations = (history_by, lagging)[seed % 2](random.Random(seed))
        found = strongest(history_of(operations))
        seen[found.strongest] += 1
        told = {one.name: one.answer == "ok" for one in found.tested}
        open_ = any(one.answer == "unknown" for one in found.tested)
        differ += open_ or told != levels_of(operations)
    print(f"{histories - differ:,} of {histories:,} the same at every level: {dict(seen)}")
    return differ


def main() -> int:
    """Speed, or agreement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--agree", type=int, default=0, metavar="N", help="compare N small histories"
    )
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--online", action="store_true", help="a stream, second by second")
    asked = parser.parse_args()
    if asked.agree:
        return int(agree(asked.agree) + agree_on_levels(asked.agree) > 0)
    if asked.online:
        for keys in (100, 10_000):
            for per_second in (50_000, 500_000):
                stream(4_000_000, keys, per_second)
        return 0
    if asked.one:
        measure(*asked.one)
        return 0
    for operations, keys in SIZES:
        command = [sys.executable, "-m", "tests.benchmarks.zone_checker"]
        subprocess.run([*command, "--one", str(operations), str(keys)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
