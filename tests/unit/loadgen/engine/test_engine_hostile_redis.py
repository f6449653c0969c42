"""What a hostile or merely unlucky Redis member can do; each of these once hurt the engine."""

from __future__ import annotations

import os
import tracemalloc
from collections import deque

import pytest

from loadgen.engine import redis_target
from loadgen.engine.connection import CLOSED, SETUP, UP, Lane
from loadgen.engine.outcome import SessionFailed, TargetProtocolError
from loadgen.engine.phases import Loop, OpenSource
from loadgen.engine.redis_target import MAX_LANES, slot_map_from
from loadgen.engine.resp import read_slot_map, redirect_of
from tests.fuzz.bench import READ, WRITE, bench, bulk, value_of
from tests.fuzz.replies import slot_map

MB = 1 << 20


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"%1\r\n*0\r\n:1\r\n", id="a map with a list for a key"),
        pytest.param(b"*1\r\n%1\r\n%0\r\n:1\r\n", id="the same inside a list"),
        pytest.param(b"*1\r\n" * 1500, id="lists in lists in lists"),
        pytest.param(b">1\r\n+OK\r\n", id="a push"),
        pytest.param(b"-MOVED " + b"1" * 5000 + b" 127.0.0.1:1\r\n", id="5000 digits of a slot"),
        pytest.param(b"-MOVED 1 127.0.0.1:" + b"1" * 5000 + b"\r\n", id="5000 digits of a port"),
        pytest.param("-MOVED ١ 127.0.0.1:1\r\n".encode(), id="a slot in Arabic digits"),
        pytest.param(b"-ASK 1 fe80::1%eth9:1\r\n", id="an interface of another machine"),
        pytest.param(b"-MOVED 1 nobody.example:1\r\n", id="a name, which we do not look up"),
        pytest.param(b"~999999\r\n", id="a set of 8 MB"),
        pytest.param(b"*99999\r\n" * 5, id="lists in lists that claim much"),
        pytest.param(b"=2\r\nab\r\n", id="a verbatim string without its kind"),
    ],
)
def test_bytes_that_are_not_resp2_end_in_a_protocol_error(said):
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(said)
        assert made.connection.state == CLOSED
        assert made.ends() == {"protocol": 1}


@pytest.mark.parametrize("said", [b"+", b"$536870912\r\n", b"*2\r\n", b"+OK\r\n", b"\r\n", b"\0"])
def test_bytes_on_a_connection_that_waits_for_nothing_end_it_at_once(said):
    with bench("redis_cluster") as made:
        made.says(said)
        assert made.connection.state == CLOSED
        assert made.ends() == {}


@pytest.mark.parametrize("extra", [b"+", b"*2\r\n", b"%1\r\n", b"+OK\r\n"])
@pytest.mark.parametrize("depth", [1, 2])
def test_what_follows_the_last_reply_is_never_the_start_of_the_next_one(extra, depth):
    with bench("redis_cluster", depth=depth) as made:
        made.connection.send_from(deque([WRITE] * depth))
        made.says(b"+OK\r\n" * depth + extra)
        assert made.connection.state == CLOSED
        assert made.ends() == {"ok": depth}


def test_a_value_for_a_request_of_our_own_is_not_counted_as_an_operation():
    """The engine's own requests travel as key -1; -1 in twelve digits was once a key like any."""
    with bench("redis_cluster") as made:
        forged = b"k-00000000001w0000s" + b"%014d" % 7 + made.values.filler
        assert len(forged) == made.values.value_bytes
        made.connection.ask(b"*1\r\n$4\r\nPING\r\n", lambda _: None)
        made.says(bulk(forged))
        made.recorder.absorb()
        assert made.recorder.totals.ok == 0
        assert not made.recorder.done[0]


def test_an_ask_on_a_connection_that_breaks_at_that_moment_ends_once():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(b"-ASK 7 127.0.0.1:1\r\n")

        def refuse(_data):
            raise ConnectionResetError

        made.connection.send = refuse
        made.hub.send_redirected(made.connection.lane, made.connection)
        assert made.in_flight() == []
        assert made.ends() == {"connection": 1}


def test_a_connection_that_broke_while_it_was_set_up_begins_afresh():
    with bench("redis_cluster") as made:
        made.connection.target.credentials = (b"user", b"password")
        made.connection.broken("connection")
        made.connection.sock = None
        made.connection.setup()  # nothing takes the bytes: it must not leave a request behind
        made.connection.state = CLOSED
        made.connection.target.credentials = ()
        made.reconnect()
        assert made.connection.state == UP
        assert made.connection.room() == 1


def test_a_target_that_names_another_master_each_time_is_believed_so_far_and_no_further():
    with bench("redis_cluster") as made:
        for number in range(MAX_LANES + 20):
            if made.connection.sock is None:
                made.reconnect()
            made.connection.send_from(deque([WRITE]))
            made.says(b"-MOVED 1 10.0.0.1:%d\r\n" % (1000 + number))
            made.must_be_counted()
        assert len(made.hub.target.lanes) == MAX_LANES
        ends = made.ends()
        assert ends == {"timeout": MAX_LANES - 1, "protocol": 21}


