"""From an engine's windows to Locust's statistics, without losing or doubling an operation.

A worker follows its engine's spool and keeps running totals per phase and operation; each report
carries the whole totals, and the master adds the difference to what it has of that worker. So a
lost report, a report sent twice and a restarted master all heal with the next report, and the
cost is one of buckets, not of requests. Pure data: nothing here knows Locust.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.contract.histogram import bucket_high_us, bucket_low_us

__all__ = ["MasterTotals", "Tally", "WorkerTotals", "write_small"]

# Locust draws the requests per second of the last 12 s and keeps one count per second for ever;
# over 72 h that is 27 MB per entry (measured with Locust 2.47). We keep one minute.
KEPT_SECONDS = 60

SAVED_SCHEMA = 1


@dataclass(slots=True)
class Tally:
    """What Locust must know of one operation in one phase, summed over windows.

    `buckets` counts the response times of `ok` operations by histogram bucket.
    """

    phase: str
    operation: str
    requests: int = 0  # ended: ok + failed + unknown
    failures: int = 0  # failed + unknown
    sum_us: int = 0
    max_us: int = 0
    last_s: int = 0  # end of the newest window, unix time
    causes: dict[str, int] = field(default_factory=dict)
    buckets: dict[int, int] = field(default_factory=dict)
    requests_per_s: dict[int, int] = field(default_factory=dict)
    failures_per_s: dict[int, int] = field(default_factory=dict)

    def take(self, seen: Mapping[str, Any], *, start_s: int, length_s: int) -> None:
        """Add one operation of one window, as spooled."""
        failures = seen["failed"] + seen["unknown"]
        requests = seen["ok"] + failures
        response = seen["response"]
        self.requests += requests
        self.failures += failures
        self.sum_us += response["sum_us"]
        self.max_us = max(self.max_us, response["max_us"])
        self.last_s = max(self.last_s, start_s + length_s)
        _count_all(self.causes, seen["causes"])
        _count_all(self.buckets, dict(zip(response["buckets"], response["counts"], strict=True)))
        _count_all(self.requests_per_s, _spread(requests, start_s, length_s))
        _count_all(self.failures_per_s, _spread(failures, start_s, length_s))
        _keep_newest(self.requests_per_s)
        _keep_newest(self.failures_per_s)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the wire (msgpack keeps whole-number keys)."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        """Read plain data back, from JSON too, which knows no whole numbers as keys."""
        values = dict(data)
        for name in ("buckets", "requests_per_s", "failures_per_s"):
            values[name] = {int(key): count for key, count in values[name].items()}
        return cls(**values)

    def since(self, before: Tally | None) -> Tally:
        """What came on top of `before`; extremes and times stay those of the whole."""
        if before is None:
            return self
        return Tally(
            phase=self.phase,
            operation=self.operation,
            requests=self.requests - before.requests,
            failures=self.failures - before.failures,
            sum_us=self.sum_us - before.sum_us,
            max_us=self.max_us,
            last_s=self.last_s,
            causes=_added(self.causes, before.causes),
            buckets=_added(self.buckets, before.buckets),
            requests_per_s=_added(self.requests_per_s, before.requests_per_s),
            failures_per_s=_added(self.failures_per_s, before.failures_per_s),
        )

    def to_locust(self, *, name: str, method: str) -> dict[str, Any]:
        """The tally as Locust's StatsEntryDict; milliseconds with three decimals as keys.

        Operations that did not end `ok` have no response time: Locust's "none" requests, which
        its percentiles leave out as ours do.
        """
        lowest_us = bucket_low_us(min(self.buckets)) if self.buckets else None
        return {
            "name": name,
            "method": method,
            "last_request_timestamp": float(self.last_s),
            "start_time": float(min(self.requests_per_s, default=self.last_s)),
            "num_requests": self.requests,
            "num_none_requests": self.failures,
            "num_failures": self.failures,
            "total_response_time": self.sum_us / 1000,
            "max_response_time": self.max_us / 1000,
            "min_response_time": None if lowest_us is None else lowest_us / 1000,
            "total_content_length": 0,
            "response_times": {bucket_high_us(i) / 1000: n for i, n in self.buckets.items()},
            "num_reqs_per_sec": dict(self.requests_per_s),
            "num_fail_per_sec": dict(self.failures_per_s),
        }


class WorkerTotals:
    """Everything one engine has reported so far, as the worker passes it on."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.windows = 0
        self.outcome = ""  # of the session end frame; "" until it came, "lost" if it never did

    @property
    def requests(self) -> int:
        """Operations ended so far, all phases."""
        return sum(tally.requests for tally in self.tallies.values())

    def take(self, record: Mapping[str, Any]) -> None:
        """Add one frame of the spool."""
        if record["kind"] == "end":
            self.outcome = record["outcome"]
        if record["kind"] != "window":
            return
        self.windows += 1
        for operation, seen in record["operations"].items():
            key = (record["phase"], operation)
            tally = self.tallies.setdefault(key, Tally(*key))
            tally.take(seen, start_s=record["start_s"], length_s=record["length_s"])

    def save(self, path: Path, after_hour: int) -> None:
        """Leave the totals of all windows up to the end of an hour, as `parts` numbers them."""
        write_small(path, {"schema": SAVED_SCHEMA, "after_hour": after_hour} | self.to_json())

    @classmethod
    def restored(cls, path: Path, rank: int) -> tuple[WorkerTotals, int]:
        """What an earlier worker saved, and up to which hour; nothing and -1 where it did not."""
        made = cls(rank)
        try:
            saved = json.loads(path.read_text())
            tallies = [Tally.from_json(data) for data in saved["tallies"]]
            if saved["schema"] != SAVED_SCHEMA:
                return made, -1
            made.windows, after_hour = int(saved["windows"]), int(saved["after_hour"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(rank), -1  # as if it had read nothing: the spools hold it all
        made.tallies = {(one.phase, one.operation): one for one in tallies}
        return made, after_hour

    def to_json(self) -> dict[str, Any]:
        """The report to the master: whole totals, so that any later one replaces it."""
        return {
            "rank": self.rank,
            "windows": self.windows,
            "outcome": self.outcome,
            "tallies": [tally.to_json() for tally in self.tallies.values() if tally.requests],
        }


class MasterTotals:
    """What the master has of every worker; says what a report adds."""

    def __init__(self) -> None:
        self._windows: dict[int, int] = {}
        self._tallies: dict[int, dict[tuple[str, str], Tally]] = {}
        self.outcomes: dict[int, str] = {}

    def merge(self, report: Mapping[str, Any]) -> list[Tally]:
        """Take one worker's report; give back what is new in it, empty when nothing is.

        A report older than one already taken adds nothing.
        """
        rank = report["rank"]
        if report["windows"] < self._windows.get(rank, 0):
            return []
        self._windows[rank] = report["windows"]
        self.outcomes[rank] = report["outcome"] or self.outcomes.get(rank, "")
        known = self._tallies.setdefault(rank, {})
        new = []
        for data in report["tallies"]:
            tally = Tally(**data)
            key = (tally.phase, tally.operation)
            before = known.get(key)
            if before is None or tally.requests > before.requests:
                new.append(tally.since(before))
                known[key] = tally
        return new

    def complete(self, ranks: frozenset[int]) -> bool:
        """Whether every one of `ranks` has reported its end."""
        return all(self.outcomes.get(rank) for rank in ranks)


def write_small(path: Path, data: Mapping[str, Any]) -> str:
    """A small file for others to read, whole or as it was; why it was not written, "" if it was.

    A full disk costs the file, and no more.
    """
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(data) + "\n")
        fresh.replace(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _spread(count: int, start_s: int, length_s: int) -> dict[int, int]:
    """`count` over the seconds of a window, as evenly as whole numbers go."""
    share, rest = divmod(count, length_s)
    return {start_s + i: share + (i < rest) for i in range(length_s) if share + (i < rest)}


def _count_all(into: dict[Any, int], more: Mapping[Any, int]) -> None:
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def _added(now: Mapping[Any, int], before: Mapping[Any, int]) -> dict[Any, int]:
    return {key: n - before.get(key, 0) for key, n in now.items() if n > before.get(key, 0)}


def _keep_newest(per_s: dict[int, int]) -> None:
    for second in sorted(per_s)[:-KEPT_SECONDS]:
        del per_s[second]
