"""The Locust master's side: add the workers' totals to Locust's statistics, end when all ended.

It is disposable: it holds nothing that the engines need, and a new one gets everything again
with the next report of each worker (design.md D9).
"""

from __future__ import annotations

import logging
from typing import Any

import gevent
from locust.env import Environment
from locust.stats import StatsEntry, StatsError

from loadgen.locust_tuning import plan_seconds
from loadgen.locust_worker import MERGED, REPORT
from loadgen.relay import KEPT_SECONDS, MasterTotals, Tally
from loadgen.session import SessionFolder

__all__ = ["MasterSide"]

# Time for workers to connect, engines to drain and a fill to overrun before the master gives up.
GRACE_S = 300.0

log = logging.getLogger(__name__)


class MasterSide:
    """The one master of a session, whose workers may be on any number of load hosts."""

    def __init__(self, environment: Environment, session: SessionFolder) -> None:
        self.environment = environment
        self.stats = environment.stats
        plan = session.plan()
        self.ranks = frozenset(range(plan.workers))
        self.deadline_s = plan_seconds(plan) + GRACE_S
        self.totals = MasterTotals()
        self._leaving = False

    def attach(self) -> None:
        """Hook into Locust; called once, at its init event."""
        self.environment.events.worker_report.add_listener(self._on_report)
        self.environment.events.test_start.add_listener(self._on_start)
        gevent.spawn_later(self.deadline_s, self._leave, "the plan's time is over")

    def _on_start(self, **_: object) -> None:
        """Locust has just emptied its statistics; let the next reports fill them again."""
        self.totals = MasterTotals()

    def _on_report(self, client_id: str, data: dict[str, Any]) -> None:
        report = data.get(REPORT)
        if report is None or report["rank"] not in self.ranks:
            return
        for tally in self.totals.merge(report):
            self._add(tally)
        if client_id in self.environment.runner.clients:
            self._answer(client_id, running=report["windows"] > 0)
        if self.totals.complete(self.ranks) and not self._leaving:
            gevent.spawn(self._leave, "all engines have ended and their totals are merged")

    def _answer(self, client_id: str, *, running: bool) -> None:
        """Tell a worker that its report arrived; one that stays unanswered registers again."""
        if running:
            # Locust's start waits for workers that are "ready". One that runs already, because
            # it is this master that was started again, never will be.
            self.environment.parsed_options.expect_workers = 0
        self.environment.runner.send_message(MERGED, client_id=client_id)

    def _add(self, tally: Tally) -> None:
        """Add to the operation's entry (its method is the phase) and to the total."""
        key = (tally.operation, tally.phase)
        if key not in self.stats.entries:
            self.stats.entries[key] = StatsEntry(self.stats, *key, use_response_times_cache=True)
        for entry in (self.stats.entries[key], self.stats.total):
            data = tally.to_locust(name=entry.name, method=entry.method)
            entry.extend(StatsEntry.unserialize(data, self.stats))
            for per_s in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in sorted(per_s)[:-KEPT_SECONDS]:
                    del per_s[second]
        for cause, count in tally.causes.items():
            self._add_errors(tally, cause, count)

    def _add_errors(self, tally: Tally, cause: str, count: int) -> None:
        key = StatsError.create_key(tally.phase, tally.operation, cause)
        if key not in self.stats.errors:
            first_s = float(min(tally.failures_per_s, default=tally.last_s))
            error = StatsError(tally.phase, tally.operation, cause, first_seen=first_s)
            self.stats.errors[key] = error
        self.stats.errors[key].occurrences += count
        self.stats.errors[key].last_seen = float(tally.last_s)

    def _leave(self, why: str) -> None:
        if self._leaving:
            return
        self._leaving = True
        log.info("leaving: %s", why)
        self.environment.runner.quit()
        if self.environment.web_ui:
            self.environment.web_ui.stop()
