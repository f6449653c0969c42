"""TiKV's raw commands for set-up and checks: every call within a time, and its end known.

Decided by trying (README.md here): not `tikv-python`, which is sound over TLS, nor `tikv-client`,
which has no TLS: both send a put whose connection broke again, and say nothing of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import NamedTuple

from loadgen.clients.grpc_call import CallLost
from loadgen.clients.pd import PdClient
from loadgen.clients.region_calls import OK, Ask, RegionCalls, Result, TikvFailed, ended
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost
from loadgen.engine.protobuf import Fields, bytes_field, fields_of, uint_field

__all__ = ["DEADLINE_S", "OK", "Result", "Swap", "TikvClient", "TikvFailed"]

DEADLINE_S = 5.0
SCAN_PAGE = 512

Pairs = list[tuple[bytes, bytes]]


class Swap(NamedTuple):
    """What a compare-and-swap found: whether it wrote, and the value before (None: no key)."""

    swapped: bool
    previous: bytes | None


class TikvClient:
    """Raw API V1, default column family. Not for several threads.

    ::

        with TikvClient(plan.endpoints, client_context(plan.tls, protocols=("h2",))) as tikv:
            tikv.put(b"key", b"value").needed()
            assert tikv.compare_and_swap(b"key", b"value", b"next").needed().swapped

    `atomic`: puts and deletes pass through the same latches as compare-and-swap, which is only
    atomic towards writers that do the same. `deadline_s`: of each call, whatever it takes.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext | None,
        *,
        deadline_s: float = DEADLINE_S,
        atomic: bool = False,
    ) -> None:
        self.deadline_s = deadline_s
        self._calls = RegionCalls(endpoints, tls)
        self._for_cas = int(atomic)

    @property
    def pd(self) -> PdClient:
        """PD, as this client asks it."""
        return self._calls.pd

    def __enter__(self) -> TikvClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everybody."""
        self._calls.close()

    # -- calls on one key ------------------------------------------------------------------

    def get(self, key: bytes) -> Result:
        """The value, None when there is no such key."""

        def read(body: bytes) -> bytes | None:
            reply = _well(body)
            return None if reply.number(4) else reply.data(3)

        return self._run(Ask("RawGet", key, bytes_field(2, key), read, write=False))

    def put(self, key: bytes, value: bytes) -> Result:
        """Write a value."""
        rest = bytes_field(2, key) + bytes_field(3, value) + uint_field(6, self._for_cas)
        return self._run(Ask("RawPut", key, rest, _nothing, write=True))

    def delete(self, key: bytes) -> Result:
        """Delete a key; one that is not there is no error."""
        rest = bytes_field(2, key) + uint_field(4, self._for_cas)
        return self._run(Ask("RawDelete", key, rest, _nothing, write=True))

    def compare_and_swap(self, key: bytes, expected: bytes | None, value: bytes) -> Result:
        """Write `value` if the key holds `expected` (None: if it is not there); a Swap."""
        rest = bytes_field(2, key) + bytes_field(3, value)
        rest += uint_field(4, 1) if expected is None else bytes_field(5, expected)

        def read(body: bytes) -> Swap:
            reply = _well(body)
            return Swap(bool(reply.number(3)), None if reply.number(4) else reply.data(5))

        return self._run(Ask("RawCompareAndSwap", key, rest, read, write=True))

    # -- calls on a range: one region after the other --------------------------------------

    def scan(self, start: bytes, end: bytes, limit: int) -> Result:
        """Pairs from `start` to before `end` (empty: no end), at most `limit`, in order."""
        found: Pairs = []
        followed: tuple[str, ...] = ()
        while len(found) < limit:
            size = min(SCAN_PAGE, limit - len(found))
            rest = bytes_field(2, start) + uint_field(3, size)
            ask = Ask("RawScan", start, rest, _pairs, write=False, end=end, end_field=7)
            page = self._run(ask)
            followed += page.followed
            if page.outcome != OK:
                return page._replace(followed=followed)
            pairs, upto = page.value
            found += pairs
            if len(pairs) == size:
                start = pairs[-1][0] + b"\x00"
            elif not upto or upto == end:
                break
            else:
                start = upto
        return Result(OK, found, followed=followed)

    def delete_range(self, start: bytes, end: bytes) -> Result:
        """Delete from `start` to before `end` (empty: no end); not atomic across regions."""
        followed: tuple[str, ...] = ()
        begun = False
        while True:
            rest = bytes_field(2, start)
            ask = Ask("RawDeleteRange", start, rest, _nothing, write=True, end=end, end_field=3)
            part = self._run(ask)
            followed += part.followed
            if part.outcome != OK:
                outcome = UNKNOWN if begun else part.outcome
                return part._replace(outcome=outcome, value=None, followed=followed)
            begun = True
            _, start = part.value
            if not start or start == end:
                return Result(OK, followed=followed)

    # -- the way to a region ----------------------------------------------------------------

    def _run(self, ask: Ask) -> Result:
        until = monotonic() + self.deadline_s
        followed: list[str] = []
        return ended(lambda: self._calls.call(ask, followed, until), followed, write=ask.write)


def _well(body: bytes) -> Fields:
    """A reply that tells of no error in words. Raises CallLost."""
    reply = Fields(body)
    if reply.data(2):
        raise CallLost(Lost(UNKNOWN, "other"), reply.data(2).decode(errors="replace"))
    return reply


def _nothing(body: bytes) -> None:
    _well(body)


def _pairs(body: bytes) -> Pairs:
    """The pairs of RawScanResponse. Raises TargetProtocolError."""
    found = []
    for number, value in fields_of(body):
        if number != 2:
            continue
        pair = Fields(value)
        if 1 in pair:
            raise CallLost(Lost(FAILED, "other"), "a pair of the scan tells of an error")
        found.append((pair.data(2), pair.data(3)))
    return found
