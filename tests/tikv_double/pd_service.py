"""One PD member: pdpb.PD over gRPC. Only the leader answers, as in PD 6.5."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from grpc.aio import ServicerContext

from tests.tikv_double.cluster import CLUSTER_ID, NAME, Cluster, Region
from tests.tikv_double.counters import APPLIED, RECEIVED, Counters
from tests.tikv_double.faults import Faults
from tests.tikv_double.messages import metapb, more, pdpb
from tests.tikv_double.tikv_service import Ended, no_answer

__all__ = ["Members", "PdService"]


@dataclass
class Members:
    """The PD members (number -> address), who of them leads, and who is up."""

    addresses: dict[int, str]
    scheme: str
    leader: int | None = 1

    def member(self, number: int) -> pdpb.Member:
        address = self.addresses[number]
        return pdpb.Member(
            name=f"pd-{number}",
            member_id=number,
            client_urls=[f"{self.scheme}://{address}"],
            peer_urls=[f"{self.scheme}://{address}"],
        )


class PdService:
    """Answers for one member."""

    def __init__(
        self, number: int, members: Members, cluster: Cluster, faults: Faults, counters: Counters
    ) -> None:
        self.number = number
        self.members = members
        self.cluster = cluster
        self.faults = faults
        self.count = partial(counters.count, f"pd-{number}")
        self.now = (0, 0)  # physical (ms), logical: never given twice

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to know of this service."""
        answers = {
            "GetMembers": (pdpb.GetMembersRequest, self._get_members),
            "IsBootstrapped": (more.IsBootstrappedRequest, self._is_bootstrapped),
            "AllocID": (more.AllocIDRequest, self._alloc_id),
            "GetStore": (pdpb.GetStoreRequest, self._get_store),
            "GetAllStores": (more.GetAllStoresRequest, self._get_all_stores),
            "GetRegion": (pdpb.GetRegionRequest, self._get_region),
            "GetPrevRegion": (pdpb.GetRegionRequest, self._get_prev_region),
            "GetRegionByID": (more.GetRegionByIDRequest, self._get_region_by_id),
            "ScanRegions": (pdpb.ScanRegionsRequest, self._scan_regions),
            "SplitRegions": (more.SplitRegionsRequest, self._split_regions),
            "ScatterRegion": (more.ScatterRegionRequest, self._scatter_region),
        }
        made = {
            method: grpc.unary_unary_rpc_method_handler(
                partial(self._unary, method, answer),
                request_deserializer=request.FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for method, (request, answer) in answers.items()
        }
        made["Tso"] = grpc.stream_stream_rpc_method_handler(
            self._tso,
            request_deserializer=more.TsoRequest.FromString,
            response_serializer=more.TsoResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("pdpb.PD", made)

    async def _unary(self, method: str, answer: Any, ask: Any, context: ServicerContext) -> Any:
        self.count(method, RECEIVED)
        try:
            await self._go_wrong(method, context)
            if method != "GetMembers":  # which a client asks before it knows cluster and leader
                self._validate(method, ask.header)
        except Ended as ended:
            await context.abort(ended.code, ended.text)
        made = answer(ask)
        self.count(method, APPLIED)
        return made

    async def _go_wrong(self, method: str, context: ServicerContext) -> None:
        rule = self.faults.meet(method, self.number, default=False)
        if rule is None:
            return
        self.count(method, f"fault:{rule.kind}")
        if rule.kind == "stall":
            await asyncio.sleep(rule.stall_s)
        else:
            await no_answer(rule, context)

    def _validate(self, method: str, header: Any) -> None:
        if self.members.leader != self.number:
            self.count(method, "refused:not_leader")
            raise Ended(grpc.StatusCode.UNAVAILABLE, "not leader")
        if header.cluster_id != CLUSTER_ID:
            self.count(method, "refused:cluster_id")
            text = f"mismatch cluster id, need {CLUSTER_ID} but got {header.cluster_id}"
            raise Ended(grpc.StatusCode.FAILED_PRECONDITION, text)

    def _header(self) -> pdpb.ResponseHeader:
        return pdpb.ResponseHeader(cluster_id=CLUSTER_ID)

    def _get_members(self, _ask: Any) -> Any:
        leader = self.members.leader
        return pdpb.GetMembersResponse(
            header=self._header(),
            members=[self.members.member(number) for number in self.members.addresses],
            leader=self.members.member(leader) if leader is not None else None,
        )

    def _is_bootstrapped(self, _ask: Any) -> Any:
        return more.IsBootstrappedResponse(header=self._header(), bootstrapped=True)

    def _alloc_id(self, ask: Any) -> Any:
        count = ask.count or 1
        number = self.cluster.next_id(count)
        return more.AllocIDResponse(header=self._header(), id=number, count=count)

    def _store(self, number: int) -> metapb.Store:
        address = self.cluster.stores[number].announced
        return metapb.Store(id=number, address=address, version=NAME, peer_address=address)

    def _get_store(self, ask: Any) -> Any:
        if ask.store_id not in self.cluster.stores:
            header = self._header()
            header.error.type = pdpb.UNKNOWN
            header.error.message = f"invalid store ID {ask.store_id}, not found"
            return pdpb.GetStoreResponse(header=header)
        return pdpb.GetStoreResponse(header=self._header(), store=self._store(ask.store_id))

    def _get_all_stores(self, _ask: Any) -> Any:
        stores = [self._store(number) for number in self.cluster.stores]
        return more.GetAllStoresResponse(header=self._header(), stores=stores)

    def _region(self, region: Region | None) -> Any:
        if region is None:
            return pdpb.GetRegionResponse(header=self._header())
        return pdpb.GetRegionResponse(
            header=self._header(), region=region.meta(), leader=region.peer(region.leader)
        )

    def _get_region(self, ask: Any) -> Any:
        known = self.cluster.known
        return self._region(known[self.cluster.find(ask.region_key, known)])

    def _get_prev_region(self, ask: Any) -> Any:
        known = self.cluster.known
        at = self.cluster.find(ask.region_key, known) - 1
        return self._region(known[at] if at >= 0 else None)

    def _get_region_by_id(self, ask: Any) -> Any:
        found = (region for region in self.cluster.known if region.id == ask.region_id)
        return self._region(next(found, None))

    def _scan_regions(self, ask: Any) -> Any:
        known = self.cluster.known
        regions = [
            region
            for region in known[self.cluster.find(ask.start_key, known) :]
            if not ask.end_key or region.start < ask.end_key
        ]
        regions = regions[: ask.limit] if ask.limit > 0 else regions
        metas = [region.meta() for region in regions]
        leaders = [region.peer(region.leader) or metapb.Peer() for region in regions]
        return pdpb.ScanRegionsResponse(
            header=self._header(),
            region_metas=metas,
            leaders=leaders,
            regions=[
                pdpb.Region(region=meta, leader=leader)
                for meta, leader in zip(metas, leaders, strict=True)
            ],
        )

    def _split_regions(self, ask: Any) -> Any:
        made = []
        for key in sorted(set(ask.split_keys)):
            if self.cluster.regions[self.cluster.find(key)].start != key:
                made.append(self.cluster.split(key)[0].id)
        self.cluster.tell_pd()
        return more.SplitRegionsResponse(
            header=self._header(), finished_percentage=100, regions_id=made
        )

    def _scatter_region(self, _ask: Any) -> Any:
        self.cluster.spread_leaders()
        self.cluster.tell_pd()
        return more.ScatterRegionResponse(header=self._header(), finished_percentage=100)

    async def _tso(self, asks: AsyncIterator[Any], context: ServicerContext) -> AsyncIterator[Any]:
        async for ask in asks:
            self.count("Tso", RECEIVED)
            try:
                self._validate("Tso", ask.header)
            except Ended as ended:
                await context.abort(ended.code, ended.text)
            now_ms = time.time_ns() // 1_000_000
            physical, logical = max(self.now, (now_ms, 0))
            self.now = (physical, logical + ask.count)
            answer = more.TsoResponse(header=self._header(), count=ask.count)
            answer.timestamp.physical, answer.timestamp.logical = self.now
            yield answer
