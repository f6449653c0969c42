"""One connection to one etcd member: which calls there are, and what a reply means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadgen.engine import grpc
from loadgen.engine.connection import Lane, Op
from loadgen.engine.grpc import Call
from loadgen.engine.grpc_connection import GrpcConnection

if TYPE_CHECKING:
    from loadgen.engine.etcd_target import EtcdTarget
    from loadgen.engine.hub import Hub

__all__ = ["PUT", "RANGE", "EtcdConnection"]

RANGE = b"/etcdserverpb.KV/Range"
PUT = b"/etcdserverpb.KV/Put"


class EtcdConnection(GrpcConnection):
    """Its first call is a serializable read: answered by the member alone, to users it knows."""

    __slots__ = ()

    paths = (RANGE, PUT)

    def __init__(self, hub: Hub, lane: Lane, target: EtcdTarget, *, endpoint: str) -> None:
        super().__init__(hub, lane, target, endpoint=endpoint, first=target.probe)

    def unfit(self, call: Call) -> None:
        """See GrpcConnection."""
        self._lost(call, grpc.misread(bytes(call.body), write=bool(call.op[0] & 1)))

    def send_again(self, op: Op, *, asking: bool) -> None:
        """Etcd redirects nothing."""
        raise NotImplementedError
