"""`python -m loadgen.engine`: one worker of a plan, from the command line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from loadgen.contract.history import HISTORY
from loadgen.contract.history_files import HistoryWriter
from loadgen.contract.plan import Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import SessionEnd, Window
from loadgen.engine.outcome import NotNow
from loadgen.engine.past import Past, PhaseClock, past_of
from loadgen.engine.plan_check import problems_of
from loadgen.engine.session import Session
from loadgen.engine.spooling import Relay, Spool
from loadgen.engines import EngineRuns, Lock
from loadgen.session import SessionFolder

__all__ = ["main"]

EXIT_DONE, EXIT_BAD_PLAN, EXIT_FAILED, EXIT_ENGINE_RUNS, EXIT_NOT_NOW, EXIT_LEFT = (
    0,
    2,
    5,
    6,
    75,
    76,
)

EXAMPLES = """\
examples:
  run a plan alone, as its only worker:
    python -m loadgen.engine plan.json --rank 0 --spool worker-0.spool

  the same, and print every window as one line of JSON (what the Locust relay reads):
    python -m loadgen.engine plan.json --rank 0 --spool worker-0.spool --windows

  the second of two workers (the plan says "workers": 2 and a start_at_s):
    python -m loadgen.engine plan.json --rank 1 --spool worker-1.spool

SIGTERM or SIGINT stops it, and so does a file `stop` beside the spool: no more requests, the last
replies, the last window, the end frame. Beside a session.json, on a load host, a signal ends the
engine but not the session, which has no end frame then. One that was killed is started again by
the same command: it goes on with its spool at the second of the plan that it is then.
exit codes: 0 finished or stopped, 2 the plan is wrong, 5 the session failed (reason in the spool),
6 another engine presses as this rank, 75 the session has begun, but the target cannot be reached
to go on; try again, 76 the session was left by a signal
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one worker; returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        plan = Plan.read(asked.plan)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        print(f"{asked.plan}: not a plan: {type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_BAD_PLAN
    problems = problems_of(plan, rank=asked.rank)
    if problems:
        for problem in problems:
            print(f"{asked.plan}: {problem}", file=sys.stderr)
        return EXIT_BAD_PLAN
    return _run(plan, asked.rank, asked.spool, windows=asked.windows)


def _run(plan: Plan, rank: int, spool_path: Path, *, windows: bool) -> int:
    folder = SessionFolder(spool_path.parent)
    try:
        lock = Lock(folder.lock(rank))
        past = past_of(spool_path, folder.clock(rank), rank=rank, attempts=lock.attempts)
        lock.take(past.attempt)
    except EngineRuns as error:
        print(f"--rank: {error}; stop it, or leave it to its work", file=sys.stderr)
        return EXIT_ENGINE_RUNS
    except (OSError, ValueError) as error:
        print(f"--spool: {error}", file=sys.stderr)
        return EXIT_BAD_PLAN
    if past.outcome:
        print(f"{spool_path}: this session has ended, {past.outcome}", file=sys.stderr)
        return EXIT_FAILED if past.outcome == "failed" else EXIT_DONE
    return _press(plan, rank, spool_path, past, windows=windows)


def _press(plan: Plan, rank: int, spool_path: Path, past: Past, *, windows: bool) -> int:
    folder = SessionFolder(spool_path.parent)
    relay = Relay(sys.stdout) if windows else None

    def also(window: Window) -> None:
        if relay:
            relay.put(window)
        if folder.stop_asked.exists():
            session.stop()

    try:
        history = HistoryWriter(spool_path.with_suffix(HISTORY)) if plan.history_share else None
        spool = Spool(SpoolWriter(spool_path), also=also, history=history)
    except OSError as error:
        print(f"--spool: {error}", file=sys.stderr)
        return EXIT_NOT_NOW if past.attempt else EXIT_BAD_PLAN
    _precise_sleep()
    clock = PhaseClock(folder.clock(rank), past.began_s)
    session = Session(plan, rank=rank, spool=spool, clock=clock, past=past)
    _obey_signals(session, folder)
    try:
        end = session.run()
    except NotNow as error:
        print(f"the session goes on later: {error}", file=sys.stderr)
        return EXIT_NOT_NOW
    finally:
        unwritten = spool.close()
        if relay:
            relay.close()
    return _told(end, unwritten)


def _obey_signals(session: Session, folder: SessionFolder) -> None:
    """Of a session on a load host a signal is no end: its host goes down, or its unit."""

    def told_to_go(*_: object) -> None:
        if folder.share_file.exists() and not folder.stop_asked.exists():
            session.leave()
        else:
            session.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told_to_go)
    if folder.stop_asked.exists():
        session.stop()


def _told(end: SessionEnd | None, unwritten: str) -> int:
    """Say how it went; the exit code."""
    if end is None:
        print("the session was left, and can be gone on with", file=sys.stderr)
        return EXIT_LEFT
    print(json.dumps(end.to_json()), file=sys.stderr)
    if unwritten:
        print(f"the spool cannot be written, it lacks {unwritten}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_FAILED if end.outcome == "failed" else EXIT_DONE


def _precise_sleep() -> None:
    """Ask the kernel not to round this process's waits up by its usual 50 us."""
    slack = Path("/proc/self/timerslack_ns")
    if os.access(slack, os.W_OK):
        slack.write_text("1000")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.engine",
        description="Press one target as one worker of a plan, and spool what happened.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("plan", type=Path, help="plan file (loadgen.contract.plan)")
    parser.add_argument("--rank", type=int, default=0, help="which worker this is, from 0")
    parser.add_argument("--spool", type=Path, required=True, help="file to append windows to")
    parser.add_argument(
        "--windows", action="store_true", help="also print each window as a line of JSON"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
