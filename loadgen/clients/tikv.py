"""TiKV's raw commands for set-up and checks: every call within a time, and its end known.

Decided by trying (see README.md here): not `tikv-python`, which is sound over TLS but sends a put
whose connection broke again without a word; not `tikv-client`, which has no TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.clients.pd import PdClient
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.pd_messages import RegionFound
from loadgen.engine.protobuf import Fields, bytes_field, fields_of, uint_field
from loadgen.engine.tikv_errors import Follow, verdict_on
from loadgen.engine.tikv_regions import context

__all__ = ["OK", "Result", "Swap", "TikvClient", "TikvFailed"]

OK = "ok"
DEADLINE_S = 5.0
# As often as the store says "elsewhere" or "later"; each is told in Result.followed.
MAX_FOLLOWED = 16
FIRST_PAUSE_S, LAST_PAUSE_S = 0.01, 0.5
SCAN_PAGE = 512

Pairs = list[tuple[bytes, bytes]]


class TikvFailed(Exception):
    """A call that had to end ok did not."""


class Swap(NamedTuple):
    """What a compare-and-swap found: whether it wrote, and the value before (None: no key)."""

    swapped: bool
    previous: bytes | None


class Result(NamedTuple):
    """How a call ended (design.md D7), and what it brought.

    `failed` is surely not applied, `unknown` may have been; `cause` is one of window.CAUSES.
    `followed`: what stores said before, each a refusal that proposed nothing.
    """

    outcome: str
    value: Any = None
    cause: str = ""
    text: str = ""
    followed: tuple[str, ...] = ()

    def needed(self) -> Any:  # noqa: ANN401  (each call says what its value is)
        """The value. Raises TikvFailed unless the outcome is ok."""
        if self.outcome != OK:
            raise TikvFailed(f"{self.outcome}, {self.cause}: {self.text}")
        return self.value


@dataclass(frozen=True, slots=True)
class _Ask:
    """A command: `rest` is the request behind its context; what to read in a reply that is well.

    With `end_field` it is of a range up to `end`, cut where the region ends; what comes of it is
    then (what was read, where it was cut).
    """

    method: str
    key: bytes
    rest: bytes
    read: Callable[[bytes], Any]
    write: bool
    end: bytes = b""
    end_field: int = 0


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
        self.pd = PdClient(endpoints, tls)
        self.deadline_s = deadline_s
        self._tls = tls
        self._for_cas = int(atomic)
        self._regions: list[RegionFound] = []
        self._addresses: dict[int, str] = {}
        self._channels: dict[str, GrpcChannel] = {}

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
        self.pd.close()
        for channel in self._channels.values():
            channel.close()

    # -- calls on one key ------------------------------------------------------------------

    def get(self, key: bytes) -> Result:
        """The value, None when there is no such key."""

        def read(body: bytes) -> bytes | None:
            reply = Fields(body)
            return None if reply.number(4) else reply.data(3)

        return self._run(_Ask("RawGet", key, bytes_field(2, key), read, write=False))

    def put(self, key: bytes, value: bytes) -> Result:
        """Write a value."""
        rest = bytes_field(2, key) + bytes_field(3, value) + uint_field(6, self._for_cas)
        return self._run(_Ask("RawPut", key, rest, _nothing, write=True))

    def delete(self, key: bytes) -> Result:
        """Delete a key; one that is not there is no error."""
        rest = bytes_field(2, key) + uint_field(4, self._for_cas)
        return self._run(_Ask("RawDelete", key, rest, _nothing, write=True))

    def compare_and_swap(self, key: bytes, expected: bytes | None, value: bytes) -> Result:
        """Write `value` if the key holds `expected` (None: if it is not there); a Swap."""
        rest = bytes_field(2, key) + bytes_field(3, value)
        rest += uint_field(4, 1) if expected is None else bytes_field(5, expected)

        def read(body: bytes) -> Swap:
            reply = Fields(body)
            return Swap(bool(reply.number(3)), None if reply.number(4) else reply.data(5))

        return self._run(_Ask("RawCompareAndSwap", key, rest, read, write=True))

    # -- calls on a range: one region after the other --------------------------------------

    def scan(self, start: bytes, end: bytes, limit: int) -> Result:
        """Pairs from `start` to before `end` (empty: no end), at most `limit`, in order."""
        found: Pairs = []
        followed: tuple[str, ...] = ()
        while len(found) < limit:
            size = min(SCAN_PAGE, limit - len(found))
            rest = bytes_field(2, start) + uint_field(3, size)
            ask = _Ask("RawScan", start, rest, _pairs, write=False, end=end, end_field=7)
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
            ask = _Ask("RawDeleteRange", start, rest, _nothing, write=True, end=end, end_field=3)
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

    def _run(self, ask: _Ask) -> Result:
        """One call to the region of its key, and after a refusal to where the store points."""
        until = monotonic() + self.deadline_s
        followed: list[str] = []
        try:
            return Result(OK, self._tried(ask, followed, until), followed=tuple(followed))
        except CallLost as lost:
            outcome, cause = lost.lost
            if outcome == UNKNOWN and not ask.write:
                outcome = FAILED  # a read applies nothing
            return Result(outcome, None, cause, str(lost), tuple(followed))
        except TargetProtocolError as error:
            outcome = UNKNOWN if ask.write else FAILED
            return Result(outcome, None, "protocol", str(error), tuple(followed))

    def _tried(self, ask: _Ask, followed: list[str], until: float) -> Any:  # noqa: ANN401
        path = f"/tikvpb.Tikv/{ask.method}".encode()
        while True:
            region = self._region(ask.key, until)
            upto = min(filter(None, (ask.end, region.end)), default=b"")
            cut = bytes_field(ask.end_field, upto) if ask.end_field and upto else b""
            body = self._sent(region, path, ask.rest + cut, until)
            reply = Fields(body)
            if 1 in reply:
                self._follow(region, reply.data(1), followed, write=ask.write, until=until)
                continue
            if ask.method != "RawScan" and reply.data(2):
                text = reply.data(2).decode(errors="replace")
                raise CallLost(Lost(UNKNOWN, "other"), text)
            value = ask.read(body)
            return (value, upto) if ask.end_field else value

    def _region(self, key: bytes, until: float) -> RegionFound:
        for region in self._regions:
            if region.start <= key and (not region.end or key < region.end):
                return region
        self._learn(self.pd.regions(key, until))
        for region in self._regions:
            if region.start <= key and (not region.end or key < region.end):
                return region
        raise CallLost(Lost(FAILED, "cluster_down"), f"PD knows no region of key {key!r}")

    def _learn(self, told: Sequence[RegionFound]) -> None:
        """Take regions in, and forget every other that they overlap."""
        for new in told:
            self._regions = [
                old
                for old in self._regions
                if (old.end and old.end <= new.start) or (new.end and new.end <= old.start)
            ]
            self._regions.append(new)

    def _forget(self, region: RegionFound) -> None:
        self._regions = [known for known in self._regions if known.id != region.id]

    def _sent(self, region: RegionFound, path: bytes, rest: bytes, until: float) -> bytes:
        """The reply of the region's leader. Raises CallLost; the region is then asked for anew."""
        try:
            if region.leader is None:
                raise CallLost(Lost(FAILED, "cluster_down"), f"region {region.id} has no leader")
            store = region.leader.store_id
            if store not in self._addresses:
                self._addresses[store] = self.pd.store_address(store, until)
            address = self._addresses[store]
            if address not in self._channels:
                self._channels[address] = GrpcChannel(address, self._tls)
            message = context(region, region.leader) + rest
            return self._channels[address].call(path, message, until=until)
        except CallLost:
            self._forget(region)
            if region.leader is not None:
                self._addresses.pop(region.leader.store_id, None)
            raise

    def _follow(
        self,
        region: RegionFound,
        refusal: bytes,
        followed: list[str],
        *,
        write: bool,
        until: float,
    ) -> None:
        """Learn from a region error, so that the call can be sent again. Raises CallLost."""
        text = Fields(refusal).data(1).decode(errors="replace")
        verdict = verdict_on(refusal, write=write)
        if not isinstance(verdict, Follow):
            self._forget(region)
            raise CallLost(verdict, text)
        followed.append(text)
        pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** len(followed))
        if len(followed) > MAX_FOLLOWED or monotonic() + pause_s > until:
            raise CallLost(Lost(FAILED, "redirect_limit"), text)
        if verdict.leader is not None:
            self._learn([region._replace(leader=verdict.leader)])
            return
        if verdict.store_moved and region.leader is not None:
            self._addresses.pop(region.leader.store_id, None)
        led = [_led_as(new, region) for new in verdict.regions]
        if verdict.stale or not all(new.leader for new in led):
            self._forget(region)
        else:
            self._learn(led)
        if not verdict.regions:
            sleep(pause_s)


def _led_as(new: RegionFound, old: RegionFound) -> RegionFound:
    """A region that a store told of, led by the store that led what it was split from."""
    store = old.leader.store_id if old.leader else 0
    return new._replace(leader=next((p for p in new.peers if p.store_id == store), None))


def _nothing(_: bytes) -> None:
    return None


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
