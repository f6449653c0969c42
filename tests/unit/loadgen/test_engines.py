"""Engines that outlived their workers: found, left to their work, and ended when they must be."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadgen import engines, launch
from loadgen.engines import end_leftovers, engine_of
from loadgen.session import HostShare, SessionFolder

PROJECT = Path(__file__).resolve().parents[3]
HOLDS = """
import sys, time
from pathlib import Path
from loadgen.engines import Lock
lock = Lock(Path(sys.argv[1]))
lock.take(0)
print("held", flush=True)
stop = Path(sys.argv[1]).with_name("stop")
while sys.argv[2] == "deaf" or not stop.exists():
    time.sleep(0.01)
"""


@pytest.fixture
def session(tmp_path: Path) -> SessionFolder:
    made = SessionFolder(tmp_path)
    made.write_share(HostShare(ranks=(0, 1), engine="tests.no_engine"))
    made.locust.mkdir()
    return made


@pytest.fixture
def an_engine(session: SessionFolder) -> Iterator[Callable[..., subprocess.Popen]]:
    """A function that starts a process which holds a rank's lock until it is stopped."""
    started: list[subprocess.Popen] = []

    def start(rank: int, kind: str = "obedient") -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDS, str(session.lock(rank)), kind]
        started.append(subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_engines_that_see_the_stop_are_waited_for_and_not_killed(session, an_engine):
    processes = [an_engine(rank) for rank in (0, 1)]
    assert [engine_of(session.lock(rank)) for rank in (0, 1)] == [one.pid for one in processes]
    session.stop_asked.touch()
    assert end_leftovers(session) == []
    assert [process.wait() for process in processes] == [0, 0]


def test_an_engine_that_does_not_hear_is_killed_and_named(session, an_engine, monkeypatch):
    monkeypatch.setattr(engines, "LEFTOVER_PATIENCE_S", 0.1)
    deaf = an_engine(1, "deaf")
    assert end_leftovers(session) == [1]
    assert deaf.wait() == -signal.SIGKILL


def test_before_locust_an_engine_is_started_where_one_was_and_none_is(
    session, an_engine, monkeypatch
):
    started: list[int] = []
    monkeypatch.setattr(launch, "start_engine", lambda _, rank: started.append(rank))
    launch.go_on(session, 0)
    assert started == []  # the session has not begun: that is for Locust to say
    session.lock(0).write_text("0 1\n")
    launch.go_on(session, 0)
    an_engine(1)
    launch.go_on(session, 1)
    assert started == [0]
