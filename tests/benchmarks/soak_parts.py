"""The four programs of a soak, each alone in a process and told second by second what comes.

Used by `seventy_two_hours`. The code is the programs' own; only the time between windows is left
out. Each reads lines from its standard input and answers each with one line:

    step SECONDS    live through so many windows     -> "done"
    rss             collect what is garbage          -> bytes in RAM, peak of ended children
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Protocol

from tests.ports import free_port

__all__ = ["PARTS", "START_S", "Engine", "resident_bytes"]

SECOND = 1_000_000_000
START_S = 1_700_002_800  # a whole hour of unix time
LATENCIES = 100_003  # a prime, so that no two windows of a soak are alike
_LENGTH = struct.Struct("<I")


class Part(Protocol):
    """One of the four programs."""

    def step(self, seconds: int) -> None:
        """Live through so many windows."""

    def close(self) -> None:
        """End properly."""


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


class Engine:
    """The recording half of an engine: windows go through recorder and spool onto disk."""

    def __init__(self, path: Path, *, operations: int = 100) -> None:
        from loadgen.contract.spool import SpoolWriter
        from loadgen.engine.spooling import Spool
        from loadgen.recorder import Clock, Recorder

        self._operations = operations
        self._second = 0
        random = Random(7)
        # Like those of a database: most near half a millisecond, some a hundred times that.
        self._took_ns = [
            int(random.lognormvariate(6.2, 0.9) * 1000) + 80_000 for _ in range(LATENCIES)
        ]
        self._spool = Spool(SpoolWriter(path))
        clock = Clock()
        self._recorder = Recorder(self._spool.put, worker=0, length_s=1, clock=clock)
        self._start = clock.next_boundary_ns(clock.monotonic_ns(START_S * SECOND), 1)
        self._recorder.begin("steady", "open", self._start)

    def step(self, seconds: int) -> None:
        """Live through `seconds` more seconds."""
        recorder = self._recorder
        gap = SECOND // (self._operations + 1)
        for second in range(self._second, self._second + seconds):
            at = self._start + second * SECOND
            first = second * 7919 % LATENCIES
            for number in range(self._operations):
                due = at + number * gap
                took_ns = self._took_ns[(first + number) % LATENCIES]
                recorder.sent[number & 1] += 1
                recorder.due[number & 1] += 1
                recorder.done[number & 1].append((due, due + took_ns // 50, due + took_ns))
                recorder.late_ns.append(took_ns // 100)
            recorder.absorb()
            recorder.close_window()
            self._wait_for_disk(3)
        self._wait_for_disk(0)
        self._second += seconds

    def _wait_for_disk(self, most: int) -> None:
        while self._spool._queue.qsize() > most:
            time.sleep(0.0002)

    def close(self) -> None:
        """Write what is left. Raises OSError when the spool could not be written."""
        if unwritten := self._spool.close():
            raise OSError(unwritten)


class OneByOne:
    """What follows a spool, but for one record at a time, however many there are."""

    def __init__(self, follower: Any) -> None:
        self._follower = follower
        self._open: Iterator[Any] = iter(())

    @property
    def after_hour(self) -> int:
        """As of the follower."""
        return int(self._follower.after_hour)

    def new(self) -> Iterator[Any]:
        """The next record, if there is one."""
        for _ in range(2):
            for record in self._open:
                yield record
                return
            self._open = self._follower.new()


class Worker:
    """A Locust worker's side of it: follows the spool, seals hours, reports to the master.

    Reports go to file descriptor `out`, packed as Locust packs them.
    """

    def __init__(self, folder: Path, out: int) -> None:
        from locust.env import Environment
        from locust.stats import RequestStats, setup_distributed_stats_event_listeners

        from loadgen.locust_worker import WorkerSide
        from loadgen.session import SessionFolder

        self._out = out
        self._environment = Environment()
        stats = RequestStats(use_response_times_cache=False)
        setup_distributed_stats_event_listeners(self._environment.events, stats)
        self._environment.runner = SimpleNamespace(
            register_message=lambda *_: None,
            handle_message=lambda _: None,
            client=SimpleNamespace(send=lambda _: None),
            client_id="worker",
        )
        self._side = WorkerSide(self._environment, SessionFolder(folder), 0)
        self._side._follower = OneByOne(self._side._follower)
        self._side.attach()

    def step(self, seconds: int) -> None:
        """Take so many windows, and report after each."""
        for _ in range(seconds):
            self._second()

    def _second(self) -> None:
        import msgpack

        self._side._take_new_frames()
        self._side._seal_closed_hours()
        data: dict[str, Any] = {"user_classes_count": {"Press": 1}, "user_count": 1}
        self._environment.events.report_to_master.fire(client_id="worker", data=data)
        packed = msgpack.packb(data)
        os.write(self._out, _LENGTH.pack(len(packed)))
        view = memoryview(packed)
        while view:
            view = view[os.write(self._out, view) :]

    def close(self) -> None:
        """Nothing is open."""


class Master:
    """The Locust master with its statistics, charts and CSV files; reports come from `reports`."""

    def __init__(self, folder: Path, reports: int) -> None:
        from locust import stats
        from locust.env import Environment
        from locust.runners import WorkerNode

        from loadgen.locust_master import MasterSide
        from loadgen.locust_tuning import tune_output, tune_rpc
        from loadgen.session import SessionFolder

        session = SessionFolder(folder)
        tune_rpc()
        tune_output(session.plan())
        self._reports = os.fdopen(reports, "rb")
        self._stats = stats
        self._every_s = (stats.HISTORY_STATS_INTERVAL_SEC, stats.CSV_STATS_INTERVAL_SEC)
        self._environment = Environment(parsed_options=SimpleNamespace(expect_workers=1))
        port = free_port()
        self._runner = self._environment.create_master_runner("127.0.0.1", port)
        self._runner.clients["worker"] = WorkerNode("worker")
        self._runner.send_message = lambda *_, **__: None
        MasterSide(self._environment, session).attach()
        session.locust.mkdir(exist_ok=True)
        self._csv = stats.StatsCSVFileWriter(
            self._environment, stats.PERCENTILES_TO_REPORT, str(session.locust / "locust")
        )
        self._second = 0

    def step(self, seconds: int) -> None:
        """Take a report a second, and do what is due in Locust's own rhythm."""
        for _ in range(seconds):
            self._report()

    def _report(self) -> None:
        import gevent
        import msgpack

        (size,) = _LENGTH.unpack(self._reports.read(_LENGTH.size))
        data = msgpack.unpackb(self._reports.read(size), strict_map_key=False)
        self._environment.events.worker_report.fire(client_id="worker", data=data)
        before, self._second = self._second, self._second + 1
        history_s, csv_s = self._every_s
        if before // history_s != self._second // history_s:
            self._stats.update_stats_history(self._runner)
        if before // csv_s != self._second // csv_s:
            self._csv._stats_history_data_rows(self._csv.stats_history_csv_writer, START_S)
            self._csv.stats_history_flush()
        gevent.sleep(0)

    def close(self) -> None:
        """Leave the files whole."""
        self._csv.close_files()