def test_an_ask_to_a_master_nobody_talks_to_makes_us_look_at_the_map_again():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        made.says(b"-ASK 7 127.0.0.1:2\r\n")
        made.sent()
        made.hub.next_sweep_ns = 0
        made.hub.sweep(made.hub.woke_ns)
        assert b"CLUSTER" in made.sent()
        made.says(slot_map((0, 16383, "127.0.0.1", 1)))
        assert made.connection.leaving is made.hub.target.lanes[1]
        assert made.ends() == {"timeout": 1}


@pytest.mark.parametrize(
    "masters",
    [
        pytest.param([(0, 99, "h", 1), (50, 60, "h", 2)], id="inside another"),
        pytest.param([(0, 16383, "10.0.0.1", 1)] * 2, id="twice"),
        pytest.param([(0, 99, "10.0.0.1%1", 1)], id="no address"),
        pytest.param([(at, at, "10.0.0.1", at + 1) for at in range(300)], id="300 masters"),
    ],
)
def test_a_slot_map_that_cannot_be_ends_the_connection_and_not_the_engine(masters):
    with bench("redis_cluster") as made:
        made.hub.target.doubt()
        made.hub.next_sweep_ns = 0
        made.hub.sweep(made.hub.woke_ns)
        made.says(slot_map(*masters))
        assert made.connection.state == CLOSED
        assert made.ends() == {}


def test_a_slot_belongs_to_one_master():
    with pytest.raises(TargetProtocolError, match="two masters"):
        read_slot_map([[0, 9, [b"10.0.0.1", 1]], [9, 9, [b"10.0.0.2", 1]]], asked="10.0.0.1:1")


def test_endpoints_have_one_spelling():
    assert redirect_of("MOVED 1 [0:0::1]:06379", asked="") == (False, 1, "[::1]:6379")


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        pytest.param([b"*99", b"9999999\r\n"], "elements", id="an array of 8 GB"),
        pytest.param([b"$99999999\r\n", *[b"x" * 16384] * 100], "without end", id="a flood"),
        pytest.param([b"%1\r\n*0\r\n:1\r\n"], "not RESP", id="RESP3"),
        pytest.param([b"*1\r\n", b""], "closed", id="closed half-way"),
        pytest.param([b"-ERR " + b"x" * 9000 + b"\r\n"], "ERR x{190,200}$", id="a long error"),
        pytest.param([b":1\r\n"], "list", id="a number"),
    ],
)
def test_a_first_slot_map_that_is_none_is_refused_with_a_reason(chunks, why):
    with pytest.raises(TargetProtocolError, match=why):
        slot_map_from(iter(chunks).__next__, 1, asked="10.0.0.1:1")


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6, 7])
def test_a_list_that_claims_too_much_is_refused_however_it_is_cut(cut):
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([READ]))
        made.says(b"*999999\r\n"[:cut])
        if made.connection.sock is not None:
            made.says(b"*999999\r\n"[cut:])
        assert made.connection.state == CLOSED


def test_a_list_of_every_slot_is_a_reply_in_whatever_pieces_it_comes():
    large = slot_map(*[(at, at, "10.0.0.1", 1) for at in range(16384)])
    pieces = [large[at : at + 7] for at in range(0, len(large), 7)]
    assert len(slot_map_from(iter(pieces).__next__, 1, asked="")["10.0.0.1:1"]) == 16384


def test_a_member_that_drips_its_slot_map_is_given_up(monkeypatch):
    monkeypatch.setattr(redis_target, "BOOTSTRAP_TIMEOUT_S", -1.0)
    with bench("redis_cluster") as made, pytest.raises(TargetProtocolError, match="in time"):
        redis_target._receiver(made.peer)()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"$99999999\r\n", id="a value without end"),
        pytest.param(b"+", id="a line without end"),
        pytest.param(b"*999\r\n" * 1000, id="lists that claim much"),
    ],
)
def test_a_reply_without_end_takes_little_memory(said):
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([READ]))
        tracemalloc.start()
        try:
            made.says(said)
            for _ in range(8 * MB // 8192):
                if made.connection.sock is None:
                    break
                made.says(b"x" * 8192)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert made.connection.sock is None
        assert peak < 16 * MB  # hiredis doubles its buffer
        assert made.ends() == {"protocol": 1}


def test_a_sum_that_is_wrong_ends_the_session_and_is_not_waited_on_for_ever():
    with bench("redis_cluster") as made:
        source = OpenSource(made.hub, iter([(1 << 62, 0)]), limit=1)
        made.recorder.sent[0] += 1
        with pytest.raises(SessionFailed, match="engine at fault"):
            Loop(made.hub).drain(source, 0)


def test_a_connection_that_is_said_to_be_free_twice_is_queued_once():
    with bench("redis_cluster") as made:
        lane: Lane = made.connection.lane
        made.connection.state = SETUP
        for _ in range(5):
            made.connection.ready()
        assert list(lane.free) == [made.connection]
        made.connection.send_from(deque([READ]))
        made.says(bulk(value_of(made, 5)))
        assert list(lane.free) == [made.connection]


def test_a_descriptor_that_tls_closed_under_us_ends_as_any_broken_connection():
    with bench("redis_cluster") as made:
        made.connection.send_from(deque([WRITE]))
        os.close(made.connection.sock.detach())
        made.connection.broken("tls")
        assert made.connection.state == CLOSED
        assert made.ends() == {"tls": 1}
