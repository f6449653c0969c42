"""HPACK without a table, against the examples of RFC 7541 and against anything at all."""

from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine import hpack
from loadgen.engine.hpack import decode, indexed, integer, literal
from loadgen.engine.outcome import TargetProtocolError


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(hpack).failed == 0


# RFC 7541, appendix C.2, C.4.1 and C.6.1 as far as they use no dynamic table.
@pytest.mark.parametrize(
    ("block", "fields"),
    [
        pytest.param(
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            [("custom-key", "custom-header")],
            id="C.2.1 literal with indexing",
        ),
        pytest.param("040c2f73616d706c652f70617468", [(":path", "/sample/path")], id="C.2.2"),
        pytest.param(
            "100870617373776f726406736563726574", [("password", "secret")], id="C.2.3 never indexed"
        ),
        pytest.param("82", [(":method", "GET")], id="C.2.4 indexed"),
        pytest.param(
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            [
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "www.example.com"),
            ],
            id="C.4.1 Huffman",
        ),
        pytest.param(
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
            "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            [
                (":status", "302"),
                ("cache-control", "private"),
                ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                ("location", "https://www.example.com"),
            ],
            id="C.6.1 Huffman response",
        ),
        pytest.param("2088", [(":status", "200")], id="table size update to 0"),
    ],
)
def test_a_block_of_the_standard_is_decoded(block, fields):
    assert decode(bytes.fromhex(block)) == fields


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("be", id="an index into the table we forbade"),
        pytest.param("80", id="index 0"),
        pytest.param("3fe11f", id="a table larger than announced"),
        pytest.param("04", id="cut before the text"),
        pytest.param("040c2f73", id="cut inside the text"),
        pytest.param("ffffffffffffffffff", id="an integer without end"),
        pytest.param("0481ff00", id="padding of eight ones"),
        pytest.param("0484ffffffff", id="the end mark inside"),
        pytest.param("048100", id="padding that is not ones"),
    ],
)
def test_a_damaged_block_is_a_protocol_error(block):
    with pytest.raises(TargetProtocolError):
        decode(bytes.fromhex(block))


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_a_protocol_error(block):
    with contextlib.suppress(TargetProtocolError):
        decode(block)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_an_integer_is_read_as_it_was_written(value, prefix_bits):
    written = integer(value, prefix_bits)
    assert hpack._read_integer(written, 0, prefix_bits) == (value, len(written))


texts = st.text(st.characters(max_codepoint=255), max_size=60)


@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_literals_are_read_as_they_were_written(fields):
    block = b"".join(
        literal(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields
    )
    assert decode(block) == fields


def test_every_byte_survives_huffman():
    for byte in range(256):
        bits, code = next(key for key, symbol in hpack._CODES.items() if symbol == byte)
        padding = -bits % 8
        packed = (code << padding | (1 << padding) - 1).to_bytes((bits + padding) // 8, "big")
        assert hpack._unsqueeze(packed) == bytes([byte])


def test_a_static_field_is_one_byte():
    assert decode(indexed(8)) == [(":status", "200")]


def test_endless_fields_are_refused():
    with pytest.raises(TargetProtocolError):
        decode(indexed(8) * (hpack.MAX_FIELDS + 1))
