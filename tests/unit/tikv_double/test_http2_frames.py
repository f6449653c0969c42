"""What the double's own HTTP/2 reads and writes, held against hyper's hpack."""

from __future__ import annotations

from urllib.parse import unquote

from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from tests.tikv_double import http2_frames as h2

PATHS = st.sampled_from([f"/tikvpb.Tikv/{name}" for name in ("RawGet", "RawPut", "RawScan")])
# Timeouts change from call to call, so blocks that repeat and blocks that do not are mixed.
CALLS = st.lists(st.tuples(PATHS, st.sampled_from(["", "1S", "19S", "20S", "x" * 4000])))


@given(calls=CALLS)
def test_the_path_of_each_call_is_read_whatever_the_tables_hold(calls: list[tuple[str, str]]):
    encoder, paths = Encoder(), h2.Paths()
    for path, timeout in calls:
        fields = [(":method", "POST"), (":path", path), ("te", "trailers")]
        fields += [("grpc-timeout", timeout)] if timeout else []
        assert paths.of(encoder.encode(fields)) == path


@given(status=st.integers(0, 16), text=st.text(max_size=400))
def test_trailers_say_status_and_reason(status: int, text: str):
    fields = dict(Decoder().decode(h2.OPENING + h2.ended_with(status, text)))
    assert fields[":status"] == "200"
    assert fields["grpc-status"] == str(status)
    assert unquote(fields["grpc-message"]) == text


def test_padding_and_priority_are_left_out():
    assert h2.body_of(8, b"\x02body\0\0", headers=False) == b"body"
    assert h2.body_of(8 | 32, b"\x01\0\0\0\0\x10body\0", headers=True) == b"body"
    assert h2.body_of(32, b"not of data", headers=False) == b"not of data"
