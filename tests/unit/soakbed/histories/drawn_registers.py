"""Small histories of registers with processes, some of them pipelined, of every level."""

from __future__ import annotations

import random

from soakbed.histories.register import FAILED, INITIAL, OK, UNKNOWN
from tests.oracle.registers import Operation

__all__ = ["history_by", "lagging"]


def history_by(random_: random.Random) -> list[Operation]:
    """Up to ten operations of up to four processes on up to three keys.

    Reads mostly return what an order of their processes' own gave, which real time need not keep;
    some return anything that was written.
    """
    keys, processes = random_.randint(1, 3), random_.randint(1, 4)
    pipelined = random_.random() < 0.2
    plans = [
        [(random_.randrange(keys), random_.random() < 0.5) for _ in range(random_.randint(1, 4))]
        for _ in range(processes)
    ]
    moments = _moments(random_, plans, pipelined=pipelined)
    held = dict.fromkeys(range(keys), INITIAL)
    found: list[Operation] = []
    written: list[tuple[int, int]] = []
    left = [list(range(len(plan))) for plan in plans]
    spoilt = random_.random() < 0.6
    while any(left):
        process = random_.choice([at for at, rest in enumerate(left) if rest])
        number = left[process].pop(0)
        key, is_write = plans[process][number]
        start, finish = moments[process][number]
        if not is_write:
            value = held[key]
            if spoilt and random_.random() < 0.3:
                value = random_.choice([INITIAL, *(old for of, old in written if of == key)])
            found.append(Operation(key, value, start, finish, False, OK, process))
            continue
        outcome = random_.choices((OK, UNKNOWN, FAILED), (18, 3, 1))[0]
        value = len(written) + 1
        written.append((key, value))
        if outcome == OK or (outcome == UNKNOWN and random_.random() < 0.7):
            held[key] = value
        found.append(Operation(key, value, start, finish, True, outcome, process))
    if spoilt and written and random_.random() < 0.2:
        _foresee(random_, found, written)
    random_.shuffle(found)
    return found


def _foresee(
    random_: random.Random, found: list[Operation], written: list[tuple[int, int]]
) -> None:
    """A read may also return what is written later."""
    at = random_.randrange(len(found))
    one = found[at]
    if not one.is_write:
        key, value = random_.choice(written)
        found[at] = Operation(key, value, one.start, one.finish, False, OK, one.process)


def _moments(
    random_: random.Random, plans: list[list[tuple[int, bool]]], *, pipelined: bool
) -> list[list[tuple[int, int]]]:
    """When each operation of each process started and finished; pipelined ones overlap."""
    found = []
    for plan in plans:
        at, spans = random_.randint(0, 8), []
        for _ in plan:
            lasts = random_.randint(0, 6)
            spans.append((at, at + lasts))
            at += random_.randint(0, 4) if pipelined else lasts + random_.randint(1, 3)
        found.append(spans)
    return found


def lagging(random_: random.Random) -> list[Operation]:
    """Up to fourteen operations, key by key in order: each process sees each key's versions one
    after the other, but as late as it likes. Together they often are in no order.
    """
    keys, processes = random_.randint(2, 3), random_.randint(2, 4)
    versions: list[list[int]] = [[INITIAL] for _ in range(keys)]
    seen = {(process, key): 0 for process in range(processes) for key in range(keys)}
    at = [random_.randint(0, 3) for _ in range(processes)]
    found: list[Operation] = []
    for number in range(1, random_.randint(5, 14)):
        process, key = random_.randrange(processes), random_.randrange(keys)
        start = at[process]
        finish = start + random_.randint(0, 5)
        at[process] = finish + random_.randint(1, 3)
        if random_.random() < 0.5:
            outcome = random_.choices((OK, UNKNOWN), (9, 1))[0]
            versions[key].append(number)
            seen[process, key] = len(versions[key]) - 1
            found.append(Operation(key, number, start, finish, True, outcome, process))
            continue
        place = random_.randint(seen[process, key], len(versions[key]) - 1)
        seen[process, key] = place
        found.append(Operation(key, versions[key][place], start, finish, False, OK, process))
    return found
