"""The door Locust comes in by: reads the session and sets up this process as master or worker.

Started by `loadgen.launch`. Each worker runs one user, whose one task minds one engine; the
engine measures, Locust spreads, steers and shows (design.md D4).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gevent
from locust import User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadgen.locust_master import MasterSide
from loadgen.locust_tuning import tune_output, tune_rpc
from loadgen.locust_worker import WorkerSide
from loadgen.session import SessionFolder

__all__ = ["Press"]


def press(user: Press) -> None:
    """Run the engine to its end, then wait to be dismissed."""
    if user.side:
        user.side.press()
    gevent.sleep(3600)


class Press(User):  # type: ignore[misc]  # Locust is untyped here
    """The one user of a worker; its task lasts as long as the session."""

    side: WorkerSide | None = None
    tasks = [press]


def add_options(parser: LocustArgumentParser) -> None:
    """Our own options. Not on the page: the plan says everything, a page may change nothing."""
    parser.add_argument("--soakbed-session", required=True, include_in_web_ui=False)
    parser.add_argument("--soakbed-rank", type=int, default=-1, include_in_web_ui=False)


def set_up(environment: Environment, runner: Runner, **_: object) -> None:
    """Make this process a master or a worker of the session.

    Goes by this process's own command line: a worker that joins a session under way may have been
    sent its master's options by now, and Locust puts them in the place of its own.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--soakbed-session")
    parser.add_argument("--soakbed-rank", type=int)
    options, _others = parser.parse_known_args()
    session = SessionFolder(Path(options.soakbed_session))
    tune_output(session.plan())
    if isinstance(runner, MasterRunner):
        MasterSide(environment, session).attach()
    elif isinstance(runner, WorkerRunner):
        Press.side = WorkerSide(environment, session, options.soakbed_rank)
        Press.side.attach()


tune_rpc()
events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(set_up)