class Controller:
    """`soakbed` watching: looks in, back-fills, has hours collated by a process of its own.

    The load host is a double over the very files that engine and worker write.
    """

    LOOKS_S, BACKFILL_S, COLLATE_S = 10, 180, 3600

    def __init__(self, folder: Path, target_folder: Path) -> None:
        from loadgen.contract.plan import Plan
        from soakbed.records.testbed import Host, Testbed
        from soakbed.stages.backfill import Backfill
        from soakbed.stages.load_session import LoadSession
        from soakbed.stages.so_far import Collating
        from soakbed.stages.watch import Care, Watch
        from soakbed.stages.watch_notes import WatchNotes
        from tests.fakes import FakeLoadHost

        plan = Plan.read(folder / "plan.json")
        load_host = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
        testbed = Testbed(
            name="t",
            provider="local",
            shares_machine=True,
            known_hosts_file="k",
            hosts={"l1": load_host},
        )
        self._host = FakeLoadHost(folder.parent, looks=1 << 60)
        session = LoadSession(plan, testbed, shell=self._host)
        self._host.active = set(session._units(load_host))
        into = target_folder / "load" / plan.session
        self._collating = Collating(target_folder, plan.session, {"l1": "load"})
        self._watch = Watch(
            session,
            Backfill(session, into, shell=self._host),
            WatchNotes(plan, into),
            collating=self._collating,
            progress=lambda _line: None,
            care=Care(),
        )
        self._folder = folder
        self._second = 0

    def step(self, seconds: int) -> None:
        """A look every ten seconds; what is due by then is made due."""
        for _ in range(seconds):
            self._next_second()

    def _next_second(self) -> None:
        before, self._second = self._second, self._second + 1
        if before // self.LOOKS_S == self._second // self.LOOKS_S:
            return
        shown = json.loads((self._folder / "progress-0.json").read_text())
        self._host.shown = {"phase": shown["phase"], "start_s": shown["start_s"]}
        since = self._watch._since
        now_s = time.monotonic()
        turns = before // self.BACKFILL_S != self._second // self.BACKFILL_S
        hours = before // self.COLLATE_S != self._second // self.COLLATE_S
        since.fetched_s = 0.0 if turns else now_s
        since.collated_s = 0.0 if hours else now_s
        assert not self._watch._over()
        while hours and self._collating.is_busy():
            time.sleep(0.05)

    def close(self) -> None:
        """Nothing is left under way."""
        self._collating.give_up()


PARTS: dict[str, Callable[..., Part]] = {
    "engine": lambda folder, operations: Engine(
        folder / "worker-0.spool", operations=int(operations)
    ),
    "worker": lambda folder, out: Worker(folder, int(out)),
    "master": lambda folder, reports: Master(folder, int(reports)),
    "controller": lambda folder, target: Controller(folder, Path(target)),
}


def main(words: list[str]) -> None:
    """`NAME FOLDER WORD...`: be that part until standard input ends."""
    logging.disable(logging.WARNING)
    name, folder, *given = words
    part = PARTS[name](Path(folder), *given)
    for line in sys.stdin:
        match line.split():
            case ["step", seconds]:
                part.step(int(seconds))
                print("done", flush=True)
            case ["rss"]:
                gc.collect()
                print(
                    resident_bytes(),
                    resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
                    flush=True,
                )
    part.close()


if __name__ == "__main__":
    main(sys.argv[1:])
