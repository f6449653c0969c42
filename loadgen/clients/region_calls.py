"""A call to the store that leads a key's region, and after a refusal to where the store points.

Shared by raw commands (`tikv.py`) and transactions (`tikv_txn.py`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, NamedTuple

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.clients.pd import PdClient
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.pd_messages import RegionFound
from loadgen.engine.protobuf import Fields, bytes_field
from loadgen.engine.tikv_errors import verdict_on
from loadgen.engine.tikv_regions import context

__all__ = ["OK", "Ask", "RegionCalls", "Result", "TikvFailed", "ended"]

OK = "ok"
# As often as the store says "elsewhere" or "later"; each is told in Result.followed.
MAX_FOLLOWED = 16
FIRST_PAUSE_S, LAST_PAUSE_S = 0.01, 0.5


class TikvFailed(Exception):
    """A call that had to end ok did not."""


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
class Ask:
    """A command: `rest` is the request behind its context; `read` takes the whole reply.

    With `end_field` it is of a range up to `end`, cut where the region ends; what comes of it is
    then (what was read, where it was cut).
    """

    method: str
    key: bytes  # as regions are cut: a transaction's key encoded
    rest: bytes
    read: Callable[[bytes], Any]
    write: bool
    end: bytes = b""
    end_field: int = 0


def ended(call: Callable[[], Any], followed: list[str], *, write: bool) -> Result:
    """The result of a call that raises what it lost."""
    try:
        return Result(OK, call(), followed=tuple(followed))
    except CallLost as lost:
        outcome, cause = lost.lost
        if outcome == UNKNOWN and not write:
            outcome = FAILED  # a read applies nothing
        return Result(outcome, None, cause, _told(str(lost), followed), tuple(followed))
    except TargetProtocolError as error:
        outcome = UNKNOWN if write else FAILED
        return Result(outcome, None, "protocol", str(error), tuple(followed))


def _told(lost: str, followed: Sequence[str]) -> str:
    """Time that runs out in a call says little; what stores said before it says why it ran out."""
    before = followed[-1] if followed else ""
    return lost if before in lost else f"{lost}; before that: {before}"


class RegionCalls:
    """Connections to the stores, and what is known of the regions. Not for several threads."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self.pd = PdClient(endpoints, tls)
        self._tls = tls
        self._regions: list[RegionFound] = []
        self._addresses: dict[int, str] = {}
        self._channels: dict[str, GrpcChannel] = {}

    def close(self) -> None:
        """Hang up on everybody."""
        self.pd.close()
        for channel in self._channels.values():
            channel.close()

    def call(self, ask: Ask, followed: list[str], until: float) -> Any:  # noqa: ANN401
        """What `ask.read` makes of the reply. Raises CallLost, TargetProtocolError."""
        while True:
            region = self.region(ask.key, until)
            upto = min(filter(None, (ask.end, region.end)), default=b"")
            cut = bytes_field(ask.end_field, upto) if ask.end_field and upto else b""
            body = self.once(region, ask, cut, followed, until)
            if body is not None:
                value = ask.read(body)
                return (value, upto) if ask.end_field else value

    def once(
        self, region: RegionFound, ask: Ask, more: bytes, followed: list[str], until: float
    ) -> bytes | None:
        """The reply of the region's leader; None after a refusal from which we learnt.

        Raises CallLost, TargetProtocolError.
        """
        path = f"/tikvpb.Tikv/{ask.method}".encode()
        body = self._sent(region, path, ask.rest + more, until)
        reply = Fields(body)
        if 1 not in reply:
            return body
        self._follow(region, reply.data(1), followed, write=ask.write, until=until)
        return None

    def region(self, key: bytes, until: float) -> RegionFound:
        """The region of a key, as far as it is known."""
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
        if verdict.lost is not None:
            self._forget(region)
            raise CallLost(verdict.lost, text)
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
