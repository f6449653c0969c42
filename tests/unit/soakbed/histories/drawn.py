"""Histories that an atomic object made, and small ones of which half are spoilt."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import strategies as st

from soakbed.histories.models import IMPOSSIBLE, MODELS, Bank, Model
from soakbed.histories.operation import FAILED, UNKNOWN, Operation

__all__ = ["a_model", "asked", "atomic", "small"]

ACCOUNTS = {"a": 4, "b": 2, "c": 0}


def a_model(name: str) -> Model:
    """The model of that name; a bank with three accounts."""
    return Bank(ACCOUNTS) if name == "bank" else MODELS[name]()


def asked(model: Model, random_: random.Random, number: int) -> tuple[str, object]:
    """An action and its argument."""
    action = random_.choice(sorted(model.actions))
    if action == "cas":
        return action, (random_.randint(0, 2), random_.randint(0, 2))
    if action == "transfer":
        source, target = random_.sample(sorted(ACCOUNTS), 2)
        return action, (source, target, random_.randint(1, 5))
    if action in ("read", "get"):
        return action, None
    if model.name == "kv":
        return action, f"{number} "
    # Registers write a value more than once: the zones could not check them.
    return action, random_.randint(0, 2) if model.name != "counter" else random_.randint(-2, 2)


def answered(model: Model, state: object, action: str, argument: object) -> object:
    """What an atomic object says in `state`."""
    if action in ("read", "get"):
        return dict(state) if model.name == "bank" else state
    if action in ("cas", "transfer"):
        told = Operation(0, action, "x", argument, True, 0, 0)
        return model.step(state, told) is not IMPOSSIBLE
    return None


def atomic(
    model: Model,
    random_: random.Random,
    *,
    operations: int,
    clients: int,
    keys: int = 1,
    unknown: float = 0.0,
    lasts: int = 0,
) -> list[Operation]:
    """What `clients` saw of objects each of whose operations acts at one moment inside it.

    `lasts`: how long an operation lasts at most; by default as long as all clients need for one.
    """
    states = dict.fromkeys(range(keys), model.initial())
    found, free = [], [0] * clients
    for number in range(operations):
        process = min(range(clients), key=free.__getitem__)
        start = free[process]
        key, (action, argument) = random_.randrange(keys), asked(model, random_, number)
        found.append([start, process, key, action, argument])
        free[process] = start + random_.randint(1, lasts or 2 * clients)
    ends = _ends(found, free, random_)
    moments = sorted((random_.randint(found[at][0], ends[at]), at) for at in range(operations))
    told: list[Operation] = []
    for _, at in moments:
        start, process, key, action, argument = found[at]
        result = answered(model, states[key], action, argument)
        one = Operation(process, action, key, argument, result, start, ends[at])
        after = model.step(states[key], one)
        assert after is not IMPOSSIBLE
        if random_.random() < unknown:
            # Whoever does not know does not know the result either; half of them took effect.
            if random_.random() < 0.5:
                states[key] = after
            told.append(replace(one, result=None, outcome=UNKNOWN))
            continue
        states[key] = after
        told.append(one)
    return told


def _ends(found: list[list], free: list[int], random_: random.Random) -> dict[int, int]:
    """When each operation ended: before the next of its client began."""
    ends = {}
    for at, (start, process, *_) in reversed(list(enumerate(found))):
        ends[at] = random_.randint(start, max(start, free[process] - 1))
        free[process] = start
    return ends


@st.composite
def small(draw, name):
    """Up to seven operations, of which one result in two histories is another's."""
    model = a_model(name)
    random_ = random.Random(draw(st.integers(0, 2**32)))
    count, clients = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    found = atomic(model, random_, operations=count, clients=clients, unknown=0.2, lasts=4)
    if draw(st.booleans()):
        reads = [at for at, one in enumerate(found) if one.action in ("read", "get", "cas")]
        if len(reads) > 1:
            a, b = draw(st.sampled_from(reads)), draw(st.sampled_from(reads))
            if found[a].action == found[b].action:
                found[a] = replace(found[a], result=found[b].result)
    if draw(st.booleans()):
        at = draw(st.integers(0, count - 1))
        found[at] = replace(found[at], outcome=FAILED)
    return found
