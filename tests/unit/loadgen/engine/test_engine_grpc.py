"""gRPC statuses as outcomes, protobuf by hand, and the windows of HTTP/2."""

from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.window import CAUSES
from loadgen.engine import http2, protobuf
from loadgen.engine.etcd_connection import PUT, RANGE
from loadgen.engine.etcd_target import message_maker
from loadgen.engine.grpc import CallHeaders, lost_by_status, status_in
from loadgen.engine.hpack import decode, indexed, literal
from loadgen.engine.http2 import HEAD, SendWindows, read_settings
from loadgen.engine.outcome import FAILED, UNKNOWN, TargetProtocolError
from loadgen.engine.protobuf import bytes_field, fields_of, framed, range_value, varint
from loadgen.keyspace import Values, key_bytes


@pytest.mark.parametrize("module", [http2, protobuf])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("status", "message", "lost"),
    [
        (8, "etcdserver: mvcc: database space exceeded", (UNKNOWN, "no_space")),
        (8, "etcdserver: too many requests", (FAILED, "busy")),
        (14, "etcdserver: request timed out", (UNKNOWN, "timeout")),
        (14, "etcdserver: request timed out, possibly due to previous leader failure",
         (UNKNOWN, "timeout")),
        (14, "etcdserver: leader changed", (UNKNOWN, "cluster_down")),
        (14, "etcdserver: no leader", (UNKNOWN, "cluster_down")),
        (4, "context deadline exceeded", (UNKNOWN, "timeout")),
        (7, "etcdserver: permission denied", (FAILED, "auth")),
        (16, "etcdserver: invalid auth token", (FAILED, "auth")),
        (3, "etcdserver: user name is empty", (FAILED, "auth")),
        (3, "etcdserver: request is too large", (FAILED, "other")),
        (99, "", (UNKNOWN, "other")),
    ],
)  # fmt: skip
def test_a_status_of_etcd_is_classified(status, message, lost):
    assert lost_by_status(status, message) == lost


@pytest.mark.parametrize(("status", "message"), [(1, "CANCELLED"), (14, "Cancelling all calls")])
def test_a_store_that_stops_ends_its_calls_in_two_ways_of_one_meaning(status, message):
    assert lost_by_status(status, message) == (UNKNOWN, "cluster_down")


@given(st.integers(1, 999), st.text())
def test_any_status_has_a_cause_of_the_fixed_set(status, message):
    assert lost_by_status(status, message).cause in CAUSES


def test_the_status_and_message_are_found_in_trailers():
    block = literal(b"grpc-status", b"14") + literal(b"grpc-message", b"etcdserver: leader%20x")
    assert status_in(block) == (14, "etcdserver: leader x")


def test_a_first_block_has_no_status():
    assert status_in(indexed(8) + literal(31, b"application/grpc")) == (None, "")


@pytest.mark.parametrize(
    "block", [indexed(13), literal(b"grpc-status", b"x"), literal(b"grpc-status", b"1234")]
)
def test_what_is_not_grpc_is_a_protocol_error(block):
    with pytest.raises(TargetProtocolError):
        status_in(block)


def test_the_first_call_says_all_and_plain_headers_say_all_every_time():
    headers = CallHeaders(b"10.0.0.1:2379", (RANGE, PUT), secure=True, table_bytes=0)
    said = dict(decode(headers.blocks[1]))
    assert said[":path"] == "/etcdserverpb.KV/Put"
    assert said[":authority"] == "10.0.0.1:2379"
    assert (said["content-type"], said["te"]) == ("application/grpc", "trailers")
    remembered = CallHeaders(b"10.0.0.1:2379", (RANGE, PUT), secure=True, table_bytes=4096)
    assert dict(decode(remembered.first)) == dict(decode(headers.blocks[0]))
    assert len(remembered.blocks[0]) == 6


@given(key=st.integers(0, 10**12 - 1), size=st.integers(33, 3000))
def test_a_put_message_holds_key_and_a_value_that_belongs_to_it(key, size):
    values = Values("/bench/", size, rank=0)
    message = message_maker("/bench/", values)(key << 1 | 1)
    assert framed(message[5:]) == message
    fields = dict(fields_of(message[5:]))
    assert fields[1] == key_bytes("/bench/", key)
    assert values.belongs(key, fields[2])


def test_a_range_message_holds_the_key_alone():
    message = message_maker("/bench/", Values("/bench/", 64, rank=0))(7 << 1)
    assert framed(message[5:]) == message
    assert dict(fields_of(message[5:])) == {1: b"/bench/000000000007"}


def key_value(value: bytes) -> bytes:
    return bytes_field(1, b"key") + b"\x10\x05\x18\x06\x20\x01" + bytes_field(5, value)


@given(st.binary(max_size=300))
def test_the_value_of_a_range_reply_is_found(value):
    reply = bytes_field(1, b"\x08\x01") + bytes_field(2, key_value(value)) + b"\x20\x01"
    assert range_value(reply) == value


def test_a_range_reply_without_a_key_has_no_value():
    assert range_value(bytes_field(1, b"\x08\x01")) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_range_reply_or_a_protocol_error(data):
    with contextlib.suppress(TargetProtocolError):
        range_value(data)


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_read_as_it_was_written(value):
    assert list(fields_of(b"\x08" + varint(value))) == [(1, value)]


@given(st.binary(max_size=60))
def test_any_settings_are_read_or_a_protocol_error(payload):
    with contextlib.suppress(TargetProtocolError):
        read_settings(payload)


@given(
    size=st.integers(1, 300_000),
    opened=st.lists(st.tuples(st.booleans(), st.integers(1, 100_000)), max_size=20),
)
def test_a_large_message_goes_out_whole_in_parts_that_the_windows_allow(size, opened):
    windows = SendWindows()
    message = bytes(index & 255 for index in range(size))
    assert size <= 16384 or not windows.passes(size)
    windows.keep(1, message)
    allowed = {True: 65535, False: 65535}
    sent = windows.parts()
    for connection, increment in [*opened, (True, 400_000), (False, 400_000)]:
        windows.opened(0 if connection else 1, increment)
        allowed[connection] += increment
        sent += windows.parts()
    body, at, last = b"", 0, 0
    while at < len(sent):
        word, last, stream = HEAD.unpack_from(sent, at)
        assert stream == 1
        assert word >> 8 <= 16384
        body += sent[at + 9 : at + 9 + (word >> 8)]
        at += 9 + (word >> 8)
    assert body == message
    assert last == http2.END_STREAM
    assert windows.connection == allowed[True] - size


def test_a_message_waits_behind_an_earlier_one_that_waits():
    windows = SendWindows()
    windows.keep(1, bytes(70_000))
    windows.parts()
    assert not windows.passes(10)


def test_shrinking_the_first_window_takes_from_open_streams():
    windows = SendWindows()
    windows.keep(1, bytes(100_000))
    assert len(windows.parts()) > 60_000
    windows.resized(0)
    windows.opened(0, 1_000_000)
    windows.opened(1, 65_535)  # the stream's window is back at nothing
    assert windows.parts() == b""
