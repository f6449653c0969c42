"""Stalls in open loop, scripted and real: seen in response time, and not in service time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadgen.contract.histogram import Histogram, bucket_low_us
from loadgen.contract.plan import Phase
from loadgen.keyspace import IDS_PER_ENGINE
from tests.benchmarks.throwaway import Etcd, Pki, Redis, make_cluster
from tests.controls.running import Control, Scripted, assert_counts_are_exact, whole
from tests.controls.script import Script, Service, Stall
from tests.controls.stalls import (
    NaiveClient,
    PausableTikv,
    Pause,
    analytic_p99_us,
    assert_the_stall_shows,
    pause,
)
from tests.controls.truth import Row, percentile
from tests.integration.engine_runs import (
    FILL,
    EngineRun,
    Spooled,
    assert_the_sum_is_right,
    open_loop,
    plan_for,
)

pytestmark = pytest.mark.timeout(600)

# The arithmetic takes it that what waited is served at once when the stall is over. With a rate
# of L and a server that catches up at M, P99 is late by 1 % of the run times L / M: so the rates
# are small beside what any machine's servers can do, and the real ones are only read from.
STALL_S, SECONDS, RATE = 1.4, 15, 200
CONNECTIONS = 12
BUCKET = 1 + 1 / 128


def turn(row: Row) -> int:
    """Which of the engine's writes it was, from 1: each session counts in a range of its own."""
    return row.number % IDS_PER_ENGINE


def slower_than(histogram: Histogram, us: float) -> int:
    """How many values are surely above `us`."""
    return sum(n for at, n in enumerate(histogram.counts) if n and bucket_low_us(at) > us)


def assert_seen_and_not_smeared(
    spooled: Spooled, stall_s: float, phase: Phase, *, most: Most, members: int = 1
) -> None:
    """The stall is in response and lag, and the few operations in flight are all of it that
    service time may hold.

    `members`: how many the connections are spread over, where each key has its own.
    """
    assert_the_sum_is_right(spooled)
    assert spooled.causes() == {}
    assert spooled.count("due", phase.name) == phase.rate_per_s * phase.duration_s
    assert spooled.count("ok", phase.name) == spooled.count("due", phase.name)
    analytic_us = analytic_p99_us(stall_s, phase.duration_s)
    response, service = (whole(spooled, kind, phase.name) for kind in ("response", "service"))
    assert_the_stall_shows(response.percentile_us(99), analytic_us, most.response_us)
    # Those in flight when it began had been sent on time: the longest delays are not in lag. As
    # many as there are connections; or, if all keys happened to be of one member, as it has.
    sent_before_us = CONNECTIONS / phase.rate_per_s * 1e6
    lag = whole(spooled, "lag", phase.name)
    assert_the_stall_shows(
        lag.percentile_us(99), analytic_us - sent_before_us, most.lag_us - sent_before_us / members
    )
    # A service time that held the wait would be spread evenly over the stall: half of all that
    # waited would be above half of it. How long the others take is the machine's.
    assert slower_than(service, stall_s * 1e6 / 2) <= most.slow
    if most.slow < service.total / 100:  # timed from sending, the same run would hide it
        with pytest.raises(AssertionError):
            assert_the_stall_shows(service.percentile_us(99), analytic_us, most.response_us)


