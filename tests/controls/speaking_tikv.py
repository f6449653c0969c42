"""PD and one TiKV store over HTTP/2, framed by hyper's h2, with kvproto's own messages."""

from __future__ import annotations

from collections.abc import Sequence

from tests.controls.happenings import GRPC_STATUS, REGION_ERROR
from tests.controls.speaking import Request
from tests.controls.speaking_grpc import REFUSED_STREAM, GrpcSpeaker
from tests.tikv_double.messages import kvrpcpb, metapb, pdpb

__all__ = ["TikvSpeaker"]

PEER = metapb.Peer(id=2, store_id=1)
REGION = metapb.Region(id=1, region_epoch=metapb.RegionEpoch(conf_ver=1, version=1), peers=[PEER])


class TikvSpeaker(GrpcSpeaker):
    """One region with all keys, on the one store, which is PD as well."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__()
        self._address = f"127.0.0.1:{ports[0]}"

    def _request(self, stream: int) -> Request:
        path, body = self._paths.pop(stream), bytes(self._bodies.pop(stream))
        assert body[0] == 0 and int.from_bytes(body[1:5], "big") == len(body) - 5, body[:5]
        service, _, call = path.lstrip("/").partition("/")
        if service == "pdpb.PD":
            return Request(call, token=stream)
        kind = {"RawGet": kvrpcpb.RawGetRequest, "RawPut": kvrpcpb.RawPutRequest}[call]
        asked = kind.FromString(body[5:])
        assert asked.context.region_id == REGION.id and asked.context.peer == PEER
        assert asked.context.region_epoch == REGION.region_epoch
        if call == "RawPut":
            return Request("write", asked.key, asked.value, stream)
        # The first call on a connection is the engine's own.
        return Request("probe" if stream == 1 else "read", asked.key, token=stream)

    def good(self, request: Request, value: bytes | None) -> bytes:
        """See Speaker."""
        if request.word == "write":
            return self._answer(request.token, b"", 0)
        reply = kvrpcpb.RawGetResponse(value=value, not_found=value is None)
        return self._answer(request.token, reply.SerializeToString(), 0)

    def bad(self, request: Request, happening: str) -> bytes:
        """See Speaker."""
        if happening == "refused":
            self._http.reset_stream(request.token, REFUSED_STREAM)
            return self.outgoing()
        if happening not in REGION_ERROR:
            return self._answer(request.token, None, *GRPC_STATUS[happening])
        reply = kvrpcpb.RawGetResponse()  # field 1 of a RawPutResponse, too
        reply.region_error.message = "no"
        getattr(reply.region_error, REGION_ERROR[happening]).SetInParent()
        return self._answer(request.token, reply.SerializeToString(), 0)

    def own(self, request: Request) -> bytes:
        """See Speaker: what PD is asked, and the probe, which finds nothing."""
        header = pdpb.ResponseHeader(cluster_id=7)
        itself = pdpb.Member(name="pd", client_urls=[f"https://{self._address}"])
        leads = pdpb.Region(region=REGION, leader=PEER)
        store = metapb.Store(id=1, address=self._address)
        reply = {
            "GetMembers": pdpb.GetMembersResponse(header=header, members=[itself], leader=itself),
            "ScanRegions": pdpb.ScanRegionsResponse(header=header, regions=[leads]),
            "GetStore": pdpb.GetStoreResponse(header=header, store=store),
            "probe": kvrpcpb.RawGetResponse(not_found=True),
        }[request.word]
        return self._answer(request.token, reply.SerializeToString(), 0)
