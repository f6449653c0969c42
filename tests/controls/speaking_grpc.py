"""etcd's KV service over HTTP/2, framed by hyper's h2, so that other code checks the engine's."""

from __future__ import annotations

from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from tests.controls.happenings import GRPC_STATUS
from tests.controls.speaking import Request

__all__ = ["GrpcSpeaker"]

REFUSED_STREAM = 7
_HEAD = [(":status", "200"), ("content-type", "application/grpc")]


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of the two wire types that KV requests use: varint and bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag, value = number(), number()
        assert tag & 7 in (0, 2), f"wire type {tag & 7}"
        if tag & 7 == 0:
            yield tag >> 3, value
        else:
            assert at + value <= len(message), "a field cut short"
            yield tag >> 3, message[at : at + value]
            at += value


class GrpcSpeaker:
    """One connection; every call is one stream."""

    def __init__(self) -> None:
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._http.local_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        self._http.initiate_connection()
        self._paths: dict[int, str] = {}
        self._bodies: dict[int, bytearray] = {}

    def take(self, data: bytes) -> list[Request]:
        """See Speaker. h2 raises its own ProtocolError at a client that breaks RFC 9113."""
        requests = []
        for event in self._http.receive_data(data):
            if isinstance(event, RequestReceived):
                headers = dict(event.headers)
                assert headers["te"] == "trailers" and headers[":method"] == "POST", headers
                assert headers["content-type"] == "application/grpc", headers
                self._paths[event.stream_id] = headers[":path"]
                self._bodies[event.stream_id] = bytearray()
            elif isinstance(event, DataReceived):
                self._bodies[event.stream_id] += event.data
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                requests.append(self._request(event.stream_id))
            elif isinstance(event, StreamReset):
                self._bodies.pop(event.stream_id, None)
        return requests

    def _request(self, stream: int) -> Request:
        path, body = self._paths.pop(stream), bytes(self._bodies.pop(stream))
        assert body[0] == 0 and int.from_bytes(body[1:5], "big") == len(body) - 5, body[:5]
        fields = dict(_fields(body[5:]))
        key, value = fields[1], fields.get(2, b"")
        assert isinstance(key, bytes) and isinstance(value, bytes)
        if path == "/etcdserverpb.KV/Put":
            return Request("write", key, value, stream)
        assert path == "/etcdserverpb.KV/Range", path
        # The engine's probe is serializable, its reads never are.
        return Request("probe" if fields.get(7) else "read", key, token=stream)

    def _answer(self, stream: int, message: bytes | None, status: int, text: str = "") -> bytes:
        trailers = [("grpc-status", str(status)), *([("grpc-message", text)] if text else [])]
        if message is None:  # an error is a reply of trailers alone
            self._http.send_headers(stream, _HEAD + trailers, end_stream=True)
        else:
            self._http.send_headers(stream, _HEAD)
            framed = b"\0" + len(message).to_bytes(4, "big") + message
            size = self._http.max_outbound_frame_size
            for at in range(0, len(framed), size):
                self._http.send_data(stream, framed[at : at + size])
            self._http.send_headers(stream, trailers, end_stream=True)
        return self.outgoing()

    def good(self, request: Request, value: bytes | None) -> bytes:
        """See Speaker."""
        header = _field(1, b"\x18\x07")  # ResponseHeader with a revision
        if request.word == "read" and value is not None:
            header += _field(2, _field(1, request.key) + _field(5, value)) + b"\x20\x01"
        return self._answer(request.token, header, 0)

    def bad(self, request: Request, happening: str) -> bytes:
        """See Speaker."""
        if happening == "refused":
            self._http.reset_stream(request.token, REFUSED_STREAM)
            return self.outgoing()
        return self._answer(request.token, None, *GRPC_STATUS[happening])

    def own(self, request: Request) -> bytes:
        """See Speaker: the probe, which finds nothing and is content."""
        return self.good(request, None)

    def outgoing(self) -> bytes:
        """See Speaker."""
        return self._http.data_to_send()