@dataclass(frozen=True)
class Most:
    """What may at most be seen of a stall: P99 of response and of lag, and how many operations have
    a service time above half of it.
    """

    response_us: float
    lag_us: float
    slow: int

    @classmethod
    def by_stamps(cls, control: Control, stall_s: float) -> Most:
        """By the stamps of the server, whatever else the machine did."""
        rows = [row for row in control.truth.rows if row.number > 0]
        due_ns = due_of(control)
        responses, lags = (
            sorted((getattr(row, stamp) - due_ns[turn(row)]) / 1000 for row in rows)
            for stamp in ("next_ns", "first_ns")
        )
        slow = sum(row.next_ns - row.free_ns > stall_s * 1e9 / 2 for row in rows)
        clock_us = 1000
        return cls(
            percentile(responses, 99) + clock_us,
            percentile(lags, 99) + CONNECTIONS / RATE * 1e6 + clock_us,
            max(CONNECTIONS, slow),
        )

    @classmethod
    def of_a_real_one(cls, spooled: Spooled, paused: Pause, phase: Phase) -> Most:
        """By the arithmetic, and what the machine did beside the pause.

        That is the longest of service times but for those of the pause, the engine's own longest
        delay, and that what waited had to be served: before the 99th percentile of it comes what
        became due in the first hundredth of the phase. A machine that does nothing else adds some
        hundredths.
        """
        service = whole(spooled, "service", phase.name)
        beside_us = service.percentile_us(100 * (1 - (CONNECTIONS + 1) / service.total))
        late_us = max(one.late.max_us for one in spooled.windows if one.phase == phase.name)
        before_it = phase.rate_per_s * phase.duration_s / 100 / CONNECTIONS
        added_us = beside_us + late_us + before_it * service.percentile_us(99)
        p99_us = analytic_p99_us(max(paused.paused_s, paused.unanswered_s), phase.duration_s)
        # The machine may have stood still once more, for as long.
        slow = round(max(CONNECTIONS, phase.rate_per_s * paused.paused_s / 5))
        return cls(p99_us + added_us, p99_us + added_us, slow)


def due_of(control: Control) -> dict[int, int]:
    """When each write was due by its number: at a constant rate, in the server's clock."""
    starts = [window.start_s for window in control.spooled.windows if window.phase == "steady"]
    unix_minus_monotonic = time.time_ns() - time.monotonic_ns()
    first_ns = starts[0] * 1_000_000_000 - unix_minus_monotonic
    return {
        number: first_ns + (number - 1) * 1_000_000_000 // RATE
        for number in range(1, SECONDS * RATE + 1)
    }


