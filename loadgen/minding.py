"""Keep one engine of a rank running until its session has an end.

An engine that dies is started again and goes on at the second of the plan that it is then. The one
thing that keeps it from coming back is an end: its own, or a stop that was asked for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from typing import Any

import gevent
from gevent import subprocess

from loadgen.engines import engine_of, start_engine
from loadgen.session import SessionFolder
from loadgen.telling import tell

__all__ = ["Minder"]

# What an engine's exit code says (loadgen.engine): the session has an end, or can have none.
FINAL_CODES = (0, 2, 5)
NOT_NOW_CODE = 75
GIVEN_UP_CODE = 5
RESTART_S = 0.2
AGAIN_S = 2.0  # while the target cannot be reached
# An engine that dies so soon, so often in a row, will not do better.
QUICK_S = 10.0
MOST_QUICK_DEATHS = 20
LOOK_S = 0.25
STOP_TIMEOUT_S = 30.0

log = logging.getLogger(__name__)


class Minder:
    """Minds the engine of `rank`; runs in a greenlet, which may be killed at any time."""

    def __init__(self, session: SessionFolder, rank: int) -> None:
        self.session = session
        self.rank = rank
        self._started: Any = None  # gevent's Popen of the engine that we started
        self._niceness = os.getpriority(os.PRIO_PROCESS, 0)

    def running(self) -> bool:
        """Whether an engine runs, started by us or found."""
        return engine_of(self.session.lock(self.rank)) is not None

    def run(self) -> int:
        """Mind engines until one ends the session; its exit code."""
        quick_deaths = 0
        while True:
            began_s = time.monotonic()
            try:
                code = self._one_engine()
            except OSError as error:  # no process, no file to be had just now
                log.warning("engine %s cannot be started: %s", self.rank, error)
                code = NOT_NOW_CODE
            if code in FINAL_CODES:
                return code
            log.warning("engine %s died, exit code %s; started again", self.rank, code)
            if code not in (None, NOT_NOW_CODE):  # None: taken over, and its end may be well
                tell(f"engine {self.rank} died, exit code {code}; started again")
            lasted_s = time.monotonic() - began_s
            quick_deaths = quick_deaths + 1 if lasted_s < QUICK_S and code != NOT_NOW_CODE else 0
            if quick_deaths > MOST_QUICK_DEATHS:
                log.error("engine %s died %s times in a row: given up", self.rank, quick_deaths)
                return GIVEN_UP_CODE
            gevent.sleep(AGAIN_S if code == NOT_NOW_CODE else RESTART_S)

    def _one_engine(self) -> int | None:
        """Wait for the end of the engine that runs, or of a new one. None: it was not ours."""
        if self.running():
            log.info("engine %s runs already, taken over", self.rank)
            while self.running():
                gevent.sleep(LOOK_S)
            return None
        self._started = start_engine(self.session, self.rank, popen=subprocess.Popen)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            # The worker has stepped back by now, and its children with it.
            os.setpriority(os.PRIO_PROCESS, self._started.pid, self._niceness)
        code: int = self._started.wait()
        return code

    def stop(self) -> None:
        """Have the engine end: it drains, and writes its end if a stop was asked for."""
        ends_s = time.monotonic() + STOP_TIMEOUT_S
        self._signal(signal.SIGTERM)
        while self._lives():
            if time.monotonic() > ends_s:
                log.error("engine %s did not stop in %s s: killed", self.rank, STOP_TIMEOUT_S)
                self._signal(signal.SIGKILL)
                ends_s += STOP_TIMEOUT_S
            gevent.sleep(0.05)

    def _lives(self) -> bool:
        ours = self._started is not None and self._started.poll() is None
        return ours or self.running()

    def _signal(self, number: int) -> None:
        if self._started is not None and self._started.poll() is None:
            self._started.send_signal(number)
        elif pid := engine_of(self.session.lock(self.rank)):
            os.kill(pid, number)
