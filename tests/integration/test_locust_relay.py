"""Real Locust, master and workers, over fake engines: its totals are the spools', come what may."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import read_spool
from loadgen.engines import engine_of
from loadgen.session import HostShare, SessionFolder
from tests.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
ENDS_WITHIN_S = 240


def wait_until(true: Callable[[], object], within_s: float = ENDS_WITHIN_S) -> None:
    ends_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends_s, "did not come true in time"
        time.sleep(0.1)


class Session:
    """A session on this machine, with the processes that units would run."""

    def __init__(self, folder: Path, workers: int, *, pace_s: float, web: bool = False) -> None:
        self.folder = SessionFolder(folder)
        self.workers = workers
        self.share = HostShare(
            ranks=tuple(range(workers)),
            rpc_port=free_port(),
            web_port=free_port() if web else 0,
            engine="tests.fakes",
        )
        plan = Plan(
            run_id="r",
            session="capacity",
            target="redis_cluster",
            endpoints=("127.0.0.1:1",),
            keyspace=Keyspace(100, "bench:"),
            phases=(Phase("fill", "fill", 5), Phase("capacity", "closed", 25)),
            tls=None,
            workers=workers,
        )
        plan.write(self.folder.plan_file)
        self.folder.write_share(self.share)
        self._environment = {**os.environ, "FAKE_ENGINE_PACE_S": str(pace_s)}
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str) -> None:
        words = ["master", str(self.folder.path)]
        if name != "master":
            words = ["worker", f"{self.folder.path}:{name.removeprefix('worker-')}"]
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "loadgen.launch", *words],
            env=self._environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_all(self) -> None:
        for name in ("master", *(f"worker-{rank}" for rank in range(self.workers))):
            self.start(name)

    def exit_codes(self) -> dict[str, int]:
        return {name: process.wait(ENDS_WITHIN_S) for name, process in self.processes.items()}

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def engine(self, rank: int) -> int:
        """The process id of an engine, a child of its worker."""
        children = Path(f"/proc/{self.processes[f'worker-{rank}'].pid}/task").glob("*/children")
        return next(int(pid) for file in children for pid in file.read_text().split())

    def windows(self, rank: int) -> int:
        spool = self.folder.spool(rank)
        return sum(1 for _ in read_spool(spool)) if spool.exists() else 0

    def end(self, rank: int) -> dict | None:
        last = list(read_spool(self.folder.spool(rank)))[-1]
        return last if last["kind"] == "end" else None

    def spooled(self) -> Counter:
        """(phase, operation, what) -> count, by the spools."""
        sums: Counter = Counter()
        for rank in range(self.workers):
            for record in read_spool(self.folder.spool(rank)):
                for name, seen in record.get("operations", {}).items():
                    failures = seen["failed"] + seen["unknown"]
                    sums[record["phase"], name, "requests"] += seen["ok"] + failures
                    sums[record["phase"], name, "failures"] += failures
                    for cause, count in seen["causes"].items():
                        sums[record["phase"], name, cause] += count
        return +sums

    def by_locust(self) -> Counter:
        """The same, by Locust's own files."""
        sums: Counter = Counter()
        for row in self._rows("stats"):
            if row["Name"] != "Aggregated":
                sums[row["Type"], row["Name"], "requests"] += int(row["Request Count"])
                sums[row["Type"], row["Name"], "failures"] += int(row["Failure Count"])
        for row in self._rows("failures"):
            sums[row["Method"], row["Name"], row["Error"]] += int(row["Occurrences"])
        return +sums

    def aggregated(self) -> int:
        return next(
            int(row["Request Count"]) for row in self._rows("stats") if row["Name"] == "Aggregated"
        )

    def _rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder.locust / f"locust_{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    made: list[Session] = []

    def make(workers: int = 1, *, pace_s: float = 0.1, web: bool = False) -> Session:
        made.append(Session(tmp_path, workers, pace_s=pace_s, web=web))
        return made[-1]

    yield make
    for session in made:
        session.close()


def test_locust_and_the_spools_agree_to_the_operation(sessions):
    session = sessions(workers=2)
    session.start_all()
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()
    assert session.aggregated() == sum(
        count for (_, _, what), count in session.spooled().items() if what == "requests"
    )
    assert (session.folder.locust / "report.html").stat().st_size > 10_000
    shown = json.loads(session.folder.progress(0).read_text())
    assert shown["phase"] == "capacity"


def test_a_master_that_is_killed_does_not_stop_the_engines(sessions):
    session = sessions()
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    session.kill("master")
    wait_until(lambda: session.windows(0) == 31)
    assert session.end(0)["outcome"] == "finished"


def test_a_master_that_is_started_again_shows_everything(sessions):
    session = sessions(workers=2, pace_s=0.4)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3 and session.windows(1) > 3)
    session.kill("master")
    time.sleep(1)
    session.start("master")
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()


