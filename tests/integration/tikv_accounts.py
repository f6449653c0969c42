"""What the double of TiKV counted, held against what an engine says of itself."""

from __future__ import annotations

from tests.integration.engine_runs import WITHIN_S, Spooled, assert_the_sum_is_right, until
from tests.tikv_double import Double
from tests.tikv_double.counters import APPLIED

READS, WRITES = ("RawGet", "RawBatchGet"), ("RawPut", "RawBatchPut")


def happened(double: Double, methods: tuple[str, ...], event: str) -> int:
    return sum(double.count(method, event) for method in methods)


def more_calls(double: Double, count: int, event: str = APPLIED, within_s=WITHIN_S) -> None:
    """Until the stores have had so many calls more."""
    wanted, what = happened(double, READS + WRITES, event) + count, f"{count} calls {event}"
    until(lambda: happened(double, READS + WRITES, event) >= wanted, what, within_s=within_s)


def refused(double: Double) -> int:
    """Requests that a store answered with a region error."""
    return sum(
        count
        for methods in double.counters().values()
        for events in methods.values()
        for event, count in events.items()
        if event.startswith("refused:")
    )


def assert_it_is_what_the_double_saw(spooled: Spooled, double: Double) -> None:
    """Every `ok` write was applied once, no `failed` one ever, and nothing twice."""
    assert_the_sum_is_right(spooled)
    written = double.writes()
    assert set(written.values()) <= {1}, "a write was applied twice"
    whole = spooled.whole()["write"]
    assert whole.ok <= len(written) <= whole.ok + whole.unknown
    if not whole.unknown:
        assert len(written) == whole.ok
