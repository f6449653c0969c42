"""A store of registers that is correct, or errs at known points; clients that press it at random.

Every operation acts at one moment inside its interval. A fault is planted only where a client
looks at it, in real time and alone, so that no order can explain what it saw: by construction, not
by the checker that is put to the test.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from soakbed.histories.register import INITIAL, OK, UNKNOWN
from tests.oracle.registers import Operation

__all__ = ["FAULTS", "Store", "pressed"]

FAULTS = ("stale_read", "lost_write", "reordered_writes", "split_brain", "applied_twice")


@dataclass
class Store:
    """What each key holds, and every version it held before."""

    held: dict[int, int] = field(default_factory=dict)
    versions: dict[int, list[int]] = field(default_factory=dict)

    def write(self, key: int, value: int) -> None:
        """It is there at once."""
        self.versions.setdefault(key, [INITIAL]).append(self.held.get(key, INITIAL))
        self.held[key] = value

    def read(self, key: int) -> int:
        """What was written last."""
        return self.held.get(key, INITIAL)


class _Clients:
    """Clients, each with one operation at a time; moments are unique integers."""

    def __init__(self, random_: random.Random, clients: int, keys: int) -> None:
        self.random, self.clients, self.keys = random_, clients, keys
        self.store, self.now, self.value = Store(), 0, 0
        self.found: list[Operation] = []

    def tick(self) -> int:
        self.now += 1
        return self.now

    def fresh(self) -> int:
        self.value += 1
        return self.value

    def storm(self, operations: int) -> None:
        """Concurrent operations: begins, deeds and ends of all clients, shuffled."""
        left, busy = operations, {}
        while left or busy:
            process = self.random.randrange(self.clients)
            if process not in busy:
                if left:
                    left -= 1
                    busy[process] = self._begun()
                continue
            self._goes_on(process, busy)

    def _begun(self) -> dict:
        is_write = self.random.random() < 0.5
        value = self.fresh() if is_write else None
        key = self.random.randrange(self.keys)
        unknown = is_write and self.random.random() < 0.02
        # Half of the writes that nobody heard of again were lost.
        return {"key": key, "is_write": is_write, "value": value, "start": self.tick(),
                "unknown": unknown, "lost": unknown and self.random.random() < 0.5,
                "done": False}  # fmt: skip

    def _goes_on(self, process: int, busy: dict[int, dict]) -> None:
        one = busy[process]
        if not one["done"]:
            one["done"] = True
            self.tick()
            if not one["is_write"]:
                one["value"] = self.store.read(one["key"])
            elif not one["lost"]:
                self.store.write(one["key"], one["value"])
            return
        del busy[process]
        outcome = UNKNOWN if one["unknown"] else OK
        span = (one["start"], self.tick())
        self.found.append(
            Operation(one["key"], one["value"], *span, one["is_write"], outcome, process)
        )

    def wrote(self, key: int, *, applies: bool = True, process: int | None = None) -> int:
        """One write, alone in time."""
        value, start = self.fresh(), self.tick()
        if applies:
            self.store.write(key, value)
        self._alone(key, value, start, is_write=True, process=process)
        return value

    def read(self, key: int, value: int | None = None, *, process: int | None = None) -> int:
        """One read, alone in time, of what is there or of `value`."""
        told = self.store.read(key) if value is None else value
        self._alone(key, told, self.tick(), is_write=False, process=process)
        return told

    def _alone(
        self, key: int, value: int, start: int, *, is_write: bool, process: int | None
    ) -> None:
        by = self.random.randrange(self.clients) if process is None else process
        self.found.append(Operation(key, value, start, self.tick(), is_write, OK, by))


def pressed(
    seed: int, fault: str | None, *, operations: int = 120, clients: int = 5, keys: int = 3
) -> tuple[list[Operation], int]:
    """What clients saw, in random order, and the key on which the store erred, if it did.

    Without a fault the same operations are done, and the store is right each time.
    """
    random_ = random.Random(seed)
    clients_ = _Clients(random_, clients, keys)
    key = random_.randrange(keys)
    before = random_.randrange(operations)
    clients_.storm(before)
    _PLANTS[random_.choice(FAULTS) if fault is None else fault](clients_, key, fault is not None)
    clients_.storm(operations - before)
    random_.shuffle(clients_.found)
    return clients_.found, key


def _stale_read(clients: _Clients, key: int, errs: bool) -> None:
    """A replica that lags answers: the last write but one, long after the last."""
    old = clients.wrote(key)
    clients.wrote(key)
    clients.read(key, old if errs else None)


def _lost_write(clients: _Clients, key: int, errs: bool) -> None:
    """A write is acknowledged and never applied."""
    clients.wrote(key)
    clients.wrote(key, applies=not errs)
    clients.read(key)


def _reordered_writes(clients: _Clients, key: int, errs: bool) -> None:
    """Two writes, one after the other, are applied the other way round."""
    first = clients.wrote(key, applies=not errs)
    clients.wrote(key)
    if errs:
        clients.store.write(key, first)
    clients.read(key)


def _split_brain(clients: _Clients, key: int, errs: bool) -> None:
    """Two masters: each acknowledges a write and reads it back; one of them is believed later."""
    one = clients.wrote(key, process=0)
    two = clients.wrote(key, process=1)
    clients.read(key, one if errs else None, process=0)
    clients.read(key, two if errs else None, process=1)


def _applied_twice(clients: _Clients, key: int, errs: bool) -> None:
    """A write is sent again by what lies between, and applied once more after a later one."""
    first = clients.wrote(key)
    clients.read(key)
    clients.wrote(key)
    clients.read(key)
    if errs:
        clients.store.write(key, first)
    clients.read(key)


_PLANTS = dict(
    zip(
        FAULTS,
        (_stale_read, _lost_write, _reordered_writes, _split_brain, _applied_twice),
        strict=True,
    )
)