def test_a_worker_that_comes_late_to_a_new_master_takes_no_session_from_the_other(sessions):
    session = sessions(workers=2, pace_s=0.6)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3 and session.windows(1) > 3)
    session.kill("master")
    session.processes["worker-1"].send_signal(signal.SIGSTOP)
    session.start("master")

    def spawnings() -> int:
        """How often a master has given all users away; a busy one says the second of the two."""
        said = session.folder.log("master").read_text()
        return said.count("All users spawned") + said.count("Spawning is complete and report")

    wait_until(lambda: spawnings() == 2)  # the new one, to the one worker that it knows
    session.processes["worker-1"].send_signal(signal.SIGCONT)
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()


def test_a_master_that_stands_still_for_a_while_has_everything_at_the_end(sessions):
    session = sessions(pace_s=0.2)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    session.processes["master"].send_signal(signal.SIGSTOP)
    before = session.windows(0)
    wait_until(lambda: session.windows(0) > before + 8)
    session.processes["master"].send_signal(signal.SIGCONT)
    assert set(session.exit_codes().values()) == {0}
    assert session.windows(0) == 31
    assert session.by_locust() == session.spooled()


def test_a_master_that_is_told_to_end_does_not_take_the_engines_with_it(sessions):
    session = sessions()
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    session.processes["master"].terminate()
    session.processes["master"].wait(ENDS_WITHIN_S)
    wait_until(lambda: session.windows(0) == 31)
    assert session.end(0)["outcome"] == "finished"


def test_an_engine_that_is_killed_is_started_again_and_goes_on(sessions):
    session = sessions(pace_s=0.2)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    niceness, before = os.getpriority(os.PRIO_PROCESS, session.engine(0)), session.windows(0)
    os.kill(session.engine(0), signal.SIGKILL)
    wait_until(lambda: session.windows(0) > before + 2)
    assert os.getpriority(os.PRIO_PROCESS, session.engine(0)) == niceness
    assert set(session.exit_codes().values()) == {0}
    assert session.windows(0) == 30 + 2  # all of the plan's, the second begin and the end
    assert session.end(0)["outcome"] == "finished"
    assert session.by_locust() == session.spooled()


def test_an_engine_outlives_its_worker_and_the_next_worker_takes_it_over(sessions):
    session = sessions(pace_s=0.4)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    engine = session.engine(0)
    session.kill("worker-0")
    before = session.windows(0)
    wait_until(lambda: session.windows(0) > before + 2)
    session.start("worker-0")
    assert set(session.exit_codes().values()) == {0}
    assert session.windows(0) == 30 + 1  # nobody began again
    assert engine_of(session.folder.lock(0)) is None
    assert not Path(f"/proc/{engine}").exists()
    assert session.by_locust() == session.spooled()


def test_a_worker_and_an_engine_that_are_gone_are_there_again_before_locust_is(sessions):
    session = sessions(pace_s=0.4)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    engine = session.engine(0)
    session.kill("worker-0")
    session.kill("master")
    os.kill(engine, signal.SIGKILL)
    before = session.windows(0)
    session.start("worker-0")  # and no master to tell it to begin
    wait_until(lambda: session.windows(0) > before + 2)
    session.start("master")
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()


def test_workers_that_find_no_master_begin_at_the_common_start_and_it_gets_everything(sessions):
    session = sessions(workers=2, pace_s=0.2)
    plan = session.folder.plan()
    replace(plan, start_at_s=time.time() + 8).write(session.folder.plan_file)
    session.start("worker-0")
    session.start("worker-1")
    wait_until(lambda: session.windows(0) > 3 and session.windows(1) > 3)
    session.start("master")
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()


def test_a_disk_that_takes_no_progress_costs_the_master_nothing(sessions):
    session = sessions()
    session.folder.progress(0).with_suffix(".new").mkdir()  # where it would be written
    session.start_all()
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()
    assert not session.folder.progress(0).exists()


def test_a_worker_that_is_told_to_stop_stops_its_engine_properly(sessions):
    session = sessions(pace_s=1.0)
    session.start_all()
    wait_until(lambda: session.windows(0) > 3)
    session.processes["worker-0"].terminate()
    session.processes["worker-0"].wait(ENDS_WITHIN_S)
    assert session.end(0)["outcome"] == "stopped"
    session.processes["master"].wait(ENDS_WITHIN_S)
    assert session.by_locust() == session.spooled()


def test_the_page_shows_the_same_totals_and_is_gone_after(sessions):
    session = sessions(web=True, pace_s=0.3)
    session.start_all()
    page = f"http://127.0.0.1:{session.share.web_port}/stats/requests"
    total: dict = {}

    def seen() -> bool:
        with suppress(OSError), urllib.request.urlopen(page, timeout=60) as answer:
            total.update(json.load(answer)["stats"][-1])
        return total.get("num_requests", 0) > 0

    wait_until(seen)
    assert total["name"] == "Aggregated"
    assert 0 < total["median_response_time"] < 1
    assert set(session.exit_codes().values()) == {0}
    assert session.by_locust() == session.spooled()
