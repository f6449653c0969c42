"""PD as set-up and checks ask it: where a key's region is, and which stores there are."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import NamedTuple, TypeVar

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.engine.outcome import FAILED, Lost, TargetProtocolError
from loadgen.engine.pd_messages import (
    GET_MEMBERS,
    GET_STORE,
    SCAN_REGIONS,
    Members,
    RegionFound,
    address_of,
    get_store,
    members_in,
    regions_in,
    scan_regions,
    store_in,
)
from loadgen.engine.protobuf import Fields, bytes_field, fields_of, uint_field

__all__ = ["LOGICAL_BITS", "PdClient", "Store", "stores_in", "timestamp_in"]

GET_ALL_STORES = b"/pdpb.PD/GetAllStores"
TSO = b"/pdpb.PD/Tso"  # a stream; of one request, if the client ends it
LOGICAL_BITS = 18
STATES = ("Up", "Offline", "Tombstone")
PAUSE_S = 0.05
REGIONS_AT_ONCE = 256

Read = TypeVar("Read")


class Store(NamedTuple):
    """A TiKV server as PD knows it."""

    id: int
    address: str
    version: str
    state: str


class PdClient:
    """Asks whoever leads PD. A look-up changes nothing, so it is repeated until its time is over.

    `endpoints`: "address:port" of any members. Raises CallLost, always `failed`.
    """

    def __init__(self, endpoints: Sequence[str], context: ssl.SSLContext | None) -> None:
        self._context = context
        self._known = list(endpoints)
        self._channels: dict[str, GrpcChannel] = {}
        self._members: Members | None = None

    def close(self) -> None:
        """Hang up on every member."""
        for channel in self._channels.values():
            channel.close()

    def members(self, until: float) -> Members:
        """The members and the leader, as one of them tells it now."""
        return self._repeated(self._find_members, until)

    def regions(self, start: bytes, until: float) -> list[RegionFound]:
        """The region of `start` and some that follow, in order."""
        return self._asked(
            SCAN_REGIONS,
            lambda cluster: scan_regions(cluster, start, b"", limit=REGIONS_AT_ONCE),
            regions_in,
            until,
        )

    def store_address(self, store: int, until: float) -> str:
        """Where a store serves clients."""
        _, address = self._asked(
            GET_STORE, lambda cluster: get_store(cluster, store), store_in, until
        )
        return address

    def stores(self, until: float) -> list[Store]:
        """Every store that was not given up for good, with its version."""
        return self._asked(
            GET_ALL_STORES,
            lambda cluster: bytes_field(1, uint_field(1, cluster)) + uint_field(2, 1),
            stores_in,
            until,
        )

    def timestamp(self, until: float) -> int:
        """A moment later than every one that PD gave before, as transactions count time."""
        return self._asked(
            TSO,
            lambda cluster: bytes_field(1, uint_field(1, cluster)) + uint_field(2, 1),
            timestamp_in,
            until,
        )

    def _asked(
        self, path: bytes, ask: Callable[[int], bytes], read: Callable[[bytes], Read], until: float
    ) -> Read:
        """What the leader answers; a member that leads no more is left for the one that does."""

        def once(until: float) -> Read:
            members = self._members or self._find_members(until)
            try:
                return read(self._call(members.leader, path, ask(members.cluster_id), until))
            except CallLost:
                self._members = None
                raise

        return self._repeated(once, until)

    def _repeated(self, once: Callable[[float], Read], until: float) -> Read:
        known: CallLost | None = None
        while True:
            try:
                return once(until)
            except TargetProtocolError as error:
                raise CallLost(Lost(FAILED, "protocol"), f"PD: {error}") from error
            except CallLost as lost:
                known = _more_telling(known, lost)
                if lost.lost.cause in ("auth", "tls") or monotonic() + PAUSE_S > until:
                    raise CallLost(Lost(FAILED, known.lost.cause), f"PD: {known}") from lost
            sleep(PAUSE_S)

    def _find_members(self, until: float) -> Members:
        """Ask each member that we know until one names a leader."""
        reason: CallLost | None = None
        each_s = max(PAUSE_S, (until - monotonic()) / (len(self._known) + 1))
        for address in list(self._known):
            try:
                body = self._call(address, GET_MEMBERS, b"", min(until, monotonic() + each_s))
            except CallLost as lost:
                reason = _more_telling(reason, lost)
                continue
            members = members_in(body)
            self._known += [known for known in members.addresses if known not in self._known]
            if members.leader:
                self._members = members
                return members
            reason = CallLost(Lost(FAILED, "cluster_down"), f"{address} knows no leader of PD")
        assert reason is not None
        raise reason

    def _call(self, address: str, path: bytes, message: bytes, until: float) -> bytes:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = GrpcChannel(address, self._context)
        return channel.call(path, message, until=until)


def _more_telling(known: CallLost | None, now: CallLost) -> CallLost:
    """The later reason; but that the time ran out says less than what was told before."""
    return known if known is not None and now.lost.cause == "timeout" else now


def timestamp_in(body: bytes) -> int:
    """What TsoResponse says. Raises TargetProtocolError."""
    moment = Fields(Fields(body).data(3))
    physical_ms, logical = moment.number(1), moment.number(2)
    if not physical_ms:
        raise TargetProtocolError("PD gave no timestamp")
    return (physical_ms << LOGICAL_BITS) + logical


def stores_in(body: bytes) -> list[Store]:
    """What GetAllStoresResponse says. Raises TargetProtocolError."""
    stores = []
    for number, value in fields_of(body):
        if number == 2:
            store = Fields(value)
            state = store.number(3)
            stores.append(
                Store(
                    id=store.number(1),
                    address=address_of(store.data(2)),
                    version=store.data(5).decode(errors="replace"),
                    state=STATES[state] if state < len(STATES) else str(state),
                )
            )
    return stores
