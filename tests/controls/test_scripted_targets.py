"""The engine against a server whose every delay, error and trick is written down beforehand."""

from __future__ import annotations

import pytest

from loadgen.contract.histogram import bucket_high_us
from tests.controls.happenings import CAUSE_OF
from tests.controls.running import PASSWORD, Control, assert_counts_are_exact, whole
from tests.controls.script import Script, Service, SlowReads
from tests.controls.truth import percentile
from tests.integration.engine_runs import FILL, closed

pytestmark = pytest.mark.timeout(600)

KEYS = 500  # of `plan_for`; the fill is that many operations

# Upper edge of a histogram's bucket over any value in it (design.md D6), and one microsecond,
# since latencies are cut to whole ones.
BUCKET = 1 + 1 / 128

PROTOCOLS = [
    pytest.param("resp", True, id="redis with tls"),
    pytest.param("resp", False, id="redis plain"),
    pytest.param("grpc", True, id="etcd with tls"),
    pytest.param("grpc", False, id="etcd plain"),
    pytest.param("tikv", True, id="tikv with tls"),
    pytest.param("tikv", False, id="tikv plain"),
]
WITH_TLS = PROTOCOLS[0::2]

# Every happening but those on which TLS or not can have no influence is in here; small enough
# shares that the run is mostly a healthy one.
SHARES = {
    name: dict.fromkeys((word for word in causes if word != "silent"), 0.01)
    for name, causes in CAUSE_OF.items()
}


def errors_in(protocol: str) -> dict[str, float]:
    return {**SHARES[protocol], "silent": 0.001}


def soon(*words: str) -> dict[int, str]:
    """Each of these once among the first operations after the fill, however few are to come.

    Only a read can find nothing or the wrong thing, and what comes when is chance: so they have
    many turns.
    """
    turns = [word for word in words for _ in range(12 if word in ("missing", "corrupt") else 1)]
    return {KEYS + 5 * turn: word for turn, word in enumerate(turns, 1)}


@pytest.mark.parametrize(("protocol", "tls"), PROTOCOLS)
def test_percentiles_lie_where_the_servers_own_stamps_say(scripted, tmp_path, protocol, tls):
    script = Script(
        protocol,
        read=Service("bimodal", us=8_000, slow_us=60_000, slow_share=0.05),
        write=Service("lognormal", us=12_000, sigma=0.7),
        calm=KEYS,
    )
    control = Control.run(tmp_path, scripted(script, tls=tls), FILL, closed(2))
    assert_counts_are_exact(control)
    for word, operation in control.spooled.whole("capacity").items():
        least, most = control.truth.service_bounds_us(word, skip=KEYS)
        assert operation.ok == len(least) > 12
        assert sum(least) <= operation.service.sum_us <= sum(most)
        assert operation.service.max_us <= most[-1]
        for percent in (1, 10, 50, 90, 95, 96, 99, 99.9):
            said = operation.service.percentile_us(percent)
            assert percentile(least, percent) <= said + 1, percent
            assert said <= percentile(most, percent) * BUCKET + 1, percent


@pytest.mark.parametrize(("protocol", "tls"), WITH_TLS)
def test_errors_of_every_kind_are_counted_exactly_and_by_cause(scripted, tmp_path, protocol, tls):
    script = Script(
        protocol,
        read=Service(us=1000),
        write=Service(us=1000),
        shares=errors_in(protocol),
        at=soon(*errors_in(protocol)),
        calm=KEYS,
        password=PASSWORD if protocol == "resp" else "",
    )
    control = Control.run(
        # A reply that only a busy machine delays must not time out: what is silent stays so.
        tmp_path,
        scripted(script, tls=tls),
        FILL,
        closed(4),
        timeout_ms=5000,
        connections=16,
    )
    assert_counts_are_exact(control)
    happened = control.truth.happenings()
    assert set(happened) == {"ok", *errors_in(protocol)}, happened
    assert control.truth.count("ok") > KEYS


@pytest.mark.parametrize(("protocol", "tls"), WITH_TLS)
def test_many_in_flight_on_each_connection_are_counted_exactly_too(
    scripted, tmp_path, protocol, tls
):
    """Only errors that leave the connection whole: else what dies with it depends on timing."""
    breaking = ("silent", "reset", "close", "half", "garbage")
    kept = {word: 0.02 for word in SHARES[protocol] if word not in breaking}
    script = Script(protocol, shares=kept, calm=KEYS, write=Service("lognormal", us=300, sigma=1.0))
    control = Control.run(
        tmp_path, scripted(script, tls=tls), FILL, closed(2), pipeline=16, connections=4
    )
    assert_counts_are_exact(control)
    assert max(w.generator.in_flight_max for w in control.spooled.windows) == 4 * 16


