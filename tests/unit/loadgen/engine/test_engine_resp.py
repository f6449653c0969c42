"""RESP: requests that Redis reads as meant, and replies of any kind classified."""

from __future__ import annotations

import contextlib
import doctest

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.window import CAUSES
from loadgen.engine import connection, resp
from loadgen.engine.outcome import FAILED, UNKNOWN, TargetProtocolError
from loadgen.engine.resp import (
    command,
    encoder,
    lost_by,
    read_slot_map,
    redirect_of,
    slots_of_keys,
)
from loadgen.keyspace import Values, key_bytes


def as_read(request: bytes) -> list[bytes]:
    """A request as a server would read it; RESP is the same in both directions."""
    reader = hiredis.Reader()
    reader.feed(request)
    return reader.gets()


@pytest.mark.parametrize("module", [resp, connection])
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


@given(key=st.integers(0, 10**12 - 1), size=st.integers(33, 4096))
def test_a_write_is_a_set_of_a_value_that_belongs_to_its_key(key, size):
    values = Values("/bench/", size, rank=1)
    word, name, value = as_read(encoder("/bench/", values)(key << 1 | 1))
    assert word == b"SET"
    assert name == key_bytes("/bench/", key)
    assert len(value) == size
    assert values.belongs(key, value)


def test_a_read_is_a_get_of_the_same_key():
    encode = encoder("/bench/", Values("/bench/", 64, rank=0))
    assert as_read(encode(5 << 1)) == [b"GET", b"/bench/000000000005"]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_a_command_is_read_as_its_words(words):
    assert as_read(command(*words)) == words


# Slots as `redis-cli cluster keyslot` gives them.
@pytest.mark.parametrize(
    ("prefix", "slot"),
    [("foo{bar}", 5061), ("{bar}", 5061), ("foo{}{bar}", None), ("/bench/", None)],
)
def test_only_the_part_in_braces_counts_for_the_slot(prefix, slot):
    slots = slots_of_keys(prefix, 3)
    if slot is None:
        assert len(set(slots)) == 3
    else:
        assert set(slots) == {slot}


@pytest.mark.parametrize(
    ("message", "outcome", "cause"),
    [
        ("CLUSTERDOWN Hash slot not served", FAILED, "cluster_down"),
        ("LOADING Redis is loading the dataset in memory", FAILED, "busy"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", FAILED, "busy"),
        ("OOM command not allowed when used memory > 'maxmemory'.", FAILED, "no_space"),
        ("READONLY You can't write against a read only replica.", FAILED, "read_only"),
        ("MISCONF Redis is configured to save RDB snapshots", FAILED, "read_only"),
        ("NOAUTH Authentication required.", FAILED, "auth"),
        ("NOPERM this user has no permissions to run the 'set' command", FAILED, "auth"),
        ("ERR unknown command", FAILED, "other"),
        ("", FAILED, "other"),
        ("UNBLOCKED client unblocked", UNKNOWN, "other"),
    ],
)
def test_an_error_reply_is_classified(message, outcome, cause):
    assert lost_by(message) == (outcome, cause)
    assert cause in CAUSES


@given(st.text())
def test_any_error_text_has_a_cause_of_the_fixed_set(message):
    assert lost_by(message).cause in CAUSES


@pytest.mark.parametrize(
    ("message", "redirect"),
    [
        ("MOVED 3999 10.0.0.1:6379", (False, 3999, "10.0.0.1:6379")),
        ("ASK 3999 10.0.0.1:6379", (True, 3999, "10.0.0.1:6379")),
        ("MOVED 1 :6381", (False, 1, "10.0.0.9:6381")),
        ("MOVED 1 ::1:6381", (False, 1, "[::1]:6381")),
        ("ERR no", None),
    ],
)
def test_a_redirect_names_slot_and_endpoint(message, redirect):
    assert redirect_of(message, asked="10.0.0.9:6379") == redirect


@given(st.text())
def test_any_text_after_moved_is_a_redirect_or_a_protocol_error(rest):
    with contextlib.suppress(TargetProtocolError):
        redirect_of(f"MOVED {rest}", asked="10.0.0.9:6379")


def test_a_slot_map_gives_the_ranges_of_each_master():
    reply = [
        [0, 99, [b"10.0.0.1", 6379, b"id1", []], [b"10.0.0.2", 6380, b"id2", []]],
        [100, 199, [None, 6379, b"id3", []]],
        [200, 200, [b"10.0.0.1", 6379, b"id1", []]],
    ]
    assert read_slot_map(reply, asked="10.0.0.7:6379") == {
        "10.0.0.1:6379": [(0, 99), (200, 200)],
        "10.0.0.7:6379": [(100, 199)],
    }


replies = st.recursive(
    st.none() | st.integers() | st.binary(max_size=20) | st.booleans(),
    lambda inner: st.lists(inner, max_size=5),
)


@given(replies)
def test_any_reply_to_cluster_slots_is_a_map_or_a_protocol_error(reply):
    with contextlib.suppress(TargetProtocolError):
        read_slot_map(reply, asked="10.0.0.7:6379")
