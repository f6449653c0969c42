"""Connections shared out to lanes by what each lane serves, and moved when that changes.

For targets where a key has one member: Redis Cluster (slots of a master), TiKV (regions led).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from loadgen.engine.connection import Lane

__all__ = ["deal_again", "move_idle", "rebalance", "shares"]


def shares(held: dict[Lane, int], connections: int) -> dict[Lane, int]:
    """`connections` split by what is held, largest remainder first, at least one where any."""
    total = sum(held.values())
    exact = {lane: connections * count / total for lane, count in held.items()}
    made = {lane: max(int(share), held[lane] > 0) for lane, share in exact.items()}
    by_remainder = sorted(exact, key=lambda lane: made[lane] - exact[lane])
    spare = connections - sum(made.values())
    for lane in by_remainder[: max(0, spare)]:
        made[lane] += 1
    while spare < 0:
        richest = max(made, key=lambda lane: made[lane])
        made[richest] -= 1
        spare += 1
    return made


def rebalance(lanes: Sequence[Lane], wanted: dict[Lane, int]) -> None:
    """Mark connections of lanes that have too many for those that have too few.

    They move when nothing is in flight on them (`move_idle`).
    """
    needy = []
    for lane, count in wanted.items():
        coming = sum(c.leaving is lane for one in lanes for c in one.connections)
        staying = sum(c.leaving is None for c in lane.connections)
        needy += [lane] * (count - staying - coming)
    for lane in lanes:
        here = [c for c in lane.connections if c.leaving is None]
        here.sort(key=lambda c: c.state)  # those that are not up go first
        for connection in here[: max(0, len(here) - wanted[lane])]:
            if needy:
                connection.leaving = needy.pop()


def move_idle(lanes: Iterable[Lane]) -> None:
    """Move the connections that are to leave and have nothing in flight."""
    for lane in tuple(lanes):
        for connection in tuple(lane.connections):
            if connection.leaving is not None and not connection.oldest_sent_ns():
                connection.moved_to(connection.leaving)


def deal_again(lanes: Iterable[Lane], lane_of: Callable[[int], Lane]) -> None:
    """Requests that wait in a lane which does not serve them any more go to the one that does."""
    for lane in tuple(lanes):
        overdue, lane.overdue = lane.overdue, type(lane.overdue)()
        codes, lane.codes = lane.codes, type(lane.codes)()
        for code, due in overdue:
            lane_of(code).overdue.append((code, due))
        for code in codes:
            lane_of(code).codes.append(code)
