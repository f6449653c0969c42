"""RESP as a scripted Redis Cluster member speaks it; written apart from the engine's."""

from __future__ import annotations

from tests.controls.happenings import RESP_ERROR
from tests.controls.speaking import Request

__all__ = ["RespSpeaker", "slot_of"]

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Hash slot by the bitwise definition of CRC-16/XMODEM (Redis Cluster specification).

    >>> slot_of(b"123456789") == 0x31C3 % 16384
    True
    """
    crc = 0
    for byte in key:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % SLOTS


class RespSpeaker:
    """One connection. `ports` are those of all members, in order of the slots they own."""

    def __init__(self, ports: list[int], password: bytes) -> None:
        self._ports = ports
        self._password = password
        self._trusted = not password
        self._held = bytearray()
        self._asking = False

    def take(self, data: bytes) -> list[Request]:
        """See Speaker."""
        self._held += data
        requests = []
        while (words := self._command()) is not None:
            requests += self._request(words)
        return requests

    def _command(self) -> list[bytes] | None:
        """The next whole command, cut from what is held; None if there is none."""
        held, words = self._held, []
        line_end = held.find(b"\r\n")
        if line_end < 0:
            return None
        assert held[:1] == b"*", bytes(held[:60])
        at = line_end + 2
        for _ in range(int(held[1:line_end])):
            line_end = held.find(b"\r\n", at)
            if line_end < 0:
                return None
            assert held[at : at + 1] == b"$", bytes(held[at : at + 60])
            begin = line_end + 2
            end = begin + int(held[at + 1 : line_end])
            if len(held) < end + 2:
                return None
            assert held[end : end + 2] == b"\r\n"
            words.append(bytes(held[begin:end]))
            at = end + 2
        del held[:at]
        return words

    def _request(self, words: list[bytes]) -> list[Request]:
        name, rest = words[0].upper(), words[1:]
        asking, self._asking = self._asking, name == b"ASKING"
        if name == b"GET":
            return [Request("read", rest[0], asking=asking)]
        if name == b"SET":
            return [Request("write", rest[0], rest[1], asking=asking)]
        return [Request(name.decode().lower(), extra=rest)]

    def own(self, request: Request) -> bytes:
        """See Speaker."""
        if request.word == "auth":
            self._trusted = request.extra[-1] == self._password
            return b"+OK\r\n" if self._trusted else b"-WRONGPASS invalid username-password pair\r\n"
        if not self._trusted:
            return b"-NOAUTH Authentication required.\r\n"
        if request.word == "cluster" and request.extra[0].upper() == b"SLOTS":
            return self._slots()
        known = {"ping": b"+PONG\r\n", "asking": b"+OK\r\n"}
        return known.get(request.word, b"-ERR unknown command\r\n")

    def _slots(self) -> bytes:
        count = len(self._ports)
        made = b"*%d\r\n" % count
        for at, port in enumerate(self._ports):
            low, high = SLOTS * at // count, SLOTS * (at + 1) // count - 1
            made += b"*3\r\n:%d\r\n:%d\r\n" % (low, high)
            made += b"*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n" % (port, at)
        return made

    def good(self, request: Request, value: bytes | None) -> bytes:
        """See Speaker."""
        if request.word == "write":
            return b"+OK\r\n"
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)

    def bad(self, request: Request, happening: str) -> bytes:
        """See Speaker. Redirects name the member after the one that owns the slot."""
        if happening.startswith(("moved:", "ask:")):
            word, _, port = happening.partition(":")
            slot = slot_of(request.key)
            return b"-%b %d 127.0.0.1:%b\r\n" % (word.upper().encode(), slot, port.encode())
        return b"-" + RESP_ERROR[happening] + b"\r\n"

    def outgoing(self) -> bytes:
        """RESP says nothing of its own accord."""
        return b""