@pytest.mark.parametrize(("protocol", "tls"), WITH_TLS)
def test_connections_that_die_with_many_in_flight_lose_no_count(scripted, tmp_path, protocol, tls):
    breaking = dict.fromkeys(("reset", "close", "half", "garbage"), 0.002)
    script = Script(protocol, shares=breaking, at=soon(*breaking), calm=KEYS, write=Service(us=500))
    control = Control.run(
        tmp_path, scripted(script, tls=tls), FILL, closed(2), pipeline=16, connections=4
    )
    spooled, truth = control.spooled, control.truth
    end = spooled.end
    assert end.sent == end.ok + end.failed + end.unknown
    assert end.failed == 0
    assert set(spooled.causes()) == {"connection", "protocol"}
    # The server may have answered into a connection that was dying, and never more than that.
    answered = truth.count("ok")
    assert answered - end.unknown <= end.ok <= answered
    assert len(truth.rows) <= end.sent
    deaths = truth.count("reset", "close", "half", "garbage")
    assert 0 < deaths <= end.unknown <= deaths * 16


@pytest.mark.parametrize(("protocol", "tls"), WITH_TLS)
def test_a_broken_connection_costs_the_one_operation_on_it(scripted, tmp_path, protocol, tls):
    breaking = {520: "reset", 580: "half", 640: "close", 700: "garbage"}
    script = Script(protocol, at=breaking, calm=10**9)
    control = Control.run(tmp_path, scripted(script, tls=tls), FILL, closed(2))
    assert_counts_are_exact(control)
    assert control.spooled.causes() == {"connection": 3, "protocol": 1}
    assert control.spooled.end.unknown == 4
    assert sum(window.generator.reconnects for window in control.spooled.windows) == 4
    assert control.truth.connections >= 12 + 4


@pytest.mark.parametrize(("protocol", "tls"), WITH_TLS)
def test_a_server_that_reads_a_few_bytes_at_a_time_gets_every_byte(
    scripted, tmp_path, protocol, tls
):
    script = Script(protocol, slow_reads=SlowReads(size_bytes=7000, every_ms=4))
    control = Control.run(
        tmp_path,
        scripted(script, tls=tls),
        closed(3),
        value_bytes=200_000,
        read_share=0.3,
        connections=4,
        timeout_ms=20_000,
    )
    spooled, truth = control.spooled, control.truth
    assert_counts_are_exact(control)
    assert {row.size_bytes for row in truth.rows if row.word == "write"} == {200_000}
    least, most = truth.service_bounds_us("write")
    operation = spooled.whole()["write"]
    assert operation.ok == len(least) > 4
    assert sum(least) <= operation.service.sum_us <= sum(most)
    # Sending took most of the time, and it belongs to the service: the server was the slow one.
    assert min(least) > 50_000


def test_redirects_are_counted_exactly_and_cost_the_operation_all_its_time(scripted, tmp_path):
    hold_us = 40_000
    script = Script(
        "resp",
        servers=2,
        read=Service(us=hold_us),
        write=Service(us=hold_us),
        shares={"moved": 0.1, "ask": 0.2},
        calm=KEYS,
    )
    control = Control.run(tmp_path, scripted(script), FILL, closed(3), connections=16)
    assert_counts_are_exact(control)
    spooled, truth = control.spooled, control.truth
    assert spooled.moved() == truth.count("moved") > 0
    asked = sum(window.generator.ask for window in spooled.windows)
    assert asked == truth.count("ask") == sum(row.asking for row in truth.rows) > 0
    # All the time that both members held it: had the clock begun anew at the second one, a
    # fifth of the sum would be missing.
    service = whole(spooled, "service", "capacity")
    held_us = sum((row.write_ns - row.first_ns) // 1000 for row in truth.rows[KEYS:])
    assert service.sum_us >= held_us
    twice = sum(n for at, n in enumerate(service.counts) if bucket_high_us(at) >= 2 * hold_us)
    assert twice >= truth.count("ask")


def test_a_member_that_only_redirects_ends_every_operation_after_five(scripted, tmp_path):
    script = Script("resp", servers=2, shares={"moved": 1.0})
    control = Control.run(tmp_path, scripted(script), closed(1), connections=4, timeout_ms=30_000)
    spooled, truth = control.spooled, control.truth
    end = spooled.end
    assert (end.ok, end.unknown) == (0, 0), spooled.causes()
    assert spooled.causes() == {"redirect_limit": end.sent}
    assert spooled.moved() == truth.count("moved") == len(truth.rows) == 6 * end.sent > 0
