"""Locust's own workings, made fit for 72 hours on a core that the engine needs.

These are module globals and methods of Locust 2.47, read at each use; another version needs
another look.
"""

from __future__ import annotations

import zmq.green as zmq
from locust import __version__, runners, stats
from locust.exception import RPCError, RPCSendError
from locust.rpc import Message, zmqrpc

from loadgen.contract.plan import Plan

__all__ = ["REPORT_INTERVAL_S", "plan_seconds", "tune_output", "tune_rpc"]

# Locust calls a worker missing after 3 silent seconds and stops the run when all are; a worker
# quits after 60 s without a master. Here neither may end a session: engines go by the plan.
NEVER_S = 10**9
REPORT_INTERVAL_S = 1.0
# Rows that Locust keeps in memory for its charts, and writes to its history file, per session.
HISTORY_ROWS = 2_000
CSV_HISTORY_ROWS = 20_000
# Messages kept for a master that is away; each report replaces the one before, so few suffice.
KEPT_MESSAGES = 20
LINGER_MS = 2_000
# Each try of a worker whose master is away opens a channel in the tunnel and writes a line into a
# journal: ten a second, as ZeroMQ has it, would be millions over 72 hours.
RECONNECT_MOST_MS = 2_000
# How long a worker waits for a master before it goes on without.
REGISTER_TIMEOUT_S = 5.0


def plan_seconds(plan: Plan) -> int:
    """The longest a session of this plan can last by its phases."""
    return sum(phase.duration_s for phase in plan.phases)


def tune_rpc() -> None:
    """Set what Locust reads while it makes its runner; called when the locustfile is read."""
    runners.HEARTBEAT_LIVENESS = NEVER_S
    runners.MASTER_HEARTBEAT_TIMEOUT = NEVER_S
    runners.WORKER_REPORT_INTERVAL = REPORT_INTERVAL_S
    runners.WorkerRunner.connect_to_master = _register_and_go_on
    zmqrpc.Client = PatientClient
    zmqrpc.Server = ForgivingServer


def tune_output(plan: Plan) -> None:
    """Bound what Locust keeps and writes over the length of this plan."""
    lasts_s = plan_seconds(plan)
    stats.HISTORY_STATS_INTERVAL_SEC = max(5, lasts_s // HISTORY_ROWS)
    stats.CSV_STATS_INTERVAL_SEC = max(5, lasts_s // CSV_HISTORY_ROWS)
    stats.StatsCSV._percentile_fields = _percentile_fields
    stats.StatsCSVFileWriter.close_files = _write_once_more_and_close


class PatientClient(zmqrpc.Client):  # type: ignore[misc]  # Locust is untyped here
    """A worker's end of the RPC that lets messages go while the master is away.

    Locust keeps 1,000, then sleeps and resets the connection, which can hang for ever on what
    is still queued. A message let go is no loss: the next report holds all that it held.
    """

    def __init__(self, host: str, port: int, identity: str) -> None:
        zmqrpc.BaseSocket.__init__(self, zmq.DEALER, self.ipv4_only(host, port))
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        self.socket.setsockopt(zmq.SNDHWM, KEPT_MESSAGES)
        self.socket.setsockopt(zmq.LINGER, LINGER_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MOST_MS)
        self.socket.connect(f"tcp://{host}:{port}")

    def send(self, msg: Message) -> None:
        """Send, or let go when the queue is full."""
        try:
            self.socket.send(msg.serialize(), zmq.NOBLOCK)
        except zmq.Again:
            return
        except zmq.ZMQError as error:
            raise RPCSendError("ZMQ sent failure") from error


class ForgivingServer(zmqrpc.Server):  # type: ignore[misc]
    """The master's end, to which a worker may come back while its old line seems to live.

    A tunnel that was cut leaves its far end open until TCP notices, which takes minutes; for
    so long ZeroMQ would take the worker for an impostor of itself and drop all that it says.
    """

    def __init__(self, host: str, port: int) -> None:
        zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, self.ipv4_only(host, port))
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            self.socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            raise RPCError(f"Socket bind failure: {error}") from error
        bound_to: bytes = self.socket.getsockopt(zmq.LAST_ENDPOINT)
        self.port = int(bound_to.rpartition(b":")[2].rstrip(b"\0"))


def _register_and_go_on(runner: runners.WorkerRunner) -> None:
    """Register with the master; without an answer go on all the same, and say it again later.

    Locust keeps a worker here for five minutes and then ends it. But the engine goes by the plan,
    and a master or a tunnel that is late, or away for good, must not keep it from pressing.
    """
    runner.client.send(Message("client_ready", __version__, runner.client_id))
    runner.connected = runner.connection_event.wait(timeout=REGISTER_TIMEOUT_S)


def _percentile_fields(
    writer: stats.StatsCSV,
    entry: stats.StatsEntry,
    use_current: bool = False,  # noqa: FBT001, FBT002  (Locust's signature)
) -> list[float | str]:
    """Percentiles in ms with decimals: Locust cuts them to whole ms, which makes Redis 0."""
    del use_current  # asked for by --csv-full-history only, which we never give
    if not entry.num_requests:
        return list(writer.percentiles_na)
    return [entry.get_response_time_percentile(p) or 0 for p in writer.percentiles_to_report]


def _write_once_more_and_close(writer: stats.StatsCSVFileWriter) -> None:
    """Leave the files as the totals are at the end; Locust leaves its last interval's."""
    for file, rows, write in (
        (writer.requests_csv_filehandle, writer.requests_csv_writer, writer.requests_csv),
        (writer.failures_csv_filehandle, writer.failures_csv_writer, writer.failures_csv),
        (writer.exceptions_csv_filehandle, writer.exceptions_csv_writer, writer.exceptions_csv),
    ):
        file.seek(0)
        write(rows)
        file.truncate()
        file.close()
    writer.stats_history_csv_filehandle.close()
