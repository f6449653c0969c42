"""A digest of every slot of one Redis member, by a client of our own, in bounded memory.

Keys come from CLUSTER GETKEYSINSLOT, values from GET (DUMP for what is no string). The digest of a
slot is the sum, modulo 2^128, of a hash of each key with its value: the order of keys, which
differs between members, does not matter.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

import hiredis

from loadgen.clients.redis_call import RedisCalls
from loadgen.engine.outcome import TargetProtocolError
from loadgen.engine.resp import SLOTS

__all__ = ["SlotDigests", "digests_of", "pairs_of"]

DIGEST_BYTES = 16
MODULUS = 1 << 8 * DIGEST_BYTES
SLOTS_AT_ONCE = 512
# Of one slot: 50 bytes each. A key space that puts more into a single slot says so.
MOST_KEYS = 1_000_000
KEYS_AT_ONCE = 1000
BYTES_AT_ONCE = 8 << 20


class SlotDigests:
    """Per slot the number of keys, and the digest."""

    def __init__(self) -> None:
        self.keys = array("q", bytes(8 * SLOTS))
        self.sums = [0] * SLOTS

    def add(self, slot: int, key: bytes, value: bytes) -> None:
        """Take one key in."""
        told = blake2b(b"%d:" % len(key) + key + value, digest_size=DIGEST_BYTES).digest()
        self.keys[slot] += 1
        self.sums[slot] = (self.sums[slot] + int.from_bytes(told, "big")) % MODULUS

    def digest(self, slots: Iterable[int]) -> str:
        """Of several slots together, hex."""
        whole = blake2b(digest_size=DIGEST_BYTES)
        for slot in slots:
            whole.update(self.keys[slot].to_bytes(8, "big"))
            whole.update(self.sums[slot].to_bytes(DIGEST_BYTES, "big"))
        return whole.hexdigest()

    def differs(self, other: SlotDigests, slots: Iterable[int]) -> list[int]:
        """The slots that are not the same."""
        return [
            slot
            for slot in slots
            if self.sums[slot] != other.sums[slot] or self.keys[slot] != other.keys[slot]
        ]


def digests_of(
    calls: RedisCalls, slots: Sequence[int], *, until: float, value_bytes: int
) -> SlotDigests:
    """Read all of these slots. `value_bytes`: about how long values are, to bound what is read at
    once. Raises OSError (TimeoutError), or TargetProtocolError where the member says no.
    """
    made = SlotDigests()
    for slot, key, value in pairs_of(calls, slots, until=until, value_bytes=value_bytes):
        made.add(slot, key, value)
    return made


def pairs_of(
    calls: RedisCalls, slots: Sequence[int], *, until: float, value_bytes: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """(slot, key, value) of everything in these slots. Raises as `digests_of` does."""
    at_once = max(1, min(KEYS_AT_ONCE, BYTES_AT_ONCE // max(1, value_bytes)))
    keys = _keys_of(calls, slots, until)
    while some := list(islice(keys, at_once)):
        values = calls.ask([(b"GET", key) for _, key in some], until=until)
        for (slot, key), value in zip(some, values, strict=True):
            if isinstance(value, hiredis.ReplyError) and str(value).startswith("WRONGTYPE"):
                value = calls.one(b"DUMP", key, until=until)
            if value is not None:  # else it was deleted, or expired, meanwhile
                yield slot, key, _bytes(value, "GET")


def _keys_of(calls: RedisCalls, slots: Sequence[int], until: float) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(slots), SLOTS_AT_ONCE):
        some = slots[at : at + SLOTS_AT_ONCE]
        counts = calls.ask(
            [(b"CLUSTER", b"COUNTKEYSINSLOT", b"%d" % slot) for slot in some], until=until
        )
        filled = [(slot, _count(told)) for slot, told in zip(some, counts, strict=True) if told]
        while filled:
            batch, left = [filled[0]], KEYS_AT_ONCE - filled[0][1]
            for one in filled[1:]:
                left -= one[1]
                if left < 0:
                    break
                batch.append(one)
            filled = filled[len(batch) :]
            yield from _keys_in(calls, batch, until)


def _keys_in(
    calls: RedisCalls, batch: Sequence[tuple[int, int]], until: float
) -> Iterator[tuple[int, bytes]]:
    # One more than there are, so that a key that came meanwhile is not left out unseen.
    asked = [(b"CLUSTER", b"GETKEYSINSLOT", b"%d" % s, b"%d" % (n + 1)) for s, n in batch]
    for (slot, _), found in zip(batch, calls.ask(asked, until=until), strict=True):
        if not isinstance(found, list):
            raise TargetProtocolError(f"GETKEYSINSLOT was answered with {str(found)[:200]}")
        for key in found:
            yield slot, _bytes(key, "GETKEYSINSLOT")


def _count(told: Any) -> int:  # noqa: ANN401  RESP is of any shape
    if isinstance(told, hiredis.ReplyError) or not isinstance(told, int):
        raise TargetProtocolError(f"COUNTKEYSINSLOT was answered with {str(told)[:200]}")
    if told > MOST_KEYS:
        raise TargetProtocolError(f"{told:,} keys in one slot, {MOST_KEYS:,} are compared at most")
    return told


def _bytes(told: Any, word: str) -> bytes:  # noqa: ANN401  RESP is of any shape
    if not isinstance(told, bytes):
        raise TargetProtocolError(f"{word} was answered with {str(told)[:200]}")
    return told