def response_bounds_us(control: Control) -> tuple[list[int], list[int]]:
    """(least, most) response time of each write."""
    due_ns = due_of(control)
    rows = [row for row in control.truth.rows if row.number > 0]
    assert sorted(turn(row) for row in rows) == list(due_ns)
    least = sorted((row.write_ns - due_ns[turn(row)]) // 1000 for row in rows)
    most = sorted(-(-(row.next_ns - due_ns[turn(row)]) // 1000) for row in rows)
    return least, most


@dataclass
class Runs:
    """What came of all the stalls. They share one half minute: each asks for next to nothing."""

    scripted: tuple[Control, Control]
    naive_us: list[int]
    real: dict[str, Spooled]
    phases: dict[str, Phase]
    pauses: dict[str, Pause]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, throwaway_pki) -> Iterator[Runs]:
    """Real servers, and the double of TiKV, that are paused; then scripted ones: a Redis that does
    nothing at all for a while, an etcd that only stops reading, and a naive client of that Redis.
    """
    folder = tmp_path_factory.mktemp("stalled")
    redis = Redis(folder / "redis", pki=throwaway_pki)
    etcd = Etcd(folder / "etcd", pki=throwaway_pki)
    tikv = PausableTikv(throwaway_pki, prefix="/bench/", keys=500)
    scripted: list[Scripted] = []
    try:
        redis.start()
        make_cluster([redis])
        etcd.start()
        tikv.start()
        rates = {"redis_cluster": (redis, 200), "etcd": (etcd, 100), "tikv": (tikv, 100)}
        phases = {name: open_loop(30, rate, "constant") for name, (_, rate) in rates.items()}
        engines = {
            name: pressing(name, server.endpoint, folder, throwaway_pki, phases[name])
            for name, (server, _) in rates.items()
        }
        for name, engine in engines.items():
            engine.wait_for_window(phases[name].name)
        pauses = dict(zip(engines, pause([redis, etcd, tikv], STALL_S), strict=True))
        controls, naive_us = run_scripted(folder, scripted, throwaway_pki)
        real = {name: engine.finish() for name, engine in engines.items()}
    finally:
        redis.stop(kill=True)
        etcd.stop(kill=True)
        tikv.stop()
        for server in scripted:
            server.stop()
    yield Runs(controls, naive_us, real, phases, pauses)


def pressing(name: str, endpoint: str, folder: Path, pki: Pki, phase: Phase) -> EngineRun:
    plan = plan_for(name, [endpoint], pki.tls(), FILL, phase, timeout_ms=30_000, read_share=1.0)
    return EngineRun(folder / f"engine-{name}", plan)


def run_scripted(
    folder: Path, servers: list[Scripted], pki: Pki
) -> tuple[tuple[Control, Control], list[int]]:
    """Both scripted stalls at once. Appends the servers to `servers` as they start."""
    steady = open_loop(SECONDS, RATE, "constant")
    at = SECONDS * RATE // 3
    silent, deaf = (
        Script(protocol, write=Service(us=300), stalls=(Stall(at, STALL_S, reads_only),))
        for protocol, reads_only in (("resp", False), ("grpc", True))
    )
    servers.append(Scripted(folder / "silent", silent, None))
    servers.append(Scripted(folder / "deaf", deaf, pki))
    engines = [
        EngineRun(folder / f"engine-{at}", server.plan(steady, read_share=0.0))
        for at, server in enumerate(servers)
    ]
    naive = NaiveClient(servers[0].ports[0], 50, SECONDS)
    naive.start()
    redis, etcd = (engine.finish() for engine in engines)
    naive.join()
    controls = Control("resp", redis, servers[0].truth()), Control("grpc", etcd, servers[1].truth())
    return controls, naive.latencies_us


@pytest.mark.parametrize("which", [0, 1], ids=["redis does nothing", "etcd does not read"])
def test_a_stall_shows_in_response_time_as_arithmetic_says(runs, which):
    control = runs.scripted[which]
    (stall,) = control.truth.stalls
    assert stall.seconds >= STALL_S
    assert_seen_and_not_smeared(
        control.spooled,
        stall.seconds,
        open_loop(SECONDS, RATE, "constant"),
        most=Most.by_stamps(control, stall.seconds),
    )


@pytest.mark.parametrize("which", [0, 1], ids=["redis does nothing", "etcd does not read"])
def test_response_times_run_from_the_plans_due_times_by_the_servers_stamps(runs, which):
    control = runs.scripted[which]
    least, most = response_bounds_us(control)
    response = control.spooled.whole("steady")["write"].response
    clock_us = 1000  # what NTP may have moved the wall clock by since the engine looked
    assert sum(least) <= response.sum_us + clock_us * len(least)
    for percent in (50, 90, 95, 97, 99, 99.9):
        said = response.percentile_us(percent)
        assert percentile(least, percent) <= said + clock_us, percent
        assert said <= percentile(most, percent) * BUCKET + clock_us, percent


def test_every_write_of_the_stalled_run_is_counted_once(runs):
    assert_counts_are_exact(runs.scripted[1])


def test_a_naive_client_of_the_same_server_hides_the_stall_and_would_be_caught(runs):
    (stall,) = runs.scripted[0].truth.stalls
    naive = sorted(runs.naive_us)
    assert naive[-1] > stall.seconds * 1e6 * 0.9  # it was there, and met the stall once
    with pytest.raises(AssertionError):
        assert_the_stall_shows(percentile(naive, 99), analytic_p99_us(stall.seconds, SECONDS))


MEMBERS = {"redis_cluster": 1, "etcd": 1, "tikv": 3}


@pytest.mark.parametrize("name", list(MEMBERS))
def test_a_server_paused_for_1400_ms_in_30_s_shows_it_as_arithmetic_says(runs, name):
    held = runs.pauses[name]
    assert held.paused_s >= STALL_S
    assert_seen_and_not_smeared(
        runs.real[name],
        held.paused_s,
        runs.phases[name],
        most=Most.of_a_real_one(runs.real[name], held, runs.phases[name]),
        members=MEMBERS[name],
    )
