"""A Locust worker's side: mind one engine, follow its spool, report its totals to the master.

The engine is a child process without gevent in it. It goes by the plan alone: nothing that
happens to the master, and no word of it but "stop", ends it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from locust import __version__
from locust.env import Environment
from locust.rpc import Message

from loadgen.contract.histogram import Histogram
from loadgen.following import Follower
from loadgen.locust_tuning import REPORT_INTERVAL_S
from loadgen.minding import Minder
from loadgen.relay import WorkerTotals, write_small
from loadgen.session import SessionFolder
from loadgen.telling import ANSWER_TIMEOUT_S, Troubles

__all__ = ["MERGED", "REPORT", "WorkerSide"]

REPORT = "soakbed"  # the key of our totals in a worker's report
MERGED = "soakbed_merged"  # the master's answer to each report
DISMISSAL_TIMEOUT_S = 60.0
# The engine keeps its priority; the worker, on the same core of a small host, steps back.
WORKER_NICENESS = 10
# Before the common start, an engine begins without the master's word: its Python needs a second or
# two on a busy core, then it connects.
LEAD_S = 6.0
FAILED_EXIT_CODE = 5
# Told to go without an end of the session: the host goes down, or somebody ended us. Started again,
# the worker goes on (loadgen.engine knows the same code).
LEFT_EXIT_CODE = 76
RECORDS_AT_ONCE = 50  # read without a turn for the rest of the worker

log = logging.getLogger(__name__)


class WorkerSide:
    """One worker process: its engine, its totals, and what it tells the master."""

    def __init__(self, environment: Environment, session: SessionFolder, rank: int) -> None:
        self.environment = environment
        self.runner = environment.runner
        self.session = session
        self.rank = rank
        self.share = session.share()
        self.totals, read_hour = WorkerTotals.restored(session.totals(rank), rank)
        self._follower = Follower(session.path, rank, after_hour=read_hour)
        self._saved_hour = read_hour
        self._sealing: Any = None  # a process that puts closed hours into columns
        self._sealed_hour = -1
        self._minder = Minder(session, rank)
        self._over = False  # no engine comes any more
        self._pressing: gevent.Greenlet | None = None
        self._answered_s = time.monotonic()
        self._troubles = Troubles(rank)

    def attach(self) -> None:
        """Hook into Locust; called once, at its init event."""
        self.environment.events.report_to_master.add_listener(self._report)
        # Locust calls the last added first: the engine's end is told before the worker says it
        # quits, upon which the master may be gone.
        self.environment.events.quitting.add_listener(self._on_quitting)
        self.runner.register_message(MERGED, self._on_merged)
        self._obey = self.runner.handle_message
        self.runner.handle_message = self._on_message
        if self.session.lock(self.rank).exists():
            gevent.spawn(self._press_unasked)  # in the place of a worker before this one
        start_at_s = self.session.plan().start_at_s
        if start_at_s:
            wait_s = max(start_at_s - LEAD_S - time.time(), 0.0)
            gevent.spawn_later(wait_s, self._press_unasked)

    def press(self) -> None:
        """Be there until the session has ended. The first to come has it minded.

        Not by whoever calls: a master that was started again gives the first worker that it hears
        of all users, and takes them back one by one, whichever it meets first.
        """
        if self._pressing is None:
            self._pressing = gevent.spawn(self._mind)
        self._pressing.join()

    def _mind(self) -> None:
        """Mind the engine to its session's end, see the totals merged, then quit."""
        # Apart from the wait below: a fault in what we show must not end what we measure.
        following = gevent.spawn(self._follow)
        code = LEFT_EXIT_CODE
        try:
            code = self._minder.run()
        finally:
            self._minder.stop()
            self._over = True
            following.join()
            self._finish(code)

    def _press_unasked(self) -> None:
        """All load hosts begin together, whether or not master and tunnel are up by then."""
        if self._pressing is None:
            log.warning("no word of the master yet; engine %s goes by its plan", self.rank)
            self.press()

    def _follow(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, WORKER_NICENESS)  # the engine was started before
        while not self._over:
            self._take_new_frames()
            self._seal_closed_hours()
            gevent.sleep(REPORT_INTERVAL_S)
        self._take_new_frames()

    def _finish(self, code: int) -> None:
        lost = not self.totals.outcome and code != LEFT_EXIT_CODE
        if lost:
            self.totals.outcome = "lost"
        log.info("engine %s ended: %s, exit code %s", self.rank, self.totals.outcome, code)
        self.environment.process_exit_code = FAILED_EXIT_CODE if lost else code
        self.runner._send_stats()
        gevent.spawn(self._quit_undismissed)

    def _take_new_frames(self) -> None:
        newest = None
        for number, record in enumerate(self._follower.new()):
            self._save_totals()  # an hour was read to its end before this record
            self.totals.take(record)
            if number % RECORDS_AT_ONCE == 0:
                gevent.sleep(0)
            # Windows cut short by the end of a phase show a rate that nobody asked for.
            newest = record if record.get("complete") else newest
        self._save_totals()
        if newest:
            self._show(newest)

    def _save_totals(self) -> None:
        """Once an hour, so that a worker in our place need not read all hours again."""
        if self._follower.after_hour != self._saved_hour:
            self._saved_hour = self._follower.after_hour
            self.totals.save(self.session.totals(self.rank), self._saved_hour)

    def _seal_closed_hours(self) -> None:
        """Have the hours that the engine has closed put into columns, by a process of its own.

        Here it would keep us from answering the master for seconds.
        """
        closed_hour = self._follower.after_hour
        runs = self._sealing is not None and self._sealing.poll() is None
        if runs or closed_hour == self._sealed_hour:
            return
        self._sealed_hour = closed_hour
        command = [sys.executable, "-m", "loadgen.sealing", str(self.session.path)]
        with self.session.engine_log(self.rank).open("ab") as errors:
            self._sealing = subprocess.Popen(
                [*command, "--rank", str(self.rank)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=Path(__file__).parent.parent,
            )

    def _show(self, window: dict[str, Any]) -> None:
        """Leave the newest window in a few numbers for those who look in."""
        seen = window["operations"].values()
        response = Histogram.merged(Histogram.from_json(op["response"]) for op in seen)
        ended = sum(op["ok"] + op["failed"] + op["unknown"] for op in seen)
        shown = {
            "rank": self.rank,
            "phase": window["phase"],
            "start_s": window["start_s"],
            "per_s": ended / window["length_s"],
            "not_ok_per_s": (ended - sum(op["ok"] for op in seen)) / window["length_s"],
            "response_p99_us": response.percentile_us(99),
            "requests": self.totals.requests,
        }
        path = self.session.progress(self.rank)
        self._troubles.disk(write_small(path, shown))

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[REPORT] = self.totals.to_json()
        silence_s = self._silence_s()
        self._troubles.master(silence_s)
        if silence_s > ANSWER_TIMEOUT_S:
            # A master that was started again, or whose tunnel came up late, knows no worker, and
            # learns of one only by this.
            self.runner.client.send(Message("client_ready", __version__, self.runner.client_id))

    def _on_quitting(self, **_: object) -> None:
        if self._pressing is not None:
            self._pressing.kill(block=True)

    def _on_merged(self, **_: object) -> None:
        self._troubles.answered(self._silence_s())
        self._answered_s = time.monotonic()

    def _silence_s(self) -> float:
        return time.monotonic() - self._answered_s

    def _on_message(self, msg: Message) -> None:
        pressing = self._pressing is not None and not self._over
        if msg.type == "quit" and pressing:
            log.warning("the master leaves; engine %s goes on by its plan", self.rank)
            return
        if msg.type == "stop" and pressing:  # somebody pressed Stop on the page
            self.session.stop_asked.touch()
        self._obey(msg)

    def _quit_undismissed(self) -> None:
        """A master dismisses all workers once it has every total; we wait for that a while only.

        One that is gone, or that waits for a worker behind a line that is cut, must not keep us.
        """
        ended_s = time.monotonic()
        while max(self._silence_s(), time.monotonic() - ended_s) < DISMISSAL_TIMEOUT_S:
            gevent.sleep(REPORT_INTERVAL_S)
        log.warning("no master dismissed us; the spool holds all that there is to tell")
        self.runner.quit()
