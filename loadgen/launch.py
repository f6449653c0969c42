"""What the systemd units of a load host run: Locust, with every option taken from the session.

`python -m loadgen.launch master FOLDER` and `python -m loadgen.launch worker FOLDER:RANK` become
the Locust process itself; FOLDER holds plan.json and session.json. Locust's RPC has neither
encryption nor authentication, so it never leaves loopback (design.md D10): on further load hosts
the master's port is the near end of an SSH tunnel.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from loadgen.engines import engine_of, start_engine
from loadgen.session import SessionFolder

__all__ = ["LOOPBACK", "ahead_of_others", "go_on", "main", "master_arguments", "worker_arguments"]

LOOPBACK = "127.0.0.1"
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USAGE = "usage: python -m loadgen.launch master FOLDER | worker FOLDER:RANK"


def master_arguments(session: SessionFolder) -> list[str]:
    """Locust's command line for the one master, which the workers of all load hosts report to."""
    share = session.share()
    workers = str(session.plan().workers)
    page = ["--headless"]
    if share.web_port:
        page = ["--autostart", "--web-host", LOOPBACK, "--web-port", str(share.web_port)]
    return [
        *_common(session, "master"),
        *("--master", "--master-bind-host", LOOPBACK, "--master-bind-port", str(share.rpc_port)),
        *("--expect-workers", workers, "--users", workers, "--spawn-rate", workers),
        *("--csv", str(session.locust / "locust"), "--html", str(session.locust / "report.html")),
        *page,
    ]


def worker_arguments(session: SessionFolder, rank: int) -> list[str]:
    """Locust's command line for the worker that minds the engine of `rank`."""
    return [
        *_common(session, f"worker-{rank}"),
        *("--worker", "--master-host", LOOPBACK),
        *("--master-port", str(session.share().rpc_port), "--soakbed-rank", str(rank)),
    ]


def _common(session: SessionFolder, name: str) -> list[str]:
    # Without --exit-code-on-error 0 Locust exits 1 when any operation failed; a target that
    # refuses operations is a result, and only an engine that failed is a failed unit.
    return [
        *("-f", str(LOCUSTFILE), "--soakbed-session", str(session.path)),
        *("--logfile", str(session.log(name)), "--loglevel", "INFO"),
        *("--only-summary", "--exit-code-on-error", "0"),
    ]


def ahead_of_others() -> None:
    """Make this process's niceness count against other services, too.

    With sched_autogroup, Debian's default, niceness counts within a session only, and every unit
    is a session of its own: at -15 against another session a process got 0.35 of a core, with the
    session at -15 it got 0.95. A kernel without autogroups needs nothing.
    """
    group = Path("/proc/self/autogroup")
    for _ in range(5):
        try:
            group.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
        except BlockingIOError:  # one change in 100 ms for all that may not administer
            time.sleep(0.15)
        except OSError as error:
            if group.exists():
                print(f"niceness counts within this unit only: {error}", file=sys.stderr)
            return
        else:
            return


def go_on(session: SessionFolder, rank: int) -> None:
    """Start the engine of a session that has begun and has none, before Locust is loaded.

    The worker that we become finds it running. Locust takes seconds to start, and more without a
    master; whoever comes in the place of another has no time for that.
    """
    lock = session.lock(rank)
    if lock.exists() and engine_of(lock) is None:
        start_engine(session, rank)


def main(arguments: list[str]) -> NoReturn:
    """Become Locust, or say what was expected and exit 2."""
    match arguments:
        case ["master", folder]:
            session = SessionFolder(Path(folder))
            options = master_arguments(session)
        case ["worker", place] if place.rpartition(":")[2].isdigit():
            folder, _, rank = place.rpartition(":")
            session = SessionFolder(Path(folder))
            options = worker_arguments(session, int(rank))
            ahead_of_others()
            session.locust.mkdir(exist_ok=True)
            go_on(session, int(rank))
        case _:
            print(USAGE, file=sys.stderr)
            raise SystemExit(2)
    session.locust.mkdir(exist_ok=True)
    os.execv(sys.executable, [sys.executable, "-m", "locust", *options])


if __name__ == "__main__":
    main(sys.argv[1:])
