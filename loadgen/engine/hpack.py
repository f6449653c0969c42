"""HPACK (RFC 7541) for a peer that was told to keep no table: every block stands alone.

We announce SETTINGS_HEADER_TABLE_SIZE 0, so a block may only use the static table and literals.
That lets the engine remember whole blocks by their bytes; decoding happens once per new block.
"""

from __future__ import annotations

from loadgen.engine.outcome import TargetProtocolError

__all__ = ["MAX_FIELDS", "STATIC", "decode", "indexed", "integer", "literal"]

# A reply has about five fields; far more is not a reply.
MAX_FIELDS = 256

# RFC 7541 appendix A, index 1 to 61; "name value", most without a value.
_STATIC_TEXT = """\
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate"""

STATIC: tuple[tuple[str, str], ...] = tuple(
    (name, value) for name, _, value in (line.partition(" ") for line in _STATIC_TEXT.split("\n"))
)

# RFC 7541 appendix B: bits of the code of each byte 0-255 and of the end mark. The code is
# canonical, so the lengths are the whole of it.
_HUFFMAN_BITS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08"
    "0606060505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807"
    "080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616"
    "171617171717171817181816171817171717151617161717181615141616171715171616181516171715151615"
    "1716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14"
    "181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


def _huffman_codes() -> dict[tuple[int, int], int]:
    """(bits, code) -> byte, rebuilt from the lengths."""
    codes: dict[tuple[int, int], int] = {}
    code = bits = 0
    for symbol in sorted(range(257), key=lambda s: (_HUFFMAN_BITS[s], s)):
        code <<= _HUFFMAN_BITS[symbol] - bits
        bits = _HUFFMAN_BITS[symbol]
        codes[bits, code] = symbol
        code += 1
    return codes


_CODES = _huffman_codes()
_LONGEST = 30
_END = 256


def integer(value: int, prefix_bits: int, flags: int = 0) -> bytes:
    """An integer with an N-bit prefix (RFC 7541 5.1); `flags` are the bits above it.

    >>> integer(10, 5).hex(), integer(1337, 5).hex()
    ('0a', '1f9a0a')
    """
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([flags | value])
    made = [flags | most]
    value -= most
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def indexed(index: int) -> bytes:
    """A whole field by its index."""
    return integer(index, 7, 0x80)


def literal(name: int | bytes, value: bytes, *, remember: bool = False) -> bytes:
    """A field in full, its name by index or text; `remember` puts it into the peer's table."""
    bits, flags = (6, 0x40) if remember else (4, 0)
    if isinstance(name, int):
        head = integer(name, bits, flags)
    else:
        head = integer(0, bits, flags) + integer(len(name), 7) + name
    return head + integer(len(value), 7) + value


def decode(block: bytes) -> list[tuple[str, str]]:
    """The fields of a block. Raises TargetProtocolError on anything but RFC 7541 without table."""
    fields: list[tuple[str, str]] = []
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _read_integer(block, at, 7)
            fields.append(_static(index))
        elif first & 0xE0 == 0x20:  # table size update: 0 is what we asked for
            size, at = _read_integer(block, at, 5)
            if size or fields:
                raise TargetProtocolError("HPACK table larger than announced, or resized too late")
        else:
            index, at = _read_integer(block, at, 6 if first & 0x40 else 4)
            if index:
                name = _static(index)[0]
            else:
                name, at = _read_text(block, at)
            value, at = _read_text(block, at)
            fields.append((name, value))
        if len(fields) > MAX_FIELDS:
            raise TargetProtocolError("too many header fields")
    return fields


def _static(index: int) -> tuple[str, str]:
    if not 1 <= index <= len(STATIC):
        raise TargetProtocolError(f"HPACK index {index} outside the static table")
    return STATIC[index - 1]


def _read_integer(block: bytes, at: int, prefix_bits: int) -> tuple[int, int]:
    most = (1 << prefix_bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        if at >= len(block) or shift > 28:
            raise TargetProtocolError("HPACK integer without end")
        byte = block[at]
        at += 1
        value += (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _read_text(block: bytes, at: int) -> tuple[str, int]:
    if at >= len(block):
        raise TargetProtocolError("HPACK block cut short")
    squeezed = block[at] & 0x80
    size, at = _read_integer(block, at, 7)
    if at + size > len(block):
        raise TargetProtocolError("HPACK text cut short")
    data = block[at : at + size]
    text = _unsqueeze(data) if squeezed else data
    return text.decode("latin-1"), at + size


def _unsqueeze(data: bytes) -> bytes:
    """Huffman decoding, bit by bit: rare and short, so plain beats fast."""
    made = bytearray()
    code = bits = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            bits += 1
            symbol = _CODES.get((bits, code))
            if symbol is not None:
                if symbol == _END:
                    raise TargetProtocolError("HPACK text with an end mark inside")
                made.append(symbol)
                code = bits = 0
            elif bits >= _LONGEST:
                raise TargetProtocolError("HPACK text that is no Huffman code")
    if bits > 7 or code != (1 << bits) - 1:
        raise TargetProtocolError("HPACK text with wrong padding")
    return bytes(made)
